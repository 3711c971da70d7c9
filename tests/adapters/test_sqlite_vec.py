import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("apsw", reason="the extra sqlite-vec is not installed")

import apsw
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.adapters.registry import place_below, remove_retriever
from itemspace.adapters.url import RetrieverURL
from itemspace.core.errors import (
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    CorruptData,
    IncompatibleFormat,
    InvalidOption,
    InvalidURL,
    LockedError,
)
from itemspace.core.neighbors import Completeness
from itemspace.testing import RetrieverSuite


class TestSQLiteVec(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"sqlite-vec:{folder}/items.db"


def made(n: int, metric: Metric = Metric.COSINE) -> VectorSet:
    rng = np.random.default_rng(5)
    return VectorSet(Ids([f"i{at}" for at in range(n)]), rng.standard_normal((n, 16)), metric)


def place(folder: Path, parameters: str = "") -> str:
    return f"sqlite-vec:{folder}/items.db?{parameters}"


@pytest.mark.parametrize("metric", list(Metric))
def test_it_is_exact_under_filters_of_every_size(tmp_path: Path, metric: Metric) -> None:
    vectors = made(6000, metric)
    exact = create_retriever("exact://", vectors)
    order = np.random.default_rng(2).permutation(6000)
    with create_retriever(place(tmp_path), vectors) as index:
        for query in vectors.matrix[:3]:
            for k, some in ((10, order[:600]), (10, order[:3000]), (10, order[:5900]), (5, [])):
                ids = vectors.ids[np.array(some, dtype=np.int64)]
                for filters in ({"allowed": ids}, {"excluded": ids}):
                    found, truth = (one.search(query, k, **filters)[0] for one in (index, exact))
                    assert found.ids.tolist() == truth.ids.tolist()
                    assert found.scores.tolist() == truth.scores.tolist()


def test_many_at_once(tmp_path: Path) -> None:
    vectors = made(5000)
    with create_retriever(place(tmp_path), vectors) as index:
        found = index.search(vectors.matrix[0], 4500)[0]
        truth = create_retriever("exact://", vectors).search(vectors.matrix[0], 4500)[0]
        assert found.ids.tolist() == truth.ids.tolist()
        assert found.completeness is Completeness.FULL
        assert len(index.search(vectors.matrix[0], 9000)[0]) == 5000


def test_ids_of_every_kind(tmp_path: Path) -> None:
    names = ["", "a'b", '"', "é" * 255, "😀", "NULL", "a", "A", "a "]
    numbers = [-(2**63), 2**63 - 1, 0, -1]
    for ids, collection in ((names, "texts"), (numbers, "numbers")):
        vectors = VectorSet(Ids(ids), np.eye(16, dtype=np.float32)[: len(ids)])
        with create_retriever(place(tmp_path, f"collection={collection}"), vectors) as index:
            for at, name in enumerate(ids):
                assert index.search(vectors.matrix[at], 1)[0].ids.tolist() == [name]
                assert name in index
            assert sorted(map(str, index.search(vectors.matrix[0], 99)[0].ids)) == sorted(
                map(str, ids)
            )


def test_several_collections_in_one_file(tmp_path: Path) -> None:
    one, other = made(100), made(50, Metric.EUCLIDEAN)
    first = place(tmp_path, 'collection=o\'ne "x"')
    create_retriever(first, one).close()
    below = place_below(RetrieverURL.parse(first), "0002-ab")
    create_retriever(below, other).close()
    with open_retriever(first) as index:
        assert (len(index), index.metric) == (100, Metric.COSINE)
        with pytest.raises(BackendExists, match="has a collection"):
            create_retriever(first, one)
    remove_retriever(first)
    with pytest.raises(BackendNotFound, match="no collection"):
        open_retriever(first)
    with open_retriever(below) as index:
        assert (len(index), index.metric) == (50, Metric.EUCLIDEAN)


def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    shop = apsw.Connection(str(tmp_path / "items.db"))
    shop.execute("CREATE TABLE items (sku TEXT); INSERT INTO items VALUES ('x')")
    for parameters in ("", "collection=vectors"):
        with pytest.raises(BackendExists, match="something else"):
            create_retriever(place(tmp_path, parameters), made(10))
        with pytest.raises(BackendNotFound):
            open_retriever(place(tmp_path, parameters))
    assert shop.execute("SELECT * FROM items").fetchall() == [("x",)]
    assert shop.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (1,)
    shop.close()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InvalidURL, match="SQLite file"):
        create_retriever("sqlite-vec://", made(10))
    for parameters in ("collection=", "timeout=-1", "timeout=nan"):
        with pytest.raises(InvalidOption):
            create_retriever(place(tmp_path, parameters), made(10))
    with pytest.raises(BackendNotFound, match="no file"):
        open_retriever(place(tmp_path))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "items.db").write_bytes(b"no database, but long enough to be one " * 50)
    for call in (
        lambda: open_retriever(place(tmp_path)),
        lambda: remove_retriever(place(tmp_path)),
    ):
        with pytest.raises(CorruptData, match="not a database"):
            call()
    (tmp_path / "file").touch()
    with pytest.raises(BackendUnavailable):
        create_retriever(f"sqlite-vec:{tmp_path}/file/items.db", made(10))


@pytest.mark.parametrize(
    ("facts", "error"),
    [("{", CorruptData), ('{"format": 1}', CorruptData), (None, IncompatibleFormat)],
)
def test_notes_that_are_not_ours(tmp_path: Path, facts: str | None, error: type[Exception]) -> None:
    create_retriever(place(tmp_path), made(10)).close()
    raw = apsw.Connection(str(tmp_path / "items.db"))
    change = "facts = replace(facts, '1', '2')" if facts is None else "facts = ?"
    raw.execute(f"UPDATE itemspace_collections SET {change}", () if facts is None else (facts,))
    raw.close()
    with pytest.raises(error):
        open_retriever(place(tmp_path))


def test_pages_that_are_damaged(tmp_path: Path) -> None:
    create_retriever(place(tmp_path), made(2000)).close()
    path = tmp_path / "items.db"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3 :] = b"\xff" * (len(whole) - len(whole) // 3)
    path.write_bytes(whole)
    with pytest.raises(CorruptData), open_retriever(place(tmp_path)) as index:
        for _ in index.scan():
            pass


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    create_retriever(place(tmp_path), made(10)).close()
    with open_retriever(place(tmp_path, "timeout=0.05"), "rw") as index:
        other = apsw.Connection(str(tmp_path / "items.db"))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match="locked"):
            index.upsert(["new"], np.ones((1, 16)))
        assert len(index.search(np.ones(16), 3)[0]) == 3  # readers go on
        other.execute("ROLLBACK")
        other.close()
        index.upsert(["new"], np.ones((1, 16)))
        assert "new" in index
        with open_retriever(place(tmp_path)) as reader:
            index.delete(["new"])
            assert "new" not in reader


KILLED = """
import os, signal, sys
import numpy as np
from itemspace import open_retriever
index = open_retriever(sys.argv[1], "rw")
index.upsert([f"new {at}" for at in range(100)], np.ones((100, 16)))
put = index._driver._collection._file.transaction
with put() as connection:
    connection.execute("DELETE FROM items WHERE id = 'i0'")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer(tmp_path: Path) -> None:
    create_retriever(place(tmp_path), made(500)).close()
    done = subprocess.run([sys.executable, "-c", KILLED, place(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    with open_retriever(place(tmp_path), "rw") as index:
        assert len(index) == 600
        assert "i0" in index
        index.upsert(["after"], np.ones((1, 16)))


def test_threads_and_a_forked_child(tmp_path: Path) -> None:
    vectors = made(2000)
    with create_retriever(place(tmp_path), vectors) as index:
        expected = index.search(vectors.matrix[:20], 5)
        faults: list[Any] = []

        def work() -> None:
            for _ in range(5):
                for one, other in zip(index.search(vectors.matrix[:20], 5), expected, strict=True):
                    if one.ids.tolist() != other.ids.tolist():
                        faults.append(one)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for step in range(20):
            index.upsert([f"late {step}"], -vectors.matrix[:1])
        for thread in threads:
            thread.join()
        assert not faults

        context = multiprocessing.get_context("fork")
        told = context.SimpleQueue()

        def child() -> None:
            told.put(index.search(vectors.matrix[0], 5)[0].ids.tolist())
            index.close()
            os._exit(0)

        process = context.Process(target=child)
        process.start()
        assert told.get() == expected[0].ids.tolist()
        process.join(20)
        index.upsert(["after the child"], vectors.matrix[:1])
        assert len(index) == 2021


def test_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stands in for it."""
    create_retriever(place(tmp_path), made(100)).close()
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from itemspace import open_retriever\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "index = open_retriever(sys.argv[1], 'rw')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        "    index.upsert([f'n{at}' for at in range(20_000)], np.ones((20_000, 16)))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, len(index))\n"
    )
    command = [sys.executable, "-c", code, place(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.stdout.split() == ["BackendUnavailable", "100"], out.stderr
    with open_retriever(place(tmp_path)) as index:
        assert len(index) == 100
