"""``chroma:``, ``chroma+http:``, ``chroma+https:``: Chroma, in a folder or as a server.

What Chroma (1.5.9) sets, as measured:

- Under its cosine, vectors come back rounded, and as NaN beyond lengths of 1.8e19. Those of length
  1 come back as they are under the inner product: that is how a cosine is kept here.
- It refuses the empty id, in place of which stands NUL, as no id may be.
- What one process adds to a folder another one does not find: one process at a time.
- It writes the graph in place, every ``sync_threshold`` changes. A process that is killed just then
  leaves a folder that cannot be read (2 of 12 in mid-load, every 1,000 changes); at any other time
  all is there whose call has returned.
- Its graph may miss an item that lies apart and was replaced: 4 of 1,800 such searches.
- It refuses a search under ids of which one is gone. With every tenth, and every second, of 100,000
  allowed such a search found all of the ten nearest, in 11 and 35 ms; one for more than k, of which
  some are dropped, found .991 in 3 ms, and all in 2 ms. So it is not told of filters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..core.capabilities import Capabilities
from ..core.errors import (
    BackendError,
    BackendNotFound,
    CorruptData,
)
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.vectors import FloatMatrix, unit_rows
from .chroma_engine import ChromaEngine, ChromaServer
from .chroma_options import ChromaOptions, ChromaServerOptions
from .collection import CollectionDriver, Found, Untold
from .engine_folder import EngineFolder
from .facts import facts_of, read_facts
from .options import build_options, collection_below, merge_options
from .url import RetrieverURL

FORMAT = 1
_FACTS, _EMPTY = "itemspace", "\0"
#: Items of one call, and components of one call or answer.
_ITEMS, _COMPONENTS = 2_000, 1 << 20
_SPACES = {Metric.COSINE: "ip", Metric.INNER_PRODUCT: "ip", Metric.EUCLIDEAN: "l2"}


class ChromaCollection(Untold):
    """A :class:`~itemspace.adapters.collection.Collection` of Chroma."""

    few = 1_000

    def __init__(
        self, engine: ChromaEngine | ChromaServer, model: Any, facts: dict[str, Any]
    ) -> None:
        self._engine, self._model = engine, model
        self.dim, self.metric = int(facts["dim"]), Metric(facts["metric"])
        self.id_kind: IdKind = facts["ids"]
        self._unit = self.metric is Metric.COSINE
        self.capabilities = Capabilities(
            stores="normalised" if self._unit else "exact",
            supports_filter=False,
            supports_atomic_upsert=False,
        )
        self._count: int | None = None
        self.most = max(1, _COMPONENTS // self.dim)
        self.batch = max(1, min(_ITEMS, engine.call("get_max_batch_size"), self.most))

    def check(self) -> None:
        """Read an item: only then a graph that is not whole is noticed."""
        answer = self._call("_get", limit=1, include=["embeddings"])
        self._found(answer["ids"], answer["embeddings"])

    def put(self, ids: Ids, vectors: FloatMatrix) -> None:
        self._count = None
        self._call("_upsert", ids=self._names(ids), embeddings=self._rows(vectors))

    def get(self, ids: Ids) -> Found:
        return self._get(self._names(ids))

    def remove(self, ids: Ids) -> int:
        stored = self._call("_get", ids=self._names(ids), include=[])["ids"]
        self._count = None
        if stored:
            self._call("_delete", ids=stored)
        return len(stored)

    def pages(self, size: int) -> Iterator[Found]:
        names, step = self._call("_get", include=[])["ids"], min(size, self.batch)
        for start in range(0, len(names), step):
            yield self._get(names[start : start + step])

    def count(self) -> int:
        if self._count is None or self._engine.is_shared:
            self._count = int(self._call("_count"))
        return self._count

    def nearest(self, queries: FloatMatrix, limit: int, allowed: None) -> list[Found]:
        del allowed
        rows, lines = self._rows(queries), list[Found]()
        step = max(1, self.most // limit)
        for start in range(0, len(rows), step):
            answer = self._call(
                "_query",
                query_embeddings=rows[start : start + step],
                n_results=limit,
                include=["embeddings"],
            )
            lines += map(self._found, answer["ids"], answer["embeddings"])
        return lines

    def flush(self) -> None:
        """Every change is durable when its call returns."""

    def close(self) -> None:
        self._engine.close()

    def destroy(self) -> None:
        self._engine.destroy(self._model.name)

    def _call(self, method: str, **arguments: Any) -> Any:
        scope = self._engine.scope
        return self._engine.call(method, collection_id=self._model.id, **arguments, **scope)

    def _get(self, names: list[str]) -> Found:
        answer = self._call("_get", ids=names, include=["embeddings"])
        return self._found(answer["ids"], answer["embeddings"])

    def _rows(self, vectors: FloatMatrix) -> list[Any]:
        return list(unit_rows(vectors) if self._unit else vectors)

    def _names(self, ids: Ids) -> list[str]:
        if self.id_kind == "int":
            return list(map(str, ids.to_list()))
        return [name or _EMPTY for name in ids.to_list()]

    def _found(self, names: list[str], rows: list[list[float]]) -> Found:
        try:
            if self.id_kind == "int":
                ids = Ids(np.array(names, dtype=object).astype(np.int64), "int")
            else:
                ids = Ids(["" if name == _EMPTY else name for name in names], "str")
            return Found(ids, np.array(rows, np.float32).reshape(len(names), self.dim))
        except (TypeError, ValueError) as error:
            where = f"{self._engine.place}, collection {self._model.name}"
            raise CorruptData(
                f"There is an item at {where} that itemspace did not put there: {error}.",
                path=where,
            ) from error


class ChromaBackend:
    """Makes drivers; what the scheme of a folder stands for."""

    options = ChromaOptions

    def create(
        self, url: RetrieverURL, options: ChromaOptions, dim: int, metric: Metric, id_kind: IdKind
    ) -> CollectionDriver:
        folder = EngineFolder(url)
        folder.claim()
        with ExitStack() as undo:
            undo.callback(folder.remove)
            engine = ChromaEngine(folder, BackendError)
            undo.callback(engine.close)
            made = _create(engine, options, dim, metric, id_kind)
            folder.write({"collection": options.collection})
            undo.pop_all()
            return CollectionDriver(made)

    def open(
        self, url: RetrieverURL, options: dict[str, Any], *, writable: bool
    ) -> CollectionDriver:
        """What a folder holds, for this process alone, to read it too."""
        del writable
        folder = EngineFolder(url)
        name = folder.open().get("collection")
        with ExitStack() as undo:
            undo.callback(folder.release)
            chosen = self.options(**{"collection": name, **options})
            if chosen.collection != name:
                raise BackendNotFound(f"{folder} holds the collection {name!r} alone; name that.")
            engine = ChromaEngine(folder, CorruptData)
            undo.callback(engine.close)
            opened = _open(engine, url, chosen, options)
            opened.check()
            engine.failure = BackendError
            undo.pop_all()
            return CollectionDriver(opened)


class ChromaServerBackend:
    """Makes drivers; what the schemes of a server stand for."""

    options = ChromaServerOptions

    def child(self, url: RetrieverURL, name: str) -> RetrieverURL:
        """The name is added to the collection, which is cut so that both fit."""
        return collection_below(url, self.options, re.sub(r"[^a-zA-Z0-9._-]", "_", name), 512)

    def create(
        self,
        url: RetrieverURL,
        options: ChromaServerOptions,
        dim: int,
        metric: Metric,
        id_kind: IdKind,
    ) -> CollectionDriver:
        with ExitStack() as undo:
            client = ChromaServer(url, options)
            undo.callback(client.close)
            made = _create(client, options, dim, metric, id_kind)
            undo.pop_all()
            return CollectionDriver(made)

    def open(
        self, url: RetrieverURL, options: dict[str, Any], *, writable: bool
    ) -> CollectionDriver:
        del writable
        with ExitStack() as undo:
            chosen = self.options(**options)
            client = ChromaServer(url, chosen)
            undo.callback(client.close)
            opened = _open(client, url, chosen, options)
            undo.pop_all()
            return CollectionDriver(opened)


def _create(
    engine: ChromaEngine | ChromaServer,
    options: ChromaOptions,
    dim: int,
    metric: Metric,
    id_kind: IdKind,
) -> ChromaCollection:
    """An empty collection, whose metadata says in JSON what it is."""
    built = build_options(options)
    facts = facts_of(FORMAT, dim, metric, id_kind, built)
    graph = {**built, "space": _SPACES[metric]}
    graph["max_neighbors"] = graph.pop("m")
    model = engine.call(
        "create_collection",
        name=options.collection,
        configuration={"hnsw": graph},
        metadata={_FACTS: json.dumps(facts)},
        **engine.scope,
    )
    return ChromaCollection(engine, model, facts)


def _open(
    engine: ChromaEngine | ChromaServer,
    url: RetrieverURL,
    options: ChromaOptions,
    named: dict[str, Any],
) -> ChromaCollection:
    """What is there, if it is ours."""
    model = engine.call("get_collection", name=options.collection, **engine.scope)
    text = (model.metadata or {}).get(_FACTS)
    facts = read_facts(text, str(url), FORMAT, type(options))
    merge_options(url, type(options), facts["options"], named)
    return ChromaCollection(engine, model, facts)


backend = ChromaBackend()
server = ChromaServerBackend()
