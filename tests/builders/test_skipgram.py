import os
import signal
import subprocess
import sys
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Ids, Sequences, VectorSet
from itemspace.builders import Item2Vec, skipgram
from itemspace.builders.sampling import alias_table, noise_distribution
from itemspace.builders.skipgram import SkipGram, SkipGramOptions
from itemspace.builders.skipgram_kernel import (
    Events,
    Sampling,
    Table,
    Window,
    _errors,
    train_sequences,
)
from itemspace.builders.sources import Log
from itemspace.core.errors import (
    BackendExists,
    CorruptData,
    EmptyInput,
    InvalidOption,
    MissingData,
    UnsupportedError,
    UsageError,
)
from itemspace.core.histories import Recent
from itemspace.core.jit import fast_kernel
from itemspace.core.vectors import unit_rows
from itemspace.evaluation import evaluate, leave_last_out

OPTIONS = {
    "dim": 8,
    "window": 3,
    "shrink": False,
    "negatives": 0,
    "epochs": 2,
    "sample": 0.0,
    "keep_places": False,
    "ns_exponent": 0.75,
    "alpha": 0.025,
    "seed": 1,
    "threads": 1,
}


def options(**changes: Any) -> SkipGramOptions:
    return SkipGramOptions(**(OPTIONS | changes))


def shop(count: int = 3000, seed: int = 0) -> Sequences:
    """A random walk on a ring of 200 items, in steps of one to fifteen."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 16, size=(count, 8))
    return Sequences.from_lists(
        ((rng.integers(200, size=(count, 1)) + steps.cumsum(1)) % 200).tolist()
    )


def pair_loss(vector: np.ndarray, row: np.ndarray, label: int) -> float:
    product = float(vector @ row) * (1 if label else -1)
    return log(1 + exp(-product))


def in_place(matrix: np.ndarray) -> Table:
    return skipgram._in_place(matrix)


def test_a_step_is_the_numeric_gradient() -> None:
    """One pair, one noise item: the step is -alpha times the gradient, found by differences."""
    rng = np.random.default_rng(5)
    sequences = Sequences.from_lists([["a", "b"], ["c"]])
    # Six dimensions in use, padded with zeros; the fourth row is no item's.
    inputs, outputs = np.zeros((2, 4, 16), np.float32)
    inputs[:3, :6], outputs[:3, :6] = rng.standard_normal((2, 3, 6))
    alpha = np.float32(1e-3)

    def run(thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, int]:
        ins, outs = inputs.copy(), outputs.copy()
        sampling = Sampling(np.ones(3, np.float32), thresholds, np.full(3, 2, np.int32))
        events = Events(sequences.items, sequences.offsets, np.empty(0, np.float32))
        loss, pairs = train_sequences(
            events, 0, 1, in_place(ins), in_place(outs), skipgram._no_parts(), sampling,
            Window(1, False, False), 1, 0, alpha, np.uint64(3),
        )  # fmt: skip
        return ins, outs, loss, pairs

    # All thresholds 0: every draw is the alias, item c.
    ins, outs, loss, pairs = run(np.zeros(3, np.float32))
    assert pairs == 2

    def total(i: np.ndarray, o: np.ndarray) -> float:
        return sum(
            pair_loss(i[one], o[other], 1) + pair_loss(i[one], o[2], 0)
            for one, other in ((1, 0), (0, 1))
        )

    assert loss == pytest.approx(total(inputs.astype(float), outputs.astype(float)), rel=1e-3)
    for which, (before, after) in enumerate(((inputs, ins), (outputs, outs))):
        for row in range(3):
            for column in range(6):
                moved = [inputs.astype(float), outputs.astype(float)]
                moved[which] = moved[which].copy()
                moved[which][row, column] += 1e-5
                up = total(*moved)
                moved[which][row, column] -= 2e-5
                slope = (up - total(*moved)) / 2e-5
                step = float(after[row, column]) - float(before[row, column])
                # Both pairs are trained one after the other: equal to first order in alpha.
                assert step == pytest.approx(-float(alpha) * slope, abs=2e-5)


def test_alias_table_draws_the_distribution() -> None:
    shares = np.array([0.5, 0.0, 0.3, 0.15, 0.05])
    thresholds, aliases = alias_table(shares)
    found = np.zeros(5)
    for item in range(5):
        found[item] += thresholds[item] / 5
        found[aliases[item]] += (1 - thresholds[item]) / 5
    assert np.allclose(found, shares, atol=1e-6)


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.0, 0.75, 1.0])
def test_noise_follows_the_exponent(exponent: float) -> None:
    counts = np.array([0, 1, 10, 100])
    shares = noise_distribution(counts, exponent)
    assert shares[0] == 0
    assert shares.sum() == pytest.approx(1)
    assert shares[2] / shares[1] == pytest.approx(10**exponent)


def test_loss_falls_and_seed_decides() -> None:
    sequences = shop()
    one, same, other = (
        SkipGram(Log(sequences), options(negatives=5, epochs=4, alpha=0.1, seed=seed))
        for seed in (1, 1, 2)
    )
    for trained in (one, same, other):
        for _ in range(4):
            trained.train_epoch()
    assert one.losses == sorted(one.losses, reverse=True)
    assert np.array_equal(one.inputs, same.inputs)
    assert not np.array_equal(one.inputs, other.inputs)


def test_every_sequence_is_in_one_chunk() -> None:
    rng = np.random.default_rng(1)
    for lists in (
        [list(range(95)), [1], [2, 3]],
        [rng.integers(9, size=n).tolist() for n in range(1, 40)],
    ):
        sequences = Sequences.from_lists(lists)
        log = Log(sequences)
        _, firsts, lasts = log.take(0, np.arange(log.split(10)))
        assert firsts[0] == 0
        assert lasts[-1] == len(sequences)
        assert np.array_equal(firsts[1:], lasts[:-1])
        assert np.all(firsts < lasts)


def train_all(trained: SkipGram) -> tuple[float, int]:
    """The one chunk of a small training; its loss and pairs."""
    assert trained._chunks == 1
    return trained._train_in_place(0, np.float32(0.025), np.uint64(7))


def test_pairs_within_the_window_are_trained() -> None:
    sequences = Sequences.from_lists([range(10)])
    for window in (1, 3, 20, None):
        trained = SkipGram(Log(sequences), options(window=window))
        _, pairs = train_all(trained)
        assert pairs == sum(
            1 for one in range(10) for other in range(10) if 0 < abs(one - other) <= (window or 10)
        )


def test_dropped_items_keep_their_places_if_told_so() -> None:
    """Only every second item is kept: with their places, none is next to another."""
    sequences = Sequences.from_lists([[0, 1, 2, 1, 3, 1, 4]])
    for keep_places, expected in ((False, 2 * 3), (True, 0)):
        trained = SkipGram(Log(sequences), options(window=1, keep_places=keep_places))
        keep = np.array([1, 0, 1, 1, 1], dtype=np.float32)
        rules = trained._rules
        trained._rules = (rules[0], rules[1]._replace(keep=keep), *rules[2:])
        assert train_all(trained)[1] == expected


def test_the_two_engines_are_worth_the_same() -> None:
    """The same options on the same data: hit rates within three points, far above chance (.05)."""
    split = leave_last_out(shop(4000))
    found = {}
    for engine in ("gensim", "native"):
        builder = Item2Vec(dim=16, window=3, epochs=8, sample=0, engine=engine, threads=1)  # type: ignore[arg-type]
        builder.fit(split.train)
        found[engine] = evaluate(builder, split, recent=Recent(1)).estimate("hr", 10).value
    assert min(found.values()) > 0.25
    assert abs(found["gensim"] - found["native"]) < 0.03


def test_threads_learn_as_well() -> None:
    split = leave_last_out(shop(4000))
    hits = [
        evaluate(
            Item2Vec(dim=16, window=3, epochs=8, sample=0, engine="native", threads=threads).fit(
                split.train
            ),
            split,
            recent=Recent(1),
        )
        .estimate("hr", 10)
        .value
        for threads in (1, 3)
    ]
    assert min(hits) > 0.25
    assert abs(hits[0] - hits[1]) < 0.03


@pytest.mark.parametrize("window", [3, None])
def test_deterministic_gives_the_same_at_any_number_of_threads(window: int | None) -> None:
    split = leave_last_out(shop(4000))
    hits, found = {}, {}
    for threads in (1, 2, 3, 20):
        builder = Item2Vec(
            dim=16, window=window, epochs=8, sample=0, deterministic=True, threads=threads
        ).fit(split.train)
        found[threads] = builder.item_vectors_.matrix
        losses = builder.loss_
    assert all(np.array_equal(found[1], other) for other in found.values())
    assert losses == sorted(losses, reverse=True)
    hits = [
        evaluate(one, split, recent=Recent(1)).estimate("hr", 10).value
        for one in (
            builder,
            Item2Vec(dim=16, window=window, epochs=8, sample=0, threads=1).fit(split.train),
        )
    ]
    assert abs(hits[0] - hits[1]) < 0.03


def test_private_chunks_are_small_where_steps_would_overshoot() -> None:
    lengths = np.full(100, 8)
    few = skipgram.private_chunk(0.1, Window(5, True, False), lengths, 0.025)
    many = skipgram.private_chunk(0.001, Window(5, True, False), lengths, 0.025)
    fast = skipgram.private_chunk(0.001, Window(5, True, False), lengths, 0.25)
    assert 1 <= few < fast < many <= 1000


def test_loss_and_errors_are_those_of_plain_numpy() -> None:
    """Over the whole range of products, extremes included."""
    products = np.concatenate([np.linspace(-30, 30, 90), [-500, 500, 0, 1e-8, -88, 88]])
    table = np.zeros((32, 3), np.float32)
    table[:] = products.reshape(32, 3)
    real = np.array([1, 1, 0], np.float32)

    @fast_kernel
    def run(table: Any, real: Any, scratch: Any, powers: Any) -> float:
        return _errors(table, 32, real, np.float32(0.5), scratch, powers)

    loss = run(table, real, np.empty(96, np.float32), np.empty(96, np.int32))
    wide = np.clip(products.reshape(32, 3), -80, 80)
    sigmoid = 1 / (1 + np.exp(-wide))
    assert loss == pytest.approx(
        np.logaddexp(0, -wide[:, 0]).sum() + np.logaddexp(0, wide[:, 1]).sum(), rel=1e-6
    )
    expected = 0.5 * np.column_stack([1 - sigmoid[:, 0], -sigmoid[:, 1], 0 * sigmoid[:, 2]])
    assert np.allclose(table, expected, rtol=1e-5, atol=1e-12)


def test_a_wide_window_over_short_sequences_is_mostly_whole() -> None:
    """The reach is drawn from 1 to the window, not to the longest sequence."""
    sequences = Sequences.from_lists([range(4)] * 500)
    pairs = train_all(SkipGram(Log(sequences), options(window=30, shrink=True)))[1]
    assert pairs / 500 == pytest.approx(((6 + 10) + 28 * 12) / 30, rel=0.02)


def test_a_window_wider_than_a_batch() -> None:
    sequences = Sequences.from_lists([range(100)] * 3)
    trained = SkipGram(Log(sequences), options(window=None, negatives=2))
    assert train_all(trained)[1] == 3 * 100 * 99
    assert np.isfinite(trained.inputs).all()


def test_an_alpha_that_is_too_high_is_told() -> None:
    with pytest.raises(InvalidOption, match="alpha") as caught:
        Item2Vec(dim=8, alpha=1e6, epochs=3, threads=1).fit(shop(300))
    assert caught.value.option == "alpha"


def test_old_events_are_seldom_in_the_middle() -> None:
    """Two worlds: the old one's pairs are not trained once it is many half-lives away."""
    old, new = shop(500), shop(500)
    items = np.concatenate([old.items, new.items + 200]).astype(np.int32)
    offsets = np.concatenate([old.offsets, new.offsets[1:] + len(old.items)])
    times = np.repeat([0.0, 1000.0], len(old.items))
    sequences = Sequences(Ids(range(400)), items, offsets, times)
    for half_life, few in ((20.0, True), (1e6, False)):
        builder = Item2Vec(dim=8, epochs=2, half_life=half_life, threads=1).fit(sequences)
        outputs = np.linalg.norm(builder.skipgram_.inputs, axis=1)
        fresh = SkipGram(Log(sequences), builder.skipgram_.options).inputs
        moved = np.abs(builder.skipgram_.inputs - fresh).max(axis=1)
        assert outputs.min() > 0
        assert (moved[:200].max() < 1e-6) == few
        assert moved[200:].min() > 1e-3
    with pytest.raises(InvalidOption, match="times"):
        Item2Vec(half_life=10.0).fit(shop(20))


@pytest.mark.parametrize("freeze", [True, False])
def test_an_update_brings_new_items_into_the_old_space(freeze: bool, tmp_path: Path) -> None:
    """Half of the time item 2n, for 2n from 80 to 118, is now another item, 200 + n."""
    builder = native(dim=16, epochs=10, sample=0, alpha=0.05).fit(shop())
    before = builder.item_vectors_
    builder.save(tmp_path / "model")
    walks = shop(1500, seed=1)
    other = (walks.items % 2 == 0) & (walks.items >= 80) & (walks.items < 120)
    other &= np.random.default_rng(0).random(len(other)) < 0.5
    items = np.where(other, 200 + walks.items // 2, walks.items).astype(np.int32)
    fresh = Sequences(Ids(range(300)), items, walks.offsets)
    builder.update(fresh, freeze=freeze)
    after = builder.item_vectors_
    assert after.ids.to_list() == [*range(200), *range(240, 260)]
    assert np.array_equal(after.matrix[:200], before.matrix) == freeze
    unit = unit_rows(after.matrix)
    same = (unit[:200] * unit_rows(before.matrix)).sum(axis=1)
    assert same.mean() > (0.999 if freeze else 0.8)
    # Item 200 + n is near what 2n is near to.
    near = np.argsort(-(unit[200:] @ unit[:200].T), axis=1)[:, :5]
    distances = np.abs(near - np.arange(80, 120, 2)[:, None])
    assert np.mean(distances <= 15) > 0.9
    assert builder.skipgram_.counts.sum() == 8 * (3000 + 1500)
    again = Item2Vec.load(tmp_path / "model").update(fresh, freeze=freeze)
    assert np.array_equal(again.item_vectors_.matrix, after.matrix)
    assert again.get_params() == builder.get_params()


def test_models_are_checked(tmp_path: Path) -> None:
    builder = native().fit(shop(100))
    builder.save(tmp_path / "model")
    loaded = Item2Vec.load(tmp_path / "model")
    assert np.array_equal(loaded.item_vectors_.matrix, builder.item_vectors_.matrix)
    with pytest.raises(BackendExists):
        builder.save(tmp_path / "model")
    with pytest.raises(MissingData):
        Item2Vec.load(tmp_path / "none")
    file = tmp_path / "model" / "outputs.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptData):
        Item2Vec.load(tmp_path / "model")
    with pytest.raises(UsageError, match="nothing to update"):
        native().update(shop(100))
    builder.dim = 9
    with pytest.raises(InvalidOption, match="dim is 8, as before"):
        builder.update(shop(100))
    builder.dim = 8
    with pytest.raises(EmptyInput):
        builder.update(Sequences.from_lists([["a"]]))


@pytest.mark.slow
def test_kernels_stay_within_their_arrays(tmp_path: Path) -> None:
    code = """
from itemspace import Sequences
from itemspace.builders import Item2Vec
lists = [list(range(at % 7, at % 7 + at % 50)) for at in range(300)]
for more in ({}, {"deterministic": True}, {"window": None, "negatives": 4, "sample": 1e-2}):
    builder = Item2Vec(dim=20, epochs=2, threads=2, **more).fit(Sequences.from_lists(lists))
    builder.update(Sequences.from_lists([[100, 3, 101]] * 5), freeze=True)
"""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_native_options() -> None:
    sequences = Sequences.from_lists([["a", "b", "a", "b"], ["a", "rare"], ["b", "a"]])
    seen: list[Any] = []
    builder = Item2Vec(dim=4, epochs=2, engine="native", min_count=2, sample=0)
    builder.fit(sequences, progress=lambda *told: seen.append(told))
    assert builder.item_vectors_.ids.to_list() == ["a", "b"]
    assert builder.item_vectors_.lineage["engine"] == "native"
    assert len(builder.loss_) == 2
    assert seen == [(1, 2, "training"), (2, 2, "training")]
    averaged = Item2Vec(dim=4, epochs=2, engine="native", average_outputs=True).fit(sequences)
    assert not np.array_equal(averaged.item_vectors_.matrix[:2], builder.item_vectors_.matrix)
    with pytest.raises(InvalidOption, match="native, gensim"):
        Item2Vec(engine="torch").fit(sequences)  # type: ignore[arg-type]


def native(**changes: Any) -> Item2Vec:
    return Item2Vec(**{"dim": 8, "epochs": 6, "engine": "native", "threads": 1, **changes})


def test_killed_and_resumed_it_ends_with_the_same_vectors(tmp_path: Path) -> None:
    sequences = shop(500)
    whole = native().fit(sequences)
    np.savez(tmp_path / "data.npz", items=sequences.items, offsets=sequences.offsets)
    code = f"""
import os, signal
import numpy as np
from itemspace import Ids, Sequences
from itemspace.builders import Item2Vec
data = np.load({str(tmp_path / "data.npz")!r})
sequences = Sequences(Ids(range(200)), data["items"], data["offsets"])
def die(done, total, text):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
builder = Item2Vec(dim=8, epochs=6, engine="native", threads=1)
builder.fit(sequences, progress=die, checkpoint={str(tmp_path / "state")!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["epoch-000003"]
    seen: list[int] = []
    resumed = native().fit(
        sequences,
        checkpoint=tmp_path / "state",
        progress=lambda done, total, text: seen.append(done),
    )
    assert seen == [4, 5, 6]
    assert np.array_equal(resumed.item_vectors_.matrix, whole.item_vectors_.matrix)
    assert resumed.loss_ == whole.loss_


def test_deterministic_resumes_exactly_at_another_number_of_threads(tmp_path: Path) -> None:
    sequences = shop(500)
    whole = native(deterministic=True, threads=2).fit(sequences)

    def stop(done: int, total: int, text: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        native(deterministic=True, threads=3).fit(sequences, checkpoint=tmp_path, progress=stop)
    resumed = native(deterministic=True, threads=1).fit(sequences, checkpoint=tmp_path)
    assert np.array_equal(resumed.item_vectors_.matrix, whole.item_vectors_.matrix)
    assert resumed.loss_ == whole.loss_


def test_checkpoints_of_something_else(tmp_path: Path) -> None:
    native().fit(shop(100), checkpoint=tmp_path)
    for builder, sequences in ((native(dim=9), shop(100)), (native(), shop(100, seed=1))):
        with pytest.raises(InvalidOption, match="other options or other sequences"):
            builder.fit(sequences, checkpoint=tmp_path)
    file = tmp_path / "epoch-000006" / "inputs.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptData):
        native().fit(shop(100), checkpoint=tmp_path)


def test_the_best_epoch_is_kept_and_patience_ends() -> None:
    told = iter([0.1, 0.5, 0.3, 0.4, 0.9])
    seen: list[Any] = []

    def monitor(vectors: VectorSet) -> float:
        seen.append(vectors.matrix.copy())
        return next(told)

    builder = native(patience=2).fit(shop(100), monitor=monitor)
    assert builder.scores_ == [0.1, 0.5, 0.3, 0.4]
    assert np.array_equal(builder.item_vectors_.matrix, seen[1])
    with pytest.raises(InvalidOption, match="patience"):
        native(patience=0).fit(shop(100))
    for more in ({"monitor": monitor}, {"checkpoint": "x"}):
        with pytest.raises(UnsupportedError, match="native"):
            Item2Vec(dim=4, epochs=1, engine="gensim").fit(shop(20), **more)
