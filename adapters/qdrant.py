"""``qdrant+edge:``: Qdrant's embedded engine, a shard in a folder of this machine.

What the engine (qdrant-edge-py 0.9) sets, as measured:

- A shard belongs to one process at a time, for reading too; a second one, and a forked child, get a
  typed error. Within a process all who read share it.
- It keeps Python's lock while it works: threads take turns, also while a flush builds the graph.
- It runs without its write-ahead log, which a forked child would hold on to: after a kill the
  folder is as the last flush left it.
- Of 100,000 vectors with every tenth allowed, its graph found 7.5 of 10 with a recall of 0.13, in
  the time of a scan. So a search under ids is a scan of those, or one of the whole graph for more
  than k, of which some are dropped.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import qdrant_edge as edge

from ..core.errors import BackendError, CorruptData, ItemspaceError
from ..core.ids import IdKind
from ..core.metric import Metric
from .collection import CollectionDriver
from .engine_folder import EngineFolder
from .options import merge_options
from .qdrant_collection import OPENING, QdrantEdgeCollection, reader_of
from .qdrant_failures import MALFORMED, damaged, failing_as
from .qdrant_options import QdrantEdgeOptions
from .url import RetrieverURL


class QdrantEdgeBackend:
    """Makes drivers; what the scheme stands for."""

    options = QdrantEdgeOptions

    def create(
        self, url: RetrieverURL, options: Any, dim: int, metric: Metric, id_kind: IdKind
    ) -> CollectionDriver:
        """An empty shard in a new folder."""
        folder = EngineFolder(url)
        folder.claim()
        facts = {"metric": metric.value, "dim": dim, "ids": id_kind, "options": asdict(options)}
        try:
            with failing_as(BackendError, folder):
                shard = edge.EdgeShard.create(str(folder.files), options.config(dim, metric))
            return CollectionDriver(QdrantEdgeCollection(folder, facts, options, shard))
        except BaseException:
            folder.remove()
            raise

    def open(
        self, url: RetrieverURL, options: dict[str, Any], *, writable: bool
    ) -> CollectionDriver:
        """The shard that a folder holds, for this process alone, to read it too."""
        folder = EngineFolder(url)
        with OPENING:
            reader = None if writable else reader_of(folder.path)
            if reader is not None:
                chosen = merge_options(url, self.options, reader.facts["options"], options)
                return CollectionDriver(reader.another(chosen))
            facts, shard = folder.open(), None
            try:
                chosen = merge_options(url, self.options, facts["options"], options)
                with failing_as(CorruptData, folder):
                    shard = edge.EdgeShard.load(str(folder.files))
                    found = QdrantEdgeCollection(folder, facts, chosen, shard)
                    found.restore()
                found.reads = not writable
                return CollectionDriver(found)
            except BaseException as error:
                if shard is not None:
                    shard.close()
                folder.release()
                if isinstance(error, ItemspaceError) or not isinstance(error, MALFORMED):
                    raise
                raise damaged(folder, repr(error)) from error


backend = QdrantEdgeBackend()
