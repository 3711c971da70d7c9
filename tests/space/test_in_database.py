"""Items and vectors in one PostgreSQL: one statement, and the same rows as ever."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itemspace import Completeness, Ids, Metric, VectorSet
from itemspace.catalog import Catalog, parse_condition
from itemspace.catalog.mapping import map_items
from itemspace.publishing import publish
from itemspace.space import Space
from sqlalchemy import Engine, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
N = 190


def vectors(metric: Metric = Metric.COSINE) -> VectorSet:
    names = [f"p{at}" for at in range(N)] + [f"ghost{at}" for at in range(5)]
    matrix = np.random.default_rng(1).standard_normal((len(names), 8)).astype(np.float32)
    return VectorSet(Ids(names), matrix, metric)


def place(engine: Engine, parameters: str = "") -> str:
    url = engine.url.render_as_string(hide_password=False)
    return f"{url.replace('postgresql+', 'pgvector+')}&collection=v{parameters}"


@pytest.fixture
def both(shop: Catalog, engine: Engine, tmp_path: Path) -> Iterator[tuple[Space, Space]]:
    """The same vectors in the items' database, and in a folder."""
    publish(shop, vectors(), place(engine, "&index=none"), space="inside")
    publish(shop, vectors(), f"exact:{tmp_path}/published", space="outside")
    with Space.open(shop, "inside") as inside, Space.open(shop, "outside") as outside:
        yield inside, outside


def records(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows]


CONDITIONS = st.sampled_from(
    ["price < 50", "kind = 'shoes'", "kind IS NULL", "price < 0", "price = 7", "stock IN (1, 2)"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(CONDITIONS, st.integers(1, 250), st.integers(0, N - 1))
def test_the_same_rows(both: tuple[Space, Space], written: str, k: int, subject: int) -> None:
    found = []
    for space in both:
        near = space.similar_to(f"p{subject}", k=k)
        condition = parse_condition(written, space.items.columns)
        rows = near.execute(
            statement=select(space.items.id, near.score, near.rank).where(condition)
        )
        found.append(rows)
    inside, outside = found
    # The database's scores are float32 sums: items that tie within their rounding may change
    # places.
    everything = dict(
        records(
            both[1]
            .similar_to(f"p{subject}", k=N)
            .execute(statement=select(space.items.id, near.score))
        )
    )
    assert [row.score for row in inside] == pytest.approx(
        [everything[row.sku] for row in inside], abs=1e-6
    )
    assert len({row.sku for row in inside}) == len(inside)
    assert [row.rank for row in inside] == list(range(1, len(inside) + 1))
    assert [row.score for row in inside] == pytest.approx([row.score for row in outside], abs=1e-5)
    assert inside.completeness is outside.completeness
    assert inside.plan.strategy == "database"
    # The settings, and the rows; once more where fewer match than are wanted.
    assert inside.plan.statements == (2 if inside.completeness is Completeness.FULL else 3)


@pytest.mark.parametrize("index", ["hnsw", "ivfflat&lists=3&probes=1"])
def test_an_index_is_never_short(shop: Catalog, engine: Engine, tmp_path: Path, index: str) -> None:
    """As many rows as the exact answer has, and nearly the same ones."""
    publish(shop, vectors(), place(engine, f"&index={index}"), space="inside")
    publish(shop, vectors(), f"exact:{tmp_path}/published", space="outside")
    with Space.open(shop, "inside") as inside, Space.open(shop, "outside") as outside:
        right = total = 0
        for subject in range(0, N, 10):
            for written in ("price < 150", "kind = 'shoes'", "price < 20", "price < 0"):
                names = []
                for space in (inside, outside):
                    condition = parse_condition(written, space.items.columns)
                    near = space.similar_to(f"p{subject}", k=15)
                    rows = near.execute(statement=select(space.items.id).where(condition))
                    names.append([row.sku for row in rows])
                assert len(names[0]) == len(names[1])
                right, total = right + len(set(names[0]) & set(names[1])), total + len(names[1])
        assert right / total > (0.95 if index == "hnsw" else 0.5)


@pytest.mark.parametrize("metric", [Metric.INNER_PRODUCT, Metric.EUCLIDEAN])
def test_other_metrics(shop: Catalog, engine: Engine, tmp_path: Path, metric: Metric) -> None:
    publish(shop, vectors(metric), place(engine), space="inside")
    publish(shop, vectors(metric), f"exact:{tmp_path}/published", space="outside")
    with Space.open(shop, "inside") as inside, Space.open(shop, "outside") as outside:
        one, other = (space.similar_to("p3", k=20).execute() for space in (inside, outside))
        assert [row.sku for row in one] == [row.sku for row in other]
        scores = [row.score for row in other]
        assert [row.score for row in one] == pytest.approx(scores, abs=1e-4)


def test_joins_groups_users_and_variety(both: tuple[Space, Space]) -> None:
    answers = []
    for space in both:
        product = space.items.table
        near = space.similar_to(["p3", "p5"], k=20, unlike="p7")
        tag = map_items(space.catalog.engine, "tag", "sku").table
        joined = select(product.c.sku, tag.c.name).join_from(
            product, tag, tag.c.sku == product.c.sku
        )
        answers.append(
            [
                records(near.execute(statement=joined.order_by(near.rank, tag.c.name))),
                records(
                    near.execute(
                        statement=select(product.c.kind, func.count())
                        .group_by(product.c.kind)
                        .order_by(product.c.kind)
                    )
                ),
                [row.sku for row in space.for_user(3, k=10).execute()],
                [row.sku for row in space.for_user(999, k=10).execute()],
                [row.sku for row in near.at_most(3, product.c.kind).execute()],
                [row.sku for row in near.diverse(0.5).execute()],
            ]
        )
    assert answers[0] == answers[1]
    assert len(answers[0][0]) == 40


def test_the_callers_transaction_is_left_as_it_is(both: tuple[Space, Space]) -> None:
    inside, _ = both
    product = inside.items.table
    with inside.catalog.engine.connect() as connection, connection.begin() as transaction:
        connection.execute(product.update().values(price=1000).where(product.c.sku != "p9"))
        rows = inside.similar_to("p3", k=5).execute(
            connection, select(product.c.sku).where(product.c.price < 500)
        )
        assert [row.sku for row in rows] == ["p9"]
        assert connection.in_transaction()
        transaction.rollback()
    with inside.catalog.engine.connect() as connection:
        assert connection.scalar(text("SHOW hnsw.iterative_scan")) == "off"
        connection.rollback()
        plain = connection.execution_options(isolation_level="AUTOCOMMIT")
        rows = inside.similar_to("p3", k=5).execute(plain)
        assert (len(rows), rows.plan.strategy) == (5, "candidates")


def test_another_database_is_not_taken_for_this_one(
    shop: Catalog, engine: Engine, postgresql_server: str, tmp_path: Path
) -> None:
    elsewhere = postgresql_server.format("postgres").replace("postgresql+", "pgvector+")
    name = f"v_{engine.url.database}"
    publish(shop, vectors(), f"{elsewhere}&collection={name}")
    with Space.open(shop) as space:
        rows = space.similar_to("p3", k=5).execute()
        assert (len(rows), rows.plan.strategy) == (5, "candidates")


def test_async_sessions_lend_their_thread(both: tuple[Space, Space], engine: Engine) -> None:
    async def look_up(space: Space) -> list[str]:
        item = space.items.table
        near = space.similar_to("p3", k=5)
        asynchronous = create_async_engine(engine.url)
        async with AsyncSession(asynchronous) as session:
            rows = await session.run_sync(near.execute, select(item.c.sku, near.score))
        await asynchronous.dispose()
        return [row.sku for row in rows]

    for space in both:
        expected = [row.sku for row in space.similar_to("p3", k=5).execute()]
        assert asyncio.run(look_up(space)) == expected
