"""The options of a ``lancedb:`` table."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import InvalidOption

INDEXES = ("ivf_flat", "ivf_sq", "ivf_pq", "hnsw_flat", "hnsw_sq", "none")


@dataclass(frozen=True)
class LanceDBOptions:
    """Parameters of a ``lancedb:`` URL.

    Parameters
    ----------
    collection
        The table, in a database that may have others.
    index
        ``ivf_flat``, ``ivf_sq`` (of bytes), ``ivf_pq`` (of product codes), the graphs ``hnsw_flat``
        and ``hnsw_sq``, or ``none``: everything is scanned, which is exact. Of 100,000 × 64
        ``ivf_flat`` was built in 1 s and found .999 of the ten nearest in 4 ms, ``hnsw_sq`` in 16 s
        and as many in the same time, a scan took 20 ms. Up to 20,000 items are scanned anyway.
    lists
        Clusters of the items; by default √items, or one graph per million.
    m, ef_construction
        Edges per node of a graph, and the width of the search that builds it.
    probes
        How many clusters are searched, at least as many as candidates are asked for.
    ef_search
        Width of the search of a graph, at least k.
    refine
        ``ivf_pq``: of how many times as many candidates the vectors are compared.
    """

    collection: str = field(default="items", metadata={"search": True})
    index: str = "ivf_flat"
    lists: int | None = None
    m: int = 16
    ef_construction: int = 100
    probes: int = field(default=50, metadata={"search": True})
    ef_search: int = field(default=100, metadata={"search": True})
    refine: int = field(default=4, metadata={"search": True})

    def __post_init__(self) -> None:
        for name, allowed, wanted in (
            (
                "collection",
                re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}", self.collection),
                "at most 200 of A-Z a-z 0-9 _ - and . (not in front)",
            ),
            ("index", self.index in INDEXES, f"one of {', '.join(INDEXES)}"),
            ("lists", self.lists is None or 1 <= self.lists <= 100_000, "from 1 to 100,000"),
            ("m", 2 <= self.m <= 1000, "from 2 to 1,000"),
            ("ef_construction", 1 <= self.ef_construction <= 100_000, "from 1 to 100,000"),
            ("probes", 1 <= self.probes <= 100_000, "from 1 to 100,000"),
            ("ef_search", 1 <= self.ef_search <= 1_000_000, "from 1 to 1,000,000"),
            ("refine", 1 <= self.refine <= 1000, "from 1 to 1,000"),
        ):
            if not allowed:
                received = getattr(self, name)
                raise InvalidOption(
                    f"{name} is {wanted}; received {received!r}.", option=name, received=received
                )

    @property
    def is_graph(self) -> bool:
        """Whether the index is one."""
        return self.index.startswith("hnsw")

    def applied(self, search: Any, limit: int) -> Any:
        """A search of the engine's, with what its index is to do."""
        search = search.nprobes(max(limit, self.probes))
        if self.is_graph:
            search = search.ef(max(limit, self.ef_search))
        return search.refine_factor(self.refine) if self.index == "ivf_pq" else search
