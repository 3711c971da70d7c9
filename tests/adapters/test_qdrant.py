import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_edge")

from example_vectors import clustered, named
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.adapters import RetrieverURL
from itemspace.adapters.registry import place_below
from itemspace.core.errors import (
    BackendError,
    BackendExists,
    BackendNotFound,
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

GRAPH = "indexing_threshold=10&full_scan_threshold=1"


class TestQdrantEdge(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"qdrant+edge://{folder}/index"


def url_in(folder: Path, parameters: str = "") -> str:
    return f"qdrant+edge://{folder}/index?{parameters}"


def shard_of(retriever: Any) -> Any:
    return retriever._driver._collection._shard


@pytest.mark.parametrize("metric", list(Metric))
def test_a_graph_exists_after_the_load(tmp_path: Path, metric: Metric) -> None:
    vectors = named(clustered(4000), metric)
    queries = vectors.matrix[:50] + 0.01
    truth = create_retriever("exact://", vectors).search(queries, 10)
    with create_retriever(url_in(tmp_path, GRAPH), vectors) as index:
        assert shard_of(index).info().indexed_vectors_count >= 4000
    with open_retriever(url_in(tmp_path, "ef_search=64")) as index:
        assert shard_of(index).info().indexed_vectors_count >= 4000
        shares = [
            len(set(one.ids) & set(other.ids)) / 10
            for one, other in zip(truth, index.search(queries, 10), strict=True)
        ]
        assert 0.9 < np.mean(shares) <= 1
    with open_retriever(url_in(tmp_path, "exact=true")) as index:
        assert index.capabilities.is_exact
        for one, other in zip(truth, index.search(queries, 10), strict=True):
            assert one.ids.tolist() == other.ids.tolist()
            assert one.scores.tolist() == other.scores.tolist()
    with pytest.raises(InvalidOption, match="built with m=16"):
        open_retriever(url_in(tmp_path, "m=8"))


def test_bytes_in_the_graph_and_vectors_in_the_answers(tmp_path: Path) -> None:
    vectors = named(clustered(4000), Metric.INNER_PRODUCT)
    queries = vectors.matrix[:50] + 0.01
    truth = create_retriever("exact://", vectors).search(queries, 10)
    with create_retriever(url_in(tmp_path, f"quantization=int8&{GRAPH}"), vectors) as index:
        assert np.array_equal(index.vectors(["i7"]), vectors.matrix[7:8])
        found = index.search(queries, 10)
    shares = [
        len(set(one.ids) & set(other.ids)) / 10 for one, other in zip(truth, found, strict=True)
    ]
    assert np.mean(shares) > 0.9
    scores = dict(list(truth[0]))
    assert all(score == scores.get(name, score) for name, score in found[0])


@pytest.mark.parametrize("parameters", ["", GRAPH])
def test_filters_of_every_size(tmp_path: Path, parameters: str) -> None:
    """The engine's own filtered search finds 7 of 10 where every tenth item is allowed."""
    vectors = named(clustered(4000))
    exact = create_retriever("exact://", vectors)
    order = np.random.default_rng(2).permutation(4000)
    with create_retriever(url_in(tmp_path, parameters), vectors) as index:
        for query in vectors.matrix[1:4000:400]:
            nearest = exact.search(query, 2000)[0].ids
            for k, chosen in ((10, order[:400]), (10, order[:3600]), (300, order[:301])):
                ids = vectors.ids[chosen]
                truth = exact.search(query, k, allowed=ids)[0].ids
                found = index.search(query, k, allowed=ids)[0].ids
                assert len(np.intersect1d(truth, found)) >= 0.9 * k
                assert len(index.search(query, k, excluded=ids)[0]) == k
            found = index.search(query, 10, excluded=nearest)[0]
            assert found.ids.tolist() == exact.search(query, 10, excluded=nearest)[0].ids.tolist()
            rest = index.search(query, 10, allowed=vectors.ids[:9], excluded=["i3"])[0]
            assert (len(rest), rest.completeness) == (8, Completeness.EXHAUSTED)


def test_a_filter_names_items_that_come_later(tmp_path: Path) -> None:
    vectors = named(clustered(4000))
    late = vectors.ids[3000:3100]
    with create_retriever(url_in(tmp_path), named(vectors.matrix[:3000])) as index:
        chosen = index.filter(late)
        assert len(index.search(vectors.matrix[0], 10, allowed=chosen)[0]) == 0
        index.upsert(late, vectors.matrix[3000:3100])
        assert len(index.search(vectors.matrix[0], 10, allowed=chosen)[0]) == 10
        index.delete(late[:95])
        index.upsert(late[:2], vectors.matrix[3000:3002])
        assert len(index.search(vectors.matrix[0], 10, allowed=chosen)[0]) == 7


@pytest.mark.parametrize("metric", list(Metric))
def test_products_beyond_float32(tmp_path: Path, metric: Metric) -> None:
    """The engine leaves out points whose score overflows."""
    matrix = np.outer([3e38, -3e38, 1e-40, 1, 2], [1, -1, 1, 1]).astype(np.float32)
    with create_retriever(url_in(tmp_path), named(matrix, metric)) as index:
        assert np.array_equal(index.vectors([f"i{at}" for at in range(5)]), matrix)
        found = index.search(matrix[:2], 5)
        assert [len(line) for line in found] == [5, 5]
        assert found[0].ids[0] == "i0"
        assert len(index.search(matrix[0], 5, allowed=["i0", "i1", "i9"])[0]) == 2


def test_ids_survive_a_second_life(tmp_path: Path) -> None:
    numbers, texts = [-(2**63), -1, 0, 2**63 - 1], ["", "é", "e\u0301", "🎈" * 255, "'\n"]
    for at, names in enumerate((numbers, texts)):
        matrix = np.eye(len(names), 8, dtype=np.float32) * 3
        url = url_in(tmp_path / str(at))
        create_retriever(url, VectorSet(Ids(names), matrix)).close()
        with open_retriever(url, "rw") as index:
            assert index.delete(names[1:2]) == 1
            index.upsert([names[1]], matrix[1:2])
            assert index.delete(names[:1]) == 1
        with open_retriever(url) as index:
            assert np.array_equal(index.vectors(names[1:]), matrix[1:])
            assert names[0] not in index
            found = index.search(matrix[1:], 1)
            assert [line.ids.tolist() for line in found] == [[name] for name in names[1:]]


def test_strings_beside_writers(tmp_path: Path) -> None:
    """A search, a scan and a filter see a state before or after a change."""
    vectors = named(clustered(2000))
    query = np.ones(16, dtype=np.float32)
    twins, kept = np.stack([query, query]), ["twin a", "twin b"]
    with create_retriever(url_in(tmp_path), vectors) as index:
        index.upsert(kept, twins)
        allowed, stop, wrong = index.filter([*kept, "i5"]), threading.Event(), []

        def read() -> None:
            while not stop.is_set():
                for found in (index.search(query, 2), index.search(query, 2, allowed=allowed)):
                    wrong.extend([found] if found[0].ids.tolist() != kept else [])
                names = [name for ids, _ in index.scan(300) for name in ids]
                wrong.extend([names] if len(set(names)) != len(names) else [])

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for at in range(40):
            index.upsert([*kept, f"new {at}"], np.vstack([twins, -query]))
            index.delete([f"i{at}"])
        index.flush()
        stop.set()
        for reader in readers:
            reader.join()
        assert wrong == []
        assert len(index) == 2002


# -- places ----------------------------------------------------------------------------------


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    vectors = named(clustered(100))
    with create_retriever(url_in(tmp_path), vectors):
        for mode in ("r", "rw"):
            with pytest.raises(LockedError, match="one process") as caught:
                open_retriever(url_in(tmp_path), mode)  # type: ignore[arg-type]
            assert str(os.getpid()) in caught.value.holder
        with pytest.raises(BackendExists):
            create_retriever(url_in(tmp_path), vectors)
        code = f"from itemspace import open_retriever; open_retriever({url_in(tmp_path)!r})"
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert f"process {os.getpid()}" in other.stderr
        assert "LockedError" in other.stderr


def test_readers_of_one_process_share(tmp_path: Path) -> None:
    vectors = named(clustered(4000))
    create_retriever(url_in(tmp_path, GRAPH), vectors).close()
    query = vectors.matrix[0]
    first = open_retriever(url_in(tmp_path))
    second = open_retriever(f"qdrant+edge://{tmp_path}/../{tmp_path.name}/index?exact=true")
    assert (first.capabilities.is_exact, second.capabilities.is_exact) == (False, True)
    with pytest.raises(InvalidOption):
        open_retriever(url_in(tmp_path, "m=8"))
    with pytest.raises(LockedError):
        open_retriever(url_in(tmp_path), "rw")
    first.close()
    first.close()
    assert second.search(query, 3)[0].ids[0] == "i0"
    with open_retriever(url_in(tmp_path)) as third:
        second.close()
        assert third.search(query, 3)[0].ids[0] == "i0"
    with open_retriever(url_in(tmp_path), "rw") as index:
        index.delete(["i0"])
        with pytest.raises(LockedError):
            open_retriever(url_in(tmp_path))


def test_places_of_something_else(tmp_path: Path) -> None:
    vectors = named(clustered(100))
    create_retriever(f"exact://{tmp_path}/index", vectors).close()
    with pytest.raises(BackendNotFound, match="no index"):
        open_retriever(url_in(tmp_path))
    with pytest.raises(BackendExists):
        create_retriever(url_in(tmp_path), vectors)
    vectors.save(tmp_path / "vectors")
    with pytest.raises(CorruptData, match="holds a"):
        open_retriever(f"qdrant+edge://{tmp_path}/vectors")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BackendNotFound):
        open_retriever(f"qdrant+edge://{tmp_path}/file")
    with pytest.raises(BackendError):
        create_retriever(f"qdrant+edge://{tmp_path}/file", vectors)
    for place in ("qdrant+edge:", "qdrant+edge://host/items"):
        with pytest.raises(InvalidURL):
            create_retriever(place, vectors)
    below = place_below(RetrieverURL.parse(url_in(tmp_path)), "v1")
    assert below.path == f"{tmp_path}/index/v1"


def test_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    create_retriever("qdrant+edge:index", named(clustered(100))).close()
    with open_retriever(url_in(tmp_path)) as index:
        assert len(index) == 100


@pytest.mark.parametrize("parameters", ["m=1", "ef_search=0", "quantization=int4", "m=many"])
def test_options_out_of_range(tmp_path: Path, parameters: str) -> None:
    with pytest.raises(InvalidOption, match=parameters.partition("=")[0]):
        create_retriever(url_in(tmp_path, parameters), named(clustered(100)))
    assert not (tmp_path / "index").exists()


def test_a_creation_that_failed_or_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = named(clustered(100))
    with monkeypatch.context() as patch, pytest.raises(BackendError):
        patch.setattr("itemspace.adapters.qdrant_collection.edge.UpdateOperation", _Failing(0))
        create_retriever(url_in(tmp_path), vectors)
    assert not (tmp_path / "index").exists()
    create_retriever(url_in(tmp_path), vectors).close()
    (tmp_path / "index" / "manifest.json").unlink()
    with pytest.raises(BackendNotFound):
        open_retriever(url_in(tmp_path))
    create_retriever(url_in(tmp_path), vectors).close()


class _Failing:
    """Upserts until the engine has had enough."""

    def __init__(self, after: int) -> None:
        import qdrant_edge

        self._left, self._real = after, qdrant_edge.UpdateOperation

    def upsert_points(self, points: list[Any]) -> Any:
        self._left -= 1
        if self._left < 0:
            raise Exception("Service runtime error: out of luck")
        return self._real.upsert_points(points)


def test_an_upsert_that_fails_says_what_went_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = named(clustered(100))
    with create_retriever(url_in(tmp_path), vectors) as index:
        module = "itemspace.adapters.qdrant_collection"
        monkeypatch.setattr(f"{module}._COMPONENTS", 160)
        monkeypatch.setattr(f"{module}.edge.UpdateOperation", _Failing(2))
        names = [f"new {at}" for at in range(50)]
        with pytest.raises(BackendError, match=r"out of luck.*first 20 ids") as caught:
            index.upsert(names, vectors.matrix[:50])
        assert caught.value.ids == names[:20]  # type: ignore[attr-defined]
        assert len(index) == 120
        assert [name in index for name in names] == [True] * 20 + [False] * 30


# -- faults ----------------------------------------------------------------------------------

_WRITER = """
import os, signal, sys
import numpy as np
from itemspace import open_retriever
index = open_retriever(sys.argv[1], "rw")
matrix = np.full((500, 16), 2, dtype=np.float32)
names = [f"new {at}" for at in range(500)]
index.upsert(names, matrix)
index.delete(["i0", "i1"])
index.flush()
print("flushed", flush=True)
for step in range(3, 1000):
    index.upsert(names, step * matrix)
    index.delete([f"i{step}"])
    if step % 5 == 0:
        index.flush()
    if step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("step", [3, 19])
def test_a_killed_writer(tmp_path: Path, step: int) -> None:
    url = url_in(tmp_path, GRAPH)
    vectors = named(clustered(2000))
    create_retriever(url, vectors).close()
    writer = subprocess.run(
        [sys.executable, "-c", _WRITER, url, str(step)], capture_output=True, text=True, check=False
    )
    assert (writer.returncode, writer.stdout) == (-signal.SIGKILL, "flushed\n"), writer.stderr
    flushed = step // 5 * 5
    gone = {"i0", "i1", *(f"i{at}" for at in range(3, flushed + 1))}
    with open_retriever(url, "rw") as index:
        names = [f"new {at}" for at in range(500)]
        assert {name for ids, _ in index.scan() for name in ids} == {*vectors.ids, *names} - gone
        assert (index.vectors(names) == 2 * max(1, flushed)).all()
        assert np.array_equal(index.vectors(["i1000"]), vectors.matrix[1000:1001])
        index.upsert(["after"], vectors.matrix[:1])
    with open_retriever(url) as index:
        assert "after" in index


def _one(folder: Path, pattern: str) -> Path:
    return max(folder.glob(f"engine/{pattern}"), key=lambda file: file.stat().st_size)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: os.truncate(_one(folder, "segments/*/segment.json"), 20),
        lambda folder: _one(folder, "segments/*/vector_index/graph.bin").unlink(),
        lambda folder: _one(folder, "segments/*/id_tracker.mappings").write_bytes(b"\xff" * 4000),
        # The engine opens these without a word, and without the items.
        lambda folder: _one(folder, "segments/*/id_tracker.mappings").unlink(),
        lambda folder: [file.unlink() for file in folder.glob("engine/segments/*/version.info")],
        lambda folder: os.truncate(_one(folder, "edge_config.json"), 40),
        lambda folder: os.truncate(folder / "manifest.json", 40),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: _edit(folder, metric="manhattan"),
        lambda folder: _edit(folder, ids="uuid"),
        lambda folder: _edit(folder, items=1999),
    ],
)
def test_damaged_files(tmp_path: Path, harm: Callable[[Path], object], capfd: Any) -> None:
    create_retriever(url_in(tmp_path, GRAPH), named(clustered(2000))).close()
    harm(tmp_path / "index")
    with pytest.raises(CorruptData, match="index"):
        open_retriever(url_in(tmp_path))
    with pytest.raises(CorruptData):  # and nobody holds it
        open_retriever(url_in(tmp_path), "rw")


def _edit(folder: Path, **facts: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["facts"].update(facts)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_vectors_that_are_gone(tmp_path: Path) -> None:
    create_retriever(url_in(tmp_path, GRAPH), named(clustered(2000))).close()
    for file in (tmp_path / "index").glob("engine/segments/*/vector_storage*/matrix.dat"):
        os.truncate(file, 1000)
    with open_retriever(url_in(tmp_path)) as index, pytest.raises(CorruptData, match="no vector"):
        index.vectors([f"i{at}" for at in range(2000)])


def test_another_format(tmp_path: Path) -> None:
    create_retriever(url_in(tmp_path), named(clustered(100))).close()
    file = tmp_path / "index" / "manifest.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(IncompatibleFormat, match="format 2"):
        open_retriever(url_in(tmp_path))


def test_a_forked_child(tmp_path: Path) -> None:
    """The engine would hang there: its threads are the parent's."""
    url = url_in(tmp_path)
    vectors = named(clustered(2000))
    index = create_retriever(url, vectors)
    index.search(vectors.matrix[:5], 3)
    index.upsert(["late"], vectors.matrix[:1])
    context = multiprocessing.get_context("fork")
    told, go = context.SimpleQueue(), context.Event()

    def child() -> None:
        for call in (
            lambda: index.search(vectors.matrix[0], 3),
            lambda: index.vectors(["i1"]),
            lambda: list(index.scan()),
            lambda: index.delete(["i1"]),
        ):
            try:
                call()
            except (ClosedError, ReadOnlyError) as error:
                told.put(str(error))
        go.wait(20)
        index.close()
        with open_retriever(url) as own:
            told.put(len(own.search(vectors.matrix[0], 3)[0]))

    process = context.Process(target=child)
    process.start()
    messages = [told.get() for _ in range(4)]
    assert all("forked" in message for message in messages)
    index.close()
    with open_retriever(url, "rw") as again:
        assert "late" in again
        assert len(again.search(vectors.matrix[0], 3)[0]) == 3
    go.set()
    process.join(20)
    assert process.exitcode == 0
    assert told.get() == 3
