"""Hash codes of rows, and tables of buckets over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ..core.errors import CorruptData
from ..core.jit import kernel
from ..core.vectors import FloatMatrix

Codes = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int32]
Starts = npt.NDArray[np.int32]
MAX_ROWS = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Tables:
    """``tables`` hash tables over the same rows.

    The rows with code c in table t are ``rows[t, starts[t, c]:starts[t, c + 1]]``, ascending.
    """

    rows: Rows
    """int32 (tables, n): each line is a permutation of the rows."""
    starts: Starts
    """int32 (tables, 2 ** bits + 1)."""

    @property
    def bits(self) -> int:
        """Hyperplanes per table."""
        return int(self.starts.shape[1] - 1).bit_length() - 1

    @classmethod
    def build(cls, codes: Codes, bits: int) -> Self:
        """From codes, uint32 (tables, n), each below 2 ** bits."""
        tables, count = codes.shape
        rows = np.empty((tables, count), dtype=np.int32)
        starts = np.zeros((tables, (1 << bits) + 1), dtype=np.int32)
        for table in range(tables):
            _sort_by_code(codes[table], rows[table], starts[table])
        return cls(rows, starts)

    def codes(self) -> Codes:
        """The reverse of :meth:`build`."""
        codes = np.empty(self.rows.shape, dtype=np.uint32)
        for table in range(len(codes)):
            _codes_of(self.rows[table], self.starts[table], codes[table])
        return codes

    @classmethod
    def checked(cls, rows: Rows, starts: Starts, tables: int, count: int) -> Self:
        """Over arrays from a file: whatever they hold, no search will read out of bounds.

        Raises :class:`CorruptData` where they are not ``tables`` tables of ``count`` rows.
        """
        width = starts.shape[1] - 1 if starts.ndim == 2 else 0
        right = (
            rows.dtype == np.int32
            and starts.dtype == np.int32
            and rows.shape == (tables, count)
            and starts.ndim == 2
            and len(starts) == tables
            and width >= 2
            and width & (width - 1) == 0
            and bool(np.all(starts[:, 0] == 0))
            and bool(np.all(starts[:, -1] == count))
            and bool(np.all(starts[:, 1:] >= starts[:, :-1]))
            and (count == 0 or 0 <= int(rows.min()) <= int(rows.max()) < count)
        )
        if not right:
            raise CorruptData(
                f"The hash tables are damaged: they are not {tables} tables of {count} rows.",
                path="",
            )
        return cls(rows, starts)


def project(rows: FloatMatrix, planes: FloatMatrix) -> FloatMatrix:
    """Signed distances of ``rows`` (n, d) from the planes (d, m), float32 (n, m).

    Summed in the order of the coordinates, so that a row has the same code in any batch.
    """
    margins = np.empty((len(rows), planes.shape[1]), dtype=np.float32)
    _project(rows, planes, margins)
    return margins


def hash_rows(rows: FloatMatrix, planes: FloatMatrix, tables: int) -> Codes:
    """Codes of ``rows`` (n, d) in each table, uint32 (tables, n).

    Bit b of table t is the side of plane ``t * bits + b``: 1 where the margin is above 0.
    """
    codes = np.empty((tables, len(rows)), dtype=np.uint32)
    _hash(rows, planes, codes)
    return codes


@kernel
def _project(rows: FloatMatrix, planes: FloatMatrix, margins: FloatMatrix) -> None:
    for at in range(rows.shape[0]):
        line = margins[at]
        line[:] = 0.0
        for j in range(rows.shape[1]):
            value = rows[at, j]
            for plane in range(planes.shape[1]):
                line[plane] += value * planes[j, plane]


@kernel
def _hash(rows: FloatMatrix, planes: FloatMatrix, codes: Codes) -> None:
    bits = planes.shape[1] // codes.shape[0]
    margins = np.empty((1, planes.shape[1]), dtype=np.float32)
    for at in range(rows.shape[0]):
        _project(rows[at : at + 1], planes, margins)
        for table in range(codes.shape[0]):
            code = np.uint32(0)
            for bit in range(bits):
                if margins[0, table * bits + bit] > 0:
                    code |= np.uint32(1) << np.uint32(bit)
            codes[table, at] = code


@kernel
def _sort_by_code(codes: Codes, rows: Rows, starts: Starts) -> None:
    """Counting sort, stable; ``starts`` comes in as zeros."""
    for at in range(codes.shape[0]):
        starts[codes[at] + 1] += 1
    for code in range(1, starts.shape[0]):
        starts[code] += starts[code - 1]
    free = starts[:-1].copy()
    for at in range(codes.shape[0]):
        code = codes[at]
        rows[free[code]] = at
        free[code] += 1


@kernel
def _codes_of(rows: Rows, starts: Starts, codes: Codes) -> None:
    for code in range(starts.shape[0] - 1):
        for at in range(starts[code], starts[code + 1]):
            codes[rows[at]] = code
