"""The shared wrapper: what must be the same in front of every backend, once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..core.capabilities import Capabilities
from ..core.errors import (
    ClosedError,
    DimensionMismatch,
    InvalidId,
    InvalidOption,
    InvalidVectors,
    ReadOnlyError,
)
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.neighbors import Completeness, NeighborList, Neighbors
from ..core.retriever import IdFilter
from ..core.scoring import METRIC_CODES, is_sound, rank, score_rows
from ..core.vectors import FloatMatrix, as_array, check_known, check_matrix
from .driver import Candidates, Driver
from .url import RetrieverURL


class DriverRetriever:
    """A :class:`~itemspace.core.retriever.Retriever` over a driver.

    It checks what comes in, scores and orders what goes out, and passes everything else on.
    """

    def __init__(self, driver: Driver, url: RetrieverURL, *, writable: bool) -> None:
        self._driver, self._url, self._writable = driver, url, writable
        self._closed = False
        self._process = os.getpid()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._driver):,} × {self.dim}"
        return f"<Retriever {self._url}, {state}, {self.metric}>"

    @property
    def url(self) -> RetrieverURL:
        """Where it lives; its repr hides secrets."""
        return self._url

    @property
    def dim(self) -> int:
        return self._driver.dim

    @property
    def metric(self) -> Metric:
        return self._driver.metric

    @property
    def id_kind(self) -> IdKind:
        return self._driver.id_kind

    @property
    def capabilities(self) -> Capabilities:
        return self._driver.capabilities

    # -- writing -----------------------------------------------------------------------------

    def upsert(self, ids: Any, vectors: Any) -> None:
        self._check_writable()
        wanted = self._ids(ids)
        matrix = self._matrix(vectors, "vectors")
        if len(wanted) != len(matrix):
            raise InvalidVectors(
                f"Expected one vector per id; received {len(wanted)} ids and {len(matrix)} vectors."
            )
        wanted.check_unique("one call of upsert")
        if len(wanted):
            self._driver.upsert(wanted, matrix)

    def delete(self, ids: Any) -> int:
        self._check_writable()
        wanted = self._ids(ids)
        wanted.check_unique("one call of delete")
        return self._driver.delete(wanted) if len(wanted) else 0

    def tune(self, queries: Any, recall: float | None = None) -> dict[str, float]:
        """Let the backend find by sample queries, (q, d), what a recall takes; kept by a flush.

        The recall is that of its own options where none is said.

        Returns what it found, such as the settings and the recall measured with them, and nothing
        where it has nothing to find.
        """
        self._check_writable()
        matrix = self._matrix(queries, "queries")
        tune = getattr(self._driver, "tune", None)
        found: dict[str, float] = {} if tune is None else tune(matrix, recall)
        return found

    def vectors_in(self, url: Any) -> Any:
        """The vectors as a table of SQL's, where a SQLAlchemy URL names their database, or None.

        What that table is, :class:`itemspace.space.in_database.Vectors` says.
        """
        self._check_open()
        find = getattr(self._driver, "vectors_in", None)
        return None if find is None else find(url)

    def flush(self) -> None:
        self._check_open()
        if self._writable:
            self._driver.flush()

    def close(self) -> None:
        if self._closed:
            return
        try:
            if self._writable and self._process == os.getpid():
                self._driver.flush()
        finally:
            self._closed = True
            self._driver.close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- reading -----------------------------------------------------------------------------

    def search(
        self,
        queries: Any,
        k: int,
        *,
        allowed: Any | IdFilter | None = None,
        excluded: Any | IdFilter | None = None,
    ) -> Neighbors:
        self._check_open()
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InvalidOption(
                f"k is a whole number of at least 1; received {k!r}.", option="k", received=k
            )
        array = as_array(queries, "queries")
        matrix = self._matrix(array[None, :] if array.ndim == 1 else array, "queries")
        if not len(matrix):
            return Neighbors([])
        answers = self._driver.search(matrix, int(k), self._filter(allowed), self._filter(excluded))
        return Neighbors(
            [self._ranked(query, c, int(k)) for query, c in zip(matrix, answers, strict=True)]
        )

    def vectors(self, ids: Any) -> FloatMatrix:
        self._check_open()
        wanted = self._ids(ids)
        found, matrix = self._driver.vectors(wanted)
        check_known(wanted, np.where(found, 0, -1), f"{self._url}")
        return matrix

    def filter(self, ids: Any) -> IdFilter:
        self._check_open()
        return IdFilter(self._ids(ids))

    def scan(self, batch_size: int = 10_000) -> Iterator[tuple[Ids, FloatMatrix]]:
        self._check_open()
        if batch_size < 1:
            raise InvalidOption(
                f"batch_size is at least 1; received {batch_size}.",
                option="batch_size",
                received=batch_size,
            )
        return self._driver.scan(batch_size)

    def __len__(self) -> int:
        self._check_open()
        return len(self._driver)

    def __contains__(self, item: object) -> bool:
        self._check_open()
        try:
            wanted = self._ids([item])
        except InvalidId:
            return False
        return bool(self._driver.vectors(wanted)[0][0])

    # -- the edge ----------------------------------------------------------------------------

    def _ranked(self, query: FloatMatrix, candidates: Candidates, k: int) -> NeighborList:
        ids, scores = candidates.ids, candidates.scores
        if isinstance(ids, Ids):
            ids = ids.to_array()
        if candidates.vectors is not None:
            rows = np.arange(len(ids), dtype=np.int64)
            scores = score_rows(query, candidates.vectors, rows, self.metric)
        if scores is None:
            scores = np.empty(0, dtype=np.float64)
        best = rank(scores, ids)[:k]
        completeness = candidates.completeness
        if len(best) == k:
            completeness = Completeness.FULL
        elif completeness is Completeness.FULL:
            completeness = Completeness.UNKNOWN
        return NeighborList(ids[best], scores[best], completeness)

    def _filter(self, ids: Any | IdFilter | None) -> IdFilter | None:
        if ids is None:
            return None
        if isinstance(ids, IdFilter):
            self._ids(ids.ids)
            return ids
        return self.filter(ids)

    def _ids(self, ids: Any) -> Ids:
        if isinstance(ids, str | bytes):
            raise InvalidId(f"Expected a sequence of ids; received the single {ids!r}. Use [id].")
        if isinstance(ids, Ids):
            return Ids(ids, self.id_kind)
        values = ids if isinstance(ids, np.ndarray) else list(ids)
        return Ids(values, self.id_kind)

    def _matrix(self, vectors: Any, what: str) -> FloatMatrix:
        array = as_array(vectors, what)
        if array.ndim == 2 and array.shape[1] != self.dim:
            raise DimensionMismatch(
                f"The {what} have {array.shape[1]} dimensions; this retriever has {self.dim}.",
                expected=self.dim,
                received=array.shape[1],
            )
        plain = array.ndim == 2 and array.dtype == np.float32 and array.flags.c_contiguous
        if plain and is_sound(array, METRIC_CODES[self.metric]):  # faster than to find out why not
            return array
        matrix = check_matrix(array, what)
        if self.metric is Metric.COSINE and not matrix.any(axis=1).all():
            row = int(np.argmin(matrix.any(axis=1)))
            raise InvalidVectors(
                f"Row {row} of the {what} is zero, and a zero vector has no cosine; leave it out, "
                "or use another metric."
            )
        return matrix

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"The retriever {self._url} was closed; open it again.")

    def _check_writable(self) -> None:
        self._check_open()
        if not self._writable:
            raise ReadOnlyError(
                f"The retriever {self._url} was opened for reading; open it with mode='rw'."
            )
        if self._process != os.getpid():
            raise ReadOnlyError(
                f"The retriever {self._url} belongs to the process {self._process}, which this "
                "one was forked from; here it can only be read."
            )
