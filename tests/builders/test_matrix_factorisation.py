import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itemspace import Ids, Interactions, Metric, Sequences, VectorSet
from itemspace.builders import MatrixFactorization, UserItemVectors, load_builder
from itemspace.builders.counting import Popularity
from itemspace.core.errors import (
    DimensionMismatch,
    EmptyInput,
    InvalidOption,
    InvalidVectors,
    MissingExtra,
    UnsupportedError,
)
from itemspace.evaluation import (
    Split,
    by_time,
    compare,
    evaluate,
    leave_last_out,
    monitor,
    next_item,
    random_events,
    tune,
)
from scipy.sparse import csr_matrix

implicit = pytest.importorskip("implicit", reason="implicit is not installed")
MODELS = ("als", "bpr")


def blocks(users: int = 60, seed: int = 1, strings: bool = False) -> Interactions:
    """Three groups of users, each with items of its own; every user has 12 of their 20."""
    rng = np.random.default_rng(seed)
    rows = [(user, 20 * (user % 3) + i) for user in range(users) for i in rng.permutation(20)[:12]]
    who, what = map(list, zip(*rows, strict=True))
    times = rng.permutation(len(rows)).astype(float)
    if strings:
        return Interactions.from_columns(
            [f"u{u:02}" for u in who], [f"i{i:02}" for i in what], times
        )
    return Interactions.from_columns(who, what, times)


LOG = blocks()
DATA = LOG.sequences()


def make(model: str = "als", **changes: Any) -> MatrixFactorization:
    options: dict[str, Any] = {"dim": 6, "epochs": 8, "threads": 1}
    return MatrixFactorization(**options | {"model": model} | changes)


def cells_of(log: Interactions, value: float = 1.0) -> csr_matrix:
    amounts = np.full(len(log), value, dtype=np.float32)
    return csr_matrix((amounts, (log.user_codes, log.item_codes)))


def same(one: MatrixFactorization, other: MatrixFactorization) -> bool:
    return np.array_equal(one.item_vectors_.matrix, other.item_vectors_.matrix) and np.array_equal(
        one.user_vectors_.matrix, other.user_vectors_.matrix
    )


def check_scores(builder: MatrixFactorization, model: Any, cells: csr_matrix) -> None:
    """The inner products of the vectors are the library's own scores."""
    users = np.arange(cells.shape[0])
    listed, scores = model.recommend(
        users, cells, N=cells.shape[1], filter_already_liked_items=False
    )
    ours = builder.user_vectors_.matrix @ builder.item_vectors_.matrix.T
    assert np.allclose(np.take_along_axis(ours, listed, axis=1), scores, rtol=1e-4, atol=1e-5)


def test_als_is_that_of_implicit() -> None:
    builder = make(alpha=5.0, regularization=0.1, seed=3).fit(DATA)
    cells = cells_of(LOG, 1 + 5)
    model = implicit.cpu.als.AlternatingLeastSquares(
        factors=6, regularization=0.1, iterations=8, num_threads=1, random_state=3
    )
    model.fit(cells, show_progress=False)
    assert np.array_equal(builder.item_vectors_.matrix, model.item_factors)
    assert np.array_equal(builder.user_vectors_.matrix, model.user_factors)
    check_scores(builder, model, cells)


def test_bpr_is_that_of_implicit() -> None:
    builder = make("bpr", learning_rate=0.1, seed=3).fit(DATA)
    cells = cells_of(LOG)
    model = implicit.cpu.bpr.BayesianPersonalizedRanking(
        factors=6, learning_rate=0.1, iterations=1, num_threads=1
    )
    for epoch in range(8):
        model.random_state = (3, epoch)
        model.fit(cells, show_progress=False)
    assert np.array_equal(builder.item_vectors_.matrix, model.item_factors)
    assert np.array_equal(builder.user_vectors_.matrix, model.user_factors)
    check_scores(builder, model, cells)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strings", [False, True])
def test_what_it_learns(model: str, strings: bool) -> None:
    log = blocks(strings=strings)
    seen: list[Any] = []
    builder = make(model, epochs=3).fit(log.sequences(), progress=lambda *told: seen.append(told))
    assert builder.user_vectors_.ids == log.users
    assert builder.item_vectors_.ids == log.items
    width = 6 if model == "als" else 7
    for vectors, count in ((builder.user_vectors_, 60), (builder.item_vectors_, 60)):
        assert vectors.matrix.shape == (count, width)
        assert vectors.metric is Metric.INNER_PRODUCT
        assert vectors.lineage["builder"] == "mf"
        assert vectors.lineage["options"] == builder.get_params()
    assert seen == [(1, 3, "training"), (2, 3, "training"), (3, 3, "training")]
    assert len(builder.loss_) == 3
    assert load_builder("mf") is MatrixFactorization


def test_the_bias_is_in_the_vectors() -> None:
    builder = make("bpr", epochs=3).fit(DATA)
    assert (builder.user_vectors_.matrix[:, -1] == 1).all()
    assert builder.item_vectors_.matrix[:, -1].any()


def test_users_and_items_without_an_event_have_no_vector() -> None:
    weights = np.where((LOG.user_codes == 4) | (LOG.item_codes == 9), 0, 1).astype(np.float32)
    for model in MODELS:
        builder = make(model, epochs=2).fit(LOG.sequences(weights=weights))
        assert builder.user_vectors_.ids.to_list() == [user for user in range(60) if user != 4]
        assert builder.item_vectors_.ids.to_list() == [item for item in range(60) if item != 9]


def test_confidences() -> None:
    """c = 1 + α r, or 1 + α log(1 + r / ε), with r by weight and age."""
    weights = np.random.default_rng(1).integers(1, 5, len(LOG)).astype(np.float32)
    ages = LOG.times.max() - LOG.times  # type: ignore[union-attr]
    r = weights * np.exp2(-ages / 200)
    for epsilon, confidences in ((None, 1 + 3 * r), (0.5, 1 + 3 * np.log1p(r / 0.5))):
        builder = make(alpha=3.0, epsilon=epsilon, half_life=200.0)
        builder.fit(LOG.sequences(weights=weights))
        model = implicit.cpu.als.AlternatingLeastSquares(
            factors=6, regularization=0.01, iterations=8, num_threads=1, random_state=1
        )
        places = (LOG.user_codes, LOG.item_codes)
        model.fit(csr_matrix((confidences.astype(np.float32), places)), show_progress=False)
        assert np.allclose(builder.item_vectors_.matrix, model.item_factors, atol=1e-3)


def test_the_loss_is_what_is_minimised() -> None:
    builder = make(alpha=4.0, regularization=0.5).fit(DATA)
    p = cells_of(LOG).toarray().astype(np.float64)
    c = 1 + 4 * p
    users = builder.user_vectors_.matrix.astype(np.float64)
    items = builder.item_vectors_.matrix.astype(np.float64)
    total = (c * (p - users @ items.T) ** 2).sum() + 0.5 * ((users**2).sum() + (items**2).sum())
    assert builder.loss_[-1] == pytest.approx(total / c.sum(), rel=1e-4)
    assert builder.loss_[-1] < builder.loss_[0]
    ranked = make("bpr", epochs=40).fit(DATA)
    assert ranked.loss_[0] == pytest.approx(np.log(2), rel=0.05)
    assert ranked.loss_[-1] < 0.3


def test_the_same_seed_gives_the_same_vectors() -> None:
    assert same(make().fit(DATA), make(threads=3).fit(DATA))
    assert same(make("bpr").fit(DATA), make("bpr").fit(DATA))
    for model in MODELS:
        assert not same(make(model).fit(DATA), make(model, seed=2).fit(DATA))


@given(st.permutations(range(len(LOG))))
@settings(max_examples=10)
def test_the_order_of_events_does_not_matter(order: list[int]) -> None:
    """Nor how a user's events are cut into sequences."""
    shuffled = Interactions(LOG.users, LOG.items, LOG.user_codes[order], LOG.item_codes[order])
    assert same(make(epochs=2).fit(shuffled.sequences()), make(epochs=2).fit(DATA))
    cut = LOG.sequences(gap=100)
    assert same(make("bpr", epochs=2).fit(cut), make("bpr", epochs=2).fit(DATA))


@pytest.mark.parametrize("model", MODELS)
def test_killed_and_resumed_it_ends_with_the_same_vectors(model: str, tmp_path: Path) -> None:
    code = f"""
import os, signal
import numpy as np
from itemspace import Ids, Sequences
from itemspace.builders import MatrixFactorization
data = np.load({str(tmp_path / "data.npz")!r})
sequences = Sequences(Ids(range(60)), data["items"], data["offsets"])
def die(done, total, text):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
builder = MatrixFactorization(model={model!r}, dim=6, epochs=8, threads=1)
builder.fit(sequences, progress=die, checkpoint={str(tmp_path / "state")!r})
"""
    np.savez(tmp_path / "data.npz", items=DATA.items, offsets=DATA.offsets)
    killed = subprocess.run([sys.executable, "-c", code], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["epoch-000003"]
    seen: list[int] = []
    resumed = make(model).fit(
        DATA, checkpoint=tmp_path / "state", progress=lambda at, *_: seen.append(at)
    )
    whole = make(model).fit(DATA)
    assert seen == [4, 5, 6, 7, 8]
    assert same(resumed, whole)
    assert resumed.loss_ == whole.loss_


def test_checkpoints_of_something_else(tmp_path: Path) -> None:
    make().fit(DATA, checkpoint=tmp_path)
    for builder, data in (
        (make(dim=7), DATA),
        (make("bpr"), DATA),
        (make(alpha=2.0), DATA),
        (make(), blocks(seed=2).sequences()),
    ):
        with pytest.raises(InvalidOption, match="checkpoint"):
            builder.fit(data, checkpoint=tmp_path)
    assert same(make(threads=2).fit(DATA, checkpoint=tmp_path), make().fit(DATA))


def test_it_stops_where_nothing_gets_better() -> None:
    values = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    judged: list[UserItemVectors] = []

    def judge(vectors: UserItemVectors) -> float:
        judged.append(vectors)
        return next(values)

    builder = make(patience=2).fit(DATA, monitor=judge)
    assert builder.scores_ == [0.1, 0.5, 0.4, 0.3]
    assert same(builder, make(epochs=2).fit(DATA))  # those of the best epoch
    assert builder.user_vectors_ is judged[1].user_vectors_
    split = leave_last_out(DATA)
    watched = make().fit(split.train, monitor=monitor(split, k=5))
    assert max(watched.scores_) == evaluate(watched, split).per_case("hr", 5).mean()


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("model", ["svd", None]),
        ("dim", [0, 2.5, True]),
        ("epochs", [0]),
        ("threads", [0]),
        ("regularization", [0, -1, float("inf"), float("nan")]),
        ("alpha", [-0.1, float("nan"), "1"]),
        ("epsilon", [0, -1]),
        ("learning_rate", [0]),
        ("half_life", [0, -5]),
        ("patience", [0]),
        ("seed", [-1]),
    ],
)
def test_options_out_of_their_range(option: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidOption, match=option) as caught:
            make(**{option: value}).fit(DATA)
        assert caught.value.option == option


def test_bad_input() -> None:
    with pytest.raises(EmptyInput, match="nothing to factorise"):
        make().fit(Sequences.from_lists([[]]))
    for bad in (-1, np.nan):
        weights = np.full(len(LOG), bad, dtype=np.float32)
        with pytest.raises(InvalidOption, match="at least 0"):
            make().fit(LOG.sequences(weights=weights))
    with pytest.raises(InvalidOption, match="times"):
        make(half_life=5.0).fit(Sequences.from_lists([["a", "b"]]))
    with pytest.raises(InvalidOption, match="no meaning for bpr"):
        make("bpr", half_life=5.0).fit(DATA)


def test_training_that_diverges() -> None:
    huge = np.full(len(LOG), 3e38, dtype=np.float32)
    for builder, data in (
        (make("bpr", learning_rate=1e6), DATA),
        (make(alpha=10.0), LOG.sequences(weights=huge)),
    ):
        with pytest.raises(InvalidOption, match="beyond all bounds"):
            builder.fit(data)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(MissingExtra, match=r"itemspace\[factorization\]"):
        make().fit(DATA)


def test_one_user_with_one_item() -> None:
    for model in MODELS:
        builder = make(model).fit(Sequences.from_lists([["a"]]))
        assert builder.item_vectors_.ids.to_list() == ["a"]
        assert np.isfinite(builder.loss_).all()


# -- folding in --------------------------------------------------------------------------------


def test_a_user_who_is_folded_in_is_near_their_own_vector() -> None:
    builder = make(epochs=200, regularization=1.0).fit(DATA)
    users = builder.fold_in_users(DATA)
    items = builder.fold_in_items(DATA)
    for found, trained in ((users, builder.user_vectors_), (items, builder.item_vectors_)):
        assert found.ids == trained.ids
        assert found.metric is Metric.INNER_PRODUCT
        assert np.allclose(found.matrix, trained.matrix, atol=1e-3)


def test_folding_in_solves_the_least_squares() -> None:
    builder = make(alpha=3.0, regularization=0.7).fit(DATA)
    items = builder.item_vectors_.matrix.astype(np.float64)
    found = builder.fold_in_users(Sequences.from_lists([[59, 3, 3], [41]]))
    for vector, counts in zip(found.matrix, ({59: 1, 3: 2}, {41: 1}), strict=True):
        r = np.zeros(60)
        r[list(counts)] = list(counts.values())
        c = 1 + 3 * r
        left = items.T @ (c[:, None] * items) + 0.7 * np.eye(6)
        assert np.allclose(vector, np.linalg.solve(left, items.T @ (c * (r > 0))), atol=1e-4)


def test_what_is_unknown_is_left_out() -> None:
    log = blocks(strings=True)
    builder = make().fit(log.sequences())
    new = Interactions.from_columns(
        ["new", "new", "other", "u01", "u02"], ["i00", "i99", "i99", "i98", "i99"]
    ).sequences()
    users = builder.fold_in_users(new)
    assert users.ids.to_list() == ["new"]
    alone = Interactions.from_columns(["new"], ["i00"]).sequences()
    assert np.array_equal(users.matrix, builder.fold_in_users(alone).matrix)
    items = builder.fold_in_items(new)
    assert items.ids.to_list() == ["i98", "i99"]
    with pytest.raises(EmptyInput, match="nothing to factorise"):
        builder.fold_in_users(Interactions.from_columns(["u01"], ["i99"]).sequences())
    with pytest.raises(UnsupportedError, match="Fit again"):
        make("bpr").fit(log.sequences()).fold_in_users(alone)


def test_folding_in_needs_only_vectors_and_options(tmp_path: Path) -> None:
    builder = make(alpha=7.0).fit(DATA)
    builder.item_vectors_.save(tmp_path / "items")
    vectors = VectorSet.open(tmp_path / "items")
    again = MatrixFactorization(**vectors.lineage["options"])
    again.item_vectors_ = vectors
    assert np.array_equal(again.fold_in_users(DATA).matrix, builder.fold_in_users(DATA).matrix)


# -- evaluation --------------------------------------------------------------------------------


def splits(strings: bool) -> list[Split]:
    log = blocks(strings=strings)
    return [leave_last_out(log.sequences()), by_time(log), random_events(log.sequences())]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strings", [False, True])
def test_users_are_taken_by_their_vectors(model: str, strings: bool) -> None:
    for split in splits(strings):
        builder = make(model, epochs=60).fit(split.train)
        found = evaluate(builder, split, ks=(8,))
        popular = evaluate(Popularity().fit(split.train), split, ks=(8,))
        assert found.per_case("recall", 8).mean() > popular.per_case("recall", 8).mean() + 0.2
        swapped = VectorSet(
            builder.user_vectors_.ids,
            -builder.user_vectors_.matrix,
            Metric.INNER_PRODUCT,
        )
        worst = evaluate(UserItemVectors(builder.item_vectors_, swapped), split, ks=(8,))
        assert worst.per_case("recall", 8).mean() < 0.05


def test_unknown_users_are_taken_by_recent_items() -> None:
    split = leave_last_out(DATA)
    builder = make(epochs=60).fit(split.train)
    none = VectorSet(Ids([-1]), builder.user_vectors_.matrix[:1], Metric.INNER_PRODUCT)
    recent = evaluate(builder.item_vectors_, split)
    unknown = evaluate(UserItemVectors(builder.item_vectors_, none), split)
    assert np.array_equal(recent.ranks, unknown.ranks)
    # Cases of one's own are nobody's, whatever their numbers.
    own = next_item(split.train, [[0, 1], [21, 22]], [2, 23])
    assert own.histories.users is None
    assert own.drawn(1).histories.users is None
    assert np.array_equal(evaluate(builder, own).ranks, evaluate(builder.item_vectors_, own).ranks)


def test_vectors_that_do_not_belong_together() -> None:
    one, other = make(epochs=1).fit(DATA), make(epochs=1, dim=5).fit(DATA)
    with pytest.raises(DimensionMismatch, match="6 dimensions and the users 5"):
        UserItemVectors(one.item_vectors_, other.user_vectors_)
    turned = VectorSet(one.user_vectors_.ids, one.user_vectors_.matrix, Metric.COSINE)
    with pytest.raises(InvalidVectors, match="inner_product and the users by cosine"):
        UserItemVectors(one.item_vectors_, turned)


def test_cases_keep_their_users() -> None:
    for split in splits(strings=True):
        for part in (split, split.drawn(5)):
            users, ids = part.histories.users, part.histories.user_ids
            assert users is not None and ids is not None
            for case, user in enumerate(users):
                owned = split.train.owners() == user
                assert set(part.histories[case]) <= set(np.concatenate([*_of(split, owned)]))
                assert str(ids[int(user)]).startswith("u")


def _of(split: Split, owned: Any) -> list[Any]:
    return [split.train[at] for at in np.flatnonzero(owned)]


def test_weights_reach_the_training_data() -> None:
    weights = np.arange(1, len(LOG) + 1, dtype=np.float32)
    split = by_time(LOG, weights=weights)
    assert split.train.weights is not None
    assert len(split.train.weights) == len(split.train.items)
    assert set(split.train.weights) <= set(weights)


def test_comparing_and_tuning() -> None:
    split = leave_last_out(DATA)
    rows = compare({"mf": make(), "popularity": Popularity()}, split).entries
    assert rows[0].evaluation.estimate("hr", 10).value > rows[1].evaluation.estimate("hr", 10).value
    found = tune(
        MatrixFactorization,
        split,
        trials=3,
        fixed={"dim": 4, "epochs": 4, "threads": 1, "learning_rate": 0.05},
    )
    assert found.searched == ("regularization", "alpha")
    assert all(len(trial.epochs) == 4 for trial in found.trials)
    best = found.configuration().make().fit(split.train)
    assert evaluate(best, split).per_case("hr", 10).mean() == found.best.value


def test_sessions_belong_to_their_user() -> None:
    sessions = replace(LOG.sequences(gap=50), user_ids=None)
    builder = make().fit(leave_last_out(sessions).train)
    assert builder.user_vectors_.ids.to_list() == list(range(60))
