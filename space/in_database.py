"""A lookup whose vectors are in the database of the items: one statement does it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Double,
    FromClause,
    Select,
    cast,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from ..catalog.candidates import ITEM_ID, RANK, SCORE, id_type
from ..catalog.mapping import ItemTable
from ..core.ids import Ids
from ..core.neighbors import Completeness, NeighborList
from ..core.vectors import FloatMatrix
from .planner import Clock, Resolved
from .rankings import VectorRanking

#: Items beyond k, so that those which the index gives out of order find their place.
_SPARE = 2
#: Names and rows of the user's statement, joined with a CTE.
FetchRows = Callable[[CTE], tuple[list[str], Any]]


class Vectors(Protocol):
    """A collection as a table; of a backend that says so for the same database."""

    table: FromClause
    """``id``, ``vec``."""

    def settings_for(self, count: int) -> dict[str, str]:
        """What to set in the transaction for a search for so many."""

    def distance(self, query: FloatMatrix, *, exact: bool) -> ColumnElement[float]:
        """Of each vector from a query (d,); ``exact``: by no index."""

    def score(self, distance: ColumnElement[float]) -> ColumnElement[float]:
        """Higher is better."""


class InDatabase:
    """One lookup, planned by the database itself, which knows how many rows match.

    The index is asked, and goes on until k matched or it gives up; where fewer came, all that match
    are scored. Scores are the database's: float32 sums, off by at most 1e-5 like everybody's.
    """

    def __init__(
        self,
        vectors: Vectors,
        ranking: VectorRanking,
        items: ItemTable,
        run: Connection | Session,
        matching: Callable[[], Select[Any]],
        clock: Clock,
        name: str,
        fetch: FetchRows | None,
    ) -> None:
        self._vectors, self._ranking, self._items = vectors, ranking, items
        self._run, self._matching, self._clock = run, matching, clock
        self._name, self._fetch = name, fetch

    def resolve(self, k: int, *, narrowed: bool) -> Resolved:
        """The k best matching items, or all there are."""
        settings = self._vectors.settings_for(k + _SPARE)
        calls = [func.set_config(name, value, True) for name, value in settings.items()]
        self._clock.ask(lambda: self._run.execute(select(*calls)).all())
        for exact in (False, True):
            near = self._near(k, narrowed, exact)
            rows = None if self._fetch is None else self._fetch(near)
            ids, scores = self._ask(near) if rows is None else ([], [])
            count = len(ids) if rows is None else len(rows[1])
            self._clock.candidates += count
            if count == k:
                break
        complete = Completeness.FULL if count == k else Completeness.EXHAUSTED
        names = Ids(ids, self._items.id_kind).to_array()
        found = NeighborList(names, np.array(scores, dtype=np.float64), complete)
        return Resolved(found, "database", None, rows)

    def _near(self, k: int, narrowed: bool, exact: bool) -> CTE:
        vectors, ids = self._vectors, self._vectors.table.c.id
        distance = vectors.distance(self._ranking.query[0], exact=exact)
        inner = select(ids.label(ITEM_ID), distance.label("distance"))
        matching = self._matching() if narrowed else select(self._items.id)
        inner = inner.where(ids.in_(matching))
        if len(self._ranking.excluded):
            array = ARRAY(id_type(self._items.id_kind))
            gone = cast(self._ranking.excluded.to_list(), array)
            inner = inner.where(ids.not_in(select(func.unnest(gone))))
        found = inner.order_by(distance).limit(k + _SPARE).subquery(f"{self._name}_found")
        place = func.row_number().over(order_by=[found.c.distance, found.c[ITEM_ID]])
        score: ColumnElement[float] = cast(vectors.score(found.c.distance), Double())
        ranked = select(found.c[ITEM_ID], score.label(SCORE), place.label(RANK)).subquery(
            f"{self._name}_ranked"
        )
        return select(ranked).where(ranked.c[RANK] <= k).cte(self._name)

    def _ask(self, near: CTE) -> tuple[list[Any], list[float]]:
        pairs = select(near.c[ITEM_ID], near.c[SCORE]).order_by(near.c[RANK])
        rows = self._clock.ask(lambda: self._run.execute(pairs).all())
        return [row[0] for row in rows], [row[1] for row in rows]
