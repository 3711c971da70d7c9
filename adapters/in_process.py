"""Everything around an in-process index: ids, filters, completeness, updates, files.

One driver for every engine that numbers its vectors (the native LSH, FAISS, …). It keeps the
vectors themselves, so it can score exactly, give vectors back, and always answers with k items
where k exist: what the index misses is found by an exact scan of the rows that may come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.eligible import Eligible
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.neighbors import Completeness
from ..core.retriever import IdFilter
from ..core.vectors import FloatMatrix, RowView
from .driver import Candidates
from .generations import Generations
from .index import Index
from .locks import ReadWriteLock
from .options import merge_options
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
            merged = merge_options(url, self.options, meta["options"], options)
            metric = Metric(meta["metric"])
            driver = InProcessDriver(self, merged, store, metric, place)
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
        self._final = bool(getattr(self._index, "gives_final_scores", False))
        self._removes = hasattr(self._index, "remove")
        self._indexed = 0
        self._lock = ReadWriteLock()
        self._revision: object = object()
        self._alive: Eligible | None = None
        self._dirty = True

    def load_index(self, folder: Path, indexed: int) -> None:
        """Take the index of the first ``indexed`` rows from its files; add those that follow."""
        self._indexed = indexed
        if indexed:
            self._index.load(folder, indexed)
            self._forget(self._store.replayed_dead)
            self._add_long_tail()
        self._dirty = False

    # -- writing -----------------------------------------------------------------------------

    def upsert(self, ids: Ids, vectors: FloatMatrix) -> None:
        with self._lock.write():
            self._forget(self._store.upsert(ids, vectors))
            self._changed()
            if self._place is None:
                self._drop_dead_rows()
            self._add_long_tail()

    def delete(self, ids: Ids) -> int:
        with self._lock.write():
            gone = self._store.delete(ids)
            if len(gone):
                self._forget(gone)
                self._changed()
            return len(gone)

    def flush(self) -> None:
        with self._lock.write():
            if self._place is None or not self._dirty:
                return
            self._drop_dead_rows()
            self._add_long_tail()
            if not self._place.append(self._store):
                meta = {
                    "metric": self.metric.value,
                    "options": asdict(self._options),
                    "indexed": self._indexed,
                }
                save = self._index.save if self._indexed else None
                self._place.write(meta, self._store, save)
            self._dirty = False

    def tune(self, queries: FloatMatrix, target_recall: float | None) -> dict[str, float]:
        """Let the index find by sample queries, (q, d), how it reaches a recall; saved by a flush.

        Returns what it says (:meth:`itemspace.lsh.HyperplaneLSH.tune`); nothing where it has
        nothing to find, or all is scanned yet.
        """
        with self._lock.write():
            if not self._indexed or not hasattr(self._index, "tune"):
                return {}
            found: dict[str, float] = self._index.tune(
                self._row_view(self._indexed), target_recall, queries
            )
            # A journal tells of rows, not of what was found.
            self._end_journal()
            self._dirty = True
            return found

    def close(self) -> None:
        if self._place is not None:
            self._place.release()

    def destroy(self) -> None:
        if self._place is not None:
            self._place.remove()

    def _forget(self, dead: Rows) -> None:
        """Take rows out of an index that can be told; one that misses some is made anew.

        So it holds live rows alone, whenever they died.
        """
        gone = dead[dead < self._indexed]
        if self._removes and len(gone):
            indexed = self._row_view(self._indexed)
            if not self._index.remove(indexed, gone):  # type: ignore[attr-defined]
                self._start_over()
                self._add_long_tail()

    def _drop_dead_rows(self) -> None:
        """Start over with the live rows, where too many are dead."""
        dead = len(self._store) - self._store.live
        if dead > DEAD_SHARE * len(self._store) + MOST_DEAD:
            self._start_over()

    def _start_over(self) -> None:
        self._store = self._store.compacted()
        self._index = self._backend.make_index(self.dim, self.metric, self._options)
        self._indexed = 0
        self._changed()
        self._end_journal()

    def _end_journal(self) -> None:
        """Rows were renumbered, or an index was trained, which no reader should do again."""
        if self._place is not None:
            self._place.end_journal()

    def _changed(self) -> None:
        self._revision, self._alive = object(), None
        self._dirty = True

    def _add_long_tail(self) -> None:
        if len(self._store) - self._indexed > self._index.tail_limit:
            if not self._indexed:
                self._end_journal()
            first, self._indexed = self._indexed, len(self._store)
            self._index.add(self._row_view(self._indexed), first)
            self._forget(first + np.flatnonzero(~self._store.alive[first:]))

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
            count = len(self._store) if eligible is None else eligible.count
            limit = self._index.scan_limit
            if allowed is not None:
                limit = max(limit, FILTER_SCAN_LIMIT)
            if self._indexed == 0 or count <= max(limit, k):
                return self._scan(queries, k, eligible)
            return self._ask_index(queries, k, eligible)

    def _scan(self, queries: FloatMatrix, k: int, eligible: Eligible | None) -> list[Candidates]:
        store = self._store
        rows = None if eligible is None else eligible.rows
        found = exact_candidates(queries, store.matrix, store.norms, self.metric, k, rows)
        count = len(store) if eligible is None else eligible.count
        complete = Completeness.FULL if count >= k else Completeness.EXHAUSTED
        return [self._scored(rows, complete) for rows in found]

    def _ask_index(
        self, queries: FloatMatrix, k: int, eligible: Eligible | None
    ) -> list[Candidates]:
        found = self._index_rows(queries, k, eligible)
        answers = []
        for at, (rows, scores) in enumerate(found):
            if len(rows) < k:
                answers += self._scan(queries[at : at + 1], k, eligible)
            elif self._are_final(rows, scores):
                ids = self._store.values_at(rows)
                wide = scores.astype(np.float64, copy=False)
                answers.append(Candidates(ids, Completeness.FULL, scores=wide))
            else:
                answers.append(self._scored(rows, Completeness.FULL))
        return answers

    def _are_final(self, rows: Rows, scores: npt.NDArray[np.floating]) -> bool:
        """Whether the index's scores are given out as they are."""
        if self.capabilities.scores == "estimated":
            return True
        return self._final and len(scores) == len(rows)

    def _index_rows(
        self, queries: FloatMatrix, k: int, eligible: Eligible | None
    ) -> Iterator[tuple[Rows, npt.NDArray[np.floating]]]:
        """Per query the eligible rows that index and tail yield, with the index's scores."""
        tail = np.arange(self._indexed, len(self._store))
        indexed, pushed, fetch = None, None, k
        if eligible is not None:
            tail = tail[eligible.mask[self._indexed :]]
        if eligible is not None and not (self._removes and eligible is self._alive):
            indexed = eligible.among(self._indexed)
            if self.capabilities.supports_filter:
                pushed = indexed
            else:
                # Over-fetch by the share that the filter will take away, with some to spare.
                share = eligible.count / max(1, len(self._store))
                hidden = self._indexed - indexed.count
                fetch = int(min(self._indexed, k + min(hidden, 2 * k / share)))
        view = self._row_view(self._indexed)
        for line, scores in zip(*self._index.search(view, queries, fetch, pushed), strict=True):
            keep = line >= 0
            if indexed is not None:
                keep[keep] = indexed.mask[line[keep]]
            if keep.all():
                rows, kept = line, scores
            else:
                rows, kept = line[keep], scores[keep]
            yield (np.concatenate([rows, tail]) if len(tail) else rows), kept

    def _scored(self, rows: Rows, completeness: Completeness) -> Candidates:
        store = self._store
        return Candidates(store.values_at(rows), completeness, vectors=store.matrix[rows])

    # -- filters -----------------------------------------------------------------------------

    def _eligible(self, allowed: IdFilter | None, excluded: IdFilter | None) -> Eligible | None:
        """The rows that may come back; None where all may."""
        if excluded is None:
            if allowed is not None:
                return self._allowed(allowed)
            return self._living if self._store.has_dead else None
        mask = self._store.alive.copy() if allowed is None else self._allowed(allowed).mask.copy()
        mask[self._rows_of(excluded.ids)] = False
        return Eligible(mask)

    @property
    def _living(self) -> Eligible:
        """The rows that are in use; made once per state of the store."""
        if self._alive is None:
            self._alive = Eligible(self._store.alive)
        return self._alive

    def _allowed(self, ids: IdFilter) -> Eligible:
        """The filter's rows; made once per state of the store."""

        def rows(ids: Ids) -> Eligible:
            mask = np.zeros(len(self._store), dtype=np.bool_)
            mask[self._rows_of(ids)] = True
            return Eligible(mask)

        return ids.translated(self._revision, rows)

    def _rows_of(self, ids: Ids) -> Rows:
        rows = self._store.rows_of(ids)
        return rows[rows >= 0]
