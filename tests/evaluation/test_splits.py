import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Interactions, Sequences
from itemspace.core.errors import EmptyInput, InvalidOption
from itemspace.evaluation import (
    Split,
    by_time,
    cold_items,
    leave_last_out,
    next_item,
    random_events,
)

LISTS = [["a", "b", "c"], ["b"], ["c", "a"], ["a", "b", "c", "d"]]


def lists(sequences: Sequences) -> list[list[str]]:
    names = sequences.vocabulary.to_list()
    return [[names[code] for code in sequence] for sequence in sequences]


def parts(split: Split) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    return lists(split.train), lists(split.histories), lists(split.targets)


def test_leave_last_out() -> None:
    train, histories, targets = parts(leave_last_out(Sequences.from_lists(LISTS)))
    assert train == [["a", "b"], ["b"], ["c"], ["a", "b", "c"]]
    assert histories == [["a", "b"], ["c"], ["a", "b", "c"]]
    assert targets == [["c"], ["a"], ["d"]]


def test_leave_last_out_for_validation_never_shows_the_last() -> None:
    train, histories, targets = parts(leave_last_out(Sequences.from_lists(LISTS), skip=1))
    assert train == [["a"], ["b"], ["c"], ["a", "b"]]
    assert histories == [["a"], ["a", "b"]]
    assert targets == [["b"], ["c"]]


def test_an_empty_log_cannot_be_split_by_time() -> None:
    with pytest.raises(EmptyInput):
        by_time(Interactions.from_columns([], [], []))


def test_by_time() -> None:
    log = Interactions.from_columns(
        ["u", "v", "u", "v", "w", "u", "x", "x", "u", "u"],
        ["a", "b", "b", "c", "d", "c", "a", "b", "d", "a"],
        [1, 2, 3, 9, 10, 8, 4, 5, 6, 7],
    )
    train, histories, targets = parts(by_time(log, share=0.2))
    assert train == [["a", "b", "d", "a", "c"], ["b"], [], ["a", "b"]]
    assert (histories, targets) == ([["b"]], [["c"]])
    with pytest.raises(InvalidOption, match="times"):
        by_time(Interactions.from_columns(["u"], ["a"]))


SOME = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=12), min_size=1, max_size=30)


@given(SOME, st.floats(0.05, 0.95), st.integers(0, 5))
def test_random_events_divide_what_there_is(
    sequences: list[list[int]], share: float, seed: int
) -> None:
    whole = Sequences.from_lists(sequences)
    if all(len(one) < 2 for one in sequences):
        with pytest.raises(EmptyInput):
            random_events(whole, share=share, seed=seed)
        return
    split = random_events(whole, share=share, seed=seed)
    assert len(split.histories) == len(split.targets) == sum(len(one) > 1 for one in sequences)
    assert len(split.train.items) + len(split.targets.items) == len(whole.items)
    assert np.diff(split.histories.offsets).min() >= 1
    assert np.diff(split.targets.offsets).min() >= 1
    again = random_events(whole, share=share, seed=seed)
    assert np.array_equal(again.targets.items, split.targets.items)


def test_cold_items_are_hidden_altogether() -> None:
    rng = np.random.default_rng(0)
    whole = Sequences.from_lists([rng.integers(50, size=10).tolist() for _ in range(100)])
    split = cold_items(whole, share=0.2, seed=3)
    cold = set(split.targets.items.tolist())
    assert len(cold) == 10
    assert not cold & set(split.train.items.tolist())
    assert cold != set(cold_items(whole, share=0.2, seed=4).targets.items.tolist())


def test_cases_of_ones_own() -> None:
    train = Sequences.from_lists(LISTS)
    split = next_item(train, [["a", "zzz"], ["zzz"], ["b"]], ["b", "c", "zzz"])
    assert lists(split.histories) == [["a"], [], ["b"]]
    assert lists(split.targets) == [["b"], ["c"], []]
    with pytest.raises(InvalidOption, match="one target"):
        next_item(train, [["a"]], [])


def test_nothing_to_test_on() -> None:
    with pytest.raises(EmptyInput, match="nothing to test"):
        leave_last_out(Sequences.from_lists([["a"], ["b"]]))
    with pytest.raises(EmptyInput):
        leave_last_out(Sequences.from_lists([["a", "b"]]), skip=1)
    for share in (0, 1, -0.5, float("nan")):
        with pytest.raises(InvalidOption, match="share"):
            random_events(Sequences.from_lists(LISTS), share=share)
    with pytest.raises(InvalidOption, match="skip"):
        leave_last_out(Sequences.from_lists(LISTS), skip=-1)
