"""Counted pairs: which items stand near each other in sequences, how often, and how that weighs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from ..core.behaviour import Codes, Offsets, Sequences
from ..core.jit import kernel

Direction = Literal["both", "forward"]
Distance = Literal["flat", "harmonic"]
Weighting = Literal["count", "log", "cosine", "jaccard", "power"]
#: Pairs that are counted before they are summed up.
_CHUNK = 1 << 22


def count_pairs(
    sequences: Sequences,
    *,
    window: int | None,
    direction: Direction = "both",
    distance: Distance = "flat",
    weights: npt.NDArray[np.float32] | None = None,
) -> csr_array:
    """How often item j stands within ``window`` after (or around) item i; float64 (items, items).

    A pair of one item with itself is not counted.

    Parameters
    ----------
    window
        At least 1; ``None`` is the whole sequence.
    direction
        ``both``: a pair counts both ways; ``forward``: at (earlier, later) alone.
    distance
        What a pair counts that lies d places apart: 1, or 1/d (``harmonic``; Pennington et al.
        2014).
    weights
        Of the events, (events,); a pair counts times the mean of its two.
    """
    items = len(sequences.vocabulary)
    longest = int(np.diff(sequences.offsets).max(initial=0))
    reach = longest if window is None else min(window, longest)
    total = csr_array((items, items), dtype=np.float64)
    size = max(_CHUNK, longest)
    rows, columns = np.empty((2, size), dtype=np.int32)
    values = np.empty(size)
    shares = np.empty(0, dtype=np.float32) if weights is None else weights
    gains = 1 / np.arange(1.0, reach + 2) if distance == "harmonic" else np.ones(reach + 1)
    at = 0
    while at < len(sequences.items):
        at, filled = _pairs(
            sequences.items, sequences.offsets, shares, gains, at, rows, columns, values
        )
        part = (values[:filled], (rows[:filled], columns[:filled]))
        total = total + csr_array(part, shape=(items, items))
    total.eliminate_zeros()  # weights so small that they are 0
    return total if direction == "forward" else csr_array(total + total.T)


@kernel
def _pairs(
    items: Codes,
    offsets: Offsets,
    weights: npt.NDArray[np.float32],
    gains: npt.NDArray[np.float64],
    first: int,
    rows: Codes,
    columns: Codes,
    values: npt.NDArray[np.float64],
) -> tuple[int, int]:
    """Fill with the pairs from event ``first`` on; returns the event to go on with and how many."""
    filled, window = 0, len(gains) - 1
    sequence = np.searchsorted(offsets, first, side="right") - 1
    for at in range(first, items.shape[0]):
        while offsets[sequence + 1] <= at:
            sequence += 1
        end = min(offsets[sequence + 1], at + window + 1)
        if filled + end - at > rows.shape[0]:
            return at, filled
        for other in range(at + 1, end):
            if items[at] != items[other]:
                rows[filled], columns[filled] = items[at], items[other]
                values[filled] = gains[other - at - 1]
                if len(weights):
                    values[filled] *= (weights[at] + weights[other]) / 2
                filled += 1
    return items.shape[0], filled


def weigh_pairs(
    counts: csr_array,
    weighting: Weighting,
    exponent: float,
    normalisation: float,
    shrinkage: float = 0.0,
) -> csr_array:
    """Counts c(i, j) as weights, with n(i) the pairs that i is in.

    ``count``: c; ``log``: log(1 + c); ``cosine``: c / √(n(i) n(j)); ``jaccard``:
    c / (n(i) + n(j) − c); ``power``: cᵍ / (n(i) n(j))ᵃ with the two numbers given. Each times
    c / (c + s) with the shrinkage s.
    """
    pairs = counts.tocoo()
    rows, columns = pairs.coords
    out = np.asarray(counts.sum(axis=1), dtype=np.float64)[rows]
    into = np.asarray(counts.sum(axis=0), dtype=np.float64)[columns]
    values = pairs.data
    if weighting == "log":
        values = np.log1p(values)
    elif weighting == "jaccard":
        values = values / (out + into - values)
    elif weighting != "count":
        power, share = (1.0, 0.5) if weighting == "cosine" else (exponent, normalisation)
        values = values**power / (out * into) ** share
    values = values * (pairs.data / (pairs.data + shrinkage))
    return csr_array((values, (rows, columns)), shape=counts.shape)
