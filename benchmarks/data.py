"""Generated data for the benchmarks."""

from __future__ import annotations

import numpy as np
from itemspace.core.vectors import FloatMatrix, unit_rows


def clustered(count: int, dim: int, queries: int, seed: int = 0) -> tuple[FloatMatrix, FloatMatrix]:
    """Unit vectors in clusters within clusters, of sizes by a power law, as items have them.

    200 groups of 25 clusters; a cluster's share falls as rank^-0.8. Queries are further draws.
    """
    rng = np.random.default_rng(seed)
    groups = rng.standard_normal((200, 1, dim))
    centres = (groups + 0.7 * rng.standard_normal((200, 25, dim))).reshape(-1, dim)
    shares = np.arange(1, len(centres) + 1) ** -0.8
    shares = rng.permutation(shares / shares.sum())

    def draw(size: int) -> FloatMatrix:
        rows = np.empty((size, dim), dtype=np.float32)
        for start in range(0, size, 1 << 17):
            block = rows[start : start + (1 << 17)]
            chosen = rng.choice(len(centres), len(block), p=shares)
            block[:] = centres[chosen] + 0.5 * rng.standard_normal((len(block), dim))
        return unit_rows(rows)

    return draw(count), draw(queries)


def uniform(count: int, dim: int, queries: int, seed: int = 0) -> tuple[FloatMatrix, FloatMatrix]:
    """Unit vectors without any structure: the hardest case."""
    rng = np.random.default_rng(seed)
    rows = unit_rows(rng.standard_normal((count + queries, dim)).astype(np.float32))
    return rows[:count], rows[count:]
