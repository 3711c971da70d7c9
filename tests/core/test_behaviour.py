from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace.core.behaviour import Interactions, Sequences
from itemspace.core.errors import InvalidId, InvalidOption, InvalidVectors
from itemspace.core.ids import Ids

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3), st.integers(0, 50)), max_size=40)


def named(sequences: Sequences) -> list[list[Any]]:
    return [sequences.vocabulary[codes.astype(np.int64)].to_list() for codes in sequences]


@given(EVENTS, st.integers(1, 20))
def test_sessions_are_those_of_plain_python(events: list[tuple[int, int, int]], gap: int) -> None:
    users, items, times = ([event[at] for event in events] for at in range(3))
    log = Interactions.from_columns(users, items, times)
    whole, cut = [], []
    for user in sorted(set(users)):
        own = sorted((e for e in events if e[0] == user), key=lambda event: event[2])
        whole.append([item for _, item, _ in own])
        last = None
        for _, item, time in own:
            if last is None or time - last > gap:
                cut.append([])
            cut[-1].append(item)
            last = time
    assert named(log.sequences()) == whole
    assert named(log.sequences(gap=gap)) == cut
    assert log.sequences().items.dtype == np.int32
    assert log.sequences().offsets.dtype == np.int64


def test_without_times_the_log_stands_in_order() -> None:
    log = Interactions.from_columns(["b", "a", "b"], ["x", "y", "w"])
    assert named(log.sequences()) == [["y"], ["x", "w"]]
    with pytest.raises(InvalidOption, match="without times"):
        log.sequences(gap=10)


@pytest.mark.parametrize("gap", [0, -1, float("nan")])
def test_gap_out_of_range(gap: float) -> None:
    with pytest.raises(InvalidOption):
        Interactions.from_columns([1], [1], [1]).sequences(gap=gap)


def test_columns_of_other_lengths() -> None:
    with pytest.raises(InvalidVectors):
        Interactions.from_columns([1, 2], [1], [1])


def test_sequences() -> None:
    sequences = Sequences.from_lists([["b", "a"], [], ["b"]])
    assert len(sequences) == 3
    assert sequences.vocabulary.to_list() == ["a", "b"]
    assert sequences.counts().tolist() == [1, 2]
    assert sequences[-1].tolist() == [1]
    with pytest.raises(InvalidVectors):
        Sequences(Ids([1]), np.array([1], dtype=np.int32), np.array([0, 1]))
    with pytest.raises(InvalidVectors):
        Sequences(Ids([1]), np.array([0], dtype=np.int32), np.array([0, 2]))


def test_sequences_keep_their_times() -> None:
    log = Interactions.from_columns(["u", "u", "v"], ["a", "b", "a"], [5.0, 1.0, 9.0])
    sequences = log.sequences()
    assert sequences.times is not None
    assert sequences.times.tolist() == [1, 5, 9]
    assert sequences.where(np.array([True, False, True])).times.tolist() == [1, 9]  # type: ignore[union-attr]
    assert sequences.over(np.array([0])).times.tolist() == [5, 9]  # type: ignore[union-attr]
    assert sequences.onto(Ids(["b", "new"])).times.tolist() == [1]  # type: ignore[union-attr]
    assert sequences.decay(4.0).tolist() == [0.25, 0.5, 1]
    with pytest.raises(InvalidVectors, match="one for each"):
        Sequences(sequences.vocabulary, sequences.items, sequences.offsets, np.zeros(2))
    for times in (None, np.array([0, np.nan, 1])):
        other = Sequences(sequences.vocabulary, sequences.items, sequences.offsets, times)
        with pytest.raises(InvalidOption, match="half_life needs"):
            other.decay(1.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 9), max_size=4)), max_size=9))
def test_the_sequences_of_a_user_come_together_in_order(some: list[tuple[int, list[int]]]) -> None:
    lengths = np.array([0] + [len(items) for _, items in some])
    items = np.array([item for _, own in some for item in own], dtype=np.int32)
    users = np.array([user for user, _ in some], dtype=np.int32)
    times = np.arange(len(items), dtype=np.float64)
    sequences = Sequences(Ids(range(10)), items, lengths.cumsum(), times, users)
    found = sequences.by_user()
    assert [
        (user, own.tolist()) for user, own in zip(found.owners().tolist(), found, strict=True)
    ] == sorted(some, key=lambda one: one[0])
    assert found.times is not None
    assert np.array_equal(np.sort(found.times), times)
    assert np.array_equal(items[found.times.astype(np.int64)], found.items)
    assert np.array_equal(found.onto(Ids(range(3))).owners(), found.owners())
    with pytest.raises(InvalidVectors, match="one for each sequence"):
        Sequences(Ids(range(10)), items, lengths.cumsum(), users=np.zeros(99, np.int32))


def test_sessions_know_their_users() -> None:
    log = Interactions.from_columns(["b", "a", "b"], ["x", "y", "x"], [0, 0, 100])
    assert log.sequences(gap=10).owners().tolist() == [0, 1, 1]
    assert log.sequences().owners().tolist() == [0, 1]
    assert Sequences.from_lists([["x"], ["y"]]).owners().tolist() == [0, 1]


# -- kinds, values, dwell, weights -------------------------------------------------------------

LOG = Interactions.from_columns(
    ["u", "v", "u", "v"],
    ["a", "b", "c", "a"],
    [3.0, 1.0, 2.0, 1.0],
    kinds=["view", "buy", "view", "cart"],
    values=[2, 0.5, np.nan, 3],
    dwell=[10, None, 0, 2.5],
)


def assert_columns(log: Interactions, kept: list[int]) -> None:
    """The events ``kept`` of LOG, over its vocabularies."""
    assert (log.users, log.items, log.kinds) == (LOG.users, LOG.items, LOG.kinds)
    for name in ("user_codes", "item_codes", "times", "kind_codes", "values", "dwell"):
        np.testing.assert_array_equal(getattr(log, name), getattr(LOG, name)[kept])


def test_a_log_says_more_of_an_event() -> None:
    assert LOG.kinds == Ids(["buy", "cart", "view"])
    assert LOG.kind_codes is not None
    assert LOG.kind_codes.tolist() == [2, 0, 2, 1]
    assert LOG.values is not None and LOG.dwell is not None
    assert LOG.values.dtype == LOG.dwell.dtype == np.float64
    assert np.isnan(LOG.dwell).tolist() == [False, True, False, False]


def test_some_events_of_a_log() -> None:
    assert_columns(LOG.where(np.array([True, False, False, True])), [0, 3])
    assert_columns(LOG.where(np.zeros(4, dtype=bool)), [])
    bare = Interactions.from_columns([1, 2], ["a", "b"]).where(np.array([False, True]))
    assert bare.item_codes.tolist() == [1]
    assert bare.times is bare.kinds is bare.kind_codes is bare.values is bare.dwell is None


def test_events_of_a_kind() -> None:
    assert LOG.of_kind(["view"]).tolist() == [True, False, True, False]
    assert LOG.of_kind(("buy", "cart", "buy")).tolist() == [False, True, False, True]
    bare = Interactions.from_columns([1], [1])
    for log in (LOG, bare):
        assert log.of_kind([]).dtype == np.bool_
        assert not log.of_kind([]).any()
    unknown = replace(LOG, kind_codes=np.array([-1, 0, -1, 2], dtype=np.int32))
    assert unknown.of_kind(["view"]).tolist() == [False, False, False, True]
    for name in ("like", 7):
        with pytest.raises(InvalidOption, match=f"kind {name!r}; there are: buy, cart, view"):
            LOG.of_kind(["buy", name])
    with pytest.raises(InvalidOption, match="kind_column"):
        bare.of_kind(["buy"])
    none = replace(LOG, kinds=Ids([]), kind_codes=np.full(4, -1, dtype=np.int32))
    with pytest.raises(InvalidOption, match="there are: none"):
        none.of_kind(["buy"])


def test_weights_of_events() -> None:
    assert LOG.weigh().tolist() == [1, 1, 1, 1]
    assert LOG.weigh().dtype == np.float32
    assert LOG.weigh({"buy": 5, "view": 0}).tolist() == [0, 5, 0, 1]
    assert LOG.weigh(values=True).tolist() == [2, 0.5, 1, 3]
    assert LOG.weigh({"buy": 5, "cart": 2}, values=True).tolist() == [2, 2.5, 1, 6]
    unknown = replace(LOG, kind_codes=np.array([-1, 0, -1, 2], dtype=np.int32))
    assert unknown.weigh({"buy": 5, "view": 3, "cart": 2}).tolist() == [1, 5, 1, 3]


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_weights_out_of_range(weight: float) -> None:
    with pytest.raises(InvalidOption, match="finite numbers of at least 0") as caught:
        LOG.weigh({"buy": weight})
    assert caught.value.option == "kinds"
    if not np.isnan(weight):  # as a value it is unknown
        with pytest.raises(InvalidOption, match="the log has 1 others"):
            replace(LOG, values=np.array([1, weight, 0, np.nan])).weigh(values=True)


def test_weights_of_what_the_log_does_not_say() -> None:
    bare = Interactions.from_columns([1], [1])
    with pytest.raises(InvalidOption, match="kind_column"):
        bare.weigh({"buy": 2})
    with pytest.raises(InvalidOption, match="value_column"):
        bare.weigh(values=True)
    with pytest.raises(InvalidOption, match="the kind 'like'"):
        LOG.weigh({"like": 2})


def test_sequences_carry_weights_and_users() -> None:
    """In order of time: u does c, a; v does b and a at once, as the log has them."""
    sequences = LOG.sequences(weights=LOG.weigh({"buy": 5, "cart": 3}, values=True))
    assert named(sequences) == [["c", "a"], ["b", "a"]]
    assert sequences.weights is not None
    assert sequences.weights.tolist() == [1, 2, 2.5, 9]
    assert sequences.weights.dtype == np.float32
    assert sequences.user_ids == Ids(["u", "v"])
    assert LOG.sequences().weights is None
    cut = LOG.sequences(gap=0.5, weights=LOG.weigh(values=True))
    assert cut.user_ids is not None and cut.users is not None
    assert cut.user_ids[cut.users].to_list() == ["u", "u", "v"]

    def weights(some: Sequences) -> list[float]:
        assert some.weights is not None
        assert some.user_ids == Ids(["u", "v"])
        return some.weights.tolist()

    assert weights(sequences.where(np.array([False, True, True, False]))) == [2, 2.5]
    assert weights(sequences.onto(Ids(["b", "c", "new"]))) == [1, 2.5]
    assert weights(sequences.over(np.array([0]))) == [2, 9]
    mixed = replace(cut, users=np.array([1, 0, 1], dtype=np.int32))
    assert weights(mixed.by_user()) == [2, 1, 0.5, 3]


def test_sequences_that_do_not_fit() -> None:
    sequences = LOG.sequences()
    with pytest.raises(InvalidVectors, match="one for each item"):
        replace(sequences, weights=np.ones(3, dtype=np.float32))
    with pytest.raises(InvalidVectors, match="whose each sequence is"):
        replace(sequences, users=None)


@pytest.mark.parametrize("column", ["times", "kinds", "values", "dwell"])
def test_a_column_of_another_length(column: str) -> None:
    with pytest.raises(InvalidVectors, match="differ in length"):
        Interactions.from_columns([1, 2], [1, 2], **{column: [1]})


def test_columns_that_say_nothing() -> None:
    with pytest.raises(InvalidVectors, match="kinds of events and their codes, or neither"):
        replace(LOG, kind_codes=None)
    with pytest.raises(InvalidOption, match="at least 0, or NaN where it is unknown; received -2"):
        Interactions.from_columns([1, 2, 3], [1, 2, 3], dwell=[np.nan, -2, 4])
    for column in ("times", "values", "dwell"):
        with pytest.raises(InvalidOption, match=f"{column} are numbers") as caught:
            Interactions.from_columns([1], [1], **{column: ["long"]})
        assert caught.value.option == column
    for kinds in ([1, "buy"], ["buy", None]):
        with pytest.raises(InvalidId):
            Interactions.from_columns([1, 2], [1, 2], kinds=kinds)
