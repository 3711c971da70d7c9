import json
import pickle
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Ids
from itemspace.builders.encodings import Encoding
from itemspace.builders.fields import Cells, Field, read_column
from itemspace.builders.side_information import Layout, encode_side, layout_of_new
from itemspace.core.errors import (
    BadRow,
    CorruptData,
    InputError,
    InvalidId,
    InvalidOption,
    UnknownColumn,
)
from itemspace.core.side_information import SideInformation

BRAND, GENRES, PRICE = Field("brand"), Field("genres", "multi"), Field("price", "numeric")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
PLAIN = st.one_of(
    st.none(), TEXTS, st.integers(-3, 3), st.booleans(), st.floats(allow_infinity=False)
)
FIELDS = st.one_of(
    st.builds(Field, TEXTS.filter(lambda name: name and ":" not in name)),
    st.builds(
        Field,
        st.just("genres"),
        st.just("multi"),
        separator=st.text(st.characters(codec="utf-8"), min_size=1, max_size=3),
    ),
    st.builds(Field, st.just("price"), st.just("numeric"), buckets=st.integers(2, 1000)),
)

Part = tuple[int, int, float]


def side_of(rows: Mapping[Any, Mapping[str, Any]]) -> SideInformation:
    return SideInformation.from_rows([{"item_id": item, **row} for item, row in rows.items()])


def parts_of(layout: Layout) -> list[list[Part]]:
    """Row, slot and share of each part, by item."""
    offsets, rows, slots, shares = layout
    assert (offsets.dtype, rows.dtype) == (np.int64, np.int32)
    assert (slots.dtype, shares.dtype) == (np.int32, np.float32)
    parts = list(zip(rows.tolist(), slots.tolist(), shares.tolist(), strict=True))
    return [parts[start:end] for start, end in pairwise(offsets.tolist())]


def texts(field: Field, *column: Any) -> list[list[str]]:
    """What is read from a column, by item."""
    offsets, values, _ = read_column(field, column)
    return [list(values[start:end]) for start, end in pairwise(offsets)]


# -- fields ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("brand", Field("brand")),
        ("brand:categorical", Field("brand")),
        ("genres:multi", Field("genres", "multi")),
        ("genres:multi:;", Field("genres", "multi", separator=";")),
        ("genres:multi::", Field("genres", "multi", separator=":")),
        ("genres:multi:, ", Field("genres", "multi", separator=", ")),
        ("price:numeric", Field("price", "numeric")),
        ("price:numeric:20", Field("price", "numeric", buckets=20)),
    ],
)
def test_a_field_is_parsed(text: str, field: Field) -> None:
    assert Field.parse(text) == field


@given(FIELDS)
def test_a_field_is_read_back_from_its_text(field: Field) -> None:
    assert Field.parse(str(field)) == field


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":multi",
        "brand:",
        "brand:colour",
        3,
        None,
        "brand:categorical:3",
        "genres:multi:",
        "price:numeric:",
        "price:numeric:1",
        "price:numeric:ten",
        "price:numeric:-3",
        "price:numeric:1_0",
        "price:numeric:٣",
    ],
)
def test_other_texts_are_no_field(text: Any) -> None:
    with pytest.raises(InvalidOption) as raised:
        Field.parse(text)
    assert raised.value.option


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"name": "schema:brand"}, "name"),
        ({"kind": "text"}, "kind"),
        ({"kind": "numeric", "buckets": 1}, "buckets"),
        ({"kind": "numeric", "buckets": True}, "buckets"),
        ({"kind": "numeric", "buckets": 2.0}, "buckets"),
        ({"buckets": 20}, "buckets"),
        ({"kind": "multi", "separator": ""}, "separator"),
        ({"kind": "numeric", "separator": ";"}, "separator"),
    ],
)
def test_options_of_a_field_are_checked(options: dict[str, Any], option: str) -> None:
    with pytest.raises(InvalidOption, match=option) as raised:
        Field(**{"name": "brand", **options})
    assert raised.value.option == option


# -- values ------------------------------------------------------------------------------------


def test_equal_values_of_different_types_are_one() -> None:
    one = [1, "1", 1.0, np.int8(1), np.float32(1), Decimal("1.00"), np.str_("1")]
    assert texts(BRAND, *one) == [["1"]] * len(one)
    assert texts(GENRES, one) == [["1"]]
    true = [True, np.bool_(True), "true"]
    assert texts(BRAND, *true) == [["true"]] * 3
    half = [1.5, "1.5", np.float64(1.5), np.float32(1.5), Decimal("1.50"), Decimal("1.5")]
    assert texts(BRAND, *half) == [["1.5"]] * len(half)


def test_other_values_are_their_text() -> None:
    given_as = [False, -0.0, 1e22, np.float32(0.1), date(2020, 1, 2), Fraction(1, 3), " a ", "ö"]
    day = np.datetime64("2020-01-02")
    long = Decimal("0.1234567890123456789012345678901")
    assert [text for (text,) in texts(BRAND, *given_as, day, long)] == [
        "false",
        "0",
        "10000000000000000000000",
        "0.1",
        "2020-01-02",
        "1/3",
        " a ",
        "ö",
        "2020-01-02",
        str(long),
    ]


class NAType:
    """As pandas.NA: its truth cannot be asked for."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = None  # type: ignore[assignment]


MISSING = [None, float("nan"), np.float32("nan"), Decimal("NaN"), "", NAType()]


def test_missing_values() -> None:
    times = [np.datetime64("NaT"), np.timedelta64("NaT")]
    assert texts(BRAND, *MISSING, *times) == [[]] * (len(MISSING) + 2)
    assert texts(GENRES, *MISSING, [], (), [None, ""], " | ") == [[]] * (len(MISSING) + 4)
    assert texts(PRICE, *MISSING, "  ") == [[]] * (len(MISSING) + 1)
    assert read_column(PRICE, [*MISSING, " nan "]).nans == 4


def test_several_values() -> None:
    column = [
        ["b", "a", "b"],
        ("b", None, "a"),
        {"b", "a"},
        frozenset("ab"),
        np.array(["b", "a"]),
        "b| a |b||",
    ]
    assert texts(GENRES, *column) == [["a", "b"]] * len(column)
    assert texts(GENRES, [2, 1.0, True], 7, "x; y") == [["1", "2", "true"], ["7"], ["x; y"]]
    assert texts(Field("genres", "multi", separator=";"), "x; y|z") == [["x", "y|z"]]


def test_numbers() -> None:
    numbers = [1, 2.5, np.int16(3), np.float32(0.5), Decimal("1.25"), " 7 ", "1e3", -0.0]
    assert texts(PRICE, *numbers) == [[1], [2.5], [3], [0.5], [1.25], [7], [1000], [0]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (BRAND, ["a"]),
        (BRAND, {"a": 1}),
        (BRAND, {"a"}),
        (BRAND, np.array(["a"])),
        (BRAND, b"a"),
        (BRAND, "\ud800"),
        (BRAND, Decimal("Infinity")),
        (GENRES, [["a"]]),
        (GENRES, {"a": 1}),
        (GENRES, np.array("a")),
        (GENRES, "a|\ud800"),
        (PRICE, "cheap"),
        (PRICE, float("inf")),
        (PRICE, "-inf"),
        (PRICE, 10**400),
        (PRICE, Decimal("sNaN")),
        (PRICE, True),
        (PRICE, np.timedelta64(3, "D")),
        (PRICE, date(2020, 1, 2)),
        (PRICE, [1]),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_item(field: Field, value: Any) -> None:
    side = SideInformation.from_columns(["x", "y"], {field.name: [None, value]})
    with pytest.raises(BadRow, match=f"'y', field '{field.name}': expected") as raised:
        encode_side(Ids(["x", "y"]), side, [field])
    error = raised.value
    assert isinstance(error, InputError)
    assert (error.column, error.value) == (field.name, repr(value))
    assert error.details["item"] == "y"
    assert pickle.loads(pickle.dumps(error)).message == error.message
    with pytest.raises(BadRow, match="Item 0, "):
        Encoding.learn(field, [value])


# -- side information --------------------------------------------------------------------------


class Arrow:
    def to_pylist(self) -> list[Any]:
        return [1, None]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.array([1, 2], dtype=np.int8), ["1", "2"]),
        (np.array([0.1, np.nan], dtype=np.float32), ["0.1"]),
        (np.array([0.1, 2.0]), ["0.1", "2"]),
        (np.array(["a", ""]), ["a"]),
        (np.array([None, True], dtype=object), ["true"]),
        (
            np.array(["2020-01-02", "NaT"], dtype="datetime64[ns]"),
            ["2020-01-02T00:00:00.000000000"],
        ),
        (np.ma.array([1, 2], mask=[True, False]), ["2"]),
        (np.ma.array(["a", "b"], mask=[False, True], dtype=object), ["a"]),
        (Arrow(), ["1"]),
        (iter([1, None]), ["1"]),
    ],
)
def test_columns_of_every_make(column: Any, expected: list[str]) -> None:
    side = SideInformation.from_columns([1, 2], brand=column)
    assert read_column(BRAND, side.columns["brand"]).values == expected


def test_fields_that_do_not_fit() -> None:
    side = SideInformation.from_columns([1], brand="a", price=[1])
    with pytest.raises(UnknownColumn, match=r"'genres'; it has: brand, price\.") as raised:
        encode_side(Ids([1]), side, [GENRES])
    assert (raised.value.column, raised.value.details["columns"]) == ("genres", ["brand", "price"])
    with pytest.raises(InvalidOption, match="declared twice"):
        encode_side(Ids([1]), side, [BRAND, PRICE, Field("brand", "multi")])
    with pytest.raises(UnknownColumn):
        layout_of_new([Encoding.learn(GENRES, ["a"])], side)
    with pytest.raises(InvalidId):
        encode_side(Ids(["1"]), side, [BRAND])


# -- encodings ---------------------------------------------------------------------------------


def test_values_become_codes_in_their_order() -> None:
    encoding = Encoding.learn(GENRES, ["b|a", None, "c", "a"])
    assert (encoding.values, len(encoding)) == (("a", "b", "c"), 3)
    encoded = encoding.encode(["c|x|a", None, "x", "y", "b"])
    assert (encoded.offsets.dtype, encoded.codes.dtype) == (np.int64, np.int32)
    assert encoded.offsets.tolist() == [0, 2, 2, 2, 2, 3]
    assert encoded.codes.tolist() == [0, 2, 1]
    assert list(encoded.unknown.items()) == [("x", 2), ("y", 1)]
    assert (encoded.missing, encoded.nans) == (1, 0)


def test_a_few_numbers_are_a_bucket_each() -> None:
    encoding = Encoding.learn(PRICE, [5, 1, None, 1, float("nan"), 2])
    assert (encoding.edges.tolist(), len(encoding)) == ([2, 5], 3)
    assert encoding.edges.dtype == np.float64
    encoded = encoding.encode([-100, 1, 1.9, 2, 4, 5, 100, None, float("nan")])
    assert encoded.codes.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert (encoded.missing, encoded.nans, encoded.unknown) == (2, 1, {})


def test_many_numbers_are_quantile_buckets() -> None:
    encoding = Encoding.learn(Field("price", "numeric", buckets=4), list(range(100)))
    assert encoding.edges.tolist() == [25, 50, 75]
    # A number that most items have is a bucket, and the rest is told apart.
    zeros = Encoding.learn(PRICE, [0] * 80 + list(range(1, 21)))
    assert zeros.edges.tolist() == [1, 11]
    fives = Encoding.learn(PRICE, [20] * 80 + list(range(20)))
    assert fives.edges.tolist() == [10, 20]


@given(
    st.lists(st.one_of(st.integers(0, 30), st.floats(-1e300, 1e300)), min_size=1),
    st.integers(2, 12),
)
def test_no_bucket_is_empty(numbers: list[float], buckets: int) -> None:
    encoding = Encoding.learn(Field("price", "numeric", buckets=buckets), numbers)
    codes = encoding.encode(numbers).codes
    assert set(codes.tolist()) == set(range(len(encoding)))
    assert (np.diff(codes[np.argsort(numbers, kind="stable")]) >= 0).all()
    distinct = len(set(numbers))
    assert min(distinct, 2) <= len(encoding) <= min(distinct, buckets)
    if distinct <= buckets:
        assert len(encoding) == distinct


@given(FIELDS, st.lists(PLAIN), st.lists(PLAIN))
def test_an_encoding_is_read_back_from_json(
    field: Field, learned: list[Any], later: list[Any]
) -> None:
    if field.kind == "numeric":
        learned, later = (
            [one for one in column if not isinstance(one, str | bool)]
            for column in (learned, later)
        )
    encoding = Encoding.learn(field, learned)
    text = json.dumps(encoding.to_dict(), ensure_ascii=False, allow_nan=False)
    text.encode()
    again = Encoding.from_dict(json.loads(text))
    assert (again.field, again.values, len(again)) == (field, encoding.values, len(encoding))
    for column in (learned, later):
        expected, found = encoding.encode(column), again.encode(column)
        assert found.codes.tolist() == expected.codes.tolist()
        assert found.offsets.tolist() == expected.offsets.tolist()
        assert found[2:] == expected[2:]
    assert encoding.encode(learned).unknown == {}
    assert set(encoding.encode(learned).codes.tolist()) >= set(range(len(encoding.values)))


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"field": "brand"},
        {"field": 3, "values": []},
        {"field": "brand:colour", "values": []},
        {"field": "brand", "values": ["b", "a"]},
        {"field": "brand", "values": ["a", "a"]},
        {"field": "price:numeric", "values": ["cheap"]},
        {"field": "price:numeric", "values": [2.0, 1.0]},
        {"field": "price:numeric", "values": 3},
    ],
)
def test_what_is_no_encoding(stored: dict[str, Any]) -> None:
    with pytest.raises(CorruptData, match="no encoding"):
        Encoding.from_dict(stored)


# -- layouts -----------------------------------------------------------------------------------

FILMS: dict[str, dict[str, Any]] = {
    "a": {"brand": "x", "genres": "Drama|Comedy", "price": 3},
    "b": {"brand": None, "genres": "", "price": 1},
    "z": {"brand": "only here", "genres": "Western", "price": 1000},
    "c": {"brand": "y", "genres": ["Comedy"], "price": None},
}


def test_a_layout_by_hand() -> None:
    vocabulary = Ids(["c", "a", "new", "b"])
    encodings, layout, report = encode_side(vocabulary, side_of(FILMS), [BRAND, GENRES, PRICE])
    assert [encoding.values for encoding in encodings] == [("x", "y"), ("Comedy", "Drama"), ()]
    assert encodings[2].edges.tolist() == [3]
    assert parts_of(layout) == [
        [(0, 0, 1), (5, 1, 1), (6, 2, 1)],
        [(1, 0, 1), (4, 1, 1), (6, 2, 0.5), (7, 2, 0.5), (9, 3, 1)],
        [(2, 0, 1)],
        [(3, 0, 1), (8, 3, 1)],
    ]
    assert report == [
        "No row in the side information for 1 of 4 items.",
        "Field 'brand': no value for 2 of 4 items.",
        "Field 'genres': no value for 2 of 4 items.",
        "Field 'price': no value for 2 of 4 items.",
    ]


def test_fields_that_tell_nothing_are_left_out() -> None:
    nan = float("nan")
    side = SideInformation.from_columns(
        [1, 2, 3],
        same="aaa",
        none=[None] * 3,
        gone=[nan] * 3,
        flat=[2, 2.0, "2"],
        some=["a", None, None],
        brand="aba",
    )
    declared = ["same", "none", "gone:numeric", "flat:numeric", "some:multi", "brand"]
    encodings, layout, report = encode_side(Ids([1, 2, 3]), side, [*map(Field.parse, declared)])
    assert [str(encoding.field) for encoding in encodings] == ["some:multi", "brand"]
    assert parts_of(layout) == [
        [(0, 0, 1), (3, 1, 1), (4, 2, 1)],
        [(1, 0, 1), (5, 2, 1)],
        [(2, 0, 1), (4, 2, 1)],
    ]
    assert report == [
        "Field 'same' is left out: all items have the same value.",
        "Field 'none': no value for 3 of 3 items.",
        "Field 'none' is left out: no item has a value.",
        "Field 'gone': no value for 3 of 3 items.",
        "Field 'gone': NaN, taken as no value, for 3 of them.",
        "Field 'gone' is left out: no item has a value.",
        "Field 'flat' is left out: all items have the same value.",
        "Field 'some': no value for 2 of 3 items.",
    ]


def test_a_value_that_all_known_items_share_stays_if_one_is_unknown() -> None:
    side = SideInformation.from_columns([1, 2], brand="aa")
    encodings, layout, _ = encode_side(Ids([1, 2, 3]), side, [BRAND])
    assert len(encodings) == 1
    assert parts_of(layout)[2] == [(2, 0, 1)]


def test_without_fields_or_items() -> None:
    side = SideInformation.from_columns([1], brand="a")
    encodings, layout, report = encode_side(Ids([1, 2]), side, [])
    assert (encodings, parts_of(layout)) == ([], [[(0, 0, 1)], [(1, 0, 1)]])
    assert report == ["No row in the side information for 1 of 2 items."]
    assert parts_of(encode_side(Ids([]), side, [BRAND])[1]) == []
    empty = SideInformation.from_columns([], brand=[])
    encodings, layout, report = encode_side(Ids(["x"]), empty, [BRAND])
    assert (encodings, parts_of(layout)) == ([], [[(0, 0, 1)]])
    assert parts_of(layout_of_new([], side)[0]) == [[]]
    assert parts_of(layout_of_new([Encoding.learn(BRAND, "ab")], empty)[0]) == []


def test_values_of_other_items_are_not_read() -> None:
    side = SideInformation.from_columns([1, 2, 3], price=[1, 2, "cheap"])
    encodings, _, _ = encode_side(Ids([2, 1]), side, [PRICE])
    assert encodings[0].edges.tolist() == [2]


def test_new_items() -> None:
    encodings, _, _ = encode_side(Ids(["c", "a", "b"]), side_of(FILMS), [BRAND, GENRES, PRICE])
    side = SideInformation.from_columns(
        ["n", "o", "p", "q"],
        brand=["y", "w", None, "w"],
        genres=["War|Drama|Noir|Comedy", "War", None, {"Drama", "Epic", "Camp"}],
        price=[2.5, None, float("nan"), "1e9"],
    )
    layout, report = layout_of_new(encodings, side)
    assert parts_of(layout) == [
        [(1, 1, 1), (2, 2, 0.5), (3, 2, 0.5), (4, 3, 1)],
        [],
        [],
        [(3, 2, 1), (5, 3, 1)],
    ]
    assert report == [
        "Field 'brand': no value for 1 of 4 items.",
        "Field 'brand': values that training did not see, skipped 2 times, 1 distinct: 'w'.",
        "Field 'genres': no value for 1 of 4 items.",
        "Field 'genres': values that training did not see, skipped 5 times, 4 distinct: "
        "'War', 'Noir', 'Camp', ….",
        "Field 'price': no value for 2 of 4 items.",
        "Field 'price': NaN, taken as no value, for 1 of them.",
        "No value that training saw for 2 of 4 items: 'o', 'p'.",
    ]


def plain_parts(
    count: int, columns: Sequence[tuple[tuple[str, ...], Mapping[int, set[str]]]]
) -> list[list[Part]]:
    """A layout made one item after another, from what is known and what each item has."""
    made = []
    for item in range(count):
        parts: list[Part] = [(item, 0, 1.0)]
        start = count
        for slot, (known, values_of) in enumerate(columns, 1):
            values = sorted(values_of.get(item, ()))
            share = float(np.float32(1 / max(1, len(values))))
            parts += [(start + known.index(value), slot, share) for value in values]
            start += len(known)
        made.append(parts)
    return made


@given(
    st.integers(1, 12),
    st.dictionaries(
        st.integers(0, 15),
        st.tuples(st.sampled_from([None, "x", "y", "z"]), st.lists(st.sampled_from("abcde"))),
    ),
)
def test_a_layout_is_that_of_plain_python(
    count: int, known: dict[int, tuple[str | None, list[str]]]
) -> None:
    side = SideInformation.from_columns(
        list(known),
        brand=[brand for brand, _ in known.values()],
        genres=[genres for _, genres in known.values()],
    )
    values_of = {
        "brand": {item: {brand} if brand else set() for item, (brand, _) in known.items()},
        "genres": {item: set(genres) for item, (_, genres) in known.items()},
    }
    encodings, layout, _ = encode_side(Ids(range(count)), side, [BRAND, GENRES])
    assert {encoding.field.name for encoding in encodings} == {
        name
        for name, values in values_of.items()
        if any(values.get(item) for item in range(count))
        and len({tuple(values.get(item, ())) for item in range(count)}) > 1
    } | {
        # All items have the same values, but several of them.
        name
        for name, values in values_of.items()
        if len({tuple(sorted(values.get(item, ()))) for item in range(count)}) == 1
        and len(values.get(0, ())) > 1
    }
    columns = [(encoding.values, values_of[encoding.field.name]) for encoding in encodings]
    trained = parts_of(layout)
    assert trained == plain_parts(count, columns)
    new, _ = layout_of_new(encodings, side)
    for item, parts in zip(known, parts_of(new), strict=True):
        if item < count:
            assert [(count + row, slot, share) for row, slot, share in parts] == trained[item][1:]


def test_many_items() -> None:
    count = 200_000
    rng = np.random.default_rng(3)
    side = SideInformation.from_columns(
        rng.permutation(count),
        brand=rng.integers(0, 5000, count),
        colour=rng.choice(np.array(["red", "blue", "", "green"]), count),
        genres=rng.choice(np.array(["a|b", "b|c|d", "", "e"]), count),
        price=rng.lognormal(size=count),
        stock=np.where(rng.random(count) < 0.9, 0, rng.random(count)),
    )
    declared = ["brand", "colour", "genres:multi", "price:numeric", "stock:numeric:4"]
    encodings, layout, report = encode_side(
        Ids(np.arange(count)), side, [*map(Field.parse, declared)]
    )
    assert [len(encoding) for encoding in encodings] == [5000, 3, 5, 10, 2]
    assert len(report) == 2
    assert layout.rows.max() == count + 5019
    sums = np.zeros((count, 6))
    items = np.repeat(np.arange(count), np.diff(layout.offsets))
    np.add.at(sums, (items, layout.slots), layout.shares)
    assert np.isin(np.round(sums, 6), [0, 1]).all()
    assert (sums[:, [0, 1, 4, 5]] > 0).all()


def test_cells_are_read_once() -> None:
    cells = read_column(BRAND, ["a"])
    assert isinstance(cells, Cells)
    assert read_column(BRAND, cells) is cells
