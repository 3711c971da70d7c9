"""What the adapters of graph engines (hnswlib, usearch, Voyager) share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ..core.errors import CorruptData
from ..core.metric import Metric
from ..core.storage import sha256_of
from ..core.vectors import FloatMatrix, RowView, unit_rows
from .index import RowMatrix
from .options import check_range, search_time
from .row_store import Rows

T = TypeVar("T")
Scores = npt.NDArray[np.float32]
#: What an engine answers with: its labels and distances, (q, k) each, nearest first.
Answer = tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]

Shape = tuple[int, int]

EF_SEARCH = 64
_SEAL = "seal.json"


@dataclass(frozen=True)
class GraphOptions:
    """Parameters of an HNSW graph (Malkov & Yashunin 2020); ``ef_search`` and ``threads`` may
    differ at each opening.

    Parameters
    ----------
    m
        Edges that a vector gets on each level, twice as many on the lowest; 2 to 512.
    ef_construction
        Width of the search for a new vector's neighbours, 1 to 100,000.
    ef_search
        Width of a search, 1 to 100,000 and at least k in effect; by default 64.
    threads
        For building, and for batches of queries, 1 to 1,024; by default one for each core. Built
        by several, a graph differs a little each time.
    """

    m: int = 16
    ef_construction: int = 200
    ef_search: int | None = search_time(None)
    threads: int | None = search_time(None)

    def __post_init__(self) -> None:
        check_range(self, "m", 2, 512)
        check_range(self, "ef_construction", 1, 100_000)
        check_range(self, "ef_search", 1, 100_000)
        check_range(self, "threads", 1, 1024)


@dataclass(frozen=True)
class Scale:
    """Rows and queries as an engine gets them, in an order that is theirs: of length 1 under the
    cosine, else in units of the longest of the first rows.

    Engines make 1 - product of a product, in float32: of vectors of length 0.001 little would be
    left of it.
    """

    metric: Metric
    unit: float = 1.0

    @classmethod
    def of(cls, rows: RowView, metric: Metric) -> Self:
        """The scale of an index that begins with these rows."""
        lengths = rows.norms[np.isfinite(rows.norms)]
        return cls(metric, float(lengths.max(initial=0)) or 1.0)

    def rows(self, matrix: FloatMatrix) -> FloatMatrix:
        """Stored vectors, (n, d)."""
        return unit_rows(matrix) if self.metric is Metric.COSINE else self._divided(matrix)

    def queries(self, queries: FloatMatrix) -> FloatMatrix:
        """Queries, (q, d); the order of products does not depend on a query's length."""
        euclidean = self.metric is Metric.EUCLIDEAN
        return self._divided(queries) if euclidean else unit_rows(queries)

    def _divided(self, matrix: FloatMatrix) -> FloatMatrix:
        with np.errstate(over="ignore", under="ignore"):
            divided: FloatMatrix = matrix / np.float32(self.unit)
        return divided


def ask(
    engine: Callable[[FloatMatrix], Answer], queries: FloatMatrix, k: int, short: type[Exception]
) -> tuple[RowMatrix, Scores]:
    """Rows and scores of an engine that raises ``short`` where a query of a batch has not k.

    Such queries get row -1 alone; the others are asked one by one.
    """
    try:
        labels, distances = engine(queries)
    except short:
        if len(queries) == 1:
            return np.full((1, k), -1), np.full((1, k), -np.inf, dtype=np.float32)
        answers = [ask(engine, query[None], k, short) for query in queries]
        rows, scores = zip(*answers, strict=True)
        return np.vstack(rows), np.vstack(scores)
    return labels.astype(np.int64), -distances


def mark_deleted(engine: Any, gone: Rows) -> bool:
    """Take rows out of an engine that raises where one is not in; whether all were."""
    try:
        for row in gone.tolist():
            engine.mark_deleted(row)
    except RuntimeError:
        return False
    return True


def save_with(write: Callable[[str], None], file: Path, shape: Shape, scale: Scale) -> None:
    """Let an engine write its file, and say beside it what that is: (rows, columns), …"""
    write(str(file))
    facts = {**_facts(file, shape, scale.metric), "unit": scale.unit}
    (file.parent / _SEAL).write_text(json.dumps(facts), encoding="utf-8")


def load_with(
    read: Callable[[str], T], file: Path, shape: Shape, metric: Metric
) -> tuple[T, Scale]:
    """Let an engine read what :func:`save_with` wrote; what it returns, and the scale.

    An engine crashes the process on a damaged file, so it is not shown one.

    Raises
    ------
    CorruptData
        The file differs, is of another index, or the engine cannot read it.
    """
    try:
        facts = json.loads((file.parent / _SEAL).read_text(encoding="utf-8"))
        unit = float(facts.pop("unit"))
        if facts != _facts(file, shape, metric) or not 0 < unit < np.inf:
            raise ValueError(f"it is not the {metric} index of {shape} vectors that was written")
        return read(str(file)), Scale(metric, unit)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CorruptData(
            f"{file} cannot be used: {error}; restore it from a backup or build it again.",
            path=str(file),
        ) from error


def _facts(file: Path, shape: Shape, metric: Metric) -> dict[str, Any]:
    return {"shape": list(shape), "metric": metric.value, "sha256": sha256_of(file)}
