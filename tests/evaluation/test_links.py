from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Ids, VectorSet
from itemspace.core.errors import DimensionMismatch, EmptyInput, InvalidOption, InvalidVectors
from itemspace.evaluation import links as module
from itemspace.evaluation.links import (
    LinkSplit,
    auc,
    average_precision,
    hide_links,
    link_prediction,
)
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

RING = [(at, (at + 1) % 8) for at in range(8)]


def pairs_of(rows: Any) -> set[tuple[int, int]]:
    return {(int(one), int(other)) for one, other in rows}


def components(rows: Any, nodes: int) -> int:
    source, target = np.reshape(rows, (-1, 2)).T
    graph = coo_array((np.ones(len(source)), (source, target)), shape=(nodes, nodes))
    return int(connected_components(graph, directed=False)[0])


# -- measures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positives", "negatives", "area", "precision"),
    [
        ([2], [1], 1, 1),
        ([1], [2], 0, 1 / 2),
        ([1], [1], 1 / 2, 1 / 2),
        ([3, 1], [2], 1 / 2, (1 + 2 / 3) / 2),
        ([3, 2], [2, 1], 7 / 8, (1 + 2 / 3) / 2),
        ([np.inf], [-np.inf, 0], 1, 1),
        ([0.0, 0.0], [-0.0], 1 / 2, 2 / 3),
    ],
)
def test_measures_by_hand(
    positives: list[float], negatives: list[float], area: float, precision: float
) -> None:
    assert auc(positives, negatives) == area
    assert average_precision(positives, negatives) == pytest.approx(precision)


TIED = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=40)
ANY = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


@given(st.one_of(st.tuples(TIED, TIED), st.tuples(ANY, ANY)))
def test_measures_agree_with_another_library(drawn: tuple[list[float], list[float]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    positives, negatives = drawn
    truth = [1] * len(positives) + [0] * len(negatives)
    scores = positives + negatives
    assert auc(*drawn) == pytest.approx(metrics.roc_auc_score(truth, scores))
    expected = metrics.average_precision_score(truth, scores)
    assert average_precision(*drawn) == pytest.approx(expected)


@given(TIED, TIED)
def test_the_area_counts_pairs_that_are_in_order(
    positives: list[float], negatives: list[float]
) -> None:
    won = sum((one > other) + 0.5 * (one == other) for one in positives for other in negatives)
    assert auc(positives, negatives) == won / (len(positives) * len(negatives))
    assert auc(positives, negatives) + auc(negatives, positives) == pytest.approx(1)


def test_scores_that_cannot_be_compared() -> None:
    for measure in (auc, average_precision):
        for nothing in (([], [1.0]), ([1.0], [])):
            with pytest.raises(EmptyInput, match="There are no"):
                measure(*nothing)
        for bad in ([np.nan], [[1.0]], ["a"], 1.0):
            with pytest.raises(InvalidOption, match="positives"):
                measure(bad, [1.0])


# -- hiding links ----------------------------------------------------------------------------


def test_links_are_hidden_once_whatever_their_direction() -> None:
    given_links = [(1, 0), (0, 1), (0, 1), (2, 1), (3, 3), (3, 2)]
    split = hide_links(given_links, 5)
    assert pairs_of(split.train) | pairs_of(split.positives) == {(0, 1), (1, 2), (2, 3)}
    assert (len(split.train), len(split.positives), len(split.negatives)) == (2, 1, 1)
    directed = hide_links(given_links, 5, directed=True)
    everything = pairs_of(directed.train) | pairs_of(directed.positives)
    assert everything == {(1, 0), (0, 1), (2, 1), (3, 2)}
    assert all(part.dtype == np.int64 for part in vars(directed).values())


@pytest.mark.parametrize("directed", [False, True])
def test_the_only_unlinked_pairs_are_found(directed: bool) -> None:
    every = permutations(range(6), 2) if directed else combinations(range(6), 2)
    missing = {(0, 3), (2, 4), (1, 5)}
    linked = [pair for pair in every if pair not in missing]
    split = hide_links(linked, 6, share=3 / len(linked), directed=directed)
    assert pairs_of(split.negatives) == missing


def test_a_bridge_is_never_hidden() -> None:
    triangles = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3)]
    hidden = [
        pairs_of(hide_links(triangles, 6, share=2 / 7, seed=seed, keep_connected=True).positives)
        for seed in range(50)
    ]
    assert all((2, 3) not in pairs and len(pairs) == 2 for pairs in hidden)
    assert set.union(*hidden) == set(triangles) - {(2, 3)}


def test_negatives_are_drawn_uniformly() -> None:
    counts = np.zeros((8, 8))
    for seed in range(3000):
        source, target = hide_links(RING, 8, seed=seed).negatives.T
        counts[source, target] += 1
    unlinked = [pair for pair in combinations(range(8), 2) if pair not in {*RING, (0, 7)}]
    found = np.array([counts[pair] for pair in unlinked])
    assert found.sum() == counts.sum() == 9000
    assert np.abs(found - 450).max() < 6 * np.sqrt(450 * 0.85)


GRAPHS = st.integers(2, 12).flatmap(
    lambda nodes: st.tuples(
        st.just(nodes),
        st.lists(st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)), max_size=60),
    )
)


@given(GRAPHS, st.floats(0.05, 0.95), st.integers(0, 9), st.booleans(), st.booleans(), st.randoms())
def test_the_laws_of_hiding(
    graph: tuple[int, list[tuple[int, int]]],
    share: float,
    seed: int,
    directed: bool,
    keep_connected: bool,
    random: Any,
) -> None:
    nodes, given_links = graph
    options: dict[str, Any] = {
        "share": share,
        "seed": seed,
        "directed": directed,
        "keep_connected": keep_connected,
    }
    linked = {
        pair if directed else (min(pair), max(pair)) for pair in given_links if pair[0] != pair[1]
    }
    hidden = min(round(share * len(linked)), len(linked) - 1)
    loose = len(linked)
    if keep_connected:
        loose -= nodes - components(sorted(linked), nodes)
    possible = nodes * (nodes - 1) // (1 if directed else 2)
    if hidden < 1 or not loose:
        with pytest.raises(EmptyInput, match="Nothing to hide"):
            hide_links(given_links, nodes, **options)
        return
    if hidden > min(loose, possible - len(linked)):
        with pytest.raises(InvalidOption, match="smaller share"):
            hide_links(given_links, nodes, **options)
        return
    split = hide_links(given_links, nodes, **options)
    train, positives, negatives = map(pairs_of, (split.train, split.positives, split.negatives))
    assert len(split.positives) == len(split.negatives) == len(positives) == len(negatives)
    assert len(positives) == hidden
    assert len(split.train) == len(train)
    assert train | positives == linked
    assert not train & positives
    assert not negatives & linked
    assert all(0 <= one < nodes and 0 <= other < nodes and one != other for one, other in negatives)
    assert directed or all(one < other for one, other in train | positives | negatives)
    if keep_connected:
        assert components(split.train, nodes) == components(sorted(linked), nodes)
    # The set of links decides: neither their order nor their repetition does.
    again = hide_links(random.sample(given_links, len(given_links)) * 2, nodes, **options)
    for one, other in zip(vars(split).values(), vars(again).values(), strict=True):
        assert np.array_equal(one, other)


def test_another_seed_hides_others() -> None:
    splits = [hide_links(RING, 8, seed=seed) for seed in range(8)]
    assert len({frozenset(pairs_of(split.positives)) for split in splits}) > 1
    assert len({frozenset(pairs_of(split.negatives)) for split in splits}) > 1


def test_a_large_graph_keeps_its_numbers() -> None:
    nodes = 3_000_000
    far = [(at, nodes - 1 - at) for at in range(1000)]
    for directed in (False, True):
        split = hide_links(far, nodes, directed=directed)
        assert pairs_of(split.train) | pairs_of(split.positives) == set(far)
        assert split.negatives.max() < nodes


def test_links_that_cannot_be_hidden() -> None:
    for share in (0, 1, -0.5, float("nan")):
        with pytest.raises(InvalidOption, match="share"):
            hide_links(RING, 8, share=share)
    for nodes in (0, -1, 8.0, True):
        with pytest.raises(InvalidOption, match="nodes"):
            hide_links(RING, nodes)  # type: ignore[arg-type]
    for rows in ([(0, 8)], [(-1, 2)], np.array([(0, 2**64 - 1)], dtype=np.uint64)):
        with pytest.raises(InvalidOption, match=r"rows in \[0, 8\)"):
            hide_links(rows, 8)
    for rows in ([0, 1], [(0, 1, 2)], [(0.0, 1.0)], [("a", "b")]):
        with pytest.raises(InvalidOption, match="whole numbers"):
            hide_links(rows, 8)
    with pytest.raises(InvalidVectors, match="no array"):
        hide_links([(0, 1), (2,)], 8)
    for nothing in ([], [(3, 3)], [(0, 1)], np.empty((0, 2), dtype=np.int64)):
        with pytest.raises(EmptyInput, match="Nothing to hide"):
            hide_links(nothing, 8)
    with pytest.raises(EmptyInput, match="0 of which may go"):
        hide_links(RING[:-1], 8, keep_connected=True)
    with pytest.raises(InvalidOption, match="1 may go"):
        hide_links(RING, 8, keep_connected=True)
    with pytest.raises(InvalidOption, match="0 pairs are not linked"):
        hide_links(list(combinations(range(8), 2)), 8)


# -- scoring pairs ---------------------------------------------------------------------------

SQUARE = LinkSplit(np.array([[0, 1]]), np.array([[0, 2], [1, 3]]), np.array([[0, 3], [1, 2]]))
#: 0 and 2 point one way, 1 and 3 the other; 3 is long.
CROSS = np.array([[1, 0], [0, 1], [1, 0], [0.5, 9]])


def test_pairs_by_hand() -> None:
    found = link_prediction(CROSS, SQUARE)
    assert found.auc.value == found.average_precision.value == 1
    assert (found.auc.low, found.auc.high) == (1, 1)
    swapped = LinkSplit(SQUARE.train, SQUARE.negatives, SQUARE.positives)
    assert link_prediction(CROSS, swapped).auc.value == 0
    assert link_prediction(CROSS, swapped).average_precision.value == pytest.approx(5 / 12)


def test_outputs_are_the_other_side() -> None:
    turned = CROSS[[1, 0, 3, 2]]
    assert link_prediction(CROSS, SQUARE, outputs=turned).auc.value == 0
    # Only the sources' vectors meet the targets' outputs.
    source = np.array([[1, 0], [0, 1], [np.pi, 7], [7, np.pi]])
    outputs = np.array([[np.pi, 7], [7, np.pi], [1, 0], [0, 1]])
    assert link_prediction(source, SQUARE, outputs=outputs).auc.value == 1


def test_the_cosine_forgets_lengths() -> None:
    lengths = np.array([[1], [1], [0.01], [1]])
    split = LinkSplit(SQUARE.train, np.array([[0, 2]]), np.array([[0, 3]]))
    assert link_prediction(CROSS * lengths, split).auc.value == 0
    assert link_prediction(CROSS * lengths, split, operator="cosine").auc.value == 1
    nothing = np.zeros((4, 2))
    assert link_prediction(nothing, SQUARE, operator="cosine").auc.value == 0.5


def test_a_vector_set_by_the_order_of_its_rows(tmp_path: Path) -> None:
    vectors = VectorSet(Ids(["d", "a", "c", "b"]), CROSS)
    vectors.save(tmp_path / "vectors")
    opened = VectorSet.open(tmp_path / "vectors")
    for one in (vectors, opened):
        assert link_prediction(one, SQUARE, outputs=one) == link_prediction(CROSS, SQUARE)


def blocks(seed: int = 0) -> tuple[list[tuple[int, int]], np.ndarray[Any, Any]]:
    """A planted partition: 200 nodes in four groups, linked within at .4 and between at .005."""
    rng = np.random.default_rng(seed)
    groups = np.arange(200) % 4
    chance = np.where(groups[:, None] == groups, 0.4, 0.005)
    source, target = np.nonzero(np.triu(rng.random((200, 200)) < chance, 1))
    return list(zip(source.tolist(), target.tolist(), strict=True)), groups


def test_a_planted_partition_is_seen_by_good_vectors_only() -> None:
    linked, groups = blocks()
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((200, 16))
    for options in ({}, {"share": 0.5, "keep_connected": True}):
        split = hide_links(linked, 200, **options)  # type: ignore[arg-type]
        best = link_prediction(np.eye(4)[groups] + 0.01 * noise[:, :4], split)
        assert best.auc.low > 0.87
        assert best.average_precision.low > 0.8
        chance = link_prediction(noise, split)
        assert abs(chance.auc.value - 0.5) < 0.06
        assert abs(chance.average_precision.value - 0.5) < 0.06
        # Vectors that were learned from the links that stay find those that do not.
        source, target = split.train.T
        graph = np.zeros((200, 200))
        graph[source, target] = graph[target, source] = 1
        values, learned = np.linalg.eigh(graph)
        assert link_prediction(learned[:, -4:] * values[-4:], split).auc.low > 0.87


def test_intervals_are_those_of_the_seed_and_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    linked, groups = blocks()
    split = hide_links(linked, 200)
    vectors = np.eye(4)[groups] + np.random.default_rng(3).standard_normal((200, 4))
    found = link_prediction(vectors, split)
    assert found == link_prediction(vectors, split, seed=1)
    assert found.auc != link_prediction(vectors, split, seed=2).auc
    for estimate in (found.auc, found.average_precision):
        assert 0 < estimate.low < estimate.value < estimate.high < 1
    # The interval's width is the standard deviation of the area (Hanley & McNeil 1982), times 4.
    area, count = found.auc.value, len(split.positives)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (first + second - 2 * area**2) * (count - 1) + area * (1 - area)
    assert found.auc.high - found.auc.low == pytest.approx(3.92 * np.sqrt(spread) / count, rel=0.25)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert link_prediction(vectors, split) == found


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 5))
def test_few_pairs_have_an_interval(positives: int, negatives: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    split = LinkSplit(
        np.empty((0, 2)), rng.integers(9, size=(positives, 2)), rng.integers(9, size=(negatives, 2))
    )
    found = link_prediction(rng.integers(2, size=(9, 3)), split)
    assert 0 <= found.auc.low <= found.auc.high <= 1
    assert 0 < found.average_precision.low <= found.average_precision.high <= 1


def test_bad_vectors_and_splits() -> None:
    with pytest.raises(InvalidVectors, match="vectors of the split's 4 nodes; received 3"):
        link_prediction(CROSS[:3], SQUARE)
    with pytest.raises(InvalidVectors, match="outputs of the split's 4 nodes"):
        link_prediction(CROSS, SQUARE, outputs=CROSS[:3])
    with pytest.raises(DimensionMismatch, match="2 dimensions") as caught:
        link_prediction(CROSS, SQUARE, outputs=np.ones((4, 3)))
    assert (caught.value.expected, caught.value.received) == (2, 3)
    with pytest.raises(InvalidVectors, match="NaN"):
        link_prediction(np.full((4, 2), np.nan), SQUARE)
    with pytest.raises(InvalidOption, match="operator"):
        link_prediction(CROSS, SQUARE, operator="hadamard")  # type: ignore[arg-type]
    some = np.array([[0, 1]])
    for empty in ((some, some[:0], some), (some, some, some[:0])):
        with pytest.raises(EmptyInput, match="The split has no"):
            LinkSplit(*empty)
    with pytest.raises(InvalidOption, match="negatives"):
        LinkSplit(some, some, -some)
    with pytest.raises(InvalidOption, match="train"):
        LinkSplit(some[0], some, some)
