import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Ids, Metric, Sequences, VectorSet
from itemspace.builders.counting import ItemKNN, Popularity
from itemspace.builders.factorisation import PMIFactorization
from itemspace.core.errors import EmptyInput, InvalidOption
from itemspace.core.histories import Recent
from itemspace.evaluation import (
    compare,
    evaluate,
    leave_last_out,
    measures,
    monitor,
    next_item,
)
from itemspace.evaluation.measures import UNRANKED, Estimate

OFFSETS = np.array([0, 1, 3, 4])
RANKS = np.array([3, 1, 5, UNRANKED])


class Fixed:
    """Scores that are given, one line for every case."""

    def __init__(self, *lines: list[float]) -> None:
        self.lines = np.array(lines, dtype=np.float32)

    def scores(self, histories: Sequences) -> Any:
        return self.lines[: len(histories)].copy()


def test_measures_by_hand() -> None:
    assert measures.hit_rate(RANKS, OFFSETS, 3).tolist() == [1, 1, 0]
    assert measures.recall(RANKS, OFFSETS, 3).tolist() == [1, 0.5, 0]
    assert measures.recall(RANKS, OFFSETS, 5).tolist() == [1, 1, 0]
    assert measures.reciprocal_rank(RANKS, OFFSETS).tolist() == pytest.approx([1 / 3, 1, 0])
    ideal = 1 + 1 / np.log2(3)
    expected = [1 / np.log2(4), (1 + 1 / np.log2(6)) / ideal, 0]
    assert measures.ndcg(RANKS, OFFSETS, 5).tolist() == pytest.approx(expected)
    assert measures.ndcg(RANKS, OFFSETS, 1).tolist() == [0, 1, 0]


def test_a_case_whose_target_is_unknown_is_a_miss() -> None:
    """Wherever it stands, and whatever stands beside it."""
    train = Sequences.from_lists([["a", "b", "c"]])
    scorer = Popularity().fit(train)
    for targets, expected in (
        (["b", "new"], [1, 0]),
        (["new", "b"], [0, 1]),
        (["new", "new"], [0, 0]),
        (["b", "new", "c"], [1, 0, 1]),
    ):
        found = evaluate(scorer, next_item(train, [["a"]] * len(targets), targets), ks=(3,))
        for measure in ("hr", "recall"):
            assert found.per_case(measure, 3).tolist() == expected
        for measure in ("ndcg", "mrr"):
            assert (found.per_case(measure, 3) > 0).tolist() == [bool(hit) for hit in expected]
        assert found.estimate("recall", 3).value == np.mean(expected)


def test_ndcg_agrees_with_another_library() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(0)
    for k in (1, 5, 20):
        scores = rng.permutation(20).astype(float)
        relevant = rng.random(20) < 0.3
        relevant[0] = True
        ranks = (1 + np.argsort(np.argsort(-scores)))[relevant].astype(np.int64)
        ours = measures.ndcg(ranks, np.array([0, len(ranks)]), k)[0]
        assert ours == pytest.approx(metrics.ndcg_score([relevant], [scores], k=k))


def test_lists_by_hand() -> None:
    lists = np.array([[0, 1], [0, -1]], dtype=np.int32)
    assert measures.coverage(lists, 4).value == 0.5
    counts = np.array([10, 5, 5, 1])
    assert measures.popularity_bias(lists, counts).value == pytest.approx((0.875 + 0.5 + 0.875) / 3)
    everything = np.arange(4, dtype=np.int32)[None, :]
    assert measures.popularity_bias(everything, counts).value == pytest.approx(0.5)
    attributes = np.array([0, 2, 3, 3, 3])
    values = np.array([7, 8, 8], dtype=np.int32)
    assert measures.diversity(lists, attributes, values).value == pytest.approx(0.5)
    assert measures.diversity(np.array([[2, 3]], dtype=np.int32), attributes, values).value == 0
    nothing = np.full((3, 2), -1, dtype=np.int32)
    assert measures.coverage(nothing, 4) == Estimate(0, 0, 0)
    assert measures.popularity_bias(nothing, counts) == Estimate(0.5, 0.5, 0.5)
    assert measures.diversity(nothing, attributes, values) == Estimate(0, 0, 0)


@pytest.mark.parametrize("values", [[0.0, 1.0], np.linspace(0, 1, 97).tolist()])
def test_bootstrap_covers_as_often_as_it_says(values: list[float]) -> None:
    rng = np.random.default_rng(5)
    truth, covered = float(np.mean(values)), 0
    for seed in range(200):
        sample = rng.choice(values, size=120)
        found = measures.bootstrap(sample, seed=seed, rounds=300)
        assert found.low <= found.value <= found.high
        covered += found.low <= truth <= found.high
    assert 178 <= covered <= 199
    assert measures.bootstrap(sample, seed=1) == measures.bootstrap(sample, seed=1)
    with pytest.raises(EmptyInput):
        measures.bootstrap(np.empty(0))


def test_intervals_of_lists_cover_as_often_as_they_say() -> None:
    """Against the same measure of many more cases (coverage: against its mean over samples)."""
    rng = np.random.default_rng(3)
    shares = np.arange(1, 201) ** -1.2
    counts = (1e6 * shares).astype(np.int64)
    attributes = np.arange(201)
    values = (np.arange(200) % 7).astype(np.int32)

    def lists(cases: int) -> Any:
        noisy = np.log(shares) + rng.gumbel(size=(cases, 200))
        return np.argsort(-noisy, axis=1)[:, :5].astype(np.int32)

    measured = {
        "coverage": lambda one: measures.coverage(one, 200),
        "popularity": lambda one: measures.popularity_bias(one, counts),
        "diversity": lambda one: measures.diversity(one, attributes, values),
    }
    samples = [lists(60) for _ in range(60)]
    large = lists(4000)
    for name, measure in measured.items():
        found = [measure(one) for one in samples]
        truth = measure(large).value
        if name == "coverage":
            truth = float(np.mean([one.value for one in found]))
        covered = sum(one.low <= truth <= one.high for one in found)
        assert 52 <= covered <= 60, name


def test_a_paired_difference_is_sharper() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(500)
    found = measures.paired_bootstrap(base + 0.01, base)
    assert (found.low, found.high) == (pytest.approx(0.01), pytest.approx(0.01))


TRAIN = Sequences.from_lists([["a", "b", "c", "d"]])


def test_ranks_by_hand() -> None:
    split = next_item(TRAIN, [["a"], ["a"], ["b", "c"], ["d"]], ["b", "c", "d", "d"])
    scorer = Fixed([9, 3, 2, 1], [9, 5, 5, 5], [1, 9, 8, 0], [0, 0, 0, -np.inf])
    found = evaluate(scorer, split, ks=(1, 2, 50))
    assert found.ranks.tolist() == [1, 2, 2, UNRANKED]
    assert found.lists.tolist() == [[1, 2, 3, -1], [1, 2, 3, -1], [0, 3, -1, -1], [0, 1, 2, -1]]
    assert found.estimate("hr", 1).value == 0.25
    open_found = evaluate(scorer, split, ks=(1,), exclude_history=False)
    assert open_found.ranks.tolist() == [2, 3, 4, UNRANKED]
    assert evaluate(scorer, split, repeats="hit").ranks.tolist() == [1, 2, 2, 1]


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 5), min_size=n, max_size=n), st.integers(0, n - 1)
        )
    ),
    st.integers(1, 40),
)
def test_ranks_and_lists_agree_with_a_sort(drawn: tuple[list[int], int], k: int) -> None:
    line, target = drawn
    train = Sequences.from_lists([range(len(line))])
    found = evaluate(Fixed([float(v) for v in line]), next_item(train, [[]], [target]), ks=(k,))
    order = sorted(range(len(line)), key=lambda item: (-line[item], item))
    assert found.ranks[0] == 1 + order.index(target)
    assert found.lists[0].tolist() == order[: min(k, len(line))]


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("recent", [Recent(1), Recent(3), Recent(5, 0.5)])
def test_vectors_are_scored_as_a_retriever_would(metric: Metric, recent: Recent) -> None:
    from itemspace import create_retriever

    rng = np.random.default_rng(4)
    train = Sequences.from_lists([rng.integers(40, size=8).tolist() for _ in range(60)])
    known = train.vocabulary[:-3]
    vectors = VectorSet(known, rng.standard_normal((len(known), 6)), metric)
    split = leave_last_out(train)
    found = evaluate(vectors, split, ks=(5,), recent=recent)
    with create_retriever("exact://", vectors) as retriever:
        for history, listed in zip(split.histories, found.lists, strict=True):
            newest = list(dict.fromkeys(history[::-1].tolist()))[: recent.count]
            names = [train.vocabulary[code] for code in newest]
            weights = recent.decay ** np.arange(len(names))
            rows = [vectors.vectors([name])[0] if name in known else None for name in names]
            pairs = [(w, r) for w, r in zip(weights, rows, strict=True) if r is not None]
            if not pairs:
                continue
            unit = [r / np.linalg.norm(r) if metric is Metric.COSINE else r for _, r in pairs]
            total = sum(w for w, _ in pairs)
            query = sum(w * r for (w, _), r in zip(pairs, unit, strict=True)) / total
            seen = [train.vocabulary[int(code)] for code in history]
            expected = retriever.search(query, 5, excluded=seen)[0].ids.tolist()
            assert [train.vocabulary[int(code)] for code in listed] == expected


def test_weights_of_histories() -> None:
    histories = Sequences.from_lists([["a", "b", "a", "c"], [], ["b"]])
    offsets, codes, weights = Recent(2, 0.5).weigh(histories)
    assert offsets.tolist() == [0, 2, 2, 3]
    assert codes.tolist() == [2, 0, 1]
    assert weights.tolist() == pytest.approx([2 / 3, 1 / 3, 1])
    for bad in ({"count": 0}, {"decay": 0}, {"decay": 1.1}):
        with pytest.raises(InvalidOption):
            Recent(**bad)  # type: ignore[arg-type]


def two_worlds() -> Sequences:
    rng = np.random.default_rng(9)
    return Sequences.from_lists(
        [(rng.permutation(15)[:6] + 15 * (at % 2)).tolist() for at in range(300)]
    )


def test_comparison_as_table_json_and_figure(tmp_path: Path) -> None:
    builders = {
        "popularity": Popularity(),
        "counts": ItemKNN(),
        "pmi": PMIFactorization(dim=16),
    }
    found = compare(builders, leave_last_out(two_worlds()), ks=(1, 10))
    columns, rows = found.table(10)
    assert [row[0] for row in rows] == list(builders)
    assert columns[1] == "HR@10"
    hits = [entry.evaluation.estimate("hr", 10).value for entry in found.entries]
    assert hits[0] < 0.7
    assert min(hits[1:]) > 0.99
    found.write_json(tmp_path / "found.json")
    facts = json.loads((tmp_path / "found.json").read_text())
    assert facts["builders"][1]["hr@10"]["value"] == hits[1]
    assert facts["builders"][1]["options"]["window"] == 5
    for ending in ("png", "svg"):
        found.write_figure(tmp_path / f"found.{ending}")
        assert (tmp_path / f"found.{ending}").stat().st_size > 5000


def test_measures_go_into_the_lineage(tmp_path: Path) -> None:
    split = leave_last_out(two_worlds())
    builder = PMIFactorization(dim=8).fit(split.train)
    found = evaluate(builder, split, ks=(10,))
    vectors = builder.item_vectors_.with_lineage(measures=found.summary())
    vectors.save(tmp_path / "vectors")
    kept = VectorSet.open(tmp_path / "vectors").lineage
    assert kept["measures"]["hr@10"]["value"] == found.estimate("hr", 10).value
    assert kept["builder"] == "pmi"


def test_bad_input() -> None:
    split = leave_last_out(two_worlds())
    scorer = Popularity().fit(split.train)
    for ks in ((), (0,), (1.5,), (True,)):
        with pytest.raises(InvalidOption, match="ks"):
            evaluate(scorer, split, ks=ks)  # type: ignore[arg-type]
    found = evaluate(scorer, split, ks=(10_000,))
    assert found.estimate("hr", 10_000).value == 1
    with pytest.raises(InvalidOption, match="hr, recall, ndcg, mrr"):
        found.estimate("auc", 10)


def test_a_vocabulary_of_one_item() -> None:
    train = Sequences.from_lists([["a"], ["a", "a"]])
    found = evaluate(Popularity().fit(train), next_item(train, [["a"]], ["a"]), repeats="hit")
    assert found.estimate("hr", 1).value == 1
    alone = VectorSet(Ids(["a"]), np.ones((1, 2)))
    assert evaluate(alone, next_item(train, [["a"]], ["a"])).estimate("hr", 1).value == 0


def test_the_peak_is_the_fit_s_own() -> None:
    class Greedy:
        supports_vectors = False

        def __init__(self, megabytes: int) -> None:
            self.megabytes = megabytes

        def get_params(self) -> dict[str, int]:
            return {"megabytes": self.megabytes}

        def fit(self, sequences: Sequences) -> None:
            self.size = np.ones(self.megabytes << 17).sum()

        def scores(self, histories: Sequences) -> Any:
            return np.zeros((len(histories), 30), dtype=np.float32)

    found = compare({"much": Greedy(400), "little": Greedy(1)}, leave_last_out(two_worlds()))
    much, little = (entry.peak_megabytes for entry in found.entries)
    assert much - little > 300


def test_sampled_negatives_only_by_name() -> None:
    train = Sequences.from_lists([range(500)])
    scorer = Fixed(*[np.arange(500, dtype=float)[::-1].tolist()] * 400)
    split = next_item(train, [[]] * 400, [100] * 400)
    full = evaluate(scorer, split)
    assert set(full.ranks.tolist()) == {101}
    for count in (1, 9, 99):
        found = evaluate(scorer, split, sampled_negatives=count)
        assert found.split == f"next item, against {count} sampled items"
        assert found.ranks.max() <= count + 1
        assert found.ranks.mean() == pytest.approx(1 + count * 100 / 499, rel=0.15)
        again = evaluate(scorer, split, sampled_negatives=count)
        assert np.array_equal(found.ranks, again.ranks)
    assert np.array_equal(evaluate(scorer, split, sampled_negatives=499).ranks, full.ranks)
    assert np.array_equal(evaluate(scorer, split, sampled_negatives=9999).ranks, full.ranks)
    with pytest.raises(InvalidOption, match="sampled_negatives"):
        evaluate(scorer, split, sampled_negatives=0)


def test_a_monitor_says_what_evaluate_says() -> None:
    split = leave_last_out(two_worlds())
    vectors = PMIFactorization(dim=8).fit(split.train).item_vectors_
    found = monitor(split, measure="ndcg", k=5, recent=Recent(2))(vectors)
    expected = evaluate(vectors, split, ks=(5,), recent=Recent(2)).estimate("ndcg", 5).value
    assert found == expected


def test_cases_are_drawn() -> None:
    split = leave_last_out(two_worlds())
    drawn = split.drawn(50)
    assert len(drawn.histories) == len(drawn.targets) == 50
    pairs = {
        (tuple(h.tolist()), tuple(t.tolist()))
        for h, t in zip(split.histories, split.targets, strict=True)
    }
    for history, target in zip(drawn.histories, drawn.targets, strict=True):
        assert (tuple(history.tolist()), tuple(target.tolist())) in pairs
    assert np.array_equal(split.drawn(50).histories.items, drawn.histories.items)
    assert split.drawn(10_000) is split
