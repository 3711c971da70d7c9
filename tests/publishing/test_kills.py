"""A publisher that is killed (SIGKILL) before and after each use of SQL and of files."""

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Ids, Metric, Space, VectorSet
from itemspace.catalog import Catalog
from itemspace.catalog.bookkeeping import space_table, version_table
from itemspace.catalog.versions import get_pointer, list_versions
from itemspace.publishing import collect, move, publish, rollback
from sqlalchemy import event, select, update

CONTEXT = get_context("fork")
#: What Python tells of files before it is done.
FILES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link"}
MAPPING = {
    "items": "product",
    "id_column": "sku",
    "interactions": "event",
    "user_column": "who",
    "item_column": "sku",
    "time_column": "at",
}


def vectors(seed: int) -> VectorSet:
    matrix = np.random.default_rng(seed).standard_normal((40, 4))
    return VectorSet(Ids([f"p{at}" for at in range(40)]), matrix, Metric.COSINE)


def users(seed: int) -> VectorSet:
    return VectorSet(Ids(range(20)), np.random.default_rng(seed).standard_normal((20, 4)))


def published(catalog: Catalog, place: str) -> None:
    publish(catalog, vectors(2), place, users=users(2))


def changed(catalog: Catalog, _place: str) -> None:
    with Space.open(catalog, refresh=3600) as space:
        space.upsert(["new"], np.ones((1, 4)))
        space.delete(["p1", "p2"])


def moved(catalog: Catalog, place: str) -> None:
    changed(catalog, place)
    move(catalog, place)


def rolled_back_and_collected(catalog: Catalog, place: str) -> None:
    published(catalog, place)
    rollback(catalog)
    publish(catalog, vectors(3), place)
    with catalog.engine.begin() as connection:
        connection.execute(update(version_table).values(read_until=0))
    collect(catalog, keep=0)


WORK: dict[str, Callable[[Catalog, str], None]] = {
    work.__name__: work for work in (published, changed, moved, rolled_back_and_collected)
}


def work_until(url: str, place: str, work: str, steps: int) -> None:
    """In a child: do it, and die by the signal at the step of that number."""
    left = [steps]

    def step(*_: Any, **__: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        if name in FILES and place.partition(":")[2] in str(arguments[0]):
            step()

    catalog = Catalog(url, **MAPPING)
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(catalog.engine, name, step)
    sys.addaudithook(audit)
    WORK[work](catalog, place)
    os._exit(0)


def is_killed(url: str, place: str, work: str, steps: int) -> bool:
    child = CONTEXT.Process(target=work_until, args=(url, place, work, steps))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def survives(catalog: Catalog, place: str, folder: Path) -> None:
    """The old version or the new one answers, the next publishing succeeds, nothing is left."""
    live = get_pointer(catalog, "items").live
    with Space.open(catalog) as space:
        rows = space.similar_to("p3").execute()
        assert (rows.version, len(rows)) == (live, 10)
        assert len(space.for_user(3).execute()) == 10
        names = {"p1", "p2", "new"} & {name for ids, _ in space.retriever.scan() for name in ids}
        assert names in ({"p1", "p2"}, {"p1", "p2", "new"}, {"new"})  # never one of two
    with catalog.engine.begin() as connection:
        connection.execute(update(version_table).values(read_until=0))
    found = publish(catalog, vectors(4), place, users=users(4))  # the killed one is not waited for
    collect(catalog, keep=0)
    kept = [one.number for one in list_versions(catalog, "items") if one.state == "ready"]
    assert kept == [found.number]
    assert {path.name[:10] for path in folder.iterdir()} == {f"items-{found.number:04d}"}
    with catalog.engine.connect() as connection:
        assert connection.scalar(select(space_table.c.publisher)) is None


def kill_everywhere(shop: Catalog, tmp_path: Path, work: str, stride: int) -> int:
    """Kill at every so-manieth step until it is done before that; returns how often."""
    url = shop.engine.url.render_as_string(hide_password=False)
    killed, steps = 0, 1
    while True:
        folder = tmp_path / f"{work}{steps}"
        place = f"lsh:{folder}"
        publish(shop, vectors(1), place, users=users(1))
        is_over = not is_killed(url, place, work, steps)
        survives(shop, place, folder)
        if is_over:
            return killed
        killed, steps = killed + 1, steps + stride


@pytest.mark.parametrize("work", WORK)
def test_killed_at_some_steps(shop: Catalog, tmp_path: Path, work: str) -> None:
    if shop.dialect != "sqlite":
        pytest.skip("every step, on each database, is in the slow tests")
    assert kill_everywhere(shop, tmp_path, work, 41) > 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("work", WORK)
def test_killed_at_every_step(shop: Catalog, tmp_path: Path, work: str) -> None:
    stride = 9 if shop.dialect == "mariadb" else 1
    killed = kill_everywhere(shop, tmp_path, work, stride)
    print(f"{shop.dialect}, {work}: killed at {killed} steps")
    assert killed * stride > 60
