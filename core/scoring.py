"""Exact scores, by one kernel with a fixed order of summation.

Whatever backend found a row, its score comes from here where the vectors are at hand: a batch
equals single queries bit for bit, and backends agree with each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .jit import kernel
from .metric import Metric

Scores = npt.NDArray[np.float64]
METRIC_CODES = {Metric.COSINE: 0, Metric.INNER_PRODUCT: 1, Metric.EUCLIDEAN: 2}


def score_rows(
    query: npt.NDArray[np.float32],
    matrix: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    metric: Metric,
) -> Scores:
    """Score of ``query`` (d,) against ``matrix[rows]``, float64 (len(rows),).

    Products and sums are float64, in four interleaved partial sums whose order never depends on
    the batch. Cosine is clipped to [-1, 1].
    """
    scores = np.empty(len(rows), dtype=np.float64)
    _score(query, matrix, rows, METRIC_CODES[metric], scores)
    return scores


def rank(scores: Scores, ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Positions by score descending, then id ascending (numbers, or strings by code point)."""
    if (scores[1:] < scores[:-1]).all():  # as an index mostly gives them: no need to sort
        return np.arange(len(scores))
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ties = np.flatnonzero(ordered[1:] == ordered[:-1])
    if ties.size:
        ranked = sorted(order.tolist(), key=lambda at: (-scores[at], ids[at]))
        return np.array(ranked, dtype=np.int64)
    return order


@kernel
def is_sound(matrix: npt.NDArray[np.float32], metric: int) -> bool:
    """Whether all numbers are finite and, under the cosine, no row is zero."""
    for row in matrix:
        total = np.float64(0)
        for value in row:
            total += abs(np.float64(value))
        if not total < np.inf or (metric == 0 and total == 0):
            return False
    return True


@kernel
def _score(
    query: npt.NDArray[np.float32],
    matrix: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    metric: int,
    scores: Scores,
) -> None:
    length = length_of(query)
    for at in range(rows.shape[0]):
        scores[at] = score_one(query, length, matrix[rows[at]], metric)


@kernel
def length_of(query: npt.NDArray[np.float32]) -> float:
    """The Euclidean length, in float64."""
    squares = 0.0
    for j in range(query.shape[0]):
        squares += np.float64(query[j]) * np.float64(query[j])
    return float(np.sqrt(squares))


@kernel
def score_one(
    query: npt.NDArray[np.float32], length: float, row: npt.NDArray[np.float32], metric: int
) -> float:
    """The score of one row, for kernels; ``length`` is the query's (:func:`length_of`)."""
    dim = query.shape[0]
    whole = dim - dim % 4
    s0 = s1 = s2 = s3 = 0.0
    n0 = n1 = n2 = n3 = 0.0
    if metric == 2:
        for j in range(0, whole, 4):
            d0 = np.float64(query[j]) - np.float64(row[j])
            d1 = np.float64(query[j + 1]) - np.float64(row[j + 1])
            d2 = np.float64(query[j + 2]) - np.float64(row[j + 2])
            d3 = np.float64(query[j + 3]) - np.float64(row[j + 3])
            s0 += d0 * d0
            s1 += d1 * d1
            s2 += d2 * d2
            s3 += d3 * d3
        for j in range(whole, dim):
            d0 = np.float64(query[j]) - np.float64(row[j])
            s0 += d0 * d0
        return float(0.0 - np.sqrt((s0 + s1) + (s2 + s3)))
    for j in range(0, whole, 4):
        x0, x1 = np.float64(row[j]), np.float64(row[j + 1])
        x2, x3 = np.float64(row[j + 2]), np.float64(row[j + 3])
        s0 += np.float64(query[j]) * x0
        s1 += np.float64(query[j + 1]) * x1
        s2 += np.float64(query[j + 2]) * x2
        s3 += np.float64(query[j + 3]) * x3
        n0 += x0 * x0
        n1 += x1 * x1
        n2 += x2 * x2
        n3 += x3 * x3
    for j in range(whole, dim):
        x0 = np.float64(row[j])
        s0 += np.float64(query[j]) * x0
        n0 += x0 * x0
    product = (s0 + s1) + (s2 + s3)
    if metric == 0:
        product /= length * np.sqrt((n0 + n1) + (n2 + n3))
        product = min(1.0, max(-1.0, product))
    return product
