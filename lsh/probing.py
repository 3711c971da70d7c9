"""Query-directed probing: the buckets most likely to hold near rows first, over all tables.

After Lv et al. 2007, "Multi-Probe LSH". A row near the query lies on the other side of a plane
with a likelihood that falls with the square of the query's margin; a bucket is reached by
flipping a set of bits, and its cost is the sum of the squared margins of the flipped ones. Sets
are made in order of cost by the paper's two moves, *shift* and *expand* (§4.4).

Departures: one heap orders the buckets of all tables together, and instead of a fixed number of
probes the search ends when ``patience`` buckets in a row brought nothing nearer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.jit import fast_kernel, kernel
from ..core.vectors import FloatMatrix
from .tables import Rows, Starts

Mask = npt.NDArray[np.bool_]
Wide = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
#: A search looks into so many buckets at the most, empty ones included.
MOST_PROBES = 1 << 14
EVERYTHING = np.empty(0, dtype=np.bool_)


@kernel
def search_tables(
    queries: FloatMatrix,
    margins: FloatMatrix,
    matrix: FloatMatrix,
    norms: Floats,
    rows: Rows,
    starts: Starts,
    eligible: Mask,
    metric: int,
    patience: int,
    found: Int64s,
    scores: Floats,
) -> None:
    """The k nearest rows that the probed buckets hold, for each query.

    Parameters
    ----------
    queries, margins
        (q, d), and their signed distances from the planes, (q, tables · bits).
    matrix, norms
        The vectors (n, d) and their lengths (n,).
    rows, starts
        See :class:`~itemspace.lsh.tables.Tables`.
    eligible
        Rows that may come back, (n,); of length 0 where all may.
    metric
        One of :data:`~itemspace.core.scoring.METRIC_CODES`.
    found, scores
        Filled: (q, k) rows, best first, -1 where fewer were found; and scores in float32.
    """
    for at in range(queries.shape[0]):
        _search_one(
            queries[at],
            margins[at],
            matrix,
            norms,
            rows,
            starts,
            eligible,
            metric,
            patience,
            found[at],
            scores[at],
        )


@kernel
def _search_one(
    query: Floats,
    margins: Floats,
    matrix: FloatMatrix,
    norms: Floats,
    rows: Rows,
    starts: Starts,
    eligible: Mask,
    metric: int,
    patience: int,
    found: Int64s,
    scores: Floats,
) -> None:
    tables = starts.shape[0]
    bits = margins.shape[0] // tables
    base = np.zeros(tables, dtype=np.int64)
    order = np.empty((tables, bits), dtype=np.int64)
    costs = np.empty((tables, bits), dtype=np.float32)
    for table in range(tables):
        squares = np.empty(bits, dtype=np.float32)
        for bit in range(bits):
            margin = margins[table * bits + bit]
            squares[bit] = margin * margin
            if margin > 0:
                base[table] |= 1 << bit
        order[table] = np.argsort(squares, kind="mergesort")
        costs[table] = squares[order[table]]

    # The k best so far as a min-heap; a bitset keeps rows that stand in several tables single.
    found[:] = -1
    scores[:] = -np.inf
    seen = np.zeros(matrix.shape[0] // 64 + 1, dtype=np.uint64)
    filled = 0
    quiet = 0

    # Buckets to come: cost, table, and which of the table's cheapest bits are flipped.
    heap_cost = np.empty(tables + 2 * MOST_PROBES, dtype=np.float32)
    heap_table = np.empty(tables + 2 * MOST_PROBES, dtype=np.int64)
    heap_flips = np.empty(tables + 2 * MOST_PROBES, dtype=np.int64)
    waiting = 0
    for table in range(tables):
        waiting = _push(heap_cost, heap_table, heap_flips, waiting, np.float32(0), table, 0)

    for _ in range(MOST_PROBES):
        if waiting == 0 or (quiet >= patience and filled == found.shape[0]):
            break
        cost, table, flips = heap_cost[0], heap_table[0], heap_flips[0]
        waiting = _pop(heap_cost, heap_table, heap_flips, waiting)

        code = base[table]
        last = -1
        for place in range(bits):
            if flips >> place & 1:
                code ^= 1 << order[table, place]
                last = place
        if last + 1 < bits:
            more = cost + costs[table, last + 1]
            expanded = flips | 1 << (last + 1)
            waiting = _push(heap_cost, heap_table, heap_flips, waiting, more, table, expanded)
            if last >= 0:
                shifted = expanded ^ 1 << last
                more -= costs[table, last]
                waiting = _push(heap_cost, heap_table, heap_flips, waiting, more, table, shifted)

        nearer = False
        usable = False
        for place in range(starts[table, code], starts[table, code + 1]):
            row = rows[table, place]
            if eligible.shape[0] and not eligible[row]:
                continue
            usable = True
            score = _nearness(query, matrix[row], metric)
            if metric == 0:
                score /= norms[row]
            if score > scores[0]:
                word, bit_of = row >> 6, np.uint64(1) << np.uint64(row & 63)
                if not seen[word] & bit_of:
                    seen[word] |= bit_of
                    _replace_least(scores, found, score, row)
                    filled = min(filled + 1, found.shape[0])
                    nearer = True
        if nearer:
            quiet = 0
        elif usable:
            quiet += 1
    best_first = np.argsort(-scores, kind="mergesort")
    scores[:] = scores[best_first]
    found[:] = found[best_first]


@fast_kernel
def _nearness(query: Floats, row: Floats, metric: int) -> np.float32:
    total = np.float32(0)
    if metric == 2:
        for j in range(query.shape[0]):
            step = query[j] - row[j]
            total -= step * step
    else:
        for j in range(query.shape[0]):
            total += query[j] * row[j]
    return total


@kernel
def _replace_least(scores: Floats, found: Int64s, score: np.float32, row: int) -> None:
    """Put a row in place of the least of the k best (the root of a min-heap)."""
    size = scores.shape[0]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and scores[child + 1] < scores[child]:
            child += 1
        if scores[child] >= score:
            break
        scores[at], found[at] = scores[child], found[child]
        at = child
    scores[at], found[at] = score, row


@kernel
def _push(
    costs: Floats,
    tables: Int64s,
    flips: Int64s,
    size: int,
    cost: np.float32,
    table: int,
    flipped: int,
) -> int:
    """Add a bucket to the heap; returns the heap's new size."""
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if costs[parent] <= cost:
            break
        costs[at], tables[at], flips[at] = costs[parent], tables[parent], flips[parent]
        at = parent
    costs[at], tables[at], flips[at] = cost, table, flipped
    return size + 1


@kernel
def _pop(costs: Floats, tables: Int64s, flips: Int64s, size: int) -> int:
    """Take the cheapest bucket off the heap; returns the heap's new size."""
    size -= 1
    cost, table, flipped = costs[size], tables[size], flips[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and costs[child + 1] < costs[child]:
            child += 1
        if costs[child] >= cost:
            break
        costs[at], tables[at], flips[at] = costs[child], tables[child], flips[child]
        at = child
    costs[at], tables[at], flips[at] = cost, table, flipped
    return size
