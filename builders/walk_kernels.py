"""Random walks of first and second order, exact on weighted and directed graphs.

Several walks go forward in turn, a step each: while one waits for memory the others go on. A walk's
random numbers come from its own seed, so neither that nor the number of threads changes it.

First order (Perozzi et al. 2014, with weights): from v to x with P(x) = w(v, x) / W(v), where W(v)
is the sum of the weights out of v; by Walker's alias method.

Second order (Grover & Leskovec 2016, section 3.2.2): having come from t, P(x) ∝ α(x) w(v, x) with
α = 1/p for x = t, else 1 for an edge t → x, else 1/q. By rejection, as in KnightKing (Yang et al.
2019, section 4): propose x in first order and accept it with probability α(x) / M. So there is no
table over pairs of edges, and memory is linear in the edges. The bounds:

- M = max(1, 1/q) is the largest α of any x but t.
- 1/p may be larger. Capped at M, the mass of t is too small by (1/p − M) w(v, t). So much is added
  behind the proposals' M W(v) ("outlier folding"), and what falls there returns to t. Where there
  is no edge v → t, that is nothing.
- With r uniform in [0, M), every x is accepted for r < min(1/p, 1, 1/q) before anything is looked
  up ("early acceptance"), and every x but t for r < min(1, 1/q). With q = 1 an edge t → x is never
  looked for; with p = q = 1 every proposal is accepted, and the walk is of first order.

A proposal is accepted with probability Σ α(x) w(v, x) / (M W(v)), or more. That may be as little
as min(1/p, 1, 1/q) / M: where as many proposals as there are edges out of v (at least ``TRIES``)
came to nothing, x is drawn by the masses of all of them, which changes no probability.

Whether there is an edge t → x: a node with so many edges that a bit for each node of the graph
takes no more room than its row has such bits; the row of any other is searched.

Departures: an edge is chosen by 32 random bits, which is exact to degree · 2⁻³²; α is compared at
32 bits, an alias threshold at 24.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, Offsets
from ..core.jit import kernel
from .sampling import GOLDEN, Floats, scrambled

#: Walks that go forward in turn.
LANES = 16
#: Proposals after which, if they are no fewer than the edges, all edges are looked at.
TRIES = 64
TINY = np.float32(2.0**-24)
Bitmaps = npt.NDArray[np.uint64]


class Roads(NamedTuple):
    """A graph as walks need it."""

    indptr: Offsets
    indices: Codes
    weights: Floats
    thresholds: Floats
    aliases: Codes
    """The alias method for each node's edges, (edges,): the other node that an edge leads to.
    Empty, as are the totals, where the edges of each node weigh the same."""
    totals: Floats
    """W, the sum of each node's weights, (n,)."""
    hubs: Codes
    """(n,): the node's line in ``bitmaps``, or -1."""
    bitmaps: Bitmaps
    """(hubs, ⌈n / 64⌉): which nodes it has an edge to."""
    symmetric: bool
    """Whether every edge goes both ways."""


@kernel
def walk(
    roads: Roads,
    starts: Codes,
    seed: np.uint64,
    return_parameter: float,
    in_out_parameter: float,
    walks: Codes,
    lengths: npt.NDArray[np.int64],
) -> None:
    """Fill ``walks`` (walks, length) from ``starts``, and how long each is before it ends.

    The first step has none before it and is of first order. A walk ends where no edge leads on.
    """
    # Arrays are not handed to parts of their own: that costs more than the step.
    indptr, indices, weights = roads.indptr, roads.indices, roads.weights
    thresholds, aliases, totals = roads.thresholds, roads.aliases, roads.totals
    hubs, bitmaps, symmetric = roads.hubs, roads.bitmaps, roads.symmetric
    weighted, half = len(thresholds) > 0, np.uint64(32)
    back, away = 1 / return_parameter, 1 / in_out_parameter
    most, least = max(1.0, away), min(1.0, away)
    surely = min(back, least)
    nodes, before = np.empty(LANES, dtype=np.int64), np.empty(LANES, dtype=np.int64)
    states = np.empty(LANES, dtype=np.uint64)
    for first in range(0, len(starts), LANES):
        lanes = min(LANES, len(starts) - first)
        for lane in range(lanes):
            node = starts[first + lane]
            nodes[lane], before[lane] = node, -1
            walks[first + lane, 0], lengths[first + lane] = node, walks.shape[1]
            states[lane] = scrambled(seed + np.uint64(node) * GOLDEN)
        for step in range(1, walks.shape[1]):
            for lane in range(lanes):
                node, previous = nodes[lane], before[lane]
                begin, end = indptr[node], indptr[node + 1]
                if begin == end:
                    lengths[first + lane] = min(lengths[first + lane], step)
                    continue
                mass = most
                if back > most and previous >= 0:
                    if symmetric and not weighted:
                        mass += (back - most) / (end - begin)
                    else:
                        edge = _find(indices, begin, end, previous)
                        if edge >= 0:
                            share = weights[edge] / totals[node] if weighted else 1 / (end - begin)
                            mass += (back - most) * share
                state = states[lane]
                for _ in range(max(TRIES, end - begin)):
                    state += GOLDEN
                    bits = scrambled(state)
                    edge = begin + np.int64(((bits >> half) * np.uint64(end - begin)) >> half)
                    target = np.int64(indices[edge])
                    if weighted:
                        if np.float32(bits & np.uint64(0xFFFFFF)) * TINY >= thresholds[edge]:
                            target = np.int64(aliases[edge])
                        state += GOLDEN
                        bits = scrambled(state)
                    r = (bits & np.uint64(0xFFFFFFFF)) * 2.0**-32 * mass
                    if r < surely or previous < 0:
                        break
                    if r >= most:
                        target = previous
                        break
                    if target == previous:
                        if r < back:
                            break
                        continue
                    if r < least:
                        break
                    line, bit = np.int64(hubs[previous]), target
                    if line < 0 and symmetric:
                        line, bit = np.int64(hubs[target]), previous
                    if line >= 0:
                        linked = (bitmaps[line, bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1) > 0
                    else:
                        row = indptr[previous], indptr[previous + 1]
                        linked = _find(indices, row[0], row[1], target) >= 0
                    if r < (1.0 if linked else away):
                        break
                else:
                    state += GOLDEN
                    target = _draw_from_all(roads, previous, node, back, away, scrambled(state))
                states[lane], before[lane], nodes[lane] = state, node, target
                walks[first + lane, step] = target


@kernel
def _draw_from_all(
    roads: Roads, previous: np.int64, node: int, back: float, away: float, bits: np.uint64
) -> np.int64:
    """The next node by the masses of all edges out of ``node``."""
    begin, end = roads.indptr[node], roads.indptr[node + 1]
    row = roads.indptr[previous], roads.indptr[previous + 1]
    sums, mass = np.empty(end - begin), 0.0
    for edge in range(begin, end):
        target, bias = np.int64(roads.indices[edge]), away
        if target == previous:
            bias = back
        elif _find(roads.indices, row[0], row[1], target) >= 0:
            bias = 1.0
        mass += bias * (roads.weights[edge] if len(roads.thresholds) else 1.0)
        sums[edge - begin] = mass
    at = np.searchsorted(sums, np.float64(bits >> np.uint64(11)) * 2.0**-53 * mass, side="right")
    return np.int64(roads.indices[begin + min(at, end - begin - 1)])


@kernel
def _find(indices: Codes, begin: int, end: int, wanted: np.int64) -> int:
    """Where ``wanted`` stands in a row of at least one, or -1; a search without branches."""
    at, size = begin, end - begin
    while size > 1:
        half = size >> 1
        at = at + half if indices[at + half] <= wanted else at
        size -= half
    return at if indices[at] == wanted else -1
