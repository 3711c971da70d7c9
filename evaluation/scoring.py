"""Scores of all items for each history: from vectors, or by a builder that has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_array

from ..builders.interaction_matrix import ids_of_users
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


class VectorScorer:
    """Items near the user's vector, or near the weighted mean of the history's recent items.

    Parameters
    ----------
    vectors
        Of some or all items of ``vocabulary``.
    recent
        How a history becomes a user vector.
    vocabulary
        The items that histories are over.
    users
        Vectors of users, which go before what is recent in histories that are theirs.
    """

    def __init__(
        self,
        vectors: VectorSet,
        recent: Recent,
        vocabulary: Ids,
        users: VectorSet | None = None,
    ) -> None:
        rows = vectors.ids.rows_of(vocabulary)
        self._recent, self._metric, self._users = recent, vectors.metric, users
        self._known = rows >= 0
        found = vectors.matrix[rows[self._known]]
        self._matrix = np.zeros((len(vocabulary), vectors.dim), dtype=np.float32)
        self._matrix[self._known] = unit_rows(found) if vectors.metric is Metric.COSINE else found
        self._squares = np.einsum("ij,ij->i", self._matrix, self._matrix)

    def scores(self, histories: Sequences) -> FloatMatrix:
        """Scores in the metric's order; -inf for items without a vector.

        Items of a history without a vector are passed over; a history without any scores zero, if
        it is not of a user with a vector.
        """
        offsets, codes, weights = self._recent.weigh(histories)
        shape = (len(histories), len(self._matrix))
        weighted = csr_array((weights * self._known[codes], codes, offsets), shape=shape)
        queries = (weighted @ self._matrix).astype(np.float32)
        if self._metric is Metric.EUCLIDEAN:
            total = np.asarray(weighted.sum(axis=1), dtype=np.float32)
            queries /= np.where(total > 0, total, 1)[:, None]
        if self._users is not None and histories.users is not None:
            at = self._users.ids.rows_of(ids_of_users(histories, histories.users))
            queries[at >= 0] = self._users.matrix[at[at >= 0]]
        scores: FloatMatrix = queries @ self._matrix.T
        if self._metric is Metric.EUCLIDEAN:
            scores = 2 * scores - self._squares
        scores[:, ~self._known] = -np.inf
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
            users=None if histories.users is None else histories.users[start:end],
            user_ids=histories.user_ids,
        )
        yield start, scorer.scores(block)


def scorer_of(thing: Any, recent: Recent, vocabulary: Ids) -> Scorer:
    """A scorer for a fitted builder, a vector set, or a scorer itself."""
    if isinstance(thing, VectorSet):
        return VectorScorer(thing, recent, vocabulary)
    if getattr(thing, "supports_vectors", False):
        users = getattr(thing, "user_vectors_", None)
        return VectorScorer(thing.item_vectors_, recent, vocabulary, users)
    scorer: Scorer = thing
    return scorer
