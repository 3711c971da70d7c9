import sys
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from itemspace import Metric, Sequences
from itemspace.builders import Item2Vec, load_builder, registry
from itemspace.builders.gensim_engine import LONGEST_TEXT, Texts
from itemspace.core.errors import BrokenPlugin, EmptyInput, InvalidOption, UnsupportedError
from itemspace.core.vectors import unit_rows


def two_worlds(count: int = 400) -> Sequences:
    """Sequences that stay among items 0–9 or among items 10–19."""
    rng = np.random.default_rng(2)
    return Sequences.from_lists(
        [(rng.integers(10, size=8) + 10 * (at % 2)).tolist() for at in range(count)]
    )


ENGINES = pytest.mark.parametrize("engine", ["native", "gensim"])


@ENGINES
@pytest.mark.parametrize("window", [5, None])
def test_items_of_one_world_are_near(engine: Any, window: int | None) -> None:
    fitted = Item2Vec(dim=16, epochs=20, sample=0, threads=1, engine=engine, window=window).fit(
        two_worlds()
    )
    vectors = fitted.item_vectors_
    assert vectors.ids.to_list() == list(range(20))
    assert vectors.metric is Metric.COSINE
    assert vectors.matrix.shape == (20, 16)
    unit = unit_rows(vectors.matrix)
    products = unit @ unit.T
    np.fill_diagonal(products, -1)
    assert np.array_equal(products.argmax(axis=1) // 10, np.arange(20) // 10)
    assert vectors.lineage["options"]["dim"] == 16
    assert vectors.lineage["events"] == 3200


@ENGINES
def test_one_thread_and_one_seed_give_one_result(engine: Any) -> None:
    one, same, other = (
        Item2Vec(dim=8, epochs=2, threads=1, seed=seed, engine=engine)
        .fit(two_worlds())
        .item_vectors_.matrix
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@ENGINES
def test_rare_items_stay_and_can_be_left_out(engine: Any) -> None:
    sequences = Sequences.from_lists([["a", "b", "a", "b"], ["a", "rare"], ["b", "a"]])
    for min_count, expected in ((1, ["a", "b", "rare"]), (2, ["a", "b"])):
        builder = Item2Vec(dim=4, epochs=1, min_count=min_count, engine=engine)
        assert builder.fit(sequences).item_vectors_.ids.to_list() == expected


def test_no_text_is_longer_than_gensim_takes() -> None:
    """gensim alone would drop what lies beyond 10,000 items of a text."""
    length = 2 * LONGEST_TEXT + 7
    sequences = Sequences.from_lists([range(length), range(3)])
    texts = Texts(sequences)
    pieces = list(texts)
    assert texts.count == len(pieces) == 4
    assert max(map(len, pieces)) <= LONGEST_TEXT
    assert [code for piece in pieces for code in piece] == [*range(length), 0, 1, 2]
    assert all(type(code) is int for code in pieces[0])


def test_items_beyond_the_ten_thousandth_are_trained() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(10, size=LONGEST_TEXT).tolist()
    second = (10 + rng.integers(10, size=LONGEST_TEXT)).tolist()
    sequences = Sequences.from_lists([first + second])
    options: Any = {"dim": 8, "epochs": 1, "threads": 1, "sample": 0, "engine": "gensim"}
    untrained = Item2Vec(**options, alpha=1e-9).fit(sequences)
    trained = Item2Vec(**options).fit(sequences)
    moved = np.abs(trained.item_vectors_.matrix - untrained.item_vectors_.matrix).max(axis=1)
    assert moved[10:].min() > 0.01


@ENGINES
def test_progress(engine: Any) -> None:
    seen: list[Any] = []
    Item2Vec(dim=4, epochs=3, engine=engine).fit(
        two_worlds(10), progress=lambda *args: seen.append(args)
    )
    assert seen == [(1, 3, "training"), (2, 3, "training"), (3, 3, "training")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dim", 0),
        ("dim", 2.5),
        ("window", 0),
        ("half_life", 0),
        ("negatives", 0),
        ("epochs", -1),
        ("min_count", 0),
        ("threads", 0),
        ("sample", -0.1),
        ("alpha", 0),
        ("ns_exponent", float("nan")),
        ("seed", -1),
        ("epochs", True),
        ("alpha", "fast"),
    ],
)
def test_options_out_of_range(name: str, value: Any) -> None:
    builder = Item2Vec(**{name: value})
    assert builder.get_params()[name] is value
    with pytest.raises(InvalidOption, match=name) as caught:
        builder.fit(two_worlds(10))
    assert caught.value.option == name
    assert not hasattr(builder, "item_vectors_")


@pytest.mark.parametrize(("lists", "min_count"), [([], 1), ([["a"], ["b"]], 1), ([["a", "b"]], 2)])
def test_nothing_to_learn_from(lists: list[list[str]], min_count: int) -> None:
    with pytest.raises(EmptyInput, match="Nothing to learn from"):
        Item2Vec(min_count=min_count).fit(Sequences.from_lists(lists))


def test_builders_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_builder("item2vec") is Item2Vec
    with pytest.raises(InvalidOption, match="Did you mean 'item2vec'"):
        load_builder("item3vec")
    points = [
        EntryPoint("mine", "itemspace.builders.item2vec:Item2Vec", registry.BUILDERS.group),
        EntryPoint("broken", "no_such_module:Thing", registry.BUILDERS.group),
    ]
    monkeypatch.setattr("itemspace.core.plugins.entry_points", lambda group: points)
    assert load_builder("mine") is Item2Vec
    with pytest.raises(BrokenPlugin):
        load_builder("broken")
    assert "torch" not in sys.modules


@ENGINES
@pytest.mark.parametrize("window", [5, None])
def test_a_vocabulary_of_one_item(engine: Any, window: int | None) -> None:
    sequences = Sequences.from_lists([["a", "a", "a"], ["a"]])
    vectors = Item2Vec(dim=4, epochs=2, engine=engine, window=window).fit(sequences).item_vectors_
    assert vectors.ids.to_list() == ["a"]
    assert vectors.matrix.any()


@pytest.mark.parametrize(
    "beyond",
    [{"half_life": 9.0}, {"keep_places": True}, {"average_outputs": True}, {"deterministic": True}],
)
def test_gensim_is_not_asked_for_what_it_lacks(beyond: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=next(iter(beyond))):
        Item2Vec(engine="gensim", **beyond).fit(two_worlds(10))
