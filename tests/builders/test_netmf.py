import sys
from typing import Any

import numpy as np
import pytest
from example_graphs import communities, small_graph
from itemspace import Sequences
from itemspace.builders import load_builder, netmf
from itemspace.builders.graph import ItemGraph
from itemspace.builders.netmf import NetMF, largest_eigenpairs
from itemspace.core.errors import EmptyInput, InvalidOption, MissingExtra, UnsupportedError
from scipy.sparse import block_diag, csr_array

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

Array = np.ndarray[Any, Any]


def dense_netmf(matrix: Array, window: int, negatives: float) -> Array:
    """Equation 9, word for word."""
    degrees = matrix.sum(axis=1)
    walk = matrix / degrees[:, None]
    powers = sum(np.linalg.matrix_power(walk, r) for r in range(1, window + 1))
    found = degrees.sum() / (negatives * window) * powers @ np.diag(1 / degrees)
    return np.log(np.maximum(found, 1))


@pytest.mark.parametrize(("window", "negatives"), [(1, 1.0), (4, 0.5), (10, 1.0)])
@pytest.mark.parametrize("rank", [None, 10_000])
def test_closed_form(window: int, negatives: float, rank: int | None) -> None:
    graph, matrix = small_graph()
    dim = len(matrix)
    builder = NetMF(dim=dim, window=window, negatives=negatives, rank=rank, normalise=False)
    found = builder.fit(graph).item_vectors_
    assert found.ids.to_list() == [node for node in range(16) if node not in {4, 9}]
    left, sizes, _ = np.linalg.svd(dense_netmf(matrix, window, negatives))
    expected = left * np.sqrt(sizes)
    # Vectors are unique but for rotations among equal singular values: their products are.
    assert np.allclose(found.matrix @ found.matrix.T, expected @ expected.T, atol=1e-4)


def test_low_rank_by_dense_eigenpairs() -> None:
    graph, matrix = small_graph()
    degrees = matrix.sum(axis=1)
    scaled = matrix / np.sqrt(np.outer(degrees, degrees))
    sizes, vectors = np.linalg.eigh(scaled)
    sizes, vectors = sizes[-5:], vectors[:, -5:] / np.sqrt(degrees)[:, None]
    walks = (vectors * np.mean([sizes**r for r in range(1, 5)], axis=0)) @ vectors.T
    left, values, _ = np.linalg.svd(np.log(np.maximum(degrees.sum() / 2 * walks, 1)))
    expected = left[:, :4] * values[:4] ** 0.25
    builder = NetMF(
        dim=4, rank=5, window=4, negatives=2, eigenvalue_weighting=0.25, normalise=False
    )
    found = builder.fit(graph).item_vectors_.matrix
    assert np.allclose(np.abs(found.T @ expected), np.diag(values[:4] ** 0.5), atol=1e-3)


def test_blocks_are_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = small_graph()
    calls: list[tuple[int, int, str]] = []
    for rank in (None, 6):
        whole = NetMF(dim=5, rank=rank).fit(graph).item_vectors_.matrix
        monkeypatch.setattr(netmf, "_BLOCK", 5)
        parts = NetMF(dim=5, rank=rank).fit(graph, progress=lambda *call: calls.append(call))
        monkeypatch.undo()
        assert np.allclose(whole, parts.item_vectors_.matrix, atol=1e-4)
    assert [done for done, total, _ in calls if total == 14] == [5, 10, 14] * 2


def test_eigenvalues_that_are_equal() -> None:
    """1 comes once for each of 25 components. ARPACK misses some of them on such a matrix."""
    rng = np.random.default_rng(0)
    blocks = []
    for _ in range(25):
        block = np.triu(rng.random((16, 16)) < 0.3, 1)
        block[0, 1:] = True
        weights = (block + block.T).astype(np.float64)
        root = np.sqrt(weights.sum(axis=1))
        blocks.append(weights / np.outer(root, root))
    matrix = csr_array(block_diag(blocks))
    expected, _ = np.linalg.eigh(matrix.toarray())
    sizes, vectors = largest_eigenpairs(csr_array(matrix, dtype=np.float32), 40, seed=1)
    assert sizes == pytest.approx(expected[-40:], abs=1e-4)
    assert np.allclose(vectors.T @ vectors, np.eye(40), atol=1e-4)
    assert np.allclose(matrix @ vectors, vectors * sizes, atol=1e-2)


@pytest.mark.parametrize("rank", [None, 16])
def test_communities_are_found(rank: int | None) -> None:
    graph, group = communities()
    vectors = NetMF(dim=8, rank=rank).fit(graph).item_vectors_.matrix
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    products = vectors @ vectors.T
    np.fill_diagonal(products, -1)
    nearest = group[products.argsort(axis=1)[:, -5:]]
    assert (nearest == group[:, None]).mean() > 0.95


def test_directed_edges_are_taken_both_ways() -> None:
    ends = np.array([(0, 1), (1, 0), (1, 2), (2, 3), (3, 3), (3, 4), (4, 0), (1, 3)])
    weights = np.arange(1.0, 9)
    one, other = (
        NetMF(dim=4, window=2).fit(
            ItemGraph.from_edges(ends[:, 0], ends[:, 1], weights, directed=directed)
        )
        for directed in (True, False)
    )
    assert np.allclose(one.item_vectors_.matrix, other.item_vectors_.matrix, atol=1e-5)
    assert one.item_vectors_.lineage["directed"] is True


def test_sequences_are_a_graph() -> None:
    train = Sequences.from_lists([["a", "b", "c"], ["b", "c", "a"], ["d", "b"], ["lone"]])
    kind = load_builder("netmf")
    found = kind(dim=3, edge_window=2).fit(train).item_vectors_
    graph = ItemGraph.from_sequences(train, directed=False, window=2)
    again = kind(dim=3, edge_window=2).fit(graph).item_vectors_
    assert found.ids.to_list() == ["a", "b", "c", "d"]
    assert np.array_equal(found.matrix, again.matrix)
    assert found.lineage["builder"] == "netmf"
    assert found.lineage["options"]["rank"] == 192


def test_the_unit_of_weights_is_of_no_account() -> None:
    graph, _ = small_graph()
    heavy = ItemGraph.from_scipy(graph.to_scipy() * 1e30, directed=False)
    for rank in (None, 6):
        one, other = (NetMF(dim=3, rank=rank).fit(of).item_vectors_ for of in (graph, heavy))
        assert np.allclose(one.matrix, other.matrix, atol=1e-3)


def test_same_seed_same_vectors() -> None:
    graph, _ = communities()
    one, again = (NetMF(dim=8, rank=12, seed=4).fit(graph).item_vectors_ for _ in range(2))
    assert np.array_equal(one.matrix, again.matrix)


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 0},
        {"dim": 15},
        {"window": 0},
        {"window": None},
        {"negatives": 0},
        {"negatives": float("inf")},
        {"rank": 0},
        {"rank": True},
        {"eigenvalue_weighting": -0.1},
        {"seed": -1},
        {"edge_window": 0},
        {"min_weight": -1},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    graph, _ = small_graph()
    with pytest.raises(InvalidOption) as caught:
        NetMF(**{"dim": 2, **options}).fit(graph)
    assert caught.value.option in options


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = small_graph()
    with pytest.raises(InvalidOption, match="dim=14 or less"):
        NetMF().fit(graph)
    with pytest.raises(EmptyInput):
        NetMF(dim=1).fit(ItemGraph.from_scipy(np.eye(3), directed=False))
    monkeypatch.setattr(netmf, "LIMIT", 13)
    with pytest.raises(UnsupportedError, match="ProNE"):
        NetMF(dim=2).fit(graph)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "sklearn.utils.extmath", None)
    with pytest.raises(MissingExtra, match=r"itemspace\[graph\]"):
        NetMF(dim=2).fit(graph)
