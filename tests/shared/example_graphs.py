"""Graphs for the tests of factorisations."""

from typing import Any

import numpy as np
from itemspace import ItemGraph
from scipy.sparse import csr_array

Array = np.ndarray[Any, Any]


def small_graph() -> tuple[ItemGraph, Array]:
    """Two components, weights, a self-loop; node 4 is isolated, node 9 has but a loop."""
    rng = np.random.default_rng(5)
    matrix = np.zeros((16, 16))
    for part in (range(9), range(10, 16)):
        for one in part:
            for other in part:
                if one < other and 4 not in (one, other) and rng.random() < 0.6:
                    matrix[one, other] = matrix[other, one] = rng.integers(1, 9) / 2
    matrix[1, 1] = 3
    matrix[9, 9] = 2
    connected = (matrix - np.diag(np.diag(matrix))).any(axis=1)
    assert not connected[4] and not connected[9]
    return ItemGraph.from_scipy(csr_array(matrix), directed=False), matrix[connected][:, connected]


def communities(nodes: int = 120, seed: int = 2) -> tuple[ItemGraph, Array]:
    """Two groups, the edges within seven times as likely as between."""
    rng = np.random.default_rng(seed)
    group = np.arange(nodes) % 2
    chance = np.where(group[:, None] == group, 0.21, 0.03)
    matrix = np.triu(rng.random((nodes, nodes)) < chance, 1).astype(np.float64)
    return ItemGraph.from_scipy(matrix + matrix.T, directed=False), group
