"""``voyager://``: HNSW graphs by Spotify's Voyager, over numbers of 32 or 8 bits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import voyager

from ..core.capabilities import Capabilities
from ..core.eligible import Eligible
from ..core.errors import UnsupportedError
from ..core.metric import Metric
from ..core.vectors import FloatMatrix, RowView
from .graph import (
    EF_SEARCH,
    GraphOptions,
    Scale,
    Scores,
    ask,
    load_with,
    mark_deleted,
    save_with,
)
from .in_process import InProcessBackend
from .index import RowMatrix
from .options import check_choice
from .row_store import Rows

_FILE = "index.voyager"
#: Width of a search for inner products, which are harder here.
_EF_SEARCH_PRODUCT = 400
_STORAGE = {
    "float32": voyager.StorageDataType.Float32,
    "float8": voyager.StorageDataType.Float8,
}


@dataclass(frozen=True)
class VoyagerOptions(GraphOptions):
    """Parameters of a ``voyager:`` URL: those of :class:`.GraphOptions`, and one more.

    ``ef_search`` is 400 by default for inner products.

    Parameters
    ----------
    storage
        What the graph's own copies of the vectors are made of: ``float32``, or, under the cosine
        alone, ``float8``, a byte for each number. Answers are scored from the vectors as they came.
    """

    storage: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "storage", _STORAGE)


class VoyagerIndex:
    """A graph over copies of the rows.

    Voyager turns inner products into distances (Bachrach et al. 2014), which keeps their order and
    spoils the graph where lengths differ: on 100,000 64-d vectors with log-normal lengths (σ = 0.5)
    recall@10 is .617 at ``ef_search=400``, where hnswlib and USearch, which compare the products
    themselves, have .979 at 64. Take one of those.

    Searches by several threads at once take turns: Voyager keeps the GIL in them. A batch has
    threads of its own.
    """

    capabilities = Capabilities(supports_filter=False)
    tail_limit = scan_limit = 0

    def __init__(self, dim: int, metric: Metric, options: VoyagerOptions) -> None:
        if options.storage != "float32" and metric is not Metric.COSINE:
            raise UnsupportedError(
                f"storage={options.storage} is for the cosine; take storage=float32 for {metric}."
            )
        self._dim, self._metric, self._options = dim, metric, options
        self._threads, self._scale = options.threads or -1, Scale(metric)
        product = metric is Metric.INNER_PRODUCT
        self._width = options.ef_search or (_EF_SEARCH_PRODUCT if product else EF_SEARCH)
        self._least = 1 if options.storage == "float32" else self._width
        # Between unit vectors, distances and cosines have the same order.
        self._kind = {
            "space": voyager.Space.InnerProduct if product else voyager.Space.Euclidean,
            "num_dimensions": dim,
            "storage_data_type": _STORAGE[options.storage],
        }
        self._index = voyager.Index(
            M=options.m, ef_construction=options.ef_construction, **self._kind
        )

    def add(self, rows: RowView, start: int) -> None:
        if start == 0:
            self._scale = Scale.of(rows, self._metric)
        new = self._scale.rows(rows.matrix[start:])
        names = list(range(start, len(rows.matrix)))
        self._index.add_items(new, names, num_threads=self._threads)

    def remove(self, _rows: RowView, gone: Rows) -> bool:
        return mark_deleted(self._index, gone)

    def search(
        self, _rows: RowView, queries: FloatMatrix, k: int, _eligible: Eligible | None
    ) -> tuple[RowMatrix, Scores]:
        fetch = max(k, min(self._least, len(self._index)))
        width = max(fetch, self._width)

        def engine(some: FloatMatrix) -> Any:
            return self._index.query(some, fetch, num_threads=self._threads, query_ef=width)

        return ask(engine, self._scale.queries(queries), fetch, voyager.RecallError)

    def save(self, folder: Path) -> None:
        shape = self._index.num_elements, self._dim
        save_with(self._index.save, folder / _FILE, shape, self._scale)

    def load(self, folder: Path, count: int) -> None:
        def read(path: str) -> Any:
            return voyager.Index.load(path, **self._kind)

        shape = count, self._dim
        self._index, self._scale = load_with(read, folder / _FILE, shape, self._metric)

    def describe(self) -> dict[str, Any]:
        """The options."""
        return asdict(self._options)


backend = InProcessBackend(VoyagerOptions, VoyagerIndex)
