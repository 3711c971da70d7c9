"""The ordinary tables that ``ingest`` makes: ``item`` and ``interaction``, typed by their data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    insert,
    inspect,
)
from sqlalchemy.dialects.mysql import VARCHAR
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.types import TypeEngine

from ..core.errors import CatalogError
from ..core.ids import MAX_ID_LENGTH, IdKind
from .engines import translated_errors
from .mapping import INTERACTION, ITEM
from .reading import ColumnType, Types

Send = Callable[[list[tuple[Any, ...]]], object]


def declared_types(engine: Engine) -> dict[str, dict[str, ColumnType]]:
    """Table → column → type, for those of the two tables that exist."""
    with translated_errors(engine):
        inspector = inspect(engine)
        return {
            name: {c["name"]: _column_type(c["type"]) for c in inspector.get_columns(name)}
            for name in (ITEM, INTERACTION)
            if inspector.has_table(name)
        }


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction, tables included; raises :class:`CatalogError` where rows are refused."""
    try:
        with translated_errors(engine), engine.begin() as connection:
            driver = connection.connection.dbapi_connection
            # Unless BEGIN is said by hand, Python's sqlite3 runs DDL outside any transaction.
            if engine.dialect.name == "sqlite" and not getattr(driver, "in_transaction", True):
                connection.exec_driver_sql("BEGIN")
            yield connection
    except OperationalError:
        raise
    except DBAPIError as error:
        raise CatalogError(
            f"The database refused the rows: {error.orig}. Nothing was loaded."
        ) from error


def open_table(connection: Connection, metadata: MetaData, name: str, types: Types) -> Table:
    """The table, made where it is not there."""
    if inspect(connection).has_table(name):
        return Table(name, metadata, autoload_with=connection)
    ids = {"item_id"} if name == ITEM else {"item_id", "user_id"}
    columns = [
        Column(
            column,
            _sql_type(kind, column in ids),
            primary_key=name == ITEM and column in ids,
            autoincrement=False,
            nullable=column not in ids,
        )
        for column, kind in types.items()
    ]
    table = Table(name, metadata, *columns)
    table.create(connection)
    return table


def create_log_index(connection: Connection, table: Table) -> None:
    """An index over user and time, after the rows: much faster than before them."""
    columns = [table.c[name] for name in ("user_id", "timestamp") if name in table.c]
    index = Index(f"ix_{table.name}_user_id", *columns)
    if index.name not in {known["name"] for known in inspect(connection).get_indexes(table.name)}:
        index.create(connection)


def sender(connection: Connection, table: Table, names: list[str]) -> Send:
    """A function that inserts rows by the driver's own ``executemany``.

    600,000 rows/s into SQLite; dictionaries through SQLAlchemy are several times slower.
    """
    dialect = connection.dialect
    marker = {"qmark": "?", "format": "%s", "pyformat": "%s"}.get(dialect.paramstyle)
    if marker is None:
        return lambda rows: connection.execute(
            insert(table), [dict(zip(names, row, strict=True)) for row in rows]
        )
    prepare = dialect.identifier_preparer
    columns = ", ".join(prepare.quote(name) for name in names)
    markers = ", ".join([marker] * len(names))
    statement = f"INSERT INTO {prepare.format_table(table)} ({columns}) VALUES ({markers})"
    binders = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
    if not any(binders):
        return lambda rows: connection.exec_driver_sql(statement, rows)

    def bound(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            value if binder is None else binder(value)
            for value, binder in zip(row, binders, strict=True)
        )

    return lambda rows: connection.exec_driver_sql(statement, [bound(row) for row in rows])


def id_type(kind: IdKind) -> TypeEngine[Any]:
    """The type of a column of ids."""
    if kind == "int":
        return BigInteger()
    # MySQL's default collations take "a" and "A" for the same id.
    exact = VARCHAR(MAX_ID_LENGTH, collation="utf8mb4_bin")
    return String(MAX_ID_LENGTH).with_variant(exact, "mysql", "mariadb")


def _sql_type(kind: ColumnType, is_id: bool) -> TypeEngine[Any]:
    return id_type("str") if is_id and kind == ColumnType.TEXT else _SQL_TYPES[kind]()


def _column_type(kind: TypeEngine[Any]) -> ColumnType:
    return next(
        (found for known, found in _COLUMN_TYPES if isinstance(kind, known)), ColumnType.TEXT
    )


_SQL_TYPES: Mapping[ColumnType, type[TypeEngine[Any]]] = {
    ColumnType.INTEGER: BigInteger,
    ColumnType.NUMBER: Double,
    ColumnType.BOOLEAN: Boolean,
    ColumnType.DATE: Date,
    ColumnType.TIMESTAMP: DateTime,
    ColumnType.TEXT: Text,
}
_COLUMN_TYPES: list[tuple[Any, ColumnType]] = [
    (Boolean, ColumnType.BOOLEAN),
    (Integer, ColumnType.INTEGER),
    ((Numeric, Float), ColumnType.NUMBER),
    (DateTime, ColumnType.TIMESTAMP),
    (Date, ColumnType.DATE),
]
