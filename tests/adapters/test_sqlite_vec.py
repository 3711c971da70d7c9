import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("apsw", reason="the extra sqlite-vec is not installed")

import apsw
from example_vectors import clustered, named
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.adapters.registry import place_below, remove_retriever
from itemspace.adapters.url import RetrieverURL
from itemspace.core.errors import (
    BackendError,
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    CorruptData,
    IncompatibleFormat,
    InvalidOption,
    InvalidURL,
    LockedError,
    ReadOnlyError,
)
from itemspace.testing import RetrieverSuite

FORK = multiprocessing.get_context("fork")


class TestSQLiteVec(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"sqlite-vec:{folder}/vectors.db"


def place(folder: Path, parameters: str = "") -> str:
    return f"sqlite-vec:{folder}/vectors.db?{parameters}"


def database(folder: Path) -> apsw.Connection:
    return apsw.Connection(str(folder / "vectors.db"))


def ran(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import os, signal, sys\nimport numpy as np\nfrom itemspace import *\n" + code
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


# -- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", list(Metric))
def test_filters_of_every_size(tmp_path: Path, metric: Metric) -> None:
    matrix = clustered(12_000)
    if metric is Metric.INNER_PRODUCT:  # lengths as a factorisation has them
        matrix *= np.random.default_rng(3).lognormal(size=(12_000, 1)).astype(np.float32)
    vectors = named(matrix, metric)
    exact = create_retriever("exact://", vectors)
    order = np.random.default_rng(2).permutation(12_000)
    with create_retriever(place(tmp_path), vectors) as index:
        assert index.capabilities.is_exact
        for query in matrix[1::4000]:
            nearest = exact.search(query, 500)[0].ids
            for k, ids in (
                (10, vectors.ids[order[:1200]]),
                (10, vectors.ids[order[:6000]]),
                (300, vectors.ids[order[:11_900]]),
                (10, Ids(nearest)),
                (5, Ids([], "str")),
            ):
                for filters in ({"allowed": ids}, {"excluded": ids}):
                    found, truth = (one.search(query, k, **filters)[0] for one in (index, exact))
                    assert found.ids.tolist() == truth.ids.tolist()
                    assert found.scores.tolist() == truth.scores.tolist()
                    assert found.completeness is truth.completeness
        assert len(index.search(matrix[0], 11_000)[0]) == 11_000


@pytest.mark.parametrize("metric", list(Metric))
def test_products_beyond_float32(tmp_path: Path, metric: Metric) -> None:
    matrix = np.outer([3e38, -3e38, 1e-40, 1, 2], [1, -1, 1, 1]).astype(np.float32)
    with create_retriever(place(tmp_path), named(matrix, metric)) as index:
        assert np.array_equal(index.vectors([f"i{at}" for at in range(5)]), matrix)
        found = index.search(matrix[:2], 5)
        assert [len(line) for line in found] == [5, 5]
        assert found[0].ids[0] == "i0"


def test_ids_and_vectors_survive_another_process(tmp_path: Path) -> None:
    numbers: list[Any] = [-(2**63), -1, 0, 2**53 + 1, 2**63 - 1]
    texts: list[Any] = [
        "",
        "é",
        "e\u0301",
        "🎈" * 255,
        "'\n",
        "\\u0041",
        "007",
        "A",
        "a",
        "a ",
        "\ufffe",
    ]
    matrix = np.eye(11, 16, dtype=np.float32) * np.float32(1 / 3) + np.float32(1e-30)
    places = {place(tmp_path): numbers, place(tmp_path, "collection=texts"): texts}
    for url, names in places.items():
        create_retriever(url, VectorSet(Ids(names), matrix[: len(names)])).close()
    done = ran(
        "for url in sys.argv[1:]:\n"
        "    with open_retriever(url, 'rw') as index:\n"
        "        names = sorted(name for ids, _ in index.scan(2) for name in ids)\n"
        "        kept = index.vectors(names)\n"
        "        print(index.delete(names))\n"
        "        index.upsert(names, kept)\n",
        *places,
    )
    assert done.stdout == "5\n11\n", done.stderr
    for url, names in places.items():
        with open_retriever(url) as index:
            assert np.array_equal(index.vectors(names), matrix[: len(names)])
            found = index.search(matrix[: len(names)], 1)
            assert [line.ids.tolist() for line in found] == [[name] for name in names]
            with pytest.raises(ReadOnlyError):
                index.delete(names)


# -- places ----------------------------------------------------------------------------------


def test_several_collections_in_one_file(tmp_path: Path) -> None:
    one, other = named(clustered(100)), named(clustered(50), Metric.EUCLIDEAN)
    first = place(tmp_path, 'collection=o\'ne "É"')
    create_retriever(first, one).close()
    below = place_below(RetrieverURL.parse(first), "0002-ab")
    create_retriever(below, other).close()
    for again in (first, first.replace("o'ne", "O'NE")):
        with pytest.raises(BackendExists, match="has a collection"):
            create_retriever(again, one)
    remove_retriever(first)
    with pytest.raises(BackendNotFound, match="no collection"):
        open_retriever(first)
    with open_retriever(below) as index:
        assert (len(index), index.metric, index.dim) == (50, Metric.EUCLIDEAN, 16)
    create_retriever(first, one).close()
    long = place_below(RetrieverURL.parse(place(tmp_path, "collection=" + "x" * 200)), "7")
    assert long.parameters["collection"] == "x" * 198 + "_7"


def test_a_database_of_somebody_else(tmp_path: Path) -> None:
    shop = database(tmp_path)
    shop.execute("CREATE TABLE items (sku TEXT); INSERT INTO items VALUES ('x')")
    with pytest.raises(BackendExists, match="something else"):
        create_retriever(place(tmp_path, "collection=vectors"), named(clustered(100)))
    with pytest.raises(BackendNotFound):
        open_retriever(place(tmp_path))
    assert shop.pragma("journal_mode") == "delete"
    assert shop.execute("SELECT name FROM sqlite_schema").fetchall() == [("items",)]
    shop.close()


def test_places_that_cannot_be(tmp_path: Path) -> None:
    vectors = named(clustered(100))
    with pytest.raises(InvalidURL, match="SQLite file"):
        create_retriever("sqlite-vec://", vectors)
    for parameters in ("collection=", "timeout=-1", "timeout=nan", "collection=" + "x" * 201):
        with pytest.raises(InvalidOption, match=parameters.partition("=")[0]):
            create_retriever(place(tmp_path, parameters), vectors)
    for mode in ("r", "rw"):
        with pytest.raises(BackendNotFound, match="no file"):
            open_retriever(place(tmp_path), mode)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BackendError, match="reserved"):
        create_retriever(place(tmp_path, "collection=sqlite_x"), vectors)
    (tmp_path / "file").touch()
    with pytest.raises(BackendUnavailable, match="folder"):
        create_retriever(f"sqlite-vec:{tmp_path}/file/vectors.db", vectors)
    with pytest.raises(BackendUnavailable, match="unable to open"):
        create_retriever(f"sqlite-vec:{tmp_path}", vectors)


def test_relative_and_odd_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with create_retriever("sqlite-vec:new/a b%3F%23%25é.db", named(clustered(100))) as index:
        assert (tmp_path / "new" / "a b?#%é.db").is_file()
        monkeypatch.chdir("/")
        assert len(index) == 100


# -- several at once -------------------------------------------------------------------------


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    create_retriever(place(tmp_path), named(clustered(100))).close()
    new = np.ones((1, 16))
    with open_retriever(place(tmp_path, "timeout=0.05"), "rw") as index:
        other = database(tmp_path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match="timeout") as caught:
            index.upsert(["new"], new)
        assert caught.value.holder == "another process"
        assert len(index.search(new, 3)[0]) == 3  # readers go on
        other.execute("ROLLBACK")
        other.close()
        with open_retriever(place(tmp_path), "rw") as second, open_retriever(place(tmp_path)) as r:
            index.upsert(["new"], new)
            assert "new" in r
            assert second.delete(["new"]) == 1
            assert "new" not in r


def test_threads_beside_a_writing_process(tmp_path: Path) -> None:
    """A search, a scan and a filter see a state before or after a change."""
    query, kept = np.ones(16, dtype=np.float32), ["twin a", "twin b"]
    with create_retriever(place(tmp_path), named(clustered(2000))) as index:
        index.upsert(kept, np.stack([query, query]))
        stop, wrong = threading.Event(), []

        def read() -> None:
            try:
                while not stop.is_set():
                    for filters in ({}, {"allowed": [*kept, "i5"]}):
                        found = index.search(query, 2, **filters)[0]  # type: ignore[arg-type]
                        wrong.extend([found] if found.ids.tolist() != kept else [])
                    names = [name for ids, _ in index.scan(300) for name in ids]
                    wrong.extend([names] if len(set(names)) != len(names) else [])
            except Exception as error:
                wrong.append(error)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        done = ran(
            "with open_retriever(sys.argv[1], 'rw') as index:\n"
            "    twin = np.ones((1, 16))\n"
            "    for at in range(60):\n"
            "        twins = np.vstack([twin, twin, -twin])\n"
            "        index.upsert(['twin a', 'twin b', f'new {at}'], twins)\n"
            "        index.delete([f'i{at}'])\n",
            place(tmp_path),
        )
        stop.set()
        for reader in readers:
            reader.join()
        assert (done.returncode, wrong) == (0, []), done.stderr
        assert len(index) == 2002


def test_forked_children(tmp_path: Path) -> None:
    """With a connection left open over the fork, what the child commits is lost."""
    vectors = named(clustered(2000))
    index, stop = create_retriever(place(tmp_path), vectors), threading.Event()

    def search() -> None:
        while not stop.is_set():
            index.search(vectors.matrix[:5], 3)

    def child(at: int) -> None:
        assert index.search(vectors.matrix[0], 1)[0].ids.tolist() == ["i0"]
        with pytest.raises(ReadOnlyError, match="forked"):
            index.delete(["i0"])
        index.close()
        with open_retriever(place(tmp_path), "rw") as own:
            own.upsert([f"child {at}"], -vectors.matrix[:1])

    index.search(vectors.matrix[:5], 3)  # what numba compiles, it must not be compiling in a fork
    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    children = [FORK.Process(target=child, args=(at,), daemon=True) for at in range(8)]
    for process in children:
        process.start()
        index.upsert(["of the parent"], -vectors.matrix[:1])
    for process in children:
        process.join(20)
    stop.set()
    for thread in threads:
        thread.join()
    assert [process.exitcode for process in children] == [0] * 8
    assert len(index) == 2009
    index.close()


# -- faults ----------------------------------------------------------------------------------


def test_a_writer_killed_in_mid_load(tmp_path: Path) -> None:
    create_retriever(place(tmp_path), named(clustered(500))).close()
    code = (
        "import numpy as np, sys\n"
        "from itemspace import open_retriever\n"
        "index = open_retriever(sys.argv[1], 'rw')\n"
        "index.upsert(['before'], np.ones((1, 16)))\n"
        "print('ready', flush=True)\n"
        "index.upsert([f'i{at}' for at in range(300_000)], np.ones((300_000, 16)))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, place(tmp_path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        log, deadline = tmp_path / "vectors.db-wal", time.monotonic() + 30
        while not (log.exists() and log.stat().st_size > 1_000_000):
            assert time.monotonic() < deadline
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    with open_retriever(place(tmp_path)) as index:
        assert len(index) == 501
        assert np.array_equal(index.vectors(["i7"]), clustered(500)[7:8])
    with open_retriever(place(tmp_path), "rw") as index:
        index.upsert(["after"], np.ones((1, 16)))
    with database(tmp_path) as raw:
        assert raw.pragma("integrity_check") == "ok"


def test_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stands in for it."""
    create_retriever(place(tmp_path), named(clustered(100))).close()
    done = ran(
        "import resource\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "index = open_retriever(sys.argv[1], 'rw')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        "    index.upsert([f'n{at}' for at in range(20_000)], np.ones((20_000, 16)))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, len(index))\n",
        place(tmp_path),
    )
    assert done.stdout.split() == ["BackendUnavailable", "100"], done.stderr
    with open_retriever(place(tmp_path)) as index:
        assert len(index) == 100


def test_a_folder_that_can_only_be_read() -> None:
    vectors = named(clustered(100))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_retriever(place(folder), vectors).close()

        def child() -> None:
            if os.getuid() == 0:
                os.setuid(65_534)
            with open_retriever(place(folder)) as index:
                assert index.search(vectors.matrix[0], 1)[0].ids.tolist() == ["i0"]
                assert len(index) == 100
            with pytest.raises(BackendUnavailable, match="rights"):
                open_retriever(place(folder), "rw")

        folder.chmod(0o555)
        (folder / "vectors.db").chmod(0o444)
        process = FORK.Process(target=child, daemon=True)
        process.start()
        process.join(20)
        folder.chmod(0o755)
    assert process.exitcode == 0


def _overwrite(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3 :] = b"\xff" * (len(whole) - len(whole) // 3)
    path.write_bytes(whole)


def _change(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        raw = apsw.Connection(str(path))
        raw.execute(f"PRAGMA ignore_check_constraints = on; {statement}")
        raw.close()

    return change


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lambda path: path.write_bytes(b"no database, but long enough for one " * 50), CorruptData),
        (lambda path: os.truncate(path, path.stat().st_size // 2), CorruptData),
        (_overwrite, CorruptData),
        (_change("UPDATE itemspace_collections SET facts = '{'"), CorruptData),
        (_change("UPDATE itemspace_collections SET facts = '{\"format\": 1}'"), CorruptData),
        (_change("UPDATE itemspace_collections SET facts = '{\"format\": 2}'"), IncompatibleFormat),
        (_change("UPDATE items SET v = x'00' WHERE id = 'i7'"), CorruptData),
        (_change("DROP TABLE items"), BackendError),
    ],
)
def test_damage(
    tmp_path: Path, harm: Callable[[Path], None], error: type[Exception], capfd: Any
) -> None:
    create_retriever(place(tmp_path), named(clustered(2000))).close()
    harm(tmp_path / "vectors.db")
    for mode in ("r", "rw"):
        with (
            pytest.raises(error, match=r"vectors\.db"),
            open_retriever(place(tmp_path), mode) as index,  # type: ignore[arg-type]
        ):
            list(index.scan())
    assert capfd.readouterr() == ("", "")
