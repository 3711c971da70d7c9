"""Tables that exist, mapped: which columns hold the ids, the users, the times and more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CHAR,
    Column,
    ColumnElement,
    Engine,
    FromClause,
    MetaData,
    SelectBase,
    Table,
    false,
    inspect,
    literal,
    select,
)
from sqlalchemy.exc import NoInspectionAvailable, NoSuchTableError

from ..core.errors import UnknownColumn, UnmappedTable
from ..core.ids import IdKind
from .engines import shown, translated_errors

#: The tables that ``ingest`` makes.
ITEM, INTERACTION = "item", "interaction"
#: A column of its logs without times: the order of the files, from 0.
EVENT_NUMBER = "event_number"
_IDS = (int, str)
_NUMBERS = (int, float, Decimal)
_TIMES = (*_NUMBERS, date, datetime)
#: Ids, and others that a collation may take for the same.
_MERGED = {"a": "A", "é": "e"}


@dataclass(frozen=True, eq=False)
class ItemTable:
    """The items: one row each."""

    table: FromClause
    id: ColumnElement[Any]
    id_kind: IdKind

    @property
    def columns(self) -> dict[str, ColumnElement[Any]]:
        """Name → column, in the table's order."""
        return dict(self.table.c)

    def column(self, name: str) -> ColumnElement[Any]:
        """One column; :class:`UnknownColumn` names those there are."""
        return column_of(self.table, name)


@dataclass(frozen=True, eq=False)
class InteractionTable:
    """The log: one row per event."""

    table: FromClause
    user: ColumnElement[Any]
    item: ColumnElement[Any]
    time: ColumnElement[Any] | None
    order: ColumnElement[Any] | None
    """Orders events of the same time, or all where there are no times."""
    user_kind: IdKind
    item_kind: IdKind
    kind: ColumnElement[Any] | None = None
    """What each event is: texts or integers."""
    value: ColumnElement[Any] | None = None
    """A rating, a quantity, a price: numbers."""
    dwell: ColumnElement[Any] | None = None
    """Seconds that the user stayed: numbers."""


def map_items(engine: Engine, source: Any, id_column: str) -> ItemTable:
    """Map a ``Table``, an ORM class, a SELECT, or a table's name (``schema.table``) to reflect.

    Raises
    ------
    UnmappedTable
        No such table.
    UnknownColumn
        The table has no column of that name, or its type is no text and no integer, or one that
        takes texts that differ for the same.
    """
    found = map_table(engine, source, "items")
    column = column_of(found, id_column)
    return ItemTable(found, column, _kind(engine, column))


def map_interactions(
    engine: Engine,
    source: Any,
    user_column: str,
    item_column: str,
    time_column: str | None,
    order_column: str | None,
    kind_column: str | None = None,
    value_column: str | None = None,
    dwell_column: str | None = None,
) -> InteractionTable:
    """Map the table of events, which needs a column of times, or one that orders the events.

    A table of ``ingest`` has its ``timestamp`` where the log had times, else numbers its events.
    """
    found = map_table(engine, source, "interactions")
    user, item = column_of(found, user_column), column_of(found, item_column)
    is_ours = (source, time_column) == (INTERACTION, "timestamp")
    if is_ours and "timestamp" not in found.c and EVENT_NUMBER in found.c:
        time_column, order_column = None, order_column or EVENT_NUMBER
    time = _typed(found, time_column, _TIMES, "times are numbers, dates or timestamps")
    order = _typed(
        found, order_column, _TIMES, "events are ordered by numbers, dates or timestamps"
    )
    if time is None and order is None:
        raise UnknownColumn(
            f"A table has no order of its own: name the column of the {shown_table(found)} that "
            "holds the times (time_column) or one that numbers the events (order_column).",
            column="order_column",
        )
    return InteractionTable(
        found,
        user,
        item,
        time,
        order,
        _kind(engine, user),
        _kind(engine, item),
        kind=_typed(found, kind_column, _IDS, "kinds of events are texts or integers"),
        value=_typed(found, value_column, _NUMBERS, "values of events are numbers"),
        dwell=_typed(found, dwell_column, _NUMBERS, "dwell times are numbers of seconds"),
    )


def map_table(engine: Engine, source: Any, what: str) -> FromClause:
    """A table as it is named: see :func:`map_items`; ``what`` it is for stands in the error."""
    if isinstance(source, FromClause):
        return source
    if isinstance(source, SelectBase):
        return source.subquery()
    if not isinstance(source, str):
        try:
            mapped: FromClause = inspect(source).local_table
        except (NoInspectionAvailable, AttributeError) as error:
            raise UnmappedTable(
                f"{source!r} is no Table, ORM class, SELECT or table name; name the table of the "
                f"{what}."
            ) from error
        return mapped
    schema, _, name = source.rpartition(".")
    try:
        with translated_errors(engine):
            return Table(name, MetaData(), schema=schema or None, autoload_with=engine)
    except NoSuchTableError as error:
        raise UnmappedTable(
            f"There is no table {source!r} in {shown(engine)}; load one with `itemspace ingest`, "
            f"or name the table of the {what}."
        ) from error


def shown_table(found: FromClause) -> str:
    """What messages call a table: a SELECT would be long."""
    return f"table {found}" if isinstance(found, Table) else "SELECT"


def column_of(found: FromClause, name: str) -> ColumnElement[Any]:
    """One column; :class:`UnknownColumn` names those there are."""
    if name not in found.c:
        raise UnknownColumn(
            f"The {shown_table(found)} has no column {name!r}; it has: "
            f"{', '.join(found.c.keys())}.",
            column=name,
        )
    return found.c[name]


def _typed(
    found: FromClause, name: str | None, kinds: tuple[type, ...], expected: str
) -> ColumnElement[Any] | None:
    """The column of that name, if there is to be one, of one of the Python types ``kinds``."""
    if name is None:
        return None
    column = column_of(found, name)
    _check_type(column, kinds, expected)
    return column


def _kind(engine: Engine, column: ColumnElement[Any]) -> IdKind:
    if _check_type(column, _IDS, "ids are texts or integers") is int:
        return "int"
    reason = None
    if engine.dialect.name == "postgresql" and isinstance(column.type, CHAR):
        reason = f"its type {column.type} gives texts back with blanks added"
    elif merged := _merged(engine, column):
        reason = f"its collation takes {merged!r} and {_MERGED[merged]!r} for the same"
    if reason:
        raise UnknownColumn(
            f"The column {column} cannot hold ids: {reason}. Give the column an exact type and "
            "collation (in MySQL utf8mb4_bin), or map a SELECT or a view that casts or collates "
            "it.",
            column=column.key,
        )
    return "str"


def _merged(engine: Engine, column: ColumnElement[Any]) -> str | None:
    """A text that equals another one in the column's collation, which a UNION ALL takes on."""
    texts = (select(literal(text)) for text in _MERGED)
    union = select(column.label("id")).where(false()).union_all(*texts).subquery()
    statement = select(union.c.id).where(union.c.id.in_(_MERGED.values())).limit(1)
    with translated_errors(engine), engine.connect() as connection:
        found: str | None = connection.scalar(statement)
        return found


def _check_type(column: ColumnElement[Any], kinds: tuple[type, ...], expected: str) -> type:
    """The column's Python type, if it is one of ``kinds``."""
    try:
        kind = column.type.python_type
    except NotImplementedError:
        kind = object
    if kind not in kinds:
        name = column.name if isinstance(column, Column) else str(column)
        raise UnknownColumn(
            f"The column {name!r} is of type {column.type}; {expected}.", column=name
        )
    return kind
