"""Staging, activating, rolling back, comparing and collecting versions; one publisher at a time."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Ids, Metric, Space, VectorSet, create_retriever
from itemspace.adapters import RetrieverURL
from itemspace.catalog import Catalog, leases
from itemspace.catalog.bookkeeping import change_table, space_table, version_table
from itemspace.catalog.versions import State, get_pointer, get_version, list_versions
from itemspace.core.errors import (
    BackendUnavailable,
    CanaryFailed,
    DatabaseUnavailable,
    InvalidOption,
    NothingPublished,
    PublishConflict,
    UnknownSpace,
    VersionMismatch,
)
from itemspace.publishing import activate, collect, diff, move, publish, rollback
from itemspace.publishing import loading as loading_module
from itemspace.publishing.lease import Publisher
from sqlalchemy import func, select, update

N = 60


def vectors(seed: int = 0, n: int = N, dim: int = 8) -> VectorSet:
    matrix = np.random.default_rng(seed).standard_normal((n, dim))
    return VectorSet(Ids([f"p{at}" for at in range(n)]), matrix, Metric.COSINE)


def users(seed: int = 0) -> VectorSet:
    return VectorSet(Ids(range(20)), np.random.default_rng(seed).standard_normal((20, 8)))


def folders(path: Path) -> list[str]:
    return sorted(folder.name[:10] for folder in path.iterdir()) if path.exists() else []


def unread(shop: Catalog) -> None:
    """As when nobody has read for a while."""
    with shop.engine.begin() as connection:
        connection.execute(update(version_table).values(read_until=0))


def test_staged_then_live_then_rolled_back(shop: Catalog, tmp_path: Path) -> None:
    place = f"lsh:{tmp_path}/v"
    first = publish(shop, vectors(1), place)
    staged = publish(shop, vectors(2), place, stage_only=True)
    assert (first.number, staged.number, get_pointer(shop, "items").live) == (1, 2, 1)
    assert (staged.state, staged.activated_at) == (State.READY, None)
    with Space.open(shop) as live, Space.open(shop, version=2) as other:
        assert (live.version, other.version) == (1, 2)
    assert activate(shop, 2).activated_at is not None
    third = publish(shop, vectors(3), place)
    assert rollback(shop).number == 2
    assert rollback(shop).number == 1
    with pytest.raises(NothingPublished, match="no earlier version than 1"):
        rollback(shop)
    assert activate(shop, 3).number == third.number
    for wrong in (lambda: activate(shop, 9), lambda: activate(shop, 3, space="x")):
        with pytest.raises((NothingPublished, UnknownSpace)):
            wrong()


def test_a_staged_version_is_not_rolled_back_to(shop: Catalog, tmp_path: Path) -> None:
    place = f"exact:{tmp_path}/v"
    publish(shop, vectors(1), place)
    publish(shop, vectors(2), place, stage_only=True)
    publish(shop, vectors(3), place)
    assert rollback(shop).number == 1


def test_what_was_measured(shop: Catalog, tmp_path: Path) -> None:
    first = publish(shop, vectors(1), f"lsh:{tmp_path}/v")
    assert (first.measures["recall"], first.measures["overlap"]) == (1.0, None)
    assert first.measures["bytes"] > N * 8 * 4
    assert set(first.measures["seconds"]) == {"load", "verify", "measure"}
    same = publish(shop, vectors(1), f"lsh:{tmp_path}/v")
    assert same.measures["overlap"] == 1.0
    other = publish(shop, vectors(2), f"lsh:{tmp_path}/v")
    assert other.measures["overlap"] < 0.5


def test_a_canary_stops_what_is_worse(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(1), f"exact:{tmp_path}/v")
    poor = vectors(1, 3000)
    with pytest.raises(CanaryFailed, match=r"Version 2 .* recall .* at least 0.9"):
        publish(shop, poor, f"faiss:{tmp_path}/v?factory=LSH4&rerank=0", min_recall=0.9)
    with pytest.raises(CanaryFailed, match="overlap"):
        publish(shop, vectors(2), f"exact:{tmp_path}/v", min_overlap=0.9)
    assert get_pointer(shop, "items").live == 1
    assert [one.state for one in list_versions(shop, "items")] == [State.READY] * 3
    assert activate(shop, 2).number == 2
    for name in ("min_recall", "min_overlap"):
        for share in (-0.1, 1.1, float("nan")):
            with pytest.raises(InvalidOption, match=name):
                publish(shop, poor, f"exact:{tmp_path}/v", **{name: share})


def test_a_live_version_that_is_broken_does_not_stop_the_next(
    shop: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = publish(shop, vectors(1), f"exact:{tmp_path}/v")
    shutil.rmtree(RetrieverURL.parse(first.url).path)
    assert publish(shop, vectors(2), f"exact:{tmp_path}/v").measures["overlap"] is None
    assert "cannot be compared" in caplog.text


def test_differences(shop: Catalog, tmp_path: Path) -> None:
    one = vectors(1)
    matrix = np.array(one.matrix)
    matrix[[3, 17]] = -matrix[[3, 17]]
    publish(shop, one, f"exact:{tmp_path}/v")
    names = Ids([*one.ids.to_list()[:-1], "new"])
    publish(shop, VectorSet(names, matrix, Metric.COSINE), f"exact:{tmp_path}/v")
    found = diff(shop, 1, 2, sample=None)
    assert (found.added, found.removed, found.common, found.compared) == (1, 1, N - 1, N - 1)
    assert sorted(found.ids[:2]) == ["p17", "p3"]
    assert (np.diff(found.overlaps) >= 0).all()
    assert 0.5 < found.mean < 1
    assert diff(shop, 1, 1).mean == 1
    assert diff(shop, 1, 2, sample=5).compared == 5
    for wrong in ({"k": 0}, {"sample": 0}):
        with pytest.raises(InvalidOption):
            diff(shop, 1, 2, **wrong)
    with pytest.raises(NothingPublished):
        diff(shop, 1, 3)


def test_collecting(shop: Catalog, tmp_path: Path) -> None:
    place, path = f"lsh:{tmp_path}/v", tmp_path / "v"
    for seed in range(4):
        publish(shop, vectors(seed), place, users=users(seed))
    publish(shop, vectors(4), place, stage_only=True)
    shop_space = Space.open(shop, version=1)
    dry = collect(shop, keep=1, dry_run=True)
    assert [(one.version.number, one.why, one.removed) for one in dry] == [
        (1, "old", False),
        (2, "old", False),
    ]
    unread(shop)
    with shop_space as reading:
        reading._source.look()  # type: ignore[attr-defined]  # which renews it
        found = collect(shop, keep=1)
        assert [(one.version.number, one.removed) for one in found] == [(1, False), (2, True)]
        assert len(reading.similar_to("p3").execute()) == 10
    assert [get_version(shop, "items", number).state for number in (1, 2, 3, 4, 5)] == [
        State.READY,
        State.REMOVED,
        State.READY,
        State.READY,
        State.READY,
    ]
    assert len(folders(path)) == 8 - 1
    unread(shop)
    assert [one.version.number for one in collect(shop, keep=0)] == [1, 3]
    with pytest.raises(NothingPublished, match="removed"):
        Space.open(shop, version=1)
    with pytest.raises(PublishConflict, match="not ready"):
        activate(shop, 3)
    with pytest.raises(NothingPublished):
        rollback(shop)
    assert collect(shop, keep=0) == []
    with pytest.raises(InvalidOption, match="keep"):
        collect(shop, keep=-1)


def test_users_that_two_versions_share_stay(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(1), f"lsh:{tmp_path}/v", users=users())
    move(shop, f"exact:{tmp_path}/w")
    unread(shop)
    assert [one.removed for one in collect(shop, keep=0)] == [True]
    with Space.open(shop) as space:
        assert space.for_user(3).execute().source == "published"
    assert folders(tmp_path / "v") == ["items-0001"]


def test_changes_go_when_no_version_needs_them(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(1), f"exact:{tmp_path}/v")
    with Space.open(shop) as space:
        space.delete(["p1"])
        space.upsert(["new"], np.ones((1, 8)))
        move(shop, f"exact:{tmp_path}/v")
        space.delete(["p2"])
    unread(shop)
    count = select(func.count()).select_from(change_table)
    with shop.engine.connect() as connection:
        assert connection.scalar(count) == 3
    collect(shop, keep=0)
    with shop.engine.connect() as connection:
        assert connection.scalar(count) == 1
    with Space.open(shop) as space:
        assert len(space.retriever) == N - 2 + 1


def test_folding_is_for_vectors_of_the_same_training(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(1), f"exact:{tmp_path}/v")
    with Space.open(shop) as space:
        space.delete(["p1"])
    with pytest.raises(VersionMismatch, match="another training"):
        publish(shop, vectors(1, dim=4), f"exact:{tmp_path}/v", changes="fold")
    with pytest.raises(InvalidOption, match="'drop' or 'fold'"):
        publish(shop, vectors(1), f"exact:{tmp_path}/v", changes="keep")  # type: ignore[arg-type]
    found = publish(shop, vectors(1), f"exact:{tmp_path}/v", changes="fold")
    assert (found.item_count, found.training) == (N - 1, 1)


# -- one publisher -------------------------------------------------------------------------------


def test_a_second_publisher_is_refused_or_waits(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(1), f"exact:{tmp_path}/v")
    with Publisher(shop, "items"):
        with pytest.raises(PublishConflict, match=f"Process {os.getpid()} on "):
            publish(shop, vectors(2), f"exact:{tmp_path}/v")
        with pytest.raises(PublishConflict, match="Process"):
            collect(shop)
        publish(shop, vectors(2), f"exact:{tmp_path}/w", space="other")
        start = time.monotonic()
        with pytest.raises(PublishConflict):
            publish(shop, vectors(2), f"exact:{tmp_path}/v", wait=0.7)
        assert time.monotonic() - start > 0.7
    publish(shop, vectors(2), f"exact:{tmp_path}/v")
    with pytest.raises(InvalidOption, match="wait"):
        publish(shop, vectors(2), f"exact:{tmp_path}/v", wait=-1)


@pytest.mark.parametrize("holder", ["elsewhere:1:ab", f"{leases.new_holder().split(':')[0]}:1:ab"])
def test_a_publisher_that_is_not_heard_of_runs_out(
    shop: Catalog, tmp_path: Path, holder: str
) -> None:
    publish(shop, vectors(1), f"exact:{tmp_path}/v")
    with shop.engine.begin() as connection:
        left = leases.database_clock() + 20
        row = update(space_table).values(publisher=holder, publisher_until=left)
        connection.execute(row)
    with pytest.raises(PublishConflict, match="heard of 10 s ago"):
        publish(shop, vectors(2), f"exact:{tmp_path}/v")
    with shop.engine.begin() as connection:
        connection.execute(update(space_table).values(publisher_until=leases.database_clock() - 1))
    publish(shop, vectors(2), f"exact:{tmp_path}/v")


def test_who_lost_the_space_does_not_go_live(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another publisher took over while this one slept."""
    publish(shop, vectors(1), f"exact:{tmp_path}/v")
    check = loading_module.check_items

    def overtaken(*arguments: Any) -> None:
        check(*arguments)
        with shop.engine.begin() as connection:
            connection.execute(update(space_table).values(publisher="elsewhere:1:ab"))

    monkeypatch.setattr("itemspace.publishing.staging.check_items", overtaken)
    with pytest.raises(PublishConflict, match="took over"):
        publish(shop, vectors(2), f"exact:{tmp_path}/v")
    assert get_pointer(shop, "items").live == 1
    assert get_version(shop, "items", 2).state is State.READY


def test_a_version_that_was_taken_for_a_leftover(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shop, vectors(1), f"exact:{tmp_path}/v")
    check = loading_module.check_items

    def collected(*arguments: Any) -> None:
        check(*arguments)
        with shop.engine.begin() as connection:
            connection.execute(update(space_table).values(publisher=None))
        assert [one.why for one in collect(shop, keep=5)] == ["left behind"]

    monkeypatch.setattr("itemspace.publishing.staging.check_items", collected)
    with pytest.raises(PublishConflict, match="no longer loading"):
        publish(shop, vectors(2), f"exact:{tmp_path}/v")
    assert get_pointer(shop, "items").live == 1
    assert folders(tmp_path / "v") == ["items-0001"]


# -- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["check_items", "load_users", "_measured", "finish_version"])
def test_what_fails_is_undone(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    publish(shop, vectors(1), f"lsh:{tmp_path}/v", users=users())

    def fails(*_: object, **__: object) -> None:
        raise BackendUnavailable("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(BackendUnavailable, match="full"):
        patch.setattr(f"itemspace.publishing.staging.{where}", fails)
        publish(shop, vectors(2), f"lsh:{tmp_path}/v", users=users(2))
    assert len(folders(tmp_path / "v")) == 2
    assert [one.number for one in list_versions(shop, "items")] == [1]
    assert publish(shop, vectors(2), f"lsh:{tmp_path}/v", users=users(2)).number == 2


def test_a_folder_that_cannot_be_written(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(1), f"lsh:{tmp_path}/v")
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendUnavailable):
        publish(shop, vectors(2), f"lsh:{tmp_path}/file/v")
    assert get_pointer(shop, "items").live == 1
    assert [one.number for one in list_versions(shop, "items")] == [1]


@pytest.mark.parametrize("step", range(1, 12))
def test_a_database_that_goes_away_between_two_steps(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """At each use of it in turn: the old version serves on, and the next publishing succeeds."""
    publish(shop, vectors(1), f"lsh:{tmp_path}/v")
    left = [step]

    def counted(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def use(engine: Any) -> Any:
            left[0] -= 1
            if left[0] <= 0:
                raise DatabaseUnavailable("gone")
            return original(engine)

        return use

    from itemspace.catalog import versions

    with monkeypatch.context() as patch:
        for module in (versions, leases):
            for name in ("reading", "writing"):
                patch.setattr(module, name, counted(getattr(module, name)))
        try:
            found = publish(shop, vectors(2), f"lsh:{tmp_path}/v").number
        except DatabaseUnavailable:
            found = None
    live = get_pointer(shop, "items").live
    assert live == 2 if found else live in (1, 2)  # the last step is to look at what is live
    with Space.open(shop) as space:
        assert len(space.similar_to("p3").execute()) == 10
    with shop.engine.begin() as connection:  # the right to publish runs out by itself
        connection.execute(update(space_table).values(publisher_until=0))
    last = publish(shop, vectors(3), f"lsh:{tmp_path}/v")
    unread(shop)
    collect(shop, keep=0)
    assert folders(tmp_path / "v") == [f"items-{last.number:04d}"]


def test_clocks_that_jump(shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this machine: what holds is the database's, and time that only goes forward."""
    with monkeypatch.context() as patch:
        for jump in (0.0, 4e9):
            patch.setattr(time, "time", lambda jump=jump: jump)
            publish(shop, vectors(1), f"lsh:{tmp_path}/v")
            with Space.open(shop, refresh=0.05) as space:
                assert len(space.similar_to("p3").execute()) == 10
            collect(shop, keep=0)
    assert len(folders(tmp_path / "v")) == 2  # both are read until a minute from now


# -- taking up again -----------------------------------------------------------------------------


def test_a_killed_publishing_goes_on(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the vectors are there; the rest is loaded, into the same place."""
    given = vectors(1)

    class Killed(BaseException):
        pass

    def dies(*_: object, **__: object) -> None:
        raise Killed

    place = f"sqlite-vec:{tmp_path}/v.db"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("itemspace.publishing.staging.load_items", dies)
        publish(shop, given, place)
    (left,) = list_versions(shop, "items")
    assert left.state is State.LOADING
    half = VectorSet(given.ids[:30], given.matrix[:30], Metric.COSINE)
    create_retriever(left.url, half).close()
    told: list[tuple[int, int, str]] = []
    found = publish(shop, given, place, resume=True, progress=lambda *facts: told.append(facts))
    assert (found.number, found.url, get_pointer(shop, "items").live) == (1, left.url, 1)
    assert (N, N, "loading") in told
    assert (N, N, "verifying") in told
    other = publish(shop, given, place, resume=True)  # nothing was left
    assert other.number == 2


def test_other_vectors_do_not_take_up_what_was_left(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("itemspace.publishing.staging.check_items", dies)
        publish(shop, vectors(1), f"lsh:{tmp_path}/v")
    assert publish(shop, vectors(1, n=50), f"lsh:{tmp_path}/v", resume=True).number == 2
    assert publish(shop, vectors(1), f"exact:{tmp_path}/v", resume=True).number == 3
    assert [one.why for one in collect(shop, dry_run=True, keep=5)] == ["left behind"]
    assert [one.removed for one in collect(shop, keep=5)] == [True]
    assert folders(tmp_path / "v") == ["items-0002", "items-0003"]


def test_users_who_were_not_there_before_come_with_the_rest(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("itemspace.publishing.staging.check_items", dies)
        publish(shop, vectors(1), f"lsh:{tmp_path}/v")
    found = publish(shop, vectors(1), f"lsh:{tmp_path}/v", users=users(), resume=True)
    assert found.number == 1
    assert found.users is not None
    assert found.users.count == 20
    with Space.open(shop) as space:
        assert space.for_user(3).execute().source == "published"
