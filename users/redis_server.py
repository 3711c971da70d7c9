"""What ``redis:`` stores talk to: a client with our retries and errors, and one store's keys."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import exceptions as theirs
from redis.backoff import EqualJitterBackoff
from redis.retry import Retry

from ..adapters.url import RetrieverURL
from ..core.errors import (
    BackendError,
    BackendExists,
    BackendUnavailable,
    ClosedError,
    CorruptData,
    ItemspaceError,
)
from .redis_client import RedisOptions, client_of, login_of

#: Keys of one step of SCAN.
_STEP = 10_000
_CLAIM_SECONDS = 60
_RETRIES = 2
_LOCKED_OUT = (
    theirs.AuthenticationError,
    theirs.AuthenticationWrongNumberOfArgsError,
    theirs.AuthorizationError,
    theirs.NoPermissionError,
)
_SILENT = (
    theirs.ConnectionError,
    theirs.TimeoutError,
    theirs.ClusterDownError,
    theirs.TryAgainError,
)
_CLUSTERED = (
    theirs.AskError,
    theirs.ClusterCrossSlotError,
    theirs.ClusterError,
    theirs.RedisClusterException,
)
_ANY = (theirs.RedisError, theirs.RedisClusterException, theirs.ChildDeadlockedError)
#: What the client raises, what that is here, what is the matter, what to do; the first that fits.
ERRORS: tuple[tuple[tuple[type[Exception], ...], type[BackendError], str, str], ...] = (
    (_LOCKED_OUT, BackendUnavailable, "does not let us in", "check user, password and ACL"),
    (
        _SILENT,
        BackendUnavailable,
        "does not answer",
        "check that it runs and can be reached, or raise timeout or max_connections",
    ),
    ((theirs.OutOfMemoryError,), BackendError, "is full", "raise maxmemory, or remove versions"),
    ((theirs.ReadOnlyError,), BackendError, "is a replica", "write to its primary"),
    (_CLUSTERED, BackendError, "is part of a cluster", "use a Redis that holds every key"),
    (_ANY, BackendError, "refuses", "see its log"),
)


class RedisServer:
    """One Redis and the keys of one store in it; safe to use from several threads.

    Who loads or removes holds a claim: a key with a random token that lives for a minute. Every
    change is one step with the check that the claim is still theirs, which also renews it. So
    two of them never mix, and a process that is killed blocks nobody for long.
    """

    def __init__(self, url: RetrieverURL, options: RedisOptions) -> None:
        self.url, self._client, self._closed = url, client_of(url, options), False
        self._retry = Retry(EqualJitterBackoff(cap=0.2, base=0.02), _RETRIES)
        self.stem = f"{options.prefix}:v:".encode()
        self.meta, self._claim = f"{options.prefix}:meta", f"{options.prefix}:claim"

    def ask(self, *command: Any) -> Any:
        """The answer to a command that may be sent again where none comes."""
        if self._closed:
            raise ClosedError(f"The users at {self.url} are closed; open them again.")
        with _translated(self.url):
            return self._retry.call_with_retry(
                lambda: self._client.execute_command(*command), _give_up_locked_out
            )

    def scan(self) -> Iterator[list[bytes]]:
        """The keys of vectors, in lists that may be empty; one may come twice."""
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self.stem) + b"*"
        cursor = None
        while cursor != 0:
            cursor, keys = self.ask("SCAN", cursor or 0, "MATCH", pattern, "COUNT", _STEP)
            yield keys

    def claim(self, *, over: bool = False) -> bytes:
        """The token of a new claim; ``over`` somebody else's, who then fails."""
        token = secrets.token_hex(8).encode()
        with _translated(self.url):
            if not self._client.set(self._claim, token, nx=not over, ex=_CLAIM_SECONDS):
                raise BackendExists(
                    f"{self.url} is being loaded, or its loading was broken off less than "
                    f"{_CLAIM_SECONDS} seconds ago; wait, or remove it."
                )
        return token

    def change(self, token: bytes, *commands: tuple[Any, ...], last: bool = False) -> None:
        """Run commands in one step under a claim; the ``last`` gives it up.

        Raises :class:`BackendError`, with nothing changed, where somebody else has it.
        """

        def step(pipe: Any) -> None:
            if pipe.get(self._claim) != token:
                raise BackendError(
                    f"{self.url} was removed meanwhile, or there was no progress for "
                    f"{_CLAIM_SECONDS} seconds; try again."
                )
            pipe.multi()
            for command in commands:
                pipe.execute_command(*command)
            pipe.execute_command(*after)

        after = ("DEL", self._claim) if last else ("EXPIRE", self._claim, _CLAIM_SECONDS)
        with _translated(self.url):
            self._client.transaction(step, self._claim)

    def discard(self, token: bytes) -> None:
        """Remove everything under a claim, and give it up; what makes it a store goes first."""
        self.change(token, ("UNLINK", self.meta))
        self.discard_vectors(token)
        self.change(token, last=True)

    def discard_vectors(self, token: bytes) -> None:
        """Remove the vectors alone."""
        for keys in self.scan():
            self.change(token, *([("UNLINK", *keys)] if keys else []))

    def close(self) -> None:
        """Disconnect."""
        self._closed = True
        self._client.connection_pool.disconnect()


def translate(error: Exception, url: RetrieverURL) -> ItemspaceError:
    """The error of ours for one of the client's; the password stands nowhere in it."""
    kind, matter, advice = next(row[1:] for row in ERRORS if isinstance(error, row[0]))
    # Older clients put the whole of a failed command in front, vectors and all.
    reason = _without_password(str(error).rpartition("caused error: ")[2], url)[:200].rstrip(".")
    if reason.startswith("WRONGTYPE"):
        return CorruptData(
            f"{url} is damaged: a key there is of another type ({reason}); choose another prefix.",
            path=str(url),
        )
    return kind(f"{url} {matter} ({reason}); {advice}.")


@contextmanager
def _translated(url: RetrieverURL) -> Iterator[None]:
    try:
        yield
    except _ANY as error:
        # A server without AUTH quotes the command that it does not know, password included.
        told = str(error) == _without_password(str(error), url)
        raise translate(error, url) from (error if told else None)


def _give_up_locked_out(error: Exception) -> None:
    if isinstance(error, _LOCKED_OUT):
        raise error


def _without_password(text: str, url: RetrieverURL) -> str:
    password = login_of(url)[1]
    return text.replace(password, "***") if password else text
