from datetime import UTC, date, datetime

import numpy as np
import pytest
from itemspace.catalog import Catalog
from itemspace.catalog.candidates import candidates, is_among
from itemspace.catalog.mapping import map_interactions, map_items
from itemspace.core.errors import EmptyInput, UnknownColumn, UnmappedTable
from sqlalchemy import (
    JSON,
    Column,
    Date,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
)

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


def test_what_cannot_be_mapped(things: Engine) -> None:
    with pytest.raises(UnmappedTable, match="no table 'nothing'"):
        map_items(things, "nothing", "code")
    with pytest.raises(UnmappedTable, match="no Table, ORM class or table name"):
        map_items(things, 42, "code")
    with pytest.raises(UnknownColumn, match="it has: code, number, extra"):
        map_items(things, THING, "sku")
    with pytest.raises(UnknownColumn, match="ids are texts or integers"):
        map_items(things, THING, "extra")
    with pytest.raises(UnknownColumn, match="'timestamp'"):
        map_interactions(things, VISIT, "who", "code", "timestamp", None)
    with pytest.raises(UnknownColumn, match="order_column"):
        map_interactions(things, VISIT, "who", "code", None, None)
    with pytest.raises(UnknownColumn, match="times are numbers, dates or timestamps"):
        map_interactions(things, VISIT, "who", "code", "code", None)


@pytest.mark.parametrize("time", ["happened", "day", None])
def test_a_log_is_read_with_dates_and_times(things: Engine, time: str | None) -> None:
    from itemspace.catalog import ensure

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
        assert catalog.recent_items(1, 5) == ["c2", "c1"]
    if time == "day":
        assert log.times is not None
        assert log.times.max() == datetime(2024, 5, 2, tzinfo=UTC).timestamp()
    if time is None:
        assert log.times is None
    with things.begin() as connection:
        connection.execute(VISIT.delete())
    with pytest.raises(EmptyInput, match="holds no events"):
        catalog.read_interactions()


@pytest.mark.parametrize("form", ["own", "values"])
def test_candidates_travel_into_sql(things: Engine, form: str) -> None:
    """Each database's own way, and the VALUES list that any other database gets."""
    if form == "values" and things.dialect.name == "sqlite":
        pytest.skip("SQLite takes no column names after VALUES, and has json_each")
    dialect = things.dialect.name if form == "own" else "other"
    ids, scores = ["c7", "c3", "odd ' \" id", "c5"], [0.9, 0.5, 0.4, -1.25]
    near = candidates(dialect, "near", "str", ids, scores)
    statement = select(THING.c.code, near.c.score, near.c.rank).join(
        near, near.c.item_id == THING.c.code
    )
    with things.connect() as connection:
        rows = connection.execute(statement.order_by(near.c.rank)).all()
        assert [tuple(row) for row in rows] == [("c7", 0.9, 1), ("c3", 0.5, 2), ("c5", -1.25, 4)]
        among = is_among(dialect, THING.c.code, "str", ids)
        found = connection.scalars(select(THING.c.code).where(among).order_by(THING.c.code))
        assert found.all() == ["c3", "c5", "c7"]
        numbers = is_among(dialect, THING.c.number, "int", np.arange(3).tolist())
        assert len(connection.scalars(select(THING.c.code).where(numbers)).all()) == 3
        empty = candidates(dialect, "near", "str", [], []) if form == "own" else None
        if empty is not None:
            assert connection.execute(select(empty)).all() == []
