import csv
import json
import os
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pytest
from itemspace import Ids, VectorSet
from itemspace.cli.app import EXIT_CODES, main
from itemspace.core.conversions import to_npz
from itemspace.core.duck import connect_duckdb, write_parquet
from itemspace.core.errors import ItemspaceError

KINDS = ("shoes", "bags", "hats")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory without settings."""
    for name in list(os.environ):
        if name.startswith("ITEMSPACE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def files(folder: Path) -> Path:
    """60 items of three kinds; each session stays within one kind."""
    rng = np.random.default_rng(3)
    with (folder / "items.csv").open("w", newline="") as stream:
        rows = [[at, f"Item {at}", KINDS[at % 3], 1990 + at % 20] for at in range(60)]
        csv.writer(stream).writerows([["item_id", "title", "kind", "year"], *rows])
    with (folder / "log.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        for session in range(600):
            kind, user = session % 3, f"u{session % 40}"
            for step in range(5):
                writer.writerow([user, kind + 3 * rng.integers(20), session * 10_000 + step])
    return folder


@pytest.fixture
def published(files: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    for words in (
        ["ingest", "--items", "items.csv", "--interactions", "log.csv"],
        ["build", "item2vec", "--gap", "1800", "-o", "dim=16", "-o", "sample=0", "-o", "threads=1"],
        ["publish"],
    ):
        assert main(words) == 0
    capfd.readouterr()
    return files


def told(capfd: pytest.CaptureFixture[str], words: list[str], code: int = 0) -> tuple[str, str]:
    assert main(words) == code
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return out, err


def test_the_main_job(files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["ingest", "--items", "items.csv", "--interactions", "log.csv"]
    assert "60 rows into item, 3,000 rows into interaction" in told(capfd, words)[1]
    build = ["build", "item2vec", "--gap", "1800", "-o", "sample=0"]
    assert "Build 1: 60 items × 64 by item2vec" in told(capfd, build)[1]
    assert "Version 1 of 'items' is live" in told(capfd, ["publish"])[1]
    out, err = told(capfd, ["similar", "3", "-k", "8"])
    lines = out.splitlines()
    assert lines[0].split() == ["item_id", "title", "kind", "year", "score"]
    assert len(lines) == 9
    assert sum("shoes" in line for line in lines) == 8
    assert "full: 8 rows, version 1" in err
    out, _ = told(capfd, ["similar", "--title", "Item 3", "--where", "year >= 2000", "-k", "3"])
    assert len(out.splitlines()) == 4
    assert (files / "itemspace.db").exists()


def test_a_build_shows_what_it_is_worth(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = told(capfd, ["build", "pmi", "-o", "dim=8", "--recent", "3", "--decay", "0.5"])
    assert "--recent 3 --decay 0.5" in err
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines] == ["builder", "pmi", "itemknn", "popularity"]
    [path] = [one for one in Path("itemspace-data/builds").iterdir() if one.name.endswith("-pmi")]
    lineage = VectorSet.open(path).lineage
    assert f"{lineage['measures']['hr@10']['value']:.4f}" == lines[1][1]
    assert (lineage["measures"]["recent"], lineage["measures"]["decay"]) == (3, 0.5)
    assert f"{lineage['measures_beside']['itemknn']['hr@10']['value']:.4f}" == lines[2][1]
    assert told(capfd, ["build", "pmi", "--no-evaluate"])[0] == ""


NEAR = "SELECT i.title, i.year, s.score FROM similar(3, 5) s JOIN item i ON i.item_id = s.item_id"


def test_sql(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same rows as a table, JSON, CSV and Parquet."""
    query = f"{NEAR} WHERE i.year >= :since ORDER BY s.rank LIMIT 4"
    words = ["sql", query, "-p", "since=2000"]
    out, err = told(capfd, words)
    assert out.splitlines()[0].split() == ["title", "year", "score"]
    assert "full: 4 rows, version 1; candidates" in err
    similar = ["similar", "3", "-k", "5", "-w", "year >= 2000", "--format", "json"]
    expected = json.loads(told(capfd, similar)[0])["rows"][:4]
    answer = json.loads(told(capfd, [*words, "--format", "json"])[0])
    assert [row["title"] for row in answer["rows"]] == [row["title"] for row in expected]
    lines = told(capfd, [*words, "--format", "csv"])[0].splitlines()
    assert (lines[0], len(lines)) == ("title,year,score", 5)
    for name in ("near.parquet", "near.csv", "near.json"):
        assert f"4 rows are in {name}" in told(capfd, [*words, "--out", name])[1]
        assert "exists already" in told(capfd, [*words, "--out", name], 5)[1]
    with connect_duckdb() as db:
        found = db.execute("SELECT * FROM 'near.parquet'").fetchall()
    values = [(row["title"], row["year"], row["score"]) for row in answer["rows"]]
    assert found == values
    assert json.loads(Path("near.json").read_text())["rows"] == answer["rows"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["DROP TABLE item"], 2, "not one SELECT"),
        (["SELECT * FROM sqlite_master"], 2, "no table"),
        (["SELECT colour FROM item"], 2, "could not be resolved"),
        (["SELECT * FROM item WHERE year = :y"], 2, "no value for :y"),
        (["SELECT * FROM item WHERE year = :y", "-p", "y"], 2, "name=value"),
        (["SELECT * FROM item", "--out", "rows.xlsx"], 2, ".parquet, .csv or .json"),
        (["SELECT * FROM item", "--out", "nowhere/rows.csv"], 3, "cannot be written"),
        (["SELECT * FROM item", "--seconds", "0"], 2, "seconds is above 0"),
        (["SELECT count(*) FROM item a, item b, item c, item d, item e", "--seconds", "0.1"], 4,
         "took longer"),
    ],
)  # fmt: skip
def test_sql_that_is_refused(
    published: Path,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    assert message in told(capfd, ["sql", *words], code)[1]


def test_values_of_every_kind_in_parquet(tmp_path: Path) -> None:
    moment, day = datetime(2024, 5, 1, 12, 30, 1, 250_000), date(2024, 5, 1)
    rows = [
        (1, 1.5, 'a,"b"\r\nc\rd\n', True, moment, day, Decimal("2.5"), 1, None),
        (None, None, None, None, None, None, None, 2.5, None),
        (-(2**63), float("inf"), "", False, moment, day, Decimal(3), None, None),
    ]
    write_parquet(tmp_path / "rows.parquet", [f'n "{at}"' for at in range(9)], rows)
    with connect_duckdb() as db:
        path = {"path": str(tmp_path / "rows.parquet")}
        assert db.execute("SELECT * FROM read_parquet($path)", path).fetchall() == rows
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_versions(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Staged, made live, compared, rolled back, changed, collected."""
    assert "is staged" in told(capfd, ["publish", "--stage-only"])[1]
    assert "Version 2 of 'items' is live." in told(capfd, ["activate", "2"])[1]
    found = json.loads(told(capfd, ["versions", "--format", "json"])[0])
    assert [(one["version"], one["state"], one["build"]) for one in found] == [
        (1, "ready", 1),
        (2, "live", 1),
    ]
    lines = told(capfd, ["versions", "--format", "csv"])[0].splitlines()
    assert (lines[0].split(",")[:3], len(lines)) == (["version", "state", "items"], 3)
    out, err = told(capfd, ["diff", "1", "2", "--show", "4", "--format", "csv"])
    assert (out.splitlines()[0], len(out.splitlines())) == ("item_id,overlap", 5)
    assert "0 items came, 0 went; of 60 of the 60 others, 100.0%" in err
    assert "Version 1 of 'items' is live." in told(capfd, ["rollback"])[1]
    assert "1 of 2 items were there" in told(capfd, ["delete", "3", "99999"])[1]
    assert "3" in told(capfd, ["similar", "3"], 2)[1]
    assert "1 calls of upsert and delete" in told(capfd, ["versions"])[1]
    vectors = json.loads(told(capfd, ["versions", "--format", "json"])[0])[0]["items"]
    assert vectors == 60
    built = next((published / "itemspace-data" / "builds").iterdir())
    assert "60 items are in 'items', at revision 2" in told(capfd, ["upsert", str(built)])[1]
    assert told(capfd, ["similar", "3"])[0]
    assert "Version 3 of 'items' is live" in told(capfd, ["publish", str(built)])[1]
    out, err = told(capfd, ["collect", "--keep", "0"])
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["1", "old"], ["2", "old"]]
    assert "2 versions would be removed" in err
    assert "are being read still" in told(capfd, ["collect", "--keep", "0", "--yes"])[1]


def test_json_is_one_object(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = told(
        capfd, ["similar", "3", "-w", "year = 2005 AND kind = 'hats'", "--format", "json"]
    )
    answer = json.loads(out)
    assert set(answer) == {"rows", "completeness", "plan", "version", "revision", "source"}
    assert answer["completeness"] == "exhausted"
    assert answer["version"] == 1
    assert answer["plan"]["strategy"] == "candidates"
    assert answer["source"] is None
    assert {row["kind"] for row in answer["rows"]} <= {"hats"}
    assert err == ""
    scores = [row["score"] for row in answer["rows"]]
    assert scores == sorted(scores, reverse=True)


def test_columns(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = told(capfd, ["similar", "3", "--columns", "title, year", "-k", "2"])
    assert out.splitlines()[0].split() == ["title", "year", "score"]
    _, err = told(capfd, ["similar", "3", "--columns", "title,colour"], 2)
    assert "'colour'; it has: item_id, title, kind, year" in err


def test_recommend_leaves_out_what_was_seen(
    published: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (published / "log.csv").open() as stream:
        seen = {int(row["item_id"]) for row in csv.DictReader(stream) if row["user_id"] == "u7"}
    out, _ = told(capfd, ["recommend", "--user", "u7", "-k", "60", "--format", "json"])
    shown = {row["item_id"] for row in json.loads(out)["rows"]}
    assert shown == set(range(60)) - seen
    assert "decay is above 0" in told(capfd, ["recommend", "--user", "u7", "--decay", "0"], 2)[1]
    out, _ = told(capfd, ["recommend", "--user", "u7", "-k", "60", "--seen", "--format", "json"])
    assert len(json.loads(out)["rows"]) == 60


def test_a_new_build_and_an_older_one(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told(capfd, ["build", "item2vec", "-o", "dim=8"])
    assert "Version 2 of 'items' is live: 60 items × 8 from build 2" in told(capfd, ["publish"])[1]
    out = told(capfd, ["publish", "--build", "1", "--to", "faiss:elsewhere?factory=Flat"])[1]
    assert "Version 3 of 'items' is live: 60 items × 16 from build 1" in out
    assert "version 3" in told(capfd, ["similar", "3"])[1]
    assert "There is no build 9" in told(capfd, ["publish", "--build", "9"], 4)[1]
    told(capfd, ["publish", "--space", "other", "--build", "2"])
    assert "version 1" in told(capfd, ["similar", "3", "--space", "other"])[1]


@pytest.mark.parametrize("ending", ["npz", "parquet", "txt", "bin"])
def test_export_and_import(published: Path, capfd: pytest.CaptureFixture[str], ending: str) -> None:
    assert "Wrote 60 × 16 of build 1" in told(capfd, ["export", f"vectors.{ending}"])[1]
    assert "Build 2: 60 items × 16" in told(capfd, ["import", f"vectors.{ending}"])[1]
    assert "Version 2" in told(capfd, ["publish"])[1]
    before = json.loads(told(capfd, ["similar", "3", "--format", "json"])[0])["rows"]
    told(capfd, ["publish", "--build", "1"])
    after = json.loads(told(capfd, ["similar", "3", "--format", "json"])[0])["rows"]
    assert [row["item_id"] for row in before] == [row["item_id"] for row in after]


def test_vectors_made_elsewhere_need_no_log(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "items.csv").write_text("sku,title\na,One\nb,Two\nc,Three\n")
    to_npz(VectorSet(Ids(["a", "b", "c"]), np.array([[1, 0], [1, 1], [0, 1]])), "made.npz")
    assert "sku was taken as item_id" in told(capfd, ["ingest", "--items", "items.csv"])[1]
    told(capfd, ["import", "made.npz", "--metric", "euclidean"])
    told(capfd, ["publish", "--to", "exact:vectors"])
    out, _ = told(capfd, ["similar", "a"])
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["Two", "Three"]


def test_ingest_parquet_again_and_bad_rows(files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with duckdb.connect() as db:
        db.execute("COPY (FROM read_csv('log.csv')) TO 'log.parquet' (FORMAT parquet)")
    told(capfd, ["ingest", "--interactions", "log.parquet"])
    _, err = told(capfd, ["ingest", "--interactions", "log.parquet"], 3)
    assert "--again" in err
    assert (
        "appended once more"
        in told(capfd, ["ingest", "--interactions", "log.parquet", "--again"])[1]
    )
    (files / "bad.csv").write_text("user_id,item_id,timestamp\nu1,3,1\nu1,4,soon\n")
    _, err = told(capfd, ["ingest", "--interactions", "bad.csv"], 3)
    assert "bad.csv, line 3, column timestamp" in err
    assert "'soon'" in err
    _, err = told(capfd, ["ingest", "--interactions", "bad.csv", "--skip-bad-rows"])
    assert "Loaded 1 rows into interaction" in err
    assert "Skipped 1 rows: not a timestamp" in err


def test_evaluate(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "popularity", "itemknn:window=3", "item2vec:dim=8,epochs=2"]
    out, err = told(capfd, [*words, "--json", "found.json", "--figure", "found.png"])
    assert [line.split()[0] for line in out.splitlines()] == ["builder", *words[1:]]
    assert "leave last out: 40 cases, 60 items" in err
    assert (published / "found.png").stat().st_size > 5000
    facts = json.loads((published / "found.json").read_text())
    assert [entry["name"] for entry in facts["builders"]] == words[1:]
    for split in ("time", "random"):
        out, _ = told(capfd, ["evaluate", "itemknn", "--split", split, "--format", "json"])
        assert json.loads(out)["builders"][0]["hr@10"]["value"] > 0
    assert "no option of itemknn" in told(capfd, ["evaluate", "itemknn:size=3"], 2)[1]
    assert "gives no vectors" in told(capfd, ["build", "itemknn"], 8)[1]


def test_columns_of_other_names(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "log.csv").write_text("guest,article,moment\n1,2,3\n1,3,4\n")
    words = ["ingest", "--interactions", "log.csv"]
    assert "(--column item_id=…)" in told(capfd, words, 3)[1]
    named = ["-c", "user_id=guest", "-c", "item_id=article", "-c", "timestamp=moment"]
    assert "2 rows into interaction" in told(capfd, [*words, *named])[1]
    assert "names no column" in told(capfd, [*words, "-c", "sku=article"], 2)[1]
    assert "leave out --column" in told(capfd, ["ingest", ".", *named], 2)[1]


def test_database_commands(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "There is no database at itemspace.db" in told(capfd, ["database", "check"], 4)[1]
    assert "none → 0003" in told(capfd, ["database", "upgrade"])[1]
    assert told(capfd, ["database", "current"])[0] == "0003\n"
    assert "up to date" in told(capfd, ["database", "check"])[1]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["similar", "999"], 2, "no vector in version 1"),
        (["similar", "shoe"], 2, "Ids are integers here"),
        (["similar", "--title", "item 3"], 2, "No item has the title"),
        (["similar"], 2, "by its id, or by --title"),
        (["similar", "3", "--where", "1=1) UNION SELECT * FROM item --"], 2, "not one condition"),
        (["similar", "3", "--where", "yaer > 1"], 2, "Did you mean 'year'"),
        (["similar", "3", "--space", "nothing"], 4, "nothing"),
        (["recommend"], 2, "--all-users"),
        (["recommend", "--user", "u7", "--all-users"], 2, "--all-users"),
        (["recommend", "--all-users"], 2, "--out"),
        (["recommend", "--user", "u7", "--out", "x.parquet"], 2, "--out"),
        (["recommend", "--user", "u7", "--seen", "--seen-days", "3"], 2, "--seen-kind"),
        (["recommend", "--user", "u7", "--seen-kind", "buy"], 2, "kind_column"),
        (["recommend", "--user", "u7", "--at-most", "kind"], 2, "brand=2"),
        (["recommend", "--user", "u7", "--at-most", "colour=2"], 2, "it has: item_id"),
        (["recommend", "--all-users", "--into", "item"], 2, "a table 'item' already"),
        (["build", "item3vec"], 2, "Did you mean 'item2vec'"),
        (["build", "item2vec", "-o", "size=3"], 2, "no option of item2vec"),
        (["build", "item2vec", "-o", "dim=many"], 2, "of type int"),
        (["build", "item2vec", "-o", "dim=0"], 2, "dim is a whole number of at least 1"),
        (["build", "item2vec", "--gap", "-1"], 2, "gap is a number of seconds above 0"),
        (["publish", "--to", "lhs:x"], 2, "Did you mean 'lsh'"),
        (["publish", "--to", "lsh:x?trese=3"], 2, "Did you mean 'trees'"),
        (["ingest"], 2, "Name a MovieLens folder"),
        (["ingest", "nowhere"], 3, "There is no folder nowhere"),
        (["import", "nothing.npz"], 3, "nothing.npz"),
        (["import", "items.csv"], 2, "no known format of vectors"),
        (["similar", "3", "-d", "nosql://x"], 2, "no database URL"),
    ],
)
def test_errors_are_one_sentence_and_a_code(
    published: Path, capfd: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    out, err = told(capfd, words, code)
    assert text in err
    assert out == ""
    assert err.startswith("itemspace: ")
    assert err.count("\n") == 1


def test_typer_refuses_unknown_options(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["similar", "3", "--kay", "3"]) == 2
    assert main(["nonsense"]) == 2
    assert main(["similar", "3", "-k", "0"]) == 2


def test_help_and_version(capfd: pytest.CaptureFixture[str]) -> None:
    from itemspace import __version__

    assert told(capfd, ["--version"])[0].strip() == __version__
    commands = [
        "ingest",
        "build",
        "publish",
        "similar",
        "recommend",
        "import",
        "export",
        "database",
    ]
    out, _ = told(capfd, ["--help"])
    for command in commands:
        assert command in out
        assert len(told(capfd, [command, "--help"])[0]) > 200


def test_debug_shows_the_traceback(published: Path) -> None:
    with pytest.raises(ItemspaceError):
        main(["similar", "999", "--debug"])


def test_every_branch_of_the_errors_has_a_code() -> None:
    assert set(ItemspaceError.__subclasses__()) == set(EXIT_CODES)
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)


def test_settings_flag_then_environment_then_file(
    files: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["database", "upgrade"]
    (files / "itemspace.toml").write_text('database = "sqlite:///file.db"\n')
    told(capfd, words)
    monkeypatch.setenv("ITEMSPACE_DATABASE", "sqlite:///environment.db")
    told(capfd, words)
    told(capfd, [*words, "--database", "sqlite:///flag.db"])
    names = {path.name for path in files.glob("*.db")}
    assert names == {"file.db", "environment.db", "flag.db"}
    for text, message in (
        ("databse = 'x'", "unknown setting 'databse'"),
        ("a = [", "not valid TOML"),
    ):
        (files / "itemspace.toml").write_text(text)
        assert message in told(capfd, words, 2)[1]


def test_a_log_without_times(files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (files / "log.csv").open() as stream:
        rows = [[row["user_id"], row["item_id"]] for row in csv.DictReader(stream)]
    with (files / "bare.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["user_id", "item_id"], *rows])
    assert (
        "no timestamps; its order counts"
        in told(capfd, ["ingest", "--interactions", "bare.csv"])[1]
    )
    told(capfd, ["ingest", "--items", "items.csv"])
    told(capfd, ["build", "item2vec"])
    assert "gap" in told(capfd, ["build", "item2vec", "--gap", "100"], 2)[1]
    told(capfd, ["publish"])
    told(capfd, ["recommend", "--user", "u7"])


def test_ones_own_tables(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (published / "itemspace.toml").write_text('items = "product"\nid_column = "code"\n')
    import sqlite3

    with sqlite3.connect("itemspace.db") as db:
        db.execute("CREATE TABLE product (code INTEGER PRIMARY KEY, label TEXT)")
        db.executemany("INSERT INTO product VALUES (?, ?)", [(at, f"P{at}") for at in range(30)])
    db.close()
    out, _ = told(capfd, ["similar", "3", "-k", "50"])
    assert out.splitlines()[0].split() == ["code", "label", "score"]
    assert len(out.splitlines()) == 30


def test_the_console_script_is_quiet_in_a_pipe(files: Path) -> None:
    script = Path(sys.executable).parent / "itemspace"
    words = [script, "ingest", "--items", "items.csv", "--interactions", "log.csv"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr.startswith("Loaded 60 rows into item")
    for more, *told in (
        (
            ["build", "item2vec"],
            "leave last out: 40 cases, --recent 10 --decay 1",
            "Build 1: 60 items × 64 by item2vec",
        ),
        (["publish"], "Version 1 of 'items' is live: 60 items × 64 from build 1"),
    ):
        done = subprocess.run([script, *more], capture_output=True, text=True, check=True)
        lines = done.stderr.splitlines()
        assert len(lines) == len(told)
        assert all(line.startswith(one) for line, one in zip(lines, told, strict=True))
    failed = subprocess.run(words, capture_output=True, text=True, check=False)
    assert failed.returncode == 3
    assert failed.stderr.count("\n") == 1


def test_copy_and_move(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = told(capfd, ["similar", "3", "--format", "json"])[0]
    err = told(capfd, ["move", "--to", "faiss:elsewhere?factory=HNSW16"])[1]
    assert "Version 2 of 'items' is live, in faiss:elsewhere?factory=HNSW16" in err
    after = told(capfd, ["similar", "3", "--format", "json"])[0]
    assert json.loads(before)["rows"] == json.loads(after)["rows"]
    (place,) = Path("elsewhere").iterdir()
    err = told(capfd, ["copy", f"faiss:{place}", "lsh:copied"])[1]
    assert "Copied 60 vectors, checksum" in err
    assert "--resume" in told(capfd, ["copy", "--help"])[0]
    assert "copied" in told(capfd, ["copy", f"faiss:{place}", "lsh:copied"], 5)[1]
    told(capfd, ["copy", f"faiss:{place}", "lsh:copied", "--resume"])
