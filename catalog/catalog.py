"""The catalog: mapped tables of items and interactions, read in a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.orm import Session

from ..core.behaviour import Interactions, encode
from ..core.errors import EmptyInput, UnknownIds
from ..core.ids import IdKind, Ids
from ..core.side_information import SideInformation
from . import schema
from .engines import open_engine, shown, translated_errors
from .mapping import InteractionTable, ItemTable, map_interactions, map_items

Bind = Connection | Session
_BATCH = 50_000


class Catalog:
    """Items and interactions in SQL, and itemspace's bookkeeping beside them.

    Parameters
    ----------
    engine
        A SQLAlchemy engine, which stays the caller's, or a database URL.
    items, id_column
        The items: a ``Table``, an ORM class, or a table name to reflect; and the column of their
        ids (text or integer).
    interactions, user_column, item_column, time_column, order_column
        The log, likewise. Times are Unix seconds, dates or timestamps (those without a zone are
        UTC). ``order_column`` orders events of the same time, whose order is the database's
        otherwise; it is needed where there are no times (``time_column=None``), except in the
        table that ``ingest`` makes, which numbers its events then.

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
    ) -> None:
        self._owned = isinstance(engine, str)
        self.engine = open_engine(engine) if isinstance(engine, str) else engine
        self._items = (items, id_column)
        self._interactions = (
            interactions,
            user_column,
            item_column,
            time_column,
            order_column,
        )
        try:
            schema.check(self.engine)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Catalog {shown(self.engine)}>"

    def close(self) -> None:
        """Close the connections of an engine that the catalog made itself."""
        if self._owned:
            self.engine.dispose()

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
        """The whole log, streamed, as codes over vocabularies; memory is 16 bytes an event.

        Events whose user or item is NULL are left out; those without a time come first. Raises
        :class:`~itemspace.core.errors.EmptyInput` for a log without events.
        """
        log = self.interactions
        extra = [column for column in (log.time, log.order) if column is not None]
        statement = select(log.user, log.item, *extra).where(
            log.user.is_not(None), log.item.is_not(None)
        )
        users, items = _Coder(log.user_kind), _Coder(log.item_kind)
        numbers: list[list[np.ndarray[Any, np.dtype[np.float64]]]] = [[] for _ in extra]
        statement = statement.execution_options(yield_per=_BATCH)
        with self.connection() as connection, connection.execute(statement) as result:
            for batch in result.partitions():
                column = zip(*batch, strict=True)
                users.add(next(column))
                items.add(next(column))
                for found, values in zip(numbers, column, strict=True):
                    found.append(_seconds(values))
        if not users.codes:
            raise EmptyInput(
                f"The table {log.table} holds no events; load some with `itemspace ingest`.",
                path=str(log.table),
            )
        user_ids, user_codes = users.finish()
        item_ids, item_codes = items.finish()
        joined = [np.concatenate(found) for found in numbers]
        times = joined[0] if log.time is not None else None
        if log.order is not None:
            places = np.argsort(joined[-1], kind="stable")
            user_codes, item_codes = user_codes[places], item_codes[places]
            times = None if times is None else times[places]
        return Interactions(user_ids, item_ids, user_codes, item_codes, times)

    def read_side_information(self, columns: Iterable[str]) -> SideInformation:
        """What the table of items says in some columns, streamed; items without an id are left out.

        Raises
        ------
        UnknownColumn
            A column that the table lacks; those that it has are named.
        DuplicateIds
            An item in two rows.
        """
        items = self.items
        names = list(dict.fromkeys(columns))
        statement = select(items.id, *map(items.column, names)).where(items.id.is_not(None))
        statement = statement.execution_options(yield_per=_BATCH)
        ids: list[Any] = []
        values: list[list[Any]] = [[] for _ in names]
        with self.connection() as connection, connection.execute(statement) as result:
            for batch in result.partitions():
                column = zip(*batch, strict=True)
                ids.extend(next(column))
                for found, more in zip(values, column, strict=True):
                    found.extend(more)
        return SideInformation(Ids(ids, items.id_kind), dict(zip(names, values, strict=True)))

    def recent_items(self, user: Any, limit: int, bind: Bind | None = None) -> list[Any]:
        """The user's last items, newest first, each once, at most ``limit``.

        Raises :class:`~itemspace.core.errors.UnknownIds` for a user without events.
        """
        log = self.interactions
        statement = select(log.item).where(log.user == user, log.item.is_not(None))
        statement = statement.group_by(log.item)
        for column in (log.time, log.order):
            if column is not None:
                newest = func.max(column)
                statement = statement.order_by(newest.is_(None), newest.desc())
        statement = statement.order_by(log.item)
        self._check_user(user)
        with self.connection(bind) as connection:
            found = list(connection.scalars(statement.limit(limit)))
        if not found:
            raise UnknownIds(f"The user {user!r} has no events in {log.table}.", ids=[user])
        return found

    def _check_user(self, user: Any) -> None:
        """Raise :class:`~itemspace.core.errors.InvalidId` for what is no id of a user."""
        Ids([user], self.interactions.user_kind)

    def seen_items(self, user: Any, bind: Bind | None = None) -> list[Any]:
        """Every item that the user has an event with, each once."""
        log = self.interactions
        statement = select(log.item).where(log.user == user, log.item.is_not(None)).distinct()
        with self.connection(bind) as connection:
            return list(connection.scalars(statement))


class _Coder:
    """Ids → codes in order of appearance, batch by batch; sorted at the end."""

    def __init__(self, kind: IdKind) -> None:
        self._kind: IdKind = kind
        self._known: dict[Any, int] = {}
        self.codes: list[np.ndarray[Any, np.dtype[np.int32]]] = []

    def add(self, values: Iterable[Any]) -> None:
        known = self._known
        self.codes.append(
            np.fromiter((known.setdefault(value, len(known)) for value in values), np.int32)
        )

    def finish(self) -> tuple[Ids, np.ndarray[Any, np.dtype[np.int32]]]:
        vocabulary, code_of = encode(Ids(self._known, self._kind))
        return vocabulary, code_of[np.concatenate(self.codes)]


def _seconds(stamps: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Unix seconds of numbers, datetimes or dates; 0 for NULL."""
    try:
        seconds = np.array(stamps, dtype=np.float64)
    except TypeError:
        seconds = np.array([_unix(stamp) for stamp in stamps], dtype=np.float64)
    return np.nan_to_num(seconds, copy=False, nan=0.0)


def _unix(stamp: date | None) -> float | None:
    if stamp is None:
        return None
    if not isinstance(stamp, datetime):
        stamp = datetime.combine(stamp, time.min)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
