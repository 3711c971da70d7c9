"""``sqlite-vec:``: a table in a SQLite file, and the distances of the extension sqlite-vec.

A search is a scan in C, 25 ms of 100,000 × 64, and 31 for the thousand nearest. sqlite-vec's own
virtual table took 16 and 216 ms, and twice as long to load; it gives 4,096 items at most. An inner
product is the cosine times the length, which is kept beside the vector: as exact as any in float32.
SQLite is not told of filters: with every tenth of 100,000 ids allowed it took 15 to 26 ms, with
every second 47 to 51, where to ask for more took 27; twenty queries at once took it 270 and 1,000,
and 520. Python's ``sqlite3`` often cannot load extensions; apsw can.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import sqlite_vec

from ..core.capabilities import Capabilities
from ..core.errors import (
    BackendError,
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    CorruptData,
    InvalidURL,
    LockedError,
)
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.vectors import FloatMatrix
from .collection import CollectionDriver, Found, Untold
from .facts import facts_of, read_facts
from .locks import ReadWriteLock
from .options import check_option, collection_below, search_time
from .scan import norms_of
from .url import RetrieverURL

FORMAT = 1
#: The table of what the collections of a file are.
_NOTES = "itemspace_collections"
#: Smaller is nearer.
_ORDERS = {
    Metric.COSINE: "vec_distance_cosine(v, ?)",
    Metric.EUCLIDEAN: "vec_distance_l2(v, ?)",
    Metric.INNER_PRODUCT: "length * (ifnull(vec_distance_cosine(v, ?), 1) - 1)",
}
#: Not INTEGER: that needs no index, so that to count would be to read the vectors.
_TYPES = {"int": "INT", "str": "TEXT"}
_LEAST = {"int": -(2**63), "str": ""}
_LISTED = "id IN (SELECT value FROM json_each(?))"
#: What apsw raises, what that is here, what to do; the first that fits.
ERRORS: tuple[tuple[tuple[type[Exception], ...], type[BackendError | CorruptData], str], ...] = (
    ((apsw.BusyError, apsw.LockedError), LockedError, "try again, or raise timeout"),
    ((apsw.CorruptError, apsw.NotADBError), CorruptData, "restore it, or build it again"),
    (
        (apsw.CantOpenError, apsw.FullError, apsw.IOError, apsw.PermissionsError),
        BackendUnavailable,
        "check the disk and the rights",
    ),
    ((apsw.ReadOnlyError,), BackendUnavailable, "check the rights"),
    ((apsw.Error,), BackendError, "see what became of the table"),
)


@dataclass(frozen=True)
class SQLiteVecOptions:
    """Parameters of a ``sqlite-vec:`` URL, whose path is a file.

    Distances are float32: they overflow for lengths beyond 1e17 and vanish below 1e-15.

    Parameters
    ----------
    collection
        Name of the table, 1 to 200 characters; a file holds any number of them.
    timeout
        Seconds to wait while another process writes, at most a day.
    """

    collection: str = "items"
    timeout: float = search_time(10.0)

    def __post_init__(self) -> None:
        is_name = 1 <= len(self.collection) <= 200 and "\0" not in self.collection
        check_option(self, "collection", is_name, "a name of 1 to 200 characters")
        check_option(self, "timeout", 0 <= self.timeout <= 86_400, "from 0 to 86,400 seconds")


class SQLiteFile:
    """A file that is opened for each operation, which takes 0.1 ms.

    Nothing of it may be open during a fork: SQLite's locks would be the parent's alone, and what
    the child then commits was seen to be lost.
    """

    def __init__(self, url: RetrieverURL, timeout: float, *, writable: bool) -> None:
        if url.location is None:
            raise InvalidURL(
                f"'{url.scheme}:' is a SQLite file; name it, as in "
                f"'{url.scheme}:///data/vectors.db'.",
                url=str(url),
            )
        self.path, self._timeout = url.location.absolute(), timeout
        self._flags = apsw.SQLITE_OPEN_URI | (
            apsw.SQLITE_OPEN_READWRITE if writable else apsw.SQLITE_OPEN_READONLY
        )

    def __str__(self) -> str:
        return str(self.path)

    def make(self) -> None:
        """Make the file, where there is none, for big rows and for readers beside a writer."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BackendUnavailable(f"Cannot make the folder of {self}: {error}.") from error
        with self.opened(apsw.SQLITE_OPEN_CREATE) as connection:
            if not connection.pragma("page_count"):
                connection.pragma("page_size", 16_384)
                connection.pragma("journal_mode", "wal")

    def read(self, statement: str, *parameters: Any) -> list[Any]:
        """The rows of a statement."""
        with self.opened() as connection:
            return connection.execute(statement, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """All or nothing, durable at the end."""
        with self.opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def opened(self, flags: int = 0) -> Iterator[apsw.Connection]:
        """A connection; what was begun and not committed is undone at its end."""
        try:
            with _operations.read():
                connection = apsw.Connection(self._name, self._flags | flags)
                try:
                    connection.set_busy_timeout(int(1000 * self._timeout))
                    connection.enable_load_extension(True)
                    connection.load_extension(sqlite_vec.loadable_path())
                    connection.enable_load_extension(False)
                    yield connection
                finally:
                    connection.close()
        except apsw.Error as error:
            kind, advice = next(row[1:] for row in ERRORS if isinstance(error, row[0]))
            text = f"The SQLite file {self} fails ({error}); {advice}."
            raise kind(text, path=str(self), holder="another process") from error

    @property
    def _name(self) -> str:
        """For SQLite, which would make files beside one that is only read."""
        name = self.path.as_uri()
        reads = self._flags & apsw.SQLITE_OPEN_READONLY
        if reads and not os.access(self.path.parent, os.W_OK) and not Path(f"{self}-wal").exists():
            return f"{name}?immutable=1"
        return name


class SQLiteVecCollection(Untold):
    """A :class:`~itemspace.adapters.collection.Collection` in a table."""

    batch = most = sys.maxsize
    few = 5_000

    def __init__(self, file: SQLiteFile, name: str, facts: dict[str, Any]) -> None:
        self._file, self._name, self._table = file, name, _quoted(name)
        self.dim, self.metric = int(facts["dim"]), Metric(facts["metric"])
        self.id_kind: IdKind = facts["ids"]
        self.capabilities = Capabilities(is_exact=True, supports_filter=False)

    def put(self, ids: Ids, vectors: FloatMatrix) -> None:
        rows = zip(ids.to_list(), norms_of(vectors).tolist(), map(bytes, vectors), strict=True)
        with self._file.transaction() as connection:
            connection.executemany(f"REPLACE INTO {self._table} VALUES (?, ?, ?)", rows)

    def get(self, ids: Ids) -> Found:
        return self._found(f"WHERE {_LISTED}", json.dumps(ids.to_list()))

    def remove(self, ids: Ids) -> int:
        with self._file.transaction() as connection:
            listed = json.dumps(ids.to_list())
            connection.execute(f"DELETE FROM {self._table} WHERE {_LISTED}", (listed,))
            return connection.changes()

    def pages(self, size: int) -> Iterator[Found]:
        after, compared = _LEAST[self.id_kind], ">="
        while True:
            page = self._found(f"WHERE id {compared} ? ORDER BY id LIMIT ?", after, size)
            if not len(page.ids):
                return
            yield page
            after, compared = page.ids[-1], ">"

    def count(self) -> int:
        return int(self._file.read(f"SELECT count(*) FROM {self._table}")[0][0])

    def nearest(self, queries: FloatMatrix, limit: int, allowed: None) -> list[Found]:
        del allowed
        # Sorted without the vectors, which would be copied.
        nearest = f"SELECT rowid FROM {self._table} ORDER BY {_ORDERS[self.metric]} LIMIT ?"
        return [
            self._found(f"WHERE rowid IN ({nearest})", bytes(query), limit) for query in queries
        ]

    def flush(self) -> None:
        """What was written is durable already."""

    def close(self) -> None:
        """Nothing is open."""

    def destroy(self) -> None:
        with self._file.transaction() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {self._table}")
            connection.execute(f"DELETE FROM {_NOTES} WHERE name = ?", (self._name,))

    def _found(self, condition: str, *parameters: Any) -> Found:
        rows = self._file.read(f"SELECT id, v FROM {self._table} {condition}", *parameters)
        try:
            blob = b"".join(row[1] for row in rows)
            matrix = np.frombuffer(blob, dtype=np.float32).reshape(len(rows), self.dim)
            return Found(Ids([row[0] for row in rows], self.id_kind), matrix)
        except (TypeError, ValueError) as error:
            raise _damaged(self._file, self._name, error) from error


class SQLiteVecBackend:
    """Makes drivers; what the scheme stands for."""

    options = SQLiteVecOptions

    def child(self, url: RetrieverURL, name: str) -> RetrieverURL:
        """Another collection of the same file."""
        return collection_below(url, self.options, name, 200)

    def create(
        self, url: RetrieverURL, options: Any, dim: int, metric: Metric, id_kind: IdKind
    ) -> CollectionDriver:
        """An empty table, in a new file or beside other collections."""
        file, name = SQLiteFile(url, options.timeout, writable=True), options.collection
        facts = facts_of(FORMAT, dim, metric, id_kind, {})
        file.make()
        with file.transaction() as connection:
            stored = "SELECT name = ?, name = ? COLLATE NOCASE FROM sqlite_schema"
            tables = connection.execute(stored, (_NOTES, name)).fetchall()
            if tables and not any(is_notes for is_notes, _ in tables):
                raise BackendExists(f"{file} holds something else; name a file of its own.")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_NOTES} (name TEXT PRIMARY KEY, facts TEXT) STRICT"
            )
            if any(is_named for _, is_named in tables):
                raise BackendExists(
                    f"{file} has a collection {name!r}; open it with open_retriever(…, mode='rw'), "
                    "or name another."
                )
            connection.execute(
                f"CREATE TABLE {_quoted(name)} (id {_TYPES[id_kind]} PRIMARY KEY NOT NULL, "
                f"length REAL NOT NULL, v BLOB NOT NULL CHECK (length(v) = {4 * dim})) STRICT"
            )
            noted = (name, json.dumps(facts))
            connection.execute(f"REPLACE INTO {_NOTES} VALUES (?, ?)", noted)
        return CollectionDriver(SQLiteVecCollection(file, name, facts))

    def open(
        self, url: RetrieverURL, options: dict[str, Any], *, writable: bool
    ) -> CollectionDriver:
        """The table that a file holds; any number of processes may read and write it."""
        chosen = self.options(**options)
        file, name = SQLiteFile(url, chosen.timeout, writable=writable), chosen.collection
        if not file.path.is_file():
            raise BackendNotFound(f"There is no file {file}; check the path.")
        ours = file.read("SELECT 1 FROM sqlite_schema WHERE name = ?", _NOTES)
        noted = file.read(f"SELECT facts FROM {_NOTES} WHERE name = ?", name) if ours else []
        if not noted:
            raise BackendNotFound(
                f"{file} has no collection {name!r} of itemspace's; check the name, or make it "
                "with create_retriever(url, vectors)."
            )
        facts = read_facts(noted[0][0], f"{file}, {name!r}", FORMAT, self.options)
        return CollectionDriver(SQLiteVecCollection(file, name, facts))


def _damaged(file: SQLiteFile, name: str, error: Exception) -> CorruptData:
    return CorruptData(
        f"The collection {name!r} in {file} is not as it was written ({error!r}); restore it, or "
        "build it again.",
        path=str(file),
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


#: Held by whoever has a file open, and against them by a thread that forks.
_operations = ReadWriteLock()


def _renew() -> None:
    global _operations  # noqa: PLW0603
    _operations = ReadWriteLock()


os.register_at_fork(
    before=lambda: _operations.write().__enter__(),
    after_in_parent=lambda: _operations.write().__exit__(None, None, None),
    after_in_child=_renew,
)

backend = SQLiteVecBackend()
