import json
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
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.adapters.locks import ReadWriteLock
from itemspace.core.errors import (
    BackendNotFound,
    BackendUnavailable,
    CorruptData,
    IncompatibleFormat,
    InvalidOption,
    InvalidURL,
    LockedError,
    ReadOnlyError,
)
from itemspace.lsh import HyperplaneLSH


def some(n: int = 300, dim: int = 8, metric: Metric = Metric.COSINE) -> VectorSet:
    matrix = np.random.default_rng(0).standard_normal((n, dim)).astype(np.float32)
    return VectorSet(Ids([f"i{at}" for at in range(n)]), matrix, metric)


def test_two_writers_the_second_is_refused(tmp_path: Path) -> None:
    url = f"exact://{tmp_path}/index"
    with create_retriever(url, some()) as first:
        with pytest.raises(LockedError, match=f"process {os.getpid()}") as caught:
            open_retriever(url, "rw")
        assert str(os.getpid()) in caught.value.holder
        with open_retriever(url) as reader:
            first.delete(["i0"])
            assert len(reader) == 300
    with open_retriever(url, "rw") as second:
        assert len(second) == 299


def test_a_killed_writer_leaves_the_last_flushed_state(tmp_path: Path) -> None:
    url = f"exact://{tmp_path}/index"
    create_retriever(url, some()).close()
    code = f"""
import numpy as np, os, signal, sys
from itemspace import open_retriever
r = open_retriever({url!r}, "rw")
r.upsert(["kept"], np.ones((1, 8)))
r.flush()
r.upsert(["lost"], np.ones((1, 8)))
print("ready", flush=True)
signal.pause()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(LockedError):
            open_retriever(url, "rw")
        child.send_signal(signal.SIGKILL)
        child.wait()
    with open_retriever(url, "rw") as retriever:
        assert "kept" in retriever
        assert "lost" not in retriever
        assert len(retriever) == 301


def test_killed_while_writing_a_generation(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    create_retriever(f"exact://{folder}", some()).close()
    (folder / ".generation-000002.abcd.tmp").mkdir()
    (folder / "generation-000002").mkdir()
    (folder / "generation-000002" / "matrix.npy").write_bytes(b"half")
    with open_retriever(f"exact://{folder}", "rw") as retriever:
        assert len(retriever) == 300
        retriever.delete(some().ids[:200])
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["CURRENT", "generation-000003", "lock"]


@pytest.mark.parametrize("scheme", ["exact", "faiss", "lsh"])
def test_damaged_files_raise_and_never_answer(tmp_path: Path, scheme: str) -> None:
    folder = tmp_path / "index"
    create_retriever(f"{scheme}://{folder}", some(5000)).close()
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    assert len(files) >= 6
    for file in files:
        whole = file.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", b"\x93NUMPY\x01\x00garbage", None):
            if damaged is None:
                file.unlink()
            else:
                file.write_bytes(damaged)
            with pytest.raises((CorruptData, BackendNotFound)):
                open_retriever(f"{scheme}://{folder}")
            file.write_bytes(whole)
    open_retriever(f"{scheme}://{folder}").close()


def test_an_index_of_another_version_or_backend(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    create_retriever(f"exact://{folder}", some()).close()
    with pytest.raises(CorruptData, match="index:exact"):
        open_retriever(f"lsh://{folder}")
    manifest = next(folder.glob("generation-*/manifest.json"))
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(IncompatibleFormat, match="format 99"):
        open_retriever(f"exact://{folder}")
    (folder / "CURRENT").write_text("../../etc")
    with pytest.raises(CorruptData):
        open_retriever(f"exact://{folder}")


def test_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InvalidURL, match="in memory"):
        open_retriever("exact://")
    with pytest.raises(BackendNotFound):
        open_retriever(f"exact://{tmp_path}/nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendUnavailable):
        create_retriever(f"exact://{tmp_path}/file/index", some())


def test_dead_rows_go_with_a_flush(tmp_path: Path) -> None:
    url = f"exact://{tmp_path}/index"
    vectors = some()
    with create_retriever(url, vectors) as retriever:
        retriever.delete(vectors.ids[:200])
        for _ in range(3):
            retriever.upsert(vectors.ids[250:260], vectors.matrix[:10])
    matrix = np.load(next((tmp_path / "index").glob("generation-*/matrix.npy")))
    assert len(matrix) == 100
    with open_retriever(url) as retriever:
        assert np.array_equal(retriever.vectors(["i250", "i299"])[0], vectors.matrix[0])
        assert len(retriever) == 100


@pytest.mark.parametrize("scheme", ["exact", "faiss", "lsh"])
def test_readers_beside_a_writer_see_whole_states(scheme: str) -> None:
    """Every state holds a pair of twins; no search may see only one of them."""
    vectors = some(6000)
    retriever = create_retriever(f"{scheme}://", vectors)
    query = np.full(8, 1, dtype=np.float32)
    twins = np.stack([query, query])
    retriever.upsert(["twin a", "twin b"], twins)
    assert retriever.search(query, 2)[0].ids.tolist() == ["twin a", "twin b"]
    stop, torn = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            found = retriever.search(query, 2)[0].ids.tolist()
            if found != ["twin a", "twin b"]:
                torn.append(found)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for at in range(40):
        retriever.upsert(["twin a", "twin b", f"new {at}"], np.vstack([twins, -query]))
        retriever.delete([f"i{at % 6000}"])
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []


@pytest.mark.parametrize("scheme", ["exact", "faiss", "lsh"])
def test_a_forked_child_answers(scheme: str) -> None:
    vectors = some(6000)
    retriever = create_retriever(f"{scheme}://", vectors)
    expected = retriever.search(vectors.matrix[:5], 3)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def child() -> None:
        queue.put([answer.ids.tolist() for answer in retriever.search(vectors.matrix[:5], 3)])

    process = context.Process(target=child)
    process.start()
    process.join(30)
    if process.is_alive():
        process.kill()
    assert process.exitcode == 0
    assert queue.get() == [answer.ids.tolist() for answer in expected]


def test_a_flush_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    url = f"exact://{tmp_path}/index"
    with create_retriever(url, some()) as outer:
        create_retriever(f"{url}/inside", some()).close()
        (tmp_path / "index" / "generation-old").mkdir()
        outer.delete(["i0"])
    assert len(open_retriever(f"{url}/inside")) == 300
    assert (tmp_path / "index" / "generation-old").exists()


def test_a_creation_that_failed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption):
        create_retriever(f"faiss://{tmp_path}/index?factory=LSHfoo", some())
    assert not (tmp_path / "index").exists()
    create_retriever(f"faiss://{tmp_path}/index?factory=LSH8", some()).close()
    (tmp_path / "index" / "CURRENT").unlink()
    create_retriever(f"exact://{tmp_path}/index", some()).close()


def test_a_buffer_that_is_used_again() -> None:
    empty = VectorSet(Ids([], "int"), np.empty((0, 4)))
    with create_retriever("exact://", empty) as retriever:
        buffer = np.arange(3)
        for _ in range(3):
            retriever.upsert(buffer, np.ones((3, 4)))
            buffer += 3
        assert sorted(name for ids, _ in retriever.scan() for name in ids) == list(range(9))


def test_opening_beside_a_flushing_writer(tmp_path: Path) -> None:
    url = f"lsh://{tmp_path}/index"
    create_retriever(url, some(2000)).close()
    code = f"""
import numpy as np
from itemspace import open_retriever
with open_retriever({url!r}, "rw") as r:
    for at in range(60):
        r.upsert([f"new {{at}}"], np.ones((1, 8)))
        r.flush()
"""
    child = subprocess.Popen([sys.executable, "-c", code])
    opened = 0
    while child.poll() is None:
        with open_retriever(url) as retriever:
            assert len(retriever.search(np.ones(8), 5)[0]) == 5
            opened += 1
    assert child.returncode == 0
    assert opened


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e12, 1e25])
@pytest.mark.parametrize("scheme", ["exact", "lsh"])
def test_tiny_and_huge_vectors(scheme: str, scale: float) -> None:
    vectors = some(50)
    scaled = VectorSet(vectors.ids, vectors.matrix * np.float32(scale))
    expected = create_retriever("exact://", vectors).search(vectors.matrix[:3], 5)
    found = create_retriever(f"{scheme}://", scaled).search(scaled.matrix[:3], 5)
    for one, other in zip(expected, found, strict=True):
        assert one.ids.tolist() == other.ids.tolist()


def test_in_memory_dead_rows_do_not_pile_up() -> None:
    vectors = some(100)
    retriever = create_retriever("lsh://", vectors)
    for _ in range(200):
        retriever.upsert(vectors.ids, vectors.matrix)
    assert len(retriever._driver._store) < 400  # type: ignore[attr-defined]
    assert len(retriever) == 100


def test_a_forked_child_neither_writes_nor_holds_the_lock(tmp_path: Path) -> None:
    url = f"exact://{tmp_path}/index"
    retriever = create_retriever(url, some())
    context = multiprocessing.get_context("fork")
    told, go = context.SimpleQueue(), context.Event()

    def child() -> None:
        try:
            retriever.delete(["i0"])
        except ReadOnlyError as error:
            told.put(str(error))
        go.wait(20)
        retriever.close()

    process = context.Process(target=child)
    process.start()
    assert "forked" in told.get()
    retriever.close()
    with open_retriever(url, "rw") as again:
        assert len(again) == 300
    go.set()
    process.join(20)
    assert process.exitcode == 0


def test_an_interrupted_writer_lets_readers_go_on() -> None:
    lock = ReadWriteLock()
    with lock.read():
        signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt), lock.write():
            pass
    done = threading.Event()

    def read() -> None:
        with lock.read():
            done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(5)


def test_search_options_that_would_do_nothing() -> None:
    for parameters in ("factory=HNSW8&nprobe=3", "factory=PCA4,IVF2,Flat&nprobe=2", "ef_search=9"):
        with pytest.raises(InvalidOption, match="no effect"):
            create_retriever(f"faiss://?{parameters}", some())


def test_what_died_before_the_index_was_built_stays_away() -> None:
    matrix = np.random.default_rng(0).standard_normal((6000, 8)).astype(np.float32)
    retriever = create_retriever("lsh://", VectorSet(Ids(np.arange(3000)), matrix[:3000]))
    retriever.delete(np.arange(500))
    retriever.upsert(np.arange(3000, 6000), matrix[3000:])
    for found in retriever.search(matrix[:500], 10):
        assert len(found) == 10 and found.ids.min() >= 500


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_what_came_and_died_in_the_journal_stays_away(tmp_path: Path, mode: Any) -> None:
    matrix = np.random.default_rng(0).standard_normal((5500, 8)).astype(np.float32)
    url = f"lsh:{tmp_path}/index"
    with create_retriever(url, VectorSet(Ids(np.arange(5000)), matrix[:5000])) as retriever:
        retriever.upsert(np.arange(5000, 5500), matrix[5000:])
        retriever.delete(np.arange(4900, 5200))
    with open_retriever(url, mode=mode) as retriever:
        for found in retriever.search(matrix[4900:5200], 10):
            assert len(found) == 10
            assert not np.isin(found.ids, np.arange(4900, 5200)).any()


def test_an_index_that_misses_a_row_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(0).standard_normal((6000, 8)).astype(np.float32)
    retriever = create_retriever("lsh://", VectorSet(Ids(np.arange(6000)), matrix))
    with monkeypatch.context() as patched:
        patched.setattr(HyperplaneLSH, "remove", lambda *_: False)
        assert retriever.delete(np.arange(100)) == 100
    for found in retriever.search(matrix[:100], 10):
        assert len(found) == 10 and found.ids.min() >= 100


def test_what_was_tuned_is_there_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    matrix = (rng.standard_normal((6000, 8)) + 2).astype(np.float32)
    vectors = VectorSet(Ids(np.arange(6000)), matrix, Metric.INNER_PRODUCT)
    url, queries = f"lsh:{tmp_path}/index", rng.standard_normal((400, 8)).astype(np.float32)
    retriever: Any = create_retriever(url, vectors)
    before = retriever._driver._index.patience
    told = retriever._driver.tune(queries, 0.95)
    assert told["patience"] == retriever._driver._index.patience != before
    retriever.flush()
    retriever.close()
    again: Any = open_retriever(url)
    assert again._driver._index.patience == told["patience"]
    again.close()
    few: Any = create_retriever("lsh:", some(metric=Metric.INNER_PRODUCT))
    assert few._driver.tune(queries, 0.95) == {}
    flat: Any = create_retriever("faiss:", vectors)
    assert flat._driver.tune(queries, 0.95) == {}
