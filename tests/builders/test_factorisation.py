from typing import Any

import numpy as np
import pytest
from itemspace import Metric, Sequences
from itemspace.builders.counting import ItemKNN
from itemspace.builders.factorisation import CountFactorization, PMIFactorization, top_eigenpairs
from itemspace.builders.pairs import count_pairs
from itemspace.core.errors import EmptyInput, InvalidOption
from scipy.sparse import csr_array


def test_factors_restore_the_weights() -> None:
    """With every dimension, p = 1/2 and no negative eigenvalue, products are the weights."""
    rng = np.random.default_rng(3)
    train = Sequences.from_lists([rng.integers(12, size=6).tolist() for _ in range(80)])
    builder = CountFactorization(
        dim=11, window=None, distance="flat", exponent=0.5, normalisation=0,
        eigenvalue_weighting=0.5,
    ).fit(train)  # fmt: skip
    weights = np.sqrt(count_pairs(train, window=None).toarray())
    sizes, vectors = np.linalg.eigh(weights)
    best = (vectors * np.maximum(sizes, 0)) @ vectors.T
    found = builder.item_vectors_
    assert found.metric is Metric.INNER_PRODUCT
    assert np.allclose(found.matrix @ found.matrix.T, best, atol=1e-4)


BOTH = pytest.mark.parametrize("kind", [PMIFactorization, CountFactorization])


@BOTH
def test_vectors_of_one_world_are_near(kind: Any) -> None:
    rng = np.random.default_rng(9)
    train = Sequences.from_lists(
        [(rng.integers(30, size=6) + 30 * (at % 2)).tolist() for at in range(400)]
    )
    builder = kind(dim=8).fit(train)
    matrix = builder.item_vectors_.matrix
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    products = unit @ unit.T
    assert products[:30, :30].mean() > products[:30, 30:].mean() + 0.1
    again = kind(dim=8).fit(train).item_vectors_.matrix
    assert np.array_equal(matrix, again)


@BOTH
def test_items_without_pairs_get_no_vector(kind: Any) -> None:
    train = Sequences.from_lists([["a", "b"], ["b", "c"], ["lone"]])
    found = kind(dim=4).fit(train).item_vectors_
    assert found.ids.to_list() == ["a", "b", "c"]
    with pytest.raises(EmptyInput):
        kind().fit(Sequences.from_lists([["a"], ["b"], ["a", "a"]]))


@pytest.mark.parametrize("size", [60, 400])
def test_eigenpairs_are_those_of_another_library(size: int) -> None:
    """Exact where the matrix is small; else near in size, and as much of W is kept."""
    rng = np.random.default_rng(1)
    dense = rng.random((size, 30)) @ np.diag(np.geomspace(1, 0.01, 30)) @ rng.random((30, size))
    dense = dense + dense.T + 0.001 * np.diag(rng.standard_normal(size))
    sizes, vectors = top_eigenpairs(csr_array(dense), 20, 1)
    expected, best = np.linalg.eigh(dense)
    assert sizes == pytest.approx(expected[::-1][:20], rel=0.02)
    kept = np.linalg.norm(vectors.T @ dense)
    assert kept == pytest.approx(np.linalg.norm(best[:, ::-1][:, :20].T @ dense), rel=0.001)
    assert np.allclose(vectors.T @ vectors, np.eye(20), atol=1e-4)


def test_time_decay_leaves_out_what_is_old() -> None:
    items = Sequences.from_lists([["a", "b"], ["a", "c"]])
    day = 86_400.0
    train = Sequences(items.vocabulary, items.items, items.offsets, day * np.array([0, 0, 30, 30]))
    new = ItemKNN(half_life=day, recent=1).fit(train).similarities_.toarray()
    assert new[0, 2] == 1
    assert new[0, 1] == pytest.approx(2**-30)
    gone = CountFactorization(dim=2, half_life=day / 100).fit(train).item_vectors_
    assert gone.ids.to_list() == ["a", "c"]


@pytest.mark.parametrize(
    "builder",
    [
        PMIFactorization(dim=0),
        PMIFactorization(window=0),
        PMIFactorization(shift=0.5),
        PMIFactorization(smoothing=0),
        PMIFactorization(eigenvalue_weighting=-1),
        PMIFactorization(metric="euclidean"),  # type: ignore[arg-type]
        PMIFactorization(seed=-1),
        CountFactorization(exponent=0),
        CountFactorization(normalisation=-1),
        CountFactorization(distance="near"),  # type: ignore[arg-type]
        CountFactorization(half_life=-1),
        CountFactorization(half_life=9),  # these sequences have no times
    ],
)
def test_options_out_of_range(builder: Any) -> None:
    with pytest.raises(InvalidOption):
        builder.fit(Sequences.from_lists([["a", "b"]]))
