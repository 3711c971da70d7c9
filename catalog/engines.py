"""Engines and connections: made right for SQLite, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)

from ..core.errors import DatabaseUnavailable, InvalidURL, MissingExtra
from ..core.secrets import hide_secrets

_EXTRAS = {"psycopg": "postgresql"}


def open_engine(url: str, *, create: bool = False) -> Engine:
    """An engine for a database URL; for SQLite with real transactions and foreign keys.

    Parameters
    ----------
    create
        Whether a SQLite file that is not there may be made (with its folder).

    Raises
    ------
    InvalidURL
        Not a SQLAlchemy URL, or of an unknown dialect.
    MissingExtra
        The dialect's driver is not installed.
    DatabaseUnavailable
        A SQLite file that is not there.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise InvalidURL(
            f"This is no database URL that SQLAlchemy knows ({type(error).__name__}); expected "
            "something like 'sqlite:///shop.db' or 'postgresql+psycopg://user@host/shop'.",
            url="",
        ) from error
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "", "")
        how = f"'itemspace[{extra}]'" if extra else str(error.name)
        raise MissingExtra(
            f"The database driver {error.name!r} is not installed; pip install {how}.",
            extra=extra,
        ) from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine, parsed.database, create=create)
    return engine


def shown(engine: Engine) -> str:
    """The engine's URL without its secrets, those among the parameters included."""
    return hide_secrets(engine.url.render_as_string(hide_password=True))


def _prepare_sqlite(engine: Engine, database: str | None, *, create: bool) -> None:
    if database and database != ":memory:" and not database.startswith("file:"):
        if create:
            Path(database).parent.mkdir(parents=True, exist_ok=True)
        elif not Path(database).exists():
            raise DatabaseUnavailable(
                f"There is no database at {database}; `itemspace ingest` makes one, or check the "
                "URL (--database, ITEMSPACE_DATABASE or itemspace.toml)."
            )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)


#: Bytes of a SQLite file that are memory-mapped for reading, at most.
_MAPPED = 256 << 20


def _on_connect(connection: Any, _record: Any) -> None:
    # sqlite3 commits before DDL and begins late, on its own; we say BEGIN ourselves.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA busy_timeout=10000")
    # Reads of scattered rows, as those of candidates are, take half the time.
    connection.execute(f"PRAGMA mmap_size={_MAPPED}")


def _on_begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")


#: What SQLite says of a file that it cannot use; its other OperationalErrors are about the SQL.
_SQLITE_TROUBLE = (
    "SQLITE_BUSY",
    "SQLITE_CANTOPEN",
    "SQLITE_CORRUPT",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_LOCKED",
    "SQLITE_NOTADB",
    "SQLITE_PERM",
    "SQLITE_PROTOCOL",
    "SQLITE_READONLY",
)


def is_unavailable(dialect: str, error: DBAPIError) -> bool:
    """Whether the database is in trouble, and not the statement."""
    if dialect == "sqlite":
        name = getattr(error.orig, "sqlite_errorname", "")
        return bool(name.startswith(_SQLITE_TROUBLE))
    return isinstance(error, OperationalError | InterfaceError)


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Turn "the database is not there" into :class:`DatabaseUnavailable`; leave the rest."""
    try:
        yield
    except DBAPIError as error:
        if is_unavailable(engine.dialect.name, error):
            raise DatabaseUnavailable(
                f"The database {shown(engine)} does not work: {error.orig}. Check that it is "
                "running and that the URL and the rights are right."
            ) from error
        raise
