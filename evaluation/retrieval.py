"""Backends beside each other: recall, speed, filters, memory, on the same vectors.

No backend is believed: the scores of its answers are worked out again, and ids that are unknown,
come twice or are not allowed end its run.
"""

from __future__ import annotations

import multiprocessing
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from ..adapters import RetrieverURL, create_retriever, open_retriever
from ..adapters.registry import place_below, remove_retriever
from ..adapters.scan import exact_candidates, norms_of
from ..core.errors import BackendError, EmptyInput, InvalidOption, ItemspaceError
from ..core.ids import Ids
from ..core.neighbors import NeighborList
from ..core.retriever import Retriever
from ..core.scoring import score_rows
from ..core.vectors import FloatMatrix, VectorSet
from .figures import new_figure
from .memory import forget_peak, peak_megabytes, resident_megabytes

#: Shares of the vectors that a filter lets through.
SHARES = (0.01, 0.1, 0.5)
_THREADS, _ROUNDS, _WARM = 2, 3, 20
#: How far a score may be from what it should be, relative to the lengths.
_TOLERANCE = 2e-5


@dataclass(frozen=True)
class Filtered:
    """Searches of which a share of the vectors is allowed."""

    share: float
    recall: float
    found: float
    """Items that came back, as a share of those that could have."""
    p50: float
    """Milliseconds."""


@dataclass(frozen=True)
class RetrievalFigures:
    """What one backend did."""

    url: str
    build_seconds: float
    """Training, loading, making it durable."""
    open_seconds: float | None
    """None where it ends with its process."""
    resident_megabytes: float
    """The process's memory after the load, less what it was before."""
    peak_megabytes: float
    """The most in between, likewise."""
    disk_megabytes: float | None
    """None where it is no folder."""
    recall: float
    """Recall@k, one query at a time; an item as good as the k-th best counts as found."""
    per_second: float
    """Queries, one at a time; the median of three rounds."""
    p50: float
    """Milliseconds for one query."""
    p99: float
    batch_per_second: float
    """Queries, all in one call."""
    threads_per_second: float
    """Queries, one at a time, in each of two threads."""
    filtered: tuple[Filtered, ...]
    """For 1, 10 and 50 % allowed."""


@dataclass(frozen=True)
class RetrievalComparison:
    """Backends that were measured, and those that failed."""

    count: int
    dim: int
    k: int
    figures: Sequence[RetrievalFigures]
    failures: Mapping[str, str]
    """URL → what went wrong."""

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Names of columns, and rows of texts."""
        filtered = [f"{share:.0%}: recall, found, ms" for share in SHARES]
        columns = ["backend", f"recall@{self.k}", "1/s", "p50 ms", "p99 ms", "batch/s"]
        columns += ["2 threads/s", "build s", "open s", "MB", "disk MB", *filtered]
        rows = []
        for one in self.figures:
            row = [one.url, f"{one.recall:.3f}", f"{one.per_second:,.0f}"]
            row += [f"{one.p50:.3f}", f"{one.p99:.3f}", f"{one.batch_per_second:,.0f}"]
            row += [f"{one.threads_per_second:,.0f}", f"{one.build_seconds:.1f}"]
            row += [_maybe(one.open_seconds, ".2f"), f"{one.resident_megabytes:.0f}"]
            row += [_maybe(one.disk_megabytes, ".0f")]
            row += [f"{f.recall:.3f}, {f.found:.0%}, {f.p50:.2f}" for f in one.filtered]
            rows.append(row)
        return columns, rows

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    def write_figure(self, path: str | Path) -> None:
        """Recall against queries a second; the format is the path's ending."""
        figure = new_figure(7, 5)
        axes = figure.subplots()
        for one in self.figures:
            axes.plot([one.recall], [one.per_second], "o", label=one.url)
        axes.set(xlabel=f"recall@{self.k}", ylabel="queries/s, one at a time", yscale="log")
        figure.legend(loc="outside lower center")
        figure.savefig(path)


def compare_backends(
    urls: Sequence[str], vectors: VectorSet, *, k: int = 10, queries: int = 1000, seed: int = 1
) -> RetrievalComparison:
    """Load the same vectors into each backend, in a process of its own, and search.

    Parameters
    ----------
    urls
        Retriever URLs. What is made below them (a folder, a collection, or in memory) is removed
        again.
    queries
        So many of the vectors, drawn by ``seed``, are the queries and are not loaded; at most a
        fifth of them.

    Raises
    ------
    EmptyInput
        Fewer than ten vectors.
    InvalidOption
        ``k`` below 1, or no URL.
    """
    if k < 1 or not urls:
        raise InvalidOption("Name backends, and k ≥ 1.", option="k", received=k)
    if len(vectors) < 10:
        raise EmptyInput("Ten vectors are the least to search in.", path=repr(vectors))
    order = np.random.default_rng(seed).permutation(len(vectors))
    asked, kept = np.split(order, [min(queries, len(vectors) // 5)])
    kept.sort()
    figures, failures = [], {}
    with tempfile.TemporaryDirectory(prefix="itemspace-") as name:
        folder = Path(name)
        loaded = VectorSet(vectors.ids[kept], vectors.matrix[kept], vectors.metric)
        loaded.save(folder / "vectors")
        np.save(folder / "queries.npy", vectors.matrix[asked])
        # A fresh process for each: its memory is the backend's alone.
        context = multiprocessing.get_context("spawn")
        for url in urls:
            with context.Pool(1) as pool:
                try:
                    figures.append(pool.apply(_measure, (url, folder, k, seed)))
                except ItemspaceError as error:
                    failures[str(RetrieverURL.parse(url))] = str(error)
    return RetrievalComparison(len(kept), vectors.dim, k, figures, failures)


def _measure(url: str, folder: Path, k: int, seed: int) -> RetrievalFigures:
    """One backend, in this process."""
    vectors, queries = VectorSet.open(folder / "vectors"), np.load(folder / "queries.npy")
    vectors = VectorSet(vectors.ids, np.array(vectors.matrix), vectors.metric)
    truth = _Truth(vectors, queries, k)
    parsed = RetrieverURL.parse(url)
    few = VectorSet(vectors.ids[:2000], vectors.matrix[:2000], vectors.metric)
    place = _place(parsed, "warm")  # compiles, and imports the engine
    create_retriever(place, few).search(queries[:1], k)
    _remove(place)
    before = resident_megabytes()
    forget_peak()
    place = _place(parsed, "bench")
    started = time.perf_counter()
    retriever = create_retriever(place, vectors)
    build_seconds = time.perf_counter() - started
    peak, resident = peak_megabytes() - before, resident_megabytes() - before
    open_seconds, disk = None, None
    if retriever.capabilities.persistent:
        retriever.close()
        started = time.perf_counter()
        retriever = open_retriever(place)
        retriever.search(queries[:1], k)
        open_seconds = time.perf_counter() - started
        disk = _disk(place)
    try:
        one_by_one, seconds = _timed(retriever, queries, k)
        batches = []
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            retriever.search(queries, k)
            batches.append(len(queries) / (time.perf_counter() - started))
        return RetrievalFigures(
            url=str(parsed),
            build_seconds=build_seconds,
            open_seconds=open_seconds,
            resident_megabytes=resident,
            peak_megabytes=peak,
            disk_megabytes=disk,
            recall=truth.recall(one_by_one, retriever),
            per_second=1 / float(np.median(seconds.mean(axis=1))),
            p50=1e3 * float(np.median(seconds)),
            p99=1e3 * float(np.quantile(seconds, 0.99)),
            batch_per_second=median(batches),
            threads_per_second=_threaded(retriever, queries, k),
            filtered=tuple(_filtered(retriever, vectors, queries, k, seed)),
        )
    finally:
        retriever.close()
        _remove(place)


def _timed(
    retriever: Retriever, queries: FloatMatrix, k: int, **filters: Any
) -> tuple[list[NeighborList], npt.NDArray[np.float64]]:
    """Answers, and seconds for each query in each round."""
    for query in queries[:_WARM]:
        retriever.search(query, k, **filters)
    seconds = np.empty((_ROUNDS, len(queries)))
    answers: list[NeighborList] = []
    for times in seconds:
        answers = []
        for at, query in enumerate(queries):
            started = time.perf_counter()
            answers.append(retriever.search(query, k, **filters)[0])
            times[at] = time.perf_counter() - started
    return answers, seconds


def _threaded(retriever: Retriever, queries: FloatMatrix, k: int) -> float:
    def run(some: FloatMatrix) -> None:
        for query in some:
            retriever.search(query, k)

    rates = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            list(pool.map(run, [queries] * _THREADS))
            rates.append(_THREADS * len(queries) / (time.perf_counter() - started))
    return median(rates)


def _filtered(
    retriever: Retriever, vectors: VectorSet, queries: FloatMatrix, k: int, seed: int
) -> list[Filtered]:
    rng, found = np.random.default_rng(seed + 1), []
    for share in SHARES:
        rows = np.flatnonzero(rng.random(len(vectors)) < share)
        inside = VectorSet(vectors.ids[rows], vectors.matrix[rows], vectors.metric)
        truth = _Truth(inside, queries, k)
        answers, seconds = _timed(retriever, queries, k, allowed=retriever.filter(inside.ids))
        possible = len(queries) * min(k, len(inside))
        came = sum(map(len, answers)) / max(1, possible)
        recall = truth.recall(answers, retriever)
        found.append(Filtered(share, recall, came, 1e3 * float(np.median(seconds))))
    return found


class _Truth:
    """The true answers, and the judge of others."""

    def __init__(self, vectors: VectorSet, queries: FloatMatrix, k: int) -> None:
        self._vectors, self._queries, self._k = vectors, queries, k
        matrix, metric = vectors.matrix, vectors.metric
        self._norms = norms_of(matrix)
        candidates = exact_candidates(queries, matrix, self._norms, metric, k)
        self._worst = [
            np.sort(score_rows(query, matrix, rows, metric))[::-1][:k]
            for query, rows in zip(queries, candidates, strict=True)
        ]

    def recall(self, answers: Sequence[NeighborList], retriever: Retriever) -> float:
        """The mean recall; raises :class:`BackendError` for answers that cannot be right."""
        exact = retriever.capabilities.scores == "exact"
        shares = []
        for query, best, answer in zip(self._queries, self._worst, answers, strict=True):
            rows = self._vectors.ids.rows_of(Ids(answer.ids, self._vectors.ids.kind))
            if len(set(rows.tolist())) < len(rows) or (rows < 0).any() or len(rows) > self._k:
                raise BackendError(
                    f"{retriever!r} answers with ids that come twice, are not there or are not "
                    f"allowed, or with too many: {answer.ids.tolist()}."
                )
            scores = score_rows(query, self._vectors.matrix, rows, self._vectors.metric)
            lengths = float(np.linalg.norm(query)) + float(self._norms.max())
            slack = _TOLERANCE * lengths**2
            if exact and not np.allclose(scores, answer.scores, rtol=0, atol=slack):
                raise BackendError(f"{retriever!r} gives scores that are not those of the metric.")
            if len(best):
                shares.append(float((scores >= best[-1] - slack * 1e-2).sum()) / len(best))
        return float(np.mean(shares)) if shares else 1.0


def _place(url: RetrieverURL, name: str) -> RetrieverURL:
    """In memory, or a place of its own below the URL."""
    if not url.authority and url.path in ("", "/") and not url.parameters.get("host"):
        return url
    return place_below(url, f"{name}-{secrets.token_hex(4)}")


def _remove(place: RetrieverURL) -> None:
    with suppress(ItemspaceError):  # in memory, it is gone already
        remove_retriever(place)


def _disk(place: RetrieverURL) -> float | None:
    if place.authority or not Path(place.path).is_dir():
        return None
    files = (file for file in Path(place.path).rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files) / 1e6


def _maybe(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
