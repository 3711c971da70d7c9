from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace.core.behaviour import Interactions, Sequences
from itemspace.core.errors import InvalidOption, InvalidVectors
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
