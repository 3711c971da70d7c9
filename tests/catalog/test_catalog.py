import pytest
from itemspace.catalog import Catalog, ensure
from itemspace.core.errors import DuplicateIds, UnknownColumn
from sqlalchemy import Engine, text


def test_side_information(shop: Catalog) -> None:
    """On SQLite and PostgreSQL."""
    side = shop.side_information(["kind", "price", "kind"])
    assert repr(side) == "<SideInformation of 200 items: kind, price>"
    assert side.ids.kind == "str"
    rows = dict(
        zip(side.ids, zip(side.column("kind"), side.column("price"), strict=True), strict=True)
    )
    assert rows["p2"] == ("bags", 2.0)
    assert rows["p7"] == (None, 7.0)
    assert len(shop.side_information([])) == 200
    with pytest.raises(UnknownColumn, match="'brand'; it has: sku, title, kind, price, stock"):
        shop.side_information(["kind", "brand"])


def test_side_information_of_doubtful_tables(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE thing (code INTEGER, kind VARCHAR(9))"))
    ensure(engine)
    catalog = Catalog(engine, items="thing", id_column="code")
    empty = catalog.side_information(["kind"])
    assert (len(empty), empty.ids.kind, empty.column("kind")) == (0, "int", [])
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO thing VALUES (1, 'a'), (NULL, 'b')"))
    assert list(catalog.side_information(["kind"]).ids) == [1]
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO thing VALUES (1, 'c')"))
    with pytest.raises(DuplicateIds):
        catalog.side_information(["kind"])
