"""``milvus+lite:`` in a folder, ``milvus:`` at milvus-lite's server, and real faults."""

import json
import logging
import multiprocessing
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

import grpc
import milvus_lite
from example_vectors import clustered, numbered, recall
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.adapters import milvus_embedded, milvus_server
from itemspace.adapters.registry import place_below, remove_retriever
from itemspace.adapters.url import RetrieverURL
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
from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2_grpc
from servers import free_port, halted, running

NASTY = [
    "",
    "'",
    '"',
    "\\",
    "\\n",
    "a\nb",
    "\r\t",
    "e\u0301",
    "a\u2028b",
    "\x01",
    "{x}",
    "x in [1]",
]
NASTY += ["🎈" * 255, "\\" * 255, '") or id > ("']
INTEGERS = [-(2**63), 2**63 - 1, -1, 0, 2**53 + 1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("milvus"), free_port()) as (url, _):
        yield url


@contextmanager
def serving(folder: Path, port: int) -> Iterator[tuple[str, Any]]:
    """A real server over a folder, its URL and its process."""
    command = [str(Path(sys.executable).parent / "milvus-lite"), "server"]
    command += ["--data-dir", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)]
    with running(
        command, folder / "log", lambda: socket.create_connection(("127.0.0.1", port)).close()
    ) as process:
        yield f"milvus://127.0.0.1:{port}/", process


class TestFolder(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"milvus+lite://{folder}/index"


class TestServer(RetrieverSuite):
    @pytest.fixture(autouse=True)
    def somewhere(self, server: str) -> None:
        self.server = server

    def url(self, folder: Path) -> str:
        del folder  # it lives in the server
        return f"{self.server}?collection=c{secrets.token_hex(6)}"


@pytest.fixture(params=["folder", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where nothing is yet, in either."""
    if request.param == "folder":
        return f"milvus+lite://{tmp_path}/index?"
    return f"{request.getfixturevalue('server')}?collection=c{secrets.token_hex(6)}&timeout=20"


# -- both --------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [NASTY, INTEGERS])
def test_ids_of_every_kind(url: str, names: list[Any]) -> None:
    """pymilvus' own ways leave quotes as they are, and its iterator skips "" and 2**63 - 1."""
    matrix = np.eye(len(names), 16, dtype=np.float32) * 3
    create_retriever(url, VectorSet(Ids(names), matrix)).close()
    with open_retriever(url, "rw") as index:
        assert np.array_equal(index.vectors(names), matrix)
        assert [line.ids[0] for line in index.search(matrix, 1)] == names
        for size in (1, 4):  # every id is the last one of a page
            pages = [name for ids, _ in index.scan(size) for name in ids]
            assert pages == sorted(names)
        for name, row in zip(names, matrix, strict=True):
            assert index.delete([name]) == 1
            assert name not in index
            assert len(index) == len(names) - 1
            index.upsert([name], row[None])
        assert index.delete(names) == len(names)
        assert len(index) == 0


@pytest.mark.parametrize("metric", list(Metric))
def test_vectors_come_back_bit_for_bit(url: str, metric: Metric) -> None:
    """As do those whose product is beyond what milvus-lite takes for a distance."""
    rows = np.outer([3e38, -3e38, 1e-40, 1 / 3, 2, 1e15], [1, -1, 1, 1]).astype(np.float32)
    with create_retriever(url, numbered(rows, metric)) as index:
        assert np.array_equal(index.vectors(range(6)), rows)
        for line in index.search(rows[[0, 3, 5]], 6):
            assert len(line) == 6
        assert len(index.search(rows[0], 4, allowed=[0, 1, 9])[0]) == 2


@pytest.mark.parametrize("index", ["hnsw", "ivf_flat", "flat"])
@pytest.mark.parametrize("metric", list(Metric))
def test_recall(tmp_path: Path, capfd: Any, index: str, metric: Metric) -> None:
    vectors = numbered(clustered(5_000), metric)
    queries = vectors.matrix[:50] + 0.05
    with create_retriever(f"milvus+lite://{tmp_path}/index?index={index}", vectors) as retriever:
        truth = create_retriever("exact://", vectors).search(queries, 10)
        assert recall(truth, retriever.search(queries, 10)) >= (1 if index == "flat" else 0.97)
        assert retriever.capabilities.is_exact is (index == "flat")
        assert built(tmp_path / "index" / "engine") == {index}
    with open_retriever(f"milvus+lite://{tmp_path}/index") as retriever:
        assert retriever.capabilities.is_exact is (index == "flat")
        assert recall(truth, retriever.search(queries, 10)) >= 0.97
    assert capfd.readouterr() == ("", "")


def built(folder: Path) -> set[str]:
    """What milvus-lite built, by its files: it describes what was asked for, and may scan."""
    return {file.suffixes[-2][1:] for file in folder.rglob("*.idx")}


@pytest.mark.parametrize("index", ["hnsw", "ivf_flat", "flat"])
def test_the_server_builds_what_was_asked_for(tmp_path: Path, index: str) -> None:
    with serving(tmp_path, free_port()) as (url, _):
        create_retriever(f"{url}?index={index}&m=8&nlist=16", numbered(clustered(2_000))).close()
        for _ in range(100):
            if built(tmp_path / "data"):
                break
            time.sleep(0.1)
        assert built(tmp_path / "data") == {index}
        client = MilvusClient(url.replace("milvus", "http"), dedicated=True)
        described = client.describe_index("items", "vector")
        client.close()
        assert described["index_type"] == index.upper()


@pytest.fixture(scope="module")
def thousands(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """5,000 items in a folder and at a server."""
    vectors = numbered(clustered(5_000))
    urls = [
        f"milvus+lite://{tmp_path_factory.mktemp('lite')}/index",
        f"{server}?collection=thousands",
    ]
    made = [create_retriever(url, vectors) for url in urls]
    yield [vectors, *made]
    for retriever in made:
        retriever.close()


@pytest.mark.parametrize("place", [1, 2])
def test_filters_of_every_size(thousands: list[Any], place: int) -> None:
    vectors, index = thousands[0], thousands[place]
    exact = create_retriever("exact://", vectors)
    order = np.random.default_rng(2).permutation(5_000)
    queries = vectors.matrix[1:5_000:500] + 0.05
    for k, count in ((10, 1), (10, 500), (10, 1_500), (10, 2_500), (10, 4_900), (300, 1_301)):
        allowed = index.filter(order[:count])
        found, truth = (one.search(queries, k, allowed=allowed) for one in (index, exact))
        assert [len(line) for line in found] == [min(k, count)] * len(queries)
        assert recall(truth, found) >= 0.97
    nearest = exact.search(queries[0], 2_000)[0].ids
    for excluded in (nearest[:500], nearest):
        found, truth = (one.search(queries[0], 10, excluded=excluded) for one in (index, exact))
        assert recall(truth, found) == 1
    rest = index.search(queries[0], 10, allowed=order[:9], excluded=order[3:4])[0]
    assert (len(rest), rest.completeness) == (8, Completeness.EXHAUSTED)


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("k", [100, 4_000])
def test_large_k(thousands: list[Any], place: int, k: int) -> None:
    vectors, queries = thousands[0], thousands[0].matrix[:2] + 0.05
    truth = create_retriever("exact://", vectors).search(queries, k)
    found = thousands[place].search(queries, k)
    assert [len(line) for line in found] == [k, k]
    assert recall(truth, found) >= 0.95


def test_k_beyond_what_one_answer_holds(url: str) -> None:
    """Of 60,000 dimensions, which milvus-lite takes, a call has 17 vectors."""
    matrix = np.random.default_rng(0).standard_normal((30, 60_000)).astype(np.float32)
    with create_retriever(url, numbered(matrix)) as index:
        found = index.search(matrix[:2], 25)
        truth = create_retriever("exact://", numbered(matrix)).search(matrix[:2], 25)
        assert recall(truth, found) == 1


def test_a_whole_life(url: str) -> None:
    """What was replaced and deleted stays so: in segments, merged ones, and after opening."""
    matrix = clustered(300)
    with create_retriever(url, numbered(matrix)) as index:
        for step in range(1, 7):  # five flushes are merged
            index.upsert(range(100), step * matrix[:100])
            index.delete([200 + step])
            index.flush()
            assert np.array_equal(index.vectors(range(100)), step * matrix[:100])
        index.upsert([201], matrix[201:202])
        index.delete([0])
    for mode in ("r", "rw"):
        with open_retriever(url, mode) as index:  # type: ignore[arg-type]
            assert len(index) == 300 - 5 - 1
            assert np.array_equal(index.vectors(range(1, 100)), 6 * matrix[1:100])
            assert sorted(name for ids, _ in index.scan(70) for name in ids) == sorted(
                {*range(1, 300)} - {202, 203, 204, 205, 206}
            )
            for found in (index.search(matrix[0], 300)[0].ids, index.search(matrix[0], 5)[0].ids):
                assert not {0, 202, 206} & set(found.tolist())
    with pytest.raises(ReadOnlyError), open_retriever(url) as index:
        index.upsert([1], matrix[:1])
    remove_retriever(url)
    with pytest.raises(BackendNotFound):
        open_retriever(url)


def test_another_process_opens_it(url: str) -> None:
    create_retriever(f"{url}&index=flat", VectorSet(Ids(["a", "b"]), np.eye(2, 4))).close()
    code = """if True:
        import sys, numpy
        from itemspace import open_retriever
        with open_retriever(sys.argv[1], "rw") as index:
            print(index.metric, index.dim, index.id_kind, index.capabilities.is_exact)
            index.upsert(["c"], numpy.ones((1, 4)))
    """
    other = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (other.stdout, other.stderr) == ("cosine 4 str True\n", "")
    with open_retriever(url) as index:
        assert sorted(index.scan(10).__next__()[0]) == ["a", "b", "c"]


def test_threads_beside_a_writer(url: str) -> None:
    vectors, twins = numbered(clustered(1_000)), np.ones((2, 16), dtype=np.float32)
    with create_retriever(url, vectors) as index:
        index.upsert([-1, -2], twins)
        stop, wrong = threading.Event(), []

        def read() -> None:
            allowed = index.filter([-1, -2, 5])
            while not stop.is_set():
                for found in (index.search(twins, 2), index.search(twins, 2, allowed=allowed)):
                    wrong.extend(line for line in found if line.ids.tolist() != [-2, -1])

        with futures.ThreadPoolExecutor() as pool:
            readers = [pool.submit(read) for _ in range(3)]
            try:
                for at in range(12):
                    index.upsert([-1, -2, 2_000 + at], np.vstack([twins, -twins[:1]]))
                    index.delete([at])
                    if at % 4 == 0:
                        index.flush()
            finally:
                stop.set()
            for reader in readers:
                reader.result()
        assert wrong == []
        assert len(index) == 1_002


def test_what_exists_is_refused(url: str) -> None:
    vectors = numbered(clustered(100))
    create_retriever(url, vectors).close()
    with pytest.raises(BackendExists):
        create_retriever(url, vectors)
    with pytest.raises(InvalidOption, match="built with m=16"):
        open_retriever(f"{url}&m=8")
    with open_retriever(f"{url}&ef_search=7") as index:
        assert len(index) == 100


@pytest.mark.parametrize(
    "parameters",
    ["index=ivf_pq", "index=HNSW", "m=1", "nprobe=0", "ef_search=many", "collection=a-b"],
)
def test_options_out_of_range(tmp_path: Path, parameters: str) -> None:
    for place in (f"milvus+lite://{tmp_path}/index?", "milvus://127.0.0.1:1/?"):
        with pytest.raises(InvalidOption, match=parameters.partition("=")[0]):
            create_retriever(place + parameters, numbered(clustered(10)))
    assert not (tmp_path / "index").exists()


def test_places_below() -> None:
    below = place_below(RetrieverURL.parse("milvus://h/?collection=a&m=8"), "items-0002-ü")
    assert below.parameters == {"collection": "a_items_0002__", "m": "8"}
    long = place_below(RetrieverURL.parse(f"milvus://h/?collection={'a' * 255}"), "b" * 300)
    assert len(long.parameters["collection"]) == 255
    assert place_below(RetrieverURL.parse("milvus+lite:///d"), "v").path == "/d/v"


# -- the folder ----------------------------------------------------------------------------------


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    url, vectors = f"milvus+lite://{tmp_path}/index", numbered(clustered(100))
    with create_retriever(url, vectors):
        for mode in ("r", "rw"):
            with pytest.raises(LockedError, match="one process"):
                open_retriever(url, mode)  # type: ignore[arg-type]
        code = f"from itemspace import open_retriever; open_retriever({url!r})"
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert f"process {os.getpid()}" in other.stderr
        assert "LockedError" in other.stderr
    theirs = milvus_lite.MilvusLite(str(tmp_path / "index" / "engine"))
    with pytest.raises(LockedError, match="server"):
        open_retriever(url)
    theirs.close()
    with open_retriever(url) as index:
        assert len(index) == 100


def test_a_server_over_the_folder(tmp_path: Path) -> None:
    """milvus-lite's server and its folder are one and the same."""
    create_retriever(f"milvus+lite://{tmp_path}/index", numbered(clustered(100))).close()
    (tmp_path / "data").symlink_to(tmp_path / "index" / "engine")
    with serving(tmp_path, free_port()) as (url, _), open_retriever(url) as index:
        assert len(index) == 100


def test_folders_of_something_else(tmp_path: Path) -> None:
    vectors = numbered(clustered(100))
    create_retriever(f"exact://{tmp_path}/index", vectors).close()
    with pytest.raises(BackendNotFound, match="no index"):
        open_retriever(f"milvus+lite://{tmp_path}/index")
    with pytest.raises(BackendExists):
        create_retriever(f"milvus+lite://{tmp_path}/index", vectors)
    for place in ("milvus+lite:", "milvus+lite://host/items"):
        with pytest.raises(InvalidURL):
            create_retriever(place, vectors)
    create_retriever(f"milvus+lite://{tmp_path}/mine?collection=a", vectors).close()
    with pytest.raises(BackendNotFound, match="'a' alone"):
        open_retriever(f"milvus+lite://{tmp_path}/mine?collection=b")


def test_a_scan_by_distance_is_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """milvus-lite would hold 100 × 2,000 × 64 differences, 51 MB, twice."""
    vectors = numbered(clustered(2_000, 64), Metric.EUCLIDEAN)
    queries = vectors.matrix[:100] + 0.05
    with create_retriever(f"milvus+lite://{tmp_path}/index?index=flat", vectors) as index:
        whole = index.search(queries, 5)
        monkeypatch.setattr(milvus_embedded, "_DIFFERENCES", 1 << 20)
        tracemalloc.start()
        parts = index.search(queries, 5)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert [line.ids.tolist() for line in whole] == [line.ids.tolist() for line in parts]
    assert peak < 25e6


_WRITER = """
import os, signal, sys
import numpy as np
from itemspace import open_retriever
index = open_retriever(sys.argv[1], "rw")
for step in range(1, 1000):
    index.upsert(range(step * 300), np.full((step * 300, 16), step, dtype=np.float32))
    index.delete([-step])
    if step == 3:
        index.flush()
    print(step, flush=True)
"""


def test_a_killed_writer_loses_nothing(url: str) -> None:
    matrix = clustered(100)
    create_retriever(url, VectorSet(Ids(range(-100, 0)), matrix)).close()
    command = [sys.executable, "-c", _WRITER, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if line == "5\n":
                time.sleep(0.01)
                writer.kill()
                break
        done = int([line, *writer.stdout][-1])
    with open_retriever(url) as index:
        names = [name for ids, _ in index.scan() for name in ids]
        assert len(names) == len(set(names)) == len(index)
        assert set(range(-100, -done - 1)) <= set(names)
        assert not set(range(-done, 0)) & set(names)
        stored = index.vectors(range(done * 300))
        assert stored.min() >= done
        assert stored.max() <= done + 1
    with open_retriever(url, "rw") as index:
        index.upsert([10**6], -matrix[:1])
        assert index.search(-matrix[0], 1)[0].ids.tolist() == [10**6]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """What was told to be in is in; the rest is refused until it is opened again."""
    url = f"milvus+lite://{tmp_path}/index"
    create_retriever(url, numbered(clustered(100))).close()
    code = """if True:
        import resource, signal, sys, numpy
        from itemspace import open_retriever
        from itemspace.core.errors import BackendError, ClosedError
        index = open_retriever(sys.argv[1], "rw")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
        try:
            for step in range(100):
                index.upsert(range(1000 * step, 1000 * step + 1000), numpy.full((1000, 16), 7))
        except BackendError as error:
            print(step, type(error).__name__, error)
        try:
            index.search(numpy.ones(16), 3)
        except ClosedError as error:
            print("a change failed" in str(error))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        try:
            index.close()
        except ClosedError:
            print("closed")
    """
    other = subprocess.run(
        [sys.executable, "-c", code, url], capture_output=True, text=True, check=False
    )
    assert other.stderr == ""
    failed, *rest = other.stdout.splitlines()
    assert rest == ["True", "closed"]
    assert "BackendUnavailable milvus-lite fails at" in failed
    with open_retriever(url, "rw") as index:
        count = 1000 * int(failed.split()[0])
        assert count > 0
        assert (index.vectors(range(count)) == 7).all()


def _one(folder: Path, pattern: str) -> Path:
    return next(iter(folder.glob(f"engine/collections/items/{pattern}")))


def _edit(folder: Path, **facts: object) -> None:
    file = folder / "engine" / "collections" / "items" / "schema.json"
    schema = json.loads(file.read_text())
    changed = {**json.loads(schema["properties"]["itemspace"]), **facts}
    schema["properties"]["itemspace"] = json.dumps(changed)
    file.write_text(json.dumps(schema))


@pytest.mark.parametrize(
    "harm",
    [
        # milvus-lite opens these without a word, and without the items.
        lambda folder: _one(folder, "partitions/*/data/*.parquet").unlink(),
        lambda folder: [file.unlink() for file in folder.glob("engine/**/manifest.json*")],
        lambda folder: os.truncate(_one(folder, "partitions/*/data/*.parquet"), 400),
        lambda folder: os.truncate(_one(folder, "partitions/*/indexes/*.idx"), 400),
        lambda folder: os.truncate(_one(folder, "schema.json"), 40),
        lambda folder: os.truncate(folder / "manifest.json", 40),
        lambda folder: (folder / "manifest.json").write_text(
            (folder / "manifest.json").read_text().replace("items", "others")
        ),
        lambda folder: _one(folder, "schema.json").unlink(),
        lambda folder: _edit(folder, metric="manhattan"),
        lambda folder: _edit(folder, dim=None),
        lambda folder: _edit(folder, options=[]),
    ],
)
def test_damaged_files(tmp_path: Path, harm: Callable[[Path], object], capfd: Any) -> None:
    url = f"milvus+lite://{tmp_path}/index"
    create_retriever(url, numbered(clustered(500))).close()
    harm(tmp_path / "index")
    for mode in ("r", "rw"):  # and nobody holds it
        with pytest.raises(CorruptData, match="index"):
            open_retriever(url, mode)  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")


def test_another_format(tmp_path: Path) -> None:
    create_retriever(f"milvus+lite://{tmp_path}/index", numbered(clustered(50))).close()
    _edit(tmp_path / "index", format=2)
    with pytest.raises(IncompatibleFormat, match="format 2"):
        open_retriever(f"milvus+lite://{tmp_path}/index")


def test_a_forked_child_of_a_folder(tmp_path: Path) -> None:
    url, vectors = f"milvus+lite://{tmp_path}/index", numbered(clustered(3_000))
    index = create_retriever(url, vectors)
    index.search(vectors.matrix[:50], 3)
    index.upsert([-1], vectors.matrix[:1])
    context = multiprocessing.get_context("fork")
    told, go = context.SimpleQueue(), context.Event()

    def child() -> None:
        for call in (
            lambda: index.search(vectors.matrix[0], 3),
            lambda: index.vectors([1]),
            lambda: list(index.scan()),
            lambda: index.delete([1]),
        ):
            try:
                call()
            except (ClosedError, ReadOnlyError) as error:
                told.put(str(error))
        go.wait(20)
        index.close()
        with open_retriever(url) as own:
            told.put([len(line) for line in own.search(vectors.matrix[:50], 3)])

    process = context.Process(target=child)
    process.start()
    messages = [told.get() for _ in range(4)]
    assert all("forked" in message for message in messages)
    index.close()
    with open_retriever(url, "rw") as again:
        assert -1 in again
    go.set()
    assert told.get() == [3] * 50
    process.join(20)
    assert process.exitcode == 0


# -- the server ----------------------------------------------------------------------------------


def test_collections_of_somebody_else(server: str) -> None:
    client = MilvusClient(server.replace("milvus", "http"), dedicated=True)
    client.create_collection("theirs", dimension=4)
    with pytest.raises(BackendNotFound, match="somebody else"):
        open_retriever(f"{server}?collection=theirs")
    with pytest.raises(BackendExists):
        create_retriever(f"{server}?collection=theirs", numbered(clustered(10, 4)))
    assert client.has_collection("theirs")
    for text, kind in (("{", CorruptData), ('{"format": 9}', IncompatibleFormat)):
        client.alter_collection_properties("theirs", {"itemspace": text})
        with pytest.raises(kind):
            open_retriever(f"{server}?collection=theirs")
    client.close()
    for nowhere in (f"{server}?collection=nobody", f"{server}nodb?collection=theirs"):
        with pytest.raises(BackendNotFound):
            open_retriever(nowhere)
    with pytest.raises(BackendError, match="nodb"):
        create_retriever(f"{server}nodb?collection=a", numbered(clustered(10)))


def test_a_database_of_its_own(server: str) -> None:
    client = MilvusClient(server.replace("milvus", "http"), dedicated=True)
    client.create_database("mine")
    client.close()
    with create_retriever(f"{server}mine?collection=a", numbered(clustered(10))) as index:
        assert len(index) == 10
    with pytest.raises(BackendNotFound):
        open_retriever(f"{server}?collection=a")
    remove_retriever(f"{server}mine?collection=a")


@pytest.mark.parametrize("place", ["", "host:port", "h/a/b", "[::1]", "u:p@"])
def test_urls_that_cannot_be_read(place: str) -> None:
    with pytest.raises(InvalidURL, match="milvus://user") as caught:
        open_retriever(f"milvus://{place}")
    assert "u:p" not in str(caught.value)


def timed(seconds: float, call: Callable[[], object]) -> str:
    """What it says when it fails, in so many seconds."""
    start = time.monotonic()
    with pytest.raises(BackendUnavailable) as caught:
        call()
    assert time.monotonic() - start < seconds
    return str(caught.value)


def test_a_server_that_is_stopped_killed_and_started_again(tmp_path: Path) -> None:
    port, vectors = free_port(), numbered(clustered(1_000))
    query = vectors.matrix[0]
    with serving(tmp_path, port) as (url, process):
        create_retriever(url, vectors).close()
        index = open_retriever(f"{url}?timeout=1", "rw")
        index.search(query, 3)
        with halted(process.pid):
            for call in (
                lambda: index.search(query, 3),
                lambda: index.upsert([1], query[None]),
                lambda: open_retriever(f"{url}?timeout=1"),
                lambda: create_retriever(f"{url}?timeout=1&collection=b", vectors),
            ):
                assert "raise timeout" in timed(3, call)
        assert index.search(query, 1)[0].ids.tolist() == [0]
        loaded: list[int] = []

        def load() -> None:
            for start in range(10**4, 10**7, 2_000):
                index.upsert(range(start, start + 2_000), np.resize(-vectors.matrix, (2_000, 16)))
                loaded.append(start)

        with futures.ThreadPoolExecutor() as pool:
            loading = pool.submit(load)
            while len(loaded) < 3 and not loading.done():
                time.sleep(0.01)
            process.kill()
            error = loading.exception(10)
        assert isinstance(error, BackendUnavailable)
    timed(4, lambda: index.search(query, 3))
    timed(4, lambda: len(index))
    with serving(tmp_path, port), open_retriever(url) as again:
        assert index.search(query, 1)[0].ids.tolist() == [0]  # the connection is made anew
        assert loaded[-1] + 1_999 in index
        index.upsert([-7], -query[None])
        index.close()
        assert -7 in again


def test_a_collection_that_was_released(server: str) -> None:
    """As all are when milvus-lite's server is started again."""
    with create_retriever(f"{server}?collection=released", numbered(clustered(50))) as index:
        client = MilvusClient(server.replace("milvus", "http"), dedicated=True)
        for call in (lambda: index.search(np.ones(16), 3), lambda: index.vectors([1])):
            client.release_collection("released")
            assert len(call()) == 1
        client.close()


def test_a_socket_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"milvus://127.0.0.1:{sock.getsockname()[1]}/?timeout=0.5"
        timed(3, lambda: open_retriever(url))
        timed(3, lambda: create_retriever(url, numbered(clustered(10))))
    timed(3, lambda: open_retriever(url))


def test_a_server_that_refuses_the_password(caplog: Any, capfd: Any) -> None:
    class Refusing(milvus_pb2_grpc.MilvusServiceServicer):
        def Connect(self, request: Any, context: Any) -> None:  # noqa: N802
            told.append(dict(context.invocation_metadata())["authorization"])
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure")

    told: list[str] = []
    with futures.ThreadPoolExecutor(2) as pool:
        refusing = grpc.server(pool)
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(Refusing(), refusing)
        port = refusing.add_insecure_port("127.0.0.1:0")
        refusing.start()
        for url in (
            f"milvus://me:s%40cret@127.0.0.1:{port}/",
            f"milvus://127.0.0.1:{port}/?token=me:s@cret",
        ):
            with pytest.raises(BackendError, match="check the user") as caught:
                open_retriever(url)
            shown = f"{caught.value}{caught.value.__cause__}{caplog.text}{capfd.readouterr()}"
            assert "cret" not in shown
        refusing.stop(None).wait()
    assert told == ["bWU6c0BjcmV0"] * 2


def test_secrets_are_not_shown() -> None:
    options = milvus_server.MilvusServerOptions(token="hidden")
    assert "hidden" not in repr(options)


def test_no_environment_and_no_log_of_pymilvus(tmp_path: Path) -> None:
    """It would read the .env file that it finds above its own place."""
    code = """if True:
        import logging, os, sys
        import dotenv
        dotenv.load_dotenv = lambda: os.environ.update(FROM_A_FILE="1")
        import itemspace.adapters.milvus_embedded
        assert "pymilvus" not in sys.modules
        from itemspace import open_retriever
        try:
            open_retriever("milvus://127.0.0.1:1/")
        except ConnectionError:
            print("FROM_A_FILE" in os.environ)
    """
    other = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (other.stdout, other.stderr) == ("False\n", "")


def test_a_forked_child_of_a_client(server: str) -> None:
    url, vectors = f"{server}?collection=forked&timeout=10", numbered(clustered(300))
    index = create_retriever(url, vectors)
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    def child() -> None:
        told.put(index.search(vectors.matrix[5], 1)[0].ids.tolist())
        with open_retriever(url) as own:
            told.put(len(own))
        index.close()

    processes = [context.Process(target=child) for _ in range(2)]
    for process in processes:
        process.start()
    assert sorted(map(str, (told.get() for _ in range(4)))) == ["300", "300", "[5]", "[5]"]
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert index.search(vectors.matrix[5], 1)[0].ids.tolist() == [5]
    index.close()
    index.close()
    with pytest.raises(ClosedError):
        index.search(vectors.matrix[5], 1)
    assert logging.getLogger("pymilvus").level
