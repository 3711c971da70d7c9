"""What a lookup ranks items by: how near they are to a vector, or how popular they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..core.ids import Ids
from ..core.neighbors import Completeness, NeighborList
from ..core.retriever import Retriever
from ..core.scoring import rank
from ..core.vectors import FloatMatrix

#: So few items are not excluded by the backend: asking for as many more takes less time.
_FEW = 100


class Ranking(Protocol):
    """Items from the best to the worst."""

    @property
    def excluded(self) -> Ids:
        """Items that never come back."""

    def best(self, k: int, allowed: Ids | None = None) -> NeighborList:
        """The k best, or the k best of those allowed; ``EXHAUSTED`` where there are no more."""

    def vectors(self, ids: Ids) -> FloatMatrix | None:
        """Vectors of items that came back, or None where they may have none."""


@dataclass(frozen=True, eq=False)
class VectorRanking:
    """Items by how near they are to a query vector."""

    retriever: Retriever
    query: FloatMatrix
    """(1, d)."""
    excluded: Ids
    """Items that never come back."""

    def best(self, k: int, allowed: Ids | None = None) -> NeighborList:
        """See :class:`Ranking`."""
        count = len(self.excluded)
        if allowed is not None or count > max(_FEW, k):
            return self._search(k, allowed=allowed, excluded=self.excluded)
        found = self._search(k + count)
        gone = set(self.excluded)
        kept = [at for at, name in enumerate(found.ids.tolist()) if name not in gone][:k]
        complete = Completeness.FULL if len(kept) == k else found.completeness
        return found.take(kept, complete)

    def _search(self, k: int, **filters: Ids | None) -> NeighborList:
        found: NeighborList = self.retriever.search(self.query, k, **filters)[0]
        return found

    def vectors(self, ids: Ids) -> FloatMatrix | None:
        """See :class:`Ranking`."""
        return self.retriever.vectors(ids)


@dataclass(frozen=True, eq=False)
class PopularRanking:
    """Items by how many events they have, then by id; those without an event come last.

    A score is a number of events. Items need no vector.
    """

    ids: Ids
    """Items that have events, most first."""
    counts: npt.NDArray[np.int64]
    excluded: Ids
    """Items that never come back."""

    def best(self, k: int, allowed: Ids | None = None) -> NeighborList:
        """See :class:`Ranking`."""
        if allowed is None:
            most = k + len(self.excluded)
            ids, counts = self.ids[:most], self.counts[:most]
        else:
            rows = self.ids.rows_of(allowed)
            ids, counts = allowed, np.where(rows >= 0, self.counts[rows], 0)
        kept = np.flatnonzero(self.excluded.rows_of(ids) < 0)
        names, scores = ids.to_array()[kept], counts[kept].astype(np.float64)
        order = rank(scores, names)[:k]
        # Items without an event are known only where they are allowed by name.
        short = Completeness.UNKNOWN if allowed is None else Completeness.EXHAUSTED
        complete = Completeness.FULL if len(order) == k else short
        return NeighborList(names[order], scores[order], complete)

    def vectors(self, _ids: Ids) -> FloatMatrix | None:
        """None: see :class:`Ranking`."""
        return None
