"""All trees of an index: grown by several threads, given room, described."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.vectors import FloatMatrix, RowView
from .buckets import (
    BLOCKS,
    BUCKETS,
    NO_BIAS,
    NODES,
    TAKEN,
    Buckets,
    blocks_in_order,
    fill_all,
)
from .growing import Forest, split
from .lanes import GROUP, LANES
from .parallel import pieces, run_all
from .space import Floats, Int32s, Space

Array = npt.NDArray[Any]
#: Tasks for each thread, on a level of a tree.
_TASKS = 8
#: Updates take blocks from anywhere; of as many as this share of all, they are put in order again.
#: That takes 0.1 s for a million 64-d vectors, and such a search a tenth longer than a fresh one.
MOST_TAKEN = 1 / 16


@dataclass(frozen=True, eq=False)
class Trees:
    """Nodes and buckets of an index."""

    forest: Forest
    buckets: Buckets
    is_owned: bool = True
    """Whether the arrays may be written: not those of a file."""

    def writable(self) -> Trees:
        """Itself, or a copy in memory."""
        if self.is_owned:
            return self
        forest = Forest._make(np.array(array) for array in self.forest)
        buckets = Buckets._make(np.array(array) for array in self.buckets)
        return replace(self, forest=forest, buckets=buckets, is_owned=True)

    def with_room(self) -> Trees:
        """The same with room for as many nodes, buckets and blocks again, and some."""
        forest, buckets = self.forest, self.buckets
        nodes, count, blocks = (
            2 * int(buckets.counts[what]) + 256 for what in (NODES, BUCKETS, BLOCKS)
        )
        by_node = (_longer(array, nodes) for array in forest[:5])
        by_bucket = (_longer(array, count) for array in buckets[:5])
        has_bias = len(buckets.biases) > 1
        by_block = (_longer(array, blocks) for array in buckets[5:8])
        biases = _longer(buckets.biases, blocks) if has_bias else NO_BIAS
        return replace(
            self,
            forest=Forest._make([*by_node, forest.roots]),
            buckets=Buckets._make([*by_bucket, *by_block, biases, buckets.counts]),
        )

    def in_order(self) -> Trees:
        """The same, a bucket's blocks after each other, if too many are not."""
        buckets = self.buckets
        if buckets.counts[TAKEN] <= MOST_TAKEN * buckets.counts[BLOCKS]:
            return self
        order = blocks_in_order(buckets)
        count, capacity = int(buckets.counts[BUCKETS]), len(buckets.sizes)
        first, following = chains(buckets.sizes[:count])
        counts = np.array([buckets.counts[NODES], count, len(order), -1, 0], dtype=np.int64)
        found = buckets._replace(
            first=_longer(first, capacity),
            following=following,
            codes=buckets.codes[order],
            rows=buckets.rows[order],
            biases=buckets.biases[order] if len(buckets.biases) > 1 else NO_BIAS,
            counts=counts,
        )
        return replace(self, buckets=found)

    def held(self, count: int) -> npt.NDArray[np.bool_]:
        """Which of ``count`` rows are in the buckets, (count,)."""
        rows = self.buckets.rows[blocks_in_order(self.buckets)]
        found = np.zeros(count, dtype=np.bool_)
        found[rows[rows >= 0]] = True
        return found

    def describe(self) -> dict[str, Any]:
        """Trees, buckets and their sizes, bytes."""
        counts, buckets = self.buckets.counts, self.buckets
        sizes = buckets.sizes[: counts[BUCKETS]]
        kept = {
            "nodes": sum(array[: counts[NODES]].nbytes for array in self.forest[:5]),
            "buckets": sum(array[: counts[BUCKETS]].nbytes for array in buckets[:5]),
            "blocks": sum(array[: counts[BLOCKS]].nbytes for array in buckets[5:9]),
        }
        return {
            "trees": len(self.forest.roots),
            "buckets": len(sizes),
            "median_bucket": float(np.median(sizes)) if len(sizes) else 0.0,
            "largest_bucket": int(sizes.max(initial=0)),
            "bytes": sum(kept.values()),
        }


class _Part(NamedTuple):
    """Rows ``order[first:last]``, where they hang, the first drawn plane that may cut them, R."""

    first: int
    last: int
    parent: int
    side: int
    depth: int
    scale: float


def grow_trees(
    space: Space,
    rows: RowView,
    drawn: npt.NDArray[np.float32],
    iterations: int,
    bucket: int,
    seed: int,
    threads: int,
) -> Trees:
    """Trees over all rows; the same at any number of threads."""
    grown = [
        _grow_tree(space, rows, drawn[tree], iterations, bucket, seed + (tree << 32), threads)
        for tree in range(len(drawn))
    ]
    forest = _joined(grown)
    buckets = _empty_buckets(space, rows.matrix, grown)
    base = 0
    for tree in grown:

        def fill(piece: slice, tree: _Tree = tree, base: int = base) -> None:
            fill_all(
                space, rows.matrix, rows.norms, tree.order, tree.ends, piece.start, piece.stop,
                base, buckets,
            )  # fmt: skip

        run_all(fill, pieces(len(tree.ends), 64), threads)
        base += len(tree.ends)
    return Trees(forest, buckets)


class _Tree(NamedTuple):
    order: Int32s
    """Rows, a bucket's after each other."""
    planes: FloatMatrix
    facts: FloatMatrix
    """(nodes, 4): as :func:`.growing.split` fills them."""
    children: Int32s
    ends: Int32s
    """(buckets,): where each ends in ``order``."""
    depths: Int32s


def _grow_tree(
    space: Space,
    rows: RowView,
    drawn: FloatMatrix,
    iterations: int,
    bucket: int,
    seed: int,
    threads: int,
) -> _Tree:
    """Level by level, the nodes of a level in threads."""
    matrix, norms, width = rows.matrix, rows.norms, drawn.shape[1]
    order = np.arange(len(matrix), dtype=np.int32)
    planes: list[Floats] = []
    facts: list[Floats] = []
    children: list[list[int]] = []
    leaves: list[_Part] = []

    def cut(part: _Part) -> tuple[int, int, Floats, Floats]:
        plane, fact = np.empty(width, dtype=np.float32), np.empty(4, dtype=np.float32)
        middle, depth = split(
            space, matrix, norms, order, part.first, part.last, drawn, part.depth, iterations,
            seed, part.scale, plane, fact,
        )  # fmt: skip
        return middle, depth, plane, fact

    todo = [_Part(0, len(matrix), -1, 0, 0, np.inf)]
    while todo:
        leaves += [part for part in todo if part.last - part.first <= bucket]
        large = [part for part in todo if part.last - part.first > bucket]
        todo = []
        # Many small nodes to a task: handing one out takes as long as cutting it.
        size = max(1, len(large) // (_TASKS * threads))
        tasks = [large[piece] for piece in pieces(len(large), size)]
        cuts = run_all(lambda task: list(map(cut, task)), tasks, threads)
        for part, (middle, depth, plane, fact) in zip(large, chain(*cuts), strict=True):
            if middle == part.first:
                leaves.append(part)
                continue
            node = len(children)
            if part.parent >= 0:
                children[part.parent][part.side] = node
            planes.append(plane)
            facts.append(fact)
            children.append([0, 0])
            todo.append(_Part(part.first, middle, node, 0, depth, float(fact[2])))
            todo.append(_Part(middle, part.last, node, 1, depth, float(fact[3])))
    leaves.sort()
    for number, leaf in enumerate(leaves):
        if leaf.parent >= 0:
            children[leaf.parent][leaf.side] = -1 - number
    return _Tree(
        order,
        np.array(planes, dtype=np.float32).reshape(-1, width),
        np.array(facts, dtype=np.float32).reshape(-1, 4),
        np.array(children, dtype=np.int32).reshape(-1, 2),
        np.array([leaf.last for leaf in leaves], dtype=np.int32),
        np.array([leaf.depth for leaf in leaves], dtype=np.int32),
    )


def _joined(grown: list[_Tree]) -> Forest:
    """The nodes of all trees, numbered through."""
    nodes = np.cumsum([0, *(len(tree.children) for tree in grown)])
    buckets = np.cumsum([0, *(len(tree.ends) for tree in grown)])
    children = [
        np.where(tree.children >= 0, tree.children + node, tree.children - bucket)
        for tree, node, bucket in zip(grown, nodes, buckets, strict=False)
    ]
    roots = [
        node if len(tree.children) else -1 - bucket
        for tree, node, bucket in zip(grown, nodes, buckets, strict=False)
    ]
    facts = np.concatenate([tree.facts for tree in grown])
    return Forest(
        np.concatenate([tree.planes for tree in grown]),
        np.ascontiguousarray(facts[:, 0]),
        np.ascontiguousarray(facts[:, 1]),
        np.ascontiguousarray(facts[:, 2]),
        np.concatenate(children).astype(np.int32),
        np.array(roots, dtype=np.int32),
    )


def _empty_buckets(space: Space, matrix: FloatMatrix, grown: list[_Tree]) -> Buckets:
    """Buckets of all trees with their chains of blocks, not filled yet."""
    sizes = np.concatenate([np.diff(tree.ends, prepend=np.int32(0)) for tree in grown])
    first, following = chains(sizes)
    blocks, dim = len(following), matrix.shape[1]
    nodes = sum(len(tree.children) for tree in grown)
    return Buckets(
        centres=np.empty((len(sizes), dim), dtype=np.float32),
        steps=np.empty(len(sizes), dtype=np.float32),
        sizes=sizes.astype(np.int32),
        depths=np.concatenate([tree.depths for tree in grown]),
        first=first,
        following=following,
        codes=np.zeros((blocks, -(-dim // GROUP), LANES, GROUP), dtype=np.uint8),
        rows=np.full((blocks, LANES), -1, dtype=np.int32),
        biases=np.zeros((blocks, LANES), dtype=np.float32) if space.metric == 2 else NO_BIAS,
        counts=np.array([nodes, len(sizes), blocks, -1, 0], dtype=np.int64),
    )


def chains(sizes: npt.NDArray[np.integer[Any]]) -> tuple[Int32s, Int32s]:
    """Each bucket's first block, and each block's next one, where they lie in order."""
    num_blocks = -(-sizes.astype(np.int64) // LANES)
    ends = np.cumsum(num_blocks)
    following = np.arange(1, ends[-1] + 1, dtype=np.int32)
    following[ends[num_blocks > 0] - 1] = -1
    first = np.where(num_blocks > 0, ends - num_blocks, -1)
    return first.astype(np.int32), following


def _longer(array: Array, size: int) -> Array:
    """At least ``size`` long; the new places hold anything."""
    if len(array) >= size:
        return array
    found = np.empty((size, *array.shape[1:]), dtype=array.dtype)
    found[: len(array)] = array
    return found
