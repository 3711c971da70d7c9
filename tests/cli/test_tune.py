import csv
import json
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from itemspace import VectorSet
from itemspace.builders.counting import ItemKNN
from itemspace.builders.factorisation import PMIFactorization
from itemspace.builders.options import OneOf, Whole
from itemspace.cli.app import main
from itemspace.cli.tune import seconds_of
from itemspace.core.errors import InvalidOption
from itemspace.evaluation.configuration import read_config


@pytest.fixture(autouse=True)
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Path:
    """A database of 60 items of three kinds; each session stays within one kind."""
    for name in list(os.environ):
        if name.startswith("ITEMSPACE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    with (tmp_path / "log.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        for session in range(300):
            for step in range(5):
                item = session % 3 + 3 * rng.integers(20)
                writer.writerow([f"u{session % 40}", item, session * 10_000 + step])
    assert main(["ingest", "--interactions", "log.csv"]) == 0
    capfd.readouterr()
    spaces = {
        ItemKNN: {"window": OneOf((1, 5, None)), "direction": OneOf(("both", "forward"))},
        PMIFactorization: {"dim": Whole(2, 12), "window": OneOf((2, None))},
    }
    for kind, space in spaces.items():
        monkeypatch.setattr(kind, "search_space", space, raising=False)
    return tmp_path


def told(capfd: pytest.CaptureFixture[str], words: list[str], code: int = 0) -> tuple[str, str]:
    assert main(words) == code
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return out, err


def test_tune_evaluate_and_build(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["tune", "pmi", "--budget", "5m", "--trials", "12", "--gap", "1800", "-o", "shift=2"]
    out, err = told(capfd, words)
    lines = out.splitlines()
    assert lines[0].split() == [
        *("trial", "state", "HR@10", "dim", "window", "recent", "decay", "s"),
    ]
    assert len(lines) == 11  # the best ten
    (folder,) = (shop / "itemspace-data" / "tunings").iterdir()
    assert folder.name.endswith("-pmi")
    place = folder.relative_to(shop)
    assert "leave last out, 1 skipped: 300 cases; 12 trials (12 complete)" in err
    assert f"All trials: {place}/trials.jsonl" in err
    assert f"itemspace build --config {place}/best.toml --gap 1800" in err
    assert len((folder / "trials.jsonl").read_text().splitlines()) == 12
    facts = tomllib.loads((folder / "best.toml").read_text())
    assert facts["options"]["shift"] == 2
    assert facts["options"]["dim"] == int(lines[1].split()[3])
    best = f"{place}/best.toml"

    out, _ = told(capfd, ["evaluate", "itemknn", best, "pmi:dim=2", "--gap", "1800"])
    assert [line.split()[0] for line in out.splitlines()] == [
        "builder",
        "itemknn",
        best,
        "pmi:dim=2",
    ]

    _, err = told(capfd, ["build", "--config", best, "--gap", "1800", "-o", "dim=5"])
    assert "Build 1: 60 items × 5 by pmi" in err
    user = facts["user"]
    (build,) = (shop / "itemspace-data" / "builds").iterdir()
    noted = {"count": user["recent"], "decay": user["decay"]}
    assert VectorSet.open(build).lineage["recent"] == noted
    assert VectorSet.open(build).lineage["options"] == read_config(best).options | {"dim": 5}
    assert "by pmi" in told(capfd, ["build", "pmi", "--config", best])[1]


def test_evaluate_weighs_histories_as_the_file_says(
    shop: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told(capfd, ["tune", "pmi", "--trials", "2", "--out", "best.toml"])
    text = (shop / "best.toml").read_text()
    user = tomllib.loads(text)["user"]
    for recent, name in ((1, "one.toml"), (30, "many.toml")):
        (shop / name).write_text(text.replace(f"recent = {user['recent']}", f"recent = {recent}"))
    words = ["evaluate", "one.toml", "many.toml", "--format", "json"]
    builders = json.loads(told(capfd, words)[0])["builders"]
    one, many = (builder["mrr"]["value"] for builder in builders)
    assert one != many
    options = ",".join(f"{key}={value}" for key, value in tomllib.loads(text)["options"].items())
    words = ["evaluate", f"pmi:{options}", "--recent", "30", "--format", "json"]
    words += ["--decay", str(user["decay"])]
    assert json.loads(told(capfd, words)[0])["builders"][0]["mrr"]["value"] == many


def test_counts(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["tune", "itemknn", "--budget", "1m", "--measure", "mrr", "--out", "new/knn.toml"]
    out, err = told(capfd, [*words, "--format", "json"])
    answer = json.loads(out)
    assert answer["measure"] == "mrr"
    assert answer["config"] == "new/knn.toml"
    # Everything there is was tried long before the minute was over.
    assert len(answer["trials"]) == 3 * 2 * 4
    assert len(Path(answer["record"]).read_text().splitlines()) == 24
    assert err == ""
    facts = tomllib.loads((shop / "new" / "knn.toml").read_text())
    assert facts["options"] | facts["user"] == facts["options"]
    assert "new/knn.toml" in told(capfd, ["evaluate", "new/knn.toml"])[0]
    _, err = told(capfd, ["build", "--config", "new/knn.toml"], 8)
    assert "itemspace evaluate new/knn.toml" in err


def test_item2vec(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fixed = ["-o", "dim=8", "-o", "epochs=2", "-o", "threads=1"]
    told(capfd, ["tune", "item2vec", "--trials", "2", "--out", "best.toml", *fixed])
    assert "60 items × 8 by item2vec" in told(capfd, ["build", "--config", "best.toml"])[1]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["tune", "item3vec", "--trials", "3"], 2, "Did you mean 'item2vec'"),
        (["tune", "itemknn"], 2, "by --budget, such as 10m, or by --trials"),
        (["tune", "itemknn", "--budget", "soon"], 2, "such as 90s, 10m or 1h; received 'soon'"),
        (["tune", "itemknn", "--budget", "0m"], 2, "number above 0"),
        (["tune", "itemknn", "--trials", "3", "-o", "size=3"], 2, "no option of itemknn"),
        (["tune", "itemknn", "--trials", "3", "-o", "window=few"], 2, "of type int"),
        (["tune", "itemknn", "--trials", "3", "--out", "best.txt"], 2, "ends in .toml"),
        (["tune", "itemknn", "--trials", "3", "--gap", "-1"], 2, "gap is a number"),
        (["tune", "pmi", "--trials", "3", "-o", "smoothing=7"], 2, "above 0 and at most 1"),
        (["tune", "popularity", "--trials", "3"], 2, "nothing to search"),
        (["tune", "itemknn", "--trials", "3", "-d", "sqlite:///no.db"], 4, "no database"),
        (["build"], 2, "Name a builder, or a --config file"),
        (["build", "--config", "nothing.toml"], 3, "nothing.toml cannot be read"),
        (["build", "--config", "log.csv"], 3, "not valid TOML"),
        (["build", "item2vec", "--config", "knn.toml"], 2, "is for itemknn, not for item2vec"),
        (["build", "--config", "knn.toml", "-o", "dim=3"], 2, "no option of itemknn"),
        (["build", "item2vec", "-o", "patience=soon"], 2, "patience is None or at least 1"),
        (["evaluate", "itemknn", "nothing.toml"], 3, "nothing.toml cannot be read"),
    ],
)
def test_errors(
    shop: Path, capfd: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    options = "[options]\nwindow = 3\n[user]\nrecent = 10\ndecay = 1.0\n"
    (shop / "knn.toml").write_text(f'builder = "itemknn"\n{options}')
    out, err = told(capfd, words, code)
    assert text in err
    assert out == ""
    assert err.startswith("itemspace: ")
    assert err.count("\n") == 1


def test_budgets() -> None:
    found = [seconds_of(text) for text in ("90s", "10m", "1h", "1.5h", " 2m ")]
    assert found == [90, 600, 3600, 5400, 120]
    for text in ("", "10", "m", "-1m", "1d", "0s", "1e3s", "nanm"):
        with pytest.raises(InvalidOption, match="budget"):
            seconds_of(text)


def test_help(capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = told(capfd, ["tune", "--help"])
    for word in ("--budget", "--trials", "--measure", "--out", "--gap"):
        assert word in out
    assert "tune" in told(capfd, ["--help"])[0]
