import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Before LanceDB itself, which it quiets.
pytest.importorskip("itemspace.adapters.lancedb", exc_type=ImportError)

import lancedb
import pyarrow as pa
from example_vectors import clustered, named, recall
from itemspace import Ids, Metric, Retriever, VectorSet, create_retriever, open_retriever
from itemspace.adapters import RetrieverURL
from itemspace.adapters.lancedb_options import INDEXES
from itemspace.adapters.registry import place_below, remove_retriever
from itemspace.core.errors import (
    BackendError,
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    ClosedError,
    CorruptData,
    IncompatibleFormat,
    InvalidOption,
    InvalidURL,
    LockedError,
    ReadOnlyError,
)
from itemspace.core.neighbors import Completeness
from itemspace.testing import RetrieverSuite


class TestLanceDB(RetrieverSuite):
    """With an index of each collection, however small."""

    @pytest.fixture(autouse=True)
    def indexed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("itemspace.adapters.lancedb._SCANNED", 0)

    def url(self, folder: Path) -> str:
        return f"lancedb://{folder}/database"


class TestScannedLanceDB(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"lancedb://{folder}/database?index=none&collection=other"


def url_in(folder: Path, parameters: str = "") -> str:
    return f"lancedb://{folder}/database?{parameters}"


def table_of(retriever: Any) -> Any:
    return retriever._driver._collection._table


@pytest.fixture(scope="module")
def vectors() -> VectorSet:
    return named(clustered(25_000))


@pytest.fixture(scope="module")
def exact(vectors: VectorSet) -> Retriever:
    return create_retriever("exact://", vectors)


@pytest.fixture(scope="module")
def index(vectors: VectorSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retriever]:
    """Large enough to have an index; only to be read."""
    with create_retriever(url_in(tmp_path_factory.mktemp("index")), vectors) as made:
        assert table_of(made).index_stats("vector_idx").num_indexed_rows == 25_000
        yield made


# -- searches --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INDEXES)
@pytest.mark.parametrize("metric", list(Metric))
def test_recall_of_every_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, metric: Metric, capfd: Any
) -> None:
    monkeypatch.setattr("itemspace.adapters.lancedb._SCANNED", 1000)
    vectors = named(clustered(4000), metric)
    queries = vectors.matrix[:50] + 0.01
    truth = create_retriever("exact://", vectors).search(queries, 10)
    with create_retriever(url_in(tmp_path, f"index={name}"), vectors) as made:
        kinds = [found.index_type for found in table_of(made).list_indices()]
        assert kinds == [] if name == "none" else len(kinds) == 1
        assert np.array_equal(made.vectors(["i7"]), vectors.matrix[7:8])
        found = made.search(queries, 10)
        assert recall(truth, found) > 0.95
    with open_retriever(url_in(tmp_path)) as made:
        assert made.capabilities.is_exact == (name == "none")
        if name == "none":
            for one, other in zip(truth, made.search(queries, 10), strict=True):
                assert one.ids.tolist() == other.ids.tolist()
                assert one.scores.tolist() == other.scores.tolist()
    with pytest.raises(InvalidOption, match="built with m=16"):
        open_retriever(url_in(tmp_path, "m=8"))
    with open_retriever(url_in(tmp_path, "probes=1&ef_search=1&refine=1")) as made:
        assert len(made.search(queries[0], 10)[0]) == 10
    assert capfd.readouterr().err == ""  # the engine warns of too few items, and of much else


def test_filters_of_every_size(vectors: VectorSet, exact: Retriever, index: Retriever) -> None:
    queries = vectors.matrix[1:25_000:1000]
    order = np.random.default_rng(2).permutation(25_000)
    for k, size in ((10, 12), (10, 300), (10, 2_500), (10, 12_500), (10, 22_500), (300, 1_001)):
        allowed = vectors.ids[order[:size]]
        found = index.search(queries, k, allowed=allowed)
        assert recall(exact.search(queries, k, allowed=allowed), found) > 0.97
        assert all(len(line) == min(k, size) for line in found)
        assert all(len(line) == k for line in index.search(queries[:2], k, excluded=allowed))
    for query in queries[:3]:
        nearest = exact.search(query, 2000)[0].ids
        found = index.search(query, 10, excluded=nearest)[0]
        assert found.ids.tolist() == exact.search(query, 10, excluded=nearest)[0].ids.tolist()
    rest = index.search(queries[0], 10, allowed=vectors.ids[:9], excluded=["i3"])[0]
    assert (len(rest), rest.completeness) == (8, Completeness.EXHAUSTED)
    assert index.search(queries[0], 10, allowed=["i3", "gone"])[0].ids.tolist() == ["i3"]


def test_batches_of_every_size(vectors: VectorSet, exact: Retriever, index: Retriever) -> None:
    queries = vectors.matrix[:250] + 0.01
    together = index.search(queries, 10)
    assert recall(exact.search(queries, 10), together) > 0.97
    for at in (0, 99, 100, 249):
        assert index.search(queries[at], 10)[0].ids.tolist() == together[at].ids.tolist()
    # The engine makes room for as many as it is asked for.
    assert [len(line) for line in index.search(queries[:2], 2**40)] == [25_000] * 2
    assert len(index.vectors(vectors.ids)) == 25_000


def test_what_is_new_is_found_before_and_after_a_flush(tmp_path: Path, vectors: VectorSet) -> None:
    new = np.full((1000, 16), 9, np.float32) + clustered(1000)
    names = [f"new {at}" for at in range(1000)]
    with create_retriever(url_in(tmp_path), vectors) as made:
        for _ in range(2):
            made.upsert(names, new)
            made.upsert(["i0"], -new[:1])
            made.delete(vectors.ids[1:100])
            statistics = table_of(made).index_stats("vector_idx")
            assert statistics.num_unindexed_rows == 1001
            for _ in range(2):
                found = made.search(new[:20], 1)
                assert [line.ids[0] for line in found] == names[:20]
                assert made.search(-new[0], 1)[0].ids[0] == "i0"
                assert not set(vectors.ids[1:100]) & set(made.search(vectors.matrix[1], 200)[0].ids)
                assert len(made) == 25_901
                made.flush()
            statistics = table_of(made).index_stats("vector_idx")
            assert (statistics.num_unindexed_rows, statistics.num_indexed_rows) == (0, 25_901)
        before = table_of(made).version
        made.flush()
        assert table_of(made).version == before
        made.upsert([f"more {at}" for at in range(30_000)], np.tile(new, (30, 1)))
        made.flush()  # most of it is new: trained again
        statistics = table_of(made).index_stats("vector_idx")
        assert (statistics.num_unindexed_rows, statistics.num_indices) == (0, 1)


@pytest.mark.parametrize("metric", list(Metric))
def test_products_beyond_float32(tmp_path: Path, metric: Metric) -> None:
    matrix = np.outer([3e38, -3e38, 1e-40, 1, 2], [1, -1, 1, 1]).astype(np.float32)
    with create_retriever(url_in(tmp_path), named(matrix, metric)) as made:
        assert np.array_equal(made.vectors([f"i{at}" for at in range(5)]), matrix)
        found = made.search(matrix, 5)
        assert [len(line) for line in found] == [5] * 5
        assert [line.ids[0] for line in found[:2]] == ["i0", "i1"]


# -- ids -------------------------------------------------------------------------------------

NUMBERS = [-(2**63), 1 - 2**63, -1, 0, 2**53 + 1, 2**63 - 1]
TEXTS = [
    "", "'", "''", "a'b", "\\", "\\'", "'; DROP TABLE items; --", '"', "`", "%", "_", "$1", "?",
    "{}", "\n", "\r\n", "\x01", "é", "e\u0301", "İ", "\u202e", "🎈" * 255, "NULL", "1",
]  # fmt: skip


@pytest.mark.parametrize("names", [NUMBERS, TEXTS])
def test_ids_survive_a_second_life(tmp_path: Path, names: list[Any]) -> None:
    matrix = np.eye(len(names), 32, dtype=np.float32) * 3
    url = url_in(tmp_path)
    create_retriever(url, VectorSet(Ids(names), matrix)).close()
    with open_retriever(url, "rw") as made:
        for at, name in enumerate(names):
            assert np.array_equal(made.vectors([name]), matrix[at : at + 1])
            assert made.search(matrix[at], 3, allowed=[name])[0].ids.tolist() == [name]
        assert made.delete(names[1:]) == len(names) - 1
        assert [name in made for name in names] == [True] + [False] * (len(names) - 1)
        made.upsert(names[1:], matrix[1:])
        assert made.delete(names[:1]) == 1
    with open_retriever(url) as made:
        assert np.array_equal(made.vectors(names[1:]), matrix[1:])
        assert names[0] not in made
        found = made.search(matrix[1:], 1)
        assert [line.ids.tolist() for line in found] == [[name] for name in names[1:]]


# -- readers and writers ---------------------------------------------------------------------


def test_threads(vectors: VectorSet, index: Retriever) -> None:
    queries = vectors.matrix[:40]
    expected = [line.ids.tolist() for line in index.search(queries, 5)]
    wrong: list[Any] = []

    def read() -> None:
        for query, names in zip(queries, expected, strict=True):
            found = index.search(query, 5)[0].ids.tolist()
            wrong.extend([found] if found != names else [])
        names = [name for ids, _ in index.scan(4000) for name in ids]
        wrong.extend([len(names)] if len(set(names)) != 25_000 else [])

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_a_scan_beside_a_writer(tmp_path: Path) -> None:
    """A scan gives what was there when it began."""
    with create_retriever(url_in(tmp_path), named(clustered(2000))) as made:
        pages = made.scan(100)
        names = next(pages)[0].to_list()
        made.delete([f"i{at}" for at in range(1000)])
        made.upsert(["late"], np.ones((1, 16)))
        made.flush()
        names += [name for ids, _ in pages for name in ids]
        assert set(names) == {f"i{at}" for at in range(2000)}
        pages = made.scan(100)
        next(pages)
    with pytest.raises(ClosedError):
        list(pages)


_READER = """
import sys
from itemspace import open_retriever
with open_retriever(sys.argv[1]) as index:
    for line in sys.stdin:
        found = index.search([float(line)] * 16, 1)[0].ids.tolist()
        print(len(index), *found, flush=True)
"""


def test_another_process_reads_what_one_writes(tmp_path: Path) -> None:
    url, there = url_in(tmp_path), named(clustered(200))
    with create_retriever(url, there) as made:
        reader = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _READER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with reader:
            assert reader.stdin is not None and reader.stdout is not None
            for at in range(5):
                made.upsert([f"new {at}"], np.full((1, 16), 1 + at) * ([1, -1] * 8))
                made.upsert(["best"], np.ones((1, 16)))
                made.flush()
                print("1", file=reader.stdin, flush=True)
                assert reader.stdout.readline() == f"{202 + at} best\n"
            reader.stdin.close()
        assert reader.returncode == 0


def test_one_process_writes(tmp_path: Path) -> None:
    url, there = url_in(tmp_path), named(clustered(100))
    with create_retriever(url, there) as made:
        with pytest.raises(LockedError, match="being written by") as caught:
            open_retriever(url, "rw")
        assert str(os.getpid()) in caught.value.holder
        with pytest.raises(LockedError):
            create_retriever(url, there)
        code = f"from itemspace import open_retriever; open_retriever({url!r}, 'rw')"
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert f"process {os.getpid()}" in other.stderr
        with open_retriever(url) as reader, create_retriever(f"{url}collection=b", there):
            made.delete(["i0"])
            assert (len(reader), "i0" in reader) == (99, False)
            with pytest.raises(ReadOnlyError):
                reader.delete(["i1"])
    open_retriever(url, "rw").close()


def test_another_program_writes(tmp_path: Path) -> None:
    """It does not know of our lock."""
    with create_retriever(url_in(tmp_path), named(clustered(200))) as made:
        made.upsert(["new"], np.ones((1, 16)))
        theirs = lancedb.connect(tmp_path / "database").open_table("items")
        theirs.delete("id = 'i0'")
        theirs.optimize()
        assert (len(made), "i0" in made) == (200, False)
        assert made.delete(["i0", "i1"]) == 1
        theirs.delete("id = 'i2'")
        made.flush()
        lancedb.connect(tmp_path / "database").drop_table("items")
        with pytest.raises((BackendNotFound, CorruptData)):
            made.search(np.ones(16), 3)
        made._driver.close()  # type: ignore[attr-defined]


# -- places ----------------------------------------------------------------------------------


def test_tables_of_a_folder(tmp_path: Path) -> None:
    there = named(clustered(100))
    for name in ("a", "b.c-d_0"):
        create_retriever(url_in(tmp_path, f"collection={name}"), there).close()
    with pytest.raises(BackendNotFound, match=r"items\.lance"):
        open_retriever(url_in(tmp_path))
    remove_retriever(url_in(tmp_path, "collection=a"))
    with pytest.raises(BackendNotFound):
        open_retriever(url_in(tmp_path, "collection=a"))
    assert len(open_retriever(url_in(tmp_path, "collection=b.c-d_0"))) == 100
    remove_retriever(url_in(tmp_path, "collection=b.c-d_0"))
    assert list(tmp_path.iterdir()) == []
    assert place_below(RetrieverURL.parse(url_in(tmp_path)), "v1").path.endswith("/database/v1")


def test_places_of_something_else(tmp_path: Path) -> None:
    there = named(clustered(100))
    create_retriever(f"exact://{tmp_path}/exact", there).close()
    with pytest.raises(BackendExists, match="no LanceDB database"):
        create_retriever(f"lancedb://{tmp_path}/exact", there)
    with pytest.raises(BackendNotFound):
        open_retriever(f"lancedb://{tmp_path}/exact")
    theirs = lancedb.connect(tmp_path / "database")
    theirs.create_table("items", pa.table({"id": [1], "vector": [[1.0, 2.0]]}))
    for mode in ("r", "rw"):
        with pytest.raises(BackendNotFound, match="somebody else's"):
            open_retriever(url_in(tmp_path), mode)  # type: ignore[arg-type]
    with pytest.raises(BackendExists):
        create_retriever(url_in(tmp_path), there)
    create_retriever(url_in(tmp_path, "collection=ours"), there).close()
    assert theirs.open_table("items").version == 1
    (tmp_path / "file").write_text("x")
    with pytest.raises(BackendNotFound):
        open_retriever(f"lancedb://{tmp_path}/file")
    with pytest.raises(BackendError):
        create_retriever(f"lancedb://{tmp_path}/file", there)
    for place in ("lancedb:", "lancedb://host/items"):
        with pytest.raises(InvalidURL):
            create_retriever(place, there)
    assert not (tmp_path / "none").exists()


def test_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    create_retriever("lancedb:database", named(clustered(100))).close()
    with open_retriever(url_in(tmp_path)) as made:
        assert len(made) == 100


@pytest.mark.parametrize(
    "parameters",
    [
        "collection=", "collection=../a", "collection=.a", "collection=a/b", "collection=é",
        "index=hnsw", "lists=0", "m=1", "ef_construction=0", "probes=0", "ef_search=0", "refine=0",
        "probes=many",
    ],
)  # fmt: skip
def test_options_out_of_range(tmp_path: Path, parameters: str) -> None:
    for call in (
        lambda: create_retriever(url_in(tmp_path, parameters), named(clustered(100))),
        lambda: open_retriever(url_in(tmp_path, parameters)),
    ):
        with pytest.raises(InvalidOption, match=parameters.partition("=")[0]):
            call()
    assert not (tmp_path / "database").exists()


def test_more_lists_than_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itemspace.adapters.lancedb._SCANNED", 10)
    with create_retriever(url_in(tmp_path, "lists=5000"), named(clustered(100))) as made:
        assert len(made.search(np.ones(16), 100)[0]) == 100


# -- faults ----------------------------------------------------------------------------------


def test_a_creation_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise OSError("lance error: No space left on device (os error 28)")

    with monkeypatch.context() as patch, pytest.raises(BackendUnavailable, match="No space left"):
        patch.setattr("lancedb.table.LanceTable.optimize", failing)
        create_retriever(url_in(tmp_path), named(clustered(100)))
    assert list(tmp_path.iterdir()) == []


def test_an_upsert_is_one_commit(tmp_path: Path) -> None:
    """So it is all or nothing: the file that holds it cannot be written, and nothing is there."""
    with create_retriever(url_in(tmp_path), named(clustered(100))) as made:
        before = table_of(made).version
        data = tmp_path / "database" / "items.lance" / "data"
        shutil.rmtree(data)
        data.write_text("in the way")
        with pytest.raises(BackendError):
            made.upsert([f"i{at}" for at in range(50, 3000)], clustered(2950))
        data.unlink()
        assert (table_of(made).version, len(made)) == (before, 100)


_WRITER = """
import os, signal, sys, threading, time
import numpy as np
from itemspace import Ids, VectorSet, create_retriever, open_retriever
url, creates, seconds = sys.argv[1], sys.argv[2] == "create", float(sys.argv[3])
names, matrix = [f"new {at}" for at in range(20_000)], np.ones((20_000, 64), np.float32)
if not creates:
    index = open_retriever(url, "rw")
print("starts", flush=True)
threading.Thread(
    target=lambda: (time.sleep(seconds), os.kill(os.getpid(), signal.SIGKILL)), daemon=True
).start()
if creates:
    create_retriever(url, VectorSet(Ids(names), matrix))
else:
    for step in range(2, 1000):
        index.upsert(names, step * matrix)
        if step % 5 == 0:
            index.flush()
time.sleep(20)
"""


def _killed(url: str, what: str, seconds: float) -> None:
    writer = subprocess.run(
        [sys.executable, "-c", _WRITER, url, what, str(seconds)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (writer.returncode, writer.stdout) == (-signal.SIGKILL, "starts\n"), writer.stderr


@pytest.mark.parametrize("seconds", [0.02, 0.06, 0.3])
def test_a_killed_creation(tmp_path: Path, seconds: float) -> None:
    """It leaves all or nothing, and what it leaves is in nobody's way."""
    url = url_in(tmp_path)
    _killed(url, "create", seconds)
    try:
        with open_retriever(url, "rw") as made:
            assert len(made) == 20_000
    except BackendNotFound:
        create_retriever(url, named(clustered(100))).close()


@pytest.mark.parametrize("seconds", [0.5, 1.1])
def test_a_killed_writer(tmp_path: Path, seconds: float) -> None:
    url = url_in(tmp_path)
    there = named(clustered(1000, 64))
    create_retriever(url, there).close()
    _killed(url, "write", seconds)
    with open_retriever(url, "rw") as made:
        new = [f"new {at}" for at in range(20_000)]
        names = {name for ids, _ in made.scan() for name in ids}
        if names != set(there.ids):  # all of an upsert is there, or nothing
            assert names == {*there.ids, *new}
            assert len(np.unique(made.vectors(new))) == 1
        assert np.array_equal(made.vectors(there.ids), there.matrix)
        made.upsert(["after"], there.matrix[:1])
    with open_retriever(url) as made:
        assert "after" in made


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(f"items.lance/{pattern}"))


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: [os.truncate(file, 40) for file in _files(folder, "data/*")],
        lambda folder: [file.unlink() for file in _files(folder, "data/*")],
        lambda folder: [file.write_bytes(b"\xff" * 9000) for file in _files(folder, "data/*")],
        lambda folder: os.truncate(_files(folder, "_versions/*.manifest")[0], 40),
        lambda folder: _files(folder, "_versions/*.manifest")[0].write_bytes(b"\xff" * 4000),
        lambda folder: shutil.rmtree(folder / "items.lance" / "_indices"),
        lambda folder: [file.write_bytes(b"\xff" * 999) for file in _files(folder, "_indices/*/*")],
    ],
)
def test_damaged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], object]
) -> None:
    monkeypatch.setattr("itemspace.adapters.lancedb._SCANNED", 100)
    there = named(clustered(2000))
    create_retriever(url_in(tmp_path), there).close()
    harm(tmp_path / "database")
    for mode in ("r", "rw"):
        with pytest.raises(CorruptData, match=r"items\.lance"):
            made = open_retriever(url_in(tmp_path), mode)  # type: ignore[arg-type]
            try:
                made.search(np.ones(16), 3)
            finally:
                made.close()


def _described(folder: Path, change: dict[str, Any]) -> None:
    """A table that says something else of itself."""
    database = lancedb.connect(folder)
    rows = database.open_table("items").to_arrow()
    facts = json.loads(rows.schema.metadata[b"itemspace"]) | change
    database.drop_table("items")
    database.create_table("items", rows.replace_schema_metadata({"itemspace": json.dumps(facts)}))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"format": 2}, IncompatibleFormat),
        ({"metric": "manhattan"}, CorruptData),
        ({"options": {"colour": "red"}}, CorruptData),
        ({"options": None}, CorruptData),
        ({"ids": "uuid"}, CorruptData),
        ({"dim": 17}, CorruptData),
    ],
)
def test_facts_that_cannot_be(tmp_path: Path, change: dict[str, Any], error: Any) -> None:
    create_retriever(url_in(tmp_path), named(clustered(100))).close()
    _described(tmp_path / "database", change)
    for mode in ("r", "rw"):  # and nobody holds it
        with pytest.raises(error, match=r"items\.lance"):
            open_retriever(url_in(tmp_path), mode)  # type: ignore[arg-type]


# -- forks -----------------------------------------------------------------------------------


def test_a_forked_child(tmp_path: Path) -> None:
    """The engine may crash there, or hang."""
    url, there = url_in(tmp_path), named(clustered(2000))
    index = create_retriever(url, there)
    context = multiprocessing.get_context("fork")
    told: Any = context.SimpleQueue()
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            index.search(there.matrix[:5], 3)

    def child() -> None:
        for call in (
            lambda: index.search(there.matrix[0], 3),
            lambda: index.vectors(["i1"]),
            lambda: list(index.scan()),
            lambda: len(index),
            lambda: open_retriever(url),
        ):
            try:
                call()
            except ClosedError as error:
                told.put(str(error))
        index.close()

    searcher = threading.Thread(target=search)
    searcher.start()
    for _ in range(20):
        process = context.Process(target=child)
        process.start()
        assert all("'spawn'" in told.get() for _ in range(5))
        process.join(20)
        assert process.exitcode == 0
    stop.set()
    searcher.join()
    index.upsert(["late"], there.matrix[:1])
    index.close()
    with open_retriever(url, "rw") as again:
        assert "late" in again


def test_a_child_that_was_forked_before(tmp_path: Path) -> None:
    url = url_in(tmp_path)
    create_retriever(url, named(clustered(2000))).close()
    code = f"""
import os, sys
import numpy as np
from itemspace import open_retriever
import itemspace.adapters.lancedb
child = os.fork()
with open_retriever({url!r}) as index:
    assert len(index.search(np.ones(16), 3)[0]) == 3
    other = os.fork()  # it ends with the retriever open
    if not other:
        sys.exit(0)
if child:
    sys.exit(os.waitpid(child, 0)[1] or os.waitpid(other, 0)[1])
sys.exit(os.waitpid(other, 0)[1])
"""
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
