"""Scores of all items for each history: from vectors, or by a builder that has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_array

from ..core.behaviour import Sequences
from ..core.histories import Recent
from ..core.ids import Ids
from ..core.metric import Metric
from ..core.vectors import FloatMatrix, VectorSet, unit_rows

#: Cases that are scored together.
BLOCK = 512


class Scorer(Protocol):
    """Scores every item of a vocabulary for histories over the same vocabulary."""

    def scores(self, histories: Sequences) -> FloatMatrix:
        """(histories, items), higher is better; -inf for items that it cannot recommend."""


@dataclass(frozen=True, eq=False)
class VectorScorer:
    """Items near the weighted mean of the history's recent items."""

    vectors: VectorSet
    recent: Recent

    def scores(self, histories: Sequences) -> FloatMatrix:
        """Scores in the metric's order; -inf for items without a vector.

        Items of a history without a vector are passed over; a history without any scores zero.
        """
        matrix, known = _aligned(self.vectors, histories.vocabulary)
        metric = self.vectors.metric
        if metric is Metric.COSINE:
            matrix = unit_rows(matrix)
        offsets, codes, weights = self.recent.weigh(histories)
        shape = (len(histories), len(matrix))
        weighted = csr_array((weights * known[codes], codes, offsets), shape=shape)
        queries = (weighted @ matrix.astype(np.float64)).astype(np.float32)
        scores: FloatMatrix = queries @ matrix.T
        if metric is Metric.EUCLIDEAN:
            total = np.asarray(weighted.sum(axis=1), dtype=np.float32)
            queries /= np.where(total > 0, total, 1)[:, None]
            squares = np.einsum("ij,ij->i", matrix, matrix)
            scores = 2 * (queries @ matrix.T) - squares
        scores[:, ~known] = -np.inf
        return scores


def score_blocks(scorer: Scorer, histories: Sequences) -> Iterator[tuple[int, FloatMatrix]]:
    """Where each block of cases starts, and its scores."""
    for start in range(0, len(histories), BLOCK):
        end = min(start + BLOCK, len(histories))
        offsets = histories.offsets[start : end + 1]
        block = Sequences(
            histories.vocabulary,
            histories.items[offsets[0] : offsets[-1]],
            offsets - offsets[0],
        )
        yield start, scorer.scores(block)


def scorer_of(thing: Any, recent: Recent) -> Scorer:
    """A scorer for a fitted builder, a vector set, or a scorer itself."""
    if isinstance(thing, VectorSet):
        return VectorScorer(thing, recent)
    if getattr(thing, "supports_vectors", False):
        return VectorScorer(thing.item_vectors_, recent)
    scorer: Scorer = thing
    return scorer


def _aligned(vectors: VectorSet, vocabulary: Ids) -> tuple[FloatMatrix, Any]:
    """The vectors in the order of the vocabulary, zeros where there is none; which there are."""
    rows = vectors.ids.rows_of(vocabulary)
    known = rows >= 0
    matrix = np.zeros((len(vocabulary), vectors.dim), dtype=np.float32)
    matrix[known] = vectors.matrix[rows[known]]
    return matrix, known
