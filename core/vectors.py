"""VectorSet: ids, a float32 matrix, a metric, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import (
    CorruptData,
    DimensionMismatch,
    InvalidOption,
    InvalidVectors,
    UnknownIds,
    VersionMismatch,
)
from .ids import Ids
from .metric import Metric
from .storage import open_directory, verify_directory, write_directory

FloatMatrix = npt.NDArray[np.float32]
KIND, FORMAT = "vectors", 1
_SHOWN = 5


def as_array(values: Any, what: str) -> npt.NDArray[Any]:
    """``values`` as an array; :class:`InvalidVectors` for lines of different lengths."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InvalidVectors(f"The {what} are no array: {error}.") from error


def check_matrix(matrix: Any, what: str = "vectors") -> FloatMatrix:
    """``matrix`` as finite, C-contiguous float32 of two dimensions, or :class:`InvalidVectors`.

    float64 and float16 are converted; a finite float64 that overflows float32 is refused.
    """
    array = as_array(matrix, what)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InvalidVectors(
            f"The {what} must be a numeric array of two dimensions (n, d); received shape "
            f"{array.shape} of {array.dtype}."
        )
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise InvalidVectors(
            f"The {what} must be finite float32 numbers; row {row} holds NaN or infinity."
        )
    return array


def unit_rows(matrix: FloatMatrix) -> FloatMatrix:
    """The rows at length 1, float32; computed in float64, so that no length overflows.

    Zero rows stay zero.
    """
    wide = matrix.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    norms[norms == 0] = 1
    unit: FloatMatrix = (wide / norms[:, None]).astype(np.float32)
    return unit


class RowView(NamedTuple):
    """The vectors under an index, which keeps no copy unless its engine must."""

    matrix: FloatMatrix
    """(n, dim) float32, C-contiguous, finite; not zero under ``Metric.COSINE``. May be
    memory-mapped."""
    norms: npt.NDArray[np.float32]
    """The Euclidean lengths of its rows, (n,)."""


@dataclass(frozen=True, eq=False)
class VectorSet:
    """Vectors under their ids.

    Parameters
    ----------
    ids
        n distinct ids.
    matrix
        (n, d) float32, C-contiguous, finite; d ≥ 1. Other float types are converted.
    metric
        How these vectors are meant to be compared.
    lineage
        Builder, options, data window, counts, measures, parent: whatever JSON can hold.

    Raises
    ------
    InvalidVectors, DuplicateIds, InvalidId
    """

    ids: Ids
    matrix: FloatMatrix
    metric: Metric = Metric.COSINE
    lineage: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = self.ids if isinstance(self.ids, Ids) else Ids(self.ids)
        matrix = check_matrix(self.matrix)
        if len(ids) != len(matrix) or matrix.shape[1] < 1:
            raise InvalidVectors(
                f"Expected one vector of at least one dimension per id; received {len(ids)} ids "
                f"and a matrix of shape {matrix.shape}."
            )
        ids.check_unique()
        try:
            json.dumps(dict(self.lineage), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidOption(
                f"The lineage is what JSON can hold; received something else: {error}.",
                option="lineage",
                received=self.lineage,
            ) from error
        self._assign(ids, matrix, Metric(self.metric), self.lineage)

    def _assign(
        self, ids: Ids, matrix: FloatMatrix, metric: Metric, lineage: Mapping[str, Any]
    ) -> None:
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "metric", metric)
        object.__setattr__(self, "lineage", dict(lineage))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Number of dimensions d."""
        return int(self.matrix.shape[1])

    def __repr__(self) -> str:
        builder = self.lineage.get("builder", "unknown builder")
        return f"<VectorSet of {len(self):,} × {self.dim}, {self.metric}, {builder}>"

    def vectors(self, ids: Any) -> FloatMatrix:
        """The vectors of ``ids``, (len(ids), d) float32; :class:`UnknownIds` names the missing."""
        wanted = ids if isinstance(ids, Ids) else Ids(ids)
        rows = self.ids.rows_of(wanted)
        check_known(wanted, rows, "this vector set")
        return np.ascontiguousarray(self.matrix[rows])

    def with_lineage(self, **facts: Any) -> VectorSet:
        """The same vectors, with more facts in their lineage."""
        return VectorSet(self.ids, self.matrix, self.metric, {**self.lineage, **facts})

    # -- on disk -----------------------------------------------------------------------------

    def save(self, path: str | Path) -> str:
        """Write to a new directory and return its checksum (SHA-256, hex).

        Raises :class:`~itemspace.core.errors.BackendExists` if ``path`` is taken.
        """
        arrays = {"matrix": self.matrix, **self.ids.buffers}
        meta = {"metric": self.metric.value, "lineage": self.lineage}
        return write_directory(Path(path), KIND, FORMAT, arrays, meta)

    @classmethod
    def open(cls, path: str | Path) -> VectorSet:
        """Memory-map a directory that :meth:`save` wrote, without reading the matrix.

        Sizes and types are checked; bytes are not (see :meth:`verify`).

        Raises
        ------
        MissingData, CorruptData, IncompatibleFormat
        """
        meta, arrays = open_directory(Path(path), KIND, FORMAT)
        try:
            ids = ids_from_arrays(arrays)
            matrix = arrays["matrix"]
            metric = Metric(meta["metric"])
            if matrix.dtype != np.float32 or matrix.ndim != 2 or len(matrix) != len(ids):
                raise ValueError(f"matrix of shape {matrix.shape}, {len(ids)} ids")
        except (KeyError, ValueError) as error:
            raise CorruptData(
                f"{path} is not a whole vector set: {error}.", path=str(path)
            ) from error
        vectors = cls.__new__(cls)
        vectors._assign(ids, matrix, metric, meta.get("lineage", {}))
        return vectors

    @staticmethod
    def verify(path: str | Path) -> str:
        """Compare every byte with the checksums; returns the checksum of the whole.

        Raises :class:`CorruptData` naming the file that differs.
        """
        return verify_directory(Path(path), KIND, FORMAT)

    # -- for a deep model --------------------------------------------------------------------

    def embedding_matrix(
        self,
        vocabulary: Any = None,
        *,
        padding: bool = True,
        unknown: Literal["mean", "zeros", "error"] = "mean",
    ) -> tuple[FloatMatrix, dict[int | str, int]]:
        """Initial weights for a deep model's embedding layer (torch, Keras, TensorFlow).

        Parameters
        ----------
        vocabulary
            The ids in the order of the model's rows; this set's ids when left out.
        padding
            Whether row 0 is a row of zeros (``padding_idx=0``, ``mask_zero=True``).
        unknown
            The row of an id that has no vector here: the mean vector, zeros, or
            :class:`UnknownIds`.

        Returns
        -------
        weights
            (rows, d) float32, C-contiguous, owned.
        rows
            id → row of ``weights``.
        """
        if unknown not in ("mean", "zeros", "error"):
            raise InvalidOption(
                f"unknown must be 'mean', 'zeros' or 'error'; received {unknown!r}.",
                option="unknown",
                received=unknown,
            )
        wanted = self.ids if vocabulary is None else Ids(vocabulary)
        wanted.check_unique("the vocabulary")
        rows = self.ids.rows_of(wanted)
        if unknown == "error":
            check_known(wanted, rows, "this vector set")
        first = int(padding)
        weights = np.zeros((len(wanted) + first, self.dim), dtype=np.float32)
        if unknown == "mean" and len(self):
            weights[first:] = self.matrix.mean(axis=0, dtype=np.float64)
        found = np.flatnonzero(rows >= 0)
        weights[found + first] = self.matrix[rows[found]]
        return weights, {name: row + first for row, name in enumerate(wanted)}


def check_one_space(items: VectorSet, users: VectorSet) -> None:
    """Raise unless vectors of items and users can be compared.

    Raises
    ------
    DimensionMismatch, InvalidVectors
        They have other dimensions, or another metric, or a user's vector is zero under ``COSINE``.
    VersionMismatch
        Both lineages name the ``training`` that made them, and not the same one.
    """
    if items.dim != users.dim:
        raise DimensionMismatch(
            f"The items have {items.dim} dimensions and the users {users.dim}; take those of "
            "one training.",
            expected=items.dim,
            received=users.dim,
        )
    if items.metric != users.metric:
        raise InvalidVectors(
            f"The items are compared by {items.metric} and the users by {users.metric}; take "
            "those of one training."
        )
    if users.metric is Metric.COSINE and not users.matrix.any(axis=1).all():
        row = int(np.argmin(users.matrix.any(axis=1)))
        raise InvalidVectors(
            f"The vector of the user {users.ids[row]!r} is zero, which has no cosine; leave such "
            "users out: they are taken by their last items."
        )
    made = [vectors.lineage.get("training") for vectors in (items, users)]
    if None not in made and made[0] != made[1]:
        raise VersionMismatch(
            f"The items are of the training {made[0]} and the users of {made[1]}: their inner "
            "products mean nothing. Take those of one training."
        )


def check_known(ids: Ids, rows: npt.NDArray[np.int64], where: str) -> None:
    """Raise :class:`UnknownIds` for the ``ids`` whose row is -1."""
    missing = np.flatnonzero(rows < 0)
    if missing.size:
        some = ids[missing[:_SHOWN]].to_list()
        others = f" and {missing.size - len(some)} others" if missing.size > len(some) else ""
        raise UnknownIds(
            f"{', '.join(map(repr, some))}{others} not in {where}.",
            ids=ids[missing].to_list(),
        )


def ids_from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Ids:
    """The :class:`Ids` in a directory's arrays; ``ValueError``/``KeyError`` where they are bad."""
    if "ids" in arrays:
        values = arrays["ids"]
        if values.dtype != np.int64 or values.ndim != 1:
            raise ValueError("ids are not int64")
        return Ids.from_buffers(values)
    blob, offsets = arrays["ids_utf8"], arrays["ids_offsets"]
    if blob.dtype != np.uint8 or offsets.dtype != np.int64 or blob.ndim != 1 or offsets.ndim != 1:
        raise ValueError("ids are not UTF-8 with int64 offsets")
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(blob):
        raise ValueError("the offsets of the ids do not fit their bytes")
    if np.any(offsets[1:] < offsets[:-1]):
        raise ValueError("the offsets of the ids run backwards")
    return Ids.from_buffers(blob, offsets)
