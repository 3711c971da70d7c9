import sys
from typing import Any

import numpy as np
import pytest
from example_graphs import communities, small_graph
from itemspace import Sequences, VectorSet
from itemspace.builders import load_builder
from itemspace.builders.graph import ItemGraph
from itemspace.builders.netmf import NetMF
from itemspace.builders.prone import ProNE, Propagation
from itemspace.core.errors import EmptyInput, InvalidOption, MissingExtra, UnknownIds
from scipy.linalg import expm

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

Array = np.ndarray[Any, Any]


def unit(matrix: Array) -> Array:
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def half(matrix: Array, dim: int) -> Array:
    """U S^½ at length 1."""
    left, sizes, _ = np.linalg.svd(matrix, full_matrices=False)
    return unit(left[:, :dim] * np.sqrt(sizes[:dim]))


def dense_factors(matrix: Array, dim: int, smoothing: float, negatives: float) -> Array:
    steps = matrix / matrix.sum(axis=1, keepdims=True)
    noise = steps.sum(axis=0) ** smoothing
    expected = negatives * noise / noise.sum()
    with np.errstate(divide="ignore"):
        return half(np.where(matrix > 0, np.log(steps / expected), 0), dim)


def dense_propagation(vectors: Array, matrix: Array, mu: float, theta: float) -> Array:
    """By the exponential of a matrix in place of a series."""
    step = matrix / matrix.sum(axis=1, keepdims=True)
    same = np.eye(len(matrix))
    shifted = (1 - mu) * same - step
    band = expm(-theta / 2 * (shifted @ shifted - 2 * same))
    return half(step @ (vectors - band @ vectors), vectors.shape[1])


@pytest.mark.parametrize(
    ("smoothing", "negatives", "mu", "theta"), [(0.75, 1.0, 0.2, 0.5), (1.0, 2.0, 1.3, 1.0)]
)
def test_against_dense_matrices(
    smoothing: float, negatives: float, mu: float, theta: float
) -> None:
    graph, matrix = small_graph()
    options = {"dim": 6, "smoothing": smoothing, "negatives": negatives}
    start = dense_factors(matrix, 6, smoothing, negatives)
    found = ProNE(**options, propagate=False).fit(graph).item_vectors_  # type: ignore[arg-type]
    assert found.ids.to_list() == [node for node in range(16) if node not in {4, 9}]
    assert np.allclose(found.matrix @ found.matrix.T, start @ start.T, atol=1e-4)
    end = dense_propagation(start, matrix, mu, theta)
    whole = ProNE(**options, mu=mu, theta=theta).fit(graph).item_vectors_.matrix  # type: ignore[arg-type]
    assert whole.dtype == np.float32
    assert np.allclose(whole @ whole.T, end @ end.T, atol=1e-3)


def test_communities_are_found() -> None:
    graph, group = communities()
    for propagate in (False, True):
        vectors = ProNE(dim=8, propagate=propagate).fit(graph).item_vectors_.matrix
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        products = vectors @ vectors.T
        np.fill_diagonal(products, -1)
        nearest = group[products.argsort(axis=1)[:, -5:]]
        assert (nearest == group[:, None]).mean() > (0.95 if propagate else 0.75)


def test_any_vectors_propagate() -> None:
    graph, matrix = small_graph()
    before = NetMF(dim=4).fit(graph).item_vectors_
    after = Propagation(mu=0.5).apply(before, graph)
    expected = dense_propagation(before.matrix, matrix, 0.5, 0.5)
    assert np.allclose(after.matrix @ after.matrix.T, expected @ expected.T, atol=1e-3)
    assert after.ids.to_list() == before.ids.to_list()
    assert after.lineage["builder"] == "netmf"
    assert after.lineage["propagation"] == {"order": 10, "mu": 0.5, "theta": 0.5}


def test_vectors_of_some_nodes_propagate_among_them() -> None:
    graph, matrix = small_graph()
    rng = np.random.default_rng(3)
    vectors = VectorSet([2, 0, 3, 1], rng.standard_normal((4, 2)).astype(np.float32))
    order = [2, 0, 3, 1]
    expected = dense_propagation(vectors.matrix, matrix[order][:, order], 0.2, 0.5)
    found = Propagation().apply(vectors, graph).matrix
    assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-3)
    with pytest.raises(UnknownIds):
        Propagation().apply(VectorSet([0, 99], np.eye(2, dtype=np.float32)), graph)


def test_a_graph_without_edges_leaves_directions() -> None:
    graph = ItemGraph.from_scipy(np.zeros((3, 3)), directed=False)
    vectors = VectorSet([0, 1, 2], np.array([[1, 0], [0, 0], [0, 2]], dtype=np.float32))
    found = Propagation().apply(vectors, graph).matrix
    assert np.allclose(np.abs(np.round(found @ found.T, 3)), np.diag([1, 0, 1]))
    assert found.any(axis=1).all()


def test_directed_edges_are_taken_both_ways() -> None:
    ends = np.array([(0, 1), (1, 0), (1, 2), (2, 3), (3, 3), (3, 4), (4, 0), (1, 3)])
    weights = np.arange(1.0, 9)
    one, other = (
        ProNE(dim=4).fit(ItemGraph.from_edges(ends[:, 0], ends[:, 1], weights, directed=directed))
        for directed in (True, False)
    )
    found, expected = one.item_vectors_.matrix, other.item_vectors_.matrix
    assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-4)


def test_sequences_are_a_graph() -> None:
    train = Sequences.from_lists([["a", "b", "c"], ["b", "c", "a"], ["d", "b"], ["lone"]])
    calls: list[tuple[int, int, str]] = []
    kind = load_builder("prone")
    found = kind(dim=2).fit(train, progress=lambda *call: calls.append(call)).item_vectors_
    again = kind(dim=2).fit(ItemGraph.from_sequences(train, directed=False)).item_vectors_
    assert found.ids.to_list() == ["a", "b", "c", "d"]
    assert np.array_equal(found.matrix, again.matrix)
    assert found.lineage["builder"] == "prone"
    assert calls == [(1, 2, "factorised"), (2, 2, "propagated")]


def test_the_unit_of_weights_is_of_no_account() -> None:
    graph, _ = small_graph()
    heavy = ItemGraph.from_scipy(graph.to_scipy() * 1e30, directed=False)
    one, other = (ProNE(dim=4).fit(of).item_vectors_.matrix for of in (graph, heavy))
    assert np.allclose(one @ one.T, other @ other.T, atol=1e-3)  # signs are arbitrary


def test_same_seed_same_vectors() -> None:
    graph, _ = communities()
    one, again = (ProNE(dim=8, seed=4).fit(graph).item_vectors_ for _ in range(2))
    assert np.array_equal(one.matrix, again.matrix)


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 0},
        {"dim": 15},
        {"smoothing": 0},
        {"smoothing": 1.1},
        {"negatives": 0},
        {"order": 1},
        {"mu": -0.1},
        {"mu": 2.1},
        {"theta": 0},
        {"theta": "0.5"},
        {"seed": -1},
        {"edge_window": 0},
        {"half_life": 0},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    graph, _ = small_graph()
    with pytest.raises(InvalidOption) as caught:
        ProNE(**{"dim": 2, **options}).fit(graph)
    assert caught.value.option in options


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = small_graph()
    with pytest.raises(InvalidOption, match="dim=14 or less"):
        ProNE().fit(graph)
    with pytest.raises(EmptyInput):
        ProNE(dim=1).fit(ItemGraph.from_scipy(np.eye(3), directed=False))
    monkeypatch.setitem(sys.modules, "sklearn.utils.extmath", None)
    with pytest.raises(MissingExtra, match=r"itemspace\[graph\]"):
        ProNE(dim=2).fit(graph)
