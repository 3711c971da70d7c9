"""Everything around a collection of an engine: batches, filters, and what they leave short.

One driver for every engine that keeps vectors under ids and answers "the nearest so many": an
adapter writes a :class:`Collection`, a thin translation. It always answers with k items where k
exist: what the engine's answer lacks is found by asking for more, and at last by scoring all.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.errors import BackendError
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.neighbors import Completeness
from ..core.retriever import IdFilter
from ..core.vectors import FloatMatrix
from .driver import Candidates
from .locks import ReadWriteLock
from .scan import exact_candidates, norms_of

#: Candidates beyond k: engines order by float32 distances, the wrapper by float64 scores.
_SPARE = 10
#: How many times more is asked for where an answer was short.
_GROWTH = 8
_PAGE = 10_000


class Found(NamedTuple):
    """Stored items, in any order, without repeats."""

    ids: Ids
    vectors: FloatMatrix
    """(n, d) float32, as they were given, where ``capabilities.stores`` is exact."""


class Collection(Protocol):
    """What one engine does with vectors under ids; safe to read from several threads.

    Calls come checked (:class:`~itemspace.adapters.driver.Driver` says how), and no reading call
    while another one writes. The collection translates its engine's errors into
    :class:`~itemspace.core.errors.BackendError` and its leaves.
    """

    dim: int
    metric: Metric
    id_kind: IdKind
    capabilities: Capabilities

    @property
    def batch(self) -> int:
        """The most items of one ``put``, ``get`` or ``remove``, and queries of one ``nearest``."""

    @property
    def most(self) -> int:
        """The most items of one answer."""

    @property
    def few(self) -> int:
        """So many allowed items, at most, are got and scored rather than searched: as measured."""

    @property
    def pushes(self) -> int:
        """So many allowed items, at most, ``nearest`` is told of; of more, and where it is 0 of
        any, it is not: it is asked for more items instead."""

    def put(self, ids: Ids, vectors: FloatMatrix) -> None:
        """Add or replace, all or nothing."""

    def get(self, ids: Ids) -> Found:
        """Those of ``ids`` that are stored."""

    def remove(self, ids: Ids) -> int:
        """How many of ``ids`` were stored, and are no longer."""

    def pages(self, size: int) -> Iterator[Found]:
        """Everything once, about ``size`` items at a time."""

    def count(self) -> int: ...

    def translate(self, allowed: Ids) -> Any:
        """A filter in the engine's terms, for ``nearest``; only called where ``pushes``."""

    def nearest(self, queries: FloatMatrix, limit: int, allowed: Any) -> list[Found]:
        """Per query up to ``limit`` items, the nearest that the engine finds.

        ``allowed`` is what ``translate`` gave, or None for all.
        """

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def destroy(self) -> None: ...


class Untold:
    """A collection whose searches are told of no filter: to be inherited by it."""

    pushes = 0

    def translate(self, allowed: Ids) -> Any:
        """Never called."""
        raise NotImplementedError


class CollectionDriver:
    """A :class:`~itemspace.adapters.driver.Driver` over a :class:`Collection`."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self.dim, self.metric = collection.dim, collection.metric
        self.id_kind = collection.id_kind
        self.capabilities = collection.capabilities
        self._lock = ReadWriteLock()
        self._revision = object()
        _drivers.add(self)

    # -- writing -----------------------------------------------------------------------------

    def upsert(self, ids: Ids, vectors: FloatMatrix) -> None:
        with self._lock.write():
            self._revision = object()
            for rows in self._steps(len(ids)):
                try:
                    self._collection.put(ids[rows], vectors[rows])
                except BackendError as error:
                    if not rows.start:
                        raise
                    done = ids[: rows.start]
                    raise type(error)(
                        f"{error} The first {len(done)} ids of the call went in.",
                        **{**error.details, "ids": done.to_list()},
                    ) from error

    def delete(self, ids: Ids) -> int:
        with self._lock.write():
            self._revision = object()
            return sum(self._collection.remove(ids[rows]) for rows in self._steps(len(ids)))

    def flush(self) -> None:
        with self._lock.write():
            self._collection.flush()

    def close(self) -> None:
        with self._lock.write():
            self._collection.close()

    def destroy(self) -> None:
        with self._lock.write():
            self._collection.destroy()

    # -- reading -----------------------------------------------------------------------------

    def __len__(self) -> int:
        with self._lock.read():
            return self._collection.count()

    def vectors(self, ids: Ids) -> tuple[npt.NDArray[np.bool_], FloatMatrix]:
        with self._lock.read():
            stored = self._joined(list(self._got(ids)))
        rows = stored.ids.rows_of(ids)
        return rows >= 0, np.ascontiguousarray(stored.vectors[rows[rows >= 0]])

    def scan(self, batch_size: int) -> Iterator[tuple[Ids, FloatMatrix]]:
        pages = self._collection.pages(batch_size)
        while True:
            with self._lock.read():
                page = next(pages, None)
            if page is None:
                return
            yield page.ids, page.vectors

    def search(
        self,
        queries: FloatMatrix,
        k: int,
        allowed: IdFilter | None,
        excluded: IdFilter | None,
    ) -> list[Candidates]:
        with self._lock.read():
            if allowed is not None and len(allowed) <= self._collection.few:
                return self._score_all(queries, k, allowed, excluded)
            pushed = self._pushed(allowed)
            hidden = self._hidden(k, allowed if pushed is None else None, excluded)
            return [
                answer
                for rows in self._steps(len(queries))
                for answer in self._ask(
                    queries[rows], k, k + _SPARE + hidden, pushed, allowed, excluded
                )
            ]

    def _ask(
        self,
        queries: FloatMatrix,
        k: int,
        fetch: int,
        pushed: Any,
        allowed: IdFilter | None,
        excluded: IdFilter | None,
    ) -> list[Candidates]:
        """Per query k items, or all that may come back: the engine is asked, and asked for more."""
        limit = min(fetch, self._collection.most)
        lines = self._collection.nearest(queries, limit, pushed)
        answers = [_candidates(_kept(line, allowed, excluded), k) for line in lines]
        short = [at for at, answer in enumerate(answers) if len(answer.ids) < k]
        if not short:
            return answers
        total = self._collection.count()
        short = [at for at in short if len(lines[at].ids) < total]
        if pushed is None and limit < min(total, self._collection.most):
            rest = self._ask(queries[short], k, fetch * _GROWTH, None, allowed, excluded)
        else:  # there is no more to ask for
            rest = self._score_all(queries[short], k, allowed, excluded)
        for at, answer in zip(short, rest, strict=True):
            answers[at] = answer
        return answers

    def _score_all(
        self, queries: FloatMatrix, k: int, allowed: IdFilter | None, excluded: IdFilter | None
    ) -> list[Candidates]:
        """The best of all that may come back, without the engine's search."""
        best = [self._joined([])] * len(queries)
        pages = self._collection.pages(_PAGE) if allowed is None else self._got(allowed.ids)
        for page in pages:
            kept = _kept(page, None, excluded)
            for at, some in enumerate(self._best(queries, k, kept)):
                both = self._joined([best[at], some])
                (best[at],) = self._best(queries[at : at + 1], k, both)
        return [_candidates(one, k) for one in best]

    def _best(self, queries: FloatMatrix, k: int, found: Found) -> Iterator[Found]:
        """Per query what of ``found`` can be among its k best."""
        ids, matrix = found
        for rows in exact_candidates(queries, matrix, norms_of(matrix), self.metric, k):
            yield Found(ids[rows], matrix[rows])

    def _hidden(self, k: int, allowed: IdFilter | None, excluded: IdFilter | None) -> int:
        """How many more to ask for, since the engine is not told of a filter.

        Half as many again as are excluded: the last of a graph's answer are its worst (with 500
        nearest items excluded .96 of the next ten were found, and so all of them).
        """
        hidden = 0 if excluded is None else 3 * len(excluded) // 2
        if allowed is not None:
            total = self._collection.count()
            hidden += min(max(0, total - len(allowed)), 2 * k * total // len(allowed))
        return hidden

    def _got(self, ids: Ids) -> Iterator[Found]:
        distinct = ids[np.flatnonzero(ids.rows_of(ids) == np.arange(len(ids)))]
        for rows in self._steps(len(distinct)):
            yield self._collection.get(distinct[rows])

    def _joined(self, some: Sequence[Found]) -> Found:
        nothing = np.empty((0, self.dim), dtype=np.float32)
        ids = Ids.joined([one.ids for one in some], self.id_kind)
        return Found(ids, np.concatenate([nothing, *(one.vectors for one in some)]))

    def _pushed(self, allowed: IdFilter | None) -> Any:
        """The filter in the engine's terms, made once for a state of the collection; None: it is
        not told of it."""
        if allowed is None or len(allowed) > self._collection.pushes:
            return None
        return allowed.translated(self._revision, self._collection.translate)

    def _steps(self, count: int) -> Iterator[slice]:
        step = self._collection.batch
        return (slice(start, start + step) for start in range(0, count, step))


#: A forked child inherits locks that threads of its parent hold.
_drivers: weakref.WeakSet[CollectionDriver] = weakref.WeakSet()


def _renew_locks() -> None:
    for driver in _drivers:
        driver._lock = ReadWriteLock()


os.register_at_fork(after_in_child=_renew_locks)


def _kept(found: Found, allowed: IdFilter | None, excluded: IdFilter | None) -> Found:
    """What of it may come back."""
    keep = np.ones(len(found.ids), dtype=np.bool_)
    if allowed is not None:
        keep &= allowed.ids.rows_of(found.ids) >= 0
    if excluded is not None:
        keep &= excluded.ids.rows_of(found.ids) < 0
    return found if keep.all() else Found(found.ids[np.flatnonzero(keep)], found.vectors[keep])


def _candidates(found: Found, k: int) -> Candidates:
    complete = Completeness.FULL if len(found.ids) >= k else Completeness.EXHAUSTED
    return Candidates(found.ids, complete, vectors=found.vectors)
