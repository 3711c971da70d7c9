from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Ids, Interactions, Sequences
from itemspace.builders.interaction_matrix import InteractionMatrix, ids_of_users
from itemspace.core.errors import EmptyInput, InvalidOption

LOG = Interactions.from_columns(
    ["v", "u", "u", "v", "u", "w"], [7, 3, 5, 7, 3, 9], [0, 10, 20, 20, 30, 40]
)


def dense(sequences: Sequences, half_life: float | None = None) -> list[list[float]]:
    found = InteractionMatrix.from_sequences(sequences, half_life)
    assert found.amounts.dtype == np.float32
    assert found.amounts.has_sorted_indices
    rows: list[list[float]] = found.amounts.toarray().tolist()
    return rows


def test_events_are_summed_up() -> None:
    found = InteractionMatrix.from_sequences(LOG.sequences(), None)
    assert found.users.to_list() == ["u", "v", "w"]
    assert found.items.to_list() == [3, 5, 7, 9]
    assert dense(LOG.sequences()) == [[2, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]
    assert dense(LOG.sequences(gap=5)) == dense(LOG.sequences())  # sessions of one user


def test_weights_and_age_count() -> None:
    weights = np.array([1, 2, 0.5, 3, 4, 0], dtype=np.float32)
    weighed = LOG.sequences(weights=weights)
    found = InteractionMatrix.from_sequences(weighed, None)
    assert (found.users.to_list(), found.items.to_list()) == (["u", "v"], [3, 5, 7])
    assert dense(weighed) == [[6, 0.5, 0], [0, 0, 4]]
    ages = {0: 1 / 16, 10: 1 / 8, 20: 1 / 4, 30: 1 / 2, 40: 1}
    expected = [
        [2 * ages[10] + 4 * ages[30], 0.5 * ages[20], 0],
        [0, 0, 1 * ages[0] + 3 * ages[20]],
    ]
    assert dense(weighed, half_life=10) == expected


def test_users_without_ids_are_numbers() -> None:
    lists = Sequences.from_lists([["a"], [], ["b", "a"]])
    assert InteractionMatrix.from_sequences(lists, None).users.to_list() == [0, 2]
    numbered = replace(lists, users=np.array([4, 1, 4], dtype=np.int32))
    found = InteractionMatrix.from_sequences(numbered, None)
    assert found.users.to_list() == [4]
    assert found.amounts.toarray().tolist() == [[2, 1]]
    named = replace(numbered, user_ids=Ids(["p", "q", "r", "s", "t"]))
    assert InteractionMatrix.from_sequences(named, None).users.to_list() == ["t"]
    assert ids_of_users(named, np.array([1, 0])).to_list() == ["q", "p"]


@pytest.mark.parametrize("bad", [-1, np.nan, np.inf])
def test_weights_that_are_none(bad: float) -> None:
    weights = np.array([1, 1, 1, 1, bad, 1], dtype=np.float32)
    with pytest.raises(InvalidOption, match=f"the first of 1 others is {bad:g}") as caught:
        InteractionMatrix.from_sequences(LOG.sequences(weights=weights), None)
    assert caught.value.option == "weights"


def test_nothing_to_factorise() -> None:
    for sequences in (
        Sequences.from_lists([]),
        Sequences.from_lists([[], []]),
        LOG.sequences(weights=np.zeros(6, dtype=np.float32)),
    ):
        with pytest.raises(EmptyInput, match="nothing to factorise"):
            InteractionMatrix.from_sequences(sequences, None)
    with pytest.raises(InvalidOption, match="times"):
        InteractionMatrix.from_sequences(Sequences.from_lists([["a"]]), 1.0)


@given(st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=1, max_size=8), st.data())
def test_the_matrix_holds_what_the_events_count(lists: list[list[int]], data: Any) -> None:
    sequences = Sequences.from_lists([*lists, [0]])
    users = data.draw(st.lists(st.integers(0, 5), min_size=len(sequences), max_size=len(sequences)))
    amounts = data.draw(
        st.lists(
            st.integers(0, 3), min_size=len(sequences.items) - 1, max_size=len(sequences.items) - 1
        )
    )
    weights = np.array([*amounts, 1], dtype=np.float32)
    owned = replace(sequences, users=np.array(users, dtype=np.int32), weights=weights)
    found = InteractionMatrix.from_sequences(owned, None)
    expected: dict[tuple[int, int], float] = {}
    events = zip(np.repeat(users, np.diff(owned.offsets)), owned.items, weights, strict=True)
    for user, item, weight in events:
        if weight:
            key = (int(user), int(owned.vocabulary[int(item)]))
            expected[key] = expected.get(key, 0) + float(weight)
    cells = found.amounts.tocoo()
    names = zip(found.users[cells.row], found.items[cells.col], strict=True)
    assert dict(zip(names, cells.data.tolist(), strict=True)) == expected
