"""What factorisations of a graph share: its symmetric matrix, and a library's randomised SVD."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array

from ..core.errors import InvalidOption, MissingExtra
from ..core.vectors import FloatMatrix, unit_rows
from .graph import ItemGraph, Rows


def undirected_matrix(graph: ItemGraph, rows: Rows) -> csr_array:
    """The weights between the nodes of ``rows``, (n, n) float32, each edge taken both ways.

    Of a directed graph these are W + Wᵀ, a self-loop counting once: what
    :meth:`.ItemGraph.from_edges` makes of the same edges with ``directed=False``.
    """
    matrix = graph.to_scipy()
    if graph.directed:
        matrix = matrix + matrix.T - diags_array(matrix.diagonal())
    return csr_array(csr_array(matrix)[rows][:, rows])


def check_dim(dim: int, nodes: int) -> None:
    """Raise :class:`InvalidOption` where there are more dimensions than nodes to span them."""
    if dim > nodes:
        raise InvalidOption(
            f"{nodes:,} connected nodes span {nodes:,} dimensions at most; received dim={dim!r}. "
            f"Take dim={nodes} or less.",
            option="dim",
            received=dim,
        )


def randomised_svd(matrix: Any, dim: int, seed: int) -> tuple[FloatMatrix, npt.NDArray[np.float64]]:
    """The left singular vectors (n, dim) float32 of the largest singular values, falling (dim,).

    By scikit-learn's ``randomized_svd`` (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1),
    with five rounds of power iteration, as the authors of ProNE take.

    Parameters
    ----------
    matrix
        (n, m) float32, a NumPy array or a SciPy sparse one; ``dim`` is at most n and m.

    Raises
    ------
    MissingExtra
        Without scikit-learn.
    """
    try:
        from sklearn.utils.extmath import randomized_svd
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "This builder needs scikit-learn; pip install 'itemspace[graph]'.", extra="graph"
        ) from error
    left, sizes, _ = randomized_svd(matrix, dim, n_iter=5, random_state=seed)
    return left.astype(np.float32, copy=False), sizes.astype(np.float64)


def finish_rows(matrix: FloatMatrix, normalise: bool) -> FloatMatrix:
    """The rows at length 1 if so wanted, and none of them zero, for zero has no direction.

    A node that no kept dimension reaches gets 1e-6 in the first.
    """
    finished = unit_rows(matrix) if normalise else matrix.copy()
    finished[~finished.any(axis=1), 0] = 1e-6
    return finished
