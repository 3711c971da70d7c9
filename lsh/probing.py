"""Query-directed probing: the buckets most likely to hold near rows first, over all trees.

After Lv et al. 2007, "Multi-Probe LSH": a bucket costs the sum, over the planes that lie between
it and the query, of the query's distance from the plane; one heap orders the buckets of all trees.
Departures: distances instead of their squares, each weighted by how far the node's rows spread
about the plane (on a million clustered vectors, recall .93 with the weights, .92 without, and with
squares .91); instead of a fixed number of probes the search ends when ``patience`` buckets in a row
brought nothing into the k best.

Under the inner product the query is taken to be as long as the rows of a range are at most, which
changes no order (Yan et al. 2018); costs of all ranges are then of one unit, the product with a
unit query. Where even the longest row of a range, in the query's own direction, would not be among
those that are scored, the range is left out and costs no patience.

In a bucket sixteen rows at a time are estimated from their codes (:mod:`.lanes`), the best of all
are kept, and these are scored exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.jit import fast_kernel, inlined
from ..core.scoring import length_of, score_one
from ..core.vectors import FloatMatrix
from .buckets import MIDDLE
from .handles import buckets_of, centre_of, forest_of, metric_of
from .lanes import (
    AVX2,
    LANES,
    VNNI,
    estimate_avx2,
    estimate_portable,
    estimate_vnni,
    lowest_bit,
    prefetch_block,
    prefetch_row,
)
from .space import Floats, Int64s, Real, Whole, dot

Mask = npt.NDArray[np.bool_]
Wide = npt.NDArray[np.float64]
EVERYTHING = np.empty(0, dtype=np.bool_)


@fast_kernel
def search(
    handle: Int64s,
    matrix: FloatMatrix,
    eligible: Mask,
    queries: FloatMatrix,
    patience: int,
    rerank: int,
    way: int,
    found: npt.NDArray[np.int64],
    scores: Wide,
) -> None:
    """The k best rows of the buckets that are looked into, for each query.

    Parameters
    ----------
    handle
        Of the index, see :mod:`.handles`.
    eligible
        Rows that may come back, (n,); of length 0 where all may.
    queries
        (q, d); not zero under the cosine.
    patience
        Buckets.
    rerank
        How many are scored exactly, at least k.
    way
        One of :data:`.lanes.VNNI`, …
    found, scores
        Filled: (q, k) rows, best first, -1 where fewer were found; and their scores by
        :func:`~itemspace.core.scoring.score_one`.
    """
    (metric, whole_length), centre = metric_of(handle), centre_of(handle)
    planes, offsets, weights, scales, children, roots = forest_of(handle)
    centres, steps, _, _, first, following, codes, rows, biases, _ = buckets_of(handle)
    dim, k = matrix.shape[1], found.shape[1]
    mapped = np.zeros(planes.shape[1], dtype=np.float32)
    short = mapped[:dim]
    packed = np.zeros(codes.shape[1] * codes.shape[3], dtype=np.int8)
    four = packed.view(np.int32)
    estimates = np.empty(LANES, dtype=np.float32)
    has_bias = len(biases) > 1
    heap_costs = np.empty(len(offsets) + len(roots), dtype=np.float32)
    heap_nodes = np.empty(len(offsets) + len(roots), dtype=np.int32)
    best = np.empty(rerank, dtype=np.float32)
    best_rows = np.empty(rerank, dtype=np.int64)
    for at in range(len(queries)):
        query = queries[at]
        for j in range(dim):
            mapped[j] = query[j] - centre[j]
        length = np.sqrt(dot(short, short)) if metric < 2 else whole_length
        length = max(length, np.float32(1e-30))
        largest = np.float32(0)
        for j in range(dim):
            mapped[j] /= length
            largest = max(largest, abs(mapped[j]))
        unit = largest / np.float32(127) if largest > 0 else np.float32(1)
        total: Whole = 0
        for j in range(dim):
            value = np.rint(mapped[j] / unit)
            packed[j] = np.int8(value)
            total += np.int64(value)
        best[:], best_rows[:] = -np.inf, -1
        longest = scales[roots[0]] if metric == 1 and roots[0] >= 0 else np.float32(0)
        waiting: Whole = 0
        for tree in range(len(roots)):
            waiting = _push(heap_costs, heap_nodes, waiting, np.float32(0), roots[tree])
        quiet = 0
        while waiting and (quiet < patience or best_rows[k - 1] < 0):
            cost, node = heap_costs[0], np.int64(heap_nodes[0])
            waiting = _pop(heap_costs, heap_nodes, waiting)
            within = True
            while node >= 0:
                if metric == 1 and scales[node] < longest and scales[node] <= best[-1]:
                    within = False
                    break
                for child in children[node]:  # asked for while this one is being looked at
                    if child >= 0:
                        prefetch_row(planes, np.int64(child))
                    else:
                        prefetch_row(centres, np.int64(-1 - child))
                product = dot(mapped, planes[node])
                if metric == 1:
                    product *= scales[node]
                margin = product - offsets[node]
                side = 1 if margin > 0 else 0
                over = cost + abs(margin) * weights[node]
                waiting = _push(heap_costs, heap_nodes, waiting, over, children[node, 1 - side])
                node = np.int64(children[node, side])
            if not within:
                continue
            bucket = -1 - node
            scale = steps[bucket] * unit
            base = np.float32(0)
            if metric == 2:
                for j in range(dim):
                    step = mapped[j] - centres[bucket, j]
                    base -= step * step
                scale *= np.float32(2)
            else:
                base = dot(short, centres[bucket])
            base -= scale * np.float32(MIDDLE * total)
            nearer, block = False, np.int64(first[bucket])
            while block >= 0:
                then = np.int64(following[block])
                if then >= 0 and then != block + 1:  # from an update: lies elsewhere
                    prefetch_block(codes, then)
                line = block * LANES if has_bias else 0
                least = best[rerank - 1]
                if way == VNNI:
                    above = estimate_vnni(
                        codes, block, four, base, scale, biases, line, least, estimates
                    )
                elif way == AVX2:
                    above = estimate_avx2(
                        codes, block, four, base, scale, biases, line, least, estimates
                    )
                else:
                    above = estimate_portable(
                        codes, block, four, base, scale, biases, line, least, estimates
                    )
                while above:
                    lane = lowest_bit(above)
                    above &= above - 1
                    row, estimate = np.int64(rows[block, lane]), estimates[lane]
                    if row < 0 or estimate <= best[rerank - 1]:
                        continue
                    if len(eligible) and not eligible[row]:
                        continue
                    if len(roots) > 1 and _has(best_rows, row):
                        continue
                    if _keep(best, best_rows, estimate, row) < k:
                        nearer = True
                block = then
            quiet = 0 if nearer else quiet + 1
        _score_best(query, matrix, metric, best_rows, found[at], scores[at])


@inlined
def _has(rows: Int64s, row: Whole) -> bool:
    there = False
    for at in range(len(rows)):
        there |= rows[at] == row
    return there


@inlined
def _keep(best: Floats | Wide, rows: Int64s, estimate: Real, row: Whole) -> int:
    """Insert into the best so far, in the place of the last; returns the place."""
    place = len(best) - 1
    while place > 0 and best[place - 1] < estimate:
        best[place], rows[place] = best[place - 1], rows[place - 1]
        place -= 1
    best[place], rows[place] = estimate, row
    return place


@fast_kernel
def _score_best(
    query: Floats, matrix: FloatMatrix, metric: int, rows: Int64s, found: Int64s, scores: Wide
) -> None:
    """The k best of the candidates ``rows``, which end where one is -1, by their exact scores."""
    k = len(found)
    near, near_rows = np.full(k, -np.inf, dtype=np.float32), np.full(k, -1, dtype=np.int64)
    for row in rows:
        if row < 0:
            break
        nearness = _nearness(query, matrix[row], metric)
        if nearness > near[k - 1] or near_rows[k - 1] < 0:
            _keep(near, near_rows, nearness, row)
    found[:], scores[:] = -1, -np.inf
    length = length_of(query)
    for row in near_rows:
        if row < 0:
            break
        _keep(scores, found, score_one(query, length, matrix[row], metric), row)


@fast_kernel
def _nearness(query: Floats, row: Floats, metric: int) -> np.float32:
    """In the order of the scores, in float32."""
    total, squares = np.float32(0), np.float32(0)
    if metric == 2:
        for j in range(len(query)):
            step = query[j] - row[j]
            total -= step * step
        return total
    for j in range(len(query)):
        total += query[j] * row[j]
        squares += row[j] * row[j]
    return total / np.sqrt(squares) if metric == 0 else total


@inlined
def _push(costs: Floats, nodes: npt.NDArray[np.int32], size: int, cost: Real, node: Whole) -> int:
    """Add to the heap; returns its new size."""
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if costs[parent] <= cost:
            break
        costs[at], nodes[at] = costs[parent], nodes[parent]
        at = parent
    costs[at], nodes[at] = cost, node
    return size + 1


@inlined
def _pop(costs: Floats, nodes: npt.NDArray[np.int32], size: int) -> int:
    """Take the cheapest off the heap; returns its new size."""
    size -= 1
    cost, node = costs[size], nodes[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and costs[child + 1] < costs[child]:
            child += 1
        if costs[child] >= cost:
            break
        costs[at], nodes[at] = costs[child], nodes[child]
        at = child
    costs[at], nodes[at] = cost, node
    return size
