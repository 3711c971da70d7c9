"""``milvus+lite:`` retrievers: milvus-lite in this process, over a folder.

What milvus-lite (3.2.2) sets, as measured:

- It is used by its own Python API. By pymilvus it would be a server on a port of this machine that
  asks nobody for a password.
- One process at a time, for reading too; a forked child has nothing of it.
- It logs every change before the call returns: a process that is killed loses nothing of those.
- What was not flushed is scanned in Python, 20 ms per 1,000 items and search. A flush writes it and
  builds the index, by a thread that one can only wait for by closing.
- Each search goes over all ids in Python: of 100,000, 115 ms for one query, 240 for twenty.
- Files that are gone are missed by nobody: the number of items is written down at a flush.
- Lengths are of float32: under ``COSINE`` it takes those of 1.8e19 and more for infinite.
- A scan by Euclidean distance holds all differences at once: queries × items × dimensions.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import milvus_lite as lite
import numpy as np
from milvus_lite import DataType, FieldSchema

from ..core.errors import (
    BackendError,
    BackendNotFound,
    BackendUnavailable,
    ClosedError,
    CorruptData,
    ItemspaceError,
    LockedError,
)
from ..core.ids import IdKind
from ..core.metric import Metric
from ..core.storage import sync
from ..core.vectors import FloatMatrix
from .collection import CollectionDriver
from .engine_folder import EngineFolder
from .facts import facts_of
from .milvus import FACTS, FORMAT, ID, ID_BYTES, METRICS, VECTOR, MilvusCollection, Row, opened
from .milvus_options import MilvusOptions
from .options import build_options
from .url import RetrieverURL

#: Differences that a scan by Euclidean distance may hold, as float32.
_DIFFERENCES = 1 << 25
#: Failures of the system, whatever the files are.
_SYSTEM = {errno.ENOMEM, errno.EACCES, errno.ENFILE, errno.EMFILE, errno.EROFS}
_SYSTEM |= {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
# What it warns of is raised, or made good; who listens to its log still can.
logging.getLogger("milvus_lite").addHandler(logging.NullHandler())


class LiteTable:
    """A :class:`~itemspace.adapters.milvus.Table` in a folder that is held."""

    def __init__(self, folder: EngineFolder, name: str) -> None:
        self._folder, self._name = folder, name
        self._db: Any = None
        self._table: Any = None
        self._parents: Any = None
        self._flushed = False
        #: At least so many items are in no index.
        self._scanned = 0
        _TABLES.add(self)

    def create(self, facts: Row, options: MilvusOptions) -> None:
        """An empty collection."""
        kind = DataType.VARCHAR if facts["ids"] == "str" else DataType.INT64
        fields = [
            FieldSchema(ID, kind, is_primary=True, max_length=ID_BYTES),
            FieldSchema(VECTOR, DataType.FLOAT_VECTOR, dim=facts["dim"]),
        ]
        index = {
            "index_type": options.index.upper(),
            "metric_type": METRICS[Metric(facts["metric"])],
            "params": options.index_params(),
        }
        with self._failing(BackendError):
            self._db = lite.MilvusLite(str(self._folder.files))
            made = self._db.create_collection(
                self._name, lite.CollectionSchema(fields), {FACTS: json.dumps(facts)}
            )
            made.create_index(VECTOR, index)
            self._table = made
        self._folder.write({"collection": self._name, "items": None})

    def open(self, items: int | None) -> None:
        """What is there: so many items, if all was flushed."""
        with self._failing(CorruptData):
            self._db = lite.MilvusLite(str(self._folder.files))
            table = self._db.get_collection(self._name)
            table.load()
            index, found = table.get_index_info(VECTOR), table.num_entities
            if items not in (None, found):
                raise ValueError(f"it has {found} of {items} items")
            self._table, self._flushed = table, items is not None
            self._scanned = found if index["index_type"] == "FLAT" else 0
        self.flush()

    @property
    def facts(self) -> str | None:
        """What the collection says of itself."""
        text: str | None = self._table.schema.properties.get(FACTS)
        return text

    def upsert(self, ids: list[Any], vectors: FloatMatrix) -> None:
        rows = [{ID: i, VECTOR: v} for i, v in zip(ids, vectors.tolist(), strict=True)]
        self._scanned += len(rows)
        with self._changing() as table:
            # It replaces, as its upsert does, which copies all deletions for each of the rows.
            table.insert(rows)

    def get(self, ids: list[Any], field: str) -> list[Row]:
        with self._reading() as table:
            rows: list[Row] = table.get(ids, output_fields=[field])
        return rows

    def delete(self, ids: list[Any]) -> None:
        with self._changing() as table:
            table.delete(ids)

    def page(self, condition: str, size: int) -> list[Row]:
        with self._reading() as table:
            rows: list[Row] = table.query(
                condition, output_fields=[VECTOR], limit=size, order_by_pk=True
            )
        return rows

    def count(self) -> int:
        with self._reading() as table:
            return int(table.num_entities)

    def search(self, queries: FloatMatrix, limit: int, params: Row) -> list[list[Row]]:
        # A scan by Euclidean distance holds all the differences at once.
        step = max(1, _DIFFERENCES // max(1, self._scanned * queries.shape[1]))
        with self._reading() as table:
            return [
                [{ID: hit["id"], **hit["entity"]} for hit in line]
                for start in range(0, len(queries), step)
                for line in table.search(
                    queries[start : start + step].tolist(),
                    limit,
                    output_fields=[VECTOR],
                    search_params=params,
                )
            ]

    def flush(self) -> None:
        if self._flushed:
            return
        with self._changing() as table:
            table.flush()
            items = int(table.num_entities)
            self._db.close()  # waits for the thread that merges segments, and hides what fails
            self._table = None
        self.open(items)
        for path in (self._folder.files, *self._folder.files.rglob("*")):
            sync(path)
        self._folder.write({"collection": self._name, "items": items})

    def close(self) -> None:
        db, self._db, self._table = self._db, None, None
        try:
            if db is not None:
                db.close()
        finally:
            self._folder.release()

    def drop(self) -> None:
        try:
            self.close()
        finally:
            self._folder.remove()

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        if self._table is None:
            raise ClosedError(
                f"{self._folder} is not open in this process: it was closed, a change failed, or "
                "it was opened by the process that this one was forked from, and Milvus' engine "
                "does not live on in a child. Open it again; after a fork, in one process."
            )
        with self._failing(BackendError):
            yield self._table

    @contextmanager
    def _changing(self) -> Iterator[Any]:
        try:
            with self._reading() as table:
                if self._flushed:
                    self._folder.write({"collection": self._name, "items": None})
                    self._flushed = False
                yield table
        except BaseException:
            # What it has in memory may lack what it has logged, and shows when it is opened.
            self._table = None
            raise

    @contextmanager
    def _failing(self, kind: type[BackendError | CorruptData]) -> Iterator[None]:
        """Raise whatever milvus-lite raises, of its own or of what it uses, as ``kind``."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                yield
        except ItemspaceError:
            raise
        except lite.DataDirLockedError as error:
            raise LockedError(
                f"{self._folder.files} is open in another process, as milvus-lite's server or a "
                "child of the process that had it; end that first.",
                holder="another process",
            ) from error
        except Exception as error:
            told = (str(error).partition("\n")[0] or type(error).__name__)[:300].rstrip(".")
            if isinstance(error, MemoryError) or getattr(error, "errno", None) in _SYSTEM:
                raise BackendUnavailable(
                    f"milvus-lite fails at {self._folder}: {told}; check the memory and the disk, "
                    "and who may write there. Then open it again."
                ) from error
            if kind is CorruptData:
                raise CorruptData(
                    f"{self._folder} is not as milvus-lite left it: {told}; restore it from a "
                    "backup or build it again.",
                    path=str(self._folder),
                ) from error
            raise BackendError(f"milvus-lite fails at {self._folder}: {told}.") from error


class MilvusLiteBackend:
    """Makes drivers; what the scheme stands for."""

    options = MilvusOptions

    def create(
        self, url: RetrieverURL, options: MilvusOptions, dim: int, metric: Metric, id_kind: IdKind
    ) -> CollectionDriver:
        folder = EngineFolder(url)
        facts = facts_of(FORMAT, dim, metric, id_kind, build_options(options))
        folder.claim()
        table = LiteTable(folder, options.collection)
        try:
            table.create(facts, options)
        except BaseException:
            table.drop()
            raise
        return CollectionDriver(MilvusCollection(table, facts, options))

    def open(
        self, url: RetrieverURL, options: dict[str, Any], *, writable: bool
    ) -> CollectionDriver:
        """What a folder holds, for this process alone, to read it too."""
        del writable
        folder = EngineFolder(url)
        manifest = folder.open()
        name = str(manifest.get("collection"))
        table = LiteTable(folder, name)
        try:
            if options.get("collection", name) != name:
                raise BackendNotFound(f"{folder} holds the collection {name!r} alone; name that.")
            table.open(manifest.get("items"))
            return CollectionDriver(opened(table, table.facts, url, options, self.options))
        except BaseException:
            table.close()
            raise


backend = MilvusLiteBackend()
_TABLES: weakref.WeakSet[LiteTable] = weakref.WeakSet()


def _abandon_tables() -> None:
    """In a forked child its threads are gone, and what it writes would be its parent's."""
    for table in _TABLES:
        table._parents, table._db, table._table = table._db, None, None
    faiss.omp_set_num_threads(1)  # OpenMP's threads are gone as well


os.register_at_fork(after_in_child=_abandon_tables)
