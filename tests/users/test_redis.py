"""``redis:`` stores against a real server, and real faults."""

import inspect
import logging
import pickle
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itemspace import Ids, Metric, VectorSet
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
    MissingExtra,
)
from itemspace.users import redis as module
from itemspace.users.redis_server import ERRORS, translate
from itemspace.users.store import (
    create_user_store,
    open_user_store,
    place_below,
    remove_user_store,
)
from redis import exceptions as theirs
from servers import halted

Start = Callable[..., Any]
SECRET = "s3cr-et/?#@:&"
QUOTED = "s3cr-et%2F%3F%23%40%3A%26"
WIRE = "redis://127.0.0.1:{}/0?timeout=0.3"


def users(n: int = 3, dim: int = 4, seed: int = 0) -> VectorSet:
    matrix = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return VectorSet(Ids([f"u{at}" for at in range(n)]), matrix, Metric.COSINE)


def holds(store: Any, vectors: VectorSet) -> bool:
    found, matrix = store.vectors(vectors.ids)
    return bool(found.all()) and matrix.tobytes() == vectors.matrix.tobytes()


@contextmanager
def stored(url: str, vectors: VectorSet) -> Iterator[Any]:
    store = create_user_store(url, vectors)
    yield store
    store.close()


# -- what is stored, and how it is read ------------------------------------------------------


def test_keys_and_values_are_as_documented(start_redis: Start) -> None:
    server = start_redis()
    vectors = users(2)
    with stored(server.unix("shop:users"), vectors) as store, server.client() as client:
        assert server.keys() == {b"shop:users:meta", b"shop:users:v:u0", b"shop:users:v:u1"}
        assert client.get("shop:users:v:u1") == vectors.matrix[1].astype("<f4").tobytes()
        assert client.hgetall("shop:users:meta") == {
            b"dim": b"4",
            b"metric": b"cosine",
            b"kind": b"str",
            b"count": b"2",
            b"checksum": store.checksum.encode(),
            b"format": b"1",
        }
        assert client.ttl("shop:users:meta") == -1


@pytest.mark.parametrize(("asked", "calls"), [(1, 1), (500, 1), (10_000, 1), (10_001, 2)])
def test_one_round_trip_however_many(start_redis: Start, asked: int, calls: int) -> None:
    server = start_redis()
    with stored(server.unix(), users(50)) as store, server.client() as client:
        client.config_resetstat()
        store.vectors(Ids(np.arange(asked).astype("U").astype(object), "str"))
        assert store.vectors(Ids([], "str"))[0].shape == (0,)
        counts = {name: stats["calls"] for name, stats in client.info("commandstats").items()}
        assert {name: n for name, n in counts.items() if "config" not in name} == {
            "cmdstat_mget": calls
        }


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
prefixes = names.filter(lambda text: ":v:" not in f"{text}:")


@settings(max_examples=60)
@given(data=st.data(), ids=st.sampled_from([names, numbers]), prefix=prefixes)
def test_a_store_is_a_dict(redis_server: Any, data: Any, ids: Any, prefix: str) -> None:
    kind = "int" if ids is numbers else "str"
    dim = data.draw(st.integers(1, 4))
    vector = st.lists(floats, min_size=dim, max_size=dim)
    expected = data.draw(st.dictionaries(ids, vector, max_size=12))
    asked = data.draw(st.lists(st.one_of(ids, st.sampled_from([*expected])) if expected else ids))
    matrix = np.array(list(expected.values()), dtype=np.float32).reshape(len(expected), dim)
    vectors = VectorSet(Ids(list(expected), kind), matrix)
    url = redis_server.unix(f"{secrets.token_hex(6)}{prefix}")
    with stored(url, vectors) as store:
        found, given_out = store.vectors(Ids(asked, kind))
        assert found.tolist() == [name in expected for name in asked]
        wanted = [expected[name] for name in asked if name in expected]
        assert given_out.tobytes() == np.array(wanted, dtype=np.float32).tobytes()
        scanned = {
            name: row.tolist()
            for part, rows in store.scan(5)
            for name, row in zip(part, rows, strict=True)
        }
        assert scanned == expected
    remove_user_store(url)


def test_prefixes_that_look_alike_are_apart(start_redis: Start) -> None:
    server = start_redis()
    prefixes = ["a", "a:", "a*", "a?", "[a]", "a\\", "a:meta", "a:b", "aa", "a:v", "ä b&c=%2F+"]
    sets = {p: users(5, seed=at) for at, p in enumerate(prefixes) if p != "a:v"}
    for prefix, vectors in sets.items():
        create_user_store(server.tcp(prefix), vectors).close()
    for prefix, vectors in sets.items():
        remove_user_store(server.tcp(prefix))
        for other in sets.keys() - {prefix}:
            store = open_user_store(server.tcp(other))
            assert holds(store, sets[other]) and sum(len(ids) for ids, _ in store.scan()) == 5
            store.close()
        create_user_store(server.tcp(prefix), vectors).close()


def test_a_child_is_a_prefix_of_its_own() -> None:
    assert place_below("redis://h:1/2", "shop-7").render() == (
        "redis://h:1/2?prefix=itemspace%3Ausers%3Ashop-7"
    )
    below = place_below(f"rediss://me:{QUOTED}@h/2?timeout=9&prefix=a*", "7")
    assert below.parameters == {"timeout": "9", "prefix": "a*:7"}
    assert below.authority == f"me:{QUOTED}@h" and SECRET not in repr(below)
    assert place_below("unix:///run/redis.sock?db=3", "7").parameters["db"] == "3"


def test_a_user_that_was_evicted_is_not_found(redis_server: Any) -> None:
    vectors = users()
    with stored(redis_server.unix("evicted"), vectors) as store, redis_server.client() as client:
        client.delete("evicted:v:u1", "evicted:meta")
        found, matrix = store.vectors(vectors.ids)
        assert found.tolist() == [True, False, True]
        assert np.array_equal(matrix, vectors.matrix[[0, 2]])
        assert {name for ids, _ in store.scan() for name in ids} == {"u0", "u2"}


def test_keys_that_scan_repeats_are_given_once(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SCAN repeats them where the server's table shrinks meanwhile."""
    with stored(redis_server.unix(), users(30)) as store:
        keys = [key for part in store._server.scan() for key in part]
        steps = [keys[:20], [], keys[10:] + keys[5:15], keys]
        monkeypatch.setattr(store._server, "scan", lambda: iter(steps))
        for size in (4, 100):
            names = [name for ids, _ in store.scan(size) for name in ids]
            assert sorted(names) == sorted(users(30).ids)


def test_more_threads_than_connections(redis_server: Any) -> None:
    vectors = users(100)
    with stored(redis_server.tcp(max_connections=2), vectors) as store:
        with ThreadPoolExecutor(32) as pool:
            assert all(pool.map(lambda _: holds(store, vectors), range(500)))
        assert len(store._server._client.connection_pool._connections) <= 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_reads_and_so_does_its_parent(redis_server: Any) -> None:
    vectors = users(100)
    context = get_context("fork")
    with stored(redis_server.tcp(), vectors) as store:
        assert holds(store, vectors)
        answers = context.SimpleQueue()

        def child() -> None:
            answers.put(all(holds(store, vectors) for _ in range(50)))

        children = [context.Process(target=child) for _ in range(4)]
        for process in children:
            process.start()
        assert all(holds(store, vectors) for _ in range(50))
        assert all(answers.get() for _ in children)
        for process in children:
            process.join()
            assert process.exitcode == 0
        answers.close()


def test_a_closed_store_says_so(redis_server: Any) -> None:
    with stored(redis_server.tcp(), users()) as store:
        pass
    with pytest.raises(ClosedError, match="are closed; open them again"):
        store.vectors(Ids(["u1"]))


def test_without_the_extra_its_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("itemspace.users.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    for scheme in ("redis", "rediss", "unix"):
        with pytest.raises(MissingExtra, match=r"pip install 'itemspace\[redis\]'"):
            open_user_store(f"{scheme}://h/0")


# -- loading and removing --------------------------------------------------------------------

LOAD = """
import sys
import numpy as np
from itemspace import Ids, Metric, VectorSet
from itemspace.users.store import create_user_store
n = 400_000
create_user_store(sys.argv[1], VectorSet(Ids(np.arange(n)), np.ones((n, 64), np.float32)))
"""


def test_a_killed_load_is_never_a_store(start_redis: Start) -> None:
    server = start_redis()
    url, neighbour, vectors = server.unix("a[*]"), server.unix("a[*]:b"), users()
    create_user_store(neighbour, vectors).close()
    process = subprocess.Popen([sys.executable, "-c", LOAD, url])
    with server.client() as client:
        while client.dbsize() < 20_000:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = client.dbsize()
        assert 20_000 <= left < 400_000
        with pytest.raises(BackendNotFound):
            open_user_store(url)
        with pytest.raises(BackendExists, match=r"broken off less than 60 .*; wait, or remove it"):
            create_user_store(url, vectors)
        assert client.dbsize() == left
        assert 0 < client.ttl("a[*]:claim") <= 60
        remove_user_store(url)
        assert server.keys() == {b"a[*]:b:meta", *(b"a[*]:b:v:u%d" % at for at in range(3))}
        with stored(url, vectors) as store:
            assert holds(store, vectors)
        store = open_user_store(neighbour)
        assert holds(store, vectors)
        store.close()


def test_what_a_killed_load_left_is_gone_after_the_next(redis_server: Any) -> None:
    url, vectors = redis_server.unix("left"), users()
    with redis_server.client() as client:
        client.mset({f"left:v:stranger {at}": b"1234" for at in range(20_000)})
        with stored(url, vectors) as store:
            assert sum(len(ids) for ids, _ in store.scan()) == 3
            assert not store.vectors(Ids(["stranger 1"]))[0].any()


def test_two_never_load_at_one_place(redis_server: Any) -> None:
    url = redis_server.unix()
    sets = [users(8000, seed=seed) for seed in range(4)]
    barrier = threading.Barrier(len(sets))

    def load(vectors: VectorSet) -> bool:
        barrier.wait()
        try:
            create_user_store(url, vectors).close()
        except BackendExists:
            return False
        return True

    with ThreadPoolExecutor(len(sets)) as pool:
        won = list(pool.map(load, sets))
    assert won.count(True) == 1
    store = open_user_store(url)
    assert holds(store, sets[won.index(True)])
    store.close()


def test_a_removal_stops_a_load(start_redis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_redis()
    url, started = server.unix(), []
    original = module._keys

    def remove_in_between(*arguments: Any) -> list[bytes]:
        started.append(True)
        if len(started) == 2:
            assert len(server.keys()) > 1
            remove_user_store(url)
        return original(*arguments)

    monkeypatch.setattr(module, "_keys", remove_in_between)
    with pytest.raises(BackendError, match="was removed meanwhile"):
        create_user_store(url, users(12_000))
    assert server.keys() == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_load_that_is_broken_off_leaves_nothing(
    start_redis: Start, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    server = start_redis()
    original, started = module._keys, []

    def fail_in_between(*arguments: Any) -> list[bytes]:
        started.append(True)
        if len(started) == 2:
            assert len(server.keys()) == 5001
            raise error
        return original(*arguments)

    monkeypatch.setattr(module, "_keys", fail_in_between)
    with pytest.raises(error):
        create_user_store(server.unix(), users(12_000))
    assert server.keys() == set()


def test_a_server_that_is_full(start_redis: Start) -> None:
    server = start_redis("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    url = server.unix()
    with pytest.raises(BackendError, match=r"is full \(.*; raise maxmemory") as caught:
        create_user_store(url, users(50_000, dim=64))
    assert len(str(caught.value)) < 500
    assert server.keys() == set()
    with stored(url, users()) as store:
        assert holds(store, users())


# -- faults of the server --------------------------------------------------------------------


def test_stopped_and_started_again(start_redis: Start) -> None:
    server = start_redis()
    vectors = users(100)
    for url in (server.tcp(), server.unix()):
        with stored(url, vectors) as store:
            server.stop(save=True)
            with pytest.raises(BackendUnavailable, match=r"does not answer \(.*check that it runs"):
                store.vectors(vectors.ids)
            with pytest.raises(ConnectionError):
                next(store.scan())
            for call in (open_user_store, remove_user_store):
                with pytest.raises(BackendUnavailable):
                    call(url)
            server.start()
            assert holds(store, vectors)
            assert sum(len(ids) for ids, _ in store.scan()) == 100


def test_a_connection_that_was_dropped_is_made_again(start_redis: Start) -> None:
    server = start_redis()
    with stored(server.tcp(), users()) as store, server.client() as client:
        for _ in range(3):
            client.client_kill_filter(_type="normal", skipme=True)
            assert holds(store, users())


def test_a_server_that_hangs(start_redis: Start) -> None:
    server = start_redis()
    with stored(server.unix(timeout=0.3), users()) as store:
        start = time.monotonic()
        with halted(server.process.pid):
            with pytest.raises(BackendUnavailable, match=r"does not answer \(Timeout"):
                store.vectors(Ids(["u1"]))
            assert 0.9 <= time.monotonic() - start < 3 * 0.3 + 2
        assert holds(store, users())


@pytest.mark.parametrize("call", [open_user_store, lambda url: create_user_store(url, users())])
def test_a_socket_that_never_answers(call: Callable[[str], Any], tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        unix.bind(str(tmp_path / "s"))
        for listening in (tcp, unix):
            listening.listen()
        port = tcp.getsockname()[1]
        for url in (WIRE.format(port), f"unix://{tmp_path}/s?timeout=0.3"):
            start = time.monotonic()
            with pytest.raises(BackendUnavailable, match="does not answer"):
                call(url)
            assert time.monotonic() - start < 3 * 0.3 + 2


def test_nobody_listens(port: int) -> None:
    with pytest.raises(BackendUnavailable, match=r"redis://127.0.0.1:\d+/0.* does not answer"):
        open_user_store(WIRE.format(port))
    with pytest.raises(BackendUnavailable, match="does not answer"):
        open_user_store("unix:///nowhere/redis.sock")


def test_something_that_is_no_redis() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def answer() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(BackendError, match="Protocol"):
            open_user_store(WIRE.format(listening.getsockname()[1]))
        thread.join()


def test_a_replica_takes_no_users(start_redis: Start, port: int) -> None:
    replica = start_redis("--replicaof", "127.0.0.1", str(port))
    with pytest.raises(BackendError, match=r"is a replica \(.*; write to its primary"):
        create_user_store(replica.unix(), users())


def test_a_cluster_that_is_down(start_redis: Start, port: int) -> None:
    server = start_redis("--cluster-enabled", "yes", "--cluster-port", str(port))
    with pytest.raises(BackendError, match="Hash slot not served"):
        open_user_store(server.unix())


# -- who may come in, and what nobody may see ------------------------------------------------


def test_passwords_and_users(start_redis: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start_redis()
    caplog.set_level(logging.DEBUG)
    with server.client() as client:
        client.acl_setuser(
            "reader", True, passwords=[f"+{SECRET}"], keys=["*"], categories=["+@read"]
        )
        client.acl_setuser(
            "owner", True, passwords=[f"+{SECRET}"], keys=["*"], categories=["+@all"]
        )
        client.acl_setuser(
            "default", True, passwords=["+other"], nopass=False, reset_passwords=True
        )
    url = {who: server.tcp("a", f"{who}:{QUOTED}@") for who in ("owner", "reader", "")}
    create_user_store(url["owner"], users()).close()
    store = open_user_store(url["reader"])
    assert holds(store, users())
    shown = [repr(store), str(store)]
    store.close()
    for call, place in (
        (remove_user_store, url["reader"]),
        (open_user_store, url[""]),
        (open_user_store, server.tcp("a")),
        (open_user_store, server.tcp("a", f"owner:{QUOTED}x@")),
        (open_user_store, server.unix("a")),
    ):
        with pytest.raises(BackendUnavailable, match=r"does not let us in \(.*; check user") as e:
            call(place)
        shown += [str(e.value), repr(e.value), str(e.value.__cause__), pickle.dumps(e.value).hex()]
    shown += [record.getMessage() for record in caplog.records]
    for hidden in (SECRET, QUOTED, SECRET.encode().hex(), "s3cr"):
        assert not [text for text in shown if hidden in text]
    unix = server.unix("a").replace("unix://", f"unix://owner:{QUOTED}@")
    store = open_user_store(unix)
    assert holds(store, users()) and "***" in repr(store)
    store.close()


def test_a_server_that_quotes_the_password_back(start_redis: Start) -> None:
    server = start_redis("--rename-command", "AUTH", "")
    with pytest.raises(BackendError, match=r"'\*\*\*'") as caught:
        open_user_store(server.tcp("a", f":{QUOTED}@"))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cr/et@h/0",
        "redis://me:s3cr/et@h/0",
        "redis://me:12/s3cr@h/0",
        "redis://:s3cr#et@h#/0",
        "redis://:s3cr@h:port/0",
        "redis://:s3cr@[::1/0",
        "redis://:s3cr@h/zero",
        "redis://:s3cr@h/-1",
        "redis://:s3cr@h/1/2",
        "redis://:s3cr@a..b/0",
        "unix://:s3cr@host/run/redis.sock",
        "unix://:s3cr@",
        "unix:",
        "unix:///s3cr%00",
        "redis://:s3cr@a\0b/0",
    ],
)
def test_urls_that_cannot_be_read(url: str) -> None:
    with pytest.raises(InvalidURL, match=r"URL cannot be read; .*/ is %2F") as caught:
        open_user_store(url)
    assert "s3cr" not in str(caught.value) + caught.value.url
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("redis://h/0?prefix=", "prefix"),
        ("redis://h/0?prefix=a:v:b", "prefix"),
        ("redis://h/0?prefix=a:v", "prefix"),
        ("redis://h/0?timeout=0", "timeout"),
        ("redis://h/0?timeout=nan", "timeout"),
        ("redis://h/0?timeout=1e9", "timeout"),
        ("redis://h/0?max_connections=0", "max_connections"),
        ("redis://h/0?max_connections=1000000000", "max_connections"),
        ("unix:///s?db=-1", "db"),
        ("unix:///s?db=one", "db"),
        ("redis://h/0?db=0", "db"),
        ("redis://h/1?db=2", "db"),
    ],
)
def test_options_out_of_range(url: str, option: str) -> None:
    with pytest.raises(InvalidOption, match=option) as caught:
        open_user_store(url)
    assert caught.value.option == option


def test_databases_are_apart(redis_server: Any) -> None:
    base = f"redis://127.0.0.1:{redis_server.port}"
    urls = [f"{base}/3?prefix=db", f"{base}/4?prefix=db", redis_server.unix("db", db=5)]
    for seed, url in enumerate(urls):
        create_user_store(url, users(seed=seed)).close()
    for seed, url in enumerate([f"{base}?db=3&prefix=db", f"{base}/?db=4&prefix=db", urls[2]]):
        store = open_user_store(url)
        assert holds(store, users(seed=seed))
        store.close()
    with pytest.raises(BackendError, match=r"refuses \(DB index is out of range"):
        open_user_store(f"{base}/99")


def test_tls_and_whom_it_trusts(
    start_redis: Start, port: int, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    signed, key = map(str, certificate)
    files = ("--tls-cert-file", signed, "--tls-key-file", key, "--tls-ca-cert-file", signed)
    start_redis("--tls-port", str(port), "--tls-auth-clients", "no", *files)
    url = f"rediss://127.0.0.1:{port}/0"
    with pytest.raises(BackendUnavailable, match=r"(?i)certificate verify failed"):
        create_user_store(url, users())
    monkeypatch.setenv("SSL_CERT_FILE", signed)
    with stored(url, users()) as store:
        assert holds(store, users())


# -- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"short", r"b'damaged:v:u1' is not 16 bytes long"),
        (b"", r"b'damaged:v:u1' is not 16 bytes long"),
        (bytes(17), r"b'damaged:v:u1' is not 16 bytes long"),
        (np.array([1, np.nan, 1, 1], "<f4").tobytes(), r"b'damaged:v:u1' holds NaN or infinity"),
        (np.array([1, 1, 1, np.inf], "<f4").tobytes(), r"b'damaged:v:u1' holds NaN or infinity"),
    ],
)
def test_a_value_that_is_no_vector(redis_server: Any, value: bytes, message: str) -> None:
    url = redis_server.unix("damaged")
    with stored(url, users()) as store, redis_server.client() as client:
        client.set("damaged:v:u1", value)
        with pytest.raises(CorruptData, match=message) as caught:
            store.vectors(Ids(["nobody", "u0", "u1", "u2"]))
        assert caught.value.path == str(RetrieverURL.parse(url))
        with pytest.raises(CorruptData, match=message):
            list(store.scan())
        assert store.vectors(Ids(["u0"]))[0].all()
    remove_user_store(url)


def test_keys_that_are_no_ids(redis_server: Any) -> None:
    vectors = VectorSet(Ids([1]), np.ones((1, 1), np.float32))
    with stored(redis_server.unix("alien"), vectors) as store, redis_server.client() as client:
        for key in ("one", str(2**63)):
            client.set(f"alien:v:{key}", bytes(4))
            with pytest.raises(CorruptData, match="no int id"):
                list(store.scan())
            client.delete(f"alien:v:{key}")
        client.hset("alien:v:2", "a", "b")
        assert [ids.to_list() for ids, _ in store.scan()] == [[1]]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("format", "2", IncompatibleFormat),
        ("format", "x", CorruptData),
        ("format", None, CorruptData),
        ("dim", "0", CorruptData),
        ("dim", b"\xff", CorruptData),
        ("metric", "dot", CorruptData),
        ("kind", "uuid", CorruptData),
        ("count", "-1", CorruptData),
        ("checksum", None, CorruptData),
    ],
)
def test_a_meta_that_cannot_be_read(
    redis_server: Any, field: str, value: Any, error: type[Exception]
) -> None:
    url, key = redis_server.unix("strange"), "strange:meta"
    with stored(url, users()), redis_server.client() as client:
        client.hdel(key, field) if value is None else client.hset(key, field, value)
        with pytest.raises(error) as caught:
            open_user_store(url)
        assert type(caught.value) is error
    remove_user_store(url)


def test_a_meta_of_another_type(redis_server: Any) -> None:
    with redis_server.client() as client:
        client.set("typed:meta", "something of somebody else's")
    with pytest.raises(CorruptData, match=r"of another type .*choose another prefix"):
        open_user_store(redis_server.unix("typed"))
    with pytest.raises(BackendExists):
        create_user_store(redis_server.unix("typed"), users())


# -- the map of errors -----------------------------------------------------------------------

URL = RetrieverURL.parse("redis://h/0")
CLASSES = [
    found
    for _, found in inspect.getmembers(theirs, inspect.isclass)
    if issubclass(found, Exception) and found.__module__ == theirs.__name__
]
#: Only of clients of clusters, and no RedisError.
NEVER = {"IncorrectPolicyType"}


@pytest.mark.parametrize("kind", [k for k in CLASSES if k.__name__ not in NEVER])
def test_every_error_of_the_client_has_one_of_ours(kind: type[Exception]) -> None:
    assert issubclass(kind, ERRORS[-1][0])
    error = translate(kind.__new__(kind, "why"), URL)
    network = issubclass(kind, theirs.ConnectionError | theirs.TimeoutError)
    down = {"ClusterDownError", "MasterDownError", "TryAgainError"}
    rights = {"AuthenticationWrongNumberOfArgsError", "NoPermissionError"}
    expected = network or kind.__name__ in down | rights
    assert type(error) is (BackendUnavailable if expected else BackendError)
    assert str(URL) in str(error)


def test_no_row_of_the_map_hides_another() -> None:
    for row, (kinds, *_) in enumerate(ERRORS[:-1]):
        for kind in kinds:
            assert not any(issubclass(kind, earlier[0]) for earlier in ERRORS[:row]), kind
