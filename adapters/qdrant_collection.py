"""One shard of Qdrant's embedded engine."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import qdrant_edge as edge

from ..core.capabilities import Capabilities
from ..core.errors import BackendError, ClosedError
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.vectors import FloatMatrix, unit_rows
from .collection import Found
from .engine_folder import EngineFolder
from .qdrant_failures import MALFORMED, damaged, failing_as
from .qdrant_options import GIVEN, QdrantEdgeOptions
from .qdrant_points import point_numbers

#: Points that are read at once; components that are turned into Python's numbers at once.
_PAGE, _COMPONENTS = 10_000, 1 << 20
T = TypeVar("T")


class QdrantEdgeCollection:
    """A :class:`~itemspace.adapters.collection.Collection` in one shard."""

    most = sys.maxsize
    few = 20

    def __init__(
        self, folder: EngineFolder, facts: dict[str, Any], options: QdrantEdgeOptions, shard: Any
    ) -> None:
        self._folder, self.facts, self._shard = folder, facts, shard
        self.dim, self.metric = int(facts["dim"]), Metric(facts["metric"])
        self.id_kind: IdKind = facts["ids"]
        self._numbers = point_numbers(self.id_kind)
        self._two = self.metric is Metric.COSINE
        self._stored: Any = [GIVEN] if self._two else True
        self._count: int | None = None
        # The manifest says how many items there are, or None while a change is not flushed.
        self._flushed = facts.get("items") is not None
        self.reads = False
        self._holders: weakref.WeakSet[QdrantEdgeCollection] = weakref.WeakSet()
        self._hold(options)

    def another(self, options: QdrantEdgeOptions) -> QdrantEdgeCollection:
        """One more that reads the same shard, which is closed with the last of them."""
        other = copy(self)
        other._hold(options)
        return other

    def _hold(self, options: QdrantEdgeOptions) -> None:
        self._options = options
        self.capabilities = Capabilities(
            is_exact=options.exact, supports_filter=False, supports_atomic_upsert=False
        )
        self._holders.add(self)
        _collections.add(self)

    def is_reader_of(self, folder: Path) -> bool:
        """Whether it reads the shard of a folder, open."""
        return self.reads and self._shard is not None and self._folder.path.samefile(folder)

    def restore(self) -> None:
        """Learn the ids, and notice what the engine does not: files that are gone."""
        if self.id_kind == "str":
            for _ in self._pages(_PAGE, self._numbers.restore, payload=True):
                pass
        if self._flushed and self.count() != self.facts["items"]:
            found = f"the engine finds {self.count()} of {self.facts['items']} items"
            raise damaged(self._folder, found)

    # -- writing -----------------------------------------------------------------------------

    @property
    def batch(self) -> int:
        """So many as become Python's numbers at once."""
        return max(1, _COMPONENTS // self.dim)

    def put(self, ids: Ids, vectors: FloatMatrix) -> None:
        numbers, payloads = self._numbers.assign(ids), self._numbers.payloads(ids)
        points = list(map(edge.Point, numbers, self._named(vectors), payloads))
        with self._changing() as shard:
            shard.update(edge.UpdateOperation.upsert_points(points))

    def remove(self, ids: Ids) -> int:
        with self._changing() as shard:
            numbers = [point.id for point in self._retrieve(shard, ids, False)]
            if numbers:
                shard.update(edge.UpdateOperation.delete_points(numbers))
                self._numbers.forget(numbers)
            return len(numbers)

    def flush(self) -> None:
        with self._engine() as shard:
            if self._flushed:
                return
            shard.flush()
            if shard.optimize():
                shard.flush()
            self.facts["items"] = self.count()
            self._folder.write(self.facts)
            self._flushed = True

    def close(self) -> None:
        with OPENING:
            shard, self._shard = self._shard, None
            self._holders.discard(self)
            if self._holders:
                return
            try:
                with failing_as(BackendError, self._folder):
                    if shard is not None:
                        shard.close()
            finally:
                self._folder.release()

    def destroy(self) -> None:
        try:
            self.close()
        finally:
            self._folder.remove()

    @contextmanager
    def _changing(self) -> Iterator[Any]:
        if self._flushed:
            self._folder.write({**self.facts, "items": None})
        self._flushed, self._count = False, None
        with self._engine() as shard:
            yield shard

    def _named(self, rows: FloatMatrix) -> list[Any]:
        given: list[Any] = rows.tolist()
        if not self._two:
            return given
        pairs = zip(unit_rows(rows).tolist(), given, strict=True)
        return [{"": unit, GIVEN: row} for unit, row in pairs]

    # -- reading -----------------------------------------------------------------------------

    def count(self) -> int:
        if self._count is None:
            with self._engine() as shard:
                self._count = int(shard.count(edge.CountRequest()))
        return self._count

    @property
    def pushes(self) -> int:
        """To scan so many takes as long as to drop, from the graph's answer, what is not allowed.

        Of 100,000 items about 8,000 (1.5 ms), and the square root of all in proportion: a graph is
        asked for the more items the fewer are allowed.
        """
        return math.isqrt(600 * self.count())

    def get(self, ids: Ids) -> Found:
        with self._engine() as shard:
            return self._found(self._retrieve(shard, ids, self._stored))

    def pages(self, size: int) -> Iterator[Found]:
        return self._pages(size, self._found, vector=self._stored)

    def translate(self, allowed: Ids) -> Any:
        numbers: set[Any] = {one for one in self._numbers.find(allowed) if one is not None}
        return edge.Filter(must=[edge.HasIdCondition(numbers)])

    def nearest(self, queries: FloatMatrix, limit: int, allowed: Any) -> list[Found]:
        asked = unit_rows(queries) if self._two else queries
        params = self._options.search_params(exact=allowed is not None)
        requests = [
            edge.QueryRequest(
                query=edge.Query.Nearest(query),
                limit=min(limit, max(1, self.count())),
                filter=allowed,
                params=params,
                with_vector=self._stored,
            )
            for query in asked.tolist()
        ]
        with self._engine() as shard:
            return list(map(self._found, shard.query_batch(edge.QueryBatchRequest(requests))))

    def _retrieve(self, shard: Any, ids: Ids, vector: Any) -> list[Any]:
        numbers = [number for number in self._numbers.find(ids) if number is not None]
        points: list[Any] = shard.retrieve(numbers, False, vector)
        return points

    def _pages(
        self,
        size: int,
        convert: Callable[[list[Any]], T],
        payload: bool = False,
        vector: Any = False,
    ) -> Iterator[T]:
        """All points, page by page, each converted before anybody can write."""
        offset = None
        while True:
            request = edge.ScrollRequest(offset, size, None, payload, vector)
            with self._engine() as shard:
                page, offset = shard.scroll(request)
                converted = convert(page)
            if page:
                yield converted
            if offset is None:
                return

    def _found(self, points: Sequence[Any]) -> Found:
        try:
            rows = [point.vector[GIVEN] if self._two else point.vector for point in points]
            matrix: FloatMatrix = np.array(rows, np.float32).reshape(len(points), self.dim)
        except MALFORMED as error:
            raise damaged(self._folder, "an item has no vector") from error
        return Found(self._numbers.to_ids([point.id for point in points]), matrix)

    @contextmanager
    def _engine(self) -> Iterator[Any]:
        if self._shard is None:
            raise ClosedError(
                f"The shard at {self._folder} is not open in this process: it was closed, or "
                "opened by the process that this one was forked from, and Qdrant's engine does "
                "not live on in a child. Open it after the fork, in one process."
            )
        with failing_as(BackendError, self._folder):
            yield self._shard


#: Held while a shard is opened or closed; and everyone who has one.
OPENING = threading.RLock()
_collections: weakref.WeakSet[QdrantEdgeCollection] = weakref.WeakSet()


def reader_of(folder: Path) -> QdrantEdgeCollection | None:
    """Who reads a folder's shard in this process already."""
    if not folder.is_dir():
        return None
    return next((one for one in list(_collections) if one.is_reader_of(folder)), None)


def _abandon_shards() -> None:
    """In a forked child the engine's threads are gone, and a search would wait for them for ever.

    To let go of a shard would write it: the child keeps it, and never touches it.
    """
    for collection in _collections:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(collection._shard))
        collection._shard = None
    OPENING.release()


os.register_at_fork(
    before=OPENING.acquire, after_in_parent=OPENING.release, after_in_child=_abandon_shards
)
