"""Families of random hyperplanes through the origin, given by their normals.

For two vectors at the angle θ, a random hyperplane puts them on the same side with probability
1 − θ/π (Charikar 2002, §3). Both families here keep that, plane by plane: every normal is
uniformly distributed over directions.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Normals = npt.NDArray[np.float32]


def gaussian(count: int, dim: int, seed: int) -> Normals:
    """``count`` independent normals, each from the standard normal distribution; (count, dim)."""
    draws = np.random.default_rng(seed).standard_normal((count, dim))
    return _unit(draws).astype(np.float32)


def orthogonal(count: int, dim: int, seed: int) -> Normals:
    """Blocks of up to ``dim`` normals at right angles to each other; (count, dim).

    The Q of a Gaussian matrix, its signs corrected, is uniform over the orthogonal matrices
    (Stewart 1980), so each normal is uniform. Within a block the bits of two vectors at an acute
    angle disagree with smaller variance than independent planes would (Ji et al. 2012,
    super-bit LSH).
    """
    rng = np.random.default_rng(seed)
    blocks = []
    for start in range(0, count, dim):
        q, r = np.linalg.qr(rng.standard_normal((dim, min(dim, count - start))))
        blocks.append((q * np.sign(np.diag(r))).T)
    return np.concatenate(blocks).astype(np.float32)


def _unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    unit: npt.NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


FAMILIES: MappingProxyType[str, Callable[[int, int, int], Normals]] = MappingProxyType(
    {"gaussian": gaussian, "orthogonal": orthogonal}
)
