"""Reading and writing one shard of Qdrant's embedded engine."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import qdrant_edge as edge

from ..core.capabilities import Capabilities
from ..core.errors import BackendError, ClosedError
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.neighbors import Completeness
from ..core.retriever import IdFilter
from ..core.vectors import FloatMatrix, unit_rows
from .driver import Candidates
from .engine_folder import EngineFolder
from .locks import ReadWriteLock
from .qdrant_failures import MALFORMED, damaged, failing_as
from .qdrant_options import GIVEN, QdrantEdgeOptions
from .qdrant_points import Chosen, Numbers, point_numbers

#: Points that are read at once; components that are turned into Python's numbers at once.
_PAGE, _COMPONENTS = 10_000, 1 << 20
T = TypeVar("T")


class QdrantEdgeDriver:
    """A :class:`~itemspace.adapters.driver.Driver` over one shard."""

    def __init__(
        self, folder: EngineFolder, facts: dict[str, Any], options: QdrantEdgeOptions, shard: Any
    ) -> None:
        self._folder, self.facts, self._shard = folder, facts, shard
        self.dim, self.metric = int(facts["dim"]), Metric(facts["metric"])
        self.id_kind: IdKind = facts["ids"]
        self._numbers = point_numbers(self.id_kind)
        self._two = self.metric is Metric.COSINE
        self._stored: Any = [GIVEN] if self._two else True
        self._lock = ReadWriteLock()
        self._revision: object = object()
        self._count: int | None = None
        # The manifest says how many items there are, or None while a change is not flushed.
        self._flushed = facts.get("items") is not None
        self.reads = False
        self._holders: weakref.WeakSet[QdrantEdgeDriver] = weakref.WeakSet()
        self._hold(options)

    def another(self, options: QdrantEdgeOptions) -> QdrantEdgeDriver:
        """One more that reads the same shard, which is closed with the last of them."""
        other = copy(self)
        other._hold(options)
        return other

    def _hold(self, options: QdrantEdgeOptions) -> None:
        self._options = options
        self.capabilities = Capabilities(is_exact=options.exact, supports_atomic_upsert=False)
        self._holders.add(self)
        _drivers.add(self)

    def is_reader_of(self, folder: Path) -> bool:
        """Whether it reads the shard of a folder, open."""
        return self.reads and self._shard is not None and self._folder.path.samefile(folder)

    def restore(self) -> None:
        """Learn the ids, and notice what the engine does not: files that are gone."""
        if self.id_kind == "str":
            for _ in self._pages(_PAGE, self._numbers.restore, payload=True):
                pass
        if self._flushed and len(self) != self.facts["items"]:
            found = f"the engine finds {len(self)} of {self.facts['items']} items"
            raise damaged(self._folder, found)

    # -- writing -----------------------------------------------------------------------------

    def upsert(self, ids: Ids, vectors: FloatMatrix) -> None:
        step = max(1, _COMPONENTS // self.dim)
        with self._lock.write():
            for start in range(0, len(ids), step):
                part, rows = ids[start : start + step], vectors[start : start + step]
                numbers, payloads = self._numbers.assign(part), self._numbers.payloads(part)
                points = list(map(edge.Point, numbers, self._named(rows), payloads))
                with self._changing(done=ids[:start]) as shard:
                    shard.update(edge.UpdateOperation.upsert_points(points))

    def delete(self, ids: Ids) -> int:
        with self._lock.write(), self._changing() as shard:
            numbers = [point.id for point in self._retrieve(shard, ids, False)]
            if numbers:
                shard.update(edge.UpdateOperation.delete_points(numbers))
                self._numbers.forget(numbers)
            return len(numbers)

    def flush(self) -> None:
        with self._lock.write(), self._engine() as shard:
            if self._flushed:
                return
            shard.flush()
            if shard.optimize():
                shard.flush()
            self.facts["items"] = len(self)
            self._folder.write(self.facts)
            self._flushed = True

    def close(self) -> None:
        with OPENING, self._lock.write():
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
    def _changing(self, done: Ids | None = None) -> Iterator[Any]:
        """The shard, to be changed; ``done`` went in before, in the same call."""
        if self._flushed:
            self._folder.write({**self.facts, "items": None})
        self._flushed, self._count, self._revision = False, None, object()
        with self._engine(done) as shard:
            yield shard

    def _named(self, rows: FloatMatrix) -> list[Any]:
        given: list[Any] = rows.tolist()
        if not self._two:
            return given
        pairs = zip(unit_rows(rows).tolist(), given, strict=True)
        return [{"": unit, GIVEN: row} for unit, row in pairs]

    # -- reading -----------------------------------------------------------------------------

    def __len__(self) -> int:
        if self._count is None:
            with self._engine() as shard:
                self._count = int(shard.count(edge.CountRequest()))
        return self._count

    def vectors(self, ids: Ids) -> tuple[npt.NDArray[np.bool_], FloatMatrix]:
        with self._lock.read(), self._engine() as shard:
            stored = {point.id: point for point in self._retrieve(shard, ids, self._stored)}
            numbers = self._numbers.find(ids)
        found = np.fromiter((number in stored for number in numbers), np.bool_, len(numbers))
        return found, self._matrix([stored[number] for number in numbers if number in stored])

    def scan(self, batch_size: int) -> Iterator[tuple[Ids, FloatMatrix]]:
        return self._pages(
            batch_size, lambda page: (self._ids(page), self._matrix(page)), vector=self._stored
        )

    def search(
        self,
        queries: FloatMatrix,
        k: int,
        allowed: IdFilter | None,
        excluded: IdFilter | None,
    ) -> list[Candidates]:
        with self._lock.read(), self._engine() as shard:
            chosen = Chosen(self._translated(allowed), self._translated(excluded))
            wanted = min(k, len(self))
            asked = unit_rows(queries) if self._two else queries
            found: list[Sequence[Any]] = [()] * len(queries)
            fetch = chosen.worth_fetching(wanted, len(self))
            if fetch:
                nearest = self._nearest(shard, asked, fetch, None, self._options.exact)
                found = [chosen.among(line) for line in nearest]
            short = [at for at, line in enumerate(found) if len(line) < wanted]
            if short:
                nearest = self._exactly(shard, asked[short], wanted, chosen.condition)
                for at, line in zip(short, nearest, strict=True):
                    found[at] = line
            return [self._candidates(line, k) for line in found]

    def _nearest(
        self, shard: Any, queries: FloatMatrix, limit: int, condition: Any, exact: bool
    ) -> list[Sequence[Any]]:
        """Per query the points that the engine finds."""
        params = self._options.search_params(exact)
        requests = [
            edge.QueryRequest(
                query=edge.Query.Nearest(query),
                limit=limit,
                filter=condition,
                params=params,
                with_vector=self._stored,
            )
            for query in queries.tolist()
        ]
        found: list[Sequence[Any]] = shard.query_batch(edge.QueryBatchRequest(requests))
        return found

    def _exactly(
        self, shard: Any, queries: FloatMatrix, limit: int, condition: Any
    ) -> list[Sequence[Any]]:
        """Per query as many points as there are, up to a limit, the nearest of all."""
        found = self._nearest(shard, queries, limit, condition, True)
        if all(len(line) == limit for line in found):
            return found
        total = shard.count(edge.CountRequest(filter=condition))
        whole = edge.ScrollRequest(limit=total, filter=condition, with_vector=self._stored)
        # Points whose score overflows float32 are left out by the engine.
        return [
            line if len(line) >= min(limit, total) else shard.scroll(whole)[0] for line in found
        ]

    def _candidates(self, points: Sequence[Any], k: int) -> Candidates:
        complete = Completeness.FULL if len(points) >= k else Completeness.EXHAUSTED
        return Candidates(self._ids(points), complete, vectors=self._matrix(points))

    def _translated(self, ids: IdFilter | None) -> Numbers | None:
        """The filter's points; made once per state of the shard."""
        if ids is None:
            return None
        if ids.translated is None or ids.translated[0] is not self._revision:
            ids.translated = (self._revision, Numbers(self._numbers.find(ids.ids)))
        found: Numbers = ids.translated[1]
        return found

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
            with self._lock.read(), self._engine() as shard:
                page, offset = shard.scroll(request)
                converted = convert(page)
            if page:
                yield converted
            if offset is None:
                return

    def _ids(self, points: Sequence[Any]) -> Ids:
        return self._numbers.to_ids([point.id for point in points])

    def _matrix(self, points: Sequence[Any]) -> FloatMatrix:
        try:
            rows = [point.vector[GIVEN] if self._two else point.vector for point in points]
            matrix: FloatMatrix = np.array(rows, np.float32).reshape(len(points), self.dim)
        except MALFORMED as error:
            raise damaged(self._folder, "an item has no vector") from error
        return matrix

    @contextmanager
    def _engine(self, done: Ids | None = None) -> Iterator[Any]:
        if self._shard is None:
            raise ClosedError(
                f"The shard at {self._folder} is not open in this process: it was closed, or "
                "opened by the process that this one was forked from, and Qdrant's engine does "
                "not live on in a child. Open it after the fork, in one process."
            )
        with failing_as(BackendError, self._folder, done):
            yield self._shard


#: Held while a shard is opened or closed; and everyone who has one.
OPENING = threading.RLock()
_drivers: weakref.WeakSet[QdrantEdgeDriver] = weakref.WeakSet()


def reader_of(folder: Path) -> QdrantEdgeDriver | None:
    """Who reads a folder's shard in this process already."""
    if not folder.is_dir():
        return None
    return next((driver for driver in list(_drivers) if driver.is_reader_of(folder)), None)


def _abandon_shards() -> None:
    """In a forked child the engine's threads are gone, and a search would wait for them for ever.

    To let go of a shard would write it: the child keeps it, and never touches it.
    """
    for driver in _drivers:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(driver._shard))
        driver._shard = None
        driver._lock = ReadWriteLock()
    OPENING.release()


os.register_at_fork(
    before=OPENING.acquire, after_in_parent=OPENING.release, after_in_child=_abandon_shards
)
