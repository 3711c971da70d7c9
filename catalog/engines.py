"""Engines and connections: made right for SQLite, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, select
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

#: The dialects that speak MySQL.
MYSQL = ("mariadb", "mysql")
_EXTRAS = {"psycopg": "postgresql", "pymysql": "mysql"}


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
        is_new = _check_file(parsed.database, create=create)
        prepare_sqlite(engine)
        if is_new:
            with translated_errors(engine), closing(engine.raw_connection()) as connection:
                # Readers and a writer in each other's way wait for seconds otherwise.
                connection.cursor().execute("PRAGMA journal_mode=WAL")
    return engine


def shown(engine: Engine) -> str:
    """The engine's URL without its secrets, those among the parameters included."""
    return hide_secrets(engine.url.render_as_string(hide_password=True))


def prepare_sqlite(engine: Engine) -> None:
    """Make an engine's connections begin transactions when they are told to."""
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)


def _check_file(database: str | None, *, create: bool) -> bool:
    """Whether a file will be made; raises :class:`DatabaseUnavailable` where it should be there."""
    if not database or database == ":memory:" or database.startswith("file:"):
        return False
    is_there = Path(database).exists()
    if create:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    elif not is_there:
        raise DatabaseUnavailable(
            f"There is no database at {database}; `itemspace ingest` makes one, or check the "
            "URL (--database, ITEMSPACE_DATABASE or itemspace.toml)."
        )
    return not is_there


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
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


#: How a transaction of SQLite begins that writes from the start, and the option that says so.
_IMMEDIATE, _BEGIN = "BEGIN IMMEDIATE", "itemspace_begin"
#: The lock of those who change itemspace's tables, and for how long to wait for it, seconds.
_LOCK_NUMBER, _LOCK_NAME, _LOCK_SECONDS = 0x6974656D73, "itemspace", 300


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for reading itemspace's tables."""
    with translated_errors(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes to itemspace's tables."""
    with translated_errors(engine), engine.connect() as plain:
        connection = plain.execution_options(**{_BEGIN: _IMMEDIATE})
        with connection.begin():
            yield connection


@contextmanager
def writing_alone(engine: Engine) -> Iterator[Connection]:
    """One transaction, while every other one of this function waits, in whatever process."""
    with writing(engine) as connection, _lock(connection):
        yield connection


@contextmanager
def _lock(connection: Connection) -> Iterator[None]:
    dialect = connection.dialect.name
    if dialect == "sqlite":
        driver = connection.connection.dbapi_connection
        if not getattr(driver, "in_transaction", True):  # an engine of the caller's own making
            connection.exec_driver_sql(_IMMEDIATE)
    elif dialect == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK_NUMBER)))
    elif dialect in MYSQL:
        if connection.scalar(select(func.get_lock(_LOCK_NAME, _LOCK_SECONDS))) != 1:
            raise DatabaseUnavailable(
                f"Another process has been changing itemspace's tables in "
                f"{shown(connection.engine)} for {_LOCK_SECONDS} seconds; wait for it."
            )
        try:
            yield
        finally:
            connection.execute(select(func.release_lock(_LOCK_NAME)))
        return
    yield


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

#: The same of MariaDB and MySQL: full, out of memory, too many connections, no access, no such
#: database, shutting down, network, locked for too long, read-only. The client's own errors are
#: numbered from 2000.
_MYSQL_TROUBLE = frozenset(
    {1021, 1037, 1038, 1040, 1041, 1042, 1043, 1044, 1045, 1049, 1053, 1080, 1114, 1129, 1130}
    | {1152, *range(1153, 1162), 1203, 1205, 1206, 1226, 1290, 1317, 1836, 1927}
)
_MYSQL_CLIENT = 2000


def is_unavailable(dialect: str, error: DBAPIError) -> bool:
    """Whether the database is in trouble, and not the statement."""
    if dialect == "sqlite":
        name = getattr(error.orig, "sqlite_errorname", "")
        return bool(name.startswith(_SQLITE_TROUBLE))
    if dialect in MYSQL:
        (number, *_) = getattr(error.orig, "args", ()) or (0,)
        return number in _MYSQL_TROUBLE or (isinstance(number, int) and number >= _MYSQL_CLIENT)
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
