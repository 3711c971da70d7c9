"""Which of the nearest items match the conditions: ask the index for more, or score all matches.

1. The nearest p items are checked against the conditions (plan ``candidates``), p being k where
   there are none, and 14 k otherwise: enough where a tenth of the items matches.
2. If k of them did not match, their share says what is cheaper: to check as many as that share
   makes necessary, or
3. to fetch the ids of all matches and score exactly those (plan ``matches``).

Every way ends with k items or with all that exist, in at most four statements.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.orm import Session

from ..catalog.candidates import fetch_ids, is_among
from ..catalog.mapping import ItemTable
from ..core.ids import Ids
from ..core.neighbors import Completeness, NeighborList
from .rankings import Ranking

#: How many candidates are looked at first, for each item that is wanted.
FIRST_POOL = 14
#: What it takes to find and check a candidate, in units of what it takes to fetch and score a
#: match: measured on a million items in SQLite, 8 µs and 2 µs.
CANDIDATE_COST = 4
#: A second pool should hold so many times the items wanted, and so many more.
POOL_FACTOR, POOL_MORE = 2, 10

#: The rows of a statement for found items: the first k that match.
FetchRows = Callable[[NeighborList, int], Any]


@dataclass(frozen=True)
class Plan:
    """How a lookup was answered."""

    strategy: str
    """``"candidates"`` or ``"matches"``; see :mod:`itemspace.space.planner`."""
    matches: int | None
    """Items that match the conditions; ``None`` where they were not counted."""
    candidates: int
    """Items that the ranking gave, over all calls."""
    statements: int
    """SQL statements, the one for the rows included."""
    seconds_vectors: float
    seconds_sql: float

    def __str__(self) -> str:
        matches = "" if self.matches is None else f" {self.matches:,} matches,"
        return (
            f"{self.strategy}:{matches} {self.candidates:,} candidates, "
            f"{self.statements} SQL statement{'s' * (self.statements != 1)}, "
            f"vectors {1e3 * self.seconds_vectors:.1f} ms, "
            f"SQL {1e3 * self.seconds_sql:.1f} ms"
        )


class Clock:
    """What a lookup has cost so far."""

    def __init__(self) -> None:
        self.candidates = self.statements = 0
        self.seconds_vectors = self.seconds_sql = 0.0

    def ask(self, send: Callable[[], Any]) -> Any:
        """Send one statement."""
        started = time.perf_counter()
        try:
            return send()
        finally:
            self.statements += 1
            self.seconds_sql += time.perf_counter() - started

    def plan(self, strategy: str, matches: int | None) -> Plan:
        """What was done."""
        return Plan(
            strategy,
            matches,
            self.candidates,
            self.statements,
            self.seconds_vectors,
            self.seconds_sql,
        )


@dataclass(frozen=True)
class Resolved:
    """The k best matching items, or all there are."""

    found: NeighborList
    """Without items where ``rows`` are there already."""
    strategy: str
    matches: int | None
    rows: Any = None


class Planner:
    """One lookup's search for its k items.

    Parameters
    ----------
    run, matching
        Where to send statements, and what makes the one that selects the ids of the items that
        match.
    fetch
        Where the rows can be had in one statement with the check: what fetches them.
    """

    def __init__(
        self,
        ranking: Ranking,
        size: int,
        items: ItemTable,
        run: Connection | Session,
        dialect: Dialect,
        matching: Callable[[], Select[Any]],
        clock: Clock,
        fetch: FetchRows | None = None,
    ) -> None:
        self._ranking, self._size, self._items = ranking, size, items
        self._run, self._dialect, self._matching = run, dialect, matching
        self._clock, self._fetch = clock, fetch

    def resolve(self, k: int, *, narrowed: bool) -> Resolved:
        """The k best matching items; ``narrowed``: whether there are conditions at all."""
        pool = FIRST_POOL * k if narrowed else k
        resolved, share = self._among_best(pool, k)
        if resolved is None and share:
            needed = ceil((POOL_FACTOR * k + POOL_MORE) / share)
            if CANDIDATE_COST * needed < share * self._size:
                resolved, _ = self._among_best(needed, k)
        return resolved or self._score_matches(k)

    def _among_best(self, pool: int, k: int) -> tuple[Resolved | None, float]:
        """k matching items of the best ``pool``, or None and the share of those that match."""
        best, rows = self._best(pool), None
        if self._fetch is not None:
            rows = self._fetch(best, k)
            kept, count = [], len(rows[1])
        else:
            ids = best.ids.tolist()
            matching = self._check(ids)
            kept = [at for at, item in enumerate(ids) if item in matching][:k]
            count = len(kept)
        whole = best.completeness is Completeness.EXHAUSTED
        if count < k and not whole:
            return None, count / max(1, len(best))
        complete = Completeness.FULL if count == k else Completeness.EXHAUSTED
        return Resolved(best.take(kept, complete), "candidates", None, rows), 1.0

    def _check(self, ids: Sequence[Any]) -> set[Any]:
        """Those of some ids that match."""
        among = is_among(self._dialect.name, self._items.id, self._items.id_kind, ids)
        return set(self._clock.ask(lambda: self._run.scalars(self._matching().where(among)).all()))

    def _score_matches(self, k: int) -> Resolved:
        matches = self._clock.ask(lambda: fetch_ids(self._run, self._dialect, self._matching()))
        found = self._best(k, Ids(matches, self._items.id_kind))
        return Resolved(found, "matches", len(matches))

    def _best(self, k: int, allowed: Ids | None = None) -> NeighborList:
        started = time.perf_counter()
        found = self._ranking.best(k, allowed)
        self._clock.seconds_vectors += time.perf_counter() - started
        self._clock.candidates += len(found)
        return found
