"""What every store of user vectors promises, over all of ours."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from itemspace import Ids, Metric, VectorSet
from itemspace.core.errors import BackendExists, BackendNotFound, InvalidId, UnknownParameter
from itemspace.users.store import (
    UserStore,
    create_user_store,
    open_user_store,
    place_below,
    remove_user_store,
)

Place = Callable[[str], str]
STRINGS = [
    "anna",
    "",
    " ",
    "a:b",
    "a*",
    "[x]?\\",
    "Ærøskøbing",
    "用户",
    "🦊",
    "v:anna",
    "17",
    "a" * 255,
]
INTEGERS = [0, 17, -1, 2**63 - 1, -(2**63), 10**12]


def users(ids: list[str] | list[int], dim: int = 3, seed: int = 0) -> VectorSet:
    matrix = np.random.default_rng(seed).standard_normal((len(ids), dim))
    return VectorSet(Ids(ids), matrix.astype(np.float32), Metric.INNER_PRODUCT)


def everything(store: UserStore, batch_size: int = 10_000) -> dict[int | str, bytes]:
    pairs = [
        (name, vector.tobytes())
        for ids, matrix in store.scan(batch_size)
        for name, vector in zip(ids, matrix, strict=True)
    ]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def as_dict(vectors: VectorSet) -> dict[int | str, bytes]:
    return {name: v.tobytes() for name, v in zip(vectors.ids, vectors.matrix, strict=True)}


@pytest.fixture(params=["vectorset", "redis", "unix"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A URL for a name: the same for the same, with nothing there at first."""
    if request.param == "vectorset":
        return lambda name: f"vectorset:{tmp_path}/{name}"
    server, test = request.getfixturevalue("redis_server"), secrets.token_hex(6)
    write = server.tcp if request.param == "redis" else server.unix
    return lambda name: write(f"{test}:{name}")


@pytest.mark.parametrize("ids", [STRINGS, INTEGERS], ids=["str", "int"])
def test_what_was_stored_is_found_bit_for_bit(place: Place, ids: list[str] | list[int]) -> None:
    vectors = users(ids)
    created = create_user_store(place("a"), vectors)
    opened = open_user_store(place("a"))
    for store in (created, opened):
        assert (store.dim, store.metric, len(store)) == (3, Metric.INNER_PRODUCT, len(ids))
        assert store.id_kind == vectors.ids.kind
        found, matrix = store.vectors(vectors.ids)
        assert found.dtype == np.bool_ and found.all() and len(found) == len(ids)
        assert matrix.dtype == np.float32 and matrix.flags.c_contiguous
        assert matrix.tobytes() == vectors.matrix.tobytes()
        assert everything(store) == everything(store, 2) == as_dict(vectors)
        store.close()


def test_every_float_comes_back(place: Place) -> None:
    tiny, huge = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    matrix = np.array([[0.0, -0.0], [tiny, -tiny], [huge, -huge]], dtype=np.float32)
    store = create_user_store(place("a"), VectorSet(Ids([1, 2, 3]), matrix, Metric.EUCLIDEAN))
    assert store.vectors(Ids([1, 2, 3]))[1].tobytes() == matrix.tobytes()
    store.close()


def test_repeats_and_strangers_in_one_call(place: Place) -> None:
    vectors = users(["a", "b", "c"])
    store = create_user_store(place("a"), vectors)
    found, matrix = store.vectors(Ids(["c", "nobody", "a", "c", "", "b"]))
    assert found.tolist() == [True, False, True, True, False, True]
    assert np.array_equal(matrix, vectors.matrix[[2, 0, 2, 1]])
    matrix[:] = 0  # it is the caller's own
    assert np.array_equal(store.vectors(vectors.ids)[1], vectors.matrix)
    store.close()


def test_nobody_asked_for_and_nobody_found(place: Place) -> None:
    store = create_user_store(place("a"), users(["a"]))
    for asked in ([], ["x", "y"]):
        found, matrix = store.vectors(Ids(asked, "str"))
        assert found.tolist() == [False] * len(asked) and found.dtype == np.bool_
        assert matrix.shape == (0, 3) and matrix.dtype == np.float32
    assert store.vectors(Ids([], "int"))[0].shape == (0,)
    store.close()


def test_a_store_without_users(place: Place) -> None:
    vectors = VectorSet(Ids([], "str"), np.empty((0, 5), np.float32))
    create_user_store(place("a"), vectors).close()
    store = open_user_store(place("a"))
    assert (store.dim, store.id_kind, len(store)) == (5, "str", 0)
    assert everything(store) == {}
    found, matrix = store.vectors(Ids(["x"]))
    assert not found.any() and matrix.shape == (0, 5)
    assert store.vectors(Ids([1]))[0].tolist() == [False]
    store.close()


def test_ids_of_the_other_kind_are_refused(place: Place) -> None:
    store = create_user_store(place("a"), users(["17"]))
    with pytest.raises(InvalidId, match="of kind 'str', but 17 is of kind 'int'; use str ids"):
        store.vectors(Ids([17]))
    store.close()


def test_the_checksum_says_which_vectors_these_are(place: Place) -> None:
    first = create_user_store(place("a"), users(["a", "b"]))
    again = open_user_store(place("a"))
    same = create_user_store(place("b"), users(["a", "b"]))
    assert first.checksum == again.checksum == same.checksum
    differing = [
        users(["a", "b"], seed=1),
        users(["b", "a"]),
        users(["a", "c"]),
        users(["ab", ""]),
        VectorSet(Ids(["a", "b"]), users(["a", "b"]).matrix, Metric.COSINE),
    ]
    others = [create_user_store(place(f"c{at}"), v) for at, v in enumerate(differing)]
    assert len({first.checksum, *(other.checksum for other in others)}) == 1 + len(differing)
    for store in (first, again, same, *others):
        store.close()


def test_scan_gives_each_once_in_batches(place: Place) -> None:
    vectors = users(list(range(1, 2501)), dim=2)
    store = create_user_store(place("a"), vectors)
    for size in (1000, 2500, 7):
        sizes = [len(ids) for ids, _ in store.scan(size)]
        assert sum(sizes) == 2500 and set(sizes[:-1]) <= {size} and sizes[-1] <= size
    assert everything(store, 999) == as_dict(vectors)
    with pytest.raises(ValueError):
        next(store.scan(0))
    store.close()


def test_nothing_is_there_until_it_is_and_once_only(place: Place) -> None:
    with pytest.raises(BackendNotFound, match="No user vectors are stored at"):
        open_user_store(place("a"))
    remove_user_store(place("a"))
    create_user_store(place("a"), users(["a"])).close()
    with pytest.raises(BackendExists):
        create_user_store(place("a"), users(["b"]))
    store = open_user_store(place("a"))
    assert everything(store) == as_dict(users(["a"]))
    store.close()
    remove_user_store(place("a"))
    with pytest.raises(BackendNotFound):
        open_user_store(place("a"))
    create_user_store(place("a"), users([1, 2])).close()
    store = open_user_store(place("a"))
    assert everything(store) == as_dict(users([1, 2]))
    store.close()


def test_places_below_do_not_see_each_other(place: Place) -> None:
    one, two, within = (place_below(place("a"), name) for name in ("1", "2", "1-b"))
    for seed, url in enumerate((one, two, within)):
        create_user_store(url, users(["a", "b"], seed=seed)).close()
    remove_user_store(one)
    with pytest.raises(BackendNotFound):
        open_user_store(one)
    for seed, url in ((1, two), (2, within)):
        store = open_user_store(url.render())
        assert everything(store) == as_dict(users(["a", "b"], seed=seed))
        store.close()


def test_many_threads_read_at_once(place: Place) -> None:
    vectors = users([f"user {at}" for at in range(300)], dim=8)
    store = create_user_store(place("a"), vectors)

    def read(seed: int) -> bool:
        rows = np.random.default_rng(seed).integers(300, size=50)
        return np.array_equal(store.vectors(vectors.ids[rows])[1], vectors.matrix[rows])

    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(read, range(400)))
    store.close()


def test_closing_twice_does_nothing(place: Place) -> None:
    store = create_user_store(place("a"), users(["a"]))
    store.close()
    store.close()


def test_unknown_parameters_are_named(place: Place) -> None:
    url = place("a")
    url += "&colour=red" if "?" in url else "?colour=red"
    with pytest.raises(UnknownParameter, match="no parameter 'colour'"):
        open_user_store(url)
