"""The index: rows hashed into tables, searched by probing."""

from __future__ import annotations

from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.errors import CorruptData, UnsupportedError
from ..core.metric import Metric
from ..core.scoring import METRIC_CODES
from ..core.storage import load_array
from ..core.vectors import FloatMatrix, RowView, unit_rows
from .options import LSHOptions
from .planes import FAMILIES
from .probing import EVERYTHING, Mask, search_tables
from .reductions import Reduction
from .tables import MAX_ROWS, Tables, hash_rows, project

#: The number of bits follows the number of rows in steps of two: rehashing everything costs more
#: than buckets up to four times too full.
_BITS_STEP = 2
_LEAST_TAIL = 256


class HyperplaneLSH:
    """Random-hyperplane LSH over rows that the caller keeps.

    Parameters
    ----------
    dim
        Columns of the rows, at least 1.
    metric
        Other metrics than cosine are turned into angles (:mod:`.reductions`).
    options
        See :class:`~itemspace.lsh.options.LSHOptions`.
    """

    capabilities = Capabilities()

    def __init__(self, dim: int, metric: Metric, options: LSHOptions) -> None:
        self._dim, self._metric, self._options = dim, metric, options
        self._reduction: Reduction | None = None
        self._planes = np.empty((dim, 0), dtype=np.float32)
        self._tables = Tables.build(np.empty((options.tables, 0), dtype=np.uint32), 1)

    @property
    def scan_limit(self) -> int:
        """Rows that are scored without asking the tables."""
        return self._options.scan_limit

    @property
    def tail_limit(self) -> int:
        """Rows that may wait to be hashed: adding costs time in proportion to all rows."""
        return max(_LEAST_TAIL, isqrt(self._tables.rows.shape[1]))

    def add(self, rows: RowView, start: int) -> None:
        """Hash the rows from ``start`` on; those before are there already.

        Raises :class:`UnsupportedError` beyond 2³¹ − 1 rows.
        """
        matrix = rows.matrix
        if len(matrix) > MAX_ROWS:
            raise UnsupportedError(f"An LSH index holds at most {MAX_ROWS:,} vectors.")
        if self._reduction is None:
            self._reduction = Reduction.fit(matrix, self._metric)
        bits = self._options.bits_for(len(matrix))
        if start == 0 or bits >= self._tables.bits + _BITS_STEP:
            self._planes = self._draw(bits)
            self._tables = Tables.build(self._hash(matrix), bits)
        else:
            codes = np.hstack([self._tables.codes(), self._hash(matrix[start:])])
            self._tables = Tables.build(codes, self._tables.bits)

    def search(
        self,
        rows: RowView,
        queries: FloatMatrix,
        k: int,
        eligible: Mask | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The k best rows among those in the probed buckets, (q, k), and their float32 scores.

        Scores are in the metric's order: cosines, products divided by the query's length,
        negative squared distances. Row -1 and -inf where fewer were found.

        Parameters
        ----------
        rows
            Those that were added.
        eligible
            Rows that may come back, bool (n,).
        """
        assert self._reduction is not None
        if self._metric is not Metric.EUCLIDEAN:
            queries = unit_rows(queries)
        found = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k), dtype=np.float32)
        search_tables(
            queries,
            project(self._reduction.queries(queries), self._planes),
            rows.matrix,
            rows.norms,
            self._tables.rows,
            self._tables.starts,
            EVERYTHING if eligible is None else eligible,
            METRIC_CODES[self._metric],
            self._options.patience,
            found,
            scores,
        )
        return found, scores

    def save(self, folder: Path) -> None:
        """Write planes, tables and reduction into a folder."""
        assert self._reduction is not None
        self._reduction.save(folder)
        np.save(folder / "planes.npy", self._planes)
        np.save(folder / "rows.npy", self._tables.rows)
        np.save(folder / "starts.npy", self._tables.starts)

    def load(self, folder: Path, count: int) -> None:
        """The reverse of :meth:`save` for an index of ``count`` rows; files are memory-mapped.

        Raises :class:`CorruptData` where the files don't fit each other.
        """
        reduction = Reduction.load(folder, self._metric, self._dim)
        rows, starts = load_array(folder / "rows.npy"), load_array(folder / "starts.npy")
        tables = Tables.checked(rows, starts, self._options.tables, count)
        planes = np.array(load_array(folder / "planes.npy"))
        shape = (reduction.dim, len(tables.starts) * tables.bits)
        if planes.shape != shape or planes.dtype != np.float32 or not np.isfinite(planes).all():
            raise CorruptData(
                f"{folder / 'planes.npy'} does not fit the tables beside it.", path=str(folder)
            )
        self._reduction, self._planes, self._tables = reduction, planes, tables

    def describe(self) -> dict[str, Any]:
        """Tables, bits, family, and the sizes of the buckets that are not empty."""
        sizes = np.diff(self._tables.starts)
        sizes = sizes[sizes > 0]
        return {
            "family": self._options.family,
            "tables": self._options.tables,
            "bits": self._tables.bits,
            "rows": self._tables.rows.shape[1],
            "buckets": len(sizes),
            "median_bucket": float(np.median(sizes)) if len(sizes) else 0.0,
            "largest_bucket": int(sizes.max(initial=0)),
            "bytes": self._tables.rows.nbytes + self._tables.starts.nbytes + self._planes.nbytes,
        }

    def _draw(self, bits: int) -> FloatMatrix:
        """The normals as columns, (dim after the reduction, tables · bits)."""
        assert self._reduction is not None
        draw = FAMILIES[self._options.family]
        normals = draw(self._options.tables * bits, self._reduction.dim, self._options.seed)
        return np.ascontiguousarray(normals.T)

    def _hash(self, matrix: FloatMatrix) -> npt.NDArray[np.uint32]:
        assert self._reduction is not None
        return hash_rows(self._reduction.rows(matrix), self._planes, self._options.tables)
