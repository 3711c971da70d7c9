import os
import subprocess
import sys
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import ItemGraph, Sequences
from itemspace.builders import EGES, DeepWalk, SideInformation
from itemspace.builders.cold_start import ColdStart
from itemspace.builders.parts import Parts, put_together_all, slot_weights_all
from itemspace.builders.skipgram import _in_place
from itemspace.builders.skipgram_kernel import (
    Events,
    Sampling,
    Window,
    train_sequences,
)
from itemspace.core.errors import (
    BadRow,
    CorruptData,
    InvalidOption,
    MissingData,
    UnknownColumn,
    UsageError,
)
from itemspace.core.vectors import unit_rows
from itemspace.evaluation import hide_links, link_prediction

SMALL: dict[str, Any] = {"dim": 16, "num_walks": 10, "window": 3, "threads": 1}
#: Item 0 has two values in slot 1 and one in slot 2, item 1 none in slot 1, item 2 none at all.
PARTS = (
    np.array([0, 4, 6, 7]),
    np.array([0, 3, 4, 6, 1, 7, 2], np.int32),
    np.array([0, 1, 1, 2, 0, 2, 0], np.int32),
    np.array([1, 0.5, 0.5, 1, 1, 1, 1], np.float32),
)


def parts(logits: np.ndarray, learned: bool = True, rows: Any = None) -> Parts:
    offsets, own, slots, shares = PARTS
    return Parts(offsets, own if rows is None else rows, slots, shares, logits, learned)


def composed(table: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """H of the three items, in plain NumPy."""
    offsets, own, slots, shares = PARTS
    vectors = np.zeros((3, table.shape[1]))
    for item in range(3):
        mine = slice(offsets[item], offsets[item + 1])
        there = sorted(set(slots[mine].tolist()))
        masses = {slot: exp(logits[item, slot]) for slot in there}
        for row, slot, share in zip(own[mine], slots[mine], shares[mine], strict=True):
            vectors[item] += masses[slot] / sum(masses.values()) * share * table[row]
    return vectors


def some_tables(seed: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    table, outputs = np.zeros((9, 16), np.float32), np.zeros((4, 16), np.float32)
    table[:8, :6], outputs[:3, :6] = rng.standard_normal((8, 6)), rng.standard_normal((3, 6))
    return table, outputs, rng.standard_normal((3, 3)).astype(np.float32)


def test_a_vector_is_the_weighted_mean_of_its_parts() -> None:
    table, _, logits = some_tables()
    found = put_together_all(parts(logits), table, np.arange(3))
    assert np.allclose(found, composed(table, logits), atol=1e-6)
    weights = slot_weights_all(parts(logits))
    assert np.allclose(weights.sum(axis=1), 1)
    assert (weights > 0).tolist() == [[True, True, True], [True, False, True], [True, False, False]]


def step(
    table: np.ndarray, outputs: np.ndarray, logits: np.ndarray, alpha: float, **options: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Train on the sequence (0, 1) with noise that is always item 2."""
    ins, outs, moved = table.copy(), outputs.copy(), logits.copy()
    nothing = np.empty(0, np.float32)
    noise = Sampling(np.ones(3, np.float32), np.zeros(3, np.float32), np.full(3, 2, np.int32))
    events = Events(np.array([0, 1], np.int32), np.array([0, 2]), nothing)
    loss, _ = train_sequences(
        events, 0, 1, _in_place(ins), _in_place(outs), parts(moved, **options), noise,
        Window(1, False, False), 1, 0, np.float32(alpha), np.uint64(3),
    )  # fmt: skip
    return ins, outs, moved, loss


def total_loss(table: np.ndarray, outputs: np.ndarray, logits: np.ndarray) -> float:
    vectors = composed(table, logits)
    loss = 0.0
    for one, other in ((1, 0), (0, 1)):
        loss += log(1 + exp(-float(vectors[one] @ outputs[other])))
        loss += log(1 + exp(float(vectors[one] @ outputs[2])))
    return loss


@pytest.mark.parametrize("which", [0, 1, 2], ids=["rows", "outputs", "logits"])
def test_steps_are_the_numeric_gradient(which: int) -> None:
    """Of the rows of items and values, of the outputs and of the logits, found by differences."""
    before = some_tables()
    alpha = 1e-3
    *after, loss = step(*before, alpha)
    assert loss == pytest.approx(total_loss(*(b.astype(float) for b in before)), rel=1e-3)
    rows, columns = {0: (8, 6), 1: (3, 6), 2: (3, 3)}[which]
    for row in range(rows):
        for column in range(columns):
            moved = [array.astype(float) for array in before]
            moved[which][row, column] += 1e-5
            up = total_loss(*moved)
            moved[which][row, column] -= 2e-5
            slope = (up - total_loss(*moved)) / 2e-5
            made = float(after[which][row, column]) - float(before[which][row, column])
            assert made == pytest.approx(-alpha * slope, abs=1e-5)


def test_a_row_that_two_inputs_share_takes_their_steps_over_the_root_of_two() -> None:
    table, outputs, logits = some_tables()
    shared = PARTS[1].copy()
    shared[5] = 6  # item 1's value in slot 2 is item 0's
    table[7] = table[6]
    apart = step(table, outputs, logits, 1e-3)[0] - table
    together = step(table, outputs, logits, 1e-3, rows=shared)[0] - table
    assert np.allclose(together[6], (apart[6] + apart[7]) / np.sqrt(2), atol=1e-7)
    assert np.allclose(together[:6], apart[:6], atol=1e-7)


def test_without_learning_the_logits_stay() -> None:
    table, outputs, _ = some_tables()
    moved = step(table, outputs, np.zeros((3, 3), np.float32), 0.1, learned=False)
    assert not moved[2].any()
    assert not np.array_equal(moved[0], table)


def shop(seed: int = 0) -> tuple[ItemGraph, SideInformation, np.ndarray]:
    """200 items of 20 brands with few edges, nine in ten of them within a brand."""
    rng = np.random.default_rng(seed)
    brand = np.arange(200) // 10
    sources = rng.integers(200, size=700)
    within = rng.random(700) < 0.9
    targets = np.where(
        within, brand[sources] * 10 + rng.integers(10, size=700), rng.integers(200, size=700)
    )
    graph = ItemGraph.from_edges(sources, targets, directed=True, vocabulary=range(200))
    side = SideInformation.from_columns(
        range(200),
        brand=[f"brand {at}" for at in brand],
        price=[float(at % 7) for at in range(200)],
        same=["x"] * 200,
        none=[None] * 200,
    )
    return graph, side, brand


def test_modes() -> None:
    graph, side, _ = shop()
    made = {
        mode: EGES(fields=["brand", "price:numeric:3"], mode=mode, **SMALL).fit(graph, side=side)  # type: ignore[arg-type]
        for mode in ("bge", "ges", "eges")
    }
    plain = DeepWalk(**SMALL, walk_length=10, alpha=0.05, directed=True).fit(graph)
    assert made["bge"].slots_ == ["item"]
    assert np.allclose(made["bge"].item_vectors_.matrix, plain.item_vectors_.matrix, atol=1e-6)
    assert made["ges"].slots_ == made["eges"].slots_ == ["item", "brand", "price"]
    assert np.allclose(made["ges"].weights_, 1 / 3)
    assert np.allclose(made["eges"].weights_.sum(axis=1), 1)
    assert made["eges"].weights_.std(axis=0).min() > 1e-3
    weights = made["eges"].field_weights_
    assert weights["brand"] > weights["price"]
    for builder in made.values():
        assert builder.item_vectors_.lineage["builder"] == "eges"
        assert builder.loss_[-1] < builder.loss_[0]
        assert builder.output_vectors_.ids == builder.item_vectors_.ids


def test_side_information_finds_hidden_links() -> None:
    graph, side, _ = shop()
    edges = np.stack(graph.to_scipy().tocoo().coords, axis=1)
    split = hide_links(edges, 200, directed=True)
    train = ItemGraph.from_edges(*split.train.T, directed=True, vocabulary=range(200))
    found = {}
    for mode in ("bge", "ges", "eges"):
        builder = EGES(fields=["brand"], mode=mode, **SMALL).fit(train, side=side)  # type: ignore[arg-type]
        matrix = np.zeros((200, 16), np.float32)
        matrix[builder.item_vectors_.ids.to_array()] = builder.item_vectors_.matrix
        found[mode] = link_prediction(matrix, split, operator="cosine").auc.value
    assert min(found["ges"], found["eges"]) > found["bge"] + 0.05
    assert found["eges"] > 0.85


def test_cold_items_are_near_those_of_their_brand(tmp_path: Path) -> None:
    graph, side, brand = shop()
    builder = EGES(fields=["brand", "price:numeric:3"], **SMALL).fit(graph, side=side)
    new = SideInformation.from_columns(
        ["n1", "n2", "n3", "n4"],
        brand=["brand 3", "brand 7", "brand unknown", None],
        price=[2, None, 5.5, float("nan")],
    )
    assert builder.cold_start_ is not None
    for method in ("mean", "weighted"):
        vectors, report = builder.cold_start_.vectors(new, method=method)  # type: ignore[arg-type]
        assert vectors.ids.to_list() == ["n1", "n2", "n3"]
        products = unit_rows(vectors.matrix) @ unit_rows(builder.item_vectors_.matrix).T
        ids = builder.item_vectors_.ids.to_array()
        nearest = [brand[ids[row]].tolist() for row in np.argsort(-products, axis=1)[:, :5]]
        assert nearest[0].count(3) >= 3
        assert nearest[1].count(7) >= 4
    assert any("'brand unknown'" in line for line in report)
    assert any("'n4'" in line for line in report)
    builder.cold_start_.save(tmp_path / "cold")
    loaded = ColdStart.load(tmp_path / "cold")
    again, told = loaded.vectors(new, method="weighted")
    assert np.array_equal(again.matrix, vectors.matrix)
    assert told == report
    with pytest.raises(InvalidOption, match="mean or weighted"):
        loaded.vectors(new, method="median")  # type: ignore[arg-type]
    with pytest.raises(UnknownColumn):
        loaded.vectors(SideInformation.from_columns([1], brand=["brand 3"]))


def test_a_cold_vector_is_the_mean_of_its_fields(tmp_path: Path) -> None:
    graph, side, _ = shop()
    builder = EGES(fields=["brand", "price:numeric:3"], **SMALL).fit(graph, side=side)
    cold = builder.cold_start_
    assert cold is not None
    table = builder.skipgram_.inputs[len(builder.item_vectors_) :]
    brand_row = table[cold.encodings[0].values.index("brand 3")]
    price_row = table[len(cold.encodings[0])]
    new = SideInformation.from_columns([1], brand=["brand 3"], price=[0])
    assert np.allclose(cold.vectors(new).vectors.matrix[0], (brand_row + price_row) / 2)
    brand_weight, price_weight = list(builder.field_weights_.values())[1:]
    mixed = (brand_row * brand_weight + price_row * price_weight) / (brand_weight + price_weight)
    assert np.allclose(cold.vectors(new, method="weighted").vectors.matrix[0], mixed, atol=1e-6)
    cold.save(tmp_path / "cold")
    file = tmp_path / "cold" / "rows.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptData):
        ColdStart.load(tmp_path / "cold")
    with pytest.raises(MissingData):
        ColdStart.load(tmp_path / "nothing")


def test_what_the_side_information_lacks_is_told() -> None:
    graph, side, _ = shop()
    builder = EGES(fields=["brand", "same", "none"], **SMALL).fit(graph, side=side)
    assert builder.slots_ == ["item", "brand"]
    assert any("'same' is left out" in line for line in builder.report_)
    assert any("'none' is left out" in line for line in builder.report_)
    assert builder.item_vectors_.lineage["report"] == builder.report_
    few = SideInformation.from_columns(range(50), brand=list(side.columns["brand"])[:50])
    builder = EGES(fields=["brand"], **SMALL).fit(graph, side=few)
    assert any("No row in the side information" in line for line in builder.report_)
    assert (builder.weights_[builder.item_vectors_.ids.to_array() >= 50, 1] == 0).all()


@pytest.mark.parametrize(
    ("options", "with_side", "error"),
    [
        ({}, True, UsageError),
        ({"fields": ["brand"]}, False, UsageError),
        ({"fields": ["same", "none"]}, True, UsageError),
        ({"fields": ["colour"]}, True, UnknownColumn),
        ({"fields": ["brand", "brand"]}, True, InvalidOption),
        ({"fields": ["brand:numeric"]}, True, BadRow),
        ({"fields": ["brand:text"]}, True, InvalidOption),
        ({"fields": ["brand"], "mode": "geges"}, True, InvalidOption),
        ({"fields": ["brand"], "walk_length": 1}, True, InvalidOption),
        ({"fields": ["brand"], "dim": 0}, True, InvalidOption),
    ],
)
def test_bad_input(options: dict[str, Any], with_side: bool, error: type[Exception]) -> None:
    graph, side, _ = shop()
    with pytest.raises(error):
        EGES(**(SMALL | options)).fit(graph, side=side if with_side else None)


def test_sequences_and_resuming(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sequences = Sequences.from_lists(rng.integers(30, size=(200, 5)).tolist())
    side = SideInformation.from_columns(range(30), kind=[["a", "b"], ["b"], []] * 10)
    options = {"fields": ["kind:multi"], **SMALL}
    whole = EGES(**options).fit(sequences, side=side)
    graph = ItemGraph.from_sequences(sequences)
    assert np.array_equal(
        EGES(**options).fit(graph, side=side).item_vectors_.matrix, whole.item_vectors_.matrix
    )

    class Stop(Exception):
        pass

    def stop(done: int, total: int, text: str) -> None:
        if done == 4:
            raise Stop

    with pytest.raises(Stop):
        EGES(**options).fit(graph, side=side, checkpoint=tmp_path, progress=stop)
    resumed = EGES(**options).fit(graph, side=side, checkpoint=tmp_path)
    assert np.array_equal(resumed.item_vectors_.matrix, whole.item_vectors_.matrix)
    assert np.array_equal(resumed.weights_, whole.weights_)
    other = SideInformation.from_columns(range(30), kind=[["a"], ["b"], ["b"]] * 10)
    for builder, about in ((EGES(**options), other), (EGES(**options, mode="ges"), side)):
        with pytest.raises(InvalidOption, match="checkpoint"):
            builder.fit(graph, side=about, checkpoint=tmp_path)


def test_threads_learn_as_well() -> None:
    graph, side, brand = shop()
    for threads in (1, 3):
        builder = EGES(fields=["brand"], **(SMALL | {"threads": threads})).fit(graph, side=side)
        unit = unit_rows(builder.item_vectors_.matrix)
        own = brand[builder.item_vectors_.ids.to_array()]
        nearest = np.argsort(-(unit @ unit.T - 2 * np.eye(len(unit))), axis=1)[:, :5]
        assert (own[nearest] == own[:, None]).mean() > 0.85  # chance is .05


@pytest.mark.slow
def test_kernels_stay_within_their_arrays(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_eges import EGES, SMALL, shop
graph, side, _ = shop()
for mode in ("ges", "eges"):
    EGES(fields=["brand", "price:numeric:3"], mode=mode, sample=1e-2, **SMALL).fit(graph, side=side)
"""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
