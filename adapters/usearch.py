"""``usearch://``: HNSW graphs by USearch, over numbers of 32, 16 or 8 bits."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from usearch.index import Index

from ..core.capabilities import Capabilities
from ..core.eligible import Eligible
from ..core.errors import UnsupportedError
from ..core.metric import Metric
from ..core.vectors import FloatMatrix, RowView
from .graph import EF_SEARCH, GraphOptions, Scale, Scores, load_with, save_with
from .in_process import InProcessBackend
from .index import RowMatrix
from .locks import ReadWriteLock
from .options import check_choice
from .row_store import Rows

_FILE = "index.usearch"
#: These lose enough for all candidates to be scored exactly.
_LOSSY = ("bf16", "i8")


@dataclass(frozen=True)
class UsearchOptions(GraphOptions):
    """Parameters of a ``usearch:`` URL: those of :class:`.GraphOptions`, and one more.

    Parameters
    ----------
    dtype
        What the graph's own copies of the vectors are made of: ``f32``, ``f16``, ``bf16`` or, under
        the cosine alone, ``i8``, which keeps no lengths. Answers are scored from the vectors as
        they came.
    """

    dtype: str = "f32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "dtype", ("f32", "f16", "bf16", "i8"))


class UsearchIndex:
    """A graph over copies of the rows.

    Inner products are compared as they are (see :class:`.HnswlibIndex`): recall@10 .985 there,
    and .396 after a reduction.

    Searches by several threads at once take turns: usearch locks the index. A batch has threads of
    its own.
    """

    capabilities = Capabilities(supports_filter=False)
    tail_limit = scan_limit = 0

    def __init__(self, dim: int, metric: Metric, options: UsearchOptions) -> None:
        if options.dtype == "i8" and metric is not Metric.COSINE:
            raise UnsupportedError(
                f"dtype=i8 keeps no lengths and is for the cosine; take dtype=f16 for {metric}."
            )
        self._dim, self._metric, self._options = dim, metric, options
        self._threads = options.threads or os.cpu_count() or 1
        self._least = self._width if options.dtype in _LOSSY else 1
        self._count, self._scale = 0, Scale(metric)
        self._index: Any = Index(
            ndim=dim,
            metric="l2sq" if metric is Metric.EUCLIDEAN else "ip",
            dtype=options.dtype,
            connectivity=options.m,
            expansion_add=options.ef_construction,
            expansion_search=self._width,
        )

    def add(self, rows: RowView, start: int) -> None:
        if start == 0:
            self._scale = Scale.of(rows, self._metric)
        self._count = len(rows.matrix)
        new = self._scale.rows(rows.matrix[start:])
        threads = min(self._threads, len(new))
        self._index.add(np.arange(start, self._count), new, threads=threads)

    def remove(self, _rows: RowView, gone: Rows) -> bool:
        return bool(self._index.remove(gone, threads=1) == len(gone))

    def search(
        self, _rows: RowView, queries: FloatMatrix, k: int, _eligible: Eligible | None
    ) -> tuple[RowMatrix, Scores]:
        asked = self._scale.queries(queries)
        threads = min(self._threads, len(asked))
        with _forks.read():
            found = self._index.search(asked, max(k, self._least), threads=threads)
        if len(asked) == 1:
            return found.keys[None].astype(np.int64), -found.distances[None]
        # Behind what was found stand key 0 and NaN.
        unused = np.arange(found.keys.shape[1]) >= found.counts[:, None]
        rows, scores = found.keys.astype(np.int64), -found.distances
        rows[unused], scores[unused] = -1, -np.inf
        return rows, scores

    def save(self, folder: Path) -> None:
        shape = self._count, self._dim
        save_with(self._index.save, folder / _FILE, shape, self._scale)

    def load(self, folder: Path, count: int) -> None:
        shape = count, self._dim
        _, self._scale = load_with(self._index.load, folder / _FILE, shape, self._metric)
        self._count = count
        self._index.expansion_add = self._options.ef_construction
        self._index.expansion_search = self._width

    def describe(self) -> dict[str, Any]:
        """The options, and the bytes that it takes."""
        return {**asdict(self._options), "bytes": self._index.memory_usage}

    @property
    def _width(self) -> int:
        return self._options.ef_search or EF_SEARCH


# A fork waits for the searches of other threads: usearch's lock on an index would be taken in the
# child for ever.
_forks = ReadWriteLock()
_fork = _forks.write()


def _forked() -> None:
    _fork.__exit__(None, None, None)


os.register_at_fork(before=_fork.__enter__, after_in_parent=_forked, after_in_child=_forked)

backend = InProcessBackend(UsearchOptions, UsearchIndex)
