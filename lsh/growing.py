"""Trees of hyperplanes over rows: how a node finds its plane, and a row its bucket.

A node cuts its rows by a plane (of :mod:`.space`); what is small enough is a bucket.

Under the inner product a node whose longest row is more than :data:`WIDE` times as long as its
median is cut by a plane at right angles to the last coordinate: the shorter half goes to side 1,
and is a range of lengths by itself, whose R is the length at the cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.jit import fast_kernel, kernel
from ..core.vectors import FloatMatrix
from .space import Floats, Int32s, Real, Space, Whole, dot, lift, map_row

State = npt.NDArray[np.uint64]
#: Rows of a node that its two means are found from, and Lloyd's iterations: on a million clustered
#: vectors recall is .906 with 256 and 4, .922 with 1,024 and 10, .928 with 4,096 and 20.
SAMPLE, ITERATIONS = 1024, 10
#: A cut at the middle between the means leaves at least this share on each side, or else the plane
#: goes through the mean of all rows.
LEAST_SIDE = 0.1
#: See above; and no cut is at less than the longest length divided by the other. With 4 in place of
#: 2, recall for the factors of 12,101 items is .73 where it is .99; with 1.3 it is the same.
WIDE, WIDEST = np.float32(2), np.float32(64)
#: Planes drawn for a tree of a random family, and so its depth at the most.
MOST_DEPTH = 96


class Forest(NamedTuple):
    """Nodes of all trees. A node comes before those below it."""

    planes: FloatMatrix
    """(nodes, dim, or one more): normals."""
    offsets: Floats
    """(nodes,): a row is on side 1 where its product with the plane is above."""
    weights: Floats
    """(nodes,): what a unit of distance from the plane costs a search that crosses it."""
    scales: Floats
    """(nodes,): under the inner product R, which no row below is longer than, but such as came
    after the tree was built and are longer than all before; 1 otherwise."""
    children: Int32s
    """(nodes, 2): a node, or -1 - bucket."""
    roots: Int32s
    """(trees,): likewise."""


@kernel
def random_below(state: State, bound: Whole) -> Whole:
    """Uniform in [0, bound), from splitmix64 (Steele, Lea & Flood 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    bits = state[0]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((bits ^ (bits >> np.uint64(31))) % np.uint64(bound))


@fast_kernel
def split(
    space: Space,
    matrix: FloatMatrix,
    norms: Floats,
    order: Int32s,
    first: Whole,
    last: Whole,
    drawn: FloatMatrix,
    depth: Whole,
    iterations: int,
    seed: int,
    scale: Real,
    plane: Floats,
    facts: Floats,
) -> tuple[Whole, Whole]:
    """Cut ``order[first:last]`` in two, by a plane.

    Parameters
    ----------
    order
        Rows, reordered: those of side 0, then those of side 1, otherwise in order.
    drawn
        The planes by depth, of a random family; empty otherwise.
    depth
        The first of those that may be used.
    iterations
        Of Lloyd's; 0: the plane between two rows.
    scale
        R; infinite at a root, whose R is then found.
    plane, facts
        Filled: the normal; offset, weight, and R of the node and of side 1.

    Returns
    -------
    middle
        Where side 1 begins; ``first`` where no plane tells the rows apart.
    depth
        After that of the plane that was taken.
    """
    products = np.empty(last - first, dtype=np.float32)
    mapped = np.empty(len(plane), dtype=np.float32)
    tries = len(drawn) - depth if len(drawn) else 4
    state = np.empty(1, dtype=np.uint64)
    state[0] = np.uint64(seed) ^ (np.uint64(first) << np.uint64(32)) ^ np.uint64(last)
    facts[2:] = 1
    if space.metric == 1:
        cut = _cut_by_length(space, norms, order, first, last, scale, products, plane, facts)
        scale = facts[2]
        if cut > first:
            return cut, depth
    for _ in range(tries):
        middle: Real = np.float32(0)
        if len(drawn):
            plane[:] = drawn[depth]
            depth += 1
        else:
            middle = _between(
                space, matrix, norms, order, first, last, iterations, scale, state, plane
            )
        total, squares = np.float64(0), np.float64(0)
        above: Whole = 0
        for at in range(first, last):
            map_row(space, matrix, norms, order[at], mapped)
            if space.metric == 1:
                mapped[-1] = lift(space, norms, order[at], scale)
            product = dot(mapped, plane)
            products[at - first] = product
            total += product
            squares += np.float64(product) * product
            above += product > middle
        mean = total / (last - first)
        if (
            not len(drawn)
            and iterations
            and not (LEAST_SIDE * (last - first) <= above <= (1 - LEAST_SIDE) * (last - first))
        ):
            middle = np.float32(mean)
        cut = _partition(order, products, first, last, middle)
        if first < cut < last:
            facts[0] = middle
            facts[1] = np.sqrt(max(squares / (last - first) - mean * mean, 1e-30))
            if space.metric == 1:
                facts[1] /= scale
            return cut, depth
    return first, depth


@fast_kernel
def _cut_by_length(
    space: Space,
    norms: Floats,
    order: Int32s,
    first: Whole,
    last: Whole,
    scale: Real,
    products: Floats,
    plane: Floats,
    facts: Floats,
) -> Whole:
    """Make the shorter half side 1, where lengths differ much; returns ``first`` where not.

    A query is on side 0, and what it costs to cross is by how much shorter the rows there are.
    """
    for at in range(first, last):
        products[at - first] = norms[order[at]] / space.length
    longest, half = products.max(), np.float32(np.median(products))
    scale = np.float32(scale) if scale < np.inf else max(longest, np.float32(1e-30))
    facts[2:] = scale
    if longest <= WIDE * half:
        return first
    half = max(half, longest / WIDEST)
    offset = np.sqrt((scale - half) * (scale + half))
    for at in range(first, last):
        products[at - first] = lift(space, norms, order[at], scale)
    cut = _partition(order, products, first, last, offset)
    if cut == last:
        return first
    plane[:] = 0
    plane[-1] = 1
    facts[0], facts[1], facts[3] = offset, (scale - half) / offset, half
    return cut


@kernel
def scale_below(forest: Forest, node: int, side: int) -> Real:
    """R of what hangs from a side of a node; infinite where there is no node."""
    if node < 0:
        return np.float32(np.inf)
    scale, offset = forest.scales[node], forest.offsets[node]
    if side == 1 and forest.planes[node, -1] == 1:
        # A little more: the root of a difference of squares is not exact.
        scale = np.float32(1.001) * np.sqrt((scale - offset) * (scale + offset))
    return scale


@kernel
def _partition(order: Int32s, products: Floats, first: Whole, last: Whole, middle: Real) -> Whole:
    """Stable; returns where those above begin."""
    above = np.empty(last - first, dtype=np.int32)
    count, low = 0, first
    for at in range(first, last):
        row = order[at]
        if products[at - first] > middle:
            above[count] = row
            count += 1
        else:
            order[low] = row
            low += 1
    for at in range(count):
        order[low + at] = above[at]
    return low


@fast_kernel
def _between(
    space: Space,
    matrix: FloatMatrix,
    norms: Floats,
    order: Int32s,
    first: Whole,
    last: Whole,
    iterations: int,
    scale: Real,
    state: State,
    plane: Floats,
) -> Real:
    """The plane between two rows, or between the two means; returns the offset of the middle."""
    width, size = len(plane), min(last - first, SAMPLE if iterations else 2)
    sample = np.empty((size, width), dtype=np.float32)
    for at in range(size):
        # One of each stretch of the rows: a sample without repeats.
        low = first + (last - first) * at // size
        high = first + (last - first) * (at + 1) // size
        row = order[low + random_below(state, high - low)]
        map_row(space, matrix, norms, row, sample[at])
        if space.metric == 1:
            sample[at, -1] = lift(space, norms, row, scale)
    start = random_below(state, size)
    one = sample[start].copy()
    other = sample[(start + 1 + random_below(state, size - 1)) % size].copy()
    sums, sides = np.empty((2, width), dtype=np.float32), np.zeros(size, dtype=np.bool_)
    for turn in range(iterations + 1):
        middle = np.float32(0)
        for j in range(width):
            plane[j] = one[j] - other[j]
            middle += plane[j] * (one[j] + other[j])
        middle *= np.float32(0.5)
        if turn == iterations:
            break
        count: Whole = 0
        sums[:], moved = 0, turn == 0
        for at in range(size):
            side = dot(sample[at], plane) > middle
            count += side
            moved |= side != sides[at]
            sides[at] = side
            line = sums[1 if side else 0]
            for j in range(width):
                line[j] += sample[at, j]
        if count in (0, size) or not moved:
            break
        for j in range(width):
            one[j] = sums[1, j] / np.float32(count)
            other[j] = sums[0, j] / np.float32(size - count)
    length = np.sqrt(dot(plane, plane))
    if length > 0:
        for j in range(width):
            plane[j] /= length
        middle /= length
    return middle


@fast_kernel
def find_bucket(
    space: Space, norms: Floats, row: int, forest: Forest, tree: int, mapped: Floats
) -> tuple[Whole, Whole, Whole]:
    """The bucket of a row in a tree, and the node and side that it hangs from (-1: the root).

    ``mapped`` is the row by :func:`map_row`, as long as a plane.
    """
    planes, children = forest.planes, forest.children
    node, parent, side = np.int64(forest.roots[tree]), np.int64(-1), np.int64(0)
    while node >= 0:
        parent = node
        if space.metric == 1:
            mapped[-1] = lift(space, norms, row, forest.scales[node])
        product = dot(mapped, planes[node])
        side = np.int64(product > forest.offsets[node])
        node = np.int64(children[node, side])
    return -1 - node, parent, side
