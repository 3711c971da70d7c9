"""Answers that are not all alike: a re-rank by marginal relevance, and a cap per value of a field.

Carbonell & Goldstein 1998, "The Use of MMR, Diversity-Based Reranking": items are chosen one after
the other, each by (1 − λ) relevance − λ max cos(item, one chosen before). Departures: λ is the
share of diversity, not of relevance, which is the score, scaled linearly to [0, 1] over the
candidates, since inner products and distances have no scale of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement

from ..core.errors import InvalidOption
from ..core.ids import Ids
from ..core.neighbors import Completeness, NeighborList
from ..core.vectors import FloatMatrix, unit_rows
from .rankings import Ranking

#: How many candidates there are at first for each item that is wanted, and how many times as many
#: where they were not enough.
DEPTH, DEEPER = 5, 4


@dataclass(frozen=True, eq=False)
class Variety:
    """What an answer is re-ranked by; nothing, by default."""

    diversity: float = 0.0
    """λ: 0 is the plain order, 1 looks at nothing but differences."""
    column: ColumnElement[object] | None = None
    """Of whose values no more than ``most`` items each come back; NULL is no value."""
    most: int = 0

    def __bool__(self) -> bool:
        return self.diversity > 0 or self.column is not None

    def diverse(self, diversity: float) -> Variety:
        """With another λ; :class:`InvalidOption` unless it is from 0 to 1."""
        if not 0 <= diversity <= 1:
            raise InvalidOption(
                f"diversity is from 0 to 1; received {diversity}.",
                option="diversity",
                received=diversity,
            )
        return replace(self, diversity=diversity)

    def at_most(self, most: int, column: ColumnElement[object]) -> Variety:
        """With a cap; :class:`InvalidOption` unless it is at least 1."""
        if most < 1:
            raise InvalidOption(
                f"At most so many of a value, at least 1; received {most}.",
                option="most",
                received=most,
            )
        return replace(self, most=most, column=column)

    def choose(
        self, found: NeighborList, ranking: Ranking, values: Sequence[Hashable] | None, k: int
    ) -> NeighborList:
        """At most k of the items that a ranking gave, in the order in which they are chosen.

        ``values``: what the column says of each, or None without a cap.
        """
        vectors = None
        if self.diversity:
            vectors = ranking.vectors(Ids(found.ids, ranking.excluded.kind))
        picked = self._pick(found.scores, vectors, values, k)
        complete = Completeness.FULL if len(picked) == k else Completeness.EXHAUSTED
        return found.take(picked, complete)

    def _pick(
        self,
        scores: npt.NDArray[np.float64],
        vectors: FloatMatrix | None,
        values: Sequence[Hashable] | None,
        k: int,
    ) -> list[int]:
        """Positions of at most k of the candidates, in the order in which they are chosen.

        Parameters
        ----------
        scores
            (m,), descending.
        vectors
            (m, d), or None where there are none; then nothing but the cap applies.
        values
            The m values of the column, or None without a cap.
        """
        span = float(scores[0] - scores[-1]) if len(scores) else 0.0
        gains = (scores - scores[-1]) / span if span > 0 else np.ones(len(scores))
        share = self.diversity if vectors is not None else 0.0
        units = unit_rows(vectors) if vectors is not None and share > 0 else None
        nearest = np.zeros(len(scores))
        used: Counter[Hashable] = Counter()
        open_ = np.ones(len(scores), dtype=np.bool_)
        picked: list[int] = []
        while len(picked) < k and open_.any():
            worth = np.where(open_, (1 - share) * gains - share * nearest, -np.inf)
            at = int(np.argmax(worth))
            open_[at] = False
            value = None if values is None else values[at]
            if value is not None and used[value] == self.most:
                continue
            used[value] += 1
            picked.append(at)
            if units is not None:
                alike = (units @ units[at]).astype(np.float64)
                nearest = alike if len(picked) == 1 else np.maximum(nearest, alike)
        return picked
