"""The skip-gram kernel: negative sampling over integer sequences, a window at a time.

For each position the items around it are the inputs x, the item itself and drawn noise items the
outputs y; with label 1 for the item and 0 for noise, the loss of a pair is −log σ(±x·y), and with
e = α (label − σ(x·y)) the steps are Δx = Σ e y and Δy = Σ e x (Mikolov et al. 2013, equation 4).

Departure, after Ji et al. 2016 (pWord2Vec, "HogBatch"): the noise items are drawn once for a
position and shared by all inputs of its window, and all steps of a window are taken from the values
before it. So the window is three small matrix products over rows that lie in the cache.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, Offsets
from ..core.jit import fast_kernel, inlined, kernel
from ..core.vectors import FloatMatrix
from .parts import Parts, hand_down, put_together
from .sampling import Floats, draw, random_bits, uniform

#: Rows are padded with zeros to whole vector registers.
LANES = 16
#: Inputs that are trained together, a multiple of 4; a wider window takes several rounds.
BATCH = 32


class Table(NamedTuple):
    """Vectors that are trained in place, or a private copy of those that a chunk needs.

    In place, ``slots`` is empty and a row's number is its item. Else rows are copied from
    ``shared`` when first needed: ``slots[item]`` is where (-1 before), ``owners[slot]`` the item.
    The last row of ``matrix`` is no item's.
    """

    matrix: FloatMatrix
    shared: FloatMatrix
    slots: Codes
    owners: Codes
    used: npt.NDArray[np.int64]
    """How many rows of ``owners`` are taken, (1,)."""


class Events(NamedTuple):
    """Sequences to train on; number i is ``items[offsets[i]:offsets[i + 1]]``."""

    items: Codes
    offsets: Offsets
    weights: Floats
    """The share of epochs in which each event is a position, (events,); empty: all, in all."""


class Sampling(NamedTuple):
    """What is drawn: which events stay, which items are noise."""

    keep: Floats
    """The share of each item's events that stays, (items,)."""
    thresholds: Floats
    aliases: Codes
    """:func:`~.sampling.alias_table` of the noise."""


class Window(NamedTuple):
    """Which items are each other's context."""

    reach: int
    shrink: bool
    """Whether the reach used is drawn from 1 to ``reach`` for each position."""
    keep_places: bool
    """Whether a dropped event keeps its place."""


@fast_kernel
def train_sequences(
    events: Events,
    first: int,
    last: int,
    inputs: Table,
    outputs: Table,
    parts: Parts,
    sampling: Sampling,
    window: Window,
    negatives: int,
    frozen: int,
    alpha: np.float32,
    seed: np.uint64,
) -> tuple[float, int]:
    """Train on the sequences from ``first`` to ``last``; returns the loss and the pairs.

    A pair is an input with its position, noise included. Items below ``frozen`` keep their
    vectors: their steps go to the last row of a table, which is no item's.

    Inputs that are made of parts are put together once for each position of a sequence, trained
    there as if they were rows, and what was added to them goes to the parts at its end.
    """
    # Arrays under names of their own: numba counts references at each access to a tuple's.
    items, offsets, weights = events
    ins, outs = inputs.matrix, outputs.matrix
    in_slots, out_slots = inputs.slots, outputs.slots
    keep, thresholds, aliases = sampling
    private, spare = len(in_slots) > 0, -1
    composed = len(parts.offsets) > 0
    state = np.full(1, seed, dtype=np.uint64)
    dim = (outs.shape[1] // LANES) * LANES
    longest = 0
    for sequence in range(first, last):
        longest = max(longest, offsets[sequence + 1] - offsets[sequence])
    kept = np.empty(longest, dtype=np.int32)
    centre = np.empty(longest, dtype=np.bool_)
    if composed:
        ins = np.zeros((longest, dim), dtype=np.float32)
    before = np.zeros((longest if composed else 0, dim), dtype=np.float32)
    used = negatives + 1
    padded = -(-used // 3) * 3
    drawn = np.empty(used, dtype=np.int64)
    drawn_rows = np.empty(used, dtype=np.int64)
    real = np.zeros(padded, dtype=np.float32)
    near_rows = np.empty(BATCH, dtype=np.int64)
    x = np.zeros((BATCH, dim), dtype=np.float32)
    y = np.zeros((padded, dim), dtype=np.float32)
    steps = np.zeros((padded, dim), dtype=np.float32)
    errors = np.zeros((BATCH, padded), dtype=np.float32)
    scratch = np.empty(BATCH * padded, dtype=np.float32)
    powers = np.empty(BATCH * padded, dtype=np.int32)
    loss, pairs = 0.0, 0
    for sequence in range(first, last):
        length = 0
        for at in range(offsets[sequence], offsets[sequence + 1]):
            item = items[at]
            stays = keep[item] >= 1 or uniform(state) < keep[item]
            if stays or window.keep_places:
                kept[length] = item if stays else -1
                centre[length] = stays and (len(weights) == 0 or uniform(state) < weights[at])
                length += 1
        if composed:
            for at in range(length):
                if kept[at] >= 0:
                    put_together(parts, inputs.matrix, kept[at], before[at])
                    ins[at] = before[at]
        for at in range(length):
            if not centre[at]:
                continue
            reach = window.reach
            if window.shrink:
                reach = 1 + int(random_bits(state) % np.uint64(reach))
            start, end = max(0, at - reach), min(length, at + reach + 1)
            if end - start < 2:
                continue
            drawn[0], real[0] = kept[at], 1
            for place in range(1, used):
                noise = draw(thresholds, aliases, state)
                # Noise that is the item itself counts for nothing.
                drawn[place], real[place] = noise, noise != kept[at]
            other = start
            while other < end:
                for place in range(used):
                    row = drawn[place]
                    if private:
                        row = out_slots[row] if out_slots[row] >= 0 else _take(outputs, row)
                    drawn_rows[place] = row if drawn[place] >= frozen else spare
                    vector, line, step = outs[row], y[place], steps[place]
                    for j in range(dim):
                        line[j] = vector[j]
                        step[j] = 0
                rows = 0
                while other < end and rows < BATCH:
                    if other != at and kept[other] >= 0:
                        item = kept[other]
                        row = np.int64(other if composed else item)
                        if private:
                            row = in_slots[row] if in_slots[row] >= 0 else _take(inputs, row)
                        near_rows[rows] = row if item >= frozen else spare
                        vector, line = ins[row], x[rows]
                        for j in range(dim):
                            line[j] = vector[j]
                        rows += 1
                    other += 1
                _multiply(x, y, rows, dim, errors)
                loss += _errors(errors, rows, real, alpha, scratch, powers)
                _spread_to_outputs(errors, x, rows, dim, used, steps)
                for place in range(rows):
                    _add_products(errors[place], y, dim, ins[near_rows[place]])
                for place in range(used):
                    vector, step = outs[drawn_rows[place]], steps[place]
                    for j in range(dim):
                        vector[j] += step[j]
                pairs += rows
        if composed:
            for at in range(length):
                ins[at] -= before[at]
            hand_down(parts, inputs.matrix, kept, length, before, ins)
    return loss, pairs


@kernel
def _take(table: Table, item: np.int64) -> np.int64:
    """Copy a shared row into a private table; returns its slot."""
    slot: np.int64 = table.used[0]
    table.used[0] += 1
    table.slots[item], table.owners[slot] = slot, item
    shared, mine = table.shared[item], table.matrix[slot]
    for j in range(len(mine)):
        mine[j] = shared[j]
    return slot


@inlined
def _multiply(x: FloatMatrix, y: FloatMatrix, rows: int, dim: int, products: FloatMatrix) -> None:
    """products[i, p] = x[i] · y[p]; three outputs at a time share the loads of the input."""
    for row in range(rows):
        vector = x[row]
        for place in range(0, y.shape[0], 3):
            one, two, three = y[place], y[place + 1], y[place + 2]
            first = second = third = np.float32(0)
            for j in range(dim):
                first += vector[j] * one[j]
                second += vector[j] * two[j]
                third += vector[j] * three[j]
            products[row, place] = first
            products[row, place + 1] = second
            products[row, place + 2] = third


@inlined
def _errors(
    products: FloatMatrix,
    rows: int,
    real: Floats,
    alpha: np.float32,
    scratch: Floats,
    powers: Codes,
) -> float:
    """Products → e = α (label − σ(product)) in place; returns the loss, in float64.

    exp is 2ᵏ·2ᶠ with k whole and |f| ≤ ½: 2ᵏ from the bits of a float32, 2ᶠ by its Taylor series to
    the sixth order, which is right to 1.2e-7. Unlike ``math.exp`` that runs in vector registers.
    """
    one, width = np.float32(1), products.shape[1]
    flat = products.reshape(-1)
    count = rows * width
    exponents = powers.view(np.float32)
    for row in range(rows):
        products[row, 0] = -products[row, 0]  # now σ of every product is an error, log(1+e^) a loss
    for at in range(count):
        flat[at] = min(max(flat[at], np.float32(-80)), np.float32(80))
        power = -abs(flat[at]) * np.float32(1.4426950408889634)
        whole = np.int32(power - np.float32(0.5))
        part = power - np.float32(whole)
        powers[at] = (whole + np.int32(127)) << np.int32(23)
        value = np.float32(1.5403530e-4) * part + np.float32(1.3333558e-3)
        value = value * part + np.float32(9.6181291e-3)
        value = value * part + np.float32(5.5504109e-2)
        value = value * part + np.float32(2.4022651e-1)
        value = value * part + np.float32(6.9314718e-1)
        scratch[at] = value * part + one
    linear, factors, loss = 0.0, 1.0, 0.0
    for row in range(rows):
        for place in range(width):
            if real[place] > 0:
                at = row * width + place
                # log(1 + e^z) = max(z, 0) + log(1 + e^-|z|), one logarithm for many factors.
                linear += max(flat[at], np.float32(0))
                factors *= one + scratch[at] * exponents[at]
        if factors > 1e200:
            loss, factors = loss + log(factors), 1.0
    for at in range(count):
        small = scratch[at] * exponents[at]
        flat[at] = alpha * (one if flat[at] >= 0 else small) / (one + small)
    for row in range(rows):
        for place in range(1, width):
            products[row, place] = -products[row, place] * real[place]
    for row in range(rows, -(-rows // 4) * 4):  # what a whole step of four reads beyond the last
        for place in range(width):
            products[row, place] = 0
    return loss + linear + log(factors)


@inlined
def _spread_to_outputs(
    errors: FloatMatrix, x: FloatMatrix, rows: int, dim: int, used: int, steps: FloatMatrix
) -> None:
    """steps[p] += Σᵢ errors[i, p] x[i], four inputs at a time."""
    for place in range(used):
        step = steps[place]
        for row in range(0, rows, 4):
            one, two, three, four = x[row], x[row + 1], x[row + 2], x[row + 3]
            first, second = errors[row, place], errors[row + 1, place]
            third, fourth = errors[row + 2, place], errors[row + 3, place]
            for j in range(dim):
                step[j] += first * one[j] + second * two[j] + third * three[j] + fourth * four[j]


@inlined
def _add_products(errors: Floats, y: FloatMatrix, dim: int, vector: Floats) -> None:
    """vector += Σₚ errors[p] y[p], three outputs at a time."""
    for place in range(0, len(errors), 3):
        one, two, three = y[place], y[place + 1], y[place + 2]
        first, second, third = errors[place], errors[place + 1], errors[place + 2]
        for j in range(dim):
            vector[j] += first * one[j] + second * two[j] + third * three[j]


@fast_kernel
def train_privately(
    events: Events,
    firsts: Offsets,
    lasts: Offsets,
    inputs: Table,
    outputs: Table,
    rules: tuple[Parts, Sampling, Window, int, int],
    alphas: Floats,
    seeds: npt.NDArray[np.uint64],
    thread: int,
    threads: int,
    losses: npt.NDArray[np.float64],
    pairs: npt.NDArray[np.int64],
) -> None:
    """Train every ``threads``-th chunk of a group, on private rows, which end as what was added.

    The arrays of the tables have a first dimension more: the chunk's place in the group. Chunks
    go from ``firsts`` to ``lasts`` of the sequences.
    """
    parts, sampling, window, negatives, frozen = rules
    for chunk in range(len(firsts)):
        at = thread + chunk * threads
        ins, outs = _one(inputs, at), _one(outputs, at)
        losses[at], pairs[at] = train_sequences(
            events, firsts[chunk], lasts[chunk], ins, outs, parts, sampling, window, negatives,
            frozen, alphas[at], seeds[at],
        )  # fmt: skip
        _subtract_shared(ins)
        _subtract_shared(outs)


@kernel
def _one(tables: Table, at: int) -> Table:
    """One table of many, empty."""
    tables.used[at] = 0
    return Table(
        tables.matrix[at], tables.shared, tables.slots[at], tables.owners[at], tables.used[at]
    )


@kernel
def _subtract_shared(table: Table) -> None:
    """Private rows become what was added to them; their slots are given back."""
    for slot in range(table.used[0]):
        owner = table.owners[slot]
        mine, row = table.matrix[slot], table.shared[owner]
        for j in range(len(row)):
            mine[j] -= row[j]
        table.slots[owner] = -1


@kernel
def add_to_shared(tables: Table, places: int, low: int, high: int) -> None:
    """Add what private tables hold, in their order, to the shared rows of items in [low, high)."""
    for at in range(places):
        matrix, owners = tables.matrix[at], tables.owners[at]
        for slot in range(tables.used[at, 0]):
            if low <= owners[slot] < high:
                mine, row = matrix[slot], tables.shared[owners[slot]]
                for j in range(len(row)):
                    row[j] += mine[j]
