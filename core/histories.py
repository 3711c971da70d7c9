"""A user as what they did last: which items count, and how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .behaviour import Codes, Offsets, Sequences
from .errors import InvalidOption
from .jit import kernel
from .metric import Metric
from .vectors import FloatMatrix, unit_rows

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recent:
    """The last distinct items of a history, weighted by age.

    ``Recent(1)`` is the last item alone, ``Recent(10)`` the mean of the last ten, and
    ``Recent(50, decay=0.8)`` weights each item four fifths of the next newer one.

    Parameters
    ----------
    count
        How many items, at least 1.
    decay
        Weight of an item relative to the next newer one, in (0, 1].
    """

    count: int = 10
    decay: float = 1.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InvalidOption(
                f"count (of recent items) is at least 1; received {self.count}.",
                option="count",
                received=self.count,
            )
        if not 0 < self.decay <= 1:
            raise InvalidOption(
                f"decay is above 0 and at most 1; received {self.decay}.",
                option="decay",
                received=self.decay,
            )

    def weigh(self, histories: Sequences) -> tuple[Offsets, Codes, Weights]:
        """Weighted items of each history, as offsets (n + 1,), codes and weights (newest first).

        The weights of a history sum to 1.
        """
        most = np.minimum(np.diff(histories.offsets), self.count)
        offsets = np.zeros(len(histories) + 1, dtype=np.int64)
        codes = np.empty(int(most.sum()), dtype=np.int32)
        weights = np.empty(len(codes), dtype=np.float64)
        _weigh(
            histories.items,
            histories.offsets,
            len(histories.vocabulary),
            self.count,
            self.decay,
            offsets,
            codes,
            weights,
        )
        return offsets, codes[: offsets[-1]], weights[: offsets[-1]]

    def mean(self, vectors: FloatMatrix, metric: Metric) -> FloatMatrix:
        """The weighted mean of vectors (n, d), newest first, as float32 (d,).

        Of their directions under ``COSINE``. Where they cancel out, the newest.
        """
        weights = self.decay ** np.arange(len(vectors), dtype=np.float64)
        rows = unit_rows(vectors) if metric is Metric.COSINE else vectors
        mean: FloatMatrix = ((weights / weights.sum()) @ rows.astype(np.float64)).astype(np.float32)
        return mean if mean.any() else vectors[0]


@kernel
def _weigh(
    items: Codes,
    starts: Offsets,
    vocabulary: int,
    count: int,
    decay: float,
    offsets: Offsets,
    codes: Codes,
    weights: Weights,
) -> None:
    seen_by = np.full(vocabulary, -1, dtype=np.int64)
    place = 0
    for history in range(starts.shape[0] - 1):
        first, weight, total = place, 1.0, 0.0
        at = starts[history + 1]
        while at > starts[history] and place - first < count:
            at -= 1
            if seen_by[items[at]] == history:
                continue
            seen_by[items[at]] = history
            codes[place], weights[place] = items[at], weight
            total += weight
            weight *= decay
            place += 1
        for other in range(first, place):
            weights[other] /= total
        offsets[history + 1] = place
