from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Completeness, Ids, Metric, Seen, Space, UserSource, VectorSet
from itemspace.catalog import Catalog
from itemspace.catalog.user_events import recent_items, seen_items, user_pages
from itemspace.core.errors import (
    DimensionMismatch,
    DuplicateIds,
    InvalidId,
    InvalidOption,
    InvalidVectors,
    UnknownColumn,
    UnmappedTable,
    VersionMismatch,
)
from itemspace.core.histories import Recent
from itemspace.publishing import publish
from sqlalchemy import Column, Date, DateTime, Integer, MetaData, Table, event, insert, select

ITEMS = [f"p{at}" for at in range(190)] + [f"ghost{at}" for at in range(5)]
Open = Callable[..., Space]


def items(metric: Metric = Metric.COSINE, **lineage: Any) -> VectorSet:
    matrix = np.random.default_rng(0).standard_normal((195, 8))
    return VectorSet(Ids(ITEMS), matrix, metric, lineage)


def users(metric: Metric = Metric.COSINE, **lineage: Any) -> VectorSet:
    """Of the users 0 to 9, and of 50, who has no events."""
    matrix = np.random.default_rng(1).standard_normal((11, 8))
    return VectorSet(Ids([*range(10), 50]), matrix, metric, lineage)


@pytest.fixture
def opened(shop: Catalog, tmp_path: Path) -> Iterator[Open]:
    spaces: list[Space] = []

    def make(vectors: VectorSet | None = None, users: VectorSet | None = None) -> Space:
        vectors = items() if vectors is None else vectors
        publish(shop, vectors, f"exact:{tmp_path}/published", users=users)
        spaces.append(Space.open(shop))
        return spaces[-1]

    yield make
    for space in spaces:
        space.close()


def seen_by(shop: Catalog, user: int, seen: Seen | None = None) -> set[str]:
    return set(seen_items(shop, [user], seen or Seen()).get(user, ()))


def expected(space: Space, vector: Any, k: int, excluded: set[str]) -> list[str]:
    """Ids by brute force over what has a row."""
    found = space.retriever.search(vector, 500, excluded=sorted(excluded))[0].ids.tolist()
    return [name for name in found if name.startswith("p")][:k]


@pytest.mark.parametrize("metric", list(Metric))
def test_near_the_mean_without_what_was_seen(shop: Catalog, opened: Open, metric: Metric) -> None:
    space = opened(items(metric))
    user = 3
    seen = seen_by(shop, user)
    recent = [i for i in recent_items(shop, [user], 5)[user] if i in space.retriever]
    mean = Recent(5).mean(space.retriever.vectors(recent), metric)
    rows = space.for_user(user, 10, recent=5).execute()
    assert [row.sku for row in rows] == expected(space, mean, 10, seen)
    assert rows.source is UserSource.RECENT
    assert "recent" in repr(rows)
    everything = space.for_user(user, 500, recent=5, exclude_seen=False).execute()
    assert len(everything) == 190
    assert everything.completeness is Completeness.EXHAUSTED


def test_published_vectors_go_first(shop: Catalog, opened: Open) -> None:
    space = opened(users=users())
    vector = users().vectors([3])[0]
    rows = space.for_user(3, 7).execute()
    assert [row.sku for row in rows] == expected(space, vector, 7, seen_by(shop, 3))
    assert (rows.source, rows.completeness) == (UserSource.PUBLISHED, Completeness.FULL)
    assert space.for_user(50, 3).execute().source is UserSource.PUBLISHED
    assert space.for_user(15, 3).execute().source is UserSource.RECENT
    product = space.items.table
    cheap = select(product.c.sku).where(product.c.price < 60)
    rows = space.for_user(3, 7).execute(statement=cheap)
    near = [i for i in expected(space, vector, 500, seen_by(shop, 3)) if int(i[1:]) < 60]
    assert [row.sku for row in rows] == near[:7]


def popular(shop: Catalog, excluded: set[str] = frozenset()) -> list[tuple[str, int]]:  # type: ignore[assignment]
    log = shop.read_interactions()
    counts = Counter({f"p{at}": 0 for at in range(200)})
    counts.update(str(log.items[int(code)]) for code in log.item_codes)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [(name, count) for name, count in ranked if name not in excluded]


def test_users_of_whom_nothing_is_known_get_what_is_popular(shop: Catalog, opened: Open) -> None:
    space = opened(users=users())
    for k in (5, 150, 500):
        rows = space.for_user(99, k).execute()
        assert rows.source is UserSource.POPULAR
        assert [(row.sku, row.score) for row in rows] == popular(shop)[:k]
        full = Completeness.FULL if k < 200 else Completeness.EXHAUSTED
        assert rows.completeness is full
    product = space.items.table
    shoes = select(product.c.sku).where(product.c.kind == "shoes")
    rows = space.for_user(99, 6).execute(statement=shoes)
    assert [row.sku for row in rows] == [n for n, _ in popular(shop) if int(n[1:]) % 4 == 0][:6]
    assert [(row.sku, row.score) for row in space.popular(4).execute()] == popular(shop)[:4]
    best = popular(shop)[0][0]
    assert best not in {row.sku for row in space.popular(4, excluded=[best]).execute()}


def test_a_user_whose_items_have_no_vectors_is_cold(shop: Catalog, opened: Open) -> None:
    space = opened(VectorSet(Ids(["ghost", "p0"]), np.eye(2)))
    user = next(u for u in range(20) if "p0" not in seen_by(shop, u))
    rows = space.for_user(user, 3).execute()
    assert rows.source is UserSource.POPULAR
    assert [row.sku for row in rows] == [n for n, _ in popular(shop, seen_by(shop, user))][:3]


def test_what_counts_as_seen(shop: Catalog, opened: Open) -> None:
    space = opened()
    everything = seen_by(shop, 3)
    late = seen_by(shop, 3, Seen(since=400))
    assert late < everything
    found = {r.sku for r in space.for_user(3, 500, exclude_seen=Seen(since=400)).execute()}
    assert not late & found
    assert (everything - late) & found
    assert seen_by(shop, 3, Seen(since=datetime.fromtimestamp(400, UTC))) == late
    assert seen_by(shop, 3, Seen(since=timedelta(days=1))) == set()
    with pytest.raises(UnknownColumn, match="kind_column"):
        space.for_user(3, exclude_seen=Seen(kinds=["purchase"])).execute()
    with pytest.raises(InvalidOption, match=r"\('purchase',\)"):
        Seen(kinds="purchase")


@pytest.mark.parametrize("kind", [DateTime(), DateTime(timezone=True), Date()])
def test_kinds_and_times_of_events(shop: Catalog, kind: Any) -> None:
    table = Table("visit", MetaData(), Column("who", Integer), Column("sku", Integer))
    table.append_column(Column("at", kind))
    table.append_column(Column("what", Integer))
    with shop.engine.begin() as connection:
        table.create(connection)
        for day in range(1, 5):
            at = datetime(2026, 5, day, 12, tzinfo=UTC) if kind.python_type is not date else None
            at = at or date(2026, 5, day)  # type: ignore[assignment]
            row = {"who": 1, "sku": day, "at": at, "what": day % 2}
            connection.execute(insert(table).values(row))
    log = Catalog(
        shop.engine, items="product", id_column="sku", interactions=table, user_column="who",
        item_column="sku", time_column="at", kind_column="what",
    )  # fmt: skip
    third = datetime(2026, 5, 3)
    assert seen_items(log, [1], Seen(since=third)) == {1: [3, 4]}
    assert seen_items(log, [1], Seen(since=third.replace(tzinfo=UTC).timestamp())) == {1: [3, 4]}
    assert seen_items(log, [1], Seen(kinds=[1])) == {1: [1, 3]}
    assert seen_items(log, [1], Seen(kinds=[1], since=third)) == {1: [3]}
    assert seen_items(log, [1], Seen(kinds=[])) == {}
    assert recent_items(log, [1, 2], 2) == {1: [4, 3]}


def test_newest_first_each_once(shop: Catalog) -> None:
    found = recent_items(shop, [3, 99, 4], 1000)
    assert list(found) == [3, 4]
    last = found[3]
    assert len(last) == len(set(last))
    assert set(last) == seen_by(shop, 3)
    log = shop.read_interactions()
    assert log.times is not None
    latest: dict[str, float] = {}
    for row in np.flatnonzero(log.user_codes == log.users.to_list().index(3)):
        name = str(log.items[int(log.item_codes[row])])
        latest[name] = max(latest.get(name, 0), log.times[row])
    stamps = [latest[item] for item in last]
    assert stamps == sorted(stamps, reverse=True)
    assert recent_items(shop, [3], 3)[3] == last[:3]
    with pytest.raises(InvalidId):
        recent_items(shop, ["3"], 3)


def test_pages_of_users(shop: Catalog) -> None:
    assert list(user_pages(shop, 8)) == [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    assert list(user_pages(shop, 8, after=11)) == [list(range(12, 20))]


def test_the_usual_recent_items_are_those_of_the_build(opened: Open) -> None:
    assert opened().recent == Recent(10)
    space = opened(items(recent={"count": 50, "decay": 0.6}))
    assert space.recent == Recent(50, 0.6)
    as_usual = space.for_user(3).execute()
    named = space.for_user(3, recent=50, decay=0.6).execute()
    assert [row.sku for row in as_usual] == [row.sku for row in named]


@pytest.mark.parametrize("text", [None, "price < 100", "price < 0", "price = 7"])
@pytest.mark.parametrize("k", [3, 150])
def test_a_batch_equals_single_ones(shop: Catalog, opened: Open, text: str | None, k: int) -> None:
    from itemspace.catalog import parse_condition

    space = opened(users=users())
    some = [3, 99, 50, 15, 100, 4]
    columns = space.items.columns
    condition = None if text is None else parse_condition(text, columns)
    variants: list[dict[str, Any]] = [
        {},
        {"exclude_seen": False},
        {"exclude_seen": Seen(since=400)},
        {"diversity": 0.5},
        {"at_most": (1, columns["stock"])},
        {"at_most": (2, columns["kind"]), "diversity": 0.2},
    ]
    for options in variants:
        found = space.for_users(some, k, where=condition, **options)
        assert [one.user for one in found] == some
        for user, one in zip(some, found, strict=True):
            chosen = {name: v for name, v in options.items() if name == "exclude_seen"}
            near = space.for_user(user, k, **chosen)
            if "diversity" in options:
                near = near.diverse(options["diversity"])
            if "at_most" in options:
                near = near.at_most(*options["at_most"])
            statement = select(columns["sku"], near.score)
            if condition is not None:
                statement = statement.where(condition)
            rows = near.execute(statement=statement)
            assert [row.sku for row in rows] == one.ids.tolist(), (user, options)
            assert [row.score for row in rows] == one.scores.tolist()
            assert (rows.source, rows.completeness) == (one.source, one.completeness)


def test_few_statements_and_nothing_twice(shop: Catalog, opened: Open) -> None:
    space = opened(users=users())
    space.for_users([99], 2)  # counts the events
    sent: list[str] = []
    event.listen(
        shop.engine,
        "before_cursor_execute",
        lambda *arguments: sent.append(arguments[2]) if arguments[2] != "BEGIN" else None,
    )
    space.for_users(list(range(60)), 5)
    assert len(sent) <= 4  # recent items, what was seen, rows; again where some have none
    for user, most in ((3, 2), (15, 3), (99, 3)):  # what was seen, recent items, rows
        sent.clear()
        rows = space.for_user(user, 1).execute()
        assert len(sent) == rows.plan.statements <= most + 1  # the nearest may have no row
    with pytest.raises(DuplicateIds, match="users"):
        space.for_users([1, 1])
    assert space.for_users([]) == []


def test_at_most_so_many_of_a_value(opened: Open) -> None:
    space = opened()
    columns = space.items.columns
    near = space.similar_to("p3", 20)
    plain = near.execute()
    capped = near.at_most(2, columns["kind"]).execute()
    kinds = Counter(row.kind for row in capped)
    assert all(count <= 2 for kind, count in kinds.items() if kind is not None)
    assert len(capped) == 20  # those of no kind are not counted
    assert capped.completeness is Completeness.FULL
    every = [row.sku for row in space.similar_to("p3", 500).execute()]
    used: Counter[Any] = Counter()
    kind_of = {row.sku: row.kind for row in space.similar_to("p3", 500).execute()}
    wanted = []
    for name in every:
        if kind_of[name] is None or used[kind_of[name]] < 2:
            used[kind_of[name]] += 1
            wanted.append(name)
    assert [row.sku for row in capped] == wanted[:20]
    assert [row.sku for row in plain] != wanted[:20]
    rare = near.at_most(1, columns["stock"]).execute()
    assert len(rare) == 3
    assert rare.completeness is Completeness.EXHAUSTED
    with pytest.raises(InvalidOption, match="at least 1"):
        near.at_most(0, columns["kind"])


def test_diverse_answers_are_less_alike(opened: Open) -> None:
    space = opened()
    near = space.similar_to("p3", 10)

    def likeness(names: list[str]) -> float:
        vectors = space.retriever.vectors(names)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return float((units @ units.T)[np.triu_indices(len(names), 1)].max())

    answers = [[row.sku for row in near.diverse(share).execute()] for share in (0.0, 0.3, 0.7, 1.0)]
    assert answers[0] == [row.sku for row in near.execute()]
    alike = [likeness(names) for names in answers]
    assert alike == sorted(alike, reverse=True)
    assert alike[0] > alike[-1]
    assert all(names[0] == answers[0][0] for names in answers[:3])
    assert all(len(set(names)) == 10 for names in answers)
    with pytest.raises(InvalidOption, match="from 0 to 1"):
        near.diverse(1.5)


def test_vectors_that_do_not_belong_together(shop: Catalog, tmp_path: Path) -> None:
    to = f"exact:{tmp_path}/published"
    narrow = VectorSet(Ids([1]), np.ones((1, 5)))
    zero = VectorSet(Ids([7, 8]), np.eye(2, 8) * [[1], [0]])
    for bad, error in (
        (narrow, DimensionMismatch),
        (zero, InvalidVectors),
        (users(Metric.EUCLIDEAN), InvalidVectors),
        (users(training="b"), VersionMismatch),
    ):
        with pytest.raises(error):
            publish(shop, items(training="a"), to, users=bad)
    assert not (tmp_path / "published").exists()
    publish(shop, items(training="a"), to, users=users(training="a"))


def test_users_of_another_version_are_refused(shop: Catalog, tmp_path: Path) -> None:
    import shutil

    to = f"exact:{tmp_path}/published"
    first = publish(shop, items(), to, users=users())
    changed = VectorSet(users().ids, users().matrix + 1)
    second = publish(shop, items(), to, users=changed)
    assert first.users is not None and second.users is not None
    old, new = (Path(v.users.url.removeprefix("vectorset://")) for v in (first, second))  # type: ignore[union-attr]
    shutil.rmtree(new)
    shutil.copytree(old, new)
    with pytest.raises(VersionMismatch, match="not those that were published with version 2"):
        Space.open(shop)
    Space.open(shop, version=1).close()


def test_a_shop_without_a_log(shop: Catalog, opened: Open) -> None:
    opened(users=users())
    bare = Catalog(shop.engine, items="product", id_column="sku", interactions="none")
    with Space.open(bare) as space:
        with pytest.raises(UnmappedTable, match="none"):
            space.for_user(3).execute()
        assert len(space.for_user(3, exclude_seen=False).execute()) == 10


def test_bad_input(opened: Open) -> None:
    space = opened(users=users())
    with pytest.raises(InvalidOption, match="recent items"):
        space.for_user(3, recent=0)
    with pytest.raises(InvalidId):
        space.for_user("3").execute()
    with pytest.raises(InvalidId):
        space.for_users(["3"])
