"""``redis:``, ``rediss:``, ``unix:`` URLs, their parameters, and the client they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis import UnixDomainSocketConnection as UnixConnection
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..adapters.url import RetrieverURL
from ..core.errors import InvalidOption, InvalidURL

_PORT = 6379


@dataclass(frozen=True)
class RedisOptions:
    """Parameters of a ``redis:``, ``rediss:`` or ``unix:`` URL.

    Parameters
    ----------
    prefix
        What every key starts with; without ``:v:``, which follows it.
    db
        Number of the database, where the path does not name it.
    timeout
        Seconds to connect, for each answer, and for a connection while all are in use. A read is
        tried three times.
    max_connections
        How many are open at most, from 1 to 10,000.
    """

    prefix: str = "itemspace:users"
    db: int = 0
    timeout: float = 2.0
    max_connections: int = 32

    def __post_init__(self) -> None:
        # With ':v:' in a prefix, one store's key could be that of a user in another.
        for name, holds, expected in (
            ("prefix", self.prefix and ":v:" not in f"{self.prefix}:", "a text without ':v:'"),
            ("db", self.db >= 0, "at least 0"),
            ("timeout", 0 < self.timeout <= 3600, "over 0 and at most 3600 seconds"),
            ("max_connections", 1 <= self.max_connections <= 10_000, "from 1 to 10,000"),
        ):
            if not holds:
                received = getattr(self, name)
                raise InvalidOption(
                    f"{name} is {expected}; received {received!r}.", option=name, received=received
                )


def login_of(url: RetrieverURL) -> tuple[str | None, str | None, str]:
    """User, password, and what follows them in the authority."""
    login, _, place = url.authority.rpartition("@")
    user, _, password = login.partition(":")
    return unquote(user) or None, unquote(password) or None, place


def client_of(url: RetrieverURL, options: RedisOptions) -> Any:
    """A client that connects with its first command; it tries none twice.

    Raises
    ------
    InvalidURL
        Without the URL in it: a password that is not quoted ends up anywhere there.
    InvalidOption
        The database is named twice.
    """
    user, password, place = login_of(url)
    where: dict[str, Any]
    if "\0" in url.authority + url.path:
        raise _invalid(url, "leave NUL out")
    if url.scheme == "unix":
        if place or not url.path:
            raise _invalid(url, "write unix:///path/to/redis.sock?db=0")
        where = {"connection_class": UnixConnection, "path": url.path, "db": options.db}
    else:
        host, port = _host_and_port(url, place)
        kind = SSLConnection if url.scheme == "rediss" else Connection
        database = _database(url, options)
        where = {"connection_class": kind, "host": host, "port": port, "db": database}
    pool: Any = BlockingConnectionPool  # parts of it have no types
    connections = pool(
        max_connections=options.max_connections,
        timeout=options.timeout,
        username=user,
        password=password,
        socket_timeout=options.timeout,
        socket_connect_timeout=options.timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **where,
    )
    return Redis(connection_pool=connections)


def _host_and_port(url: RetrieverURL, place: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname or "localhost", parts.port
        host.encode("idna")
        if parts.netloc != place:
            raise ValueError(place)
    except ValueError:
        raise _invalid(url, f"write {url.scheme}://host:{_PORT}/0") from None
    return host, _PORT if port is None else port


def _database(url: RetrieverURL, options: RedisOptions) -> int:
    path = url.path.strip("/")
    if not path:
        return options.db
    if not (path.isascii() and path.isdigit()):
        raise _invalid(url, f"its path is the number of a database: {url.scheme}://host:{_PORT}/0")
    if "db" in url.parameters:
        raise InvalidOption(
            f"The path names the database {path}, and so does db; leave one out.",
            option="db",
            received=options.db,
        )
    return int(path)


def _invalid(url: RetrieverURL, advice: str) -> InvalidURL:
    return InvalidURL(
        f"This {url.scheme} URL cannot be read; {advice}. In a user and a password, / is %2F, "
        "? is %3F, # is %23 and @ is %40.",
        url=f"{url.scheme}:",
    )
