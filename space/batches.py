"""Recommendations for many users at once: few statements, few searches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, Select, select

from ..catalog.candidates import fetch_ids, is_among
from ..catalog.catalog import Bind
from ..core.ids import Ids
from ..core.neighbors import Completeness, NeighborList
from ..core.retriever import IdFilter
from ..core.vectors import FloatMatrix
from .lookup import Ground
from .planner import Clock
from .rankings import PopularRanking, VectorRanking
from .subjects import Subject, UserOptions, Users, UserSource
from .variety import DEEPER, DEPTH, Variety

#: At most so many ids stand in one statement.
_CHUNK = 50_000


class BatchGround(Ground, Protocol):
    """What a batch needs of its space."""

    @property
    def users(self) -> Users:
        """The version's users."""


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The items for one user, best first."""

    user: Any
    ids: npt.NDArray[Any]
    """int64, or object of ``str``; (m,), m ≤ k."""
    scores: npt.NDArray[np.float64]
    """(m,); numbers of events where the source is ``POPULAR``."""
    source: UserSource
    completeness: Completeness
    version: int
    """Of the space, that answered; at its :attr:`revision`."""
    revision: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(eq=False)
class _Open:
    """A user without an answer yet."""

    user: Any
    subject: Subject
    seen: frozenset[Any]
    depth: int
    """How many items are wanted before they are re-ranked."""

    @property
    def fetch(self) -> int:
        """How many to ask for: as many more as were seen, up to a power of two."""
        return self.depth + (1 << (len(self.seen) - 1).bit_length() if self.seen else 0)


class Batch:
    """Recommends to any number of users, call by call, under one condition.

    What it learns of items (which meet the condition, have a row, what the capped column says)
    it keeps, so it is for one run, not for ever.

    Parameters
    ----------
    condition
        Over the columns of the items; None: every item that has a row.
    """

    def __init__(
        self,
        space: BatchGround,
        k: int,
        options: UserOptions,
        condition: ColumnElement[bool] | None = None,
        variety: Variety | None = None,
    ) -> None:
        self._space, self._k, self._options = space, k, options
        self._condition, self._variety = condition, variety or Variety()
        self._allowed: IdFilter | None = None
        self._has_row: dict[Any, bool] = {}
        self._values: dict[Any, Any] = {}

    def recommend(self, users: Sequence[Any], bind: Bind | None = None) -> list[Recommendation]:
        """For each of distinct users, in their order; raises as :meth:`.Space.for_users`."""
        Ids(users).check_unique("these users")
        with self._space.connection(bind) as connection:
            if self._condition is not None and self._allowed is None:
                ids = self._read(select(self._space.items.id).where(self._condition), connection)
                self._allowed = self._space.retriever.filter(ids)
            subjects = self._space.users.subjects(users, self._options, connection, Clock())
            depth = DEPTH * self._k if self._variety else self._k
            pending = [
                _Open(user, subject, frozenset(subject.ranking.excluded), depth)
                for user, subject in zip(users, subjects, strict=True)
            ]
            found: dict[Any, Recommendation] = {}
            while pending:
                pending = self._answer(pending, found, connection)
        return [found[user] for user in users]

    def _answer(
        self, pending: list[_Open], found: dict[Any, Recommendation], connection: Connection
    ) -> list[_Open]:
        """Answer those who can be; those who are left want to see more items."""
        lists = list(self._lists(pending, connection))
        names = {name for nearest in lists for name in nearest.ids.tolist()}
        self._learn(names, connection)
        left = []
        for one, nearest in zip(pending, lists, strict=True):
            chosen = self._choose(one, self._trimmed(one, nearest))
            whole = nearest.completeness is Completeness.EXHAUSTED or len(nearest) < one.fetch
            if len(chosen) < self._k and not whole:
                one.depth *= DEEPER
                left.append(one)
                continue
            complete = Completeness.FULL if len(chosen) == self._k else nearest.completeness
            source = one.subject.source
            assert source is not None
            found[one.user] = Recommendation(
                one.user,
                chosen.ids,
                chosen.scores,
                source,
                complete,
                self._space.version,
                self._space.revision,
            )
        return left

    def _lists(self, pending: list[_Open], connection: Connection) -> Iterable[NeighborList]:
        """The nearest items of each, seen ones among them; searches are done together."""
        lists: dict[int, NeighborList] = {}
        groups: dict[int, list[tuple[int, FloatMatrix]]] = {}
        for at, one in enumerate(pending):
            ranking = one.subject.ranking
            if isinstance(ranking, VectorRanking):
                groups.setdefault(one.fetch, []).append((at, ranking.query))
            else:
                lists[at] = self._popular(one.fetch, connection)
        for fetch, members in groups.items():
            queries = np.concatenate([query for _, query in members])
            answers = self._space.retriever.search(queries, fetch, allowed=self._allowed)
            lists.update((at, answer) for (at, _), answer in zip(members, answers, strict=True))
        return (lists[at] for at in range(len(pending)))

    def _popular(self, count: int, connection: Connection) -> NeighborList:
        """The first of the popular items."""
        ranked = self._popular_ones
        if len(ranked) < count and self._allowed is None:
            # Items without an event come last, and only the table knows them.
            ids = self._read(select(self._space.items.id), connection)
            ranked = self._popular_ones = self._ranked_by_events(ids)
        whole = Completeness.EXHAUSTED if len(ranked) < count else Completeness.FULL
        return ranked.take(slice(count), whole)

    @cached_property
    def _popular_ones(self) -> NeighborList:
        """All that are allowed, most popular first."""
        return self._ranked_by_events(None if self._allowed is None else self._allowed.ids)

    def _ranked_by_events(self, allowed: Ids | None) -> NeighborList:
        ids, counts = self._space.users.popular()
        ranking = PopularRanking(ids, counts, Ids([], ids.kind))
        return ranking.best(len(ids) if allowed is None else max(1, len(allowed)), allowed)

    def _learn(self, names: set[Any], connection: Connection) -> None:
        """Which of the items have a row (where no condition says so), and their values."""
        items, column = self._space.items, self._variety.column
        if self._allowed is None or column is not None:
            new = [name for name in names if name not in self._has_row]
            wanted = select(items.id, items.id if column is None else column)
            for start in range(0, len(new), _CHUNK):
                chunk = new[start : start + _CHUNK]
                among = is_among(connection.dialect.name, items.id, items.id_kind, chunk)
                found = dict(connection.execute(wanted.where(among)).all())
                self._has_row |= {name: name in found for name in chunk}
                if column is not None:
                    self._values |= found

    def _trimmed(self, one: _Open, nearest: NeighborList) -> NeighborList:
        """Without what was seen or has no row."""
        names = nearest.ids.tolist()
        checked = self._has_row if self._allowed is None else None
        kept = [
            at
            for at, name in enumerate(names)
            if name not in one.seen and (checked is None or checked[name])
        ][: one.depth]
        return nearest.take(kept)

    def _choose(self, one: _Open, found: NeighborList) -> NeighborList:
        if not self._variety:
            return found.take(slice(self._k))
        values = None
        if self._variety.column is not None:
            values = [self._values[name] for name in found.ids.tolist()]
        return self._variety.choose(found, one.subject.ranking, values, self._k)

    def _read(self, statement: Select[Any], connection: Connection) -> Ids:
        """Distinct ids."""
        items = self._space.items
        ids = fetch_ids(connection, connection.dialect, statement.where(items.id.is_not(None)))
        return Ids(ids, items.id_kind)
