"""``side``, ``cold-start``, and ``--field``, ``--related``, ``--json-field`` of others."""

import csv
import json
import os
import sqlite3
import sys
import tomllib
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from itemspace import VectorSet
from itemspace.builders.cold_start import ColdStart
from itemspace.builders.eges import EGES
from itemspace.builders.options import OneOf
from itemspace.cli.app import main
from itemspace.core.conversions import from_npz, from_parquet

KINDS = ("shoes", "bags", "hats")
QUICK = ["-o", "dim=8", "-o", "num_walks=3", "-o", "threads=1", "--gap", "1800"]
BUILD = ["build", "eges", *QUICK, "--no-evaluate"]
FIELDS = ["--field", "kind", "--field", "tags:multi", "--field", "price:numeric:4"]


@pytest.fixture(autouse=True)
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Path:
    """60 items of three kinds, two of which nobody has clicked; sessions are of one kind."""
    for name in list(os.environ):
        if name.startswith("ITEMSPACE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    with Path("items.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["item_id", "kind", "tags", "price", "shop"])
        for item in range(60):
            tags = f"{KINDS[item % 3]}|{'old' if item % 2 else 'new'}"
            writer.writerow([item, KINDS[item % 3], tags, "" if item == 5 else item % 9, "one"])
    with Path("log.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        for session in range(200):
            for step in range(5):
                item = session % 3 + 3 * int(rng.integers(19))
                if item < 58:
                    writer.writerow([f"u{session % 40}", item, session * 10_000 + step])
    assert main(["ingest", "--items", "items.csv", "--interactions", "log.csv"]) == 0
    capfd.readouterr()
    return tmp_path


def told(capfd: pytest.CaptureFixture[str], words: list[str], code: int = 0) -> tuple[str, str]:
    assert main(words) == code
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return out, err


def builds() -> list[Path]:
    return sorted(Path("itemspace-data/builds").glob("*-eges"))


def new_items(**columns: list[Any]) -> None:
    with Path("new.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *zip(*columns.values(), strict=True)])


def test_a_build_says_what_its_fields_weigh(capfd: pytest.CaptureFixture[str]) -> None:
    words = ["build", "eges", *QUICK, *FIELDS, "--field", "shop", "--chart", "weights.svg"]
    out, err = told(capfd, words)
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines[:4]] == ["builder", "eges", "itemknn", "popularity"]
    assert lines[4] == ["slot", "weight"]
    weights = [float(line[1]) for line in lines[5:]]
    assert {line[0] for line in lines[5:]} == {"item", "kind", "tags", "price"}
    assert weights == sorted(weights, reverse=True)
    assert "Field 'price': no value for 1 of 57 items." in err
    assert "Field 'shop' is left out: all items have the same value." in err
    assert "Build 1: 57 items × 8 by eges" in err
    assert "tags" in Path("weights.svg").read_text() or Path("weights.svg").stat().st_size > 1000

    [path] = builds()
    lineage = VectorSet.open(path).lineage
    assert lineage["options"]["fields"] == ["kind", "tags:multi", "price:numeric:4", "shop"]
    assert f"{lineage['field_weights'][lines[5][0]]:.4f}" == lines[5][1]
    assert lineage["measures"]["cases"] == 40 * 5
    assert ColdStart.load(f"{path}-cold-start").rows.shape[1] == 8


def test_fields_are_an_option_like_others(capfd: pytest.CaptureFixture[str]) -> None:
    said = ["-o", "fields=kind", "-o", "fields=tags:multi:|", "--field", "price:numeric:4"]
    Path("eges.toml").write_text(
        'builder = "eges"\n[options]\ndim = 8\nnum_walks = 3\nthreads = 1\n'
        'fields = ["kind", "tags:multi", "price:numeric:4"]\n[user]\nrecent = 10\ndecay = 1.0\n'
    )
    for words in (
        [*BUILD, *FIELDS],
        [*BUILD, *said],
        ["build", "--config", "eges.toml", "--gap", "1800", "--no-evaluate"],
    ):
        told(capfd, words)
    one, two, three = (VectorSet.open(path).matrix for path in builds())
    assert np.array_equal(one, two)
    assert np.array_equal(one, three)
    told(capfd, ["build", "--config", "eges.toml", "--field", "shop", "--field", "kind", *QUICK])
    lineage = VectorSet.open(builds()[-1]).lineage
    assert lineage["options"]["fields"] == ["shop", "kind"]


def test_bge_needs_no_fields(capfd: pytest.CaptureFixture[str]) -> None:
    out, err = told(capfd, [*BUILD, "-o", "mode=bge"])
    assert out == ""
    assert "57 items × 8 by eges" in err
    _, err = told(capfd, ["cold-start", "--missing"], 4)
    assert "no build yet that has a cold start; make one with `itemspace build eges --field" in err
    assert "no build 1 that has" in told(capfd, ["cold-start", "--missing", "--build", "1"], 4)[1]


def test_evaluate(capfd: pytest.CaptureFixture[str]) -> None:
    own = "eges:dim=8,num_walks=3,fields=kind,fields=tags:multi"
    words = ["evaluate", "popularity", "eges:dim=8,num_walks=3", own, "--field", "price:numeric"]
    found = json.loads(told(capfd, [*words, "--format", "json"])[0])
    options = [builder["options"].get("fields") for builder in found["builders"]]
    assert options == [None, ["price:numeric"], ["kind", "tags:multi"]]


def test_tune(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(EGES, "search_space", {"mode": OneOf(("eges", "ges"))})
    words = ["tune", "eges", "--trials", "2", "--field", "kind", "--field", "tags:multi", *QUICK]
    told(capfd, [*words, "--out", "best.toml"])
    assert tomllib.loads(Path("best.toml").read_text())["options"]["fields"] == [
        "kind",
        "tags:multi",
    ]
    assert "by eges" in told(capfd, ["build", "--config", "best.toml", "--no-evaluate"])[1]


def test_cold_start(capfd: pytest.CaptureFixture[str]) -> None:
    told(capfd, [*BUILD, *FIELDS])
    told(capfd, ["build", "item2vec", "--no-evaluate", "-o", "dim=4"])
    vectors = VectorSet.open(builds()[0])
    new_items(
        sku=[7, 900, 901, 902],
        kind=["hats", "shoes", "ties", ""],
        tags=["hats|new", "shoes|rare", "", ""],
        price=[3, "nan", "", ""],
    )
    words = ["cold-start", "--items", "new.csv", "--id-column", "sku"]
    out, err = told(capfd, [*words, "--out", "new.npz"])
    assert out == ""
    for sentence in (
        "new.csv: 1 values of price are NaN or infinite, taken as no value.",
        "1 of 4 items have a vector in build 1 already.",
        "Field 'kind': values that training did not see, skipped 1 times, 1 distinct: 'ties'.",
        "No value that training saw for 2 of 4 items: 901, 902.",
        "Wrote 2 × 8 for 4 items, from build 1, to new.npz",
    ):
        assert sentence in err
    found = from_npz("new.npz")
    assert list(found.ids) == [7, 900]
    assert found.lineage == {"builder": "eges cold start", "method": "mean", "build": 1}
    near = {kind: [item for item in range(57) if item % 3 == at] for at, kind in enumerate(KINDS)}
    cosines = {
        kind: float((found.vectors([900]) @ vectors.vectors(items).T).mean())
        for kind, items in near.items()
    }
    assert max(cosines, key=lambda kind: cosines[kind]) == "shoes"

    told(capfd, [*words, "--out", "new.parquet", "--method", "weighted"])
    assert not np.allclose(from_parquet("new.parquet").matrix, found.matrix)


def test_cold_start_of_parquet_and_some_fields(capfd: pytest.CaptureFixture[str]) -> None:
    told(capfd, [*BUILD, *FIELDS])
    with duckdb.connect() as db:
        db.execute(
            "COPY (SELECT 900 AS item_id, ['shoes', 'new'] AS tags) "
            "TO 'new.parquet' (FORMAT parquet)"
        )
    new_items(item_id=[900], tags=["shoes|new"])
    for name in ("new.parquet", "new.csv"):
        _, err = told(capfd, ["cold-start", "--items", name, "--out", f"{name}.npz"])
        assert f"{name} has no column 'kind'.\n{name} has no column 'price'.\n" in err
    one, two = (from_npz(f"{name}.npz").matrix for name in ("new.parquet", "new.csv"))
    assert np.array_equal(one, two)


def test_cold_start_of_what_the_catalog_has(capfd: pytest.CaptureFixture[str]) -> None:
    told(capfd, [*BUILD, *FIELDS])
    _, err = told(capfd, ["cold-start", "--missing"])
    assert "Wrote 3 × 8 for 3 items, from build 1, to cold-start.npz" in err
    assert list(from_npz("cold-start.npz").ids) == [57, 58, 59]
    with sqlite3.connect("itemspace.db") as db:
        db.execute("DELETE FROM item WHERE item_id > 56")
    db.close()
    _, err = told(capfd, ["cold-start", "--missing", "--out", "none.npz"])
    assert "Every item of the catalog has a vector in build 1; nothing was written." in err
    assert not Path("none.npz").exists()


PLACES = ["--related", "tag=item_tag.item_id.tag", "--json-field", "brand=extra.brand.name"]
ELSEWHERE = ["--field", "tag:multi", "--field", "brand", *PLACES]


@pytest.fixture
def elsewhere(shop: Path) -> None:
    """The tags in a table of their own, and a brand inside JSON."""
    with sqlite3.connect("itemspace.db") as db:
        db.execute("CREATE TABLE item_tag (item_id INTEGER, tag TEXT)")
        rows = [(at, tag) for at in range(60) for tag in (KINDS[at % 3], "new", "new")[at % 2 :]]
        db.executemany("INSERT INTO item_tag VALUES (?, ?)", [*rows, (77, "new"), (3, None)])
        db.execute("ALTER TABLE item ADD COLUMN extra TEXT")
        db.execute(
            "UPDATE item SET extra = json_object('brand', json_object('name', kind)) "
            "WHERE item_id > 9"
        )
        db.execute("UPDATE item SET extra = '{' WHERE item_id = 1")
    db.close()


def table(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


@pytest.mark.usefixtures("elsewhere")
def test_side(capfd: pytest.CaptureFixture[str]) -> None:
    """Declared fields are counted as builders read them, others as they stand."""
    out, err = told(capfd, ["side", *FIELDS, "--field", "shop", *PLACES])
    assert out.splitlines()[0].split("  ")[-1].strip() == "values per item"
    assert table(out)[1:] == [
        ["kind", "60", "100.0", "%", "3"],
        ["tags", "60", "100.0", "%", "5", "2.00"],
        ["price", "59", "98.3", "%", "9"],
        ["shop", "60", "100.0", "%", "1"],
        ["tag", "60", "100.0", "%", "4", "1.50"],
        ["brand", "50", "83.3", "%", "3"],
    ]
    assert err.splitlines() == [
        "Field 'tag': skipped 1 values of ids that no item has, such as 77.",
        "Field 'brand': no valid JSON for 1 of 60 items.",
        "Field 'brand': nothing at extra.brand.name for 9 of 60 items.",
        "60 items",
    ]
    out, _ = told(capfd, ["side", "--field", "tags"])
    assert table(out)[1] == ["tags", "60", "100.0", "%", "6"]


@pytest.mark.usefixtures("elsewhere")
def test_fields_that_stand_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out, err = told(capfd, [*BUILD, *ELSEWHERE])
    assert {line[0] for line in table(out)[1:]} == {"item", "tag", "brand"}
    assert "Field 'tag': skipped 1 values" in err
    assert "Field 'brand': no value for 10 of 57 items." in err
    lineage = VectorSet.open(builds()[0]).lineage
    assert lineage["fields_from"] == {
        "related": ["tag=item_tag.item_id.tag"],
        "json_field": ["brand=extra.brand.name"],
    }
    # The cold start looks where the build did, unless it is told another place.
    _, err = told(capfd, ["cold-start", "--missing"])
    assert "Field 'brand': no valid JSON for 1 of 60 items." in err
    assert "Wrote 3 × 8 for 3 items, from build 1, to cold-start.npz" in err
    again = ["--related", "tag=item_tag.item_id.tag", "--json-field", "brand=extra.none"]
    _, err = told(capfd, ["cold-start", "--missing", *again, "--out", "other.npz"])
    assert "Field 'brand': no value for 3 of 3 items." in err

    words = ["evaluate", "eges:dim=8,num_walks=3", *ELSEWHERE, "--format", "json"]
    assert json.loads(told(capfd, words)[0])["builders"][0]["options"]["fields"] == [
        "tag:multi",
        "brand",
    ]
    monkeypatch.setattr(EGES, "search_space", {"mode": OneOf(("eges", "ges"))})
    words = ["tune", "eges", "--trials", "1", *ELSEWHERE, *QUICK, "--out", "best.toml"]
    _, err = told(capfd, words)
    assert f"itemspace build --config best.toml --gap 1800 {' '.join(PLACES)}\n" in err
    assert "by eges" in told(capfd, ["build", "--config", "best.toml", *PLACES, *BUILD[-1:]])[1]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["side"], 2, "Name the fields to look at"),
        (["side", "--field", "colour"], 2, "'colour'; it has: item_id, kind, tags, price, shop"),
        (["side", "--field", "kind:numeric"], 3, "field 'kind': expected a finite number"),
        (["side", "--related", "tag=item_tag.tag"], 2, "--related is NAME=TABLE.ITEM_COLUMN.VAL"),
        (["side", "--related", "item_tag.item_id.tag"], 2, "--related is NAME=TABLE.ITEM_COLUMN"),
        (["side", "--related", "tag=tags.item_id.tag"], 4, "There is no table 'tags'"),
        (["side", "--related", "tag=item_tag.sku.tag"], 2, "'sku'; it has: item_id, tag"),
        (["side", "--json-field", "brand"], 2, "--json-field is NAME=COLUMN.KEY…"),
        (["side", "--json-field", "brand=extra..name"], 2, "--json-field is NAME=COLUMN.KEY…"),
        (["side", *PLACES, "--json-field", "tag=extra"], 2, "say twice where 'tag' stands"),
        ([*BUILD, "--field", "kind", *PLACES], 2, "No field is named 'tag'; there are: kind. Na"),
        (["build", "pmi", *PLACES, "--no-evaluate"], 2, "'tag'; there are: none"),
        ([*BUILD, "--field", "tag:multi"], 2, "in another table is Related(…) or --related"),
        (["cold-start", "--items", "items.csv", *PLACES], 2, "are for the items of the catalog"),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_errors_of_places(
    capfd: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    out, err = told(capfd, words, code)
    assert text in err
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["build", "item2vec", "--field", "kind"], 2, "item2vec reads no side information"),
        (["tune", "pmi", "--trials", "2", "--field", "kind"], 2, "pmi reads no side information"),
        (["evaluate", "popularity", "--field", "kind"], 2, "None of the builders reads"),
        ([*BUILD, "--field", "colour"], 2, "'colour'; it has: item_id, kind, tags, price, shop"),
        ([*BUILD, "--field", "kind:many"], 2, "kind is one of"),
        ([*BUILD, "--field", "kind", "-o", "fields=kind"], 2, "declared twice"),
        ([*BUILD, "--field", "shop"], 2, "No field tells the items apart"),
        (BUILD, 2, "needs side information"),
        ([*BUILD, "--field", "kind:numeric"], 3, "field 'kind': expected a finite number"),
        ([*BUILD, "--chart", "weights.png"], 2, "no fields to draw"),
        ([*BUILD, *FIELDS, "--chart", "weights.txt"], 2, "figure's file ends in"),
        ([*BUILD, *FIELDS, "--chart", "no/weights.png"], 2, "in a folder that is there"),
        (["build", "--config", "one.toml"], 3, "fields is of type tuple; received 'kind'"),
        (["build", "--config", "three.toml"], 2, "received 3"),
        (["cold-start"], 2, "one of the two"),
        (["cold-start", "--missing", "--items", "items.csv"], 2, "one of the two"),
        (["cold-start", "--missing"], 4, "make one with `itemspace build eges --field"),
        (["cold-start", "--missing", "--out", "new.csv"], 2, "no known format"),
    ],
)
def test_errors(capfd: pytest.CaptureFixture[str], words: list[str], code: int, text: str) -> None:
    for name, fields in (("one", '"kind"'), ("three", "[3]")):
        Path(f"{name}.toml").write_text(
            f'builder = "eges"\n[options]\nfields = {fields}\n[user]\nrecent = 10\ndecay = 1.0\n'
        )
    out, err = told(capfd, words, code)
    assert text in err
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        ("id,kind\n1,hats\n", 3, "no column 'item_id' of ids; it has: id, kind"),
        ("item_id,colour\n1,red\n", 3, "none of the columns kind, tags, price; it has: item_id"),
        ("item_id,kind\nsix,hats\n", 3, "line 2, column item_id: the column holds integer ids"),
        ("item_id,kind\n900,hats\n901\n", 3, "line 3"),
        ("item_id,kind\n900,hats\n900,hats\n", 2, "900"),
        ("item_id,kind\n900,ties\n", 3, "None of 1 items has a value that build 1 was made with"),
        ("item_id,kind\n", 3, "None of 0 items"),
        ("item_id,price\n900,cheap\n", 3, "Item 900, field 'price': expected a finite number"),
    ],
)
def test_bad_items(capfd: pytest.CaptureFixture[str], content: str, code: int, text: str) -> None:
    told(capfd, [*BUILD, *FIELDS])
    Path("new.csv").write_text(content)
    _, err = told(capfd, ["cold-start", "--items", "new.csv"], code)
    assert text in err
    assert not Path("cold-start.npz").exists()


def test_a_chart_needs_matplotlib(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    _, err = told(capfd, [*BUILD, *FIELDS, "--chart", "weights.png"], 7)
    assert "pip install 'itemspace[evaluation]'" in err
