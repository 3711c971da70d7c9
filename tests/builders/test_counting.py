from typing import Any

import numpy as np
import pytest
from itemspace import Sequences
from itemspace.builders.counting import ItemKNN, Popularity
from itemspace.core.errors import InvalidOption


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
        ("log", 0.0, [0, np.log(3), np.log(2)]),
        ("power", 0.0, [0, 2**0.5 / 9**0.3, 1 / 6**0.3]),
        ("count", 2.0, [0, 2 * 2 / 4, 1 / 3]),
        ("power", 2.0, [0, 2**0.5 / 9**0.3 * 2 / 4, 1 / 6**0.3 / 3]),
    ],
)
def test_weights_of_item_knn_by_hand(
    weighting: Any, shrinkage: float, expected: list[float]
) -> None:
    train = Sequences.from_lists([["a", "b"], ["a", "b", "c"], ["a"]])
    found = ItemKNN(
        weighting=weighting, shrinkage=shrinkage, exponent=0.5, normalisation=0.3, recent=1
    ).fit(train)
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


@pytest.mark.parametrize(
    "builder",
    [
        ItemKNN(window=0),
        ItemKNN(direction="back"),  # type: ignore[arg-type]
        ItemKNN(weighting="pmi"),  # type: ignore[arg-type]
        ItemKNN(shrinkage=-1),
        ItemKNN(recent=0),
        ItemKNN(decay=2),
        ItemKNN(exponent=0),
        ItemKNN(normalisation=-0.1),
        ItemKNN(distance="far"),  # type: ignore[arg-type]
        ItemKNN(half_life=0),
        ItemKNN(half_life=9),  # these sequences have no times
    ],
)
def test_options_out_of_range(builder: Any) -> None:
    with pytest.raises(InvalidOption):
        builder.fit(Sequences.from_lists([["a", "b"]]))
