"""Vectors for the native LSH, an index over them, and the truth."""

from typing import Any

import numpy as np
from itemspace.core.metric import Metric
from itemspace.core.vectors import RowView
from itemspace.lsh import HyperplaneLSH, LSHOptions
from itemspace.lsh.buckets import blocks_in_order


def clustered(n: int, dim: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, n // 50), dim))
    noise = 0.3 * rng.standard_normal((n, dim))
    return (centres[rng.integers(len(centres), size=n)] + noise).astype(np.float32)


def view(matrix: np.ndarray) -> RowView:
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1)
    return RowView(matrix, lengths.astype(np.float32))


def built(matrix: np.ndarray, metric: Metric = Metric.COSINE, **options: Any) -> HyperplaneLSH:
    index = HyperplaneLSH(matrix.shape[1], metric, LSHOptions(**options))
    index.add(view(matrix), 0)
    return index


def true_nearest(queries: np.ndarray, matrix: np.ndarray, metric: Metric, k: int) -> np.ndarray:
    wide = matrix.astype(np.float64)
    if metric is Metric.EUCLIDEAN:
        scores = np.stack([-np.linalg.norm(wide - query, axis=1) for query in queries])
    else:
        scores = queries @ wide.T
        if metric is Metric.COSINE:
            scores = scores / np.linalg.norm(wide, axis=1)
    return np.argsort(-scores, axis=1)[:, :k]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    pairs = zip(found.tolist(), truth.tolist(), strict=True)
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in pairs]))


def assert_whole(index: HyperplaneLSH, rows: int | np.ndarray) -> None:
    """Each of the rows, or of the first so many, is in one bucket of each tree."""
    rows = np.arange(rows) if isinstance(rows, int) else rows
    trees = index._trees
    assert trees is not None
    buckets = trees.buckets
    order = blocks_in_order(buckets)
    assert len(set(order.tolist())) == len(order)
    assert len(order) == int((-(-buckets.sizes[: buckets.counts[1]] // 16)).sum())
    held = buckets.rows[order]
    found, times = np.unique(held[held >= 0], return_counts=True)
    assert found.tolist() == rows.tolist()
    assert set(times.tolist()) == {len(trees.forest.roots)}
    assert buckets.sizes[: buckets.counts[1]].sum() == len(rows) * len(trees.forest.roots)
