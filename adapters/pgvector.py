"""``pgvector:``, ``pgvector+psycopg:``: a table of PostgreSQL with the extension pgvector.

A collection is one table of ids and vectors, ``(id bigint | text COLLATE "C" PRIMARY KEY, vec
vector(d))``; its comment says in JSON what they are. Two traps decide how it is asked: only ``ORDER
BY`` the bare operator uses the index (so ``+ 0`` keeps it out), and a filter must not reach the
planner as an array constant, around which planning takes longer than the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg import errors as theirs
from psycopg.sql import Literal

from ..core.capabilities import Capabilities
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.neighbors import Completeness
from ..core.retriever import IdFilter
from ..core.vectors import FloatMatrix
from .driver import Candidates
from .options import build_options, collection_below, merge_options, search_fields
from .pgvector_options import WIDEST_EF, PgvectorFacts, PgvectorOptions
from .pgvector_server import Connection, PgvectorServer
from .pgvector_sql import SqlVectors, is_same_database
from .pgvector_wire import Binary, VectorFormat, pack_ids
from .url import RetrieverURL

#: So many allowed ids, at most, are looked up and scored, one by one: measured on 100,000 64-d
#: vectors, beyond it the index is faster.
FEW = 5_000
#: Candidates beyond k: pgvector orders by float32 distances, the wrapper by float64 scores.
_SPARE = 10
#: Queries of one statement, bytes of their answer, and bytes of vectors that are sent in one.
_TOGETHER, _ANSWER_BYTES, _BYTES = 100, 64 << 20, 8 << 20
#: A load may take so many seconds a row beyond ``timeout``, its index included.
_SECONDS_A_ROW = 0.02
#: IVFFlat waits for so many rows a list; without ``lists``, for enough to have ten.
_TRAINING_ROWS, _ROWS_A_LIST = 39, 1_000
#: Bytes that building HNSW may ask for, and rows that a statement may.
_MOST_MEMORY, _MOST = 2 << 30, 1 << 31
_MEASURES = {
    Metric.COSINE: ("<=>", "cosine"),
    Metric.INNER_PRODUCT: ("<#>", "ip"),
    Metric.EUCLIDEAN: ("<->", "l2"),
}


class PgvectorDriver:
    """A :class:`~itemspace.adapters.driver.Driver` over one table."""

    def __init__(
        self,
        server: PgvectorServer,
        options: PgvectorOptions,
        facts: PgvectorFacts,
        oids: dict[str, int],
    ) -> None:
        self._server, self._options = server, options
        self.dim, self.metric, self.id_kind = facts.dim, Metric(facts.metric), facts.kind
        self._table = options.table
        self._vectors = VectorFormat(options.storage, oids[options.storage], self.dim, self.metric)
        self._id_type = "bigint" if self.id_kind == "int" else "text"
        self._id_array = f"{self._id_type}[]"
        self._operator, measure = _MEASURES[self.metric]
        self._operators = f"{options.storage}_{measure}_ops"
        self._indexed = options.index == "none"
        whole = options.storage == "vector"
        self.capabilities = Capabilities(
            scores="exact" if whole else "estimated",
            stores="exact" if whole else "lossy",
            is_exact=whole and options.index == "none",
        )

    # -- writing -----------------------------------------------------------------------------

    def upsert(self, ids: Ids, vectors: FloatMatrix) -> None:
        statement = (
            f"INSERT INTO {self._table} SELECT * FROM "
            f"unnest($1::{self._id_array}, $2::{self._options.storage}[]) "
            "ON CONFLICT (id) DO UPDATE SET vec = EXCLUDED.vec"
        )
        step = max(1, _BYTES // self._vectors.width)
        with self._server.transaction(_SECONDS_A_ROW * len(ids)) as connection:
            if not self._has_index(connection):
                # Two writers would otherwise each make it, and wait for each other.
                connection.execute(f"LOCK TABLE {self._table} IN SHARE ROW EXCLUSIVE MODE")
            for start in range(0, len(ids), step):
                rows = slice(start, start + step)
                packed = [pack_ids(ids[rows], self.id_kind), self._vectors.pack(vectors[rows])]
                connection.execute(statement, packed)
            if not self._has_index(connection):
                self._make_index(connection)

    def delete(self, ids: Ids) -> int:
        statement = f"DELETE FROM {self._table} WHERE id = ANY($1::{self._id_array})"
        with self._server.transaction(_SECONDS_A_ROW * len(ids)) as connection:
            return connection.execute(statement, [pack_ids(ids, self.id_kind)]).rowcount

    def flush(self) -> None:
        """Every change is durable when its call returns."""

    def close(self) -> None:
        self._server.close()

    def destroy(self) -> None:
        try:
            with self._server.transaction() as connection:
                connection.execute(f"DROP TABLE IF EXISTS {self._table}")
        finally:
            self.close()

    def _has_index(self, connection: Connection) -> bool:
        if not self._indexed:
            statement = (
                "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                "JOIN pg_am a ON a.oid = c.relam "
                "WHERE i.indrelid = to_regclass($1) AND a.amname = $2)"
            )
            found = _value(connection, statement, self._table, self._options.index)
            self._indexed = bool(found)
        return self._indexed

    def _make_index(self, connection: Connection) -> None:
        """Once there is enough for it: built over rows that are there it takes half the time."""
        options, width = self._options, self._vectors.width
        count = int(_value(connection, f"SELECT count(*) FROM {self._table}"))
        if options.index == "hnsw":
            settings = f"m = {options.m}, ef_construction = {options.ef_construction}"
            memory = min(count * (width + 48 * options.m + 256), _MOST_MEMORY)
        else:
            lists = options.lists or max(10, int(min(count / _ROWS_A_LIST, (1_000 * count) ** 0.5)))
            if count < lists * (_TRAINING_ROWS if options.lists else _ROWS_A_LIST):
                return
            settings = f"lists = {lists}"
            sample = min(count, max(10_000, 50 * lists))
            memory = sample * (width + 4 * lists) + lists * (16 * lists + 4 * width)
        self._server.allow(connection, _SECONDS_A_ROW * count)
        statements = (
            f"SET LOCAL maintenance_work_mem = '{64 + memory // 2**20}MB'",
            f"CREATE INDEX ON {self._table} USING {options.index} "
            f"(vec {self._operators}) WITH ({settings})",
        )
        try:
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement)
        except theirs.DiskFull:  # parallel workers share memory in /dev/shm, small in a container
            connection.execute("SET LOCAL max_parallel_maintenance_workers = 0")
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"ANALYZE {self._table}")

    # -- reading -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._server.read(f"SELECT count(*) FROM {self._table}")[0][0])

    def vectors(self, ids: Ids) -> tuple[npt.NDArray[np.bool_], FloatMatrix]:
        rows = self._server.read(
            f"SELECT id, vec FROM {self._table} WHERE id = ANY($1::{self._id_array})",
            pack_ids(ids, self.id_kind),
        )
        names, matrix = self._unpack(rows)
        at = Ids(names, self.id_kind).rows_of(ids)
        return at >= 0, matrix[at[at >= 0]]

    def scan(self, batch_size: int) -> Iterator[tuple[Ids, FloatMatrix]]:
        # Each batch is a statement of its own: nothing stays open while the caller is at work.
        condition, last = "", list[Any]()
        while True:
            rows = self._server.read(
                f"SELECT id, vec FROM {self._table}{condition} ORDER BY id LIMIT $1",
                min(batch_size, _MOST),
                *last,
            )
            if rows:
                names, matrix = self._unpack(rows)
                yield Ids(names, self.id_kind), matrix
            if len(rows) < batch_size:
                return
            condition, last = f" WHERE id > $2::{self._id_type}", [rows[-1][0]]

    def search(
        self,
        queries: FloatMatrix,
        k: int,
        allowed: IdFilter | None,
        excluded: IdFilter | None,
    ) -> list[Candidates]:
        known = allowed is not None and len(allowed) <= FEW
        if known or self._options.index == "none" or k + _SPARE > WIDEST_EF:
            return self._scan(queries, k, allowed, excluded)
        step = self._together(k)
        answers = [
            answer
            for start in range(0, len(queries), step)
            for answer in self._ask(queries[start : start + step], k, allowed, excluded)
        ]
        short = [at for at, answer in enumerate(answers) if len(answer.ids) < k]
        again = self._scan(queries[short], k, allowed, excluded)
        for at, answer in zip(short, again, strict=True):
            answers[at] = answer
        return answers

    def _scan(
        self,
        queries: FloatMatrix,
        k: int,
        allowed: IdFilter | None,
        excluded: IdFilter | None,
    ) -> list[Candidates]:
        """Without the index; a query that goes through the whole table is a statement alone."""
        known = allowed is not None and len(allowed) <= FEW
        step = self._together(k) if known else 1
        return [
            answer
            for start in range(0, len(queries), step)
            for answer in self._ask(queries[start : start + step], k, allowed, excluded, scans=True)
        ]

    def _together(self, k: int) -> int:
        """Queries of one statement, whose answer has to fit into memory."""
        return max(1, min(_TOGETHER, _ANSWER_BYTES // (self._vectors.width * (k + _SPARE))))

    def _ask(
        self,
        queries: FloatMatrix,
        k: int,
        allowed: IdFilter | None,
        excluded: IdFilter | None,
        *,
        scans: bool = False,
    ) -> list[Candidates]:
        """One statement; ``scans`` looks at every row that may come back, else the index does."""
        fetch = min(k, _MOST) + _SPARE
        alone = len(queries) == 1
        filters = [self._packed(ids) for ids in (allowed, excluded) if ids is not None]
        statement = self.statement(
            alone, scans, allowed=allowed is not None, excluded=excluded is not None
        )
        wider = self._options.index == "hnsw" and fetch > self._options.ef_search and not scans
        rows = self._server.read(
            statement,
            self._vectors.pack_one(queries) if alone else self._vectors.pack(queries),
            fetch,
            *filters,
            **({"hnsw.ef_search": fetch} if wider else {}),
        )
        groups: list[list[tuple[Any, ...]]] = [rows] if alone else [[] for _ in queries]
        if not alone:
            for name, vector, at in rows:
                groups[at - 1].append((name, vector))
        answers = []
        for group in groups:
            names, matrix = self._unpack(group)
            complete = Completeness.FULL if len(group) >= k else Completeness.EXHAUSTED
            answers.append(Candidates(names, complete, vectors=matrix))
        return answers

    def statement(self, alone: bool, scans: bool, *, allowed: bool, excluded: bool) -> str:
        """The SQL of a search: $1 is the vector or all of them, $2 the limit, then the filters."""
        storage, array = self._options.storage, self._id_array
        vector = f"$1::{storage}" if alone else "q.vec"
        conditions = []
        if allowed and scans:
            conditions.append(f"id = ANY($3::{array})")
        elif allowed:
            # IS TRUE keeps it a hashed subplan, made once; a join would lose the index's order.
            conditions.append(f"(id IN (SELECT unnest($3::{array}))) IS TRUE")
        if excluded:
            conditions.append(f"id NOT IN (SELECT unnest(${3 + allowed}::{array}))")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        distance = f"vec {self._operator} {vector}"
        order = f"({distance}) + 0" if scans else distance
        nearest = f"SELECT id, vec FROM {self._table}{where} ORDER BY {order} LIMIT $2"
        if alone:
            return nearest
        return (
            f"SELECT t.id, t.vec, q.at FROM unnest($1::{storage}[]) WITH ORDINALITY q(vec, at) "
            f"CROSS JOIN LATERAL ({nearest}) t"
        )

    def vectors_in(self, url: Any) -> SqlVectors | None:
        """See :meth:`.DriverRetriever.vectors_in`."""
        if not is_same_database(self._server.url, self._options, url):
            return None
        return SqlVectors(self._options, self.metric)

    def _packed(self, ids: IdFilter) -> Binary:
        """The filter's ids as an array; made once."""
        return ids.translated((pack_ids, self.id_kind), lambda given: pack_ids(given, self.id_kind))

    def _unpack(self, rows: list[tuple[Any, ...]]) -> tuple[npt.NDArray[Any], FloatMatrix]:
        names = np.empty(len(rows), dtype=np.int64 if self.id_kind == "int" else object)
        names[:] = [row[0] for row in rows]
        return names, self._vectors.unpack([row[1] for row in rows])


class PgvectorBackend:
    """Tables in a PostgreSQL with pgvector 0.8 or later.

    Its connections are configured once each: connect to the server itself, or through a pooler
    that gives out whole sessions.
    """

    options = PgvectorOptions

    def child(self, url: RetrieverURL, name: str) -> RetrieverURL:
        """The name is added to the collection, which is cut so that both fit."""
        return collection_below(url, PgvectorOptions, name, 63)

    def create(
        self, url: RetrieverURL, options: PgvectorOptions, dim: int, metric: Metric, id_kind: IdKind
    ) -> PgvectorDriver:
        options.check_dimension(dim)
        facts = PgvectorFacts(dim, metric.value, id_kind, build_options(options))
        column = "bigint" if id_kind == "int" else 'text COLLATE "C"'
        table = options.table
        server = PgvectorServer(url, options, writable=True)
        try:
            with server.transaction() as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                connection.execute(
                    f"CREATE TABLE {table} (id {column} PRIMARY KEY, "
                    f"vec {options.storage}({dim}) NOT NULL)"
                )
                comment = Literal(facts.to_comment()).as_string(connection)
                connection.execute(f"COMMENT ON TABLE {table} IS {comment}")
                rows = connection.execute(PgvectorFacts.query, [table]).fetchall()
                facts, oids = PgvectorFacts.from_rows(url, rows)
            return PgvectorDriver(server, options, facts, oids)
        except BaseException:
            server.close()
            raise

    def open(self, url: RetrieverURL, options: dict[str, Any], *, writable: bool) -> PgvectorDriver:
        free = search_fields(PgvectorOptions)
        sought = {name: value for name, value in options.items() if name in free}
        chosen = PgvectorOptions(**sought)
        server = PgvectorServer(url, chosen, writable=writable)
        try:
            rows = server.read(PgvectorFacts.query, chosen.table)
            facts, oids = PgvectorFacts.from_rows(url, rows)
            merged = merge_options(url, PgvectorOptions, facts.options, options)
            return PgvectorDriver(server, merged, facts, oids)
        except BaseException:
            server.close()
            raise


def _value(connection: Connection, statement: str, *parameters: Any) -> Any:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]


backend = PgvectorBackend()
