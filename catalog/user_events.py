"""What users did: their last items, what they have seen, who they are, what is popular."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, func, select

from ..core.errors import InvalidOption, UnknownColumn
from ..core.ids import Ids
from .candidates import is_among
from .catalog import Bind, Catalog
from .mapping import InteractionTable

_PAGE = 50_000


@dataclass(frozen=True)
class Seen:
    """Which events make an item one that a user has seen; all of them, unless restricted.

    Parameters
    ----------
    kinds
        Kinds of events that count, such as ``("purchase",)``; None: all. Needs the catalog's
        ``kind_column``.
    since
        The events of this moment (Unix seconds, or a datetime, UTC without a zone) and later
        count, or of so long (a timedelta) before now; None: all. Needs the ``time_column``.
    """

    kinds: Sequence[int | str] | None = None
    since: float | datetime | timedelta | None = None

    def __post_init__(self) -> None:
        if isinstance(self.kinds, str | bytes):
            raise InvalidOption(
                f"kinds is a sequence of kinds of events; received the single {self.kinds!r}. Use "
                f"({self.kinds!r},).",
                option="kinds",
                received=self.kinds,
            )

    def conditions(self, log: InteractionTable) -> list[ColumnElement[bool]]:
        """Over the log's columns; :class:`UnknownColumn` where it lacks one that is needed."""
        found: list[ColumnElement[bool]] = []
        if self.kinds is not None:
            found.append(_needed(log.kind, "kind_column").in_(list(self.kinds)))
        if self.since is not None:
            column = _needed(log.time, "time_column")
            found.append(column >= _moment(column, self.since))
        return found


def recent_items(
    catalog: Catalog, users: Sequence[Any], limit: int, bind: Bind | None = None
) -> dict[Any, list[Any]]:
    """Users' last items, newest first, each once, at most ``limit`` each, in one statement.

    Users without events are left out. Raises :class:`InvalidId` for what is no id of a user.
    """
    log = catalog.interactions
    newest = []
    for column in (log.time, log.order):
        if column is not None:
            latest = func.max(column)
            newest += [latest.is_(None), latest.desc()]
    place = func.row_number().over(partition_by=log.user, order_by=[*newest, log.item])
    placed = (
        select(log.user.label("user"), log.item.label("item"), place.label("place"))
        .where(_of(catalog, users), log.item.is_not(None))
        .group_by(log.user, log.item)
        .subquery()
    )
    statement = (
        select(placed.c.user, placed.c.item)
        .where(placed.c.place <= limit)
        .order_by(placed.c.user, placed.c.place)
    )
    return _gathered(catalog, statement, bind)


def seen_items(
    catalog: Catalog, users: Sequence[Any], seen: Seen, bind: Bind | None = None
) -> dict[Any, list[Any]]:
    """The items that users have seen, each once, in one statement.

    Users who have seen nothing are left out. Raises :class:`InvalidId` for what is no id of a
    user.
    """
    log = catalog.interactions
    statement = (
        select(log.user, log.item)
        .where(_of(catalog, users), log.item.is_not(None), *seen.conditions(log))
        .distinct()
    )
    return _gathered(catalog, statement, bind)


def count_users(catalog: Catalog) -> int:
    """How many users have events."""
    log = catalog.interactions
    with catalog.connection() as connection:
        return int(connection.scalar(select(func.count(log.user.distinct()))) or 0)


def user_pages(catalog: Catalog, size: int, after: Any = None) -> Iterator[list[Any]]:
    """The users with events, in the order of their ids in the database, ``size`` at a time.

    ``after``: those that come after this one. A connection is held only while a page is read.
    """
    log = catalog.interactions
    statement = select(log.user).where(log.user.is_not(None)).distinct().order_by(log.user)
    while True:
        page = statement if after is None else statement.where(log.user > after)
        with catalog.connection() as connection:
            users = list(connection.scalars(page.limit(size)))
        if not users:
            return
        yield users
        after = users[-1]


def count_events(catalog: Catalog) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Items by how many events they have, most first, then by id; and how many."""
    log = catalog.interactions
    statement = select(log.item, func.count()).where(log.item.is_not(None)).group_by(log.item)
    items: list[Any] = []
    counts: list[int] = []
    with catalog.connection() as connection:
        result = connection.execute(statement.execution_options(yield_per=_PAGE))
        for page in result.partitions():
            some, numbers = zip(*page, strict=True)
            items += some
            counts += numbers
    ids, totals = Ids(items, log.item_kind), np.array(counts, dtype=np.int64)
    order = np.lexsort((ids.to_array(), -totals))
    return ids[order], totals[order]


def _of(catalog: Catalog, users: Sequence[Any]) -> ColumnElement[bool]:
    """That an event is of one of the users."""
    log = catalog.interactions
    Ids(users, log.user_kind)  # raises InvalidId
    if len(users) == 1:
        one: ColumnElement[bool] = log.user == users[0]
        return one
    return is_among(catalog.dialect, log.user, log.user_kind, users)


def _gathered(catalog: Catalog, statement: Any, bind: Bind | None) -> dict[Any, list[Any]]:
    found: defaultdict[Any, list[Any]] = defaultdict(list)
    with catalog.connection(bind) as connection:
        for user, item in connection.execute(statement):
            found[user].append(item)
    return dict(found)


def _needed(column: ColumnElement[Any] | None, option: str) -> ColumnElement[Any]:
    if column is None:
        raise UnknownColumn(
            f"The log's {option} is not named, so events cannot be told apart by it; name it to "
            "the catalog.",
            column=option,
        )
    return column


def _moment(column: ColumnElement[Any], since: float | datetime | timedelta) -> Any:
    """``since`` as the column says its times."""
    if isinstance(since, timedelta):
        since = datetime.now(UTC) - since
    if not isinstance(since, datetime):
        since = datetime.fromtimestamp(since, UTC)
    since = since if since.tzinfo else since.replace(tzinfo=UTC)
    kind = column.type.python_type
    if issubclass(kind, datetime):
        aware = getattr(column.type, "timezone", False)
        return since if aware else since.astimezone(UTC).replace(tzinfo=None)
    if issubclass(kind, date):
        return since.astimezone(UTC).date()
    return since.timestamp()
