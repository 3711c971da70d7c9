"""Measures over ranks, and over the lists that were recommended.

A rank is the place of a target among all items that may be recommended, from 1; ``UNRANKED``
where it was not among them. Case i has the targets ``ranks[offsets[i]:offsets[i + 1]]``; one
without any is a miss.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, Offsets
from ..core.errors import EmptyInput

Ranks = npt.NDArray[np.int64]
Figures = npt.NDArray[np.float64]
UNRANKED = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Estimate:
    """A mean over cases with its 95 % bootstrap confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def hit_rate(ranks: Ranks, offsets: Offsets, k: int) -> Figures:
    """Per case 1 where any target is among the first k, else 0."""
    return (_first(ranks, offsets) <= k).astype(np.float64)


def recall(ranks: Ranks, offsets: Offsets, k: int) -> Figures:
    """Per case the share of its targets among the first k."""
    hits = _sums((ranks <= k).astype(np.float64), offsets)
    shares: Figures = hits / np.maximum(np.diff(offsets), 1)
    return shares


def ndcg(ranks: Ranks, offsets: Offsets, k: int) -> Figures:
    """Per case the discounted gain over its best possible value; gain 1, discount log2(rank + 1).

    Järvelin & Kekäläinen 2002, with binary relevance.
    """
    gains = np.zeros(len(ranks))
    found = ranks <= k
    gains[found] = 1 / np.log2(ranks[found] + 1.0)
    best = np.cumsum(1 / np.log2(np.arange(2.0, k + 2)))
    wanted = np.clip(np.diff(offsets), 1, k)
    shares: Figures = _sums(gains, offsets) / best[wanted - 1]
    return shares


def reciprocal_rank(ranks: Ranks, offsets: Offsets) -> Figures:
    """Per case 1 / the rank of the first target, 0 where none is ranked."""
    first = _first(ranks, offsets)
    found: Figures = np.where(first == UNRANKED, 0.0, 1.0 / first)
    return found


def coverage(lists: Codes, items: int) -> Estimate:
    """The share of the items that are in any list (cases, k); -1 is no item.

    The interval is ±1.96 standard errors by the jackknife over cases (Efron & Stein 1981): the
    bootstrap draws only two thirds of the distinct cases, so it would cover less than there is.
    """
    cases, columns = np.nonzero(lists >= 0)
    found = lists[cases, columns]
    lists_of = np.bincount(found, minlength=items)
    value = np.count_nonzero(lists_of) / items
    # Without a case, the items that it alone lists would be missing. A list has no item twice.
    alone = np.bincount(cases[lists_of[found] == 1], minlength=len(lists)) / items
    error = float(np.sqrt((len(lists) - 1) * alone.var()))
    return Estimate(value, max(0.0, value - 1.96 * error), min(1.0, value + 1.96 * error))


def popularity_bias(lists: Codes, counts: npt.NDArray[np.int64]) -> Estimate:
    """Mean popularity percentile of the listed items, in [0, 1]: 0.5 is an unbiased draw.

    The percentile of an item is the share of items with fewer events, ties halved. 0.5 where
    nothing is listed.
    """
    ordered = np.sort(counts)
    below = np.searchsorted(ordered, counts, "left")
    upto = np.searchsorted(ordered, counts, "right")
    percentiles = (below + upto) / (2 * len(counts))
    listed = lists >= 0
    sums = np.where(listed, percentiles[lists], 0.0).sum(axis=1)
    return _ratio(sums, listed.sum(axis=1).astype(np.float64), empty=0.5)


def diversity(lists: Codes, attributes: Offsets, values: Codes) -> Estimate:
    """Mean over lists of the mean Jaccard distance between the attributes of its pairs, in [0, 1].

    Item i has the attributes ``values[attributes[i]:attributes[i + 1]]``. Two items without any
    are at distance 0; lists of fewer than two items are left out.
    """
    sets = [frozenset(values[start:end].tolist()) for start, end in pairwise(attributes.tolist())]
    means, counted = np.zeros(len(lists)), np.zeros(len(lists))
    for case, line in enumerate(lists):
        chosen = [sets[item] for item in line if item >= 0]
        distances = [
            1 - (len(one & other) / len(one | other) if one | other else 1.0)
            for at, one in enumerate(chosen)
            for other in chosen[:at]
        ]
        if distances:
            means[case], counted[case] = np.mean(distances), 1
    return _ratio(means, counted, empty=0.0)


def bootstrap(figures: Figures, *, seed: int = 1, rounds: int = 1000) -> Estimate:
    """The mean and its percentile interval over resampled cases (Efron 1979).

    Raises :class:`EmptyInput` for no cases.
    """
    if not len(figures):
        raise EmptyInput("There are no cases to take a mean of.", path="figures")
    low, high = np.quantile(_resampled(figures, seed, rounds), [0.025, 0.975])
    return Estimate(float(figures.mean()), float(low), float(high))


def paired_bootstrap(
    ours: Figures, theirs: Figures, *, seed: int = 1, rounds: int = 1000
) -> Estimate:
    """The mean difference per case, ours - theirs, with its interval; over the same cases."""
    return bootstrap(ours - theirs, seed=seed, rounds=rounds)


def _ratio(sums: Figures, counts: Figures, *, empty: float, rounds: int = 1000) -> Estimate:
    """Σ sums / Σ counts with its percentile interval over resampled cases."""
    if not counts.any():
        return Estimate(empty, empty, empty)
    rng, number = np.random.default_rng(1), len(sums)
    drawn = (rng.integers(number, size=number) for _ in range(rounds))
    found = [sums[rows].sum() / max(1.0, counts[rows].sum()) for rows in drawn]
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))


def _resampled(figures: Figures, seed: int, rounds: int) -> Figures:
    rng = np.random.default_rng(seed)
    count = len(figures)
    # Resampling with replacement is a draw of how often each distinct figure is taken.
    distinct, counts = np.unique(figures, return_counts=True)
    if len(distinct) < count // 4:
        taken = rng.multinomial(count, counts / count, size=rounds)
        means: Figures = taken @ distinct / count
        return means
    return np.array([figures[rng.integers(count, size=count)].mean() for _ in range(rounds)])


def _first(ranks: Ranks, offsets: Offsets) -> Ranks:
    """The best rank of each case."""
    best: Ranks = np.full(len(offsets) - 1, UNRANKED)
    some = np.diff(offsets) > 0
    best[some] = np.minimum.reduceat(ranks, offsets[:-1][some])
    return best


def _sums(values: Figures, offsets: Offsets) -> Figures:
    """The sum over each case."""
    sums = np.zeros(len(offsets) - 1)
    some = np.diff(offsets) > 0
    sums[some] = np.add.reduceat(values, offsets[:-1][some])
    return sums
