"""Made-up vectors, and how many of the nearest were found."""

from typing import Any

import numpy as np
from itemspace import Ids, Metric, VectorSet


def clustered(n: int = 3000, dim: int = 16, seed: int = 5) -> np.ndarray:
    """(n, dim) float32, about 50 around each of some centres."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, n // 50), dim))
    noise = 0.3 * rng.standard_normal((n, dim))
    return (centres[rng.integers(len(centres), size=n)] + noise).astype(np.float32)


def named(matrix: np.ndarray, metric: Metric = Metric.COSINE) -> VectorSet:
    """Items i0, i1 and so on."""
    return VectorSet(Ids([f"i{at}" for at in range(len(matrix))]), matrix, metric)


def numbered(matrix: np.ndarray, metric: Metric = Metric.COSINE) -> VectorSet:
    """Items 0, 1 and so on."""
    return VectorSet(Ids(range(len(matrix))), matrix, metric)


def recall(truth: Any, found: Any) -> float:
    """The mean share of the items of true answers that were found."""
    pairs = zip(truth, found, strict=True)
    return float(np.mean([np.isin(one.ids, other.ids).mean() for one, other in pairs]))
