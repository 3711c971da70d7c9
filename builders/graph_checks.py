"""What holds of every item graph, checked; and what its edges say of its nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from ..core.behaviour import Codes, Offsets
from ..core.errors import InvalidGraph
from ..core.jit import kernel
from .sampling import Floats


@kernel
def loops(indptr: Offsets, indices: Codes) -> int:
    """How many edges lead from a node to itself."""
    count = 0
    for node in range(len(indptr) - 1):
        for edge in range(indptr[node], indptr[node + 1]):
            count += indices[edge] == node
    return count


@kernel
def mark_connected(indptr: Offsets, indices: Codes, found: npt.NDArray[np.bool_]) -> None:
    """Set ``found`` (n,) for nodes with an edge to or from another."""
    for node in range(len(found)):
        for edge in range(indptr[node], indptr[node + 1]):
            if indices[edge] != node:
                found[node] = found[indices[edge]] = True


def check_rows(nodes: int, indptr: Offsets, indices: Codes, weights: Floats) -> None:
    """Raise :class:`InvalidGraph` unless the arrays fit together; reads ``indptr`` alone."""
    expected = ((indptr, np.int64), (indices, np.int32), (weights, np.float32))
    fits = all(array.ndim == 1 and array.dtype == kind for array, kind in expected)
    if not (
        fits
        and len(indptr) == nodes + 1
        and indptr[0] == 0
        and indptr[-1] == len(indices) == len(weights)
        and (np.diff(indptr) >= 0).all()
    ):
        shapes = ", ".join(f"{array.dtype} {array.shape}" for array, _ in expected)
        raise InvalidGraph(
            f"Expected int64 ({nodes + 1},) rising from 0 to the number of edges, int32 and "
            f"float32 of one length; received {shapes}."
        )


def check_weights(weights: npt.NDArray[Any]) -> None:
    """Raise :class:`InvalidGraph` unless all are finite and at least 0."""
    if weights.dtype.kind not in "fiub":
        raise InvalidGraph(f"Weights are numbers; received {weights.dtype}.")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise InvalidGraph(
            f"Weights are finite float32 numbers of at least 0; {bad.size} are not, "
            f"{weights[bad[0]]} of edge {bad[0] + 1} among them. Repair or drop them."
        )


def check_symmetric(matrix: csr_array) -> None:
    """Raise :class:`InvalidGraph` unless every edge goes both ways with one weight."""
    if (matrix != matrix.T).nnz:
        raise InvalidGraph(
            "An undirected graph has the same weight both ways, but this matrix is not symmetric; "
            "take it as directed=True, or add its transpose."
        )
