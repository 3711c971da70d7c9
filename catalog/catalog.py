"""The catalog: mapped tables of items and interactions, read in a stream."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, FromClause, Table, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from ..core.behaviour import Interactions
from ..core.errors import EmptyInput, InvalidOption, UnknownColumn, UnmappedTable
from ..core.side_information import SideInformation
from . import schema
from .columns import Array, Coder, Reader, numbers, seconds
from .engines import open_engine, shown, translated_errors
from .guarded import reading_engine
from .mapping import (
    InteractionTable,
    ItemTable,
    map_interactions,
    map_items,
    map_table,
    shown_table,
)
from .side_information import read_side_information

Bind = Connection | Session
_BATCH = 50_000


class Catalog:
    """Items and interactions in SQL, and itemspace's bookkeeping beside them.

    Parameters
    ----------
    engine
        A SQLAlchemy engine, which stays the caller's, or a database URL.
    items, id_column
        The items: a ``Table``, an ORM class, a SELECT, or a table name to reflect; and the column
        of their ids (text or integer). A SELECT is a subquery of every statement: its columns are
        in :attr:`items`.
    interactions, user_column, item_column, time_column, order_column
        The log, likewise. Times are Unix seconds, dates or timestamps (those without a zone are
        UTC). ``order_column`` orders events of the same time, whose order is the database's
        otherwise; it is needed where there are no times (``time_column=None``), except in the
        table that ``ingest`` makes, which numbers its events then.
    kind_column, value_column, dwell_column
        What else the log may say of an event, where it does: its kind (view, cart, purchase; text
        or integer), its value (a rating, a quantity, a price), and how many seconds the user
        stayed. NULL is unknown.
    tables
        Further tables that SQL text may read (:meth:`.Space.sql`), named likewise.
    reader
        An engine or a URL that SQL text is sent to, such as one of a database user who can read
        these tables and nothing else. When left out: ``engine``, or its SQLite file opened
        read-only.
    bookkeeping
        An engine or a URL of the database that holds itemspace's own tables, where ``engine``'s
        does not, such as a replica that can only be read.

    Raises
    ------
    DatabaseUnavailable, SchemaOutdated
        On opening. Tables are reflected on first use: ``UnmappedTable``, ``UnknownColumn``.
    """

    def __init__(
        self,
        engine: Engine | str,
        *,
        items: Any = "item",
        id_column: str = "item_id",
        interactions: Any = "interaction",
        user_column: str = "user_id",
        item_column: str = "item_id",
        time_column: str | None = "timestamp",
        order_column: str | None = None,
        kind_column: str | None = None,
        value_column: str | None = None,
        dwell_column: str | None = None,
        tables: Iterable[Any] = (),
        reader: Engine | str | None = None,
        bookkeeping: Engine | str | None = None,
    ) -> None:
        self._made: list[Engine] = []
        self._items = (items, id_column)
        self._interactions = (
            interactions,
            user_column,
            item_column,
            time_column,
            order_column,
            kind_column,
            value_column,
            dwell_column,
        )
        self._tables, self._reader = tuple(tables), reader
        try:
            self.engine = self._opened(engine)
            #: The database of itemspace's own tables.
            self.bookkeeping = self.engine if bookkeeping is None else self._opened(bookkeeping)
            schema.check(self.bookkeeping)
            _catalogs.add(self)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Catalog {shown(self.engine)}>"

    def close(self) -> None:
        """Close the connections of engines that the catalog made itself."""
        for engine in self._made:
            engine.dispose()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def items(self) -> ItemTable:
        """The mapped table of items."""
        return map_items(self.engine, *self._items)

    @cached_property
    def interactions(self) -> InteractionTable:
        """The mapped table of events."""
        return map_interactions(self.engine, *self._interactions)

    @cached_property
    def readable(self) -> dict[str, Table]:
        """Name → table, of those that SQL text may read.

        The items and the interactions, where those are tables or views, and ``tables``.
        """
        found: list[FromClause] = [self.items.table]
        with suppress(UnmappedTable, UnknownColumn):
            found.append(self.interactions.table)
        found += [map_table(self.engine, source, "table") for source in self._tables]
        return {table.name: table for table in found if isinstance(table, Table)}

    @cached_property
    def reader(self) -> Engine:
        """What SQL text is sent to."""
        if self._reader is not None:
            return self._opened(self._reader)
        made = reading_engine(self.engine)
        if made is not self.engine:
            self._made.append(made)
        return made

    def _opened(self, engine: Engine | str) -> Engine:
        if not isinstance(engine, str):
            return engine
        self._made.append(open_engine(engine))
        return self._made[-1]

    @property
    def dialect(self) -> str:
        """The database's kind: ``"sqlite"``, ``"postgresql"``, …"""
        return self.engine.dialect.name

    @contextmanager
    def connection(self, bind: Bind | None = None) -> Iterator[Connection]:
        """The caller's connection or session (flushed if so set), or one of our own."""
        with translated_errors(self.engine):
            if isinstance(bind, Session):
                if bind.autoflush:
                    bind.flush()
                yield bind.connection()
            elif bind is not None:
                yield bind
            else:
                with self.engine.connect() as connection:
                    yield connection

    def find_items(self, column: str, value: Any, limit: int = 2) -> list[Any]:
        """Ids of the items whose ``column`` equals ``value``, at most ``limit``, ascending."""
        items = self.items
        statement = select(items.id).where(items.column(column) == value).order_by(items.id)
        with self.connection() as connection:
            return list(connection.scalars(statement.limit(limit)))

    def read_interactions(self) -> Interactions:
        """The whole log, streamed, as codes over vocabularies.

        Memory is 8 bytes an event, 8 more for each column of numbers that is mapped, and 4 for
        kinds. Events whose user or item is NULL are left out; those without a time come first.

        Raises
        ------
        EmptyInput
            A log without events.
        InvalidOption
            A negative dwell; the column is named.
        """
        log = self.interactions
        users, items, kinds = Coder(log.user_kind), Coder(log.item_kind), Coder()
        columns: dict[str, tuple[ColumnElement[Any] | None, Reader]] = {
            "user": (log.user, users.read),
            "item": (log.item, items.read),
            "kind": (log.kind, kinds.read),
            "time": (log.time, seconds),
            "order": (log.order, seconds),
            "value": (log.value, numbers),
            "dwell": (log.dwell, numbers),
        }
        mapped = {
            name: (column, read) for name, (column, read) in columns.items() if column is not None
        }
        found: dict[str, list[Array]] = {name: [] for name in mapped}
        statement = select(*(column for column, _ in mapped.values())).where(
            log.user.is_not(None), log.item.is_not(None)
        )
        statement = statement.execution_options(yield_per=_BATCH)
        with self.connection() as connection, connection.execute(statement) as result:
            for batch in result.partitions():
                for name, values in zip(mapped, zip(*batch, strict=True), strict=True):
                    found[name].append(mapped[name][1](values))
        if not found["user"]:
            raise EmptyInput(
                f"The {shown_table(log.table)} holds no events; load some with `itemspace ingest`.",
                path=str(log.table),
            )
        joined = {name: np.concatenate(arrays) for name, arrays in found.items()}
        if log.order is not None:
            places = np.argsort(joined["order"], kind="stable")
            for name in mapped:
                joined[name] = joined[name][places]
        user_ids, user_codes = users.sort(joined["user"])
        item_ids, item_codes = items.sort(joined["item"])
        names, codes = (None, None) if log.kind is None else kinds.sort(joined["kind"])
        try:
            return Interactions(
                user_ids,
                item_ids,
                user_codes,
                item_codes,
                joined.get("time"),
                names,
                codes,
                joined.get("value"),
                joined.get("dwell"),
            )
        except InvalidOption as error:
            raise InvalidOption(
                f"{log.dwell}: {error}", option="dwell_column", received=error.received
            ) from error

    def side_information(self, fields: Iterable[str] | Mapping[str, Any]) -> SideInformation:
        """What SQL says of the items, streamed, for builders; items without an id are left out.

        One statement for the items, and one for each :class:`.Related`.

        Parameters
        ----------
        fields
            Names of columns of the items; or name → source, which is such a name, a SQLAlchemy
            column or expression over the items, a :class:`.JsonPath` or a :class:`.Related`.

        Returns
        -------
        SideInformation
            In the order of the database's rows. None is no value; several values are a list
            without NULL and duplicates. Its ``report`` says what was left out and how often:
            related rows of unknown items, JSON that holds no value.

        Raises
        ------
        UnknownColumn, UnmappedTable
            A column or a table that is not there; those that are there are named. An expression,
            or a relationship, of other tables than the items'.
        InvalidId
            A related table with ids of another kind than the items'.
        InvalidOption
            What is no source; a SELECT with other than two columns.
        DuplicateIds
            An item in two rows.
        """
        return read_side_information(self, fields)

    def _forked(self) -> None:
        """In a child: the connections in the pools are the parent's, and are left to it."""
        engines = {self.engine, self.bookkeeping, *self._made}
        if isinstance(self._reader, Engine):
            engines.add(self._reader)
        for engine in engines:
            if not isinstance(engine.pool, SingletonThreadPool | StaticPool):
                engine.dispose(close=False)


_catalogs: weakref.WeakSet[Catalog] = weakref.WeakSet()


def _after_fork() -> None:
    for catalog in list(_catalogs):
        catalog._forked()


os.register_at_fork(after_in_child=_after_fork)
