import csv
import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itemspace.catalog import Catalog
from itemspace.catalog.engines import open_engine
from itemspace.catalog.ingest import InteractionColumns, ItemColumns, ingest
from itemspace.catalog.movielens import ingest_movielens
from itemspace.catalog.user_events import recent_items
from itemspace.core.errors import (
    AlreadyIngested,
    BadRow,
    CorruptData,
    DatabaseUnavailable,
    DuplicateIds,
    EmptyInput,
    InputError,
    InvalidOption,
    MissingColumn,
    UnmappedTable,
)
from sqlalchemy import Engine, MetaData, Table, create_engine, inspect, select


@pytest.fixture(params=["plain", "open_engine", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Among them a plain SQLAlchemy engine for SQLite, as a host may bring it."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    made = create_engine(url) if request.param == "plain" else open_engine(url, create=True)
    yield made
    made.dispose()


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_file(content: str | bytes, name: str = "log.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


@pytest.fixture
def write_parquet(tmp_path: Path) -> Any:
    def write_file(select: str, name: str = "log.parquet") -> Path:
        path = tmp_path / name
        with duckdb.connect() as db:
            db.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
        return path

    return write_file


def rows(engine: Engine, table: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        found = connection.execute(select(Table(table, MetaData(), autoload_with=engine)))
        return [tuple(row) for row in found]


#: PostgreSQL's names of types that SQLite calls otherwise.
SAME_TYPES = {"DOUBLE PRECISION": "DOUBLE", "TIMESTAMP": "DATETIME"}


def types(engine: Engine, table: str) -> dict[str, str]:
    found = {c["name"]: str(c["type"]) for c in inspect(engine).get_columns(table)}
    return {name: SAME_TYPES.get(kind, kind) for name, kind in found.items()}


def tables(engine: Engine) -> set[str]:
    return {n for n in inspect(engine).get_table_names() if n in ("item", "interaction")}


LOG = "user_id,item_id,timestamp\n"


# What is loaded


def test_items_and_log_become_typed_tables(engine: Engine, write: Any) -> None:
    items = write(
        "item_id,title,price,stock,sold,day,at,zip\n"
        "1,Lamp,9.5,3,true,2020-01-02,2020-01-02 03:04:05,007\n"
        "2,,,,,,,010\n",
        "items.csv",
    )
    log = write("user_id,item_id,timestamp,event\nu1,1,100,view\nu1,2,50,buy\n")
    report = ingest(engine, items=items, interactions=log)
    assert report.rows == {"item": 2, "interaction": 2}
    assert types(engine, "item") == {
        "item_id": "BIGINT",
        "title": "TEXT",
        "price": "DOUBLE",
        "stock": "BIGINT",
        "sold": "BOOLEAN",
        "day": "DATE",
        "at": "DATETIME",
        "zip": "TEXT",
    }
    moment = datetime(2020, 1, 2, 3, 4, 5)
    first = (1, "Lamp", 9.5, 3, True, moment.date(), moment, "007")
    assert rows(engine, "item") == [first, (2, *[None] * 6, "010")]
    assert types(engine, "interaction")["user_id"] == "VARCHAR(255)"
    assert rows(engine, "interaction") == [(1, "u1", 100, "view"), (2, "u1", 50, "buy")]
    indexed = inspect(engine).get_indexes("interaction")[0]["column_names"]
    assert indexed == ["user_id", "timestamp"]


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (["1", "-5", "0", str(2**63 - 1)], "BIGINT"),
        (["1", "007"], "VARCHAR(255)"),
        (["1", "-0"], "VARCHAR(255)"),
        (["1", "+1"], "VARCHAR(255)"),
        (["1", " 2"], "VARCHAR(255)"),
        (["1", "1_000"], "VARCHAR(255)"),
        (["1", "1.0"], "VARCHAR(255)"),
        (["1", str(2**63)], "VARCHAR(255)"),
        (["\u00e4", "a\nb", "NULL", "nan"], "VARCHAR(255)"),
    ],
)
def test_ids_stay_what_they_are(engine: Engine, write: Any, ids: list[str], kind: str) -> None:
    path = write("item_id\n" + "".join(f'"{name}"\n' for name in ids), "items.csv")
    ingest(engine, items=path)
    assert types(engine, "item")["item_id"] == kind
    assert [str(row[0]) for row in rows(engine, "item")] == ids


def test_item_ids_are_of_one_kind_in_both_tables(engine: Engine, write: Any) -> None:
    items = write("item_id\n1\n2\n", "items.csv")
    ingest(engine, items=items, interactions=write(LOG + "1,007,5\n"))
    assert types(engine, "item")["item_id"] == types(engine, "interaction")["item_id"]
    assert types(engine, "item")["item_id"] == "VARCHAR(255)"
    assert rows(engine, "item") == [("1",), ("2",)]


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        (["5", "7"], "BIGINT", [5, 7]),
        (["5", "7.25"], "DOUBLE", [5.0, 7.25]),
        (["1970-01-02", "1970-01-01T00:00:01Z"], "BIGINT", [86400, 1]),
        (["1970-01-01 02:00:00+02:00", "9"], "BIGINT", [0, 9]),
        (["1970-01-01 00:00:00.5"], "DOUBLE", [0.5]),
    ],
)
def test_times_become_unix_seconds(
    engine: Engine, write: Any, values: list[str], kind: str, stored: list[float]
) -> None:
    ingest(engine, interactions=write(LOG + "".join(f"1,2,{value}\n" for value in values)))
    assert types(engine, "interaction")["timestamp"] == kind
    assert [row[2] for row in rows(engine, "interaction")] == stored


def test_log_without_times(engine: Engine, write: Any) -> None:
    report = ingest(engine, interactions=write("user_id,item_id\n1,9\n1,8\n"))
    assert rows(engine, "interaction") == [(9, 1, 0), (8, 1, 1)]
    assert "no timestamps" in report.notes[0]


def test_usual_names_and_names_given(engine: Engine, write: Any) -> None:
    log = write("userId;productId;ts;Shop\n1;2;3;x\n")
    ingest(engine, interactions=log)
    assert rows(engine, "interaction") == [(2, 1, 3, "x")]
    more = write("who,what,when,Shop\n4,5,6,y\n", "more.csv")
    ingest(engine, interactions=more, interaction_columns=InteractionColumns("who", "what", "when"))
    assert rows(engine, "interaction")[1] == (5, 4, 6, "y")


def test_byte_order_mark_crlf_quotes_and_gzip(engine: Engine, write: Any) -> None:
    import gzip

    text = '\ufeffitem_id,title\r\n1,"a, ""b"""\r\n2,"c\r\nd"\r\n'
    ingest(engine, items=write(gzip.compress(text.encode()), "items.csv.gz"))
    assert rows(engine, "item") == [(1, 'a, "b"'), (2, "c\r\nd")]


def test_parquet_types(engine: Engine, write_parquet: Any) -> None:
    path = write_parquet(
        "SELECT '5' AS item_id, 7::UTINYINT AS user_id, TIMESTAMPTZ '1970-01-01 00:01:00+00' AS "
        "timestamp, ['a', 'b'] AS tags, 1.5::DECIMAL(9, 2) AS price, 'x'::ENUM('x') AS kind"
    )
    ingest(engine, interactions=path)
    assert rows(engine, "interaction") == [("5", 7, 60, "a|b", 1.5, "x")]
    assert types(engine, "interaction")["item_id"] == "VARCHAR(255)"


def test_several_files_and_a_folder(engine: Engine, tmp_path: Path, write_parquet: Any) -> None:
    (tmp_path / "parts[1]").mkdir()
    for n in range(3):
        write_parquet(f"SELECT {n} AS user_id, 1 AS item_id, {n} AS ts", f"parts[1]/{n}.parquet")
    ingest(engine, interactions=tmp_path / "parts[1]")
    assert [row[1] for row in rows(engine, "interaction")] == [0, 1, 2]


def test_not_finite_numbers_become_null(engine: Engine, write: Any) -> None:
    report = ingest(engine, items=write("item_id,price\n1,2.5\n2,nan\n3,1e400\n", "items.csv"))
    assert rows(engine, "item") == [(1, 2.5), (2, None), (3, None)]
    assert "2 values of price" in report.notes[-1]


def test_milliseconds_are_told(engine: Engine, write: Any) -> None:
    report = ingest(engine, interactions=write(LOG + "1,2,1577836800000\n"))
    assert "milliseconds" in report.notes[-1]


def test_progress(engine: Engine, write: Any) -> None:
    seen: list[Any] = []
    ingest(engine, interactions=write(LOG + "1,2,3\n"), progress=lambda *args: seen.append(args))
    assert seen == [(1, 1, "checking the files"), (1, 1, "loading log.csv")]


# Bad rows


BAD_ROWS = [
    (LOG + "1,2,3\n,2,3\n", "empty id", 3, "user_id"),
    (LOG + '1,2,3\n1,"",3\n', "empty id", 3, "item_id"),
    (LOG + "1,2,3\n1,2,\n", "no timestamp", 3, "timestamp"),
    (LOG + "1,2,3\n1,2,soon\n", "not a timestamp", 3, "timestamp"),
    (LOG + "1,2,3\n1,2,inf\n", "not a timestamp", 3, "timestamp"),
    (LOG + "1,2,3\n1,2,NaN\n", "not a timestamp", 3, "timestamp"),
    (LOG + "1,2,3\n1,2,1e300\n", "not a timestamp", 3, "timestamp"),
    (LOG + "1,2,3\n1,2,2020-13-01\n", "not a timestamp", 3, "timestamp"),
    (LOG + "1,2,3\n1,2\n", "missing columns", 3, "timestamp"),
    (LOG + "1,2,3\n1,2,3,4\n", "too many columns", 3, None),
    (LOG + f"1,2,3\n{'x' * 256},2,3\n", "id too long", 3, "user_id"),
    (LOG + "1,2,3\nx\0y,2,3\n", "NUL character", 3, "user_id"),
    (LOG + '1,2,3\n1,2,"3\n', "unquoted value", 3, "timestamp"),
    ((LOG + "1,2,3\n").encode() + b"\xff,2,3\n", "invalid encoding", 3, "user_id"),
    # Lines are those of an editor: quoted line ends and blank lines count.
    (LOG + '1,"2\n2",3\n\n1,2,x\n', "not a timestamp", 5, "timestamp"),
    (LOG + '1,"2\n2",3\n\n1,2\n1,2,x\n', "missing columns", 5, "timestamp"),
]


@pytest.mark.parametrize(("content", "kind", "line", "column"), BAD_ROWS)
def test_bad_row(
    engine: Engine, write: Any, content: Any, kind: str, line: int, column: str | None
) -> None:
    path = write(content)
    with pytest.raises(BadRow, match="--skip-bad-rows") as caught:
        ingest(engine, interactions=path)
    error = caught.value
    assert (error.path, error.line, error.column) == (str(path), line, column)
    assert f"line {line}" in str(error)
    assert not tables(engine)
    report = ingest(engine, interactions=path, skip_bad_rows=True)
    assert report.bad_rows[kind] == 1
    assert f"line {line}" in report.examples[kind]
    assert report.rows["interaction"] == len(rows(engine, "interaction")) >= 1


def test_all_kinds_are_counted(engine: Engine, write: Any) -> None:
    path = write(LOG + "1,2,3\n,2,3\n1,,3\n1,2\n1,2,3,4\n1,2,x\n4,5,6\n")
    report = ingest(engine, interactions=path, skip_bad_rows=True)
    assert report.bad_rows == {
        "empty id": 2,
        "missing columns": 1,
        "too many columns": 1,
        "not a timestamp": 1,
    }
    assert rows(engine, "interaction") == [(2, 1, 3), (5, 4, 6)]


def test_column_of_times_that_are_none(engine: Engine, write: Any) -> None:
    path = write(LOG + "1,2,soon\n1,2,late\n")
    with pytest.raises(BadRow, match="line 2, column timestamp"):
        ingest(engine, interactions=path)
    with pytest.raises(EmptyInput, match="none of its 2 rows"):
        ingest(engine, interactions=path, skip_bad_rows=True)


def test_bad_row_of_parquet_tells_the_row(engine: Engine, write_parquet: Any) -> None:
    path = write_parquet(
        "SELECT 1 AS user_id, 2 AS item_id, if(i = 2, NULL, i) AS ts FROM range(4) t(i)"
    )
    with pytest.raises(BadRow, match="row 3, column timestamp"):
        ingest(engine, interactions=path)


def test_fractional_ids_of_parquet(engine: Engine, write_parquet: Any) -> None:
    whole = write_parquet("SELECT 1::DOUBLE AS item_id", "whole.parquet")
    ingest(engine, items=whole)
    assert rows(engine, "item") == [(1,)]
    half = write_parquet("SELECT 1.5::DOUBLE AS item_id", "half.parquet")
    with pytest.raises(BadRow, match="integer"):
        ingest(engine, items=half)
    with pytest.raises(InputError, match="BOOLEAN"):
        ingest(engine, items=write_parquet("SELECT true AS item_id", "flag.parquet"))


def test_first_bad_row_of_the_second_file_rolls_back_all(engine: Engine, write: Any) -> None:
    items = write("item_id\n1\n", "items.csv")
    with pytest.raises(BadRow):
        ingest(engine, items=items, interactions=write(LOG + "1,2,x\n"))
    assert not tables(engine)
    assert rows(engine, "itemspace_ingest") == []


# Tables that exist


def test_types_of_the_table_rule(engine: Engine, write: Any) -> None:
    ingest(engine, interactions=write("user_id,item_id,ts,price\n1,2,3,9.5\n"))
    more = write(
        "user_id,item_id,ts,price,note\n1,x,3,1,\n1,2,3.5,1,\n1,2,3,dear,\n1,2,4,7,\n", "more.csv"
    )
    report = ingest(engine, interactions=more, skip_bad_rows=True)
    assert report.bad_rows == {
        "id not an integer": 1,
        "fractional timestamp": 1,
        "wrong type": 1,
    }
    assert rows(engine, "interaction") == [(2, 1, 3, 9.5), (2, 1, 4, 7.0)]
    assert any("note" in note and "left out" in note for note in report.notes)


def test_integers_go_into_a_text_column(engine: Engine, write: Any) -> None:
    ingest(engine, items=write("item_id\n007\n", "items.csv"))
    ingest(engine, items=write("item_id\n8\n", "more.csv"))
    ingest(engine, interactions=write(LOG + "1,8,3\n"))
    assert rows(engine, "item") == [("007",), ("8",)]
    assert rows(engine, "interaction") == [("8", 1, 3)]


def test_log_must_have_the_times_of_the_table(engine: Engine, write: Any) -> None:
    ingest(engine, interactions=write(LOG + "1,2,3\n"))
    with pytest.raises(MissingColumn):
        ingest(engine, interactions=write("user_id,item_id\n1,2\n", "more.csv"))


def test_table_of_another_shape(engine: Engine, write: Any) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE item (sku TEXT)")
    with pytest.raises(UnmappedTable, match="item_id"):
        ingest(engine, items=write("item_id\n1\n", "items.csv"))


# Duplicates and repeats


def test_duplicates_in_a_file_across_files_and_in_the_table(engine: Engine, write: Any) -> None:
    twice = write("item_id\n1\n2\n1\n", "twice.csv")
    with pytest.raises(DuplicateIds) as caught:
        ingest(engine, items=twice)
    assert caught.value.ids == [1]
    one, other = write("item_id,n\n1,1\n", "one.csv"), write("item_id,n\n2,2\n1,3\n", "other.csv")
    for again in (False, True):
        with pytest.raises(DuplicateIds):
            ingest(engine, items=[one, other], again=again)
    assert not tables(engine)
    ingest(engine, items=one)
    with pytest.raises(DuplicateIds):
        ingest(engine, items=other)
    assert rows(engine, "item") == [(1, 1)]
    ingest(engine, items=other, again=True)
    assert sorted(rows(engine, "item")) == [(1, 3), (2, 2)]


def test_the_same_bytes_twice(engine: Engine, write: Any) -> None:
    log = write(LOG + "1,2,3\n")
    ingest(engine, interactions=log)
    copy = write(LOG + "1,2,3\n", "copy.csv")
    with pytest.raises(AlreadyIngested, match="UTC"):
        ingest(engine, interactions=copy)
    report = ingest(engine, interactions=copy, again=True)
    assert "appended once more" in report.notes[0]
    assert len(rows(engine, "interaction")) == len(rows(engine, "itemspace_ingest")) == 2
    with pytest.raises(AlreadyIngested):
        ingest(engine, items=[write("item_id\n1\n", "a.csv"), write("item_id\n1\n", "b.csv")])


# Files and databases that cannot be used


def test_unusable_files(engine: Engine, tmp_path: Path, write: Any, write_parquet: Any) -> None:
    def refused(kind: type[Exception], path: Path, match: str | None = None) -> None:
        with pytest.raises(kind, match=match):
            ingest(engine, interactions=path)
        assert not tables(engine)

    refused(InputError, tmp_path / "absent.csv", "absent.csv")
    refused(InputError, tmp_path / "*.nothing", "match")
    refused(EmptyInput, write(""))
    refused(EmptyInput, write("\n\n"))
    refused(EmptyInput, write(LOG))
    refused(EmptyInput, write_parquet("SELECT 1 AS user_id, 2 AS item_id WHERE false"))
    refused(MissingColumn, write("user_id,thing\n1,2\n"), "it has: user_id, thing")
    refused(InputError, write("user_id,item_id,Item_ID\n1,2,3\n"), "case")
    refused(InputError, write("user_id,sku,item_id,Timestamp,timestamp\n1,2,3,4,5\n"), "case")
    refused(BadRow, write((LOG + "1,2,3\n").encode("utf-16")), "UTF-8")
    refused(InputError, write("user_id,item_id\r\n1,2\n3,4\r\n"), "CRLF")
    for damage in (b"", b"hello", b"PAR1" + bytes(40) + b"PAR1"):
        refused(CorruptData, write(damage, "bad.parquet"), "Parquet")
    sound = write_parquet("SELECT i AS user_id, i AS item_id FROM range(9999) t(i)").read_bytes()
    refused(CorruptData, write(sound[:-100], "cut.parquet"), "Parquet")


def test_names_given_must_be_there_and_be_clear(engine: Engine, write: Any) -> None:
    items = write("item_id,sku\n1,2\n", "items.csv")
    with pytest.raises(MissingColumn, match="'code'"):
        ingest(engine, items=items, item_columns=ItemColumns("code"))
    with pytest.raises(InputError, match="besides 'sku'"):
        ingest(engine, items=items, item_columns=ItemColumns("sku"))
    with pytest.raises(InvalidOption):
        ingest(engine)


def test_column_names_are_quoted(engine: Engine, write: Any) -> None:
    path = write('item_id,"a""b; DROP",select,%s\n1,x,y,z\n', "items.csv")
    ingest(engine, items=path)
    assert list(types(engine, "item")) == ["item_id", 'a"b; DROP', "select", "%s"]
    assert rows(engine, "item") == [(1, "x", "y", "z")]


def test_database_that_is_not_there(tmp_path: Path, write: Any) -> None:
    lost = create_engine(f"sqlite:///{tmp_path / 'none' / 'shop.db'}")
    with pytest.raises(DatabaseUnavailable):
        ingest(lost, interactions=write(LOG + "1,2,3\n"))
    lost.dispose()


def test_failure_while_writing_leaves_nothing(
    engine: Engine, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("itemspace.catalog.ingest.create_log_index", fail)
    with pytest.raises(KeyboardInterrupt):
        ingest(engine, interactions=write(LOG + "1,2,3\n"))
    assert not tables(engine)
    assert rows(engine, "itemspace_ingest") == []


def test_killed_while_writing_leaves_nothing(tmp_path: Path, write: Any) -> None:
    log = write(LOG + "".join(f"{at % 99},{at},{at}\n" for at in range(200_000)))
    code = f"""
import os, signal
from itemspace.catalog import open_engine
from itemspace.catalog.ingest import ingest
def die(done, total, text):
    if text.startswith("loading") and done > 100_000:
        os.kill(os.getpid(), signal.SIGKILL)
engine = open_engine("sqlite:///{tmp_path}/shop.db", create=True)
ingest(engine, interactions={str(log)!r}, progress=die)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    engine = open_engine(f"sqlite:///{tmp_path}/shop.db")
    assert not tables(engine)
    ingest(engine, interactions=log)
    assert len(rows(engine, "interaction")) == 200_000
    engine.dispose()


# Round trips


WORDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"),
    min_size=1,
    max_size=30,
)
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ids=st.one_of(*(st.lists(v, min_size=1, max_size=20, unique=True) for v in (WORDS, NUMBERS)))
)
def test_ids_round_trip(tmp_path_factory: Any, suffix: str, ids: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("trip")
    path = folder / f"items.{suffix}"
    if suffix == "csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
            writer.writerows([["item_id"], *([name] for name in ids)])
    else:
        kind = "VARCHAR" if isinstance(ids[0], str) else "BIGINT"
        with duckdb.connect() as db:
            db.execute(f"CREATE TABLE t AS SELECT unnest($1::{kind}[]) AS item_id", [ids])
            db.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    engine = create_engine(f"sqlite:///{folder / 'shop.db'}")
    ingest(engine, items=path)
    found = [row[0] for row in rows(engine, "item")]
    engine.dispose()
    assert found == ids or (suffix == "csv" and list(map(str, found)) == ids)


# MovieLens


def test_movielens_folder(engine: Engine, tmp_path: Path, write: Any) -> None:
    movies = (
        'movieId,title,genres\r\n1,"Sun, The (1995)",Drama|Comedy\r\n'
        "2,Untitled,(no genres listed)\r\n3,Show (2006-2007) ,Drama\r\n4,Late (1999) ,Drama\r\n"
    )
    write(movies, "movies.csv")
    report = ingest_movielens(engine, tmp_path)
    assert "ratings.csv" in report.notes[0]
    assert rows(engine, "item") == [
        (1, "Sun, The (1995)", 1995, "Drama|Comedy"),
        (2, "Untitled", None, None),
        (3, "Show (2006-2007) ", None, "Drama"),
        (4, "Late (1999) ", 1999, "Drama"),
    ]
    write("userId,movieId,rating,timestamp\r\n1,2,4,100\r\n", "ratings.csv")
    (tmp_path / "movies.csv").unlink()
    ingest_movielens(engine, tmp_path)
    assert rows(engine, "interaction") == [(2, 1, 100, 4.0)]
    assert types(engine, "interaction")["rating"] == "DOUBLE"


def test_folder_that_is_no_movielens(engine: Engine, tmp_path: Path, write: Any) -> None:
    with pytest.raises(InputError, match="no folder"):
        ingest_movielens(engine, tmp_path / "absent")
    with pytest.raises(InputError, match="neither"):
        ingest_movielens(engine, tmp_path)
    write("userId,movieId\n1,2\n", "ratings.csv")
    with pytest.raises(MissingColumn, match="rating"):
        ingest_movielens(engine, tmp_path)
    write("userId,movieId,rating,timestamp\n1,2,good,100\n", "ratings.csv")
    with pytest.raises(BadRow, match="column rating"):
        ingest_movielens(engine, tmp_path)


@pytest.mark.skipif("ITEMSPACE_DATA" not in os.environ, reason="ITEMSPACE_DATA is not set")
def test_movielens_small(engine: Engine) -> None:
    folder = Path(os.environ["ITEMSPACE_DATA"]) / "ml-latest-small"
    assert ingest_movielens(engine, folder).rows == {"item": 9742, "interaction": 100_836}
    items = rows(engine, "item")
    assert items[0] == (1, "Toy Story (1995)", 1995, "Adventure|Animation|Children|Comedy|Fantasy")
    assert rows(engine, "interaction")[0] == (1, 1, 964982703, 4.0)


# What a reviewer found


def test_events_without_times_are_numbered_through(engine: Engine, write: Any) -> None:
    files = [write(f"user_id,item_id\nu,{a}\nu,{b}\n", f"{a}.csv") for a, b in ((9, 8), (7, 6))]
    ingest(engine, interactions=files)
    ingest(engine, interactions=write("user_id,item_id\nu,5\n", "more.csv"))
    catalog = Catalog(engine)
    assert [row[2] for row in rows(engine, "interaction")] == [0, 1, 2, 3, 4]
    assert recent_items(catalog, ["u"], 3) == {"u": [5, 6, 7]}
    log = catalog.read_interactions()
    assert [log.items[int(code)] for code in log.sequences()[0]] == [9, 8, 7, 6, 5]
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE INDEX covering ON interaction (user_id, item_id)")
    log = catalog.read_interactions()
    assert [log.items[int(code)] for code in log.sequences()[0]] == [9, 8, 7, 6, 5]


def test_a_column_named_fault(engine: Engine, write: Any) -> None:
    log = write("user_id,item_id,timestamp,fault\nu,1,2,x\nu,1,soon,y\n")
    with pytest.raises(BadRow) as caught:
        ingest(engine, interactions=log)
    assert (caught.value.line, caught.value.value) == (3, "soon")


def test_a_table_of_items_of_ones_own_is_no_hindrance(engine: Engine, write: Any) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE item (sku VARCHAR(9))")
    assert ingest(engine, interactions=write(LOG + "1,2,3\n")).rows == {"interaction": 1}


# Without a time in them, so that every process names the tests alike.
BROKEN = gzip.compress(b"user_id,item_id\n1,2\n", mtime=0)[:-9]


@pytest.mark.parametrize("content", [b"no gzip", BROKEN], ids=["none", "cut"])
def test_archives_that_are_none(engine: Engine, write: Any, content: bytes) -> None:
    with pytest.raises(InputError):
        ingest(engine, interactions=write(content, "log.csv.gz"))


def test_a_first_line_without_end(engine: Engine, write: Any) -> None:
    with pytest.raises(InputError):
        ingest(engine, interactions=write("x" * 300_000))
