"""Trees of hyperplanes over rows: how a node finds its plane, and a row its bucket.

A node cuts its rows by a plane; what is small enough is a bucket. Planes lie in a space of their
own, in which the metric is an angle or a distance (:class:`Space`), with a coordinate more than
the rows under the inner product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.jit import fast_kernel, inlined, kernel
from ..core.vectors import FloatMatrix

Floats = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
State = npt.NDArray[np.uint64]
#: Numbers in kernels, whose widths numba finds out: an integer, a float.
Whole = Any
Real = Any

#: Rows of a node that its two means are found from, and Lloyd's iterations: on a million clustered
#: vectors recall is .906 with 256 and 4, .922 with 1,024 and 10, .928 with 4,096 and 20.
SAMPLE, ITERATIONS = 1024, 10
#: A cut at the middle between the means leaves at least this share on each side, or else the plane
#: goes through the mean of all rows.
LEAST_SIDE = 0.1
#: Planes drawn for a tree of a random family, and so its depth at the most.
MOST_DEPTH = 96


class Space(NamedTuple):
    """Where planes lie: row x ↦ x' = (x − centre) / length, divided by ‖x‖ under the cosine.

    Under the inner product a last coordinate makes all rows up to ``length`` equally long; see
    :mod:`.reductions`.
    """

    metric: int
    """One of :data:`~itemspace.core.scoring.METRIC_CODES`."""
    centre: Floats
    """(dim,)."""
    length: np.float32


class Forest(NamedTuple):
    """Nodes of all trees. A node comes before those below it."""

    planes: FloatMatrix
    """(nodes, dim, or one more): normals."""
    offsets: Floats
    """(nodes,): a row is on side 1 where its product with the plane is above."""
    weights: Floats
    """(nodes,): what a unit of distance from the plane costs a search that crosses it."""
    children: Int32s
    """(nodes, 2): a node, or -1 - bucket."""
    roots: Int32s
    """(trees,): likewise."""


@inlined
def map_row(space: Space, matrix: FloatMatrix, norms: Floats, row: int, place: Floats) -> None:
    """Write a row as the planes' space has it; ``place`` is as long as a plane."""
    x, centre, dim = matrix[row], space.centre, matrix.shape[1]
    factor = np.float32(1) / (norms[row] if space.metric == 0 else space.length)
    for j in range(dim):
        place[j] = (x[j] - centre[j]) * factor
    if space.metric == 1:
        rest = np.float32(1)
        for j in range(dim):
            rest -= place[j] * place[j]
        place[dim] = np.sqrt(max(rest, np.float32(0)))


@fast_kernel
def dot(one: Floats, other: Floats) -> np.float32:
    """one · other, over the length of ``one``."""
    total = np.float32(0)
    for j in range(len(one)):
        total += one[j] * other[j]
    return total


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
    plane, facts
        Filled: the normal; offset and weight.

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
    for _ in range(tries):
        middle: Real = np.float32(0)
        if len(drawn):
            plane[:] = drawn[depth]
            depth += 1
        else:
            middle = _between(space, matrix, norms, order, first, last, iterations, state, plane)
        total, squares = np.float64(0), np.float64(0)
        above: Whole = 0
        for at in range(first, last):
            map_row(space, matrix, norms, order[at], mapped)
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
            return cut, depth
    return first, depth


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
        map_row(space, matrix, norms, order[low + random_below(state, high - low)], sample[at])
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
def find_bucket(forest: Forest, tree: int, mapped: Floats) -> tuple[Whole, Whole, Whole]:
    """The bucket of a row in a tree, and the node and side that it hangs from (-1: the root)."""
    planes, children = forest.planes, forest.children
    node, parent, side = np.int64(forest.roots[tree]), np.int64(-1), np.int64(0)
    while node >= 0:
        parent = node
        product = dot(mapped, planes[node])
        side = np.int64(product > forest.offsets[node])
        node = np.int64(children[node, side])
    return -1 - node, parent, side
