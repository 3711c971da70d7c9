"""SQL text with table functions, its plans, and what it must never do."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Completeness, Ids, Metric, VectorSet
from itemspace.catalog import Catalog
from itemspace.catalog.guarded import guarded
from itemspace.core.errors import (
    InvalidCondition,
    InvalidId,
    InvalidOption,
    ItemspaceError,
    QueryTimeout,
    UnknownColumn,
    UnknownIds,
)
from itemspace.publishing import publish
from itemspace.space import Rows, Space
from sqlalchemy import Engine, create_engine, select, text

N = 200


def vectors() -> VectorSet:
    names = [f"p{at}" for at in range(N - 10)] + [f"ghost{at}" for at in range(5)]
    matrix = np.random.default_rng(1).standard_normal((len(names), 8)).astype(np.float32)
    return VectorSet(Ids(names), matrix, Metric.COSINE)


@pytest.fixture
def space(shop: Catalog, tmp_path: Path) -> Iterator[Space]:
    catalog = Catalog(
        shop.engine,
        items="product",
        id_column="sku",
        interactions="event",
        user_column="who",
        item_column="sku",
        time_column="at",
        tables=["tag"],
    )
    publish(catalog, vectors(), f"exact:{tmp_path}/published")
    with catalog, Space.open(catalog) as opened:
        yield opened


def records(rows: Rows) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("condition", ["price < 50", "kind = 'shoes'", "price = 7", "price < 0"])
def test_a_lookup_in_text_is_the_lookup(space: Space, condition: str) -> None:
    """The planner finds the k that match, however far down the neighbours they are."""
    product = space.items.table
    near = space.similar_to("p3", k=10)
    statement = select(product.c.sku, near.score).where(text(condition))
    expected = near.execute(statement=statement.order_by(near.score.desc()))
    shapes = [
        f"SELECT i.sku, s.score FROM similar('p3', 10) AS s JOIN product AS i ON i.sku = s.item_id "
        f"WHERE i.{condition} ORDER BY s.score DESC",
        f"SELECT i.sku, s.score FROM product i JOIN similar('p3') s ON s.item_id = i.sku "
        f"AND i.{condition} ORDER BY score DESC LIMIT 10",
        f"select sku, score from similar('p3') as s, product where sku = item_id and ({condition}) "
        "order by score desc limit 10",
    ]
    for shape in shapes:
        rows = space.sql(shape)
        assert [row[0] for row in rows] == [row[0] for row in expected]
        assert [row[1] for row in rows] == pytest.approx([row[1] for row in expected])
        assert rows.completeness is expected.completeness
        assert rows.plan.strategy in ("candidates", "matches")
        assert (rows.version, rows.plan.statements <= 4) == (1, True)


def test_joins_groups_and_parameters(space: Space) -> None:
    rows = space.sql(
        "SELECT t.name, count(*) AS n, max(s.score) AS best FROM similar(:item, 20) s "
        "JOIN product i ON i.sku = s.item_id JOIN tag t ON t.sku = i.sku "
        "WHERE i.price BETWEEN :low AND :high AND t.name <> 'it''s : \\x' "
        "GROUP BY t.name HAVING count(*) > 1 ORDER BY t.name",
        {"item": "p3", "low": 0, "high": 150.5},
    )
    assert [row[:2] for row in records(rows)] == [("even", 20), ("new", 20)]
    assert rows.completeness is Completeness.FULL
    left = space.sql(
        "SELECT DISTINCT i.sku FROM similar('p3', 5) s JOIN product i ON i.sku = s.item_id "
        "LEFT JOIN tag t ON t.sku = i.sku"
    )
    near = space.similar_to("p3", k=5).execute()
    assert {row.sku for row in left} == {row.sku for row in near}
    exists = space.sql(
        "SELECT i.sku FROM similar('p3', 5) s JOIN product i ON i.sku = s.item_id WHERE EXISTS "
        "(SELECT 1 FROM event e WHERE e.sku = i.sku) ORDER BY s.rank"
    )
    assert len(exists) == 5


def test_two_calls_and_ctes(space: Space) -> None:
    """Neighbours of two items at once: tables of the nearest, of which SQL makes what it wants."""
    rows = space.sql(
        "WITH one AS (SELECT item_id, score FROM similar('p3', 60) AS a) "
        "SELECT one.item_id, one.score + two.score AS both FROM one "
        "JOIN similar('p5', 60) AS two ON two.item_id = one.item_id ORDER BY 2 DESC"
    )
    first = {row.item_id for row in space.sql("SELECT * FROM similar('p3', 60) AS s")}
    second = {row.item_id for row in space.sql("SELECT * FROM similar('p5', 60) AS s")}
    assert {row.item_id for row in rows} == first & second
    assert rows.completeness is Completeness.UNKNOWN
    everything = space.sql("SELECT item_id FROM similar('p3', 1000) s UNION SELECT sku FROM tag")
    assert everything.completeness is Completeness.EXHAUSTED
    assert space.sql("SELECT count(*) FROM product").completeness is Completeness.EXHAUSTED


def test_conditions_on_the_score_are_those_of_a_table(space: Space) -> None:
    rows = space.sql(
        "SELECT i.sku, s.score FROM similar('p3', 20) s JOIN product i ON i.sku = s.item_id "
        "WHERE s.score > 0.5 AND i.price < 100"
    )
    assert rows.plan.strategy == "tables"
    assert rows.completeness is Completeness.UNKNOWN
    assert all(row.score > 0.5 for row in rows)


def test_users_and_vectors(space: Space) -> None:
    rows = space.sql(
        "SELECT s.item_id FROM for_user(3, 5) s JOIN product i ON i.sku = s.item_id "
        "ORDER BY s.score DESC"
    )
    expected = space.for_user(3, k=5).execute()
    assert [row.item_id for row in rows] == [row.sku for row in expected]
    vector = vectors().matrix[7].tolist()
    written = f"SELECT item_id FROM near('{json.dumps(vector)}', 1) AS s"
    assert records(space.sql(written)) == [("p7",)]
    given = space.sql("SELECT item_id FROM near(:vector, 1) AS s", {"vector": vector})
    assert records(given) == [("p7",)]


REFUSED = [
    "",
    "SELECT 1; SELECT 2",
    "SELECT sku FROM product; DROP TABLE product",
    "DELETE FROM product",
    "UPDATE product SET price = 0",
    "INSERT INTO product (sku) VALUES ('x')",
    "DROP TABLE product",
    "CREATE TABLE x AS SELECT * FROM product",
    "SELECT sku INTO x FROM product",
    "SELECT sku INTO OUTFILE '/tmp/x' FROM product",
    "SELECT sku FROM product FOR UPDATE",
    "ATTACH DATABASE '/tmp/x' AS x",
    "PRAGMA query_only=OFF",
    "SET ROLE postgres",
    "EXPLAIN SELECT sku FROM product",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT set_config('transaction_read_only', 'off', false) FROM product",
    "SELECT load_extension('x') FROM product",
    "SELECT load_file('/etc/passwd')",
    "SELECT pg_sleep(100) FROM product",
    "SELECT sleep(100) FROM product",
    "SELECT readfile('x')",
    "SELECT * FROM pg_read_file('/etc/passwd') AS s",
    "SELECT * FROM generate_series(1, 1000000000) AS s",
    "SELECT * FROM json_each('[1]') AS s",
    "SELECT name FROM sqlite_master",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM itemspace_version",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM mysql.user",
    "SELECT * FROM other.product",
    "WITH pg_class AS (SELECT * FROM pg_class) SELECT * FROM pg_class",
    "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT x FROM n",
    "SELECT (SELECT max(name) FROM sqlite_master) FROM product",
    "SELECT sku FROM product WHERE EXISTS (SELECT * FROM itemspace_build)",
    "SELECT current_user FROM product",
    "SELECT @@version",
    "SELECT @a := 1 FROM product",
    "SELECT version() FROM product",
    "SELECT now() FROM product",
    "SELECT CAST('pg_class' AS regclass) FROM product",
    "SELECT sku FROM product TABLESAMPLE SYSTEM (1)",
    "SELECT sku FROM product NATURAL JOIN tag",
    "SELECT sku FROM product, LATERAL (SELECT 1) z",
    "SELECT x'41' FROM product",
    "SELECT sku COLLATE nocase FROM product",
    "SELECT * FROM similar('p3', 0) AS s",
    "SELECT * FROM similar('p3', 'x') AS s",
    "SELECT * FROM similar('p3', 1, 2) AS s",
    "SELECT * FROM similar() AS s",
    "SELECT * FROM similar(sku, 3) AS s, product",
    "SELECT similar('p3', 3) FROM product",
    "SELECT sku FROM product WHERE sku = :missing",
    "SELECT sku FROM product WHERE sku = ?",
    "SELECT sku FROM product WHERE (",
    "SELECT sku FROM product WHERE " + "(" * 5000 + "1" + ")" * 5000,
    "SELECT sku FROM product -- " + "x" * 30_000,
    "SELECT sku\0 FROM product",
]


def test_what_is_refused(space: Space) -> None:
    """Before it reaches the database; whatever is refused has changed nothing."""
    for written in REFUSED:
        with pytest.raises((InvalidCondition, UnknownColumn)):
            pytest.fail(f"{written!r} gives {space.sql(written)}")
        assert len(space.sql("SELECT sku FROM product")) == N


def test_what_is_not_there(space: Space) -> None:
    with pytest.raises(UnknownColumn, match="'nope' could not be resolved"):
        space.sql("SELECT nope FROM product")
    with pytest.raises(UnknownColumn):
        space.sql("SELECT ctid FROM product")
    with pytest.raises(UnknownIds, match="no vector"):
        space.sql("SELECT * FROM similar('gone', 3) AS s")
    with pytest.raises(InvalidId):
        space.sql("SELECT * FROM similar(3, 3) AS s")
    with pytest.raises(InvalidOption, match="list of numbers"):
        space.sql("SELECT * FROM near('oops', 3) AS s")
    with pytest.raises(InvalidOption, match="seconds"):
        space.sql("SELECT sku FROM product", seconds=0)
    with pytest.raises(InvalidCondition, match="is a list"):
        space.sql("SELECT sku FROM product WHERE price = :p", {"p": [1]})


NASTY = [
    "'; DROP TABLE product; --", "\\'; DROP TABLE product; --", ":name", "%s %(x)s ?", '"', "`",
    "a\\", "/* */", "x' OR '1'='1", "\u2028", "::text",
]  # fmt: skip


def test_texts_reach_the_database_as_values(space: Space, engine: Engine) -> None:
    for nasty in NASTY:
        check_text(space, engine, nasty)


def check_text(space: Space, engine: Engine, nasty: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE product SET title = :title WHERE sku = 'p5'"), {"title": nasty}
        )
    for value in (nasty, "no such title"):
        expected = [("p5",)] if value == nasty else []
        quoted = value.replace("'", "''")
        if engine.dialect.name == "mariadb":
            quoted = quoted.replace("\\", "\\\\")
        written = f"SELECT sku FROM product WHERE title = '{quoted}'"
        assert records(space.sql(written)) == expected
        by_name = space.sql("SELECT sku FROM product WHERE title = :title", {"title": value})
        assert records(by_name) == expected
        near = space.sql(
            "SELECT i.sku FROM similar('p3', 500) s JOIN product i ON i.sku = s.item_id "
            f"WHERE i.title = '{quoted}'"
        )
        assert records(near) == expected


def test_time_runs_out_and_nothing_is_left_behind(space: Space, engine: Engine) -> None:
    """A cross join that would take minutes; the connection is as before afterwards."""
    product = ", ".join(f"product p{at}" for at in range(5))
    started = time.monotonic()
    with pytest.raises(QueryTimeout, match=r"longer than 0\.2 seconds"):
        space.sql(
            f"SELECT count(*) FROM {product} WHERE p1.price + p2.price > p3.price", seconds=0.2
        )
    assert time.monotonic() - started < 30
    assert len(space.sql("SELECT sku FROM product")) == N
    with engine.begin() as connection:
        connection.execute(text("UPDATE product SET price = 1 WHERE sku = 'p1'"))
    assert records(space.sql("SELECT price FROM product WHERE sku = 'p1'")) == [(1.0,)]


def test_the_connection_itself_only_reads(space: Space) -> None:
    """Behind the check of the text: what came through it could not write, or read elsewhere."""
    catalog = space.catalog
    tables = frozenset(catalog.readable)
    statements = ["UPDATE product SET price = 0", "DELETE FROM event", "CREATE TABLE x (y INTEGER)"]
    if catalog.dialect == "sqlite":
        statements += ["SELECT * FROM itemspace_space", "SELECT load_extension('x')"]
    for statement in statements:
        with (
            pytest.raises(Exception, match=r"(?i)read.?only|not authorized|prohibited"),
            guarded(catalog.reader, tables, 5.0) as connection,
        ):
            connection.execute(text(statement))
    with guarded(catalog.reader, tables, 5.0) as connection:
        assert connection.scalar(text("SELECT count(*) FROM product")) == N


def test_a_reader_that_may_read_less(space: Space, engine: Engine) -> None:
    """A user of the database stands behind the check."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no users")
    user = f"reader_{engine.url.database}"
    mariadb = engine.dialect.name == "mariadb"
    on, to = ("product", user) if not mariadb else (f"{engine.url.database}.product", f"{user}@'%'")
    with engine.begin() as connection:
        create = f"CREATE USER {to}" if mariadb else f"CREATE ROLE {user} LOGIN"
        connection.execute(text(create))
        connection.execute(text(f"GRANT SELECT ON {on} TO {to}"))
    reader = create_engine(engine.url.set(username=user))
    catalog = Catalog(engine, items="product", id_column="sku", tables=["event"], reader=reader)
    try:
        with Space.open(catalog) as opened:
            assert len(opened.sql("SELECT sku FROM product")) == N
            with pytest.raises(ItemspaceError, match=r"(?i)denied"):
                opened.sql("SELECT sku FROM event")
    finally:
        reader.dispose()
        with engine.begin() as connection:
            if not mariadb:
                connection.execute(text(f"REVOKE ALL ON product FROM {user}"))
            connection.execute(text(f"DROP {'USER' if mariadb else 'ROLE'} {to}"))
