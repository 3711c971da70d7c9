"""Side information from SQL: columns of the items, values in other tables, values inside JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isnan
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import ColumnElement, Connection, SelectBase, Table, Text, cast, select
from sqlalchemy.orm import QueryableAttribute, RelationshipProperty, aliased

from ..core.errors import DuplicateIds, InvalidId, InvalidOption, UnknownColumn, UnmappedTable
from ..core.ids import IdKind, Ids
from ..core.side_information import SideInformation
from .mapping import ItemTable, column_of, map_table

if TYPE_CHECKING:
    from .catalog import Catalog

_BATCH = 10_000
_SHOWN = 3
_FRACTIONS = (float, Decimal)
_KINDS: dict[IdKind, type] = {"int": int, "str": str}


@dataclass(frozen=True, eq=False)
class Related:
    """Values that stand in another table: any number per item, each once, in ascending order.

    Parameters
    ----------
    source
        A table with a row per value (a ``Table``, an ORM class, or a name to reflect), a SELECT
        of (item id, value), or a relationship of the ORM class that is mapped as the items, such
        as ``Product.tags``; a secondary table may stand between.
    item_column, value_column
        Of a table: the columns of the item's id and of the value. Of a relationship:
        ``value_column`` is the attribute of its target. Of a SELECT: left out.
    """

    source: Any
    item_column: str | None = None
    value_column: str | None = None


class JsonPath:
    """A value inside a JSON column, or a text column that holds JSON.

    ``JsonPath("extra", "brand", "name")`` reads ``{"brand": {"name": …}}``. The members of a list
    are several values. NULL, ``null``, no such key, an object, a list inside a list and what is no
    JSON are no value.

    Parameters
    ----------
    column
        A column of the items: its name, or an expression over them.
    keys
        From the outermost object on; without any, the column is the value or the list itself.
    """

    def __init__(self, column: Any, *keys: str) -> None:
        for key in keys:
            if not isinstance(key, str):
                raise InvalidOption(
                    f"The keys of a JsonPath are texts; received {key!r}.",
                    option="keys",
                    received=key,
                )
        self.column, self.keys = column, keys

    def __repr__(self) -> str:
        return ".".join([str(self.column), *self.keys])


def read_side_information(
    catalog: Catalog, fields: Iterable[str] | Mapping[str, Any]
) -> SideInformation:
    """See :meth:`.Catalog.side_information`."""
    items, sources = catalog.items, _sources(fields)
    own = {
        name: _Own(items, name, source)
        for name, source in sources.items()
        if not isinstance(source, Related)
    }
    # Tables are reflected before a connection is held, which may be the pool's only one.
    related = {
        name: _pairs(catalog, name, source)
        for name, source in sources.items()
        if isinstance(source, Related)
    }
    with catalog.connection() as connection:
        ids = _read_own(connection, items, own)
        rows = {item: row for row, item in enumerate(ids.to_list())} if related else {}
        several = {
            name: _Several.read(connection, name, statement, rows, items.id_kind)
            for name, statement in related.items()
        }
    found = {name: (own | several)[name] for name in sources}
    return SideInformation(
        ids,
        {name: field.values for name, field in found.items()},
        report=[sentence for field in found.values() for sentence in field.report()],
    )


class _Own:
    """A field that is a column of the items, or inside one."""

    def __init__(self, items: ItemTable, name: str, source: Any) -> None:
        self._name, self._items = name, items
        self._path = source if isinstance(source, JsonPath) else None
        column = self._column(source if self._path is None else self._path.column)
        # As text, so that a value that is no JSON fails alone, and all databases are alike.
        self.column = column if self._path is None else cast(column, Text)
        self.values: list[Any] = []
        self._invalid = self._absent = self._nested = 0

    def read(self, values: Iterable[Any]) -> None:
        """Take on the values of some more items."""
        self.values.extend(values if self._path is None else map(self._inside, values))

    def report(self) -> list[str]:
        """Sentences: why items have no value inside JSON."""
        counts = {
            "no valid JSON": self._invalid,
            f"nothing at {self._path!r}": self._absent,
            f"an object or an inner list at {self._path!r}, skipped,": self._nested,
        }
        return [
            f"Field {self._name!r}: {what} for {count:,} of {len(self.values):,} items."
            for what, count in counts.items()
            if count
        ]

    def _column(self, source: Any) -> Any:
        if isinstance(source, str):
            try:
                return self._items.column(source)
            except UnknownColumn as error:
                raise UnknownColumn(
                    f"{error} A value in another table is Related(…) or --related, one inside "
                    "JSON is JsonPath(…) or --json-field.",
                    column=source,
                ) from error
        if _is_relationship(source) or not isinstance(source, ColumnElement | QueryableAttribute):
            raise InvalidOption(
                f"Field {self._name!r}: expected the name of a column, a column or expression over "
                f"the items, Related(…) or JsonPath(…); received {source}, "
                f"a {type(source).__name__}.",
                option=self._name,
                received=source,
            )
        others = [
            table for table in select(source).get_final_froms() if table is not self._items.table
        ]
        if others:
            raise UnmappedTable(
                f"Field {self._name!r}: {source} is not over the table that is mapped as the items "
                f"but over {others[0]}. Name the column, or take it from `catalog.items.column(…)`;"
                " values of another table are Related(…)."
            )
        return source

    def _inside(self, text: str | None) -> Any:
        """The value, or the list of values, inside JSON."""
        assert self._path is not None
        try:
            value = None if text is None else json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            self._invalid += 1
            return None
        for key in self._path.keys:
            value = value.get(key) if isinstance(value, dict) else None
        members = value if isinstance(value, list) else [value]
        plain = [one for one in members if one is not None and not isinstance(one, dict | list)]
        nested = any(isinstance(one, dict | list) for one in members)
        self._nested += nested
        self._absent += not plain and not nested
        if not isinstance(value, list):
            return plain[0] if plain else None
        # True, 1 and 1.0 are equal and not the same.
        return list({(type(one), one): one for one in plain}.values()) or None


@dataclass(frozen=True, eq=False)
class _Several:
    """A field of any number of values per item."""

    name: str
    values: list[list[Any] | None]
    skipped: int
    """Values of items that are not there."""
    some: list[Any]
    """Ids of those, a few."""

    @classmethod
    def read(
        cls,
        connection: Connection,
        name: str,
        statement: SelectBase,
        rows: Mapping[Any, int],
        kind: IdKind,
    ) -> _Several:
        """Gather the values of (item id, value); ``rows`` says where an item stands."""
        found: list[set[Any] | None] = [None] * len(rows)
        skipped, some = 0, dict[Any, None]()
        for item, value in _stream(connection, statement):
            if item is None or value is None or (isinstance(value, _FRACTIONS) and isnan(value)):
                continue
            row = rows.get(item)
            if row is None:
                if not isinstance(item, _KINDS[kind]):
                    _refuse_kind(name, repr(item), kind)
                skipped += 1
                if len(some) < _SHOWN:
                    some[item] = None
                continue
            values = found[row]
            if values is None:
                values = found[row] = set()
            try:
                values.add(value)
            except TypeError as error:
                raise InvalidOption(
                    f"Field {name!r}: expected one plain value per row of the related table; "
                    f"received {value!r} for the item {item!r}. SELECT what is inside it.",
                    option=name,
                    received=value,
                ) from error
        return cls(name, [None if one is None else _sorted(one) for one in found], skipped, [*some])

    def report(self) -> list[str]:
        """Sentences: values of items that are not there."""
        if not self.skipped:
            return []
        some = ", ".join(map(repr, self.some))
        return [
            f"Field {self.name!r}: skipped {self.skipped:,} values of ids that no item has, such "
            f"as {some}."
        ]


def _sources(fields: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Name → source, each name once."""
    if isinstance(fields, Mapping):
        sources = dict(fields)
    else:
        sources = {name: name for name in ([None] if isinstance(fields, str) else fields)}
    if not all(isinstance(name, str) for name in sources):
        raise InvalidOption(
            "fields are a list of column names, or a mapping of name → source; received "
            f"{fields!r}.",
            option="fields",
            received=fields,
        )
    return sources


def _read_own(connection: Connection, items: ItemTable, own: Mapping[str, _Own]) -> Ids:
    """The ids of the items, while every field takes on its values."""
    columns = [field.column for field in own.values()]
    statement = select(items.id, *columns).where(items.id.is_not(None))
    found: list[Any] = []
    for batch in _batches(connection, statement):
        ids, *values = zip(*batch, strict=True)
        found.extend(ids)
        for field, more in zip(own.values(), values, strict=True):
            field.read(more)
    known = Ids(found, items.id_kind)
    try:
        known.check_unique("the items")
    except DuplicateIds as error:
        raise DuplicateIds(
            f"{error} Map a SELECT with one row per item as the items, and read what has several "
            "rows as Related(…).",
            ids=error.ids,
        ) from error
    return known


def _pairs(catalog: Catalog, name: str, related: Related) -> SelectBase:
    """The statement of (item id, value), checked."""
    source, items = related.source, catalog.items
    if isinstance(source, SelectBase):
        columns = list(source.selected_columns)
        if len(columns) != 2 or related.item_column or related.value_column:
            raise InvalidOption(
                f"Field {name!r}: a SELECT gives two columns, the item's id and then the value, "
                f"and needs no item_column or value_column; received {len(columns)} columns.",
                option=name,
                received=len(columns),
            )
        statement, item = source, columns[0]
    elif _is_relationship(source):
        return _joined(items, name, related)
    else:
        table = map_table(catalog.engine, source, f"field {name!r}")
        if related.item_column is None or related.value_column is None:
            raise InvalidOption(
                f"Field {name!r}: name the columns of {source!r} that hold the item's id "
                "(item_column) and the value (value_column).",
                option=name,
                received=source,
            )
        item = column_of(table, related.item_column)
        statement = select(item, column_of(table, related.value_column))
    _check_kind(name, item, items.id_kind)
    return statement


def _joined(items: ItemTable, name: str, related: Related) -> SelectBase:
    """The statement of a relationship: the items, joined with its target."""
    attribute, value = related.source, related.value_column
    if getattr(attribute.parent, "local_table", None) is not items.table:
        mapped = items.table.name if isinstance(items.table, Table) else "a SELECT"
        raise UnmappedTable(
            f"Field {name!r}: {attribute} is no relationship of the class that is mapped as the "
            f"items, which are {mapped}; map that class (items={attribute.class_.__name__}), or "
            "use Related(…) of a table or a SELECT."
        )
    target = attribute.property.mapper
    names = list(target.columns.keys())
    if value is None or value not in names or related.item_column is not None:
        raise UnknownColumn(
            f"Field {name!r}: name the attribute of {target.class_.__name__} that holds the value "
            f"(value_column), and no item_column; received {value!r}, and there are: "
            f"{', '.join(names)}.",
            column=str(value),
        )
    # Under a name of its own, for a relationship of a class with itself.
    other = aliased(target.class_)
    joined = select(items.id, getattr(other, value)).select_from(attribute.class_)
    return joined.join(attribute.of_type(other))


def _check_kind(name: str, item: ColumnElement[Any], kind: IdKind) -> None:
    """Raise :class:`InvalidId` where a column's type says that it holds other ids."""
    try:
        found = item.type.python_type
    except NotImplementedError:
        found = object
    # Of an unknown type, such as a column of a SQLite view may have, each value is looked at.
    if found not in (object, _KINDS[kind]):
        _refuse_kind(name, f"{item} of type {item.type}", kind)


def _refuse_kind(name: str, received: str, kind: IdKind) -> NoReturn:
    raise InvalidId(
        f"Field {name!r}: the items have {kind} ids, the related rows {received}; cast them, as in "
        f"Related(select(cast(…, {'Integer' if kind == 'int' else 'String'}), …))."
    )


def _is_relationship(source: Any) -> bool:
    return isinstance(source, QueryableAttribute) and isinstance(
        getattr(source, "property", None), RelationshipProperty
    )


def _batches(connection: Connection, statement: Any) -> Iterator[Any]:
    streamed = {"yield_per": _BATCH}
    with connection.execute(statement, execution_options=streamed) as result:
        yield from result.partitions()


def _stream(connection: Connection, statement: Any) -> Iterator[Any]:
    for batch in _batches(connection, statement):
        yield from batch


def _sorted(values: set[Any]) -> list[Any]:
    """Ascending; where values have no order among them, by type and text."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=lambda value: (type(value).__name__, str(value)))


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
