"""Everything around an in-process index: ids, filters, completeness, updates, files.

One driver for every engine that numbers its vectors (the native LSH, FAISS, …). It keeps the
vectors themselves, so it can score exactly, give vectors back, and always answers with k items
where k exist: what the index misses is found by an exact scan of the rows that may come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.neighbors import Completeness
from ..core.retriever import IdFilter
from ..core.vectors import FloatMatrix, RowView
from .driver import Candidates
from .generations import Generations
from .index import Index, Mask
from .locks import ReadWriteLock
from .options import merge_options, search_fields
from .row_store import Rows, RowStore
from .scan import exact_candidates
from .url import RetrieverURL

MakeIndex = Callable[[int, Metric, Any], Index]

#: Filters that leave no more rows than this are answered by scanning them: measured on one
#: million 64-d vectors, that takes 1 ms, and a graph or hash index rarely beats it.
FILTER_SCAN_LIMIT = 10_000
#: Dead rows are dropped beyond this share and this number: by a flush, or in memory at once.
DEAD_SHARE, MOST_DEAD = 0.25, 64


@dataclass(frozen=True)
class InProcessBackend:
    """Makes drivers around one kind of index; what a scheme's module exports."""

    options: type[Any]
    make_index: MakeIndex

    def create(
        self, url: RetrieverURL, options: Any, dim: int, metric: Metric, id_kind: IdKind
    ) -> InProcessDriver:
        """An empty driver, in memory or in a new folder."""
        place = None if url.location is None else Generations(url.location, url.scheme)
        driver = InProcessDriver(self, options, RowStore.empty(dim, id_kind), metric, place)
        if place is not None:
            place.claim()
        return driver

    def open(
        self, url: RetrieverURL, options: dict[str, Any], *, writable: bool
    ) -> InProcessDriver:
        """What a folder holds."""
        place = Generations(url.location, url.scheme)
        if writable:
            place.lock()

        def read() -> InProcessDriver:
            meta, store, folder = place.read()
            saved = {**meta["options"], "_search": search_fields(self.options)}
            merged = merge_options(url, saved, options)
            merged.pop("_search")
            metric = Metric(meta["metric"])
            driver = InProcessDriver(self, self.options(**merged), store, metric, place)
            driver.load_index(folder, int(meta["indexed"]))
            return driver

        try:
            return place.steadily(read)
        except BaseException:
            place.release()
            raise


class InProcessDriver:
    """A :class:`~itemspace.adapters.driver.Driver` over a :class:`RowStore` and an index."""

    def __init__(
        self,
        backend: InProcessBackend,
        options: Any,
        store: RowStore,
        metric: Metric,
        place: Generations | None,
    ) -> None:
        self._backend, self._options, self._place = backend, options, place
        self._store = store
        self.metric, self.dim = metric, store.matrix.shape[1]
        self.id_kind = store.all_ids().kind
        self._index = backend.make_index(self.dim, metric, options)
        self.capabilities: Capabilities = replace(
            self._index.capabilities, persistent=place is not None
        )
        self._indexed = 0
        self._lock = ReadWriteLock()
        self._revision: object = object()
        self._dirty = False

    def load_index(self, folder: Path, indexed: int) -> None:
        """Take the index of the first ``indexed`` rows from its files."""
        if indexed:
            self._index.load(folder, indexed)
        self._indexed = indexed

    # -- writing -----------------------------------------------------------------------------

    def upsert(self, ids: Ids, vectors: FloatMatrix) -> None:
        with self._lock.write():
            self._store.upsert(ids, vectors)
            self._changed()
            if self._place is None:
                self._drop_dead_rows()
            self._add_long_tail()

    def delete(self, ids: Ids) -> int:
        with self._lock.write():
            gone = self._store.delete(ids)
            if gone:
                self._changed()
            return gone

    def flush(self) -> None:
        if self._place is None or not self._dirty:
            return
        with self._lock.write():
            self._drop_dead_rows()
            self._add_long_tail()
            meta = {
                "metric": self.metric.value,
                "options": asdict(self._options),
                "indexed": self._indexed,
            }
            save = self._index.save if self._indexed else None
            self._place.write(meta, self._store, save)
            self._changed()
            self._dirty = False

    def close(self) -> None:
        if self._place is not None:
            self._place.release()

    def destroy(self) -> None:
        if self._place is not None:
            self._place.remove()

    def _drop_dead_rows(self) -> None:
        """Start over with the live rows, where too many are dead."""
        dead = len(self._store) - self._store.live
        if dead > DEAD_SHARE * len(self._store) + MOST_DEAD:
            self._store = self._store.compacted()
            self._index = self._backend.make_index(self.dim, self.metric, self._options)
            self._indexed = 0

    def _changed(self) -> None:
        self._revision = object()
        self._dirty = True

    def _add_long_tail(self) -> None:
        if len(self._store) - self._indexed > self._index.tail_limit:
            self._index.add(self._row_view(len(self._store)), self._indexed)
            self._indexed = len(self._store)

    def _row_view(self, count: int) -> RowView:
        return RowView(self._store.matrix[:count], self._store.norms[:count])

    # -- reading -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._store.live

    def vectors(self, ids: Ids) -> tuple[npt.NDArray[np.bool_], FloatMatrix]:
        with self._lock.read():
            rows = self._store.rows_of(ids)
            return rows >= 0, np.ascontiguousarray(self._store.matrix[rows[rows >= 0]])

    def scan(self, batch_size: int) -> Iterator[tuple[Ids, FloatMatrix]]:
        with self._lock.read():
            store, rows = self._store, np.flatnonzero(self._store.alive)
            matrix = store.matrix
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            yield store.ids_at(batch), np.ascontiguousarray(matrix[batch])

    def search(
        self,
        queries: FloatMatrix,
        k: int,
        allowed: IdFilter | None,
        excluded: IdFilter | None,
    ) -> list[Candidates]:
        with self._lock.read():
            eligible = self._eligible(allowed, excluded)
            limit = self._index.scan_limit
            if eligible.narrowed:
                limit = max(limit, FILTER_SCAN_LIMIT)
            if self._indexed == 0 or eligible.count <= max(limit, k):
                return self._scan(queries, k, eligible)
            return self._ask_index(queries, k, eligible)

    def _scan(self, queries: FloatMatrix, k: int, eligible: _Eligible) -> list[Candidates]:
        store = self._store
        found = exact_candidates(queries, store.matrix, store.norms, self.metric, k, eligible.rows)
        complete = Completeness.FULL if eligible.count >= k else Completeness.EXHAUSTED
        return [self._scored(rows, complete) for rows in found]

    def _ask_index(self, queries: FloatMatrix, k: int, eligible: _Eligible) -> list[Candidates]:
        found = self._index_rows(queries, k, eligible)
        answers = []
        for at, (rows, estimates) in enumerate(found):
            if len(rows) < k:
                answers += self._scan(queries[at : at + 1], k, eligible)
            elif self.capabilities.scores == "exact":
                answers.append(self._scored(rows, Completeness.FULL))
            else:
                scores = estimates.astype(np.float64)
                ids = self._store.ids_at(rows)
                answers.append(Candidates(ids, Completeness.FULL, scores=scores))
        return answers

    def _index_rows(
        self, queries: FloatMatrix, k: int, eligible: _Eligible
    ) -> Iterator[tuple[Rows, npt.NDArray[np.float32]]]:
        """Per query the eligible rows that index and tail yield, with the index's estimates."""
        mask, tail = eligible.mask, np.arange(self._indexed, len(self._store))
        if mask is not None:
            tail = tail[mask[self._indexed :]]
        pushed, fetch = None, k
        if mask is not None:
            mask = mask[: self._indexed]
            if self.capabilities.supports_filter:
                pushed = mask
            else:
                # Over-fetch by the share that the filter will take away, with some to spare.
                share = eligible.count / max(1, len(self._store))
                hidden = self._indexed - int(np.count_nonzero(mask))
                fetch = int(min(self._indexed, k + min(hidden, 2 * k / share)))
        indexed = self._row_view(self._indexed)
        rows, estimates = self._index.search(indexed, queries, fetch, pushed)
        for line, scores in zip(rows, estimates, strict=True):
            keep = line >= 0
            if mask is not None:
                keep[keep] = mask[line[keep]]
            yield np.concatenate([line[keep], tail]), scores[keep]

    def _scored(self, rows: Rows, completeness: Completeness) -> Candidates:
        store = self._store
        return Candidates(store.ids_at(rows), completeness, vectors=store.matrix[rows])

    # -- filters -----------------------------------------------------------------------------

    def _eligible(self, allowed: IdFilter | None, excluded: IdFilter | None) -> _Eligible:
        store = self._store
        if allowed is None and excluded is None and not store.has_dead:
            return _Eligible(None, len(store), narrowed=False)
        if allowed is None:
            if excluded is None:
                return _Eligible(store.alive, store.live, narrowed=False)
            mask = store.alive.copy()
            mask[self._rows_of(excluded)] = False
        else:
            mask = np.zeros(len(store), dtype=np.bool_)
            mask[self._rows_of(allowed)] = True
            if excluded is not None:
                mask[self._rows_of(excluded)] = False
        return _Eligible(mask, int(np.count_nonzero(mask)), narrowed=allowed is not None)

    def _rows_of(self, ids: IdFilter) -> Rows:
        """The filter's rows; translated once per state of the store."""
        if ids.translated is None or ids.translated[0] is not self._revision:
            rows = self._store.rows_of(ids.ids)
            ids.translated = (self._revision, rows[rows >= 0])
        rows_found: Rows = ids.translated[1]
        return rows_found


@dataclass(frozen=True, eq=False)
class _Eligible:
    """The rows that may come back; ``mask`` and ``rows`` are ``None`` where all may."""

    mask: Mask | None
    count: int
    narrowed: bool

    @cached_property
    def rows(self) -> Rows | None:
        """Their numbers, for a scan."""
        return None if self.mask is None else np.flatnonzero(self.mask)
