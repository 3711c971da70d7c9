import math
import pickle
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Ids
from itemspace.core.errors import DuplicateIds, InvalidId, InvalidOption, UnknownColumn
from itemspace.core.side_information import ColumnCoverage, SideInformation


def test_rows_and_columns_are_the_same() -> None:
    rows: list[dict[str, Any]] = [
        {"item_id": 7, "brand": "a"},
        {"brand": None, "item_id": 3, "price": 2},
    ]
    side = SideInformation.from_rows(rows)
    assert side.ids == Ids([7, 3])
    assert side.columns == {"brand": ["a", None], "price": [None, 2]}
    assert len(side) == 2
    assert repr(side) == "<SideInformation of 2 items: brand, price>"
    mapping = {"brand": ["a", None]}
    assert SideInformation.from_columns([7, 3], mapping, price=(None, 2)).columns == side.columns
    named = SideInformation.from_columns([7, 3], ids="ab", columns="cd")
    assert named.columns == {"ids": ["a", "b"], "columns": ["c", "d"]}
    other = SideInformation.from_rows([{"sku": "x", "item_id": 1}], id_column="sku")
    assert (other.ids.to_list(), other.columns) == (["x"], {"item_id": [1]})
    assert repr(SideInformation.from_rows([])) == "<SideInformation of 0 items: no columns>"


def test_columns_that_do_not_fit() -> None:
    with pytest.raises(InvalidOption, match=r"'brand' has 1 for 2 items") as raised:
        SideInformation.from_columns([1, 2], brand=["a"])
    assert raised.value.option == "brand"
    with pytest.raises(DuplicateIds, match="2 duplicate ids in the side information"):
        SideInformation.from_columns([1, 2, 1, 1], brand="abcd")
    with pytest.raises(UnknownColumn, match=r"Row 1 has no column 'item_id'; it has: brand\."):
        SideInformation.from_rows([{"item_id": 1}, {"brand": "a"}])
    with pytest.raises(InvalidId):
        SideInformation.from_rows([{"item_id": None}])


def test_one_column() -> None:
    side = SideInformation.from_columns([1, 2], brand="ab", price=[3, None])
    assert side.column("price") == [3, None]
    with pytest.raises(UnknownColumn, match="no column 'size'; it has: brand, price") as raised:
        side.column("size")
    assert raised.value.details["columns"] == ["brand", "price"]


def test_without_some_items() -> None:
    side = SideInformation.from_columns([5, 2, 9], brand="abc")
    rest = side.without(Ids([2, 7]))
    assert (list(rest.ids), rest.columns) == ([5, 9], {"brand": ["a", "c"]})
    assert len(side.without(side.ids)) == 0
    assert side.without(Ids([], "int")).columns == side.columns
    with pytest.raises(InvalidId):
        side.without(Ids(["2"]))


def test_what_was_left_out_is_kept() -> None:
    side = SideInformation(Ids([1, 2]), {"a": "xy"}, report=["One.", "Two."])
    assert side.report == ("One.", "Two.")
    assert side.without(Ids([2])).report == side.report
    assert SideInformation.from_columns([1], a="x").report == ()


def test_coverage() -> None:
    side = SideInformation.from_columns(
        ["p", "q", "r", "s"],
        brand=["a", "", None, "a"],
        tags=[["x", "y", None], [], ("x",), {"", "z"}],
        price=[1, 1.0, math.nan, Decimal("NaN")],
        when=np.array(["2024-01-01", "NaT", "NaT", "2024-01-01"], dtype="datetime64[s]"),
        size=np.ma.masked_array([1, 2, 3, 4], [True, False, False, True]),
        nested=[{"a": 1}, {"a": 1}, [{"a": 2}, [3]], None],
        mixed=[1, "1", True, 0],
    )
    found = {one.column: one for one in side.coverage()}
    assert list(found) == list(side.columns)
    assert found["brand"] == ColumnCoverage("brand", items=4, present=2, distinct=1, values=2)
    assert found["tags"] == ColumnCoverage("tags", items=4, present=3, distinct=3, values=4)
    assert found["price"] == ColumnCoverage("price", items=4, present=2, distinct=1, values=2)
    assert found["when"] == ColumnCoverage("when", items=4, present=2, distinct=1, values=2)
    assert found["size"] == ColumnCoverage("size", items=4, present=2, distinct=2, values=2)
    assert found["nested"] == ColumnCoverage("nested", items=4, present=3, distinct=3, values=4)
    assert found["mixed"] == ColumnCoverage("mixed", items=4, present=4, distinct=3, values=4)
    assert str(found["brand"]) == "brand: 2 of 4 items (50.0 %), 1 distinct values"
    assert str(found["tags"]) == (
        "tags: 3 of 4 items (75.0 %), 3 distinct values, 1.3 for each of these items"
    )
    assert (found["tags"].share, found["tags"].values_per_item) == (0.75, 4 / 3)
    assert pickle.loads(pickle.dumps(found["tags"])) == found["tags"]


def test_coverage_of_nothing() -> None:
    [none] = SideInformation.from_columns([], brand=[]).coverage()
    assert (none.share, none.values_per_item) == (0, 0)
    assert str(none) == "brand: 0 of 0 items (0.0 %), 0 distinct values"
    assert SideInformation.from_columns([1]).coverage() == []


_VALUES = st.none() | st.text(max_size=2) | st.integers(-2, 2)


@given(st.lists(_VALUES | st.lists(_VALUES, max_size=3), max_size=8))
def test_coverage_equals_counting(cells: list[Any]) -> None:
    def values(cell: Any) -> Iterable[Any]:
        return [
            one for one in (cell if isinstance(cell, list) else [cell]) if one not in (None, "")
        ]

    [found] = SideInformation.from_columns(range(len(cells)), {"a": cells}).coverage()
    flat = [one for cell in cells for one in values(cell)]
    assert found.present == sum(1 for cell in cells if values(cell))
    assert (found.items, found.distinct, found.values) == (len(cells), len(set(flat)), len(flat))
