"""The space in which planes lie, where the metric is an angle or a distance.

Under the inner product it has a coordinate more than the rows, √(R² − ‖x‖²), 0 for queries
(Simple-LSH, Neyshabur & Srebro 2015), and R is another in each range of lengths (norm ranging, Yan
et al. 2018); :mod:`.growing` makes the ranges.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.jit import fast_kernel, inlined
from ..core.vectors import FloatMatrix

Floats = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
#: Numbers in kernels, whose widths numba finds out: an integer, a float.
Whole = Any
Real = Any


class Space(NamedTuple):
    """Where planes lie: row x ↦ x' = (x − centre) / length, divided by ‖x‖ under the cosine.

    Under the inner product a row has a last coordinate, which :func:`lift` tells.
    """

    metric: int
    """One of :data:`~itemspace.core.scoring.METRIC_CODES`."""
    centre: Floats
    """(dim,)."""
    length: np.float32


@inlined
def map_row(space: Space, matrix: FloatMatrix, norms: Floats, row: int, place: Floats) -> None:
    """Write a row as the planes' space has it, but for the last coordinate of :func:`lift`."""
    x, centre, dim = matrix[row], space.centre, matrix.shape[1]
    factor = np.float32(1) / (norms[row] if space.metric == 0 else space.length)
    for j in range(dim):
        place[j] = (x[j] - centre[j]) * factor


@inlined
def lift(space: Space, norms: Floats, row: int, scale: Real) -> Real:
    """The last coordinate of a row under the inner product, √(R² − ‖x‖²), and 0 beyond R."""
    norm = norms[row] / space.length
    return np.sqrt(max((scale - norm) * (scale + norm), np.float32(0)))


@fast_kernel
def dot(one: Floats, other: Floats) -> np.float32:
    """one · other, over the length of ``one``."""
    total = np.float32(0)
    for j in range(len(one)):
        total += one[j] * other[j]
    return total
