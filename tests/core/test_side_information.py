from typing import Any

import pytest
from itemspace import Ids
from itemspace.core.errors import DuplicateIds, InvalidId, InvalidOption, UnknownColumn
from itemspace.core.side_information import SideInformation


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
