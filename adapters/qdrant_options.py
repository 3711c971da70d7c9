"""The options of a ``qdrant+edge:`` shard, and what the engine makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from ..core.metric import Metric
from .options import check_option, check_range, search_time

#: Under ``COSINE``: the vector as it was given, beside the one of length 1 that is searched.
GIVEN = "given"


@dataclass(frozen=True)
class QdrantEdgeOptions:
    """Parameters of a ``qdrant+edge:`` URL; the defaults are the engine's own.

    Parameters
    ----------
    m, ef_construct
        Edges per node of the HNSW graph, and the width of the search that builds it.
    indexing_threshold
        Kilobytes of vectors from which a flush makes a graph of them; fewer are scanned.
    full_scan_threshold
        Kilobytes of vectors up to which a graph is not asked.
    quantization
        ``int8``: the graph is searched over vectors of bytes, and twice as many candidates as
        were asked for are compared by the vectors themselves.
    ef_search
        Width of the search, at least k; by default ``ef_construct``.
    exact
        Scan instead of asking the graph.
    """

    m: int = 16
    ef_construct: int = 100
    indexing_threshold: int = 10_000
    full_scan_threshold: int = 10_000
    quantization: str | None = None
    ef_search: int | None = search_time(None)
    exact: bool = search_time(False)

    def __post_init__(self) -> None:
        check_range(self, "m", 2, 1000)
        check_range(self, "ef_construct", 1, 100_000)
        check_range(self, "indexing_threshold", 1, 1 << 40)
        check_range(self, "full_scan_threshold", 1, 1 << 40)
        check_range(self, "ef_search", 1, 1_000_000)
        known = self.quantization in (None, "int8")
        check_option(self, "quantization", known, "'int8' or left out")

    def config(self, dim: int, metric: Metric) -> Any:
        """The engine's own, for a new shard."""
        euclidean = metric is Metric.EUCLIDEAN
        bytes_ = edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, quantile=0.99)
        vectors = {
            "": edge.EdgeVectorParams(
                size=dim,
                distance=edge.Distance.Euclid if euclidean else edge.Distance.Dot,
                quantization_config=bytes_ if self.quantization else None,
            )
        }
        if metric is Metric.COSINE:
            # m=0: no graph of these.
            unused = edge.HnswIndexConfig(m=0, ef_construct=1, full_scan_threshold=1)
            vectors[GIVEN] = edge.EdgeVectorParams(
                size=dim, distance=edge.Distance.Dot, hnsw_config=unused
            )
        return edge.EdgeConfig(
            vectors=vectors,
            hnsw_config=edge.HnswIndexConfig(self.m, self.ef_construct, self.full_scan_threshold),
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=self.indexing_threshold),
            wal_enabled=False,
        )

    def search_params(self, exact: bool) -> Any:
        """The engine's own, for a search: without the graph where ``exact``."""
        exact = exact or self.exact
        compare = edge.QuantizationSearchParams(ignore=exact, rescore=True, oversampling=2.0)
        return edge.SearchParams(
            hnsw_ef=self.ef_search,
            exact=exact,
            quantization=compare if self.quantization else None,
        )
