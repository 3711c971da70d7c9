"""Families of hyperplanes.

``gaussian``, ``orthogonal``
    Random planes through the origin, the same for all nodes of a tree at one depth, as in an LSH
    Forest (Bawa, Condie & Ganesan 2005). For two vectors at the angle θ, such a plane puts them on
    the same side with probability 1 − θ/π (Charikar 2002, §3), whatever the data are; both
    families keep that, plane by plane: every normal is uniformly distributed over directions.
    (Under the inner product rows are first cut by length, and θ is the angle after the reduction
    of their range.)
``pairs``
    Of each node: between two of its rows, drawn at random, through the middle between them (as
    Annoy's trees have them, Bernhardsson 2015). Follows the data; nothing is guaranteed.
``adapted``
    Of each node: between the two means that Lloyd's algorithm finds for a sample of its rows
    (2-means trees: Verma, Kpotufe & Dasgupta 2009, "Which spatial partition trees are adaptive to
    intrinsic dimension?"). Cuts where the data are thin, and adapts to their intrinsic dimension
    in their sense; no guarantee for a pair of vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Normals = npt.NDArray[np.float32]
Draw = Callable[[int, int, int], Normals]


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


#: Name → what draws its normals; None where each node finds its own among its rows.
FAMILIES: MappingProxyType[str, Draw | None] = MappingProxyType(
    {"adapted": None, "pairs": None, "orthogonal": orthogonal, "gaussian": gaussian}
)
