"""Every metric turned into angles, the one thing that hyperplanes separate.

``COSINE``
    Nothing to do: hyperplanes through the origin do not see lengths.
``INNER_PRODUCT``
    x ↦ [x, √(R² − ‖x‖²)], q ↦ [q, 0]. Rows no longer than R then have the length R, so their
    distances (Bachrach et al. 2014) and angles (Neyshabur & Srebro 2015, "Simple-LSH") order them
    as their inner products do; in both papers R is the largest length. Departure: it is the 90th
    percentile, and the rows beyond it get 0 as their last coordinate. With the largest length one
    long row sends all others to the pole, where no plane separates them.
    The native LSH has an R for each range of lengths instead, the largest there (Yan et al. 2018,
    "Norm-Ranging LSH"; :mod:`.space`, :mod:`.growing`), and takes from here the unit of lengths
    alone.
``EUCLIDEAN``
    x ↦ x − c, q ↦ q − c, with c the mean of the rows. Near rows lie in near directions from c,
    sin θ ≤ ‖q − x‖ / ‖x − c‖, so the guarantee fades for rows and queries close to c. Departure:
    the published reductions keep the order exactly (Bachrach et al. 2014, Theorem 1), but spend
    the angles on the lengths: on 100,000 32-d vectors in clusters, recall@10 .66 at 730 queries/s
    against .997 at 12,000.

R and c are fixed by the first rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from ..core.errors import CorruptData
from ..core.metric import Metric
from ..core.storage import load_array
from ..core.vectors import FloatMatrix

_FILE = "reduction.npy"
_BLOCK = 1 << 16
_LONG = 0.9
Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reduction:
    """Rows and queries (n, d) ↦ (n, :attr:`dim`), whose angles say how near they are."""

    metric: Metric
    centre: Wide
    """c, (d,); zeros unless Euclidean."""
    length: float
    """Of a row after the map, in the data's unit: R, or the root mean square distance from c;
    1 under ``COSINE``."""

    @classmethod
    def fit(cls, matrix: FloatMatrix, metric: Metric) -> Self:
        """From the first rows (n, d), n ≥ 1."""
        centre = np.zeros(matrix.shape[1])
        length = 1.0
        if metric is Metric.EUCLIDEAN:
            centre = matrix.mean(axis=0, dtype=np.float64)
            length = float(np.sqrt(np.square(_lengths(matrix, centre)).mean()))
        elif metric is Metric.INNER_PRODUCT:
            length = float(np.quantile(_lengths(matrix, centre), _LONG))
        return cls(metric, centre, length or 1.0)

    @property
    def dim(self) -> int:
        """Columns after the map."""
        return len(self.centre) + (self.metric is Metric.INNER_PRODUCT)

    def rows(self, matrix: FloatMatrix) -> FloatMatrix:
        """Stored vectors, (n, d) ↦ (n, dim) float32."""
        if self.metric is not Metric.INNER_PRODUCT:
            return self.queries(matrix)
        last = np.square(self.length) - np.square(_lengths(matrix, self.centre))
        return np.column_stack([matrix, np.sqrt(np.maximum(last, 0)).astype(np.float32)])

    def queries(self, queries: FloatMatrix) -> FloatMatrix:
        """Queries, (q, d) ↦ (q, dim) float32."""
        if self.metric is Metric.COSINE:
            return queries
        if self.metric is Metric.EUCLIDEAN:
            moved: FloatMatrix = (queries - self.centre).astype(np.float32)
            return moved
        return np.column_stack([queries, np.zeros(len(queries), dtype=np.float32)])

    def scores(self, cosines: Wide, queries: FloatMatrix) -> FloatMatrix:
        """Estimated cosines after the map (q, m) ↦ scores in the metric's unit, float32 (q, m).

        As if every row had :attr:`length`.
        """
        if self.metric is Metric.COSINE:
            return cosines.astype(np.float32)
        lengths = _lengths(queries, self.centre)[:, None]
        products = cosines * lengths * self.length
        if self.metric is Metric.EUCLIDEAN:
            squares = np.square(lengths) + np.square(self.length) - 2 * products
            products = 0.0 - np.sqrt(np.maximum(squares, 0))
        estimates: FloatMatrix = products.astype(np.float32)
        return estimates

    def save(self, folder: Path) -> None:
        """Write into a folder."""
        np.save(folder / _FILE, np.concatenate([[self.length], self.centre]))

    @classmethod
    def load(cls, folder: Path, metric: Metric, dim: int) -> Self:
        """The reverse of :meth:`save`; :class:`CorruptData` where it is for another dimension."""
        numbers = load_array(folder / _FILE)
        right = numbers.shape == (dim + 1,) and numbers.dtype == np.float64
        if not right or not np.isfinite(numbers).all():
            raise CorruptData(
                f"{folder / _FILE} does not hold {dim + 1} finite numbers.", path=str(folder)
            )
        return cls(metric, np.array(numbers[1:]), float(numbers[0]))


def _lengths(rows: FloatMatrix, centre: Wide) -> Wide:
    """Distances of rows from ``centre``, by blocks: a float64 copy of all would be too much."""
    lengths = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        moved = rows[start : start + _BLOCK] - centre
        lengths[start : start + _BLOCK] = np.sqrt(np.einsum("ij,ij->i", moved, moved))
    return lengths
