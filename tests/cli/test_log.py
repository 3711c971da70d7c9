"""``--denoise``, ``--purchase``, ``--earlier`` and ``--event`` of build, evaluate and tune."""

import csv
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Sequences, VectorSet
from itemspace.builders.builder import fit_builder
from itemspace.builders.counting import ItemKNN
from itemspace.builders.options import OneOf
from itemspace.cli.app import main

EGES = ["build", "eges", "-o", "dim=8", "-o", "num_walks=2", "-o", "threads=1", "--no-evaluate"]
PMI = ["build", "pmi", "-o", "dim=4", "--no-evaluate"]
PURCHASE = ["--denoise", "--purchase", "buy"]


def write(name: str, header: str, rows: Iterable[Iterable[Any]]) -> None:
    with Path(name).open("w", newline="") as stream:
        csv.writer(stream).writerows([header.split(), *rows])


@pytest.fixture(autouse=True)
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Path:
    """30 users view ten of 21 items each, of which the third is too short, and buy the last;
    a robot buys item 20, a thousand times."""
    for name in list(os.environ):
        if name.startswith("ITEMSPACE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    write(
        "items.csv",
        "item_id brand price",
        ([at, "acme" if at % 2 else "best", at] for at in range(21)),
    )
    log: list[list[Any]] = []
    for user in range(30):
        for step, item in enumerate(rng.permutation(20)[:10].tolist()):
            kind, dwell = ("buy", 0) if step == 9 else ("view", 0.5 if step == 2 else 5)
            log.append([user, item, user + step * 100, kind, 1 + (kind == "buy"), dwell])
    log += [[99, 20, 60 * at, "buy", 2, ""] for at in range(1000)]
    write("log.csv", "user_id item_id timestamp kind number dwell", log)
    Path("itemspace.toml").write_text('kind_column = "kind"\ndwell_column = "dwell"\n')
    assert main(["ingest", "--items", "items.csv", "--interactions", "log.csv"]) == 0
    capfd.readouterr()
    return tmp_path


def told(capfd: pytest.CaptureFixture[str], words: list[str], code: int = 0) -> tuple[str, str]:
    assert main(words) == code
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return out, err


def built(builder: str = "pmi") -> VectorSet:
    return VectorSet.open(max(Path("itemspace-data/builds").glob(f"*-{builder}")))


def test_what_was_dropped_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    _, err = told(capfd, [*PMI, *PURCHASE])
    assert err.splitlines()[:4] == [
        "De-noising kept 270 of 1,300 events, 30 of 31 users, 20 of 21 items.",
        "Dwell: dropped 30 events, 0 users, 0 items.",
        "Activity: dropped 1,000 events, 1 users, 1 items.",
        "Activity: 1 users are over-active.",
    ]
    assert built().lineage["events"] == 270
    assert 20 not in built().ids
    assert "De-noising" not in told(capfd, PMI)[1]
    assert built().lineage["events"] == 1300


def test_without_purchases_all_are_clicks(capfd: pytest.CaptureFixture[str]) -> None:
    """Those of a dwell of 0 go too, and a thousand clicks are not too many."""
    _, err = told(capfd, [*PMI, "--denoise"])
    assert "Dwell: dropped 60 events, 0 users, 0 items.\n" in err
    assert "Dwell: unknown for 1,000 clicks, which are kept.\n" in err
    assert "Activity" not in err


def test_kinds_may_be_numbers(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITEMSPACE_KIND_COLUMN", "number")
    _, err = told(capfd, [*PMI, "--denoise", "--purchase", "2", "--event", "2=5"])
    assert "De-noising kept 270 of 1,300 events" in err
    _, err = told(capfd, [*PMI, "--denoise", "--purchase", "buy"], 2)
    assert "No event is of the kind 'buy'; there are: 1, 2." in err


def test_replaced_items(capfd: pytest.CaptureFixture[str]) -> None:
    """Item 1 had another brand, item 2 another price, item 3 was not there; 77 is no more."""
    brands = {1: "best", 2: "best", 77: "acme"}
    write("one.csv", "item_id brand price", [[at, brand, 9] for at, brand in brands.items()])
    write("two.csv", "item_id brand", [[77, "best"], [4, "best"]])
    fields = ["--field", "brand", "--field", "price:numeric:3"]
    words = [*EGES, *fields, *PURCHASE, "--earlier", "one.csv", "--earlier", "two.csv"]
    _, err = told(capfd, words)
    assert "two.csv has no column 'price'.\n" in err
    assert "Replaced items: dropped " in err
    assert "Replaced items: 1 of them are not in the log: 77.\n" in err
    assert set(range(21)) - set(built("eges").ids) == {1, 2, 20}

    _, err = told(capfd, [*EGES, *fields, *PURCHASE, "--earlier", "two.csv"])
    assert "Replaced items" not in err
    assert set(range(21)) - set(built("eges").ids) == {20}


@pytest.mark.parametrize("split", ["last", "time", "random"])
def test_evaluate(capfd: pytest.CaptureFixture[str], split: str) -> None:
    words = ["evaluate", "popularity", "pmi:dim=4", "--split", split, "--format", "json"]
    out, err = told(capfd, [*words, *PURCHASE, "--event", "buy=3"])
    assert "De-noising kept 270 of 1,300 events" in err
    assert json.loads(out)["cases"] == 30


def test_tune(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ItemKNN, "search_space", {"window": OneOf((1, 5))})
    words = ["tune", "itemknn", "--trials", "2", "--out", "best.toml", "--gap", "900"]
    _, err = told(capfd, [*words, *PURCHASE, "--event", "buy=3"])
    assert "De-noising kept 270 of 1,300 events" in err
    assert "build --config best.toml --gap 900 --denoise --purchase buy --event buy=3\n" in err
    _, err = told(capfd, words)
    assert err.endswith("build --config best.toml --gap 900\n")


def test_events_are_weighed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Sequences] = []

    def fit(made: Any, sequences: Sequences, **given: Any) -> Any:
        found.append(sequences)
        return fit_builder(made, sequences, **given)

    monkeypatch.setattr("itemspace.cli.build.fit_builder", fit)
    for words in ([], ["--event", "buy=5"], [*PURCHASE, "--event", "buy=5", "--event", "view=.5"]):
        told(capfd, [*PMI, *words])
    bare, whole, clean = (sequences.weights for sequences in found)
    assert bare is None
    assert whole is not None and clean is not None
    assert Counter(whole.tolist()) == {1: 270, 5: 1030}
    assert Counter(clean.tolist()) == {0.5: 240, 5: 30}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([*PMI, "--purchase", "buy"], "--purchase is for --denoise; add that, or leave"),
        ([*EGES, "--field", "brand", "--earlier", "items.csv"], "--earlier is for --denoise"),
        ([*PMI, "--denoise", "--earlier", "items.csv"], "--earlier compares the fields"),
        ([*PMI, "--denoise", "--purchase", "like"], "kind 'like'; there are: buy, view"),
        ([*PMI, "--event", "like=2"], "kind 'like'; there are: buy, view"),
        ([*PMI, "--event", "buy"], "as in purchase=5; received 'buy'"),
        ([*PMI, "--event", "=5"], "as in purchase=5; received '=5'"),
        ([*PMI, "--event", "buy=much"], "as in purchase=5; received 'buy=much'"),
        ([*PMI, "--event", "buy=-1"], "finite numbers of at least 0"),
        (["evaluate", "pmi", "--earlier", "items.csv"], "--earlier is for --denoise"),
        (["tune", "pmi", "--trials", "1", "--event", "buy"], "as in purchase=5"),
    ],
)
def test_errors(capfd: pytest.CaptureFixture[str], words: list[str], text: str) -> None:
    out, err = told(capfd, words, 2)
    assert text in err
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        ("id,brand\n1,acme\n", 3, "no column 'item_id' of ids; it has: id, brand"),
        ("item_id,colour\n1,red\n", 3, "none of the columns brand; it has: item_id, colour"),
        ("item_id,brand\n1,acme\n1,acme\n", 2, "1 among them"),
    ],
)
def test_bad_items(capfd: pytest.CaptureFixture[str], content: str, code: int, text: str) -> None:
    Path("old.csv").write_text(content)
    words = [*EGES, "--field", "brand", "--denoise", "--earlier", "old.csv"]
    assert text in told(capfd, words, code)[1]


def test_nothing_may_be_left(capfd: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect("itemspace.db") as db:
        db.execute("UPDATE interaction SET dwell = 0")
    db.close()
    for words in (PMI, ["evaluate", "pmi", "--split", "time"]):
        _, err = told(capfd, [*words, "--denoise"], 3)
        assert "Dwell: dropped 1,300 events, 31 users, 21 items.\n" in err
        assert "De-noising left no event of interaction" in err


def test_logs_that_do_not_say(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value, words, text in (
        ("KIND", "", ["--event", "buy=2"], "what its events are; map the column"),
        ("KIND", "action", [], "no column 'action'; it has: item_id, user_id"),
        ("VALUE", "kind", [], "values of events are numbers"),
        ("DWELL", "kind", [], "dwell times are numbers of seconds"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(f"ITEMSPACE_{name}_COLUMN", value)
            assert text in told(capfd, [*PMI, *words], 2)[1]
