"""Vectors as numbered rows: appended, marked dead, never moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..core.ids import IdKind, Ids
from ..core.vectors import FloatMatrix, ids_from_arrays
from .index import Mask
from .scan import Norms, norms_of

Rows = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


class Changes(NamedTuple):
    """What happened to a store: rows came, rows died, those that came too."""

    ids: Ids
    """Of the rows that came, in their order."""
    matrix: FloatMatrix
    """(rows that came, d)."""
    dead: Rows
    """The rows that died, as the store numbers them."""


class RowStore:
    """Ids, vectors and a mark of life for rows 0 … n-1.

    A replaced or deleted item leaves a dead row behind, until :meth:`compacted`. Rows that were
    there at the start are looked up in the (possibly memory-mapped) base, later ones in a dict.
    """

    def __init__(self, ids: Ids, matrix: FloatMatrix, alive: Mask, norms: Norms) -> None:
        self._base = ids
        self._added: list[Any] = []
        self._added_rows: dict[Any, int] = {}
        self._matrix, self._norms, self._alive = matrix, norms, alive
        self._size = len(ids)
        self._noted, self._died = self._size, list[Rows]()
        #: Rows that died in what :meth:`apply` made.
        self.replayed_dead: Rows = np.empty(0, dtype=np.int64)
        self.live = int(np.count_nonzero(alive))
        # A replaced id stands in the base twice; only its live row may be found.
        self._base_rows = np.flatnonzero(alive) if self.has_dead else None
        self._base_live = ids if self._base_rows is None else ids[self._base_rows]

    @classmethod
    def empty(cls, dim: int, kind: IdKind) -> Self:
        """No rows of ``dim`` columns."""
        return cls(
            Ids([], kind),
            np.empty((0, dim), dtype=np.float32),
            np.empty(0, dtype=np.bool_),
            np.empty(0, dtype=np.float32),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """The reverse of :meth:`to_arrays`; ``ValueError`` or ``KeyError`` where they don't fit."""
        ids, matrix = ids_from_arrays(arrays), arrays["matrix"]
        alive, norms = arrays["alive"], arrays["norms"]
        shapes = (matrix.ndim, alive.shape, norms.shape, len(matrix))
        if shapes != (2, (len(ids),), (len(ids),), len(ids)):
            raise ValueError(f"arrays of other lengths than the {len(ids)} ids")
        kinds = [str(array.dtype) for array in (matrix, alive, norms)]
        if kinds != ["float32", "bool", "float32"]:
            raise ValueError("arrays of other types than float32, bool and float32")
        return cls(ids, matrix, np.array(alive), norms)

    def to_arrays(self) -> dict[str, Array]:
        """What a file stores; the arrays are views."""
        return {
            "matrix": self.matrix,
            "alive": self.alive,
            "norms": self.norms,
            **self.all_ids().buffers,
        }

    def __len__(self) -> int:
        return self._size

    @property
    def matrix(self) -> FloatMatrix:
        """(n, d) float32, dead rows included."""
        return self._matrix[: self._size]

    @property
    def norms(self) -> Norms:
        """Euclidean lengths of the rows, float32 (n,)."""
        return self._norms[: self._size]

    @property
    def alive(self) -> Mask:
        """Which rows are in use, (n,)."""
        return self._alive[: self._size]

    @property
    def has_dead(self) -> bool:
        """Whether any row is dead."""
        return self.live < self._size

    def rows_of(self, ids: Ids) -> Rows:
        """The live row of each id, -1 where there is none."""
        rows = self._base_live.rows_of(ids)
        if self._base_rows is not None:
            rows[rows >= 0] = self._base_rows[rows[rows >= 0]]
        if self._added_rows:
            for at, value in enumerate(ids):
                rows[at] = self._added_rows.get(value, rows[at])
        rows[rows >= 0] = np.where(self._alive[rows[rows >= 0]], rows[rows >= 0], -1)
        return rows

    def ids_at(self, rows: Rows) -> Ids:
        """The ids of rows."""
        first = len(self._base)
        if not self._added or not np.any(rows >= first):
            return self._base[rows]
        return Ids(
            [self._base[r] if r < first else self._added[r - first] for r in rows.tolist()],
            self._base.kind,
        )

    def values_at(self, rows: Rows) -> npt.NDArray[Any]:
        """The same as an array, which takes less time."""
        if not self._added or not np.any(rows >= len(self._base)):
            return self._base.values_at(rows)
        return self.ids_at(rows).to_array()

    def all_ids(self) -> Ids:
        """The ids of all rows, dead ones included."""
        if not self._added:
            return self._base
        return self._base.concat(Ids(self._added, self._base.kind))

    def upsert(self, ids: Ids, vectors: FloatMatrix) -> Rows:
        """Append rows; returns those that had these ids, which die."""
        died = self.delete(ids)
        if self._size:
            self._append(ids, vectors)
        else:
            self._base = self._base_live = Ids(ids)
            self._matrix, self._norms = np.array(vectors), norms_of(vectors)
            self._alive = np.ones(len(ids), dtype=np.bool_)
            self._size = len(ids)
        self.live += len(ids)
        return died

    def delete(self, ids: Ids) -> Rows:
        """Mark rows dead; returns those that were alive."""
        rows = self.rows_of(ids)
        rows = rows[rows >= 0]
        if len(rows):
            self._alive[rows] = False
            self._died.append(rows)
            self.live -= len(rows)
        return rows

    @property
    def changed(self) -> int:
        """How many rows came or died since :meth:`settle`, or since the store was made."""
        return self._size - self._noted + sum(map(len, self._died))

    def changes(self) -> Changes:
        """What happened in the same time."""
        came = np.arange(self._noted, self._size)
        dead = np.concatenate([np.empty(0, dtype=np.int64), *self._died])
        return Changes(self.ids_at(came), self.matrix[self._noted :], dead)

    def settle(self) -> None:
        """Note changes from here on; those so far are durable."""
        self._noted, self._died = self._size, []

    def apply(self, changes: Changes) -> None:
        """Make :meth:`changes` of a store that was in this one's state, and :meth:`settle`.

        Raises ``ValueError`` where they name rows that there are not.
        """
        size, dead = self._size + len(changes.ids), changes.dead
        if dead.min(initial=0) < 0 or dead.max(initial=-1) >= size:
            raise ValueError(f"rows died that are none of {size}")
        if len(changes.ids):
            self._append(changes.ids, changes.matrix)
        self._alive[dead] = False
        self.live = int(np.count_nonzero(self.alive))
        self.replayed_dead = dead
        self.settle()

    def compacted(self) -> RowStore:
        """A store of the live rows only, renumbered in their order."""
        rows = np.flatnonzero(self.alive)
        return RowStore(
            self.ids_at(rows),
            np.ascontiguousarray(self.matrix[rows]),
            np.ones(len(rows), dtype=np.bool_),
            self.norms[rows],
        )

    def _append(self, ids: Ids, vectors: FloatMatrix) -> None:
        start, end = self._size, self._size + len(ids)
        self._reserve(end)
        self._matrix[start:end] = vectors
        self._norms[start:end] = norms_of(vectors)
        self._alive[start:end] = True
        self._added_rows.update(zip(ids, range(start, end), strict=True))
        self._added.extend(ids)
        self._size = end

    def _reserve(self, size: int) -> None:
        """Make room for ``size`` rows; doubling, so that appending one by one stays linear."""
        if size <= len(self._matrix) and self._matrix.flags.writeable:
            return
        capacity = max(size, 2 * self._size)
        for name in ("_matrix", "_norms", "_alive"):
            old = getattr(self, name)
            new = np.zeros((capacity, *old.shape[1:]), dtype=old.dtype)
            new[: self._size] = old[: self._size]
            setattr(self, name, new)
