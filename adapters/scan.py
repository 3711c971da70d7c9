"""Exact search: BLAS estimates with their error bounds, then the one scoring kernel.

float32 products are off by at most γ‖q‖‖x‖ (γ = (d + 2)·2⁻²³, twice the textbook bound; Higham
2002, §3.1). A row can be among the k best only if its upper bound reaches the k-th best lower
bound; those rows, and only those, are scored in float64. The answer is therefore exact, ties
included, however the norms are spread.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..core.jit import fast_kernel, kernel
from ..core.metric import Metric
from ..core.scoring import score_rows
from ..core.vectors import FloatMatrix

Norms = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
_BLOCK_BYTES = 1 << 26
#: Queries that are scored one by one against rows that were named, or of a small matrix: BLAS wakes
#: threads for them, which costs more than they bring, and milliseconds where others have the cores.
_FEW, _SMALL = 4, 1 << 21
_LONGEST, _SHORTEST = 1e17, 1e-15


def norms_of(matrix: FloatMatrix) -> Norms:
    """Euclidean length of each row, float32 (n,), by blocks; infinite where it overflows."""
    norms = np.empty(len(matrix), dtype=np.float32)
    step = max(1, _BLOCK_BYTES // (8 * max(1, matrix.shape[1])))
    with np.errstate(over="ignore"):
        for start in range(0, len(matrix), step):
            block = matrix[start : start + step].astype(np.float64)
            norms[start : start + step] = np.sqrt(np.einsum("ij,ij->i", block, block))
    return norms


def exact_candidates(
    queries: FloatMatrix,
    matrix: FloatMatrix,
    norms: Norms,
    metric: Metric,
    k: int,
    rows: Rows | None = None,
) -> Iterator[Rows]:
    """For each query the rows that can be among its k best: at least min(k, n), ties included.

    Parameters
    ----------
    queries, matrix, norms
        (q, d) and (n, d) float32, and the lengths of the rows of ``matrix``.
    rows
        Only these rows are looked at; all when left out.

    Yields
    ------
    int64 rows of ``matrix``, ascending.
    """
    if rows is not None:
        if len(queries) <= _FEW:
            for query in queries:
                yield _best_of(query, matrix, rows, metric, k)
            return
        matrix, norms = matrix[rows], norms[rows]
    extremes = float(norms.min(initial=1.0)), float(norms.max(initial=0.0))
    step = max(1, _BLOCK_BYTES // (4 * max(1, len(matrix))))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        with np.errstate(over="ignore", invalid="ignore"):  # _reachable knows when
            if len(block) <= _FEW and matrix.size <= _SMALL:
                products_of_all = _products(block, matrix)
            else:
                products_of_all = block @ matrix.T
        for query, products in zip(block, products_of_all, strict=True):
            found = _reachable(query, matrix, products, norms, extremes, metric, k)
            yield found if rows is None else rows[found]


def _best_of(
    query: npt.NDArray[np.float32], matrix: FloatMatrix, rows: Rows, metric: Metric, k: int
) -> Rows:
    """The best of some rows by their scores: without a copy of them, and without BLAS, whose
    threads cost a single query more than they bring."""
    if len(rows) <= k:
        return rows
    scores = score_rows(query, matrix, rows, metric)
    best: Rows = rows[scores >= np.partition(scores, len(rows) - k)[len(rows) - k]]
    return best


def _reachable(
    query: npt.NDArray[np.float32],
    matrix: FloatMatrix,
    products: npt.NDArray[np.float32],
    norms: Norms,
    extremes: tuple[float, float],
    metric: Metric,
    k: int,
) -> Rows:
    """Rows whose upper bound reaches the k-th best lower bound."""
    length = float(np.linalg.norm(query.astype(np.float64)))
    lengths: npt.NDArray[np.floating] = norms
    estimates: npt.NDArray[np.floating] = products
    shortest, longest = extremes
    if not max(length, longest) < _LONGEST or not min(length, shortest) > _SHORTEST:
        # Squares or products of such lengths overflow or vanish in float32.
        wide = matrix.astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        estimates = wide @ query.astype(np.float64)
    gamma = (matrix.shape[1] + 2) * 2.0**-23
    if metric is Metric.COSINE:
        estimates = estimates / (lengths * length)
        slack = np.full(len(lengths), gamma, dtype=estimates.dtype)
    elif metric is Metric.INNER_PRODUCT:
        slack = lengths * (gamma * length)
    else:
        estimates = 2 * estimates - lengths * lengths
        slack = (lengths + length) ** 2 * gamma
    return _select(estimates, slack, min(k, len(estimates)))


@fast_kernel
def _products(queries: FloatMatrix, matrix: FloatMatrix) -> FloatMatrix:
    products = np.empty((queries.shape[0], matrix.shape[0]), dtype=np.float32)
    for at in range(queries.shape[0]):
        query = queries[at]
        for row in range(matrix.shape[0]):
            total = np.float32(0)
            for column in range(matrix.shape[1]):
                total += query[column] * matrix[row, column]
            products[at, row] = total
    return products


@kernel
def _select(estimates: npt.NDArray[np.floating], slack: npt.NDArray[np.floating], k: int) -> Rows:
    if k == 0:
        return np.empty(0, dtype=np.int64)
    heap = np.full(k, -np.inf)  # a min-heap of the k best lower bounds
    for row in range(estimates.shape[0]):
        bound = np.float64(estimates[row]) - slack[row]
        if bound > heap[0]:
            at = 0
            while True:
                child = 2 * at + 1
                if child >= k:
                    break
                if child + 1 < k and heap[child + 1] < heap[child]:
                    child += 1
                if heap[child] >= bound:
                    break
                heap[at] = heap[child]
                at = child
            heap[at] = bound
    threshold = heap[0]
    count = 0
    for row in range(estimates.shape[0]):
        if np.float64(estimates[row]) + slack[row] >= threshold:
            count += 1
    rows = np.empty(count, dtype=np.int64)
    count = 0
    for row in range(estimates.shape[0]):
        if np.float64(estimates[row]) + slack[row] >= threshold:
            rows[count] = row
            count += 1
    return rows
