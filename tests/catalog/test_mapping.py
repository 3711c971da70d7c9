from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from itemspace import Completeness, Metric, VectorSet
from itemspace.catalog import Catalog, ensure
from itemspace.catalog.candidates import candidates, is_among
from itemspace.catalog.mapping import map_interactions, map_items
from itemspace.catalog.user_events import (
    Seen,
    count_events,
    count_users,
    recent_items,
    seen_items,
    user_pages,
)
from itemspace.core.errors import EmptyInput, InvalidOption, UnknownColumn, UnmappedTable
from itemspace.core.ids import Ids
from itemspace.publishing import publish
from itemspace.space import Space
from sqlalchemy import (
    JSON,
    Column,
    Date,
    DateTime,
    Engine,
    Float,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    cast,
    collate,
    func,
    insert,
    literal,
    select,
    text,
    union_all,
)
from sqlalchemy.orm import Session

META = MetaData()
THING = Table(
    "thing",
    META,
    Column("code", String(20), primary_key=True),
    Column("number", Integer),
    Column("extra", JSON),
)
VISIT = Table(
    "visit",
    META,
    Column("who", Integer),
    Column("code", String(20)),
    Column("happened", DateTime),
    Column("day", Date),
)

ACT = Table(
    "act",
    META,
    Column("at", Integer),
    Column("action", String(20)),
    Column("number", Integer),
    Column("price", Numeric(8, 2)),
    Column("stayed", Float),
)


@pytest.fixture
def things(engine: Engine) -> Engine:
    META.create_all(engine)
    moment, later = datetime(2024, 5, 1, 12), datetime(2024, 5, 1, 14)
    with engine.begin() as connection:
        connection.execute(insert(THING), [{"code": f"c{at}", "number": at} for at in range(50)])
        connection.execute(
            insert(VISIT),
            [
                {
                    "who": 1,
                    "code": "c2",
                    "happened": later,
                    "day": date(2024, 5, 2),
                },
                {"who": 1, "code": "c1", "happened": moment, "day": date(2024, 5, 1)},
                {"who": 2, "code": "c1", "happened": moment, "day": None},
                {"who": None, "code": "c9", "happened": moment, "day": date(2024, 5, 1)},
            ],
        )
    return engine


def test_tables_are_mapped_by_name_or_object(things: Engine) -> None:
    for source in (THING, "thing"):
        mapped = map_items(things, source, "code")
        assert (mapped.id.name, mapped.id_kind) == ("code", "str")
        assert list(mapped.columns) == ["code", "number", "extra"]
    assert map_items(things, THING, "number").id_kind == "int"
    if things.dialect.name == "postgresql":
        assert map_items(things, "public.thing", "code").id_kind == "str"


def test_ids_that_a_column_would_merge(engine: Engine) -> None:
    """Refused, and mapped through a SELECT that says how they compare."""
    kinds = {
        "sqlite": ("VARCHAR(20) COLLATE NOCASE", "BINARY", "'a' and 'A'"),
        "postgresql": ("CHAR(20)", "C", "with blanks added"),
        "mariadb": ("VARCHAR(20) COLLATE utf8mb4_general_ci", "utf8mb4_bin", "'a' and 'A'"),
    }
    kind, exact, reason = kinds[engine.dialect.name]
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE good (sku {kind} PRIMARY KEY, n INTEGER)"))
        connection.execute(text("INSERT INTO good VALUES ('x1', 7)"))
    with pytest.raises(UnknownColumn, match=f"sku cannot hold ids: its .*{reason}"):
        map_items(engine, "good", "sku")
    good = Table("good", MetaData(), autoload_with=engine)
    ids = collate(cast(good.c.sku, String(20)), exact).label("sku")
    mapped = map_items(engine, select(ids, good.c.n).subquery(), "sku")
    with engine.connect() as connection:
        assert connection.execute(select(mapped.id)).scalars().all() == ["x1"]
        among = is_among(engine.dialect.name, mapped.id, "str", ["X1", "x1"])
        assert connection.execute(select(mapped.id).where(among)).scalars().all() == ["x1"]


def test_what_cannot_be_mapped(things: Engine) -> None:
    with pytest.raises(UnmappedTable, match="no table 'nothing'"):
        map_items(things, "nothing", "code")
    with pytest.raises(UnmappedTable, match="no Table, ORM class, SELECT or table name"):
        map_items(things, 42, "code")
    with pytest.raises(UnknownColumn, match="it has: code, number, extra"):
        map_items(things, THING, "sku")
    with pytest.raises(UnknownColumn, match="ids are texts or integers"):
        map_items(things, THING, "extra")
    with pytest.raises(UnknownColumn, match="'timestamp'"):
        map_interactions(things, VISIT, "who", "code", "timestamp", None)
    with pytest.raises(UnknownColumn, match="order_column"):
        map_interactions(things, VISIT, "who", "code", None, None)
    for expected, columns in (
        ("times are numbers, dates or timestamps", {"time_column": "code"}),
        ("events are ordered by numbers", {"order_column": "code"}),
        ("kinds of events are texts or integers", {"kind_column": "day"}),
        ("values of events are numbers", {"value_column": "day"}),
        ("dwell times are numbers of seconds", {"dwell_column": "code"}),
        ("no column 'action'; it has: who, code, happened, day", {"kind_column": "action"}),
    ):
        chosen = {"time_column": "happened", "order_column": None} | columns
        with pytest.raises(UnknownColumn, match=expected):
            map_interactions(things, VISIT, "who", "code", **chosen)


@pytest.mark.parametrize("time", ["happened", "day", None])
def test_a_log_is_read_with_dates_and_times(things: Engine, time: str | None) -> None:
    ensure(things)
    catalog = Catalog(
        things,
        items=THING,
        id_column="code",
        interactions=VISIT,
        user_column="who",
        item_column="code",
        time_column=time,
        order_column="happened",
    )
    log = catalog.read_interactions()
    assert log.users.to_list() == [1, 2]
    assert log.items.to_list() == ["c1", "c2"]
    assert len(log) == 3
    if time == "happened":
        assert log.times is not None
        assert log.times.max() == datetime(2024, 5, 1, 14, tzinfo=UTC).timestamp()
        assert recent_items(catalog, [1], 5) == {1: ["c2", "c1"]}
    if time == "day":
        assert log.times is not None
        assert log.times.max() == datetime(2024, 5, 2, tzinfo=UTC).timestamp()
    if time is None:
        assert log.times is None
    with things.begin() as connection:
        connection.execute(VISIT.delete())
    with pytest.raises(EmptyInput, match="holds no events"):
        catalog.read_interactions()


@pytest.mark.parametrize("kinds", ["action", "number"])
def test_a_log_says_more_of_an_event(engine: Engine, kinds: str) -> None:
    """NULL is unknown; all columns are put in order."""
    catalog = acts(engine, kind_column=kinds)
    with engine.begin() as connection:
        connection.execute(
            insert(ACT),
            [
                {"at": 3, "action": "view", "number": 4, "price": Decimal("1.25"), "stayed": 0},
                {"at": 1, "action": "buy", "number": -7, "price": None, "stayed": 2.5},
                {"at": 2, "action": None, "number": None, "price": Decimal(3), "stayed": None},
            ],
        )
    log = catalog.read_interactions()
    assert log.times is not None and log.kind_codes is not None
    assert log.times.tolist() == [1, 2, 3]
    assert log.kinds == Ids(["buy", "view"] if kinds == "action" else [-7, 4])
    assert log.kind_codes.tolist() == [0, -1, 1]
    assert log.kind_codes.dtype == np.int32
    np.testing.assert_array_equal(log.values, [np.nan, 3, 1.25])
    np.testing.assert_array_equal(log.dwell, [2.5, np.nan, 0])

    with engine.begin() as connection:
        connection.execute(ACT.update().values(action=None, number=None, stayed=-1))
    with pytest.raises(InvalidOption, match=r"^act.stayed: .* received -1") as caught:
        catalog.read_interactions()
    assert caught.value.option == "dwell_column"
    unknown = acts(engine, kind_column=kinds, dwell_column=None).read_interactions()
    assert unknown.kind_codes is not None
    assert unknown.kind_codes.tolist() == [-1, -1, -1]
    assert unknown.dwell is None


def acts(engine: Engine, **columns: str | None) -> Catalog:
    """The catalog over ACT, which is made if it is not there."""
    META.create_all(engine)
    ensure(engine)
    mapped = {
        "user_column": "at",
        "item_column": "at",
        "time_column": "at",
        "order_column": "at",
        "value_column": "price",
        "dwell_column": "stayed",
    }
    return Catalog(engine, interactions=ACT, **(mapped | columns))


@pytest.mark.parametrize("form", ["own", "values"])
def test_candidates_travel_into_sql(things: Engine, form: str) -> None:
    """Each database's own way, and the VALUES list that any other database gets."""
    if form == "values" and things.dialect.name != "postgresql":
        pytest.skip("SQLite and MariaDB name the columns of VALUES in ways of their own")
    dialect = things.dialect.name if form == "own" else "other"
    ids, scores = ["c7", "c3", "odd ' \" id", "c5"], [0.9, 0.5, 0.4, -1.25]
    near, parameters = candidates(dialect, "near", "str", ids, scores)
    statement = select(THING.c.code, near.c.score, near.c.rank).join(
        near, near.c.item_id == THING.c.code
    )
    with things.connect() as connection:
        rows = connection.execute(statement.order_by(near.c.rank), parameters).all()
        assert [tuple(row) for row in rows] == [("c7", 0.9, 1), ("c3", 0.5, 2), ("c5", -1.25, 4)]
        among = is_among(dialect, THING.c.code, "str", ids)
        found = connection.scalars(select(THING.c.code).where(among).order_by(THING.c.code))
        assert found.all() == ["c3", "c5", "c7"]
        numbers = is_among(dialect, THING.c.number, "int", np.arange(3).tolist())
        assert len(connection.scalars(select(THING.c.code).where(numbers)).all()) == 3
        empty = candidates(dialect, "near", "str", [], []) if form == "own" else None
        if empty is not None:
            assert connection.execute(select(empty.cte), empty.parameters).all() == []


def selected(shop: Catalog) -> Catalog:
    """The same shop by SELECTs: dear products with their tags counted, and two logs as one."""
    product, event = shop.items.table, shop.interactions.table
    tag = Table("tag", MetaData(), autoload_with=shop.engine)
    tags = select(func.count()).where(tag.c.sku == product.c.sku).scalar_subquery()
    old, new = (
        select(
            event.c.who.label("user"), event.c.sku, event.c.at, literal(kind).label("action")
        ).where(condition)
        for kind, condition in (("old", event.c.at < 300), ("new", event.c.at >= 300))
    )
    return Catalog(
        shop.engine,
        items=select(product.c.sku, product.c.title, product.c.price, tags.label("tags")).where(
            product.c.price >= 20
        ),
        id_column="sku",
        interactions=union_all(old, new),
        user_column="user",
        item_column="sku",
        time_column="at",
        kind_column="action",
    )


def test_interactions_and_items_that_are_selects(shop: Catalog) -> None:
    catalog = selected(shop)
    plain, log = shop.read_interactions(), catalog.read_interactions()
    assert (log.users, log.items) == (plain.users, plain.items)
    assert log.kinds == Ids(["new", "old"])
    for name in ("times", "user_codes", "item_codes"):
        one, other = getattr(plain, name), getattr(log, name)
        assert sorted(one.tolist()) == sorted(other.tolist())
    assert recent_items(catalog, [1, 2], 5) == recent_items(shop, [1, 2], 5)
    assert recent_items(catalog, [1], 5) == recent_items(shop, [1], 5)
    assert count_users(catalog) == 20
    assert [user for page in user_pages(catalog, 7) for user in page] == list(range(20))
    for one, other in zip(count_events(catalog), count_events(shop), strict=True):
        assert list(one) == list(other)
    new = seen_items(catalog, [3], Seen(kinds=["new"], since=400))
    assert set(new[3]) == set(seen_items(shop, [3], Seen(since=400))[3])
    assert set(catalog.items.columns) == {"sku", "title", "price", "tags"}
    assert catalog.find_items("title", "Product 30") == ["p30"]
    assert catalog.find_items("title", "Product 3") == []
    assert list(catalog.readable) == []


def test_a_lookup_over_items_that_are_a_select(shop: Catalog, tmp_path: Path) -> None:
    catalog = selected(shop)
    names = [f"p{at}" for at in range(200)]
    matrix = np.random.default_rng(1).standard_normal((200, 8)).astype(np.float32)
    publish(shop, VectorSet(Ids(names), matrix, Metric.COSINE), f"exact:{tmp_path}/published")
    with Space.open(shop) as space:
        ranked = [row.sku for row in space.similar_to("p30", k=199).execute()]
    dear = [name for name in ranked if int(name[1:]) >= 20]
    even = [name for name in dear if not int(name[1:]) % 2]
    with Space.open(catalog) as space:
        near = space.similar_to("p30", k=10)
        rows = near.execute()
        assert [row.sku for row in rows] == dear[:10]
        assert [row.tags for row in rows] == [2 * (name in even) for name in dear[:10]]
        assert rows.keys == ("sku", "title", "price", "tags", "score")
        items = space.items
        statement = select(items.id, near.score).where(items.column("tags") > 0)
        with Session(shop.engine) as session:
            found = near.execute(session, statement)
        assert [row.sku for row in found] == even[:10]
        assert found.completeness is Completeness.FULL
        few = statement.where(items.column("price") < 25)
        assert near.execute(statement=few).completeness is Completeness.EXHAUSTED
        # The user's recent items, and what they have seen, come from the SELECT of the log.
        assert len(space.for_user(3, k=5).execute()) == 5


def test_what_a_select_lacks(shop: Catalog) -> None:
    event = shop.interactions.table
    log = {"user_column": "who", "item_column": "sku", "time_column": "at"}
    catalog = Catalog(shop.engine, interactions=select(event.c.who, event.c.at), **log)
    with pytest.raises(UnknownColumn, match="The SELECT has no column 'sku'; it has: who, at"):
        catalog.read_interactions()
    empty = Catalog(shop.engine, interactions=select(event).where(event.c.at < 0), **log)
    with pytest.raises(EmptyInput, match="The SELECT holds no events"):
        empty.read_interactions()
    untimed = Catalog(shop.engine, interactions=select(event), **(log | {"time_column": None}))
    with pytest.raises(UnknownColumn, match="column of the SELECT that holds the times"):
        untimed.read_interactions()
