"""``lancedb:``: a table of a LanceDB database, in a folder.

What the engine (LanceDB 0.40) sets, as measured:

- A write of any size is one commit (1.5 GB were), all or nothing. It syncs none; a flush does.
- What was written since the index was built is scanned beside it, until a flush folds it in.
- 100 queries at once take a quarter of the time of one by one.
- Told of every tenth, and every second, of 100,000 × 64, it found all of the ten nearest in 25 and
  103 ms; a search for more than k, in as many lists, of which some are dropped, did in 8 and 6.
  So it is not told of filters. (In 50 lists both found .93 where every tenth was allowed.)
- Merges through an index over the ids have lost updates (lancedb#3515), so they have none: one id
  is found in 3 ms among 100,000, and in 11 ms in a million.
- Of 300 forked children that used it 28 crashed, where their parent had: they get an error instead.
- Distances are float32: they overflow for lengths beyond 1e19, and vanish below 1e-19.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.capabilities import Capabilities
from ..core.errors import (
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    ClosedError,
    CorruptData,
    ItemspaceError,
)
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.storage import sync
from ..core.vectors import FloatMatrix, unit_rows
from .collection import CollectionDriver, Found, Untold
from .engine_folder import EngineFolder
from .facts import facts_of, read_facts
from .lancedb_engine import DISTANCES, connect, engine, index_config, named
from .lancedb_options import LanceDBOptions
from .locks import WriterLock
from .options import merge_options
from .url import RetrieverURL

FORMAT = 1
_FACTS, _COLUMNS = b"itemspace", ["id", "vector"]
_IDS = {"int": pa.int64(), "str": pa.string()}
#: So many are scanned as fast as an index answers.
_SCANNED = 20_000
#: Queries asked at once, and components of one answer.
_QUERIES, _COMPONENTS = 100, 1 << 24
#: How long a version stays for those in other processes who scan it.
_KEPT = timedelta(minutes=10)


class LanceDBCollection(Untold):
    """A :class:`~itemspace.adapters.collection.Collection` in a table.

    Where there is none, the first rows make it: a creation that is killed leaves all or nothing.
    """

    batch = most = sys.maxsize
    few = 1_000

    def __init__(
        self,
        place: Path,
        facts: dict[str, Any],
        options: LanceDBOptions,
        lock: WriterLock | None,
        table: Any = None,
    ) -> None:
        self._place, self._options, self._lock, self._table = place, options, lock, table
        self.dim, self.metric = int(facts["dim"]), Metric(facts["metric"])
        self.id_kind: IdKind = facts["ids"]
        self.capabilities = Capabilities(is_exact=options.index == "none", supports_filter=False)
        vector = pa.list_(pa.float32(), self.dim)
        self._schema = pa.schema(
            [
                pa.field("id", _IDS[self.id_kind], nullable=False),
                pa.field("vector", vector, nullable=False),
            ],
            metadata={_FACTS: json.dumps(facts)},
        )
        self._changed = self._closed = False

    def put(self, ids: Ids, vectors: FloatMatrix) -> None:
        names, vector = (self._schema.field(name).type for name in _COLUMNS)
        columns = [
            pa.array(ids.to_array(), names),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=vector),
        ]
        rows = pa.Table.from_arrays(columns, schema=self._schema)
        with self._engine():
            self._changed = True
            if self._table is None:
                self._table = connect(self._place.parent).create_table(self._place.stem, rows)
            else:
                merge = self._table.merge_insert("id").when_matched_update_all()
                merge.when_not_matched_insert_all().execute(rows)

    def get(self, ids: Ids) -> Found:
        with self._engine():
            found = [
                self._table.search().where(some).select(_COLUMNS).to_arrow() for some in named(ids)
            ]
        return self._found(pa.concat_tables(found))

    def remove(self, ids: Ids) -> int:
        with self._engine():
            self._changed = True
            return sum(self._table.delete(some).num_deleted_rows for some in named(ids))

    def pages(self, size: int) -> Iterator[Found]:
        with self._engine():
            batches = iter(self._table.search().select(_COLUMNS).to_batches(size))
        while True:
            with self._engine():
                batch = next(batches, None)
            if batch is None:
                return
            yield self._found(pa.Table.from_batches([batch]))

    def count(self) -> int:
        with self._engine():
            return int(self._table.count_rows())

    def nearest(self, queries: FloatMatrix, limit: int, allowed: None) -> list[Found]:
        del allowed
        limit = max(1, min(limit, self.count()))  # the engine makes room for as many
        step = max(1, min(_QUERIES, _COMPONENTS // (limit * self.dim)))
        asked = unit_rows(queries) if self.metric is Metric.COSINE else queries
        return [
            found
            for start in range(0, len(asked), step)
            for found in self._ask(asked[start : start + step], limit)
        ]

    def flush(self) -> None:
        """Fold in what is new, drop what is old, and have all of it on the disk."""
        if self._table is None:
            self.put(Ids([], self.id_kind), np.empty((0, self.dim), dtype=np.float32))
        if not self._changed:
            return
        with self._engine():
            trains = self._trains()
            self._table.optimize(cleanup_older_than=_KEPT)
            if trains:
                config = index_config(self._options, self.metric, self._table.count_rows())
                self._table.create_index("vector", config=config, replace=True)
        for path in (*self._place.rglob("*"), self._place, self._place.parent):
            with suppress(FileNotFoundError):  # a temporary one
                sync(path)
        self._changed = False

    def close(self) -> None:
        self._closed = True
        if self._lock is not None:
            self._lock.release()

    def destroy(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        _lock_of(self._place).unlink(missing_ok=True)
        self.close()
        with suppress(OSError):  # others' tables stay
            self._place.parent.rmdir()

    def _ask(self, queries: FloatMatrix, limit: int) -> list[Found]:
        with self._engine():
            search = self._table.search(queries, vector_column_name="vector").limit(limit)
            search.select([*_COLUMNS, "_distance"]).distance_type(DISTANCES[self.metric])
            answer = self._options.applied(search, limit).to_arrow()
        found = self._found(answer)
        if len(queries) == 1:
            return [found]
        ends = np.searchsorted(answer["query_index"].to_numpy(), np.arange(len(queries) + 1))
        return [Found(found.ids[i:j], found.vectors[i:j]) for i, j in pairwise(ends.tolist())]

    def _trains(self) -> bool:
        """Whether most of the items have come since an index was trained."""
        if self._options.index == "none" or self._table.count_rows() <= _SCANNED:
            return False
        index = self._table.index_stats("vector_idx")
        return index is None or index.num_unindexed_rows > index.num_indexed_rows

    def _found(self, rows: Any) -> Found:
        vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, self.dim)
        return Found(Ids(rows["id"].to_numpy(), self.id_kind), vectors)

    @contextmanager
    def _engine(self) -> Iterator[None]:
        if self._closed:
            raise ClosedError(f"The table {self._place} was closed; open it again.")
        with engine(self._place):
            yield


class LanceDBBackend:
    """Makes drivers; what the scheme stands for."""

    options = LanceDBOptions

    def create(
        self, url: RetrieverURL, options: Any, dim: int, metric: Metric, id_kind: IdKind
    ) -> CollectionDriver:
        """A table that is not there yet, in a folder of tables."""
        place = _place(url, options)
        lock = _hold(place)
        if _is_table(place):
            lock.release()
            raise BackendExists(
                f"There is a table {place}; open it with open_retriever(…, mode='rw'), or name "
                "another collection."
            )
        facts = facts_of(FORMAT, dim, metric, id_kind, asdict(options))
        return CollectionDriver(LanceDBCollection(place, facts, options, lock))

    def open(
        self, url: RetrieverURL, options: dict[str, Any], *, writable: bool
    ) -> CollectionDriver:
        """A table, for one process to write and for any to read: a search sees the latest."""
        place = _place(url, self.options(**options))
        if not _is_table(place):
            raise BackendNotFound(
                f"There is no table {place}; make one with create_retriever(url, vectors), or "
                "check the path and the collection."
            )
        lock = _hold(place) if writable else None
        try:
            with engine(place):
                table = connect(place.parent).open_table(place.stem)
                facts = _facts(place, table.schema)
            chosen = merge_options(url, self.options, facts["options"], options)
            return CollectionDriver(LanceDBCollection(place, facts, chosen, lock, table))
        except BaseException:
            if lock is not None:
                lock.release()
            raise


def _place(url: RetrieverURL, options: LanceDBOptions) -> Path:
    """The folder of the table."""
    return EngineFolder(url).path / f"{options.collection}.lance"


def _lock_of(place: Path) -> Path:
    return place.with_name(f".{place.stem}.lock")


def _hold(place: Path) -> WriterLock:
    """Be the one that writes there; refuse a folder of something else."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for path in place.parent.iterdir():
            if path.suffix != ".lance" and not path.name.startswith((".", "__")):
                raise BackendExists(
                    f"{place.parent} is no LanceDB database: it holds {path.name!r}; choose "
                    "another folder."
                )
        return WriterLock(_lock_of(place))
    except ItemspaceError:
        raise
    except OSError as error:
        raise BackendUnavailable(f"Cannot use the folder {place.parent}: {error}.") from error


def _is_table(place: Path) -> bool:
    return any((place / "_versions").glob("*.manifest"))


def _facts(place: Path, schema: Any) -> dict[str, Any]:
    """What the table says of itself, which its columns bear out."""
    facts = read_facts((schema.metadata or {}).get(_FACTS), str(place), FORMAT, LanceDBOptions)
    types = [_IDS[facts["ids"]], pa.list_(pa.float32(), facts["dim"])]
    if [schema.field(name).type for name in _COLUMNS] != types:
        raise CorruptData(
            f"The columns of {place} are not {types}; restore it, or load it again.",
            path=str(place),
        )
    return facts


backend = LanceDBBackend()
