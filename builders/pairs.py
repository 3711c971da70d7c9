"""Counted pairs: which items stand near each other in sequences, how often, and how that weighs."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from ..core.behaviour import Codes, Offsets, Sequences
from ..core.jit import kernel

Direction = Literal["both", "forward"]
Distance = Literal["flat", "harmonic"]
Weighting = Literal["count", "log", "cosine", "jaccard", "power"]
#: Pairs that are held before they are summed up.
_CHUNK = 1 << 23


def count_pairs(
    sequences: Sequences,
    *,
    window: int | None,
    direction: Direction = "both",
    distance: Distance = "flat",
    half_life: float | None = None,
    user_cap: float | None = None,
    min_count: float = 0.0,
    dtype: npt.DTypeLike = np.float64,
) -> csr_array:
    """How often item j stands within ``window`` after (or around) item i; (items, items).

    A pair of one item with itself is not counted. Columns rise within a row, and with ``both`` the
    counts are exactly symmetric.

    Parameters
    ----------
    window
        At least 1; ``None`` is the whole sequence.
    direction
        ``both``: a pair counts both ways; ``forward``: at (earlier, later) alone.
    distance
        What a pair counts that lies d places apart: 1, or 1/d (``harmonic``; Pennington et al.
        2014).
    half_life
        Seconds; a pair counts times the mean :meth:`~.Sequences.decay` of its two events.
    user_cap
        The most that one user adds to a pair, above 0. Without users, each sequence is one's.
    min_count
        Pairs that count less are left out, and those that count nothing.
    dtype
        Of the counts, which are summed in float64.

    Notes
    -----
    The pairs of some items at a time are gathered, then summed up by the other item: beside the
    result no more than about 2²³ of them are in memory (or those of one item, if they are more).
    """
    if user_cap is not None:
        sequences = sequences.by_user()
    items, reach = len(sequences.vocabulary), int(np.diff(sequences.offsets).max(initial=0))
    reach = reach if window is None else min(window, reach)
    both = direction == "both"
    log = _Log(
        sequences.items,
        sequences.offsets,
        _or_empty(sequences.decay(half_life), np.float32),
        _or_empty(None if user_cap is None else sequences.owners(), np.int32),
        1 / np.arange(1.0, reach + 2) if distance == "harmonic" else np.ones(reach + 1),
    )
    room, found = np.zeros((2, items + 1), dtype=np.int64)
    _most_pairs(log, both, room[1:])
    room = np.cumsum(room)
    columns: list[npt.NDArray[Any]] = []
    values: list[npt.NDArray[Any]] = []
    first = 0
    while first < items:
        last = int(np.searchsorted(room, room[first] + _CHUNK, side="right")) - 1
        last = max(first + 1, last)
        starts = room[first : last + 1] - room[first]
        others, counts = np.empty(starts[-1], dtype=np.int32), np.empty(starts[-1])
        whose = np.empty(starts[-1] if user_cap is not None else 0, dtype=np.int32)
        filled = _gather(log, both, first, starts, others, counts, whose)
        cap = np.inf if user_cap is None else float(user_cap)
        sizes = found[first + 1 : last + 1]
        _sum_up(starts, filled, others, counts, whose, cap, min_count, items, sizes)
        kept = int(sizes.sum())
        columns.append(others[:kept].copy())
        values.append(counts[:kept].astype(dtype))
        first = last
    arrays = (_joined(values, dtype), _joined(columns, np.int32), np.cumsum(found))
    total = csr_array(arrays, shape=(items, items))
    return csr_array(total + total.T) if both else total


def _joined(parts: list[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The parts in one array; each goes as it is copied, so that they are not in memory twice."""
    whole = np.empty(sum(map(len, parts)), dtype=dtype)
    at = len(whole)
    while parts:
        part = parts.pop()
        whole[at - len(part) : at] = part
        at -= len(part)
    return whole


class _Log(NamedTuple):
    """The events, as the kernels take them."""

    items: Codes
    offsets: Offsets
    weights: npt.NDArray[np.float32]
    """(events,), or empty: all alike."""
    owners: Codes
    """Whose each sequence is, ascending; or empty."""
    gains: npt.NDArray[np.float64]
    """What a pair counts that lies 1, 2, … places apart; one more than the window."""


def _or_empty(values: npt.NDArray[Any] | None, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.empty(0, dtype=dtype) if values is None else values


@kernel
def _most_pairs(log: _Log, both: bool, room: npt.NDArray[np.int64]) -> None:
    """Add to each item how many places around its events could make a pair with it."""
    items, offsets = log.items, log.offsets
    window = len(log.gains) - 1
    for sequence in range(len(offsets) - 1):
        start, end = offsets[sequence], offsets[sequence + 1]
        for at in range(start, end):
            room[items[at]] += min(window, end - at - 1)
            if both:
                room[items[at]] += min(window, at - start)


@kernel
def _gather(
    log: _Log,
    both: bool,
    first: int,
    starts: Offsets,
    others: Codes,
    counts: npt.NDArray[np.float64],
    whose: Codes,
) -> Offsets:
    """List the pairs of the items from ``first``, each item's from its start; returns their ends.

    With ``both`` a pair is listed once, at its lower item.
    """
    items, offsets, weights, owners, gains = log
    window, ends = len(gains) - 1, starts[:-1].copy()
    for sequence in range(len(offsets) - 1):
        start, end = offsets[sequence], offsets[sequence + 1]
        for at in range(start, end):
            row = items[at] - first
            if row < 0 or row >= len(ends):
                continue
            low = max(start, at - window) if both else at + 1
            for place in range(low, min(end, at + window + 1)):
                other = items[place]
                if other == items[at] or (both and other < items[at]):
                    continue
                to = ends[row]
                others[to], counts[to] = other, gains[abs(place - at) - 1]
                if len(weights):
                    counts[to] *= (weights[at] + weights[place]) / 2
                if len(whose):
                    whose[to] = owners[sequence]
                ends[row] += 1
    return ends


@kernel
def _sum_up(
    starts: Offsets,
    ends: Offsets,
    others: Codes,
    counts: npt.NDArray[np.float64],
    whose: Codes,
    cap: float,
    least: float,
    items: int,
    sizes: npt.NDArray[np.int64],
) -> None:
    """Sum up the listed pairs of each item by the other, ascending; they move to the front."""
    total, of_user = np.zeros(items), np.zeros(items)
    last_user = np.full(items if len(whose) else 0, -1, dtype=np.int32)
    kept = 0
    for row in range(len(ends)):
        distinct = starts[row]
        for at in range(starts[row], ends[row]):
            other = others[at]
            fresh = total[other] == 0
            if len(whose) == 0:
                total[other] += counts[at]
            else:
                fresh &= of_user[other] == 0
                if last_user[other] != whose[at]:
                    total[other] += min(of_user[other], cap)
                    of_user[other], last_user[other] = 0, whose[at]
                of_user[other] += counts[at]
            if fresh:
                others[distinct] = other
                distinct += 1
        seen = np.sort(others[starts[row] : distinct])
        for other in seen:
            count = total[other] + min(of_user[other], cap)
            total[other] = of_user[other] = 0
            if len(whose):
                last_user[other] = -1
            if count > 0 and count >= least:
                others[kept], counts[kept] = other, count
                kept += 1
                sizes[row] += 1


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
