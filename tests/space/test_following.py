"""Spaces that follow what is published, upserted and deleted, and pins that do not."""

import gc
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
from itemspace import Completeness, Ids, Metric, Space, UserSource, VectorSet
from itemspace.adapters import RetrieverURL
from itemspace.catalog import Catalog, changes, ensure
from itemspace.catalog.bookkeeping import change_table, version_table
from itemspace.catalog.engines import prepare_sqlite
from itemspace.catalog.versions import State, get_pointer, get_version, swap_live
from itemspace.core.errors import (
    ClosedError,
    CorruptData,
    DatabaseUnavailable,
    DimensionMismatch,
    DuplicateIds,
    InvalidId,
    InvalidOption,
    InvalidVectors,
    ItemspaceError,
    NothingPublished,
    ReadOnlyError,
    UnknownIds,
    VersionMismatch,
)
from itemspace.publishing import activate, collect, move, publish, rollback
from itemspace.space import following
from sqlalchemy import create_engine, func, select, update
from sqlalchemy.pool import StaticPool

#: Items with a vector, of 200 products.
N, DIM = 120, 8
ALL, REFRESH = 500, 0.05
#: Of tests of what no database has a part in.
ONE_DATABASE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
CHILD = """
import sys
from time import monotonic, sleep
from itemspace import Catalog, Space

with (
    Catalog(sys.argv[1], items="product", id_column="sku") as catalog,
    Space.open(catalog, refresh=0.05) as space,
):
    print("reading", flush=True)
    end = monotonic() + 30
    while space.revision < 2 and monotonic() < end:
        sleep(0.01)
    print([row.sku for row in space.similar_to("p3", k=1).execute()], "p4" in space.retriever)
    space.delete(["p5"])
"""


def vectors(seed: int = 1) -> VectorSet:
    """Of the products p0 to p119."""
    matrix = np.random.default_rng(seed).standard_normal((N, DIM)).astype(np.float32)
    return VectorSet(Ids([f"p{at}" for at in range(N)]), matrix, Metric.COSINE)


def users() -> VectorSet:
    """Of the users 0 to 4, of 20 who have events."""
    return VectorSet(Ids(range(5)), np.random.default_rng(9).standard_normal((5, DIM)))


def vector_of(name: str, seed: int = 1) -> np.ndarray:
    return vectors(seed).vectors([name])


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    until(lambda: not followers())


@pytest.fixture
def place(shop: Catalog, tmp_path: Path) -> str:
    """Where a first version is live, and others go."""
    publish(shop, vectors(), f"exact:{tmp_path}/v")
    return f"exact:{tmp_path}/v"


@pytest.fixture
def space(shop: Catalog, place: str) -> Iterator[Space]:
    with Space.open(shop, refresh=REFRESH) as opened:
        yield opened


def publish_elsewhere(shop: Catalog, given: VectorSet, place: str) -> None:
    """As another process does: nobody here is told."""
    staged = publish(shop, given, place, stage_only=True)
    swap_live(shop, staged, expected=get_pointer(shop, "items").live)


def until(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    end = monotonic() + seconds
    while not holds():
        assert monotonic() < end, "it never came"
        sleep(0.01)


def followers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("itemspace-")]


def names(space: Space, query: np.ndarray, k: int = ALL) -> list[str]:
    return [row.sku for row in space.near(query.ravel(), k=k).execute()]


def unread(shop: Catalog) -> None:
    """As when nobody has read for a while."""
    with shop.engine.begin() as connection:
        connection.execute(update(version_table).values(read_until=0))


def read_until(shop: Catalog, number: int) -> float:
    column = select(version_table.c.read_until).where(version_table.c.number == number)
    with shop.engine.connect() as connection:
        return float(connection.scalar(column) or 0)


# -- versions ------------------------------------------------------------------------------------


def test_what_is_published_is_seen(shop: Catalog, place: str, space: Space) -> None:
    lookup = space.similar_to("p3")
    with space.pin() as pinned, Space.open(shop, version=1, refresh=REFRESH) as named:
        before = list(map(tuple, lookup.execute()))
        space.delete(["p119"])
        revision = space.revision
        publish_elsewhere(shop, vectors(2), place)
        until(lambda: space.version == 2)
        found = space.similar_to("p3").execute()
        assert (found.version, found.revision) == (2, revision) == (space.version, space.revision)
        assert list(map(tuple, found)) != before
        for one, other in ((pinned, 0), (named, revision)):
            rows = one.similar_to("p3").execute()
            assert (rows.version, rows.revision) == (1, other) == (one.version, one.revision)
        assert list(map(tuple, pinned.similar_to("p3").execute())) == before
        rows = lookup.execute()
        assert (rows.version, rows.revision, list(map(tuple, rows))) == (1, 0, before)
        assert "version 2, revision" in repr(space)


def test_what_the_process_itself_publishes_is_seen_at_once(shop: Catalog, place: str) -> None:
    with Space.open(shop, refresh=3600) as space, Space.open(shop, refresh=3600) as other:
        steps: list[tuple[Callable[[], Any], int]] = [
            (partial(publish, shop, vectors(2), place, stage_only=True), 1),
            (partial(activate, shop, 2), 2),
            (partial(rollback, shop), 1),
            (partial(move, shop, place), 3),
            (partial(publish, shop, vectors(3), place), 4),
        ]
        for step, expected in steps:
            step()
            for one in (space, other):
                assert one.version == one.similar_to("p3").execute().version == expected


def test_back_and_forth(shop: Catalog, place: str, space: Space) -> None:
    publish_elsewhere(shop, vectors(2), place)
    until(lambda: space.version == 2)
    swap_live(shop, get_version(shop, "items", 1), expected=2)
    until(lambda: space.version == 1)
    assert space.similar_to("p3").execute().version == 1


@ONE_DATABASE
def test_another_space_is_its_own(shop: Catalog, place: str, space: Space) -> None:
    publish(shop, vectors(2), place, space="other")
    with Space.open(shop, "other", refresh=REFRESH) as other:
        other.delete(["p3"])
        publish(shop, vectors(3), place, space="other")
        until(lambda: other.version == 2)
    assert (space.version, space.revision) == (1, 0)
    assert "p3" in space.retriever


def test_a_version_that_cannot_be_opened(
    shop: Catalog, place: str, space: Space, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the one before answers on, without what is deleted meanwhile."""
    with Space.open(shop, version=1, refresh=REFRESH) as named:
        staged = publish(shop, vectors(2), place, stage_only=True)
        shutil.rmtree(RetrieverURL.parse(staged.url).path)
        activate(shop, 2)
        until(lambda: "answers on" in caplog.text)
        assert space.similar_to("p3").execute().version == 1
        with pytest.raises(ItemspaceError):
            Space.open(shop)
        assert space.delete(["p4"]) == 1
        assert named.delete(["p5"]) == 1
        for one in (space, named):
            rows = one.near(vector_of("p4").ravel(), k=ALL).execute()
            assert (rows.version, rows.revision, len(rows)) == (1, 2, N - 2)
    publish(shop, vectors(3), place)
    until(lambda: space.version == 3)
    assert "p4" in space.retriever


def test_removed_versions_and_read_ones(shop: Catalog, place: str, space: Space) -> None:
    pinned = space.pin()
    publish(shop, vectors(2), place)
    until(lambda: space.version == 2)
    assert [one.removed for one in collect(shop, keep=0)] == [False]
    unread(shop)
    until(lambda: read_until(shop, 1) > 0)
    assert [one.removed for one in collect(shop, keep=0)] == [False]
    assert pinned.similar_to("p3").execute().version == 1
    pinned.close()
    with pytest.raises(ClosedError):
        pinned.similar_to("p3")
    gc.collect()
    unread(shop)
    assert [one.removed for one in collect(shop, keep=0)] == [True]
    assert get_version(shop, "items", 1).state is State.REMOVED
    with pytest.raises(NothingPublished, match="removed"):
        Space.open(shop, version=1)


@ONE_DATABASE
def test_a_pin_of_a_pin_keeps_the_version_as_well(shop: Catalog, place: str) -> None:
    outer = Space.open(shop, refresh=REFRESH).pin()
    inner = outer.pin()
    outer.close()
    publish(shop, vectors(2), place)
    gc.collect()
    unread(shop)
    until(lambda: read_until(shop, 1) > 0)
    assert inner.version == 1
    inner.close()
    until(lambda: not followers())


# -- changes -------------------------------------------------------------------------------------


def test_changes_are_seen_at_once_in_the_process(shop: Catalog, place: str) -> None:
    again = Catalog(shop.engine, items="product", id_column="sku")
    with (
        Space.open(shop, refresh=3600) as one,
        Space.open(shop, refresh=3600) as other,
        Space.open(again, version=1, refresh=3600) as named,
        one.pin() as pinned,
    ):
        following = (one, other, named)
        assert other.upsert(["p150"], vector_of("p3")) == 1
        for space in following:
            assert space.revision == 1
            assert names(space, vector_of("p3"), 2) == ["p150", "p3"]
        assert named.delete(["p3", "nobody"]) == 1
        for space in following:
            rows = space.near(vector_of("p3").ravel(), k=1).execute()
            assert ([row.sku for row in rows], rows.revision) == (["p150"], 2)
            assert len(space.retriever) == N
        assert one.delete(["p3"]) == 0
        assert one.upsert(["p3"], vector_of("p7")) == 4
        assert np.array_equal(other.retriever.vectors(["p3"]), vector_of("p7"))
        assert (pinned.revision, len(pinned.retriever)) == (0, N)
        with pytest.raises(ReadOnlyError, match="pinned"):
            pinned.upsert(["p150"], vector_of("p3"))
        with pytest.raises(ReadOnlyError, match="pinned"):
            pinned.delete(["p3"])
    with Space.open(shop) as late:
        assert (late.revision, len(late.retriever)) == (4, N + 1)


def test_changes_are_seen_in_another_process(shop: Catalog, space: Space) -> None:
    url = shop.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", CHILD, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "reading\n"
            space.upsert(["p150"], vector_of("p3"))
            space.delete(["p4"])
            assert child.stdout.readline() == "['p150'] False\n"
            until(lambda: "p5" not in space.retriever)
        finally:
            child.kill()


def test_deleted_items_are_nowhere(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(), f"exact:{tmp_path}/w", users=users())
    with Space.open(shop) as space:
        product = space.items.table
        events = {row.sku: row.score for row in space.popular(k=ALL).execute()}
        assert len(events) == 200
        quiet = [name for name, count in events.items() if count == 0]
        gone = {
            *names(space, vector_of("p3"), 3)[1:],
            *list(events)[:2],  # the most popular
            *quiet[:2],
            *[row.sku for row in space.for_user(1, k=2).execute()],
            *[row.sku for row in space.for_user(10, k=2).execute()],
        }
        cheap = product.c.price < 150
        assert space.delete(sorted(gone)) == len(gone & set(vectors().ids))
        query = vector_of("p3").ravel()
        lookups = {
            "similar_to": space.similar_to("p3", k=ALL),
            "near": space.near(query, k=ALL),
            "popular": space.popular(k=ALL),
            "published": space.for_user(1, k=ALL, exclude_seen=False),
            "recent": space.for_user(10, k=ALL, exclude_seen=False),
            "unknown": space.for_user(999, k=ALL),
        }
        for what, lookup in lookups.items():
            for statement in (
                select(product.c.sku),
                select(product.c.sku).where(cheap),
            ):
                found = [row.sku for row in lookup.execute(statement=statement)]
                assert len(found) > 50, what
                assert not gone & set(found), what
                rows = lookup.diverse(0.5).execute(statement=statement)
                assert not gone & {row.sku for row in rows}, what
        assert lookups["popular"].execute().completeness is Completeness.EXHAUSTED
        for where in (None, cheap):
            told = space.for_users([1, 10, 999], k=ALL, where=where, exclude_seen=False)
            assert [one.source for one in told] == [*UserSource]
            assert all(len(one) > 50 and not gone & set(one.ids.tolist()) for one in told)
        for call in ("similar('p3')", "for_user(1)", "for_user(10)", "for_user(999)", "near(:v)"):
            given = {"v": str(query.tolist())} if ":v" in call else {}
            table = call.replace(")", f", {ALL}) s")
            text = f"SELECT i.sku FROM {table} JOIN product i ON i.sku = s.item_id"
            alone = f"SELECT item_id AS sku FROM {table}"
            for written in (text, alone):
                found = [row.sku for row in space.sql(written, given)]
                assert len(found) > 50, written
                assert not gone & set(found), written
        for name in gone:
            with pytest.raises(UnknownIds, match="no vector in version 1"):
                space.similar_to(name)
        assert space.coverage().vectors == N - len(gone & set(vectors().ids))


def test_upserted_items_are_found_and_are_subjects(shop: Catalog, space: Space) -> None:
    space.upsert(["p150", "p151"], np.concatenate([vector_of("p3"), -vector_of("p3")]))
    assert [row.sku for row in space.similar_to("p3", k=1).execute()] == ["p150"]
    rows = space.similar_to("p150", k=ALL).execute()
    assert (rows[0].sku, rows[0].score) == ("p3", pytest.approx(1))
    assert (rows[-1].sku, rows[-1].score) == ("p151", pytest.approx(-1))
    assert len(rows) == N + 1
    blend = space.similar_to(["p150", "p3"], k=1, unlike=["p151"]).execute()
    assert blend[0].sku not in {"p150", "p151", "p3"}
    cheap = select(space.items.id).where(space.items.columns["price"] == 150)
    assert [row.sku for row in space.near(vector_of("p3")[0]).execute(statement=cheap)] == ["p150"]


@ONE_DATABASE
def test_an_item_whose_vector_was_replaced(space: Space) -> None:
    space.upsert(["p5"], vector_of("p3"))
    expected = names(space, vector_of("p3"), 10)[2:]
    found = [row.sku for row in space.similar_to("p5", k=9).execute()]
    assert found == ["p3", *expected]
    rows = space.near(vector_of("p5").ravel(), k=ALL).execute()
    scores = {row.sku: row.score for row in rows}
    assert len(scores) == len(rows) == N
    assert scores["p5"] == scores["p3"] < 0.99


def test_wrong_changes_change_nothing(shop: Catalog, space: Space) -> None:
    space.delete(["p119"])
    good = np.ones((1, DIM))
    wrong: list[tuple[Callable[[], Any], type[Exception]]] = [
        (partial(space.upsert, ["p3"], np.ones((1, DIM + 1))), DimensionMismatch),
        (partial(space.upsert, ["p3", "p3"], np.ones((2, DIM))), DuplicateIds),
        (partial(space.upsert, ["p3"], 0 * good), InvalidVectors),
        (partial(space.upsert, ["p3"], np.nan * good), InvalidVectors),
        (partial(space.upsert, ["p3"], np.inf * good), InvalidVectors),
        (partial(space.upsert, ["p3", "p4"], good), InvalidVectors),
        (partial(space.upsert, ["p3"], np.ones(DIM)), InvalidVectors),
        (partial(space.upsert, [3], good), InvalidId),
        (partial(space.upsert, [None], good), InvalidId),
        (partial(space.upsert, ["p" * 300], good), InvalidId),
        (partial(space.upsert, "p3", np.ones((2, DIM))), InvalidId),
        (partial(space.delete, [3]), InvalidId),
        (partial(space.delete, "p3"), InvalidId),
        (partial(space.delete, ["p3", "p3"]), DuplicateIds),
    ]
    for call, error in wrong:
        with pytest.raises(error):
            call()
    assert space.upsert([], np.empty((0, DIM))) == 1
    assert space.delete([]) == 0
    assert space.revision == get_pointer(shop, "items").revision == 1
    with shop.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(change_table)) == 1
    assert np.array_equal(space.retriever.vectors(["p3"]), vector_of("p3"))


def test_vectors_of_an_older_training_are_refused(shop: Catalog, place: str) -> None:
    publish(shop, vectors(2), place)
    with Space.open(shop, version=1) as writer, Space.open(shop) as live:
        with pytest.raises(VersionMismatch, match="is at version 2 by now"):
            writer.upsert(["p150"], vector_of("p3"))
        assert (writer.revision, live.revision, get_pointer(shop, "items").revision) == (0, 0, 0)
        assert writer.delete(["p3"]) == 1
        assert "p3" not in live.retriever
        assert live.upsert(["p150"], vector_of("p3", 2)) == 2
        assert "p150" not in writer.retriever


@pytest.mark.parametrize("way", ["drop", "fold", "move"])
def test_what_becomes_of_changes(
    shop: Catalog, place: str, space: Space, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Those before publishing began, and those that came while vectors were loaded."""
    from itemspace.publishing import staging

    space.delete(["p3"])
    space.upsert(["p150", "p5"], np.concatenate([vector_of("p3"), vector_of("p7")]))
    check = staging.check_items

    def meanwhile(*arguments: Any) -> None:
        check(*arguments)
        space.delete(["p4"])
        space.upsert(["p151"], vector_of("p4"))

    with monkeypatch.context() as patch:
        patch.setattr(staging, "check_items", meanwhile)
        if way == "move":
            version = move(shop, place)
        else:
            version = publish(shop, vectors(), place, changes=way)  # type: ignore[arg-type]
    assert version.item_count == (N if way == "drop" else N - 1 + 1)
    until(lambda: space.version == 2)
    with Space.open(shop) as fresh:
        for one in (space, fresh):
            there = {name for name in ("p3", "p4", "p150", "p151") if name in one.retriever}
            assert there == ({"p3"} if way == "drop" else {"p150", "p151"})
            stored = one.retriever.vectors(["p5"])
            assert np.array_equal(stored, vector_of("p5" if way == "drop" else "p7"))
            rows = one.near(vector_of("p4").ravel(), k=1).execute()
            assert (rows[0].sku == "p151") is (way != "drop")
            assert rows.revision == 4


def test_back_to_an_older_training(shop: Catalog, place: str, space: Space) -> None:
    """What was upserted for it is back; what was deleted since stays deleted."""
    space.upsert(["p150"], vector_of("p3"))
    space.delete(["p3"])
    publish(shop, vectors(2), place)
    until(lambda: space.version == 2)
    assert ("p150" in space.retriever, "p3" in space.retriever) == (False, True)
    space.delete(["p4"])
    space.upsert(["p151"], vector_of("p7", 2))
    rollback(shop)
    until(lambda: space.version == 1)
    with Space.open(shop) as fresh:
        for one in (space, fresh):
            there = {name for name in ("p3", "p4", "p150", "p151") if name in one.retriever}
            assert there == {"p150"}
            assert names(one, vector_of("p3"), 1) == ["p150"]
            assert (len(one.retriever), one.revision) == (N - 1, 4)


def test_many_changes_at_once_are_seen_together(
    shop: Catalog, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_BYTES", 4 * DIM * 7)
    monkeypatch.setattr(changes, "_IDS", 9)
    some = [f"new {at}" for at in range(20)]
    assert space.upsert(some, vectors().matrix[:20]) == 3
    assert np.array_equal(space.retriever.vectors(some), vectors().matrix[:20])
    assert space.delete(some) == 20
    assert (space.revision, len(space.retriever)) == (6, N)


def test_changes_that_cannot_be_read(shop: Catalog, place: str, space: Space) -> None:
    space.delete(["p3"])
    with shop.engine.begin() as connection:
        connection.execute(update(change_table).values(ids="[oops"))
    with pytest.raises(CorruptData, match="change 1 of 'items'"):
        Space.open(shop)
    with pytest.raises(CorruptData, match="change 1 of 'items'"):
        move(shop, place)
    assert "p3" not in space.retriever
    publish(shop, vectors(2), place)
    until(lambda: space.version == 2)
    with Space.open(shop) as fresh:
        assert len(fresh.retriever) == N


# -- the thread ----------------------------------------------------------------------------------


def test_a_closed_space(shop: Catalog, place: str) -> None:
    space = Space.open(shop, refresh=REFRESH)
    lookup, user, pinned = space.similar_to("p3"), space.for_user(3), space.pin()
    expected = list(map(tuple, lookup.execute()))
    assert [one.name for one in followers()] == ["itemspace-items"]
    space.close()
    later: list[Callable[[], Any]] = [
        lambda: space.version,
        lambda: space.retriever,
        space.pin,
        space.coverage,
        partial(space.similar_to, "p3"),
        partial(space.near, np.ones(DIM)),
        partial(space.for_user, 3),
        partial(space.for_users, [3]),
        partial(space.popular),
        partial(space.sql, "SELECT item_id FROM similar('p3', 3) s"),
        partial(space.upsert, ["p3"], np.ones((1, DIM))),
        partial(space.delete, ["p3"]),
    ]
    for call in later:
        with pytest.raises(ClosedError, match="closed"):
            call()
    publish(shop, vectors(2), place)
    assert list(map(tuple, lookup.execute())) == expected
    assert list(map(tuple, pinned.similar_to("p3").execute())) == expected
    assert len(user.execute()) == 10
    unread(shop)
    until(lambda: read_until(shop, 1) > 0)  # what is held is kept
    space.close()
    pinned.close()
    pinned.close()
    assert followers()
    del lookup, user, later, call
    until(lambda: not followers())


@ONE_DATABASE
@pytest.mark.parametrize("refresh", [REFRESH, 3600])
def test_a_space_that_nobody_has_any_more(shop: Catalog, place: str, refresh: float) -> None:
    space = Space.open(shop, refresh=refresh)
    lookup = space.similar_to("p3")
    assert followers()
    del space
    assert len(lookup.execute()) == 10
    assert followers()
    del lookup
    until(lambda: not followers())


@ONE_DATABASE
@pytest.mark.parametrize("refresh", [0, -1, float("nan")])
def test_a_refresh_takes_time(shop: Catalog, place: str, refresh: float) -> None:
    with pytest.raises(InvalidOption, match="refresh"):
        Space.open(shop, refresh=refresh)


def test_a_database_that_goes_away(
    shop: Catalog,
    place: str,
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, and the version answers on; requests do not try by themselves."""
    who: list[str] = []

    def gone(*_: object) -> None:
        who.append(threading.current_thread().name)
        raise DatabaseUnavailable("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(following, "look", gone)
        patch.setattr(space._source._keeper, "patience", 0.7)
        publish_elsewhere(shop, vectors(2), place)
        end = monotonic() + 1.0
        until(lambda: len(who) > 2 and space.similar_to("p3").execute() and monotonic() > end)
        assert "the database is gone" in caplog.text
        assert "answers on" in caplog.text
        assert space.similar_to("p3").execute().version == 1
    assert set(who) == {"itemspace-items"}
    until(lambda: space.version == 2)


@ONE_DATABASE
def test_a_thread_that_is_not_heard_of(shop: Catalog, place: str) -> None:
    """A request looks for itself, such as after a machine slept."""
    with Space.open(shop, refresh=3600) as space:
        publish_elsewhere(shop, vectors(2), place)
        assert space.version == 1
        space._source._keeper.patience = 0.0  # type: ignore[attr-defined]
        assert space.version == 2


@ONE_DATABASE
def test_many_changes_are_advised_against_once(
    space: Space, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "MANY_CHANGES", 1)
    for name in ("p3", "p4", "p5"):
        space.delete([name])
    advice = [one for one in caplog.records if "publish again" in one.getMessage()]
    assert len(advice) == 1
    assert advice[0].levelno == logging.WARNING


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forked_children_follow(shop: Catalog, place: str, space: Space) -> None:
    context = get_context("fork")
    told, pinned = context.SimpleQueue(), space.pin()
    expected = [row.sku for row in space.similar_to("p3").execute()]

    def child(number: int) -> None:
        told.put([row.sku for row in space.similar_to("p3").execute()])
        until(lambda: space.version == 2)
        rows = space.similar_to("p3").execute()
        space.delete([f"p{number}"])
        told.put((rows.version, pinned.similar_to("p3").execute().version, len(followers())))

    children = [context.Process(target=child, args=[number]) for number in (50, 51)]
    for one in children:
        one.start()
    try:
        assert [told.get() for _ in children] == [expected] * 2
        publish(shop, vectors(2), place)
        until(lambda: space.version == 2)
        assert [told.get() for _ in children] == [(2, 1, 1)] * 2
        until(lambda: space.revision == 2)
        assert {"p50", "p51"}.isdisjoint(names(space, vector_of("p3")))
        for one in children:
            one.join(20)
            assert one.exitcode == 0
    finally:
        for one in children:
            one.kill()
            one.join()
    assert len(space.for_user(3).execute()) == 10
    space.delete(["p52"])
    assert "p52" not in space.retriever
    told.close()


@pytest.mark.parametrize("prepared", [True, False])
def test_a_database_in_memory_has_no_thread(tmp_path: Path, prepared: bool) -> None:
    """It has one connection, which is its only thread's."""
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    if prepared:
        prepare_sqlite(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE product (sku TEXT PRIMARY KEY, price REAL)")
        for at in range(N):
            connection.exec_driver_sql(f"INSERT INTO product VALUES ('p{at}', {at})")
    ensure(engine)
    shop = Catalog(engine, items="product", id_column="sku")
    publish(shop, vectors(), f"exact:{tmp_path}/v")
    with Space.open(shop, refresh=REFRESH) as space, Space.open(shop, refresh=REFRESH) as other:
        assert not followers()
        assert space.delete(["p3"]) == 1
        assert "p3" not in other.retriever
        publish_elsewhere(shop, vectors(2), f"exact:{tmp_path}/v")
        until(lambda: space.similar_to("p4").execute().version == 2)
        until(lambda: other.version == 2)
        assert "p3" in space.retriever
    engine.dispose()
