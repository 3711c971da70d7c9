"""Recommenders that count and have no vectors: to compare with, and often hard to beat."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from scipy.sparse import csr_array

from ..core.behaviour import Sequences
from ..core.histories import Recent
from ..core.progress import Progress
from ..core.vectors import FloatMatrix
from .options import (
    Configured,
    OneOf,
    Real,
    SearchSpace,
    Whole,
    check_choice,
    check_half_life,
    check_option,
    check_window,
)
from .pairs import Direction, Distance, Weighting, count_pairs, weigh_pairs


class Popularity(Configured):
    """Recommends what is most frequent, to everyone. No vectors."""

    supports_vectors: ClassVar[bool] = False

    def fit(self, sequences: Sequences, *, progress: Progress | None = None) -> Self:  # noqa: ARG002
        """Count."""
        self.counts_ = sequences.counts()
        return self

    def scores(self, histories: Sequences) -> FloatMatrix:
        """The counts, for every history; see :class:`~itemspace.evaluation.scoring.Scorer`."""
        line = self.counts_.astype(np.float32)
        line[self.counts_ == 0] = -np.inf
        return np.tile(line, (len(histories), 1))


class ItemKNN(Configured):
    """Items that stand near each other in sequences, by weighted co-occurrence counts. No vectors.

    The classical neighbourhood recommender (Deshpande & Karypis 2004), over windows of sequences.

    Parameters
    ----------
    window
        Distance within which two items count as a pair, at least 1; ``None``: the whole sequence.
    direction
        ``both``: a pair counts both ways; ``forward``: the later item for the earlier one.
    distance, half_life
        Whether pairs that are far apart count less (``harmonic``), and old ones (seconds; needs
        sequences with times); see :func:`.count_pairs` and :class:`.Item2Vec`.
    weighting, exponent, normalisation
        ``count``, ``log``, ``cosine``, ``jaccard`` or ``power``; see :func:`.weigh_pairs`. The
        numbers, in (0, 2] and at least 0, are of ``power`` alone.
    shrinkage
        s ≥ 0 multiplies each weight by c / (c + s), against chance pairs of rare items.
    recent, decay
        How a history is weighed; see :class:`~itemspace.core.histories.Recent`.
    """

    supports_vectors: ClassVar[bool] = False
    search_space: ClassVar[SearchSpace] = {
        "window": Whole(1, 20, log=True),
        "distance": OneOf(("flat", "harmonic")),
        "direction": OneOf(("both", "forward")),
        "weighting": OneOf(("count", "power")),
        "exponent": Real(0.3, 1),
        "normalisation": Real(0, 0.6),
        "shrinkage": Real(0, 10),
    }

    def __init__(
        self,
        *,
        window: int | None = 5,
        direction: Direction = "both",
        distance: Distance = "flat",
        half_life: float | None = None,
        weighting: Weighting = "count",
        exponent: float = 1.0,
        normalisation: float = 0.2,
        shrinkage: float = 0.0,
        recent: int = 10,
        decay: float = 1.0,
    ) -> None:
        self.window = window
        self.direction = direction
        self.distance = distance
        self.half_life = half_life
        self.weighting = weighting
        self.exponent = exponent
        self.normalisation = normalisation
        self.shrinkage = shrinkage
        self.recent = recent
        self.decay = decay

    def fit(self, sequences: Sequences, *, progress: Progress | None = None) -> Self:  # noqa: ARG002
        """Count pairs and weigh them.

        Raises
        ------
        InvalidOption
            An option out of its range.
        """
        check_window(self)
        check_half_life(self)
        check_choice(self, "direction", ("both", "forward"))
        check_choice(self, "distance", ("flat", "harmonic"))
        check_choice(self, "weighting", ("count", "log", "cosine", "jaccard", "power"))
        check_option(self, "exponent", float, lambda v: 0 < v <= 2, "above 0 and at most 2")
        check_option(self, "normalisation", float, lambda v: v >= 0, "a number of at least 0")
        check_option(self, "shrinkage", float, lambda v: v >= 0, "a number of at least 0")
        Recent(self.recent, self.decay)
        counts = count_pairs(
            sequences,
            window=self.window,
            direction=self.direction,
            distance=self.distance,
            half_life=self.half_life,
        )
        self.similarities_ = weigh_pairs(
            counts, self.weighting, self.exponent, self.normalisation, self.shrinkage
        )
        return self

    def scores(self, histories: Sequences) -> FloatMatrix:
        """Weighted sums of the similarities; see :class:`~itemspace.evaluation.scoring.Scorer`."""
        offsets, codes, weights = Recent(self.recent, self.decay).weigh(histories)
        shape = (len(histories), self.similarities_.shape[0])
        scores = csr_array((weights, codes, offsets), shape=shape) @ self.similarities_
        dense: FloatMatrix = scores.toarray().astype(np.float32)
        return dense
