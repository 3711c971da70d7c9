from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itemspace import Completeness, Ids, Metric, VectorSet, create_retriever
from itemspace.catalog import Catalog, ensure, open_engine, parse_condition
from itemspace.catalog.mapping import map_items
from itemspace.core.errors import (
    DatabaseUnavailable,
    DuplicateIds,
    InvalidCondition,
    InvalidId,
    InvalidOption,
    InvalidVectors,
    UnknownIds,
    UnsupportedError,
)
from itemspace.publishing import publish
from itemspace.space import Space, planner
from itemspace.space.blends import blend, weighed
from itemspace.space.everyone import recommend_all
from itemspace.space.outputs import TableOutput
from sqlalchemy import Engine, create_engine, event, func, insert, inspect, select, text
from sqlalchemy.orm import DeclarativeBase, Session, with_loader_criteria
from sqlalchemy.pool import NullPool

N = 200


def vectors() -> VectorSet:
    """Products p0 … p189 have vectors, and so have five that have no row."""
    names = [f"p{at}" for at in range(N - 10)] + [f"ghost{at}" for at in range(5)]
    matrix = np.random.default_rng(1).standard_normal((len(names), 8)).astype(np.float32)
    return VectorSet(Ids(names), matrix, Metric.COSINE)


@pytest.fixture
def space(shop: Catalog, tmp_path: Path) -> Iterator[Space]:
    publish(shop, vectors(), f"exact:{tmp_path}/published")
    with Space.open(shop, refresh=3600) as opened:
        yield opened


def brute_force(space: Space, subject: str, condition: Any = None) -> list[tuple[str, float]]:
    """All matching items with their scores, best first, by plain SQL and NumPy."""
    product = space.items.table
    statement = select(product.c.sku)
    if condition is not None:
        statement = statement.where(condition)
    with space.catalog.connection(None) as connection:
        matching = set(connection.scalars(statement))
    known = vectors()
    query = known.vectors([subject])[0].astype(np.float64)
    matrix = known.matrix.astype(np.float64)
    scores = matrix @ query / np.linalg.norm(matrix, axis=1) / np.linalg.norm(query)
    pairs = sorted((-score, name) for name, score in zip(known.ids, scores, strict=True))
    return [(name, -s) for s, name in pairs if name in matching and name != subject]


def test_the_nearest(space: Space) -> None:
    near = space.similar_to("p3", k=10)
    rows = near.execute()
    expected = brute_force(space, "p3")[:10]
    assert [row.sku for row in rows] == [name for name, _ in expected]
    assert [row.score for row in rows] == pytest.approx([score for _, score in expected])
    assert rows.keys == ("sku", "title", "kind", "price", "stock", "score")
    assert (rows.completeness, rows.version) == (Completeness.FULL, 1)
    assert "candidates" in str(rows.plan)


WRITTEN = [
    "price < 50",
    "kind = 'shoes' AND stock > 0",
    "kind IS NULL",
    "kind <> 'shoes'",
    "price < 0",
    "price = 7",
    "price >= 185",
    "NOT (kind = 'bags' OR stock = 1)",
    "sku = 'p3'",
]


@pytest.mark.parametrize(("first", "cost"), [(1, 0), (1, 10**9), (2, 4), (16, 4)])
def test_every_plan_equals_brute_force(
    space: Space, monkeypatch: pytest.MonkeyPatch, first: int, cost: int
) -> None:
    monkeypatch.setattr(planner, "FIRST_POOL", first)
    monkeypatch.setattr(planner, "CANDIDATE_COST", cost)
    for written, k in product(WRITTEN, (1, 10, 500)):
        condition = parse_condition(written, space.items.columns)
        near = space.similar_to("p3", k=k)
        statement = select(space.items.id, near.score).where(condition)
        rows = near.execute(statement=statement)
        expected = brute_force(space, "p3", condition)[:k]
        assert [row.sku for row in rows] == [name for name, _ in expected], (written, k)
        full = len(expected) == k
        assert rows.completeness is (Completeness.FULL if full else Completeness.EXHAUSTED)
        assert rows.plan.statements <= 4


def unit(name: str) -> Any:
    vector = vectors().vectors([name])[0].astype(np.float64)
    return vector / np.linalg.norm(vector)


def test_like_several_and_unlike_others(space: Space) -> None:
    liked, others = {"p3": 2.0, "p5": 1.0}, ["p7"]
    direction = (2 * unit("p3") + unit("p5") - unit("p7")) / 3
    expected = space.near(direction, k=10, excluded=["p3", "p5", "p7"]).execute()
    found = space.similar_to(liked, k=10, unlike=others).execute()
    assert [row.sku for row in found] == [row.sku for row in expected]
    assert [row.score for row in found] == pytest.approx([row.score for row in expected])
    alone = space.similar_to("p3", k=10).execute()
    for same in (["p3"], ("p3",), {"p3": 7}, np.array(["p3"]), Ids(["p3"])):
        assert [tuple(row) for row in space.similar_to(same).execute()] == list(map(tuple, alone))
    far = space.similar_to("p3", k=5, unlike={"p5": 0.5}).execute()
    assert {row.sku for row in far}.isdisjoint({"p3", "p5"})


@pytest.mark.parametrize("metric", [Metric.INNER_PRODUCT, Metric.EUCLIDEAN])
def test_blends_of_other_metrics(metric: Metric) -> None:
    """Under a product like word2vec's analogies; distances do not depend on the origin."""
    matrix = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    for shift in (0, 5):
        retriever = create_retriever("exact://", VectorSet(Ids(range(4)), matrix + shift, metric))
        liked, others = weighed({0: 3, 1: 1}, "int", "items"), weighed([2], "int", "unlike")
        query = blend(retriever, liked, others)[0]
        x, y, z, _ = matrix.astype(np.float64) + shift
        mean = (3 * x + y) / 4
        moved = mean - z / 4 if metric is Metric.INNER_PRODUCT else mean + (mean - z) / 4
        assert query == pytest.approx(moved, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("items", "unlike", "error"),
    [
        ([], (), InvalidOption),
        (["p3", "p3"], (), DuplicateIds),
        ("p3", ["p3"], DuplicateIds),
        (["p3", "missing"], (), UnknownIds),
        ("p3", "missing", UnknownIds),
        ({"p3": 0}, (), InvalidOption),
        ({"p3": -1.0}, (), InvalidOption),
        ({"p3": float("nan")}, (), InvalidOption),
        ({"p3": "heavy"}, (), InvalidOption),
        (7, (), InvalidId),
        (None, (), InvalidId),
        (["p3", None], (), InvalidId),
    ],
)
def test_items_that_cannot_be_blended(
    space: Space, items: Any, unlike: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        space.similar_to(items, unlike=unlike)


def test_vectors_that_cancel_out() -> None:
    ends = VectorSet(Ids(["a", "b"]), [[1.0, 0.0], [-1.0, 0.0]], Metric.COSINE)
    both = weighed(["a", "b"], "str", "items")
    with pytest.raises(InvalidVectors, match="cancel out"):
        blend(create_retriever("exact://", ends), both, weighed((), "str", "unlike"))


CONDITIONS = st.recursive(
    st.builds("price {} {}".format, st.sampled_from(["<", ">=", "="]), st.integers(-1, N + 1))
    | st.builds("kind = '{}'".format, st.sampled_from(["shoes", "bags", "none"]))
    | st.builds("stock IN ({}, {})".format, st.integers(0, 3), st.integers(0, 3))
    | st.just("kind IS NULL"),
    lambda inner: (
        st.builds("({} AND {})".format, inner, inner)
        | st.builds("({} OR {})".format, inner, inner)
        | st.builds("NOT ({})".format, inner)
    ),
    max_leaves=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    CONDITIONS,
    st.integers(1, 250),
    st.integers(0, 189),
    st.sampled_from([1, 2, 16]),
    st.sampled_from([0, 4, 10**9]),
)
def test_any_condition_equals_brute_force(
    space: Space, text: str, k: int, subject: int, first: int, cost: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "FIRST_POOL", first)
        patch.setattr(planner, "CANDIDATE_COST", cost)
        condition = parse_condition(text, space.items.columns)
        near = space.similar_to(f"p{subject}", k=k)
        rows = near.execute(statement=select(space.items.id, near.score).where(condition))
    expected = brute_force(space, f"p{subject}", condition)[:k]
    assert [row.sku for row in rows] == [name for name, _ in expected]


def test_what_has_no_vector_and_what_has_no_row(space: Space, engine: Engine) -> None:
    found = space.coverage()
    assert (found.rows, found.items, found.vectors) == (200, 200, 195)
    assert (found.items_without_vector, found.vectors_without_item, found.repeated) == (10, 5, 0)
    assert found.sentences() == [
        "10 of 200 items have no vector.", "5 of 195 vectors have no item in SQL."
    ]  # fmt: skip


def test_items_that_stand_twice_count_once(space: Space, engine: Engine) -> None:
    """A table without a key: each row of the k items comes back."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE copy (sku VARCHAR(40), n INTEGER)"))
        for n in range(2):
            connection.execute(text(f"INSERT INTO copy SELECT sku, {n} FROM product"))
        connection.execute(text("INSERT INTO copy VALUES (NULL, 3)"))
    catalog = Catalog(engine, items="copy", id_column="sku")
    with Space.open(catalog) as doubled:
        rows = doubled.similar_to("p3", k=10).execute()
        expected = [name for name, _ in brute_force(space, "p3")[:10]]
        assert [row.sku for row in rows] == [name for name in expected for _ in range(2)]
        assert rows.completeness is Completeness.FULL
        found = doubled.coverage()
        assert (found.rows, found.items, found.repeated, found.without_id) == (401, 200, 200, 1)
        assert "200 rows repeat the id of another row." in found.sentences()


def test_views_and_bookkeeping_elsewhere(shop: Catalog, tmp_path: Path) -> None:
    """Over a view of a database that itemspace writes nothing to; also by SQL text."""
    with shop.engine.begin() as connection:
        connection.execute(
            text("CREATE VIEW cheap AS SELECT sku AS code, title FROM product WHERE price < 50")
        )
        tables = inspect(connection).get_table_names()
        ours = (name for name in tables if name.startswith("itemspace_"))
        for name in sorted(ours, key=lambda name: name in ("itemspace_build", "itemspace_space")):
            connection.execute(text(f"DROP TABLE {name}"))
    own = f"sqlite:///{tmp_path}/own.db"
    engine = open_engine(own, create=True)
    ensure(engine)
    engine.dispose()
    mapping = {
        "items": "cheap",
        "id_column": "code",
        "interactions": "event",
        "user_column": "who",
        "item_column": "sku",
        "time_column": "at",
    }
    with Catalog(shop.engine, bookkeeping=own, **mapping) as catalog:
        publish(catalog, vectors(), f"exact:{tmp_path}/published")
        with Space.open(catalog) as opened:
            near = opened.similar_to("p70", k=10)
            rows = near.execute()
            assert len(rows) == 10
            assert all(int(row.code[1:]) < 50 for row in rows)
            written = "SELECT c.code FROM similar('p70', 10) s JOIN cheap c ON c.code = s.item_id"
            assert {row.code for row in opened.sql(written)} == {row.code for row in rows}
            assert len(opened.for_user(3, k=5).execute()) == 5
            output = TableOutput(catalog, "recommended", 1)
            assert recommend_all(catalog, opened.batch(5), output, {"k": 5}) == 20
    with shop.engine.connect() as connection:
        names = inspect(connection).get_table_names()
        assert sorted(names) == ["event", "product", "tag"]


def test_neighbors_as_tables(space: Space) -> None:
    """Two lookups in one statement, over an alias of the items, and without the items."""
    one = space.similar_to("p3", k=60).as_table(name="one")
    other = space.similar_to("p5", k=60).as_table(name="other")
    item = space.items.table.alias("product_2")
    statement = (
        select(item.c.sku, (one.c.score + other.c.score).label("both"))
        .join_from(one, other, one.c.item_id == other.c.item_id)
        .join(item, item.c.sku == one.c.item_id)
        .order_by((one.c.score + other.c.score).desc())
    )
    with space.catalog.connection(None) as connection:
        rows = connection.execute(statement).all()
        plain = connection.execute(select(one).order_by(one.c.rank)).all()
        user = space.for_user(3, k=5).as_table(connection)
        assert len(connection.execute(select(user)).all()) == 5
    first = dict(brute_force(space, "p3")[:62])
    second = dict(brute_force(space, "p5")[:62])
    expected = {name: first[name] + second[name] for name in first if name in second}
    assert len(rows) > 10
    assert all(row.both == pytest.approx(expected[row.sku]) for row in rows)
    assert [row.rank for row in plain] == list(range(1, 61))
    assert [row.score for row in plain] == sorted((row.score for row in plain), reverse=True)


def test_joins_order_group_and_limit(space: Space) -> None:
    """k counts items, not rows; ORDER BY, GROUP BY and LIMIT apply to the rows of the k items."""
    product = space.items.table
    tag = map_items(space.catalog.engine, "tag", "sku").table
    near = space.similar_to("p3", k=5)
    joined = select(product.c.sku, tag.c.name).join(tag, tag.c.sku == product.c.sku)
    rows = near.execute(statement=joined)
    even = [n for n, _ in brute_force(space, "p3") if int(n[1:]) % 2 == 0][:5]
    assert sorted({row.sku for row in rows}) == sorted(even)
    assert len(rows) == 10
    assert rows.completeness is Completeness.FULL
    by_price = near.execute(statement=select(product.c.sku).order_by(product.c.price.desc()))
    prices = [float(row.sku[1:]) for row in by_price]
    assert prices == sorted(prices, reverse=True)
    assert {row.sku for row in by_price} == {name for name, _ in brute_force(space, "p3")[:5]}
    counted = near.execute(
        statement=select(product.c.kind, func.count().label("n"), func.max(near.score))
        .group_by(product.c.kind)
        .order_by(product.c.kind)
    )
    assert sum(row.n for row in counted) == 5
    assert len(near.execute(statement=select(product.c.sku).limit(2))) == 2
    boosted = near.execute(
        statement=select(product.c.sku).order_by((near.score * product.c.price).desc())
    )
    assert len(boosted) == 5


def test_orm_classes_and_the_callers_session(shop: Catalog, space: Space) -> None:
    class Base(DeclarativeBase):
        pass

    class Product(Base):
        __table__ = shop.items.table
        __mapper_args__: ClassVar = {"primary_key": [shop.items.id]}

    mapped = Catalog(shop.engine, items=Product, id_column="sku", interactions="event")
    with Space.open(mapped) as opened, Session(shop.engine) as session:
        near = opened.similar_to("p3", k=3)
        rows = near.execute(
            session,
            select(Product.sku, Product.title, near.score)
            .where(Product.kind == "shoes", Product.price < 150)
            .order_by(near.score.desc()),
        )
        assert len(rows) == 3
        assert all(int(row.sku[1:]) % 4 == 0 for row in rows)
        (entity,) = near.execute(session, select(Product).limit(1))[0]
        assert isinstance(entity, Product)
        # The caller's own uncommitted change is seen, and is not committed.
        session.execute(insert(shop.items.table).values(sku="ghost0", title="New", price=1.0))
        everything = opened.similar_to("p3", k=500).execute(session)
        assert "ghost0" in {row.sku for row in everything}
        session.rollback()
    assert "ghost0" not in {row.sku for row in space.similar_to("p3", k=500).execute()}


def test_statements_are_few(space: Space) -> None:
    sent: list[str] = []
    event.listen(
        space.catalog.engine,
        "before_cursor_execute",
        lambda *arguments: sent.append(arguments[2]) if arguments[2] != "BEGIN" else None,
    )
    near = space.similar_to("p3", k=10)
    product = space.items.table
    for condition in (True, product.c.price < 50, product.c.price >= 0):
        sent.clear()
        statement = select(product.c.sku, near.score)
        rows = near.execute(
            statement=statement if condition is True else statement.where(condition)
        )
        assert len(rows) == 10
        assert len(sent) == rows.plan.statements <= 4


def test_near_a_vector_with_exclusions(space: Space) -> None:
    vector = vectors().vectors(["p3"])[0]
    rows = space.near(vector, k=3).execute()
    assert rows[0].sku == "p3"
    assert rows[0].score == pytest.approx(1)
    first = [row.sku for row in rows]
    others = space.near(vector, k=3, excluded=first).execute()
    assert not set(first) & {row.sku for row in others}


def test_unknown_and_vectorless_items(space: Space) -> None:
    for item in ("nobody", "p195"):
        with pytest.raises(UnknownIds, match="no vector in version 1"):
            space.similar_to(item)
    with pytest.raises(InvalidId):
        space.similar_to(3)
    with pytest.raises(ValueError, match="dimensions"):
        space.near(np.ones(9)).execute()


def test_statements_that_do_not_fit(space: Space) -> None:
    tag = map_items(space.catalog.engine, "tag", "sku").table
    near = space.similar_to("p3")
    with pytest.raises(InvalidCondition, match="does not select from product"):
        near.execute(statement=select(tag.c.name))
    with pytest.raises(UnsupportedError, match="HAVING"):
        near.execute(statement=select(space.items.id).where(near.score > 0.5))


def test_ids_of_another_kind(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, VectorSet(Ids([1, 2]), np.eye(2)), f"exact:{tmp_path}/published")
    with pytest.raises(InvalidId, match=r"product have str ids.*have int ids"):
        Space.open(shop)


@pytest.mark.parametrize("name", ["O'Brien", '"; DROP TABLE product; --', "%", "a\\b", "é\n"])
def test_ids_with_a_past(shop: Catalog, tmp_path: Path, name: str) -> None:
    with shop.engine.begin() as connection:
        connection.execute(insert(shop.items.table).values(sku=name, title="odd", price=1.0))
    publish(shop, VectorSet(Ids([name, "p1"]), np.eye(2) + 1), f"exact:{tmp_path}/published")
    with Space.open(shop) as space:
        assert [row.sku for row in space.similar_to("p1").execute()] == [name]
        assert [row.sku for row in space.similar_to(name).execute()] == ["p1"]


def test_an_alias_of_the_items_is_refused(space: Space) -> None:
    item = space.items.table
    near = space.similar_to("p3", k=5)
    other, inner = item.alias(), select(item).where(item.c.price < 50).subquery()
    for source in (other, inner):
        with pytest.raises(InvalidCondition, match="alias or a subquery"):
            near.execute(statement=select(source.c.sku, near.score))
    joined = item.join(other, other.c.sku == item.c.sku)
    rows = near.execute(statement=select(item.c.sku, near.score).select_from(joined))
    assert len(rows) == 5


def test_criteria_that_the_orm_adds_are_conditions(shop: Catalog, space: Space) -> None:
    class Base(DeclarativeBase):
        pass

    class Product(Base):
        __table__ = shop.items.table
        __mapper_args__: ClassVar = {
            "primary_key": [shop.items.id],
            "polymorphic_on": shop.items.column("kind"),
        }

    class Shoe(Product):
        __mapper_args__: ClassVar = {"polymorphic_identity": "shoes"}

    with Space.open(shop) as opened, Session(shop.engine) as session:
        near = opened.similar_to("p3", k=7)
        rows = near.execute(session, select(Shoe, near.score))
        assert rows.completeness is Completeness.FULL
        assert len(rows) == 7
        assert {row.Shoe.kind for row in rows} == {"shoes"}
        cheap = with_loader_criteria(Shoe, Shoe.price < 30)
        rows = near.execute(session, select(Shoe, near.score).options(cheap))
        assert len(rows) == 7
        assert max(row.Shoe.price for row in rows) < 30


def test_an_own_column_of_scores(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE rated (id INTEGER PRIMARY KEY, score INTEGER)")
        for at in range(1, 9):
            connection.exec_driver_sql(f"INSERT INTO rated VALUES ({at}, {at + 1000})")
    ensure(engine)
    catalog = Catalog(engine, items="rated", id_column="id")
    matrix = np.random.default_rng(0).standard_normal((8, 4))
    publish(catalog, VectorSet(Ids(range(1, 9)), matrix), f"exact:{tmp_path}/v")
    with Space.open(catalog) as opened:
        near = opened.similar_to(3, k=4)
        rows = near.execute()
        assert near.score_name == rows.keys[-1] == "similarity"
        assert all(row.score == 1000 + row.id and -1 <= row.similarity <= 1 for row in rows)


def test_statements_of_one_row(space: Space) -> None:
    item = space.items.table
    near = space.similar_to("p3", k=5)
    assert near.execute(statement=select(func.count(item.c.sku)))[0][0] == 5
    kinds = near.execute(statement=select(item.c.stock).distinct())
    assert len(kinds) == len({row.stock for row in kinds})


def test_what_the_database_refuses_is_typed(space: Space) -> None:
    item = space.items.table
    near = space.similar_to("p3", k=5)
    with pytest.raises(InvalidCondition, match="refuses"):
        near.execute(statement=select(item.c.sku).where(func.no_such_function(item.c.sku) == 1))
    if space.catalog.dialect == "postgresql":
        with pytest.raises(InvalidCondition, match="refuses"):
            near.execute(statement=select(item.c.sku).where(item.c.title > 5))


def kill(engine: Engine, mine: int) -> None:
    """End a connection of the server's, from another one."""
    call = "KILL {}" if engine.dialect.name == "mariadb" else "SELECT pg_terminate_backend({})"
    other = create_engine(engine.url, poolclass=NullPool)
    with other.connect() as connection:
        connection.execute(text(call.format(mine)))
    other.dispose()


@pytest.mark.parametrize("way", ["lookup", "text", "coverage"])
def test_a_database_that_goes_away_in_the_middle(
    space: Space, engine: Engine, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A typed error; the pool is clean afterwards, and the next lookup is answered."""
    ways: dict[str, Any] = {
        "lookup": lambda: space.similar_to("p3", k=5).execute(
            statement=select(space.items.id).where(space.items.columns["price"] < 3)
        ),
        "text": lambda: space.sql(
            "SELECT i.sku FROM similar('p3', 5) s JOIN product i ON i.sku = s.item_id "
            "WHERE i.price < 3"
        ),
        "coverage": space.coverage,
    }
    expected = [str(row) for row in ways["lookup"]()]
    reader = space.catalog.reader if way == "text" else engine
    blocker = create_engine(engine.url, poolclass=NullPool)

    def interrupt(connection: Any, *_: Any) -> None:
        if engine.dialect.name != "sqlite":
            name = "CONNECTION_ID()" if engine.dialect.name == "mariadb" else "pg_backend_pid()"
            cursor = connection.connection.cursor()
            cursor.execute(f"SELECT {name}")
            kill(engine, cursor.fetchone()[0])

    if engine.dialect.name == "sqlite":
        event.listen(reader, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout=50"))
        reader.dispose()
        engine.dispose()
        with blocker.connect() as other:
            raw: Any = other.connection.driver_connection
            raw.isolation_level = None
            # As files are that somebody else made: a writer locks readers out.
            assert raw.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
            raw.execute("BEGIN EXCLUSIVE")
            with pytest.raises(DatabaseUnavailable, match="locked"):
                ways[way]()
            raw.execute("ROLLBACK")
    else:
        event.listen(reader, "before_cursor_execute", interrupt)
        with pytest.raises(DatabaseUnavailable):
            ways[way]()
        event.remove(reader, "before_cursor_execute", interrupt)
    blocker.dispose()
    assert reader.pool.checkedout() == 0  # type: ignore[attr-defined]
    ways[way]()
    assert [str(row) for row in ways["lookup"]()] == expected
