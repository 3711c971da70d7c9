"""``chroma:`` in a folder and at a real server, and real faults."""

import json
import multiprocessing
import os
import pickle
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

pytest.importorskip("chromadb")

import httpx
from example_vectors import clustered, named
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.adapters import RetrieverURL
from itemspace.adapters.chroma_engine import ChromaEngine, ChromaServer
from itemspace.adapters.chroma_options import ChromaServerOptions
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
    ItemspaceError,
    LockedError,
    ReadOnlyError,
)
from itemspace.core.neighbors import Completeness
from itemspace.core.vectors import unit_rows
from itemspace.testing import RetrieverSuite
from servers import free_port, halted, running


@contextmanager
def serving(folder: Path, port: int | None = None) -> Iterator[tuple[str, Any]]:
    """A real server over a folder: its URL, and its process."""
    port = port or free_port()
    command = [str(Path(sys.executable).parent / "chroma"), "run", "--path", str(folder / "data")]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    heartbeat = f"http://127.0.0.1:{port}/api/v2/heartbeat"
    with running(command, folder / "log", lambda: urlopen(heartbeat).close()) as process:
        yield f"chroma+http://127.0.0.1:{port}/", process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("chroma")) as (url, _):
        yield url


@pytest.fixture(params=["folder", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of either kind of place one where nothing is."""
    if request.param == "folder":
        return f"chroma://{tmp_path}/index?"
    return f"{request.getfixturevalue('server')}?collection={secrets.token_hex(6)}&"


class TestFolder(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"chroma://{folder}/index"


class TestServer(RetrieverSuite):
    @pytest.fixture(autouse=True)
    def somewhere(self, server: str) -> None:
        self.server = server

    def url(self, folder: Path) -> str:
        del folder  # it lives in the server
        return f"{self.server}?collection={secrets.token_hex(6)}"


def some() -> VectorSet:
    return named(clustered(100), Metric.EUCLIDEAN)


def client_of(server: str) -> Any:
    """Chroma's own client."""
    return ChromaServer(RetrieverURL.parse(server), ChromaServerOptions())


# -- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", list(Metric))
def test_recall_and_filters_of_every_size(tmp_path: Path, metric: Metric) -> None:
    vectors = named(clustered(4000), metric)
    exact = create_retriever("exact://", vectors)
    order, queries = np.random.default_rng(2).permutation(4000), vectors.matrix[::100] + 0.01
    with create_retriever(f"chroma://{tmp_path}/index", vectors) as index:
        for count in (4000, 3600, 2000, 1500, 400):
            kept = vectors.ids[order[:count]] if count < 4000 else None
            truth = exact.search(queries, 10, allowed=kept)
            found = index.search(queries, 10, allowed=kept)
            assert [len(line) for line in found] == [10] * len(queries)
            shares = [
                np.isin(one.ids, other.ids).mean() for one, other in zip(truth, found, strict=True)
            ]
            assert np.mean(shares) > 0.95
        nearest = exact.search(queries[0], 2000)[0].ids
        found = index.search(queries[0], 10, excluded=nearest)[0].ids
        assert np.isin(found, exact.search(queries[0], 10, excluded=nearest)[0].ids).sum() >= 9
        rest = index.search(queries[0], 10, allowed=vectors.ids[:9], excluded=["i3"])[0]
        assert (len(rest), rest.completeness) == (8, Completeness.EXHAUSTED)
        assert len(index.search(queries[0], 4001)[0]) == 4000


def test_more_than_one_call_holds(url: str) -> None:
    """Vectors so wide that a call has room for few of them, and an answer for fewer."""
    vectors = VectorSet(Ids(range(200)), clustered(200, 8_000), Metric.EUCLIDEAN)
    exact = create_retriever("exact://", vectors)
    with create_retriever(f"{url}m=4&ef_construction=10", vectors) as index:
        assert index._driver._collection.batch < 200  # type: ignore[attr-defined]
        assert np.array_equal(index.vectors(vectors.ids), vectors.matrix)
        found = index.search(vectors.matrix[:3], 150)
        for one, other in zip(exact.search(vectors.matrix[:3], 150), found, strict=True):
            assert one.ids.tolist() == other.ids.tolist()


@pytest.mark.parametrize("metric", list(Metric))
def test_vectors_of_every_length(url: str, metric: Metric) -> None:
    """Chroma's own cosine would give back NaN."""
    matrix = np.outer([3e38, -3e38, 1e-40, 1, 2], [1, -1, 1, 1]).astype(np.float32)
    with create_retriever(url, named(matrix, metric)) as index:
        kept = unit_rows(matrix) if metric is Metric.COSINE else matrix
        assert np.array_equal(index.vectors([f"i{at}" for at in range(5)]), kept)
        assert [len(line) for line in index.search(matrix, 5)] == [5] * 5


@pytest.mark.parametrize(
    "names",
    [[-(2**63), -1, 0, 2**63 - 1], ["", "é", "e\u0301", "🎈" * 255, "'\n"]],
    ids=["int", "str"],
)
def test_ids_survive_a_second_life(url: str, names: list[Any]) -> None:
    matrix = np.eye(len(names), 8, dtype=np.float32) * 3
    create_retriever(url, VectorSet(Ids(names), matrix, Metric.INNER_PRODUCT)).close()
    with open_retriever(url, "rw") as index:
        assert sorted(name for ids, _ in index.scan() for name in ids) == sorted(names)
        assert index.delete(names[1:3]) == 2
        index.upsert(names[1:3], matrix[1:3])
        assert index.delete(names[-1:]) == 1
        assert index.delete(names[-1:]) == 0
    code = (
        "from itemspace import open_retriever\n"
        f"with open_retriever({url!r}) as index:\n"
        "    print(ascii(sorted(name for ids, _ in index.scan() for name in ids)))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == ascii(sorted(names[:-1]))
    with open_retriever(url) as index:
        assert np.array_equal(index.vectors(names[:-1]), matrix[:-1])
        found = index.search(matrix[:-1], 1)
        assert [line.ids.tolist() for line in found] == [[name] for name in names[:-1]]
    remove_retriever(url)
    with pytest.raises(BackendNotFound):
        open_retriever(url)


def test_threads(url: str) -> None:
    """A search and a scan see a state before or after a change, whoever else searches."""
    vectors, query = named(clustered(1000), Metric.EUCLIDEAN), np.full(16, 9, dtype=np.float32)
    kept = ["twin a", "twin b"]
    with create_retriever(url, vectors) as index:
        index.upsert(kept, [query, query])
        stop, wrong = threading.Event(), list[Any]()

        def read() -> None:
            try:
                while not stop.is_set():
                    found = index.search(query, 2, allowed=kept)[0].ids.tolist()
                    index.search(query, 2)  # a graph may miss what lies apart
                    names = [name for ids, _ in index.scan(300) for name in ids]
                    wrong.extend([] if found == kept else [found])
                    wrong.extend([] if len(set(names)) == len(names) else [names])
            except BaseException as error:
                wrong.append(error)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for at in range(20):
            index.upsert([*kept, f"new {at}"], np.stack([query, query, -query]))
            index.delete([f"i{at}"])
        stop.set()
        for reader in readers:
            reader.join()
        assert wrong == []
        assert len(index) == 1002


def test_a_forked_child(url: str) -> None:
    """Chroma's engine would hang there, and a connection would be its parent's."""
    vectors = some()
    index = create_retriever(url, vectors)
    context = multiprocessing.get_context("fork")
    told, embedded = context.SimpleQueue(), url.startswith("chroma:")

    def child() -> None:
        try:
            told.put(index.search(vectors.matrix[7], 1)[0].ids.tolist())
        except ClosedError as error:
            told.put(str(error))
        try:
            index.delete(["i1"])
        except ReadOnlyError:
            told.put("read-only")
        index.close()
        told.put("closed")

    process = context.Process(target=child)
    process.start()
    process.join(20)
    assert process.exitcode == 0
    said = told.get()
    assert "after the fork" in said if embedded else said == ["i7"]
    assert [told.get(), told.get()] == ["read-only", "closed"]
    assert index.search(vectors.matrix[7], 1)[0].ids.tolist() == ["i7"]
    index.close()


# -- places ----------------------------------------------------------------------------------


def test_one_holder_of_a_folder_at_a_time(tmp_path: Path) -> None:
    url = f"chroma://{tmp_path}/index"
    with create_retriever(url, some()):
        with pytest.raises(LockedError, match="one process"):
            open_retriever(url)
        with pytest.raises(BackendExists):
            create_retriever(url, some())
        code = f"from itemspace import open_retriever; open_retriever({url!r})"
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "LockedError" in other.stderr
        assert f"process {os.getpid()}" in other.stderr


def test_opened_and_closed_again_and_again(tmp_path: Path) -> None:
    url = f"chroma://{tmp_path}/index"
    create_retriever(url, some()).close()
    before = _open_files(0)
    for _ in range(8):
        with open_retriever(url, "rw") as index:
            index.upsert(["one"], np.ones((1, 16)))
    assert _open_files(before) <= before
    remove_retriever(url)
    assert not (tmp_path / "index").exists()
    create_retriever(url, some()).close()


def _open_files(expected: int) -> int:
    """How many there are, once the engine's own threads have let go of theirs."""
    for _ in range(100):
        count = len(list(Path("/proc/self/fd").iterdir()))
        if count <= expected:
            break
        time.sleep(0.01)
    return count


def test_folders_of_something_else(tmp_path: Path) -> None:
    create_retriever(f"exact://{tmp_path}/index", some()).close()
    with pytest.raises(BackendNotFound, match="no index"):
        open_retriever(f"chroma://{tmp_path}/index")
    with pytest.raises(BackendExists):
        create_retriever(f"chroma://{tmp_path}/index", some())
    (tmp_path / "file").write_text("x")
    with pytest.raises(BackendError):
        create_retriever(f"chroma://{tmp_path}/file", some())
    create_retriever(f"chroma://{tmp_path}/other?collection=mine", some()).close()
    with pytest.raises(BackendNotFound, match="'mine' alone"):
        open_retriever(f"chroma://{tmp_path}/other?collection=items")
    open_retriever(f"chroma://{tmp_path}/other").close()
    for place in ("chroma:", "chroma://host/items"):
        with pytest.raises(InvalidURL):
            create_retriever(place, some())
    below = place_below(RetrieverURL.parse(f"chroma://{tmp_path}/index"), "v1")
    assert below.path == f"{tmp_path}/index/v1"


def test_collections_of_somebody_else(server: str) -> None:
    client = client_of(server)
    client.call("create_collection", name="foreign", metadata={"mine": 1})
    url = f"{server}?collection=foreign"
    for call in (open_retriever, remove_retriever):
        with pytest.raises(BackendNotFound, match="somebody else's"):
            call(url)
    with pytest.raises(BackendExists):
        create_retriever(url, some())
    assert client.call("get_collection", name="foreign").metadata == {"mine": 1}
    client.close()
    for place in ("&tenant=nobody", "&database=nothing"):
        with pytest.raises(BackendError, match=r"database|tenant"):
            create_retriever(f"{server}?collection=other{place}", some())


_FACTS = {"format": 1, "dim": 4, "metric": "cosine", "ids": "int", "options": {}}


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ("{", CorruptData),
        ("[]", CorruptData),
        ('{"format": 1}', CorruptData),
        ('{"format": 2}', IncompatibleFormat),
        (json.dumps({**_FACTS, "metric": "manhattan"}), CorruptData),
        (json.dumps({**_FACTS, "ids": "uuid"}), CorruptData),
        (json.dumps({**_FACTS, "dim": 0}), CorruptData),
    ],
)
def test_facts_that_are_damaged(server: str, facts: str, error: type[Exception]) -> None:
    name, client = secrets.token_hex(6), client_of(server)
    client.call("create_collection", name=name, metadata={"itemspace": facts})
    client.close()
    with pytest.raises(error):
        open_retriever(f"{server}?collection={name}")


def test_items_of_somebody_else(server: str) -> None:
    name, client = secrets.token_hex(6), client_of(server)
    vectors = VectorSet(Ids(range(100)), clustered(100))
    with create_retriever(f"{server}?collection={name}", vectors) as index:
        place = client.call("get_collection", name=name).id
        client.call("_upsert", collection_id=place, ids=["someone"], embeddings=[np.ones(16)])
        client.close()
        with pytest.raises(CorruptData, match="someone"):
            list(index.scan())


def test_a_version_has_a_collection_of_its_own() -> None:
    base = RetrieverURL.parse("chroma+https://host/?collection=" + "n" * 512 + "&token=t")
    below = place_below(base, "my items-0001-ab12")
    assert below.parameters["collection"].endswith("_my_items-0001-ab12")
    assert len(below.parameters["collection"]) == 512
    assert below.parameters["token"] == "t"


# -- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    ["m=1", "ef_search=0", "ef_construction=0", "sync_threshold=1", "collection=a/b", "m=many"],
)
def test_options_out_of_range(tmp_path: Path, parameters: str) -> None:
    with pytest.raises(InvalidOption, match=parameters.partition("=")[0]):
        create_retriever(f"chroma://{tmp_path}/index?{parameters}", some())
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("parameters", ["timeout=0", "tenant=a", "database=a/b", "token=a%0Ab"])
def test_options_of_a_server_out_of_range(parameters: str) -> None:
    with pytest.raises(InvalidOption, match=parameters.partition("=")[0]) as caught:
        create_retriever(f"chroma+http://127.0.0.1:1/?{parameters}", some())
    assert "a\nb" not in repr(caught.value)


def test_options_are_kept(url: str) -> None:
    create_retriever(f"{url}m=8&ef_search=30", some()).close()
    with open_retriever(f"{url}m=8") as index:
        model = index._driver._collection._model  # type: ignore[attr-defined]
        graph = model.configuration_json["hnsw"]
        assert (graph["max_neighbors"], graph["ef_search"], graph["space"]) == (8, 30, "l2")
    with pytest.raises(InvalidOption, match="built with m=8"):
        open_retriever(f"{url}m=16")


@pytest.mark.parametrize("place", ["/items", "host/items", "host:x/", "user:s3cret@host/", ""])
def test_urls_of_servers(place: str) -> None:
    with pytest.raises(InvalidURL, match="http://host:8000/") as caught:
        open_retriever(f"chroma+http://{place}")
    assert "s3cret" not in repr(caught.value)


# -- faults ----------------------------------------------------------------------------------

_WRITER = """
import sys
import numpy as np
from itemspace import open_retriever
index = open_retriever(sys.argv[1], "rw")
for step in range(1_000):
    index.upsert([f"new {at}" for at in range(step, step + 300)], np.full((300, 16), step))
    index.delete([f"i{step}"])
    print(step, flush=True)
"""


@pytest.mark.parametrize("threshold", [10_000, 300])
def test_a_killed_writer(tmp_path: Path, threshold: int) -> None:
    """All is there whose call had returned, but for a kill while the graph is written."""
    url = f"chroma://{tmp_path}/index?sync_threshold={threshold}"
    create_retriever(url, named(clustered(2000), Metric.EUCLIDEAN)).close()
    with subprocess.Popen([sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(15):
            step = int(writer.stdout.readline())
        writer.kill()
        step = int((writer.stdout.read().splitlines() or [step])[-1])
    try:
        index = open_retriever(url, "rw")
    except CorruptData:
        assert threshold == 300
        return
    with index:
        new = [f"new {at}" for at in range(step + 300)]
        assert {*index.vectors(new[step + 1 :])[:, 0]} <= {step, step + 1}
        assert not any(f"i{at}" in index for at in range(step + 1))
        assert len(index) >= 2000 - step - 2 + len(new)
        index.upsert(["after"], np.ones((1, 16)))
        assert index.search(np.full(16, step), 1)[0].ids[0].startswith("new")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "index"
    create_retriever(
        f"chroma://{folder}?sync_threshold=500", named(clustered(2000), Metric.EUCLIDEAN)
    ).close()
    return folder


def _one(folder: Path, name: str) -> Path:
    return max(folder.glob(f"engine/{name}"), key=lambda file: file.stat().st_size)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: _one(folder, "chroma.sqlite3").unlink(),
        lambda folder: os.truncate(_one(folder, "chroma.sqlite3"), 100_000),
        lambda folder: _one(folder, "chroma.sqlite3").write_bytes(b"x" * 5000),
        lambda folder: os.truncate(_one(folder, "*/index_metadata.pickle"), 50),
        lambda folder: _one(folder, "*/index_metadata.pickle").unlink(),
        lambda folder: _one(folder, "*/data_level0.bin").unlink(),
        lambda folder: _one(folder, "*/header.bin").write_bytes(b"\xff" * 100),
        lambda folder: shutil.rmtree(_one(folder, "*/header.bin").parent),
        lambda folder: os.truncate(folder / "manifest.json", 30),
    ],
)
def test_damaged_files(whole: Path, tmp_path: Path, harm: Callable[[Path], object]) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "index"))
    harm(folder)
    for _ in range(2):  # and nobody holds it
        with pytest.raises(CorruptData, match="index"):
            open_retriever(f"chroma://{folder}")


def _edit(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_another_format(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "index"))
    _edit(folder, format=2)
    with pytest.raises(IncompatibleFormat, match="format 2"):
        open_retriever(f"chroma://{folder}")


@pytest.mark.parametrize("method", ["create_collection", "_upsert"])
def test_a_creation_that_failed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise Exception("database or disk is full, os error 28")

    def broken(self: Any, folder: Any, failure: Any) -> None:
        start(self, folder, failure)
        setattr(self._api, method, fails)

    url, start = f"chroma://{tmp_path}/index", ChromaEngine.__init__
    with monkeypatch.context() as patch, pytest.raises(BackendUnavailable, match="disk"):
        patch.setattr(ChromaEngine, "__init__", broken)
        create_retriever(url, some())
    assert not (tmp_path / "index").exists()
    create_retriever(url, some()).close()


def test_a_server_that_stops_and_starts_again(tmp_path: Path) -> None:
    vectors, port = some(), free_port()
    with serving(tmp_path, port) as (url, process):
        index = create_retriever(f"{url}?timeout=0.6", vectors)
        with halted(process.pid):
            for call in (
                lambda: index.search(vectors.matrix[0], 1),
                lambda: index.upsert(vectors.ids, vectors.matrix),
                lambda: index.delete(["i1"]),
            ):
                started = time.monotonic()
                with pytest.raises(BackendUnavailable, match="raise timeout"):
                    call()
                assert time.monotonic() - started < 2
        assert index.search(vectors.matrix[0], 1)[0].ids.tolist() == ["i0"]
    with pytest.raises(BackendUnavailable, match="refused"):
        index.search(vectors.matrix[0], 1)
    with pytest.raises(BackendUnavailable):
        index.upsert(["late"], vectors.matrix[:1])
    with serving(tmp_path, port):
        assert index.search(vectors.matrix[0], 1)[0].ids.tolist() == ["i0"]
        index.upsert(["late"], vectors.matrix[:1])
        assert "late" in index
        index.close()


def test_a_server_that_is_killed_in_mid_load(tmp_path: Path) -> None:
    matrix = np.tile(clustered(1000), (200, 1))
    with serving(tmp_path) as (url, process):
        index = create_retriever(f"{url}?collection=load&sync_threshold=1000000", some())
        killer = threading.Timer(1, process.kill)
        killer.start()
        with pytest.raises(BackendUnavailable) as caught:
            index.upsert([f"new {at}" for at in range(len(matrix))], matrix)
        killer.join()
        index.close()
    done = caught.value.details.get("ids", [])
    assert len(done) % 2_000 == 0
    with serving(tmp_path) as (url, _), open_retriever(f"{url}?collection=load") as index:
        assert 100 + len(done) <= len(index) <= 2_100 + len(done)
        if done:
            assert np.array_equal(index.vectors(done), matrix[: len(done)])


def test_a_socket_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"chroma+http://127.0.0.1:{sock.getsockname()[1]}/?timeout=0.5&token=s3cret"
        for call in (lambda: open_retriever(url), lambda: create_retriever(url, some())):
            started = time.monotonic()
            with pytest.raises(BackendUnavailable) as caught:
                call()
            assert time.monotonic() - started < 2
            assert "s3cret" not in repr(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (200, "<html>", BackendError, "Chroma fails"),
        (200, "{}", BackendError, "Chroma fails"),
        (401, "who?", BackendError, "check token"),
        (403, '{"error": "AuthError", "message": "no"}', BackendError, "check token"),
        (503, "later", BackendUnavailable, "server runs"),
        (500, '{"error": "InternalError", "message": "oops"}', BackendError, "oops"),
    ],
)
def test_answers_of_something_else(
    status: int, body: str, error: type[ItemspaceError], says: str
) -> None:
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(httpx.Headers(dict(self.headers)))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(error, match=says) as caught:
                open_retriever(f"chroma+http://127.0.0.1:{other.server_port}/?token=s3cret")
        finally:
            other.shutdown()
            thread.join()
    assert type(caught.value) is error
    assert "s3cret" not in repr(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert seen[0]["authorization"] == "Bearer s3cret"
    assert seen[0]["x-chroma-token"] == "s3cret"
