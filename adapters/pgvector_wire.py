"""Ids and vectors in PostgreSQL's binary format, packed and unpacked by NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg.adapt import Dumper
from psycopg.pq import Format

from ..core.errors import InvalidVectors
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.vectors import FloatMatrix, unit_rows

_INT8, _TEXT = 20, 25
_LARGEST_HALF = 65504.0


class Binary:
    """A parameter that is packed already; the statement says of which type."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class BinaryDumper(Dumper):
    """Hands a :class:`Binary` over as it is."""

    format = Format.BINARY
    oid = 0

    def dump(self, obj: Any) -> bytes:
        data: bytes = obj.data
        return data


def pack_ids(ids: Ids, kind: IdKind) -> Binary:
    """As ``bigint[]`` or ``text[]``; where there are none, they may be of the other kind."""
    if kind == "str":
        pieces = [name.encode() for name in ids.to_list()]
        body = b"".join(
            [part for piece in pieces for part in (len(piece).to_bytes(4, "big"), piece)]
        )
        return Binary(_head(_TEXT, len(ids)) + body)
    rows = np.empty(len(ids), dtype=[("length", ">i4"), ("value", ">i8")])
    rows["length"], rows["value"] = 8, ids.to_array()
    return Binary(_head(_INT8, len(ids)) + rows.tobytes())


class VectorFormat:
    """``vector`` or ``halfvec`` of one dimension: uint16 dimension, uint16 zero, the numbers.

    ``halfvec`` holds nothing beyond ±65,504. Under ``COSINE``, where lengths mean nothing, its
    rows are therefore stored with length 1.
    """

    def __init__(self, storage: str, oid: int, dim: int, metric: Metric) -> None:
        self._oid, self._metric, self._half = oid, metric, storage == "halfvec"
        number = ">f2" if self._half else ">f4"
        self._row = np.dtype([("dim", ">u2"), ("zero", ">u2"), ("numbers", number, (dim,))])
        self._element = np.dtype([("length", ">i4"), ("row", self._row)])
        self.dim = dim

    @property
    def width(self) -> int:
        """Bytes of one vector."""
        return self._row.itemsize

    def pack(self, matrix: FloatMatrix) -> Binary:
        """(n, d) as an array of vectors."""
        elements = np.empty(len(matrix), dtype=self._element)
        elements["length"] = self.width
        self._fill(elements["row"], matrix)
        return Binary(_head(self._oid, len(matrix)) + elements.tobytes())

    def pack_one(self, matrix: FloatMatrix) -> Binary:
        """(1, d) as a vector."""
        row = np.empty(1, dtype=self._row)
        self._fill(row, matrix)
        return Binary(row.tobytes())

    def unpack(self, pieces: Sequence[bytes]) -> FloatMatrix:
        """Vectors as they come, to (n, d)."""
        rows = np.frombuffer(b"".join(pieces), dtype=self._row)
        return rows["numbers"].astype(np.float32)

    def _fill(self, rows: npt.NDArray[np.void], matrix: FloatMatrix) -> None:
        if self._half:
            matrix = unit_rows(matrix) if self._metric is Metric.COSINE else matrix
            if np.abs(matrix).max(initial=0) > _LARGEST_HALF:
                raise InvalidVectors(
                    f"storage=halfvec holds numbers up to {_LARGEST_HALF:,.0f}; received "
                    f"{np.abs(matrix).max():g}. Scale the vectors, or use storage=vector."
                )
        rows["dim"], rows["zero"], rows["numbers"] = self.dim, 0, matrix


def _head(oid: int, count: int) -> bytes:
    """Of an array: dimensions, whether it has NULLs, type, length, index of the first."""
    return np.array([1, 0, oid, count, 1], dtype=">i4").tobytes()
