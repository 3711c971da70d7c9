"""Inputs of the skip-gram kernel that are made of parts: put together, and trained through them.

EGES (Wang et al. 2018, section 3.3): H_v = Σ_s α_s W_s, with α the softmax of the item's logits.
"""

from __future__ import annotations

from math import exp
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, Offsets
from ..core.jit import fast_kernel
from ..core.vectors import FloatMatrix
from .sampling import Floats

Counts = npt.NDArray[np.int64]


class Parts(NamedTuple):
    """What the input vector of an item is made of, if not of its own row alone.

    Its parts are ``offsets[item]`` to ``offsets[item + 1]``; part e adds α_s · ``shares[e]`` times
    the row ``rows[e]`` of the table, with s = ``slots[e]`` and α the softmax of the item's logits
    over the slots that it has. Shares of a slot sum to 1.
    """

    offsets: Offsets
    """(items + 1,); empty: every item is its own row."""
    rows: Codes
    slots: Codes
    shares: Floats
    logits: FloatMatrix
    """(items, slots)."""
    learned: bool
    """Whether the logits are trained."""


@fast_kernel
def put_together(parts: Parts, table: FloatMatrix, item: int, vector: Floats) -> None:
    """H of an item: Σ α_s m_s over its slots, m_s the mean of the slot's rows."""
    vector[:] = 0
    weights = slot_weights(parts, item)
    for part in range(parts.offsets[item], parts.offsets[item + 1]):
        row, weight = table[parts.rows[part]], weights[parts.slots[part]] * parts.shares[part]
        for j in range(len(vector)):
            vector[j] += weight * row[j]


@fast_kernel
def put_together_all(parts: Parts, table: FloatMatrix, items: Counts) -> FloatMatrix:
    """H of some items, (len(items), width of the table)."""
    vectors = np.empty((len(items), table.shape[1]), dtype=np.float32)
    for at in range(len(items)):
        put_together(parts, table, items[at], vectors[at])
    return vectors


@fast_kernel
def slot_weights_all(parts: Parts) -> FloatMatrix:
    """α of every item, (items, slots)."""
    weights = np.empty_like(parts.logits)
    for item in range(len(weights)):
        weights[item] = slot_weights(parts, item)
    return weights


@fast_kernel
def slot_weights(parts: Parts, item: int) -> Floats:
    """α: the softmax of an item's logits over the slots that it has; 0 for the others."""
    logits = parts.logits[item]
    weights = np.zeros(len(logits), dtype=np.float32)
    largest, total = np.float32(-np.inf), np.float32(0)
    for part in range(parts.offsets[item], parts.offsets[item + 1]):
        largest = max(largest, logits[parts.slots[part]])
    for part in range(parts.offsets[item], parts.offsets[item + 1]):
        slot = parts.slots[part]
        if weights[slot] == 0:
            weights[slot] = exp(logits[slot] - largest)
            total += weights[slot]
    for slot in range(len(weights)):
        weights[slot] /= total
    return weights


@fast_kernel
def hand_down(
    parts: Parts,
    table: FloatMatrix,
    kept: Codes,
    length: int,
    vectors: FloatMatrix,
    steps: FloatMatrix,
) -> None:
    """The steps of a sequence's inputs as steps of their parts.

    ΔW = α_s share ΔH, Δa_s = α_s (m_s − H) · ΔH. A row that is part of several inputs of the
    sequence, m of them, takes the sum of their steps divided by √m: they all start from one value,
    so where a category is everywhere their sum would overshoot, and their mean hardly move it.
    """
    count = 0
    for at in range(length):
        if kept[at] >= 0:
            count += parts.offsets[kept[at] + 1] - parts.offsets[kept[at]]
    rows, places = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int32)
    weights = np.empty(count, dtype=np.float32)
    filled = 0
    for at in range(length):
        if kept[at] < 0:
            continue
        item, vector, step = kept[at], vectors[at], steps[at]
        shares = slot_weights(parts, item)
        products, own = np.zeros_like(shares), np.float32(0)
        for j in range(len(vector)):
            own += vector[j] * step[j]
        for part in range(parts.offsets[item], parts.offsets[item + 1]):
            slot, row = parts.slots[part], table[parts.rows[part]]
            if parts.learned:
                product = np.float32(0)
                for j in range(len(vector)):
                    product += row[j] * step[j]
                products[slot] += parts.shares[part] * product
            rows[filled], places[filled] = parts.rows[part], at
            weights[filled] = shares[slot] * parts.shares[part]
            filled += 1
        if parts.learned:
            for slot in range(len(shares)):
                parts.logits[item, slot] += shares[slot] * (products[slot] - own)
    order = np.argsort(rows)
    total = np.empty(table.shape[1], dtype=np.float32)
    first = 0
    while first < count:
        last, total[:] = first, 0
        while last < count and rows[order[last]] == rows[order[first]]:
            weight, step = weights[order[last]], steps[places[order[last]]]
            for j in range(len(total)):
                total[j] += weight * step[j]
            last += 1
        row, scale = table[rows[order[first]]], np.float32(1 / np.sqrt(last - first))
        for j in range(len(total)):
            row[j] += scale * total[j]
        first = last
