"""``Catalog.side_information`` on SQLite, PostgreSQL and MariaDB."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itemspace.builders.fields import Field, read_column
from itemspace.catalog import Catalog, JsonPath, Related, ensure, open_engine
from itemspace.core.errors import (
    DuplicateIds,
    InvalidId,
    InvalidOption,
    UnknownColumn,
    UnmappedTable,
)
from itemspace.core.side_information import SideInformation
from sqlalchemy import (
    JSON,
    Column,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    cast,
    create_engine,
    event,
    func,
    insert,
    literal,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, aliased, relationship


class Base(DeclarativeBase):
    pass


LABELLED = Table(
    "labelled",
    Base.metadata,
    Column("book_code", ForeignKey("book.code")),
    Column("label_id", ForeignKey("label.id")),
)
SIMILAR = Table(
    "similar_book",
    Base.metadata,
    Column("one", ForeignKey("book.code")),
    Column("other", ForeignKey("book.code")),
)


class Label(Base):
    __tablename__ = "label"
    id = Column(Integer, primary_key=True)
    # The attribute has another name than the column.
    name = Column("label_name", String(30))
    books = relationship("Book", secondary=LABELLED, viewonly=True)


class Award(Base):
    __tablename__ = "award"
    id = Column(Integer, primary_key=True)
    book_code = Column(String(30), ForeignKey("book.code"))
    year = Column(Integer)
    prize = Column(Numeric(8, 2))
    share = Column(Float)
    detail = Column(JSON)


class Book(Base):
    __tablename__ = "book"
    code = Column(String(30), primary_key=True)
    title = Column(String(50))
    pages = Column(Integer)
    extra = Column(JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"))
    notes = Column(Text)
    labels = relationship(Label, secondary=LABELLED, viewonly=True)
    awards = relationship(Award)
    similar = relationship(
        "Book",
        secondary=SIMILAR,
        primaryjoin=code == SIMILAR.c.one,
        secondaryjoin=code == SIMILAR.c.other,
        viewonly=True,
    )


BOOKS: list[dict[str, Any]] = [
    {
        "code": "b1",
        "title": "Überfluß 🦉",
        "pages": 300,
        "extra": {"brand": {"name": "Ost"}, "tags": ["x", "é", "x", None], "n": [1, True, 1.5, 1]},
        "notes": '["z", "a"]',
    },
    {
        "code": "b2",
        "title": "",
        "pages": None,
        "extra": {"brand": {"name": None}, "tags": "one", "n": 7},
        "notes": "no JSON",
    },
    {
        "code": "B2",
        "title": None,
        "pages": 12,
        "extra": {"brand": "Ost", "tags": [], "n": {"a": 1}},
        "notes": "",
    },
    {
        "code": "ü",
        "title": "0012",
        "pages": 0,
        "extra": {"brand": {"name": ""}, "tags": [["x"], {"y": 1}, "q"], "n": "7"},
        "notes": '{"deep": {"er": NaN}}',
    },
    {"code": "b5", "title": "NULL", "pages": -1, "extra": None, "notes": None},
    {
        "code": "b6",
        "title": "a'b\"c",
        "pages": 1,
        "extra": [1, 2],
        "notes": '{"deep": {"er": 0.5}}',
    },
]


@pytest.fixture
def books(engine: Engine) -> Catalog:
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Book), BOOKS)
        connection.execute(
            insert(Label.__table__),
            [
                {"id": at, "label_name": name}
                for at, name in enumerate(("new", "Ärger", None, ""), start=1)
            ],
        )
        pairs = [("b1", 2), ("b1", 1), ("b1", 1), ("b1", 3), ("b2", 3), ("ü", 4), (None, 1)]
        connection.execute(
            insert(LABELLED), [{"book_code": code, "label_id": label} for code, label in pairs]
        )
        connection.execute(
            insert(Award),
            [
                {"id": 1, "book_code": "b1", "year": 1999, "prize": 10, "share": 0.5},
                {"id": 2, "book_code": "b1", "year": 202, "prize": 9.5, "share": None},
                {"id": 3, "book_code": "b6", "year": None, "prize": None, "share": 2},
                {"id": 4, "book_code": None, "year": 1, "prize": 1, "share": 1},
            ],
        )
        connection.execute(
            insert(SIMILAR), [{"one": "b1", "other": "b2"}, {"one": "b1", "other": "B2"}]
        )
    ensure(engine)
    return Catalog(engine, items=Book, id_column="code")


def by_item(side: SideInformation, name: str) -> dict[Any, Any]:
    return {
        item: value
        for item, value in zip(side.ids, side.column(name), strict=True)
        if value is not None
    }


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def on_execute(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement != "BEGIN":  # which SQLite is told by hand
            sent.append(statement)

    event.listen(engine, "before_cursor_execute", on_execute)
    yield sent
    event.remove(engine, "before_cursor_execute", on_execute)


LABELS = {"b1": ["new", "Ärger"], "ü": [""]}


def test_every_kind_of_source(books: Catalog) -> None:
    book = Book.__table__
    label = Label.__table__
    joined = select(LABELLED.c.book_code, label.c.label_name).join_from(LABELLED, label)
    fields: dict[str, Any] = {
        "title": "title",
        "size": Book.pages,
        "twice": book.c.pages * 2,
        "upper": func.upper(Book.title),
        "code": "code",
        "count": select(func.count()).where(LABELLED.c.book_code == book.c.code).scalar_subquery(),
        "labels": Related(Book.labels, value_column="name"),
        "selected": Related(joined),
        "stacked": Related(union_all(joined, joined)),
        "numbers": Related(LABELLED, item_column="book_code", value_column="label_id"),
        "years": Related(Award, item_column="book_code", value_column="year"),
        "prizes": Related("award", item_column="book_code", value_column="prize"),
        "similar": Related(Book.similar, value_column="title"),
        "brand": JsonPath("extra", "brand", "name"),
        "tags": JsonPath(Book.extra, "tags"),
        "notes": JsonPath("notes"),
    }
    side = books.side_information(fields)
    assert list(side.columns) == list(fields)
    assert side.ids.kind == "str"
    found = {name: by_item(side, name) for name in fields}
    assert found["title"] == {
        row["code"]: row["title"] for row in BOOKS if row["title"] is not None
    }
    assert found["size"] == {"b1": 300, "B2": 12, "ü": 0, "b5": -1, "b6": 1}
    assert found["twice"]["b1"] == 600
    assert found["upper"]["b6"] == "A'B\"C"
    assert found["code"] == {row["code"]: row["code"] for row in BOOKS}
    assert found["count"] == {"b1": 4, "b2": 1, "B2": 0, "ü": 1, "b5": 0, "b6": 0}
    for name in ("labels", "selected", "stacked"):
        assert found[name] == LABELS
    assert found["numbers"] == {"b1": [1, 2, 3], "b2": [3], "ü": [4]}
    assert found["years"] == {"b1": [202, 1999]}
    assert [float(prize) for prize in found["prizes"]["b1"]] == [9.5, 10]
    assert found["similar"] == {"b1": [""]}
    assert found["brand"] == {"b1": "Ost", "ü": ""}
    assert found["tags"] == {"b1": ["x", "é"], "b2": "one", "ü": ["q"]}
    assert found["notes"] == {"b1": ["z", "a"]}
    assert side.report == (
        "Field 'brand': nothing at extra.brand.name for 4 of 6 items.",
        "Field 'tags': nothing at Book.extra.tags for 3 of 6 items.",
        "Field 'tags': an object or an inner list at Book.extra.tags, skipped, for 1 of 6 items.",
        "Field 'notes': no valid JSON for 3 of 6 items.",
        "Field 'notes': nothing at notes for 1 of 6 items.",
        "Field 'notes': an object or an inner list at notes, skipped, for 1 of 6 items.",
    )
    assert side.without(side.ids[:2]).report == side.report
    # What builders make of it.
    labels = read_column(Field("labels", "multi"), side.column("labels"))
    assert sorted(labels.values) == ["new", "Ärger"]


def test_values_in_json_keep_their_types(books: Catalog) -> None:
    found = by_item(books.side_information({"n": JsonPath("extra", "n")}), "n")
    assert list(map(repr, found["b1"])) == ["1", "True", "1.5"]
    assert (found["b2"], found["ü"]) == (7, "7")
    assert set(found) == {"b1", "b2", "ü"}
    whole = by_item(books.side_information({"n": JsonPath("extra")}), "n")
    assert whole == {"b6": [1, 2]}


def test_json_as_the_database_reflects_it(books: Catalog) -> None:
    """JSON of PostgreSQL, NUMERIC affinity of SQLite, LONGTEXT of MariaDB; lists by name alike."""
    with books.engine.begin() as connection:
        connection.execute(text("CREATE TABLE thing (id INTEGER PRIMARY KEY, extra JSON)"))
        connection.execute(
            text("INSERT INTO thing VALUES (1, :one), (2, :two), (3, :three), (4, NULL)"),
            {"one": "12", "two": '"12"', "three": '{"a": ["\\u00e9", 2]}'},
        )
    catalog = Catalog(books.engine, items="thing", id_column="id")
    side = catalog.side_information({"whole": JsonPath("extra"), "a": JsonPath("extra", "a")})
    assert by_item(side, "whole") == {1: 12, 2: "12"}
    assert by_item(side, "a") == {3: ["é", 2]}


def test_one_statement_and_one_for_each_related(books: Catalog) -> None:
    fields: dict[str, Any] = {"title": "title", "extra": JsonPath("extra", "brand")}
    assert books.items.id_kind == "str"  # mapped once
    with counted(books.engine) as sent:
        books.side_information(fields)
    assert len(sent) == 1
    fields |= {"labels": Related(Book.labels, value_column="name")}
    fields |= {"years": Related(Award, item_column="book_code", value_column="year")}
    with counted(books.engine) as sent:
        books.side_information(fields)
    assert len(sent) == 3


def test_a_pool_of_one_connection(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    ensure(engine)
    single = create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=2)
    catalog = Catalog(single, items="book", id_column="code")
    related = Related("award", item_column="book_code", value_column="year")
    assert len(catalog.side_information({"years": related, "title": "title"})) == 0
    single.dispose()


def test_rows_of_unknown_items_are_skipped_and_counted(books: Catalog) -> None:
    table = Table("word", MetaData(), Column("code", String(30)), Column("word", String(30)))
    table.create(books.engine)
    rows = [
        ("b1", "w"),
        ("B1", "w"),
        ("", "w"),
        ("b1 ", "w"),
        ("B1", "v"),
        ("B1", None),
        ("x", "y"),
    ]
    with books.engine.begin() as connection:
        connection.execute(insert(table), [{"code": code, "word": word} for code, word in rows])
    side = books.side_information(
        {"words": Related("word", item_column="code", value_column="word")}
    )
    assert by_item(side, "words") == {"b1": ["w"]}
    [sentence] = side.report
    assert sentence.startswith("Field 'words': skipped 5 values of ids that no item has, such as ")
    assert "'B1'" in sentence


def test_numbers_as_text_and_text_as_numbers(engine: Engine) -> None:
    metadata = MetaData()
    item = Table("item", metadata, Column("item_id", Integer, primary_key=True))
    metadata.create_all(engine)
    numbers = Table("numbers", metadata, Column("item", String(9)), Column("value", String(9)))
    numbers.create(engine)
    ensure(engine)
    with engine.begin() as connection:
        connection.execute(insert(item), [{"item_id": 1}, {"item_id": 2}])
        connection.execute(
            insert(numbers), [{"item": "1", "value": "10"}, {"item": "1", "value": "9"}]
        )
    catalog = Catalog(engine)
    with pytest.raises(
        InvalidId, match=r"items have int ids, .* numbers.item of type VARCHAR"
    ) as e:
        catalog.side_information(
            {"value": Related("numbers", item_column="item", value_column="value")}
        )
    assert "cast(…, Integer)" in str(e.value)
    as_number = Related(select(cast(numbers.c.item, Integer), numbers.c.value))
    assert by_item(catalog.side_information({"value": as_number}), "value") == {1: ["10", "9"]}
    as_text = Related(select(cast(item.c.item_id, String(9)), literal(1)))
    with pytest.raises(InvalidId, match="items have int ids"):
        catalog.side_information({"value": as_text})


def test_ids_whose_kind_shows_in_the_rows_alone() -> None:
    """A column of SQLite may hold anything, and one of a view has no type."""
    engine = open_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE item (item_id VARCHAR(9) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO item VALUES ('1'), ('x')"))
        connection.execute(text("CREATE TABLE odd (a, b)"))
        connection.execute(text("INSERT INTO odd VALUES ('x', 2), ('x', 'ü'), ('x', 2.0), (1, 3)"))
        connection.execute(text("CREATE VIEW seen AS SELECT a || '' AS a, b FROM odd"))
    ensure(engine)
    catalog = Catalog(engine)
    with pytest.raises(InvalidId, match="items have str ids, the related rows 1; cast them"):
        catalog.side_information({"b": Related("odd", item_column="a", value_column="b")})
    side = catalog.side_information({"b": Related("seen", item_column="a", value_column="b")})
    assert by_item(side, "b") == {"1": [3], "x": [2, "ü"]}
    engine.dispose()


ALIASED = aliased(Book)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("colour", UnknownColumn, "'colour'; it has: code, title.* Related"),
        (JsonPath("colour", "a"), UnknownColumn, "'colour'; it has: code, title"),
        (Award.year, UnmappedTable, "not over the table that is mapped.*award.*Related"),
        (Book.pages + Award.year, UnmappedTable, "but over award"),
        (JsonPath(Award.detail, "a"), UnmappedTable, "but over award"),
        (ALIASED.title, UnmappedTable, "not over the table"),
        (Book.labels, InvalidOption, r"expected the name of a column.*received Book\.labels"),
        (select(Award.book_code, Award.year), InvalidOption, "expected the name of a column"),
        (7, InvalidOption, "received 7, a int"),
        (Related("nothing", "a", "b"), UnmappedTable, "no table 'nothing'.*table of the field 'f'"),
        (Related(42, "a", "b"), UnmappedTable, "42 is no Table, ORM class, SELECT or table name"),
        (Related(Book.title, "a", "b"), UnmappedTable, "is no Table, ORM class"),
        (Related("award", "isbn", "year"), UnknownColumn, "'isbn'; it has: id, book_code"),
        (Related("award", "book_code", "isbn"), UnknownColumn, "'isbn'; it has: id, book_code"),
        (Related("award", "book_code"), InvalidOption, "name the columns of 'award'"),
        (Related("award", "year", "id"), InvalidId, "items have str ids, .*award.year of type INT"),
        (Related(select(Award.book_code)), InvalidOption, "two columns.* received 1 columns"),
        (Related(select(Award)), InvalidOption, "two columns.* received 6 columns"),
        (Related(select(Award.id, Award.year), "id", "year"), InvalidOption, "needs no item_col"),
        (Related(select(Award.id, Award.year)), InvalidId, "items have str ids"),
        (Related(Label.books, value_column="title"), UnmappedTable, "items=Label"),
        (Related(ALIASED.labels, value_column="name"), UnmappedTable, "no relationship of the cl"),
        (Related(Book.labels), UnknownColumn, "received None, and there are: id, name"),
        (Related(Book.labels, value_column="label_name"), UnknownColumn, "there are: id, name"),
        (Related(Book.labels, "id", "name"), UnknownColumn, "no item_column"),
    ],
)
def test_what_cannot_be_a_source(
    books: Catalog, source: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        books.side_information({"f": source})


def test_what_cannot_be_fields(books: Catalog) -> None:
    for fields in ("title", [Book.title], {1: "title"}, {None: "title"}):
        with pytest.raises(InvalidOption, match="list of column names, or a mapping"):
            books.side_information(fields)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="keys of a JsonPath are texts; received 0"):
        JsonPath("extra", 0)  # type: ignore[arg-type]
    with books.engine.begin() as connection:
        connection.execute(Award.__table__.update().values(detail={"a": 1}))
    nested = Related(Award, item_column="book_code", value_column="detail")
    with pytest.raises(InvalidOption, match=r"one plain value per row.*received \{'a': 1\}"):
        books.side_information({"f": nested})


def test_an_item_in_two_rows(books: Catalog) -> None:
    rows = select(Book.code, Label.name).join(Book.labels)
    catalog = Catalog(books.engine, items=rows, id_column="code")
    with pytest.raises(DuplicateIds, match=r"duplicate ids in the items, 'b1'.*Related"):
        catalog.side_information(["name"])


def test_items_that_are_a_select(books: Catalog) -> None:
    chosen = select(Book.code, Book.extra, Book.pages.label("size")).where(Book.pages > 0)
    catalog = Catalog(books.engine, items=chosen, id_column="code")
    side = catalog.side_information(
        {
            "size": "size",
            "double": catalog.items.column("size") * 2,
            "brand": JsonPath("extra", "brand", "name"),
            "labels": Related(select(LABELLED.c.book_code, Label.name).join_from(LABELLED, Label)),
        }
    )
    assert by_item(side, "size") == {"b1": 300, "B2": 12, "b6": 1}
    assert by_item(side, "double")["b1"] == 600
    assert by_item(side, "brand") == {"b1": "Ost"}
    assert by_item(side, "labels") == {"b1": LABELS["b1"]}
    assert (
        side.report[-1] == "Field 'labels': skipped 1 values of ids that no item has, such as 'ü'."
    )
    with pytest.raises(UnmappedTable, match=r"no relationship .* which are a SELECT"):
        catalog.side_information({"labels": Related(Book.labels, value_column="name")})
    with pytest.raises(UnmappedTable, match=r"catalog\.items\.column"):
        catalog.side_information({"size": Book.pages})
    with pytest.raises(UnknownColumn, match="The SELECT has no column 'title'; it has: code, extr"):
        catalog.side_information(["title"])


_TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=0, max_size=4
)
_LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | _TEXTS
_NUMBERS = count()


def _plain(value: Any) -> Any:
    """A list without null and duplicates, of which ``1 == True`` is none."""
    if not isinstance(value, list):
        return value
    texts = list(dict.fromkeys(json.dumps(one) for one in value if one is not None))
    return [json.loads(one) for one in texts] or None


@given(
    items=st.lists(st.tuples(_TEXTS, st.none() | _TEXTS, _LEAVES | st.lists(_LEAVES)), max_size=6),
    pairs=st.lists(st.tuples(st.none() | _TEXTS, st.none() | _TEXTS), max_size=12),
    linked=st.lists(st.tuples(st.integers(0, 5), st.none() | _TEXTS), max_size=8),
)
@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_equals_a_gathering_by_hand(
    engine: Engine,
    items: list[tuple[Any, ...]],
    pairs: list[tuple[Any, Any]],
    linked: list[tuple[int, Any]],
) -> None:
    """Over random tables; some of the related rows are of items that are there."""
    items = list({row[0]: row for row in items}.values())
    ids = [row[0] for row in items]
    pairs = pairs + [(ids[at], value) for at, value in linked if at < len(ids)]
    metadata, number = MetaData(), next(_NUMBERS)
    code = {"sqlite": "BINARY", "postgresql": "C", "mariadb": "utf8mb4_bin"}[engine.dialect.name]
    # MariaDB's utf8mb4_bin takes "a" and "a " for the same key, so there is none.
    item = Table(
        f"item{number}",
        metadata,
        Column("code", String(9, collation=code)),
        Column("word", String(9)),
        Column("extra", JSON),
    )
    pair = Table(f"pair{number}", metadata, Column("code", String(9)), Column("value", String(9)))
    metadata.create_all(engine)
    with engine.begin() as connection:
        if items:
            connection.execute(
                insert(item),
                [{"code": row[0], "word": row[1], "extra": {"a": row[2]}} for row in items],
            )
        if pairs:
            connection.execute(insert(pair), [{"code": a, "value": b} for a, b in pairs])
    ensure(engine)
    catalog = Catalog(engine, items=item, id_column="code")
    side = catalog.side_information(
        {
            "word": "word",
            "inside": JsonPath("extra", "a"),
            "values": Related(pair, item_column="code", value_column="value"),
        }
    )
    assert sorted(side.ids) == sorted(ids)
    expected: dict[str, tuple[Any, ...]] = {}
    for own, word, inside in items:
        values = sorted({b for a, b in pairs if a == own and b is not None})
        expected[own] = (word, json.dumps(_plain(inside)), values or None)
    found = zip(side.ids, *(side.column(name) for name in side.columns), strict=True)
    assert {own: (word, json.dumps(inside), values) for own, word, inside, values in found} == (
        expected
    )
    metadata.drop_all(engine)


def test_rows_are_streamed(engine: Engine) -> None:
    """A hundred thousand related rows of long values that come to a few."""
    metadata = MetaData()
    item = Table("item", metadata, Column("item_id", Integer, primary_key=True))
    word = Table("word", metadata, Column("item_id", Integer), Column("word", String(500)))
    metadata.create_all(engine)
    ensure(engine)
    with engine.begin() as connection:
        connection.execute(insert(item), [{"item_id": at} for at in range(1, 11)])
        for start in range(0, 100_000, 20_000):
            connection.execute(
                insert(word),
                [
                    {"item_id": 1 + at % 10, "word": "x" * 499 + str(at % 3)}
                    for at in range(start, start + 20_000)
                ],
            )
    catalog = Catalog(engine)
    tracemalloc.start()
    side = catalog.side_information({"word": Related(word, "item_id", "word")})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(words) for words in side.column("word")] == [3] * 10
    # All rows at once would be 100,000 × 550 bytes.
    assert peak < 30e6
