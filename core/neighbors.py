"""Answers: ragged, never padded, each saying whether it is complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt


class Completeness(StrEnum):
    """Why an answer has the length it has.

    It speaks of the number of items, not of recall: an approximate index that returns k items
    answers ``FULL`` even where another item is nearer.
    """

    FULL = "full"
    """k items were found."""
    EXHAUSTED = "exhausted"
    """Every match is here; fewer than k exist."""
    STOPPED = "stopped"
    """A budget ended the search; more may exist."""
    UNKNOWN = "unknown"
    """The backend cannot say."""


@dataclass(frozen=True, eq=False)
class NeighborList:
    """The answer to one query, best first, ids ascending among equal scores."""

    ids: npt.NDArray[Any]
    """int64, or object of ``str``; shape (m,), m ≤ k, no id twice."""
    scores: npt.NDArray[np.float64]
    """Higher is better (see :class:`~itemspace.core.metric.Metric`); shape (m,), descending."""
    completeness: Completeness

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: Any, completeness: Completeness | None = None) -> NeighborList:
        """Those at some places (anything that indexes an array), in that order."""
        complete = self.completeness if completeness is None else completeness
        return NeighborList(self.ids[places], self.scores[places], complete)

    def __iter__(self) -> Iterator[tuple[Any, float]]:
        """Pairs of id and score."""
        return zip(self.ids.tolist(), self.scores.tolist(), strict=True)


class Neighbors(Sequence[NeighborList]):
    """The answers to a batch of queries, in the order of the queries."""

    def __init__(self, lists: Sequence[NeighborList]) -> None:
        self._lists = tuple(lists)

    def __len__(self) -> int:
        return len(self._lists)

    def __getitem__(self, key: Any) -> Any:
        return self._lists[key]

    def __repr__(self) -> str:
        kinds = ", ".join(sorted({answer.completeness for answer in self._lists}))
        return f"<Neighbors of {len(self)} queries: {kinds}>"
