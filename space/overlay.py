"""Changes since a version was published, laid over its retriever, which is never written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..adapters import create_retriever
from ..catalog.changes import Change
from ..core.capabilities import Capabilities
from ..core.errors import InvalidId, ReadOnlyError
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.neighbors import Completeness, NeighborList, Neighbors
from ..core.retriever import IdFilter, Retriever, known_vectors
from ..core.scoring import rank
from ..core.vectors import FloatMatrix, VectorSet, check_known

#: So few ids are not excluded by the backend: asking for as many more takes less time.
_FEW = 1000
#: How many more than are wanted are asked for where items are changed: some, and so many times as
#: there should be among the nearest.
_SPARE, _SPREAD = 10, 3


@dataclass(frozen=True, eq=False)
class Changes:
    """What was changed up to a revision: each id once, as it is now."""

    revision: int
    ids: Ids
    """Of items that were upserted or deleted, whether the version has them or not."""
    alive: npt.NDArray[np.bool_]
    """(n,): False where the item was deleted."""
    vectors: FloatMatrix
    """(n, d); zeros where the item was deleted."""

    @classmethod
    def none(cls, revision: int, kind: IdKind, dim: int) -> Changes:
        """Nothing has changed."""
        return cls(revision, Ids([], kind), np.empty(0, bool), np.empty((0, dim), np.float32))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def deleted(self) -> Ids:
        """Items that are there no more."""
        return self.ids[np.flatnonzero(~self.alive)]

    def then(self, log: Iterable[Change], revision: int) -> Changes:
        """These, and what came after."""
        dim = self.vectors.shape[1]
        ids, alive, vectors = [self.ids], [self.alive], [self.vectors]
        for change in log:
            count, matrix = len(change.ids), change.vectors
            ids.append(change.ids)
            alive.append(np.full(count, matrix is not None))
            vectors.append(np.zeros((count, dim), np.float32) if matrix is None else matrix)
        if len(ids) == 1:
            return Changes(revision, self.ids, self.alive, self.vectors)
        names = Ids.joined(ids, self.ids.kind)
        # The last word on each id counts.
        backwards = names[np.arange(len(names))[::-1]]
        last = len(names) - 1 - np.unique(backwards.rows_of(backwards))
        rows = np.sort(last)
        return Changes(
            revision,
            names[rows],
            np.concatenate(alive)[rows],
            np.ascontiguousarray(np.concatenate(vectors)[rows]),
        )


class OverlaidRetriever:
    """A :class:`~itemspace.core.retriever.Retriever`: a version's own, with changes over it.

    Changed items are searched exactly, and left out of what the version's own finds.

    Parameters
    ----------
    owner
        What closes ``below``; kept for as long as this is.
    before
        The same version with fewer changes: what it knows is not asked for again.
    """

    def __init__(
        self,
        below: Retriever,
        changes: Changes,
        owner: object = None,
        before: OverlaidRetriever | None = None,
    ) -> None:
        self._below, self.changes, self._owner = below, changes, owner
        rows = np.flatnonzero(changes.alive)
        alive = VectorSet(changes.ids[rows], changes.vectors[rows], below.metric)
        self._above = create_retriever("exact:", alive)
        self._hidden = IdFilter(changes.ids)
        #: Which of the changed items the version has, (n,), and how many.
        self._known = self._known_below(before)
        self._replaced = int(self._known.sum())
        self._count = len(below) - self._replaced + len(rows)

    def __repr__(self) -> str:
        changes = f" with {len(self.changes):,} changes" if len(self.changes) else ""
        return f"{self._below!r}{changes}"

    @property
    def url(self) -> Any:
        """Where the version lives."""
        return getattr(self._below, "url", None)

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return self._below.dim

    @property
    def metric(self) -> Metric:
        """The measure of all scores."""
        return self._below.metric

    @property
    def id_kind(self) -> IdKind:
        """Of all ids."""
        return self._below.id_kind

    @property
    def capabilities(self) -> Capabilities:
        """Of the version's own retriever."""
        return self._below.capabilities

    def vectors_in(self, url: Any) -> Any:
        """As :meth:`.DriverRetriever.vectors_in`, where nothing has changed."""
        find = getattr(self._below, "vectors_in", None)
        return None if len(self.changes) or find is None else find(url)

    def search(
        self,
        queries: Any,
        k: int,
        *,
        allowed: Any | IdFilter | None = None,
        excluded: Any | IdFilter | None = None,
    ) -> Neighbors:
        """See :class:`~itemspace.core.retriever.Retriever`."""
        if not len(self.changes):
            return self._below.search(queries, k, allowed=allowed, excluded=excluded)
        among = self._filter(allowed)
        without = self._filter(excluded) or None  # of nothing, whose kind is any
        above = self._above.search(queries, k, allowed=among, excluded=without)
        below = self._unchanged(queries, k, among, without)
        return Neighbors([_merged(*pair, k) for pair in zip(below, above, strict=True)])

    def _unchanged(
        self, queries: Any, k: int, among: IdFilter | None, without: IdFilter | None
    ) -> list[NeighborList]:
        """Per query the version's own k best, without those that have changed since.

        As many more are asked for as the changed ones among them should be; where that was not
        enough they are excluded by the backend, which takes it longer.
        """
        changed, fetch, told = self.changes.ids, k, without
        if self._replaced:
            fetch += _SPARE + ceil(_SPREAD * k * self._replaced / len(self._below))
        if without is not None and len(without) <= _FEW:
            fetch, told = fetch + len(without), None
        found = self._below.search(queries, fetch, allowed=among, excluded=told)
        answers = [_left(answer, changed) for answer in found]
        if without is not None and told is None:
            answers = [_left(answer, without.ids) for answer in answers]
        whole = Completeness.EXHAUSTED
        short = [
            at for at, one in enumerate(answers) if len(one) < k and one.completeness is not whole
        ]
        if short:
            some = np.atleast_2d(np.asarray(queries))[short]
            hidden = self._hidden if without is None else IdFilter(changed.concat(without.ids))
            rest = self._below.search(some, k, allowed=among, excluded=hidden)
            for at, one in zip(short, rest, strict=True):
                answers[at] = one
        return answers

    def vectors(self, ids: Any) -> FloatMatrix:
        """See :class:`~itemspace.core.retriever.Retriever`."""
        if not len(self.changes):
            return self._below.vectors(ids)
        wanted = self._below.filter(ids).ids
        places = self.changes.ids.rows_of(wanted)
        changed = places >= 0
        found, matrix = changed.copy(), np.empty((len(wanted), self.dim), dtype=np.float32)
        found[changed] = self.changes.alive[places[changed]]
        matrix[changed] = self.changes.vectors[places[changed]]
        found[~changed], stored = known_vectors(self._below, wanted[~changed])
        check_known(wanted, np.where(found, 0, -1), repr(self))
        matrix[~changed] = stored
        return matrix

    def filter(self, ids: Any) -> IdFilter:
        """See :class:`~itemspace.core.retriever.Retriever`."""
        return self._below.filter(ids)

    def scan(self, batch_size: int = 10_000) -> Iterator[tuple[Ids, FloatMatrix]]:
        """See :class:`~itemspace.core.retriever.Retriever`."""
        for ids, matrix in self._below.scan(batch_size):
            rows = np.flatnonzero(self.changes.ids.rows_of(ids) < 0)
            if len(rows):
                yield ids[rows], matrix[rows]
        yield from self._above.scan(batch_size)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, item: object) -> bool:
        try:
            changed = item in self.changes.ids
        except InvalidId:
            return False
        return item in (self._above if changed else self._below)

    def _known_below(self, before: OverlaidRetriever | None) -> npt.NDArray[np.bool_]:
        ids = self.changes.ids
        known, asked = np.zeros(len(ids), dtype=np.bool_), np.ones(len(ids), dtype=np.bool_)
        if before is not None:
            rows = before.changes.ids.rows_of(ids)
            asked = rows < 0
            known[~asked] = before._known[rows[~asked]]
        if asked.any():
            known[asked] = known_vectors(self._below, ids[np.flatnonzero(asked)])[0]
        return known

    def _filter(self, ids: Any | IdFilter | None) -> IdFilter | None:
        return ids if ids is None or isinstance(ids, IdFilter) else self.filter(ids)

    # -- what only the version's own retriever may ---------------------------------------------

    def upsert(self, ids: Any, vectors: Any) -> None:  # noqa: ARG002
        """Not here: :meth:`.Space.upsert`."""
        raise ReadOnlyError("A published version is never written; use Space.upsert.")

    def delete(self, ids: Any) -> int:  # noqa: ARG002
        """Not here: :meth:`.Space.delete`."""
        raise ReadOnlyError("A published version is never written; use Space.delete.")

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Nothing: the space closes what it opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def _left(found: NeighborList, gone: Ids) -> NeighborList:
    """What is not gone."""
    kept = gone.rows_of(Ids(found.ids, gone.kind)) < 0
    return found if kept.all() else found.take(np.flatnonzero(kept))


def _merged(below: NeighborList, above: NeighborList, k: int) -> NeighborList:
    """The k best of both; as complete as the version's own answer."""
    scores = np.concatenate([below.scores, above.scores])
    ids = np.concatenate([below.ids, above.ids])
    best = rank(scores, ids)[:k]
    complete = Completeness.FULL if len(best) == k else below.completeness
    return NeighborList(ids[best], scores[best], complete)
