"""What an adapter implements: a small driver over validated arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.neighbors import Completeness
from ..core.retriever import IdFilter
from ..core.vectors import FloatMatrix
from .url import RetrieverURL


@dataclass(frozen=True, eq=False)
class Candidates:
    """A driver's answer to one query, in any order, without repeats, maybe more than k."""

    ids: Ids | npt.NDArray[Any]
    """(m,): where they are at hand, their values, int64 or ``str`` objects."""
    completeness: Completeness
    vectors: FloatMatrix | None = None
    """(m, d): where given, the wrapper scores from them and ``scores`` is not read."""
    scores: npt.NDArray[np.float64] | None = None
    """(m,): higher is better, in the metric's unit."""


class Driver(Protocol):
    """Storage and search in one engine.

    The wrapper has checked everything: ids are distinct and of ``id_kind``, vectors are finite
    C-contiguous float32 of ``dim`` columns and not zero under ``COSINE``, k ≥ 1, the retriever is
    open and writable. The driver translates its engine's errors into
    :class:`~itemspace.core.errors.BackendError` and its leaves.
    """

    dim: int
    metric: Metric
    id_kind: IdKind
    capabilities: Capabilities

    def upsert(self, ids: Ids, vectors: FloatMatrix) -> None: ...

    def delete(self, ids: Ids) -> int: ...

    def search(
        self,
        queries: FloatMatrix,
        k: int,
        allowed: IdFilter | None,
        excluded: IdFilter | None,
    ) -> list[Candidates]: ...

    def vectors(self, ids: Ids) -> tuple[npt.NDArray[np.bool_], FloatMatrix]:
        """Which ids are stored, (n,), and the vectors of those that are, in their order."""

    def scan(self, batch_size: int) -> Iterator[tuple[Ids, FloatMatrix]]: ...

    def __len__(self) -> int: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def destroy(self) -> None:
        """Close, and remove what ``create`` made: the creation failed."""


class Backend(Protocol):
    """Makes drivers; what a URL scheme stands for.

    ``options`` is a frozen dataclass: its fields are the URL's parameters, of type ``int``,
    ``float``, ``bool`` or ``str`` (each optionally ``None``). One whose URLs are not of folders
    also has ``child(url, name) -> RetrieverURL``: the place of that name beside or below a URL,
    which a version of a space goes to.
    """

    options: type[Any]

    def create(
        self, url: RetrieverURL, options: Any, dim: int, metric: Metric, id_kind: IdKind
    ) -> Driver:
        """An empty, writable driver; ``BackendExists`` where something is stored already."""

    def open(self, url: RetrieverURL, options: dict[str, Any], *, writable: bool) -> Driver:
        """What is stored there, never created; ``BackendNotFound`` where nothing is.

        ``options`` holds only what the URL names.
        """
