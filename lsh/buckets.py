"""Buckets: blocks of sixteen rows as codes of 7 bits, of what they differ by from their centre.

A row x' of a bucket with the centre c is about c + s (u − 64), with the bucket's step
s = max |x' − c| / 63 and u its code, 1 to 127: a scalar quantiser whose range follows the bucket,
which is much narrower than all rows. (The last coordinate that rows have for their planes under
the inner product has no code: products with a query don't need it.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.jit import fast_kernel, kernel
from ..core.vectors import FloatMatrix
from .growing import Forest, find_bucket, scale_below, split
from .lanes import GROUP, LANES
from .space import Floats, Int32s, Int64s, Space, Whole, dot, lift, map_row

Codes = npt.NDArray[np.uint8]
Blocks = npt.NDArray[np.int32]

MIDDLE, MOST = 64, 127
#: How far from a plane, in units of a mapped row, the kernels may disagree on the side.
_ROUNDING = np.float32(1e-4)
#: What a block's biases are where the metric needs none.
NO_BIAS = np.zeros((1, LANES), dtype=np.float32)


class Buckets(NamedTuple):
    """The buckets of all trees, and the blocks that they consist of.

    Arrays have room for more; ``counts`` says how much of it is used.
    """

    centres: FloatMatrix
    """(buckets, dim)."""
    steps: Floats
    """(buckets,)."""
    sizes: Int32s
    """(buckets,): how many rows."""
    depths: Int32s
    """(buckets,): from which of a random family's planes on it can be split."""
    first: Int32s
    """(buckets,): its first block, or -1."""
    following: Int32s
    """(blocks,): the bucket's next block, or -1."""
    codes: Codes
    """(blocks, groups, 16, 4), see :mod:`.lanes`; groups · 4 ≥ dim."""
    rows: Blocks
    """(blocks, 16): rows; -1 where there is none."""
    biases: FloatMatrix
    """(blocks, 16): ‖c‖² − ‖y‖² under the Euclidean metric, y being what the code stands for (so an
    estimate is the distance to y, and the nearer the better), or :data:`NO_BIAS`."""
    counts: Int64s
    """How many nodes, buckets and blocks are in use, the first of the blocks that were given back,
    or -1, and how many were taken since all lay in order."""


#: The places of ``counts``.
NODES, BUCKETS, BLOCKS, FREE, TAKEN = 0, 1, 2, 3, 4


@fast_kernel
def fill(
    space: Space,
    matrix: FloatMatrix,
    norms: Floats,
    members: Int32s,
    bucket: Whole,
    block: Whole,
    buckets: Buckets,
) -> None:
    """Make a bucket of rows, in ``block`` and those that follow it already."""
    dim = matrix.shape[1]
    centre, mapped = buckets.centres[bucket], np.empty(dim, dtype=np.float32)
    sums, most = np.zeros(dim), np.float32(0)
    for at in range(len(members)):
        map_row(space, matrix, norms, members[at], mapped)
        for j in range(dim):
            sums[j] += mapped[j]
    for j in range(dim):
        centre[j] = sums[j] / max(1, len(members))
    for at in range(len(members)):
        map_row(space, matrix, norms, members[at], mapped)
        for j in range(dim):
            most = max(most, abs(mapped[j] - centre[j]))
    buckets.steps[bucket], buckets.sizes[bucket] = most / (MOST - MIDDLE), len(members)
    buckets.first[bucket] = block if len(members) else -1
    lane, used = 0, len(members) % LANES or LANES  # only the first block may have lanes to spare
    for at in range(len(members)):
        if lane == used:
            block, lane, used = buckets.following[block], 0, LANES
        if lane == 0:
            buckets.rows[block] = -1
        _put(space, matrix, norms, members[at], bucket, block, lane, mapped, buckets)
        lane += 1


@fast_kernel
def _put(
    space: Space,
    matrix: FloatMatrix,
    norms: Floats,
    row: Whole,
    bucket: Whole,
    block: Whole,
    lane: Whole,
    mapped: Floats,
    buckets: Buckets,
) -> bool:
    """Write a row into a lane; what lies outside the bucket's range is cut off. Returns whether
    anything does."""
    map_row(space, matrix, norms, row, mapped)
    centre, step, codes = buckets.centres[bucket], buckets.steps[bucket], buckets.codes[block]
    inverse = np.float32(1) / step if step > 0 else np.float32(0)
    bias, most = 0.0, np.float32(0)
    for j in range(len(centre)):
        most = max(most, abs(mapped[j] - centre[j]))
        code = np.rint((mapped[j] - centre[j]) * inverse) + np.float32(MIDDLE)
        code = min(max(code, np.float32(0)), np.float32(MOST))
        codes[j // GROUP, lane, j % GROUP] = np.uint8(code)
        off = np.float64(step) * (code - np.float32(MIDDLE))
        bias -= off * (2 * np.float64(centre[j]) + off)
    buckets.rows[block, lane] = row
    if space.metric == 2:
        buckets.biases[block, lane] = bias
    return bool(most > step * np.float32(MIDDLE))


@kernel
def fill_all(
    space: Space,
    matrix: FloatMatrix,
    norms: Floats,
    order: Int32s,
    ends: Int32s,
    first: int,
    last: int,
    base: int,
    buckets: Buckets,
) -> None:
    """Fill a tree's buckets ``first`` to ``last``: bucket b, numbered from ``base``, ends at
    ``ends[b]``."""
    for at in range(first, last):
        start = ends[at - 1] if at else 0
        block = buckets.first[base + at]
        fill(space, matrix, norms, order[start : ends[at]], base + at, block, buckets)


@kernel
def insert(
    space: Space,
    matrix: FloatMatrix,
    norms: Floats,
    start: int,
    forest: Forest,
    buckets: Buckets,
    limit: int,
    full: Int64s,
) -> int:
    """Put the rows from ``start`` on into their bucket of every tree.

    Returns the first row that is not in, where there may be too little room for it or ``full``
    says what is to be split before it: (trees, 3), bucket, node and side that it hangs from, or a
    bucket of -1. A bucket is full that has come to hold ``limit`` rows, or twice, four times, ….
    """
    dim = matrix.shape[1]
    mapped = np.empty(dim + (space.metric == 1), dtype=np.float32)
    counts, trees = buckets.counts, len(forest.roots)
    full[:] = -1
    for row in range(start, len(matrix)):
        room = min(len(forest.offsets) - counts[NODES], len(buckets.steps) - counts[BUCKETS])
        if room < trees or len(buckets.following) - counts[BLOCKS] < 2 * trees:
            return row
        is_full = False
        for tree in range(trees):
            map_row(space, matrix, norms, row, mapped)
            bucket, parent, side = find_bucket(space, norms, row, forest, tree, mapped)
            size = buckets.sizes[bucket]
            block = buckets.first[bucket]
            lane = size % LANES
            if lane == 0:
                fresh = _take_block(buckets)
                buckets.following[fresh], buckets.first[bucket] = block, fresh
                buckets.rows[fresh] = -1
                block = fresh
            is_outside = _put(space, matrix, norms, row, bucket, block, lane, mapped, buckets)
            size += 1
            buckets.sizes[bucket] = size
            if is_outside:
                members = members_of(buckets, bucket)
                fill(space, matrix, norms, members, bucket, block, buckets)
            if size >= limit and size % limit == 0 and (size // limit) & (size // limit - 1) == 0:
                full[tree, 0], full[tree, 1], full[tree, 2] = bucket, parent, side
                is_full = True
        if is_full:
            return row + 1
    return len(matrix)


def split_bucket(
    space: Space,
    matrix: FloatMatrix,
    norms: Floats,
    tree: int,
    place: tuple[int, int, int],
    forest: Forest,
    buckets: Buckets,
    drawn: FloatMatrix,
    iterations: int,
    seed: int,
) -> None:
    """Make a node and two buckets of a full one, if a plane tells its rows apart.

    ``place`` is as :func:`insert` gives it, and there is room.
    """
    bucket, parent, side = place
    members, counts = members_of(buckets, bucket), buckets.counts
    plane, facts = np.empty(drawn.shape[1], np.float32), np.empty(4, np.float32)
    middle, deeper = split(
        space, matrix, norms, members, 0, len(members), drawn, int(buckets.depths[bucket]),
        iterations, seed, scale_below(forest, parent, side), plane, facts,
    )  # fmt: skip
    if middle == 0:
        return
    node = int(counts[NODES])
    counts[NODES] += 1
    forest.planes[node] = plane
    forest.offsets[node], forest.weights[node], forest.scales[node] = facts[:3]
    if parent >= 0:
        forest.children[parent, side] = node
    else:
        forest.roots[tree] = node
    forest.children[node] = -1 - bucket, -1 - counts[BUCKETS]
    divide(space, matrix, norms, members, middle, bucket, deeper, buckets)


@kernel
def remove(
    space: Space,
    matrix: FloatMatrix,
    norms: Floats,
    gone: Int64s,
    forest: Forest,
    buckets: Buckets,
) -> int:
    """Take rows out of their bucket of every tree; returns how many places were not found."""
    mapped = np.empty(matrix.shape[1] + (space.metric == 1), dtype=np.float32)
    missed = 0
    for row in gone:
        for tree in range(len(forest.roots)):
            map_row(space, matrix, norms, row, mapped)
            bucket, block, lane = _locate(space, norms, row, forest, buckets, tree, mapped)
            if block < 0:
                missed += 1
                continue
            # The last of the first block, the only one with lanes to spare, takes its place.
            first, size = buckets.first[bucket], buckets.sizes[bucket]
            last = (size - 1) % LANES
            buckets.codes[block, :, lane] = buckets.codes[first, :, last]
            buckets.rows[block, lane] = buckets.rows[first, last]
            if space.metric == 2:
                buckets.biases[block, lane] = buckets.biases[first, last]
            buckets.rows[first, last] = -1
            buckets.sizes[bucket] = size - 1
            if last == 0:
                buckets.first[bucket] = buckets.following[first]
                _give_back(buckets, first)
    return missed


@fast_kernel
def _locate(
    space: Space,
    norms: Floats,
    row: Whole,
    forest: Forest,
    buckets: Buckets,
    tree: int,
    mapped: Floats,
) -> tuple[Whole, Whole, Whole]:
    """Bucket, block and lane of a row; -1 for the block where it is not found.

    Where a row lies on a plane but for rounding, both sides are looked into.
    """
    waiting = [np.int64(forest.roots[tree])]
    while waiting:
        node = waiting.pop()
        while node >= 0:
            if space.metric == 1:
                mapped[-1] = lift(space, norms, row, forest.scales[node])
            margin = dot(mapped, forest.planes[node]) - forest.offsets[node]
            side = 1 if margin > 0 else 0
            if abs(margin) < _ROUNDING * (1 + abs(forest.offsets[node])):
                waiting.append(np.int64(forest.children[node, 1 - side]))
            node = np.int64(forest.children[node, side])
        block = np.int64(buckets.first[-1 - node])
        while block >= 0:
            for lane in range(LANES):
                if buckets.rows[block, lane] == row:
                    return -1 - node, block, np.int64(lane)
            block = np.int64(buckets.following[block])
    return np.int64(-1), np.int64(-1), np.int64(-1)


@kernel
def _give_back(buckets: Buckets, block: Whole) -> None:
    buckets.following[block], buckets.counts[FREE] = buckets.counts[FREE], block


@kernel
def _take_block(buckets: Buckets) -> Whole:
    counts = buckets.counts
    counts[TAKEN] += 1
    if counts[FREE] >= 0:
        block = counts[FREE]
        counts[FREE] = buckets.following[block]
    else:
        block = counts[BLOCKS]
        counts[BLOCKS] += 1
    return np.int64(block)


@kernel
def members_of(buckets: Buckets, bucket: Whole) -> Int32s:
    """The rows of a bucket, ascending."""
    found = np.empty(buckets.sizes[bucket], dtype=np.int32)
    filled, block = 0, buckets.first[bucket]
    while block >= 0:
        for lane in range(LANES):
            if buckets.rows[block, lane] >= 0:
                found[filled] = buckets.rows[block, lane]
                filled += 1
        block = buckets.following[block]
    return np.sort(found)


@kernel
def divide(
    space: Space,
    matrix: FloatMatrix,
    norms: Floats,
    members: Int32s,
    middle: Whole,
    bucket: Whole,
    depth: Whole,
    buckets: Buckets,
) -> None:
    """Side 0 stays in a bucket, side 1 becomes a new one."""
    counts = buckets.counts
    block, other = buckets.first[bucket], counts[BUCKETS]
    counts[BUCKETS] += 1
    for half in range(2):
        part = members[middle:] if half else members[:middle]
        which = other if half else bucket
        # As many blocks as it needs off the old chain; what is short comes from elsewhere.
        head, last = np.int64(-1), np.int64(-1)
        for _ in range(-(-len(part) // LANES)):
            taken = np.int64(block)
            if taken >= 0:
                block = buckets.following[taken]
            else:
                taken = _take_block(buckets)
            if last >= 0:
                buckets.following[last] = taken
            else:
                head = taken
            last = taken
        buckets.following[last] = -1
        fill(space, matrix, norms, part, which, head, buckets)
        buckets.depths[which] = depth
    while block >= 0:
        following = buckets.following[block]
        _give_back(buckets, block)
        block = following


@kernel
def blocks_in_order(buckets: Buckets) -> Int32s:
    """The blocks in use: those of the first bucket, then those of the second, …."""
    found, filled = np.empty(buckets.counts[BLOCKS], dtype=np.int32), 0
    for bucket in range(buckets.counts[BUCKETS]):
        block = buckets.first[bucket]
        while block >= 0:
            found[filled] = block
            filled += 1
            block = buckets.following[block]
    return found[:filled]
