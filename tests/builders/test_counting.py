from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Metric, Sequences
from itemspace.builders import counting
from itemspace.builders.counting import ItemKNN, PMIFactorization, Popularity, count_pairs
from itemspace.core.errors import EmptyInput, InvalidOption

SOME = st.lists(st.lists(st.integers(0, 6), min_size=0, max_size=9), min_size=1, max_size=12)


@given(SOME, st.sampled_from([None, 1, 2, 5]), st.sampled_from(["both", "forward"]))
def test_pairs_are_counted_as_by_hand(
    lists: list[list[int]], window: int | None, direction: Any
) -> None:
    sequences = Sequences.from_lists(lists)
    if not len(sequences.vocabulary):
        return
    expected = np.zeros((len(sequences.vocabulary),) * 2, dtype=np.int64)
    for codes in sequences:
        for at, one in enumerate(codes):
            for other in codes[at + 1 : len(codes) if window is None else at + 1 + window]:
                if one != other:
                    expected[one, other] += 1
                    if direction == "both":
                        expected[other, one] += 1
    found = count_pairs(sequences, window=window, direction=direction)
    assert np.array_equal(found.toarray(), expected)


def test_counting_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sequences = Sequences.from_lists([rng.integers(9, size=7).tolist() for _ in range(50)])
    whole = count_pairs(sequences, window=3).toarray()
    monkeypatch.setattr(counting, "_CHUNK", 64)
    assert np.array_equal(count_pairs(sequences, window=3).toarray(), whole)


def test_a_sequence_longer_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sequences = Sequences.from_lists([rng.integers(9, size=200).tolist(), [1, 2]])
    whole = count_pairs(sequences, window=None).toarray()
    monkeypatch.setattr(counting, "_CHUNK", 64)
    assert np.array_equal(count_pairs(sequences, window=None).toarray(), whole)


def test_popularity() -> None:
    train = Sequences.from_lists([["a", "b", "b"], ["c", "b", "a"]])
    builder = Popularity().fit(train)
    assert not Popularity.supports_vectors
    assert builder.scores(train).tolist() == [[2, 3, 1], [2, 3, 1]]


@pytest.mark.parametrize(
    ("weighting", "shrinkage", "expected"),
    [
        ("count", 0.0, [0, 2, 1]),
        ("cosine", 0.0, [0, 2 / np.sqrt(3 * 3), 1 / np.sqrt(3 * 2)]),
        ("jaccard", 0.0, [0, 2 / 4, 1 / 4]),
        ("count", 2.0, [0, 2 * 2 / 4, 1 / 3]),
    ],
)
def test_weights_of_item_knn_by_hand(
    weighting: Any, shrinkage: float, expected: list[float]
) -> None:
    train = Sequences.from_lists([["a", "b"], ["a", "b", "c"], ["a"]])
    found = ItemKNN(weighting=weighting, shrinkage=shrinkage, recent=1).fit(train)
    histories = Sequences.from_lists([["c", "b", "a"]])
    assert found.scores(histories)[0].tolist() == pytest.approx(expected)


def test_the_newest_item_weighs_most() -> None:
    train = Sequences.from_lists([["a", "x"], ["b", "y"]])
    found = (
        ItemKNN(recent=2, decay=0.5)
        .fit(train)
        .scores(Sequences(train.vocabulary, np.array([0, 1], dtype=np.int32), np.array([0, 2])))
    )
    assert found[0].tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3])


def test_factors_restore_the_weights() -> None:
    """With every dimension, p = 1/2 and no negative eigenvalue, products are the weights."""
    rng = np.random.default_rng(3)
    train = Sequences.from_lists([rng.integers(12, size=6).tolist() for _ in range(80)])
    builder = PMIFactorization(
        dim=11, window=None, weighting="log", eigenvalue_weighting=0.5, metric="inner_product"
    ).fit(train)
    weights = np.log1p(count_pairs(train, window=None).toarray())
    sizes, vectors = np.linalg.eigh(weights)
    best = (vectors * np.maximum(sizes, 0)) @ vectors.T
    found = builder.item_vectors_
    assert found.metric is Metric.INNER_PRODUCT
    assert np.allclose(found.matrix @ found.matrix.T, best, atol=1e-4)


@pytest.mark.parametrize("weighting", ["ppmi", "log", "sqrt"])
def test_vectors_of_one_world_are_near(weighting: Any) -> None:
    rng = np.random.default_rng(9)
    train = Sequences.from_lists(
        [(rng.integers(30, size=6) + 30 * (at % 2)).tolist() for at in range(400)]
    )
    builder = PMIFactorization(dim=8, weighting=weighting).fit(train)
    matrix = builder.item_vectors_.matrix
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    products = unit @ unit.T
    assert products[:30, :30].mean() > products[:30, 30:].mean() + 0.1
    again = PMIFactorization(dim=8, weighting=weighting).fit(train).item_vectors_.matrix
    assert np.array_equal(matrix, again)


def test_items_without_pairs_get_no_vector() -> None:
    train = Sequences.from_lists([["a", "b"], ["lone"]])
    found = PMIFactorization(dim=4, weighting="log").fit(train).item_vectors_
    assert found.ids.to_list() == ["a", "b"]
    with pytest.raises(EmptyInput):
        PMIFactorization().fit(Sequences.from_lists([["a"], ["b"], ["a", "a"]]))


@pytest.mark.parametrize(
    "builder",
    [
        ItemKNN(window=0),
        ItemKNN(direction="back"),  # type: ignore[arg-type]
        ItemKNN(weighting="pmi"),  # type: ignore[arg-type]
        ItemKNN(shrinkage=-1),
        ItemKNN(recent=0),
        ItemKNN(decay=2),
        PMIFactorization(dim=0),
        PMIFactorization(window=0),
        PMIFactorization(shift=0.5),
        PMIFactorization(smoothing=0),
        PMIFactorization(eigenvalue_weighting=-1),
        PMIFactorization(metric="euclidean"),  # type: ignore[arg-type]
        PMIFactorization(weighting="cosine"),  # type: ignore[arg-type]
        PMIFactorization(seed=-1),
    ],
)
def test_options_out_of_range(builder: Any) -> None:
    with pytest.raises(InvalidOption):
        builder.fit(Sequences.from_lists([["a", "b"]]))
