"""Which of the nearest items match the conditions: few matches → score those; many → ask the index.

The selectivity is measured, not guessed: ``SELECT id … WHERE … LIMIT T + 1``.

1. No condition: the nearest k, checked for having a row.
2. At most T matches: exactly those are the search's ``allowed`` set (plan ``matches``).
3. More: the nearest p items are checked against the conditions (plan ``candidates``); with at
   least T + 1 matches among n items, p = 4·k·n/T is nearly always enough.
4. If it was not: all matches are fetched and are the ``allowed`` set (plan ``all matches``).

Every way ends with k items or with all that exist.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import ceil
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.orm import Session

from ..catalog.candidates import is_among
from ..catalog.mapping import ItemTable
from ..core.ids import Ids
from ..core.neighbors import Completeness, NeighborList
from ..core.retriever import Retriever
from ..core.vectors import FloatMatrix

#: T: up to so many matching ids are fetched and scored.
MATCH_LIMIT = 10_000
_POOL_FACTOR = 4


@dataclass(frozen=True)
class Plan:
    """How a lookup was answered."""

    strategy: str
    """``"candidates"``, ``"matches"`` or ``"all matches"``; see :mod:`itemspace.space.planner`."""
    matches: int | None
    """Items that match the conditions; ``None`` where they were not counted."""
    candidates: int
    """Items that the vector search returned, over all its calls."""
    statements: int
    """SQL statements, the one for the rows included."""
    seconds_vectors: float
    seconds_sql: float

    def __str__(self) -> str:
        matches = "many" if self.matches is None else f"{self.matches:,}"
        return (
            f"{self.strategy}: {matches} matches, {self.candidates:,} candidates, "
            f"{self.statements} SQL statements, vectors {1e3 * self.seconds_vectors:.1f} ms, "
            f"SQL {1e3 * self.seconds_sql:.1f} ms"
        )


class Planner:
    """One lookup's search for its k items."""

    def __init__(
        self,
        retriever: Retriever,
        items: ItemTable,
        run: Connection | Session,
        dialect: str,
        matching: Select[Any],
        query: FloatMatrix,
        excluded: Ids,
    ) -> None:
        """``matching`` selects, on ``run``, the distinct ids of the items that match."""
        self._retriever, self._items, self._run = retriever, items, run
        self._dialect = dialect
        self._matching, self._query, self._excluded = matching, query, excluded
        self._candidates = self._statements = 0
        self._seconds_vectors = self._seconds_sql = 0.0

    def resolve(self, k: int, *, narrowed: bool) -> tuple[NeighborList, Plan]:
        """The k nearest matching items; ``narrowed``: whether there are conditions at all."""
        pool = k
        if narrowed:
            matches = self._fetch(MATCH_LIMIT + 1)
            if len(matches) <= MATCH_LIMIT:
                return self._score(matches, k, "matches")
            pool = ceil(_POOL_FACTOR * k * len(self._retriever) / len(matches))
        found = self._among_nearest(pool, k)
        if len(found) == k:
            return found, self._plan("candidates", None)
        return self._score(self._fetch(None), k, "all matches")

    def _score(self, matches: list[Any], k: int, strategy: str) -> tuple[NeighborList, Plan]:
        found = self._search(k, allowed=Ids(matches, self._items.id_kind))
        return found, self._plan(strategy, len(matches))

    def _among_nearest(self, pool: int, k: int) -> NeighborList:
        """Those of the nearest ``pool`` items that match, at most k."""
        nearest = self._search(pool)
        ids = nearest.ids.tolist()
        condition = is_among(self._dialect, self._items.id, self._items.id_kind, ids)
        matching = set(self._ask(self._matching.where(condition)))
        kept = [at for at, item in enumerate(ids) if item in matching][:k]
        complete = Completeness.FULL if len(kept) == k else Completeness.EXHAUSTED
        return NeighborList(nearest.ids[kept], nearest.scores[kept], complete)

    def _fetch(self, limit: int | None) -> list[Any]:
        return self._ask(self._matching.limit(limit))

    def _search(self, k: int, allowed: Ids | None = None) -> NeighborList:
        started = time.perf_counter()
        (found,) = self._retriever.search(self._query, k, allowed=allowed, excluded=self._excluded)
        self._seconds_vectors += time.perf_counter() - started
        self._candidates += len(found)
        return found

    def _ask(self, statement: Select[Any]) -> list[Any]:
        started = time.perf_counter()
        found = list(self._run.scalars(statement))
        self._seconds_sql += time.perf_counter() - started
        self._statements += 1
        return found

    def _plan(self, strategy: str, matches: int | None) -> Plan:
        return Plan(
            strategy,
            matches,
            self._candidates,
            self._statements,
            self._seconds_vectors,
            self._seconds_sql,
        )
