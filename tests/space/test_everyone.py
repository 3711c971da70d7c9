"""Recommendations for everyone: whole, in order, and after being broken off."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from itemspace import Ids, Space, VectorSet
from itemspace.catalog import Catalog
from itemspace.core.errors import (
    BackendExists,
    EmptyInput,
    InputError,
    InvalidOption,
    PublishConflict,
)
from itemspace.publishing import publish
from itemspace.space.everyone import Output, recommend_all
from itemspace.space.outputs import ParquetOutput, TableOutput
from sqlalchemy import Engine, text

JOB = {"k": 5, "where": None}


@pytest.fixture
def space(shop: Catalog, tmp_path: Path) -> Iterator[Space]:
    ids = [f"p{at}" for at in range(190)]
    matrix = np.random.default_rng(0).standard_normal((190, 8))
    some = VectorSet(Ids(range(5)), np.random.default_rng(1).standard_normal((5, 8)))
    publish(shop, VectorSet(Ids(ids), matrix), f"exact:{tmp_path}/published", users=some)
    with Space.open(shop) as opened:
        yield opened


def expected(space: Space) -> list[tuple[Any, ...]]:
    return [
        (one.user, rank, item, score, one.source.value)
        for one in space.for_users(list(range(20)), 5)
        for rank, (item, score) in enumerate(zip(one.ids, one.scores, strict=True), start=1)
    ]


def parquet(path: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect() as db:
        return db.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()


def table(space: Space, name: str) -> list[tuple[Any, ...]]:
    with space.catalog.engine.connect() as connection:
        found = connection.execute(
            text(f"SELECT user_id, rank, item_id, score, source FROM {name} ORDER BY 1, 2")
        )
        return [tuple(row) for row in found]


class Breaking:
    """An output that fails at its third page, before or after that went in."""

    def __init__(self, inner: Output, *, after: bool) -> None:
        self._inner, self._after, self._pages = inner, after, 0

    def start(self, job: Any) -> Any:
        return self._inner.start(job)

    def write(self, page: Any) -> None:
        self._pages += 1
        if self._pages < 3 or self._after:
            self._inner.write(page)
        if self._pages == 3:
            raise KeyboardInterrupt

    def finish(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["parquet", "table"])
def test_all_of_them_after_being_broken_off(
    space: Space, tmp_path: Path, kind: str, after: bool
) -> None:
    path = tmp_path / "to [all].parquet"
    asked: list[list[Any]] = []

    class Watched:
        def recommend(self, users: Any) -> Any:
            asked.append(users)
            return space.batch(5).recommend(users)

    def output() -> Output:
        if kind == "parquet":
            return ParquetOutput(path, space.catalog)
        return TableOutput(space.catalog, "recommended", space.version)

    batch: Any = Watched()
    with pytest.raises(KeyboardInterrupt):
        broken = Breaking(output(), after=after)
        recommend_all(space.catalog, batch, broken, JOB, page_size=3)
    assert not path.exists()
    asked.clear()
    told: list[tuple[Any, ...]] = []
    done = recommend_all(
        space.catalog, batch, output(), JOB, page_size=7, progress=lambda *p: told.append(p)
    )
    assert done == 20
    assert asked[0][0] == (9 if after else 6)
    assert told[-1] == (20, 20, "recommending")
    found = parquet(path) if kind == "parquet" else table(space, "recommended")
    assert found == expected(space)
    if kind == "parquet":
        assert {p.name for p in tmp_path.glob("to*")} == {path.name}
        with pytest.raises(BackendExists, match="exists already"):
            recommend_all(space.catalog, batch, output(), JOB)


def test_another_job_does_not_go_on(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    with pytest.raises(KeyboardInterrupt):
        broken = Breaking(ParquetOutput(path, space.catalog), after=True)
        recommend_all(space.catalog, space.batch(5), broken, JOB, page_size=3)
    with pytest.raises(InvalidOption, match="another job"):
        output = ParquetOutput(path, space.catalog)
        recommend_all(space.catalog, space.batch(5), output, {"k": 6})


def test_a_table_is_filled_anew_user_by_user(space: Space) -> None:
    catalog = space.catalog
    recommend_all(catalog, space.batch(3), TableOutput(catalog, "shown", 1), {"k": 3}, page_size=6)
    with catalog.engine.begin() as connection:
        # Users who are gone by the next run: first, in the middle, last.
        for user in (-1, 77):
            statement = f"INSERT INTO shown VALUES ({user}, 1, 'p1', 0.5, 'recent', 1)"
            connection.execute(text(statement))
        connection.execute(text("DELETE FROM event WHERE who = 9"))
    with pytest.raises(KeyboardInterrupt):
        broken = Breaking(TableOutput(catalog, "shown", 2), after=True)
        recommend_all(catalog, space.batch(5), broken, JOB, page_size=2)
    found = table(space, "shown")
    of_user = {user: sum(row[0] == user for row in found) for user in (0, 5, 6, 9, 19)}
    assert of_user == {0: 5, 5: 5, 6: 3, 9: 3, 19: 3}
    recommend_all(catalog, space.batch(5), TableOutput(catalog, "shown", 2), JOB, page_size=2)
    assert table(space, "shown") == [row for row in expected(space) if row[0] != 9]


def test_two_runs_at_once(space: Space) -> None:
    catalog = space.catalog
    one, other = (TableOutput(catalog, "shown", 1) for _ in range(2))
    one.start(JOB)
    other.start(JOB)
    page = space.batch(5).recommend([0, 1])
    one.write(page)
    with pytest.raises(PublishConflict, match="Another run"):
        other.write(page)
    one.finish()
    assert len(table(space, "shown")) == 10


def test_a_place_that_cannot_be_written_to(space: Space, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        output = ParquetOutput(tmp_path / "file" / "x.parquet", space.catalog)
        recommend_all(space.catalog, space.batch(5), output, JOB)


def test_nobody(space: Space, tmp_path: Path) -> None:
    with space.catalog.engine.begin() as connection:
        connection.execute(text("DELETE FROM event"))
    with pytest.raises(EmptyInput, match="nobody"):
        output = ParquetOutput(tmp_path / "x.parquet", space.catalog)
        recommend_all(space.catalog, space.batch(5), output, JOB)


def test_users_without_any_item(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    batch = space.batch(5, where=space.items.columns["price"] < 0)
    assert recommend_all(space.catalog, batch, ParquetOutput(path, space.catalog), JOB) == 20
    assert parquet(path) == []
    with duckdb.connect() as db:
        kinds = db.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    assert [(name, kind) for name, kind, *_ in kinds] == [
        ("user_id", "BIGINT"),
        ("rank", "INTEGER"),
        ("item_id", "VARCHAR"),
        ("score", "DOUBLE"),
        ("source", "VARCHAR"),
    ]


KILLED = """
import sys
from itemspace import Catalog, Space
from itemspace.space.everyone import recommend_all
from itemspace.space.outputs import ParquetOutput, TableOutput
from pathlib import Path

url, path, kind = sys.argv[1:]
catalog = Catalog(url, items="product", id_column="sku", interactions="event", user_column="who",
                  item_column="sku", time_column="at")
space = Space.open(catalog)
output = (ParquetOutput(Path(path), catalog) if kind == "parquet"
          else TableOutput(catalog, "recommended", 1))
recommend_all(catalog, space.batch(5), output, {"k": 5, "where": None}, page_size=1,
              progress=lambda done, total, text: print(done, flush=True))
"""


@pytest.mark.parametrize("kind", ["parquet", "table"])
def test_a_killed_process_goes_on(engine: Engine, space: Space, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "all.parquet"
    words = [engine.url.render_as_string(hide_password=False), str(path), kind]
    started, seen = 0, 0
    while seen < 20:
        started += 1
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, *words], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                assert int(line) > seen  # nothing is done twice
                seen = int(line)
                if seen in (4, 11):
                    time.sleep(0.002)
                    os.kill(process.pid, signal.SIGKILL)
                    break
        if process.returncode not in (0, -signal.SIGKILL):
            raise AssertionError(process.returncode)
    assert started == 3
    found = parquet(path) if kind == "parquet" else table(space, "recommended")
    assert found == expected(space)
