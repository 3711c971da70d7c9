from datetime import date
from pathlib import Path

import pytest
from itemspace.catalog.item_files import read_item_file
from itemspace.core.errors import BadRow, MissingColumn


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    path.write_text(
        "sku,brand,price,since,new,nothing,more\n"
        "007,9,1.50,2020-01-02,True,,x\n8,,inf,2021-01-02,false,,y\n"
    )
    return path


def test_values_are_of_the_types_that_ingest_finds(file: Path) -> None:
    names = ["brand", "price", "since", "new", "nothing", "colour", "brand"]
    side, report = read_item_file(file, names, id_column="sku", id_kind="str")
    assert list(side.ids) == ["007", "8"]
    assert {name: list(side.column(name)) for name in side.columns} == {
        "brand": [9, None],
        "price": [1.5, None],
        "since": [date(2020, 1, 2), date(2021, 1, 2)],
        "new": [True, False],
        "nothing": [None, None],
        "colour": [None, None],
    }
    assert report == [
        "new.csv has no column 'colour'.",
        "new.csv: 1 values of price are NaN or infinite, taken as no value.",
    ]


def test_the_ids_may_be_a_field(file: Path) -> None:
    side, _ = read_item_file(file, ["sku"], id_column="sku", id_kind="str")
    assert list(side.column("sku")) == ["007", "8"]


def test_ids_are_of_the_kind_that_is_asked_for(file: Path) -> None:
    with pytest.raises(BadRow, match=r"line 2, column sku: .* \(received '007'\)\. Correct it\."):
        read_item_file(file, ["brand"], id_column="sku", id_kind="int")


def test_columns_that_are_not_there(file: Path) -> None:
    with pytest.raises(MissingColumn, match=r"no column 'item_id' of ids.*\(--id-column\)"):
        read_item_file(file, ["brand"], id_kind="str")
    with pytest.raises(MissingColumn, match="none of the columns colour, size; it has: sku"):
        read_item_file(file, ["colour", "size"], id_column="sku", id_kind="str")
