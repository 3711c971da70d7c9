"""The database's clock, by which processes on any machines agree."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class database_clock(FunctionElement[float]):  # noqa: N801 - as SQLAlchemy names functions
    """Seconds since 1970, of the database's machine, when the statement runs."""

    type = Double()
    inherit_cache = True


@compiles(database_clock, "sqlite")
def _sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_clock, "postgresql")
def _postgresql(*_: Any, **__: Any) -> str:
    return "extract(epoch FROM clock_timestamp())::double precision"


@compiles(database_clock, "mysql", "mariadb")
def _mysql(*_: Any, **__: Any) -> str:
    return "(unix_timestamp(sysdate(6)) + 0.0e0)"
