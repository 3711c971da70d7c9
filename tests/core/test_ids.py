from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace.core.errors import DuplicateIds, InvalidId
from itemspace.core.ids import Ids

TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=60)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
ANY = st.one_of(st.lists(TEXTS, min_size=1), st.lists(NUMBERS, min_size=1))


@given(ANY)
def test_they_come_back_as_they_went_in(values: list[Any]) -> None:
    ids = Ids(values)
    assert ids.to_list() == values
    assert list(ids) == values
    assert ids.to_array().tolist() == values
    assert [ids[at] for at in range(-len(values), len(values))] == values * 2
    assert Ids(ids) == ids


@given(ANY, st.data())
def test_slices_and_joins(values: list[Any], data: st.DataObject) -> None:
    ids = Ids(values)
    at = data.draw(st.integers(0, len(values)))
    assert ids[:at].concat(ids[at:]) == ids
    rows = np.array(data.draw(st.permutations(range(len(values)))), dtype=np.int64)
    assert ids[rows].to_list() == [values[row] for row in rows]
    assert len(ids[np.array([], dtype=np.int64)]) == 0


@given(ANY, st.data())
def test_rows_are_those_of_a_dict(values: list[Any], data: st.DataObject) -> None:
    ids = Ids(values)
    others = data.draw(st.lists(TEXTS if isinstance(values[0], str) else NUMBERS))
    wanted = values + others
    first = {value: row for row, value in reversed(list(enumerate(values)))}
    rows = ids.rows_of(Ids(wanted))
    assert rows.dtype == np.int64
    assert rows.tolist() == [first.get(value, -1) for value in wanted]
    assert all((value in ids) == (value in first) for value in wanted)


@given(ANY)
def test_buffers_round_trip(values: list[Any]) -> None:
    ids = Ids(values)
    if ids.kind == "str":
        assert Ids.from_buffers(*ids.buffers.values()) == ids
    else:
        assert Ids(ids.buffers["ids"]) == ids


@pytest.mark.parametrize(
    "values",
    [
        [True],
        [1.0],
        [None],
        [b"a"],
        ["a", 1],
        [1, "a"],
        [1, True],
        ["a\0"],
        ["x" * 256],
        ["\ud800"],
        [2**63],
        [-(2**63) - 1],
        np.array([2**63], dtype=np.uint64),
        np.array([1.5]),
        np.array([[1, 2]]),
        np.array([True]),
    ],
)
def test_what_is_no_id_is_refused(values: Any) -> None:
    with pytest.raises(InvalidId):
        Ids(values)


def test_numpy_arrays() -> None:
    assert Ids(np.array([3, 1], dtype=np.uint8)).to_list() == [3, 1]
    assert Ids(np.array(["b", "é"])).to_list() == ["b", "é"]
    assert Ids(np.array(["b", "é"], dtype=object)).to_list() == ["b", "é"]


def test_kinds() -> None:
    assert Ids([]).kind == "int"
    assert Ids([], "str").kind == "str"
    assert len(Ids([], "str")) == 0
    with pytest.raises(InvalidId, match="Expected str ids"):
        Ids([1], "str")
    with pytest.raises(InvalidId, match="kind 'int'"):
        Ids([1]).rows_of(Ids(["a"]))
    assert Ids(["a"]) != Ids([1])


def test_duplicates_are_named() -> None:
    Ids(["a", "b"]).check_unique()
    with pytest.raises(DuplicateIds, match="'b'") as caught:
        Ids(["a", "b", "b", "b"]).check_unique("the list")
    assert caught.value.ids == ["b", "b"]
    assert "the list" in str(caught.value)


def test_repr_is_short() -> None:
    assert repr(Ids(range(10))) == "Ids([0, 1, 2, 3, 4, …], kind='int', n=10)"
    with pytest.raises(TypeError):
        hash(Ids([1]))


@given(st.lists(st.text(max_size=12).filter(lambda t: "\0" not in t)), st.integers(0, 3))
def test_rows_of_texts_equal_a_dictionary(texts: list[str], missing: int) -> None:
    """Of a text that stands more than once, the first row; also of texts that hash alike."""
    try:
        ids = Ids(texts, "str")
    except InvalidId:  # lone surrogates
        return
    first: dict[str, int] = {}
    for row, name in enumerate(texts):
        first.setdefault(name, row)
    wanted = [*texts[::-1], *(f"missing {at}" for at in range(missing))]
    rows = ids.rows_of(Ids(wanted, "str"))
    assert rows.tolist() == [first.get(name, -1) for name in wanted]
    assert ids.to_list() == texts


def test_many_texts_of_many_lengths() -> None:

    names = [f"{'x' * (at % 200)}{at}" for at in range(5000)]
    ids = Ids(names)
    assert ids.rows_of(ids).tolist() == list(range(5000))
    assert (ids.rows_of(Ids([f"y{at}" for at in range(5000)])) == -1).all()


@pytest.mark.parametrize(
    "some",
    [
        [],
        [[], ["a"]],
        [["a", "é"], [], ["", "🎈"], ["b" * 255]],
        [[1, -(2**63)], [], [2**63 - 1]],
    ],
)
def test_joined_after_each_other(some: list[list[Any]]) -> None:
    flat = [name for names in some for name in names]
    kind: Any = "int" if flat and isinstance(flat[0], int) else "str"
    joined = Ids.joined([Ids(names, kind) for names in some], kind)
    assert (joined.kind, joined.to_list()) == (kind, flat)
    assert joined == Ids(flat, kind)
    assert joined.rows_of(Ids(flat, kind)).tolist() == list(range(len(flat)))
