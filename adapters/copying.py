"""From one backend to another: streamed, taken up again after a kill, verified."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.errors import BackendNotFound, CorruptData
from ..core.ids import Ids
from ..core.metric import Metric
from ..core.progress import Progress
from ..core.retriever import Retriever, known_vectors
from ..core.scoring import rank, score_rows
from ..core.vectors import FloatMatrix, VectorSet
from .registry import BATCH, create_retriever, open_retriever
from .scan import exact_candidates, norms_of
from .url import RetrieverURL

#: Vectors that stand for queries, and how many neighbours each should have.
_QUERIES, _K = 100, 10
_MODULUS = 1 << 128


@dataclass(frozen=True)
class CopyReport:
    """What was copied, and how it was found to be right."""

    count: int
    """Vectors in the source and in the target."""
    checksum: str
    """Of ids and vectors, whatever their order, hex; of the ids alone where the target stores
    vectors otherwise (``capabilities.stores``)."""
    source_recall: float
    """Recall@10 of a sample of vectors as queries, against exact search."""
    target_recall: float


def copy_retriever(
    source: Retriever,
    target: str | RetrieverURL,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy every vector of a retriever into another backend, and verify it there.

    Parameters
    ----------
    target
        Where to; nothing may be there yet.
    resume
        Go on with a copy that was broken off: what is in the target already, bit for bit, is
        passed over.

    Raises
    ------
    BackendExists
        Something is there, and ``resume`` is not said.
    CorruptData
        The target does not hold what the source does; it is left as it is.
    ReadOnlyError, InvalidURL, BackendUnavailable, …
        What the backends raise.
    """
    digest, count, total = 0, 0, len(source)
    exact = ExactSample(source.metric)
    with _open_target(source, target, resume) as made:
        same = made.capabilities.stores == "exact"
        for ids, matrix in source.scan(BATCH):
            new = ~is_there(made, ids, matrix) if resume else np.ones(len(ids), dtype=np.bool_)
            if new.any():
                made.upsert(ids[new], matrix[new])
                made.flush()
            digest += _sum(ids, matrix if same else None)
            exact.look(ids, matrix)
            count += len(ids)
            if progress is not None:
                progress(count, total, "copying")
        found, found_count = 0, 0
        for ids, matrix in made.scan(BATCH):
            found += _sum(ids, matrix if same else None)
            found_count += len(ids)
            if progress is not None:
                progress(found_count, total, "verifying")
        if (count, digest % _MODULUS) != (found_count, found % _MODULUS):
            what = "ids and vectors" if same else "ids"
            raise CorruptData(
                f"{made!r} holds {found_count:,} vectors where {count:,} went in, or other {what} "
                "than went in; remove it and copy again.",
                path=str(RetrieverURL.parse(target)),
            )
        recalls = exact.recall(source), exact.recall(made)
    return CopyReport(count, f"{digest % _MODULUS:032x}", *recalls)


def _open_target(source: Retriever, target: str | RetrieverURL, resume: bool) -> Retriever:
    if resume:
        try:
            return open_retriever(target, "rw")
        except BackendNotFound:
            pass
    nothing = np.empty((0, source.dim), dtype=np.float32)
    return create_retriever(target, VectorSet(Ids([], source.id_kind), nothing, source.metric))


def is_there(made: Retriever, ids: Ids, matrix: FloatMatrix) -> npt.NDArray[np.bool_]:
    """Which of the vectors a retriever holds as they are, (n,)."""
    known, stored = known_vectors(made, ids)
    if made.capabilities.stores == "exact":
        known[known] = (stored == matrix[known]).all(axis=1)
    return known


def _sum(ids: Ids, matrix: FloatMatrix | None) -> int:
    """The sum of a hash of each row: the same in any order."""
    total = 0
    for name, row in zip(ids, matrix if matrix is not None else [b""] * len(ids), strict=True):
        text = f"{name}\0".encode()
        total += int.from_bytes(hashlib.blake2b(text + bytes(row), digest_size=16).digest())
    return total


class ExactSample:
    """The true neighbours of some of the vectors, found while all of them stream by."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._queries: FloatMatrix | None = None
        self._best: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.object_]]] = []

    def look(self, ids: Ids, matrix: FloatMatrix) -> None:
        """Take some more of the vectors into account; the sample is of the first."""
        if self._queries is None:
            rows = np.linspace(0, len(matrix) - 1, min(_QUERIES, len(matrix))).astype(np.int64)
            self._queries = np.array(matrix[rows])
            nothing = np.empty(0), np.empty(0, dtype=object)
            self._best = [nothing] * len(rows)
        names = np.array(ids.to_list(), dtype=object)
        norms = norms_of(matrix)
        nearest = exact_candidates(self._queries, matrix, norms, self._metric, _K)
        for at, (query, rows) in enumerate(zip(self._queries, nearest, strict=True)):
            here = score_rows(query, matrix, rows, self._metric)
            scores = np.concatenate([self._best[at][0], here])
            both = np.concatenate([self._best[at][1], names[rows]])
            order = rank(scores, both)[:_K]
            self._best[at] = scores[order], both[order]

    def recall(self, retriever: Retriever) -> float:
        """The share of the true neighbours that a retriever finds."""
        if self._queries is None:
            return 1.0
        answers = retriever.search(self._queries, _K)
        shares = [
            len(set(answer.ids.tolist()) & set(names.tolist())) / len(names)
            for answer, (_, names) in zip(answers, self._best, strict=True)
        ]
        return float(np.mean(shares))
