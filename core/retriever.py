"""The one protocol in front of every vector backend."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from .capabilities import Capabilities
from .errors import UnknownIds
from .ids import IdKind, Ids
from .metric import Metric
from .neighbors import Neighbors
from .vectors import FloatMatrix

T = TypeVar("T")
#: How many translations a filter keeps: that of a version and that of its changes, and a next one.
_TRANSLATIONS = 4


class IdFilter:
    """A set of ids, made once by :meth:`Retriever.filter` and reused over many searches.

    Immutable. A retriever translates it into its own terms on first use and keeps the
    translation for as long as its contents do not change. Ids that the retriever does not hold
    are kept: they may be upserted later.
    """

    def __init__(self, ids: Any) -> None:
        self.ids = ids if isinstance(ids, Ids) else Ids(ids)
        self._translated: dict[Any, Any] = {}

    def translated(self, state: Hashable, translate: Callable[[Ids], T]) -> T:
        """What ``translate`` makes of the ids; for an equal ``state`` it is not called again.

        For adapters: the state says who translates, and of what contents. Some are kept.
        """
        made: T
        try:
            made = self._translated[state]
        except KeyError:
            made = translate(self.ids)
            if len(self._translated) >= _TRANSLATIONS:
                self._translated = {}
            self._translated[state] = made
        return made

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<IdFilter of {len(self):,} ids>"


def known_vectors(retriever: Retriever, ids: Ids) -> tuple[npt.NDArray[np.bool_], FloatMatrix]:
    """Which ids are stored, (n,), and the vectors of those that are, in their order."""
    try:
        return np.ones(len(ids), dtype=np.bool_), retriever.vectors(ids)
    except UnknownIds as error:
        unknown = set(error.ids)
    known = np.array([name not in unknown for name in ids], dtype=np.bool_)
    return known, retriever.vectors(ids[known])


@runtime_checkable
class Retriever(Protocol):
    """Nearest-neighbour search over vectors under ids.

    Made by :func:`~itemspace.adapters.create_retriever` or
    :func:`~itemspace.adapters.open_retriever`. All calls are checked: a wrong dimension, NaN,
    infinity, a zero vector under ``COSINE``, an id twice in one call or a call after ``close``
    raise a typed error and change nothing. Searching is safe from several threads at once, and
    beside a writing thread: a search sees the state before or after an update, never between.
    """

    @property
    def dim(self) -> int:
        """Number of dimensions of every vector."""

    @property
    def metric(self) -> Metric:
        """The measure of all scores."""

    @property
    def id_kind(self) -> IdKind:
        """Whether ids are ``"int"`` or ``"str"``."""

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do."""

    def upsert(self, ids: Any, vectors: Any) -> None:
        """Add vectors, or replace those whose ids are there.

        Parameters
        ----------
        ids
            n distinct ids of the retriever's kind.
        vectors
            (n, d), converted to float32.

        Raises
        ------
        InvalidId, DuplicateIds, InvalidVectors, DimensionMismatch
            Nothing has changed.
        ReadOnlyError
            Opened with ``mode="r"``.
        """

    def delete(self, ids: Any) -> int:
        """Remove ids and return how many of them existed. Unknown ids are passed over."""

    def search(
        self,
        queries: Any,
        k: int,
        *,
        allowed: Any | IdFilter | None = None,
        excluded: Any | IdFilter | None = None,
    ) -> Neighbors:
        """The k best-scoring items for each query.

        Parameters
        ----------
        queries
            (q, d), or (d,) for one query, which is answered as a batch of one.
        k
            At least 1; more than there are items is fine.
        allowed
            Only these ids may come back (an empty set allows nothing); ids that are not here are
            passed over. ``None`` allows all.
        excluded
            These ids may not come back; wins over ``allowed``.

        Returns
        -------
        Neighbors
            For each query at most k items, score descending, then id ascending; no padding, no
            id twice. Fewer than k only with the reason in ``completeness``.
        """

    def vectors(self, ids: Any) -> FloatMatrix:
        """The stored vectors, (n, d) float32; :class:`UnknownIds` names the missing."""

    def filter(self, ids: Any) -> IdFilter:
        """A filter for many searches."""

    def scan(self, batch_size: int = 10_000) -> Iterator[tuple[Ids, FloatMatrix]]:
        """Every id with its vector, once, in batches, in no promised order."""

    def __len__(self) -> int:
        """How many items are stored."""

    def __contains__(self, item: object) -> bool:
        """Whether an id is stored."""

    def flush(self) -> None:
        """Make all that was written durable; returns when it is."""

    def close(self) -> None:
        """Flush and let go of files, locks and connections. A second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
