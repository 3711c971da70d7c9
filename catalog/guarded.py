"""A connection that can only read, and only for so long: the last line behind checked queries."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from ..core.errors import InvalidOption, QueryTimeout
from .engines import MYSQL, prepare_sqlite, shown, translated_errors
from .queries import FUNCTIONS

#: SQLite asks every so many of its instructions whether there is time left.
_INSTRUCTIONS = 10_000
#: What the databases say when time is up: PostgreSQL's SQLSTATE, MariaDB's and MySQL's numbers.
_CANCELLED = ("57014", 1969, 3024)


def reading_engine(engine: Engine) -> Engine:
    """An engine for the same database; of a SQLite file, opened read-only.

    Made anew for a file, and the caller's to dispose of; else ``engine`` itself.
    """
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database or database.startswith((":", "file:")):
        return engine
    url = engine.url.set(database=f"file:{database}").update_query_dict(
        {"mode": "ro", "uri": "true"}
    )
    made = create_engine(url)
    prepare_sqlite(made)
    return made


@contextmanager
def guarded(engine: Engine, tables: frozenset[str], seconds: float) -> Iterator[Connection]:
    """A connection whose one transaction only reads, and whose statements end in time.

    Parameters
    ----------
    tables
        Of SQLite: the tables that may be read.
    seconds
        For each statement, above 0.

    Raises
    ------
    QueryTimeout
        A statement took longer.
    DatabaseUnavailable
        The database is not there.
    """
    if not 0 < seconds < float("inf"):
        raise InvalidOption(
            f"seconds is above 0 and finite; received {seconds}.",
            option="seconds",
            received=seconds,
        )
    dialect = engine.dialect.name
    guard = _sqlite if dialect == "sqlite" else _mysql if dialect in MYSQL else _postgresql
    with translated_errors(engine), engine.connect() as connection:
        try:
            with guard(connection, tables, seconds):
                yield connection
        except DBAPIError as error:
            if not is_timeout(error):
                raise
            raise QueryTimeout(
                f"The query took longer than {seconds:g} seconds in {shown(engine)}; ask for less, "
                "or give it more time.",
                seconds=seconds,
            ) from error


@contextmanager
def _sqlite(connection: Connection, tables: frozenset[str], seconds: float) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + seconds
    connection.exec_driver_sql("PRAGMA query_only=ON")
    # Made now, since to make it takes more than may be done afterwards.
    connection.exec_driver_sql("SELECT value FROM json_each('[]')").all()
    driver.set_authorizer(_authorizer(tables))
    driver.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)
        driver.set_authorizer(None)
        connection.rollback()
        connection.exec_driver_sql("PRAGMA query_only=OFF")


def _authorizer(tables: frozenset[str]) -> Callable[..., int]:
    readable = {name.lower() for name in tables} | {"json_each", ""}

    def authorize(
        action: int, first: str | None, second: str | None, _schema: str | None, view: str | None
    ) -> int:
        """``view``: the one that reads a table in the place of the statement."""
        reads = action == sqlite3.SQLITE_READ
        allowed = (
            action == sqlite3.SQLITE_SELECT
            or (reads and (first or "").lower() in readable)
            or (reads and view is not None and view.lower() in readable)
            or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in FUNCTIONS)
            or (action == sqlite3.SQLITE_FUNCTION and view is not None)
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    return authorize


@contextmanager
def _postgresql(connection: Connection, _tables: frozenset[str], seconds: float) -> Iterator[None]:
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, int(1000 * seconds))}")
    try:
        yield
    finally:
        connection.rollback()


@contextmanager
def _mysql(connection: Connection, _tables: frozenset[str], seconds: float) -> Iterator[None]:
    is_mariadb = bool(getattr(connection.dialect, "is_mariadb", False))
    name, unit = ("max_statement_time", 1) if is_mariadb else ("max_execution_time", 1000)
    connection.execute(text(f"SET SESSION {name} = :limit"), {"limit": unit * seconds})
    # A single transaction that only reads would let CREATE TABLE through, which ends it.
    connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
    try:
        yield
    finally:
        connection.rollback()
        if not connection.invalidated:
            connection.exec_driver_sql(f"SET SESSION {name} = DEFAULT")
            connection.exec_driver_sql("SET SESSION TRANSACTION READ WRITE")


def is_timeout(error: DBAPIError) -> bool:
    """Whether a statement was ended since it took too long."""
    said = error.orig
    codes = {getattr(said, "sqlstate", None), *getattr(said, "args", ())[:1]}
    interrupted = getattr(said, "sqlite_errorname", "") == "SQLITE_INTERRUPT"
    return interrupted or not codes.isdisjoint(_CANCELLED)
