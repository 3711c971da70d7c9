import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from itemspace.catalog import Catalog, schema
from itemspace.catalog.bookkeeping import PREFIX, metadata
from itemspace.catalog.engines import open_engine
from itemspace.catalog.versions import get_version
from itemspace.core.errors import DatabaseUnavailable, InvalidURL, MissingExtra, SchemaOutdated
from sqlalchemy import Engine, MetaData, create_engine, inspect, text


def test_up_and_down_twice(engine: Engine) -> None:
    for _ in range(2):
        schema.upgrade(engine)
        schema.upgrade(engine)
        assert schema.current(engine) == schema.head()
        assert set(metadata.tables) <= set(inspect(engine).get_table_names())
        schema.check(engine)
        schema.downgrade(engine, "base")
        assert schema.current(engine) is None
        assert not set(metadata.tables) & set(inspect(engine).get_table_names())


def test_data_of_each_revision_is_kept(engine: Engine) -> None:
    """From every revision there was, with rows in each table, up, down and up again."""
    now = "2026-11-24 12:00:00"
    rows = {
        "ingest": f"(1, 'a.csv', 'ab', 'item', 3, 0, '{now}')",
        "build": f"(1, 'item2vec', '/v', 'ab', 3, 8, 'cosine', '{{}}', '{now}')",
        "space": f"('items', 1, '{now}')",
        "version": f"(1, 'items', 1, 1, 'lsh:/v', 'ab', 3, 8, 'cosine', 'int', '{{}}', '{now}')",
    }
    schema.upgrade(engine, "0001")
    with engine.begin() as connection:
        for name, values in rows.items():
            connection.execute(text(f"INSERT INTO itemspace_{name} VALUES {values}"))
    for _ in range(2):
        with pytest.raises(SchemaOutdated, match="at revision 0001"):
            Catalog(engine)
        schema.upgrade(engine)
        found = get_version(Catalog(engine), "items")
        assert (found.number, found.url, found.users) == (1, "lsh:/v", None)
        schema.downgrade(engine, "0001")
    with engine.connect() as connection:
        for name in rows:
            assert connection.scalar(text(f"SELECT count(*) FROM itemspace_{name}")) == 1


UPGRADE = """
import sys
from sqlalchemy import create_engine
from itemspace.catalog import ensure, open_engine, schema
make = create_engine if sys.argv[2] == "own" else lambda url: open_engine(url, create=True)
engine = make(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
ensure(engine)
assert schema.current(engine) == schema.head()
"""


@pytest.mark.parametrize("whose", ["ours", "own"])
def test_several_processes_upgrade_at_once(engine: Engine, whose: str) -> None:
    """Through engines of ours, and of the caller's own making."""
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", UPGRADE, url, whose]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)
    ]
    with ExitStack() as stack:
        processes = [stack.enter_context(process) for process in started]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    schema.check(engine)


def test_migrations_make_what_the_tables_say(engine: Engine) -> None:
    schema.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, _: kind != "table" or name in metadata.tables},
        )
        assert compare_metadata(context, metadata) == []


def test_a_host_does_not_drop_our_tables(engine: Engine) -> None:
    schema.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": schema.include_name})
        assert compare_metadata(context, MetaData()) == []


def test_the_catalog_says_which_command_upgrades(engine: Engine) -> None:
    with pytest.raises(SchemaOutdated, match="itemspace database upgrade"):
        Catalog(engine)
    schema.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(SchemaOutdated, match="newer release"):
        Catalog(engine)
    with engine.begin() as connection:
        connection.execute(text(f"DELETE FROM {schema.VERSION_TABLE}"))
    with pytest.raises(SchemaOutdated):
        schema.ensure(engine)


def test_names_are_prefixed() -> None:
    assert all(name.startswith(PREFIX) for name in metadata.tables)


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="no database at"):
        Catalog(f"sqlite:///{tmp_path}/nothing.db")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "noise.db").write_bytes(b"not a database, but longer than its header " * 9)
    with pytest.raises(DatabaseUnavailable, match="noise"):
        Catalog(f"sqlite:///{tmp_path}/noise.db")


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/db", ""])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(InvalidURL):
        open_engine(url)


def test_a_driver_that_is_not_installed() -> None:
    with pytest.raises(MissingExtra, match="pip install"):
        open_engine("mysql+aiomysql://u:hunter2@host/db")


def test_passwords_do_not_show() -> None:
    engine = create_engine("sqlite://")
    engine.url = engine.url.set(username="me", password="hunter2", host="h")
    assert "hunter2" not in repr(engine.url)
    engine.dispose()


def test_secrets_among_the_parameters_do_not_show() -> None:
    engine = create_engine("postgresql+psycopg://127.0.0.1:1/d?password=hunter2&connect_timeout=1")
    with pytest.raises(DatabaseUnavailable) as caught:
        Catalog(engine)
    assert "hunter2" not in str(caught.value)
    assert "***" in str(caught.value)
    with pytest.raises(InvalidURL):
        open_engine("postgresql+psycopg://u:hunter2@host:abc/db")
