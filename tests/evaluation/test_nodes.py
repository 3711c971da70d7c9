import json
import os
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from itemspace import Ids, VectorSet
from itemspace.core.errors import EmptyInput, InvalidOption, InvalidVectors, MissingExtra
from itemspace.evaluation.nodes import f1_scores, node_classification, top_labels
from scipy.sparse import coo_array, csc_matrix, csr_array

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

Array = np.ndarray[Any, Any]


def planted(nodes: int = 240, classes: int = 4, seed: int = 0) -> tuple[Array, Array]:
    """Vectors near the mean of their labels' directions; every third node has two labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((nodes, classes), dtype=np.bool_)
    labels[np.arange(nodes), np.arange(nodes) % classes] = True
    labels[np.arange(0, nodes, 3), rng.integers(classes, size=len(range(0, nodes, 3)))] = True
    vectors = 4 * labels @ np.eye(classes, 8) + 0.1 * rng.standard_normal((nodes, 8))
    return vectors, labels


# -- prediction and F1 -----------------------------------------------------------------------


def test_as_many_labels_as_a_node_has() -> None:
    scores = np.array([[3.0, 1, 2], [3, 1, 2], [3, 1, 2], [0, 5, 5], [-np.inf, 0, -np.inf]])
    found = top_labels(scores, np.array([0, 1, 2, 1, 2]))
    assert found.astype(int).tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 1, 0]]


def test_f1_by_hand() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.bool_)
    predicted = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=np.bool_)
    # Class 0: 2 hits, named 2 + 3 times; class 1: 1 hit, 2 + 1 times; class 2: nobody has it.
    micro, macro = f1_scores(truth, predicted)
    assert micro == pytest.approx(2 * 3 / (4 + 4))
    assert macro == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)


@given(
    st.tuples(st.integers(1, 12), st.integers(2, 6)).flatmap(
        lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
    )
)
def test_f1_agrees_with_another_library(drawn: tuple[Array, Array]) -> None:
    from sklearn.metrics import f1_score

    for found, average in zip(f1_scores(*drawn), ("micro", "macro"), strict=True):
        expected = f1_score(*(one.astype(int) for one in drawn), average=average, zero_division=0)
        assert found == pytest.approx(expected)


# -- the protocol ----------------------------------------------------------------------------


def test_good_vectors_score_high_and_random_ones_near_chance() -> None:
    vectors, labels = planted()
    found = node_classification(vectors, labels, shares=(0.1, 0.5), shuffles=3)
    assert found.micro.shape == found.macro.shape == (2, 3)
    assert found.micro[0].min() > 0.8
    assert found.micro[1].min() > 0.97
    assert found.macro[1].min() > 0.97
    noise = np.random.default_rng(1).standard_normal(vectors.shape)
    chance = node_classification(noise, labels, shares=(0.5,), shuffles=5)
    density = labels.mean()
    assert abs(chance.micro.mean() - density) < 0.1
    assert abs(chance.macro.mean() - density) < 0.1


def test_agrees_with_the_published_scoring() -> None:
    """DeepWalk's scoring.py, on today's scikit-learn."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.multiclass import OneVsRestClassifier

    rng = np.random.default_rng(5)
    vectors, labels = planted()
    vectors = (vectors + rng.standard_normal(vectors.shape) * 3).astype(np.float32)
    found = node_classification(vectors, labels, shares=(0.3, 0.7), shuffles=2, seed=4)
    for shuffle in range(2):
        order = np.random.default_rng([4, shuffle]).permutation(len(labels))
        for at, size in enumerate((72, 168)):
            known, asked = order[:size], order[size:]
            model = OneVsRestClassifier(LogisticRegression(solver="liblinear", C=1.0))
            model.fit(vectors[known].astype(float), labels[known].astype(int))
            predicted = np.zeros((len(asked), labels.shape[1]), dtype=int)
            chances = model.predict_proba(vectors[asked].astype(float))
            for row, (line, truth) in enumerate(zip(chances, labels[asked], strict=True)):
                predicted[row, line.argsort()[-truth.sum() :]] = 1
            truth = labels[asked].astype(int)
            for figures, average in ((found.micro, "micro"), (found.macro, "macro")):
                expected = f1_score(truth, predicted, average=average, zero_division=0)
                assert figures[at, shuffle] == pytest.approx(expected)
                assert 0.3 < expected < 0.95


def test_nodes_without_labels_are_left_out() -> None:
    vectors, labels = planted()
    mixed = np.insert(vectors, np.arange(0, 240, 2), 1e6, axis=0)
    some = np.insert(labels, np.arange(0, 240, 2), False, axis=0)
    options: dict[str, Any] = {"shares": (0.3,), "shuffles": 2}
    found = node_classification(mixed, some, **options)
    assert found.to_dict() == node_classification(vectors, labels, **options).to_dict()
    assert (found.nodes, found.classes) == (240, 4)


def test_a_class_that_was_never_seen_is_named_last() -> None:
    # The node that the shuffle puts at the end has label 2, alone; label 3 is nobody's.
    vectors, labels = planted(41, 2)
    labels = np.pad(labels, ((0, 0), (0, 2)))
    order = np.random.default_rng([1, 0]).permutation(41)
    labels[order[-1]] = [False, False, True, False]
    options: dict[str, Any] = {"shares": (0.5,), "shuffles": 1}
    found = node_classification(vectors, labels, **options)
    # One label of the test part is missed, and so is its class; the others are found.
    total = labels[order[20:]].sum()
    assert found.micro[0, 0] == pytest.approx((total - 1) / total)
    assert 0.45 < found.macro[0, 0] < 0.5
    # A node that has all labels is given all.
    labels[order[-1]] = True
    assert (node_classification(vectors, labels, **options).macro == 1).all()


def test_classes_that_all_or_none_have() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 3))
    labels = np.zeros((30, 3), dtype=np.bool_)
    labels[:, 1] = True
    found = node_classification(vectors, labels, shares=(0.5,), shuffles=2)
    assert (found.micro == 1).all()
    assert found.macro == pytest.approx(1 / 3)


def test_the_seed_decides_and_the_threads_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = planted()
    vectors += np.random.default_rng(2).standard_normal(vectors.shape) * 3
    options: dict[str, Any] = {"shares": (0.2, 0.6), "shuffles": 3}
    found = node_classification(vectors, labels, **options).to_dict()
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert node_classification(vectors, labels, **options).to_dict() == found
    assert node_classification(vectors, labels, seed=2, **options).to_dict() != found
    # More shuffles begin with the same ones; a share does not depend on the others.
    more = node_classification(vectors, labels, shares=(0.6,), shuffles=4)
    assert more.micro[0, :3].tolist() == found["micro_f1"][1]


def test_labels_and_vectors_of_any_kind() -> None:
    vectors, labels = planted(60)
    options: dict[str, Any] = {"shares": (0.5,), "shuffles": 1}
    expected = node_classification(vectors, labels, **options).to_dict()
    for same in (
        csr_array(labels),
        coo_array(labels),
        csc_matrix(labels.astype(np.float64)),
        labels.astype(int),
        labels.tolist(),
    ):
        assert node_classification(vectors, same, **options).to_dict() == expected
    named = VectorSet(Ids(range(60, 0, -1)), vectors)
    assert node_classification(named, labels, **options).to_dict() == expected


def test_normalised_vectors_forget_their_lengths() -> None:
    vectors, labels = planted(60)
    lengths = np.random.default_rng(3).uniform(0.01, 100, size=(60, 1))
    options: dict[str, Any] = {"shares": (0.5,), "shuffles": 1, "normalise": True}
    found = node_classification(vectors * lengths, labels, **options)
    assert found.micro == pytest.approx(node_classification(vectors, labels, **options).micro)


def test_table_and_json() -> None:
    vectors, labels = planted(60)
    found = node_classification(vectors, labels, shares=(0.25, 0.5), shuffles=3)
    columns, rows = found.table()
    assert columns == ["labelled", "micro-F1", "macro-F1", "micro std", "macro std"]
    assert [row[0] for row in rows] == ["25%", "50%"]
    assert rows[1][1:3] == [f"{found.micro[1].mean():.4f}", f"{found.macro[1].mean():.4f}"]
    assert rows[1][3:] == [f"{found.micro[1].std():.4f}", f"{found.macro[1].std():.4f}"]
    facts = json.loads(json.dumps(found.to_dict()))
    assert facts["shares"] == [0.25, 0.5]
    assert np.array_equal(facts["micro_f1"], found.micro)
    assert np.array_equal(facts["macro_f1"], found.macro)


# -- bad input -------------------------------------------------------------------------------


def test_bad_options() -> None:
    vectors, labels = planted(40)
    for shares in ((), (0,), (1,), (0.5, 1.5), (-0.1,), (float("nan"),), (0.01,)):
        with pytest.raises(InvalidOption, match="shares"):
            node_classification(vectors, labels, shares=shares)
    for shuffles in (0, -1, 1.5, True):
        with pytest.raises(InvalidOption, match="shuffles"):
            node_classification(vectors, labels, shuffles=shuffles)  # type: ignore[arg-type]


def test_bad_vectors_and_labels() -> None:
    vectors, labels = planted(40)
    with pytest.raises(InvalidVectors, match="received 39 for 40"):
        node_classification(vectors, labels[1:])
    with pytest.raises(InvalidVectors, match="two dimensions"):
        node_classification(vectors[0], labels)
    with pytest.raises(InvalidVectors, match="NaN"):
        node_classification(np.full((40, 2), np.nan), labels)
    bad: tuple[Any, ...] = (
        np.arange(40),
        np.arange(40)[:, None],
        np.full((40, 2), np.nan),
        np.full((40, 2), "a"),
        csr_array(np.full((40, 2), 2)),
    )
    for one in bad:
        with pytest.raises(InvalidOption, match="labels"):
            node_classification(vectors, one)
    with pytest.raises(InvalidVectors, match="no array"):
        node_classification(vectors, [[True], [True, False]])
    nothing = np.zeros_like(labels)
    with pytest.raises(EmptyInput, match="0 nodes have labels"):
        node_classification(vectors, nothing)
    nothing[3, 1] = True
    with pytest.raises(EmptyInput, match="1 nodes have labels"):
        node_classification(vectors, nothing)


def test_scikit_learn_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingExtra, match="pip install") as caught:
        node_classification(*planted(40))
    assert caught.value.extra == "evaluation"
