"""itemspace: behaviour logs to vectors, and SQL-driven item lookups over any vector backend."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import create_retriever, open_retriever
    from .builders import Item2Vec, ItemGraph
    from .catalog import Catalog
    from .catalog.ingest import ingest
    from .core.behaviour import Interactions, Sequences
    from .core.errors import ItemspaceError
    from .core.ids import Ids
    from .core.metric import Metric
    from .core.neighbors import Completeness, Neighbors
    from .core.retriever import IdFilter, Retriever
    from .core.vectors import VectorSet
    from .publishing import publish
    from .space import Seen, Space, UserSource

_HOMES = {
    "Catalog": "catalog.catalog",
    "Completeness": "core.neighbors",
    "IdFilter": "core.retriever",
    "Ids": "core.ids",
    "Interactions": "core.behaviour",
    "Item2Vec": "builders.item2vec",
    "ItemGraph": "builders.graph",
    "ItemspaceError": "core.errors",
    "Metric": "core.metric",
    "Neighbors": "core.neighbors",
    "Retriever": "core.retriever",
    "Seen": "catalog.user_events",
    "Sequences": "core.behaviour",
    "Space": "space.space",
    "UserSource": "space.subjects",
    "VectorSet": "core.vectors",
    "create_retriever": "adapters.registry",
    "ingest": "catalog.ingest",
    "open_retriever": "adapters.registry",
    "publish": "publishing.publish",
}

__version__ = "0.1.0"
__all__ = [
    "Catalog",
    "Completeness",
    "IdFilter",
    "Ids",
    "Interactions",
    "Item2Vec",
    "ItemGraph",
    "ItemspaceError",
    "Metric",
    "Neighbors",
    "Retriever",
    "Seen",
    "Sequences",
    "Space",
    "UserSource",
    "VectorSet",
    "create_retriever",
    "ingest",
    "open_retriever",
    "publish",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
