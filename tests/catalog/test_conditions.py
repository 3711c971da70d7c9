import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace.catalog.conditions import parse_condition
from itemspace.core.errors import InvalidCondition, ItemspaceError, UnknownColumn
from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
)

ITEMS = Table(
    "item",
    MetaData(),
    Column("id", Integer),
    Column("year", Integer),
    Column("title", String),
    Column("price", Float),
    Column("hidden", Boolean),
    Column("Odd Name", Integer),
)
COLUMNS = dict(ITEMS.c)
ROWS = [
    {"id": 1, "year": 1989, "title": "Heat", "price": 1.5, "hidden": False, "Odd Name": 1},
    {"id": 2, "year": 1995, "title": "Toy Story", "price": 10.0, "hidden": True, "Odd Name": 2},
    {"id": 3, "year": 2000, "title": "x'); DROP--", "price": None, "hidden": False, "Odd Name": 3},
    {"id": 4, "year": None, "title": None, "price": 7.0, "hidden": None, "Odd Name": 4},
]


def ids(text: str) -> list[int]:
    engine = create_engine("sqlite://")
    ITEMS.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(ITEMS), ROWS)
        condition = parse_condition(text, COLUMNS)
        found = list(connection.scalars(select(ITEMS.c.id).where(condition).order_by(ITEMS.c.id)))
    engine.dispose()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year >= 1990", [2, 3]),
        ("YEAR >= 1990", [2, 3]),
        ("year >= 1990 AND price < 20", [2]),
        ("year < 1990 or price = 7", [1, 4]),
        ("(year = 1989)", [1]),
        ("not (year = 1989)", [2, 3]),
        ("year != 1989", [2, 3]),
        ("year <> 1989", [2, 3]),
        ("year is null", [4]),
        ("year is not null and title is not null", [1, 2, 3]),
        ("title like 'T%'", [2]),
        ("title not like 'T%'", [1, 3]),
        ("title ilike 'toy%'", [2]),
        ("lower(title) = 'heat'", [1]),
        ("length(title) > 8", [2, 3]),
        ("year in (1989, 2000)", [1, 3]),
        ("year not in (1989, 2000)", [2]),
        ("title in ('Heat')", [1]),
        ("year between 1990 and 1999", [2]),
        ("price * 2 + 1 > 15", [2]),
        ("price / 2 < 1 and -price < 0", [1]),
        ("year % 2 = 0", [3]),
        ("abs(price - 8) <= 2", [2, 4]),
        ("coalesce(price, 0) = 0", [3]),
        ("hidden", [2]),
        ("hidden is true", [2]),
        ("not hidden", [1, 3]),
        ("true", [1, 2, 3, 4]),
        ("false", []),
        ('"Odd Name" = 3', [3]),
        ("title = 'x''); DROP--'", [3]),
        ("title = 'it''s'", []),
        ("price > 1e0", [1, 2, 4]),
        ("year = null", []),
    ],
)
def test_conditions(text: str, expected: list[int]) -> None:
    assert ids(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1=1) UNION SELECT 1,2,3,4,5,6 --",
        "1=1 UNION SELECT 1",
        "year > 1; DROP TABLE item",
        "year > 1;",
        "id IN (SELECT id FROM item)",
        "EXISTS (SELECT 1)",
        "(SELECT 1) = 1",
        "SELECT 1",
        "DROP TABLE item",
        "PRAGMA table_info(item)",
        "load_extension('x')",
        "pg_sleep(10) IS NULL",
        "pg_read_file('/etc/passwd') = ''",
        "randomblob(1000000000) = 1",
        "char(65) = 'A'",
        "year = :bound",
        "year = ?",
        "year = @variable",
        "item.year = 1",
        "main.item.year = 1",
        "*",
        "year",
        "1",
        "year + 1",
        "'text'",
        "null",
        "title LIKE 'a' ESCAPE 'b'",
        "CAST(year AS TEXT) = '1'",
        "CASE WHEN 1=1 THEN 1 END = 1",
        "title COLLATE NOCASE = 'x'",
        "title || 'x' = 'y'",
        "year OVER () = 1",
        "count(*) > 1",
        "year > ANY(1)",
        "year = (1, 2)",
        "",
        "  ",
        "year >=",
        "((year = 1)",
        "year = 1)",
        "year = 1 --",
        "\x00",
        "year = 'a\n",
        "x" * 20_000,
        "(" * 3000 + "1=1" + ")" * 3000,
        "NOT " * 3000 + "1=1",
    ],
)
def test_nothing_else_gets_through(text: str) -> None:
    try:
        condition = parse_condition(text, COLUMNS)
    except ItemspaceError as error:
        assert isinstance(error, InvalidCondition | UnknownColumn)
    else:
        # A comment or semicolon at the end is no part of the tree: one plain comparison is left.
        assert str(condition) in ("item.year = :param_1", "item.year > :param_1")


def test_unknown_columns_name_the_known_ones() -> None:
    with pytest.raises(UnknownColumn, match=r"'yaer'.*there are: id, year.*Did you mean 'year'"):
        parse_condition("yaer > 1", COLUMNS)
    with pytest.raises(UnknownColumn, match="single quotes: 'Heat'"):
        parse_condition('title = "Heat"', COLUMNS)


def test_literals_are_bound_never_pasted() -> None:
    compiled = parse_condition(
        "title = 'x''; DROP TABLE item' AND year IN (1, 2)", COLUMNS
    ).compile()
    assert "DROP" not in str(compiled)
    assert "x'; DROP TABLE item" in compiled.params.values()


@given(st.text(max_size=60) | st.text("()'\"=<>-;/*year 19ANDORNOT\n", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        condition = parse_condition(text, COLUMNS)
    except (InvalidCondition, UnknownColumn):
        return
    engine = create_engine("sqlite://")
    ITEMS.metadata.create_all(engine)
    with engine.connect() as connection:
        try:
            connection.execute(select(ITEMS.c.id).where(condition)).all()
        except Exception as error:
            assert isinstance(error.__cause__, sqlite3.OperationalError | OverflowError), error
    engine.dispose()


def test_text_values_any(value: Any = "ü'\"%_\\") -> None:
    quoted = value.replace("'", "''")
    compiled = parse_condition(f"title = '{quoted}'", COLUMNS).compile()
    assert list(compiled.params.values()) == [value]
