"""Which row a text stands in: an open-addressing hash table over one blob of UTF-8.

A table is (size,) int64, size a power of two of at least twice as many texts, rows or -1; a text is
found by comparing its bytes, so hashes that collide cost time alone. FNV-1a (Fowler, Noll and Vo
1991), begun with a number of the process's own.
"""

from __future__ import annotations

import secrets

import numpy as np
import numpy.typing as npt

from .jit import inlined, kernel

Int64Array = npt.NDArray[np.int64]
ByteArray = npt.NDArray[np.uint8]

_SEED = np.uint64(secrets.randbits(64))
_PRIME = np.uint64(0x100000001B3)
_FOLD = np.uint64(32)


def make_table(blob: ByteArray, offsets: Int64Array) -> Int64Array:
    """The table of texts that stand in ``blob`` from one of ``offsets``, (n + 1,), to the next.

    Of a text that stands there more than once, the first row.
    """
    table = np.full(1 << max(3, int(2 * len(offsets)).bit_length()), -1, dtype=np.int64)
    _fill(table, blob, offsets, _SEED)
    return table


def find_rows(
    table: Int64Array,
    blob: ByteArray,
    offsets: Int64Array,
    wanted: ByteArray,
    wanted_offsets: Int64Array,
) -> Int64Array:
    """The row of each wanted text, -1 where it is absent, (m,)."""
    rows = np.empty(len(wanted_offsets) - 1, dtype=np.int64)
    _find(table, blob, offsets, wanted, wanted_offsets, _SEED, rows)
    return rows


@inlined
def _place(
    table: Int64Array,
    blob: ByteArray,
    offsets: Int64Array,
    text: ByteArray,
    start: int,
    end: int,
    seed: np.uint64,
) -> np.int64:
    """Where in the table a text is, or where it would go."""
    hashed = seed
    for at in range(start, end):
        hashed = (hashed ^ np.uint64(text[at])) * _PRIME
    hashed ^= hashed >> _FOLD
    mask = np.uint64(table.shape[0] - 1)
    place = np.int64(hashed & mask)
    while True:
        row = table[place]
        if row < 0:
            break
        first = offsets[row]
        if offsets[row + 1] - first == end - start:
            same = 0
            while same < end - start and blob[first + same] == text[start + same]:
                same += 1
            if same == end - start:
                break
        place = np.int64(np.uint64(place + 1) & mask)
    return place


@kernel
def _fill(table: Int64Array, blob: ByteArray, offsets: Int64Array, seed: np.uint64) -> None:
    for row in range(offsets.shape[0] - 1):
        place = _place(table, blob, offsets, blob, offsets[row], offsets[row + 1], seed)
        if table[place] < 0:
            table[place] = row


@kernel
def _find(
    table: Int64Array,
    blob: ByteArray,
    offsets: Int64Array,
    wanted: ByteArray,
    wanted_offsets: Int64Array,
    seed: np.uint64,
    rows: Int64Array,
) -> None:
    for at in range(rows.shape[0]):
        start, end = wanted_offsets[at], wanted_offsets[at + 1]
        rows[at] = table[_place(table, blob, offsets, wanted, start, end, seed)]
