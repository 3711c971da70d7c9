"""Readers while versions are published, rolled back and removed: each answer is of one version."""

import gc
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import numpy as np
import pytest
from itemspace import Ids, Metric, Space, UserSource, VectorSet
from itemspace.catalog import Catalog, leases, versions
from itemspace.publishing import activate, collect, publish, rollback
from itemspace.space import Lookup, Rows, following
from sqlalchemy import select

Answer = TypeVar("Answer")
N, USERS, DIM, K = 200, 20, 8, 10
#: Items that meet the condition.
CHEAP = 120
#: Of what is near it, the score's fraction is the version's.
QUERY = np.array([1, -1, 2, 0, 3, -2, 1, 1], np.float32)
BACKENDS = "lsh:{}/lsh", "faiss:{}/faiss?factory=Flat"
#: Versions are kept for so long after they were last read, seconds.
KEPT = 4.0
#: When a reader gives up, seconds.
PATIENCE = 240.0
READER = "import sys; sys.path.insert(0, sys.argv[1]); import test_under_load as t; t.read_alone()"


def marked(number: int, names: Iterable[Any], seed: int) -> VectorSet:
    """Small whole numbers, and the version's mark last: float32 has their products exactly."""
    rng = np.random.default_rng([number, seed])
    ids = Ids(rng.permutation(np.array(names)).tolist())
    matrix = rng.integers(-3, 4, (len(ids), DIM)).astype(np.float32)
    matrix[:, -1] = number / 32
    return VectorSet(ids, matrix, Metric.INNER_PRODUCT)


@cache
def items(number: int) -> VectorSet:
    return marked(number, [f"p{at}" for at in range(N)], 0)


@cache
def users(number: int) -> VectorSet:
    return marked(number, range(USERS), 1)


def is_of(number: int, query: np.ndarray, ids: Any, scores: Any) -> bool:
    """Whether scores are those of one version."""
    return bool(np.array_equal(items(number).vectors(ids) @ query, scores))


class Reader:
    """Asks again and again until it sees the last version, and notes what is wrong."""

    def __init__(self, space: Space, last: int, seed: int) -> None:
        self._space, self._last, self._seed = space, last, seed
        self.versions: set[int] = set()
        self.wrong: list[str] = []
        self.times: list[tuple[float, float]] = []

    def run(self, stop: threading.Event) -> None:
        rng = np.random.default_rng(self._seed)
        end = monotonic() + PATIENCE
        while self._last not in self.versions and not stop.is_set() and monotonic() < end:
            some = rng.choice(USERS, 3, replace=False).tolist()
            questions: list[tuple[Callable[[Any, bool], None], Any]] = [
                (self._similar_to, f"p{rng.integers(N)}"),
                (self._for_user, some[0]),
                (self._near, QUERY),
                (self._for_users, some),
            ]
            for is_cheap in (False, True):
                for ask, subject in questions:
                    try:
                        ask(subject, is_cheap)
                    except Exception as error:
                        self.wrong.append(f"failed: {error!r}")

    def told(self) -> dict[str, Any]:
        return {"versions": sorted(self.versions), "wrong": self.wrong, "times": self.times}

    def _similar_to(self, item: str, is_cheap: bool) -> None:
        rows = self._rows(lambda space: space.similar_to(item, K), is_cheap)
        self._check_rows(rows, items(rows.version).vectors([item])[0], is_cheap)

    def _for_user(self, user: int, is_cheap: bool) -> None:
        rows = self._rows(lambda space: space.for_user(user, K), is_cheap)
        assert rows.source is UserSource.PUBLISHED
        self._check_rows(rows, users(rows.version).vectors([user])[0], is_cheap)

    def _near(self, query: np.ndarray, is_cheap: bool) -> None:
        self._check_rows(self._rows(lambda space: space.near(query, K), is_cheap), query, is_cheap)

    def _for_users(self, some: list[int], is_cheap: bool) -> None:
        """They do not say which version answered: one did, for all of them."""
        where = self._space.items.columns["price"] < CHEAP if is_cheap else None
        found = self._timed(lambda: self._space.for_users(some, K, where=where))
        for one in found:
            self._check_items(one.ids.tolist(), is_cheap)
        of = [
            number
            for number in range(1, self._last + 1)
            if all(
                is_of(number, users(number).vectors([one.user])[0], one.ids.tolist(), one.scores)
                for one in found
            )
        ]
        self.versions.update(of)
        if len(of) != 1:
            self.wrong.append(f"mixed: for_users, of {of}")

    def _rows(self, ask: Callable[[Space], Lookup], is_cheap: bool) -> Rows:
        product = self._space.items.table

        def execute() -> Rows:
            lookup = ask(self._space)
            statement = select(product.c.sku, lookup.score)
            if is_cheap:
                statement = statement.where(product.c.price < CHEAP)
            return lookup.execute(statement=statement)

        return self._timed(execute)

    def _check_rows(self, rows: Rows, query: np.ndarray, is_cheap: bool) -> None:
        ids = [row.sku for row in rows]
        self.versions.add(rows.version)
        self._check_items(ids, is_cheap)
        if not is_of(rows.version, query, ids, [row.score for row in rows]):
            self.wrong.append(f"mixed: {rows!r}")

    def _check_items(self, ids: list[str], is_cheap: bool) -> None:
        fit = {name for name in ids if int(name[1:]) < (CHEAP if is_cheap else N)}
        if not len(ids) == len(fit) == K:
            self.wrong.append(f"torn: {ids}")

    def _timed(self, ask: Callable[[], Answer]) -> Answer:
        started = monotonic()
        answer = ask()
        self.times.append((started, monotonic() - started))
        return answer


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    end = monotonic() + seconds
    while not holds():
        assert monotonic() < end
        sleep(0.01)


def keep_briefly(change: Callable[[Any, str, float], None]) -> None:
    """Let versions be removed while the test runs."""
    for module in (versions, leases):
        change(module, "READING_SECONDS", KEPT)
    change(following, "_RENEWED", KEPT * 2 / 3)


def read_alone() -> None:
    """What a process of its own does; its counts are the last line that it prints."""
    keep_briefly(setattr)
    url, last, seed = sys.argv[2:]
    catalog = Catalog(
        url,
        items="product",
        id_column="sku",
        interactions="event",
        user_column="who",
        item_column="sku",
        time_column="at",
    )
    with catalog, Space.open(catalog, refresh=0.05) as space:
        reader = Reader(space, int(last), int(seed))
        print("reading", flush=True)
        reader.run(threading.Event())
        print(json.dumps(reader.told()))


def publish_marked(shop: Catalog, folder: Path, number: int) -> None:
    to = BACKENDS[number % 2].format(folder)
    assert publish(shop, items(number), to, users=users(number)).number == number


def switch(shop: Catalog, folder: Path, last: int) -> int:
    """Publish all but the first; in between go back and forth; returns how many were removed."""
    removed = 0
    for number in range(2, last + 1):
        publish_marked(shop, folder, number)
        if number % 4 == 2 and number < last:
            back = rollback(shop).number
            assert back == number - 1
            activate(shop, number)
        removed += sum(one.removed for one in collect(shop, keep=1))
    return removed


def report(told: list[dict[str, Any]], started: float) -> str:
    """Requests, and how long those took that began before the first switch, and after."""
    times = np.array([pair for one in told for pair in one["times"]])
    rest, busy = (times[times[:, 0] < started, 1], times[times[:, 0] >= started, 1])
    (p50, p99), during = 1000 * np.quantile(rest, [0.5, 0.99]), 1000 * np.quantile(busy, 0.99)
    return (
        f"{len(times):,} requests; at rest p50 {p50:.1f} ms, p99 {p99:.1f} ms; during switches "
        f"p99 {during:.1f} ms, longest {1000 * busy.max():.0f} ms"
    )


def check_under_load(
    shop: Catalog, folder: Path, last: int, threads: int, processes: int, rest: float
) -> int:
    publish_marked(shop, folder, 1)
    url, here = shop.engine.url.render_as_string(hide_password=False), str(Path(__file__).parent)
    stop, children = threading.Event(), []
    with Space.open(shop, refresh=0.05) as space:
        readers = [Reader(space, last, seed) for seed in range(threads)]
        running = [threading.Thread(target=one.run, args=[stop]) for one in readers]
        try:
            for seed in range(threads, threads + processes):
                command = [sys.executable, "-c", READER, here, url, str(last), str(seed)]
                children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            for child in children:
                assert child.stdout is not None
                assert child.stdout.readline() == "reading\n"
            for thread in running:
                thread.start()
            sleep(rest)
            started = monotonic()
            removed = switch(shop, folder, last)
            seconds = monotonic() - started
            alone = [json.loads(child.communicate(timeout=60)[0]) for child in children]
            for thread in running:
                thread.join(60)
        finally:
            stop.set()
            for thread in running:
                if thread.ident is not None:
                    thread.join()
            for child in children:
                child.kill()
                child.communicate()
    together = [one.told() for one in readers]
    print(f"\n{shop.dialect}: {last} versions in {seconds:.1f} s, {removed} removed")
    print(f"threads: {report(together, started)}\nprocesses: {report(alone, started)}")
    for one in (*together, *alone):
        assert one["wrong"] == []
        assert len(one["versions"]) > 1
        assert one["versions"][-1] == last
    return removed


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_version_is_closed_with_its_last_request(shop: Catalog, tmp_path: Path) -> None:
    """Not when cycles are collected: until then nobody could remove it."""
    publish_marked(shop, tmp_path, 1)
    with Space.open(shop, refresh=0.05) as space:
        gc.disable()
        try:
            first = weakref.ref(space._now.opened)
            for lookup in (space.similar_to("p1"), space.for_user(1), space.popular()):
                assert len(lookup.execute()) == K
            space.for_users([1, 2])
            publish_marked(shop, tmp_path, 2)
            assert first() is not None  # the last lookup is still there
            del lookup
            wait_until(lambda: space.version == 2 and first() is None)
        finally:
            gc.enable()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_no_answer_is_of_two_versions(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_briefly(monkeypatch.setattr)
    check_under_load(shop, tmp_path, last=3, threads=2, processes=1, rest=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_no_answer_of_many_readers_is_of_two_versions(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_briefly(monkeypatch.setattr)
    assert check_under_load(shop, tmp_path, last=20, threads=8, processes=2, rest=5.0) > 0
