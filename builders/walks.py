"""Random walks on an item graph, made when they are needed and never all kept."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, Offsets, Sequences
from ..core.errors import InvalidOption
from ..core.jit import kernel
from .graph import ItemGraph
from .sampling import Floats, fill_alias_table
from .skipgram_kernel import Events
from .sources import Counts, Taken
from .walk_kernels import Bitmaps, Roads, walk

#: Steps that a thread takes at a time where walks are only looked at.
CHUNK = 100_000


class Walks:
    """From each node of a graph one walk in each epoch: a :class:`~.sources.Source`.

    A walk depends on the seed, the epoch and its first node alone. It ends early where no edge
    leads on. Nodes that no edge leads out of (but to themselves) begin none.

    Parameters
    ----------
    length
        Nodes of a walk, its first included, at least 2.
    return_parameter, in_out_parameter
        p and q of node2vec, above 0; both 1: walks of first order. See :mod:`.walk_kernels`.
    threads
        At work in :meth:`counts`; they change nothing else.

    Raises
    ------
    InvalidOption
        An option out of its range.

    Notes
    -----
    Memory beside the graph: 8 bytes a node; where the weights of a node's edges differ, 8 bytes an
    edge and 4 a node more; where q is not 1, at most 4 bytes an edge for the bits of hubs.
    """

    def __init__(
        self,
        graph: ItemGraph,
        length: int,
        *,
        return_parameter: float = 1.0,
        in_out_parameter: float = 1.0,
        seed: int = 1,
        threads: int = 2,
    ) -> None:
        if length < 2:
            raise InvalidOption(
                f"A walk has at least 2 nodes; received {length!r}.",
                option="walk_length",
                received=length,
            )
        for name, value in (
            ("return_parameter", return_parameter),
            ("in_out_parameter", in_out_parameter),
        ):
            if not 0 < value < np.inf:
                raise InvalidOption(
                    f"{name} is a number above 0; received {value!r}.", option=name, received=value
                )
        self._graph, self._threads = graph, threads
        self._parameters = (seed, length, float(return_parameter), float(in_out_parameter))
        self._roads = _roads(graph, bits=in_out_parameter != 1)
        starts = np.flatnonzero((graph.degrees > 0) & graph.connected).astype(np.int32)
        self._starts = np.random.default_rng(seed).permutation(starts)
        self._walks_of_chunk = 1
        self.lengths = np.array([length], dtype=np.int64)
        self.largest = length

    def __len__(self) -> int:
        """How many walks an epoch has."""
        return len(self._starts)

    def epoch(self, number: int) -> Sequences:
        """All walks of an epoch, in the order of training, over the graph's vocabulary."""
        events = self._walk(number, self._starts)
        return Sequences(self._graph.vocabulary, events.items, events.offsets)

    def counts(self) -> Counts:
        """How often each node comes in the first epoch; the others are alike."""
        nodes, size = len(self._graph), max(1, CHUNK // self._parameters[1])

        def count(first: int) -> Counts:
            events = self._walk(0, self._starts[first : first + size])
            return np.bincount(events.items, minlength=nodes)

        total = np.zeros(nodes, dtype=np.int64)
        with ThreadPoolExecutor(self._threads) as pool:
            for part in pool.map(count, range(0, len(self), size)):
                total += part
        return total

    def split(self, size: int) -> int:
        """Into runs of whole walks."""
        length = self._parameters[1]
        self._walks_of_chunk = max(1, size // length)
        self.largest = self._walks_of_chunk * length
        return -(-len(self) // self._walks_of_chunk)

    def take(self, epoch: int, chunks: npt.NDArray[np.int64]) -> Taken:
        """Walk those chunks."""
        size = self._walks_of_chunk
        firsts = chunks * size
        sizes = np.minimum(firsts + size, len(self)) - firsts
        ends = np.cumsum(sizes)
        chosen = np.arange(sizes.sum()) + np.repeat(firsts - (ends - sizes), sizes)
        return Taken(self._walk(epoch, self._starts[chosen]), ends - sizes, ends)

    def identity(self) -> Iterable[npt.NDArray[Any]]:
        """The graph and the options."""
        graph = self._graph
        return graph.indptr, graph.indices, graph.weights, np.array(self._parameters)

    def _walk(self, epoch: int, starts: Codes) -> Events:
        seed, length, back, away = self._parameters
        stream = np.random.SeedSequence((int(seed), epoch)).generate_state(1, np.uint64)[0]
        items = np.empty((len(starts), length), dtype=np.int32)
        lengths = np.empty(len(starts), dtype=np.int64)
        walk(self._roads, starts, stream, back, away, items, lengths)
        flat = items.reshape(-1)
        if lengths.min(initial=length) < length:
            flat = items[np.arange(length) < lengths[:, None]]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Events(flat, offsets, np.empty(0, dtype=np.float32))


def _roads(graph: ItemGraph, *, bits: bool) -> Roads:
    """The graph with its alias tables, if weights differ, and ``bits`` of the hubs."""
    indptr, indices, weights = graph.indptr, graph.indices, graph.weights
    thresholds, totals = np.empty((2, 0), dtype=np.float32)
    aliases = np.empty(0, dtype=np.int32)
    if _weights_differ(indptr, weights):
        thresholds, aliases = np.empty(len(weights), np.float32), np.empty(len(weights), np.int32)
        totals = np.empty(len(graph), np.float32)
        _alias_tables(indptr, indices, weights, thresholds, aliases, totals)
    hubs = np.full(len(graph), -1, dtype=np.int32)
    big = np.flatnonzero(bits & (32 * graph.degrees >= len(graph)))
    hubs[big] = np.arange(len(big))
    bitmaps = np.zeros((len(big), -(-len(graph) // 64)), dtype=np.uint64)
    _fill_bitmaps(indptr, indices, hubs, bitmaps)
    return Roads(
        indptr, indices, weights, thresholds, aliases, totals, hubs, bitmaps, not graph.directed
    )


@kernel
def _weights_differ(indptr: Offsets, weights: Floats) -> bool:
    """Whether any node has edges of different weights."""
    for node in range(len(indptr) - 1):
        for edge in range(indptr[node] + 1, indptr[node + 1]):
            if weights[edge] != weights[edge - 1]:
                return True
    return False


@kernel
def _alias_tables(
    indptr: Offsets,
    indices: Codes,
    weights: Floats,
    thresholds: Floats,
    aliases: Codes,
    totals: Floats,
) -> None:
    for node in range(len(indptr) - 1):
        begin, end = indptr[node], indptr[node + 1]
        row = weights[begin:end].astype(np.float64)
        totals[node] = row.sum()
        places = np.arange(end - begin).astype(np.int32)
        fill_alias_table(row * ((end - begin) / row.sum()), thresholds[begin:end], places)
        for at in range(end - begin):
            aliases[begin + at] = indices[begin + places[at]]


@kernel
def _fill_bitmaps(indptr: Offsets, indices: Codes, hubs: Codes, bitmaps: Bitmaps) -> None:
    for node in range(len(hubs)):
        line = hubs[node]
        if line >= 0:
            for edge in range(indptr[node], indptr[node + 1]):
                other = indices[edge]
                bitmaps[line, other >> 6] |= np.uint64(1) << np.uint64(other & 63)
