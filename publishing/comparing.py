"""How two versions answer: the neighbours of the same items, beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..catalog.catalog import Catalog
from ..catalog.versions import get_version
from ..core.errors import InvalidOption
from ..core.ids import Ids
from ..core.progress import Progress
from ..core.retriever import Retriever, known_vectors
from ..core.vectors import FloatMatrix
from ..space.snapshot import OpenVersion

_PAGE = 10_000
#: Queries that are answered together.
_BATCH = 1_000


@dataclass(frozen=True, eq=False)
class Difference:
    """What has changed from one version to another."""

    added: int
    """Items that only the second has."""
    removed: int
    """Items that only the first has."""
    common: int
    compared: int
    """Of the common ones, those whose neighbours were looked at."""
    ids: list[Any]
    """The compared items, those whose neighbours changed most first, then by id."""
    overlaps: npt.NDArray[np.float64]
    """(compared,): which share of the k nearest in the first version is so in the second."""

    @property
    def mean(self) -> float:
        """The mean overlap; NaN where nothing was compared."""
        return float(self.overlaps.mean()) if len(self.overlaps) else float("nan")


def diff(
    catalog: Catalog,
    first: int,
    second: int,
    *,
    space: str = "items",
    k: int = 10,
    sample: int | None = 1000,
    progress: Progress | None = None,
) -> Difference:
    """Compare two versions of a space, without the changes since they were published.

    Parameters
    ----------
    k
        How many neighbours of each item are compared, at least 1.
    sample
        Of how many common items, evenly over all of them; None: of all.

    Raises
    ------
    NothingPublished, UnknownSpace
        There is no such version, or its vectors were removed.
    """
    if k < 1 or (sample is not None and sample < 1):
        raise InvalidOption(
            f"k and sample are at least 1; received {k} and {sample}.",
            option="k" if k < 1 else "sample",
            received=k if k < 1 else sample,
        )
    one, other = (
        OpenVersion(catalog, get_version(catalog, space, number)) for number in (first, second)
    )
    pages: list[Ids] = []
    for ids, _ in one.retriever.scan(_PAGE):
        known, _ = known_vectors(other.retriever, ids)
        pages.append(ids[np.flatnonzero(known)])
    names = Ids(sorted(name for page in pages for name in page), one.retriever.id_kind)
    common = len(names)
    if sample is not None and sample < common:
        names = names[np.linspace(0, common - 1, sample).astype(np.int64)]
    overlaps = np.empty(len(names))
    for start in range(0, len(names), _BATCH):
        some = names[start : start + _BATCH]
        overlaps[start : start + _BATCH] = overlaps_of(one.retriever, other.retriever, some, k)
        if progress is not None:
            progress(start + len(some), len(names), "comparing")
    order = np.argsort(overlaps, kind="stable")
    return Difference(
        added=len(other.retriever) - common,
        removed=len(one.retriever) - common,
        common=common,
        compared=len(names),
        ids=names[order].to_list(),
        overlaps=overlaps[order],
    )


def overlaps_of(first: Retriever, second: Retriever, ids: Ids, k: int) -> npt.NDArray[np.float64]:
    """Of items that both have: the share of the k nearest in the first that the second has too."""
    one = _neighbours(first, ids, first.vectors(ids), k)
    other = _neighbours(second, ids, second.vectors(ids), k)
    pairs = zip(one, other, strict=True)
    return np.array([len(a & b) / max(1, len(a)) for a, b in pairs], dtype=np.float64)


def _neighbours(retriever: Retriever, ids: Ids, vectors: FloatMatrix, k: int) -> list[set[Any]]:
    answers = retriever.search(vectors, k + 1)
    pairs = zip(ids, answers, strict=True)
    return [set([at for at in answer.ids.tolist() if at != name][:k]) for name, answer in pairs]
