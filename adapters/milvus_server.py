"""``milvus:`` retrievers: pymilvus as the client of a server, with our timeouts and errors.

What pymilvus (3.0.2) and milvus-lite's server set, as measured:

- pymilvus on import reads a ``.env`` file above where it is installed into the environment, and
  sets up a log on stderr; here neither.
- Its connections are shared and never closed, unless each is its client's own.
- A server of milvus-lite that was started again has to load the collection before it is asked.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import random
import re
import sys
import time
from contextlib import suppress
from typing import Any

from ..core.errors import (
    BackendError,
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    ClosedError,
)
from ..core.ids import IdKind
from ..core.metric import Metric
from ..core.vectors import FloatMatrix
from .collection import CollectionDriver
from .facts import facts_of
from .milvus import (
    FACTS,
    FORMAT,
    ID,
    ID_BYTES,
    METRICS,
    VECTOR,
    MilvusCollection,
    Row,
    literal,
    opened,
)
from .milvus_options import MilvusServerOptions
from .options import build_options, collection_below
from .url import RetrieverURL

_RETRIES, _PAUSE = 2, (0.05, 0.3)
#: Milvus' codes.
_NO_COLLECTION, _NOT_LOADED, _NO_DATABASE = 100, 101, 800
_MISSING = re.compile(r"database.*(not exist|not found)")
#: A new connection tries at once, where others have failed before.
_CHANNEL = {"grpc.use_local_subchannel_pool": 1}


def _imported() -> Any:
    """pymilvus, without what it does to the environment and to the log."""
    first, environment = "pymilvus" not in sys.modules, dict(os.environ)
    module = importlib.import_module("pymilvus")
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    if first:  # what it would log is raised
        for name in ("pymilvus", "pymilvus.milvus_client"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return module


pymilvus = _imported()
grpc = importlib.import_module("grpc")  # not before pymilvus, whose extra has both
_BROKEN, _LATE = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class ServerTable:
    """A :class:`~itemspace.adapters.milvus.Table` of a server; usable after a fork."""

    def __init__(self, url: RetrieverURL, options: MilvusServerOptions) -> None:
        self._url, self._name, self._timeout = url, options.collection, options.timeout
        self._settings = options.client(url)
        self._clients: dict[int, Any] = {}
        self._closed = self._changed = False

    def create(self, facts: Row, options: MilvusServerOptions) -> None:
        """An empty collection; Milvus itself would take one that is there for it."""
        if self.call("has_collection"):
            raise BackendExists(
                f"There is a collection at {self._url}; open it with open_retriever(…, mode='rw'), "
                "drop it, or name another."
            )
        make, types = pymilvus.MilvusClient, pymilvus.DataType
        text = {"datatype": types.VARCHAR, "max_length": ID_BYTES}
        kind = text if facts["ids"] == "str" else {"datatype": types.INT64}
        schema = make.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(ID, is_primary=True, **kind)
        schema.add_field(VECTOR, types.FLOAT_VECTOR, dim=facts["dim"])
        index = make.prepare_index_params(
            VECTOR,
            index_type=options.index.upper(),
            metric_type=METRICS[Metric(facts["metric"])],
            params=options.index_params(),
        )
        self.call(
            "create_collection",
            schema=schema,
            consistency_level="Strong",
            properties={FACTS: json.dumps(facts)},
        )
        try:
            # Not sync: there is nothing to wait for, and pymilvus would without a timeout.
            self.call("create_index", index_params=index, sync=False)
            self.call("load_collection")
        except BaseException:
            with suppress(BackendError):
                self.call("drop_collection")
            raise

    def open(self) -> str | None:
        """What the collection says of itself; it can be asked then."""
        text: str | None = self.call("describe_collection")["properties"].get(FACTS)
        if text is not None:
            self.call("load_collection")
        return text

    def upsert(self, ids: list[Any], vectors: FloatMatrix) -> None:
        self._changed = True
        rows = [{ID: i, VECTOR: v} for i, v in zip(ids, vectors, strict=True)]
        self.call("upsert", data=rows)

    def get(self, ids: list[Any], field: str) -> list[Row]:
        rows: list[Row] = self.call("query", filter=_one_of(ids), output_fields=[field])
        return rows

    def delete(self, ids: list[Any]) -> None:
        self._changed = True
        self.call("delete", filter=_one_of(ids))

    def page(self, condition: str, size: int) -> list[Row]:
        # As of pymilvus' iterator: in the order of ids, and none of them left out.
        order = {"iterator": "True", "reduce_stop_for_best": "False"}
        rows: list[Row] = self.call(
            "query", filter=condition, output_fields=[VECTOR], limit=size, **order
        )
        return rows

    def count(self) -> int:
        return int(self.call("query", filter="", output_fields=["count(*)"])[0]["count(*)"])

    def search(self, queries: FloatMatrix, limit: int, params: Row) -> list[list[Row]]:
        answer = self.call(
            "search",
            data=list(queries),
            limit=limit,
            output_fields=[VECTOR],
            search_params={"params": params},
        )
        return [[{ID: hit[ID], **hit["entity"]} for hit in line] for line in answer]

    def flush(self) -> None:
        if self._changed:
            self.call("flush")
            self._changed = False

    def close(self) -> None:
        self._closed = True
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def drop(self) -> None:
        try:
            self.call("drop_collection")
        finally:
            self.close()

    def call(self, method: str, **arguments: Any) -> Any:
        """What a method of pymilvus' client gives; asked again where a connection breaks."""
        start, retries = time.monotonic(), 0 if method == "create_collection" else _RETRIES
        while True:
            try:
                ask = getattr(self._client(), method)
                return ask(self._name, timeout=self._timeout, **arguments)
            except (pymilvus.MilvusException, grpc.RpcError) as error:
                late = time.monotonic() - start > self._timeout
                unloaded = getattr(error, "code", None) == _NOT_LOADED
                if not retries or late or not (unloaded or _status(error) is _BROKEN):
                    raise self._translated(error) from error
            retries -= 1
            if unloaded and method != "load_collection":
                self.call("load_collection")
            else:
                time.sleep(random.uniform(*_PAUSE))

    def _client(self) -> Any:
        if self._closed:
            raise ClosedError(f"The retriever {self._url} was closed; open it again.")
        # A forked child must neither use its parent's connections nor close them.
        client = self._clients.get(os.getpid())
        if client is None:
            made = pymilvus.MilvusClient(**self._settings, dedicated=True, grpc_options=_CHANNEL)
            client = self._clients.setdefault(os.getpid(), made)
            if client is not made:
                made.close()
        return client

    def _translated(self, error: Exception) -> BackendError:
        status, code = _status(error), getattr(error, "code", None)
        told = getattr(error, "message", None) or getattr(error, "details", str)()
        told = (str(told).partition("\n")[0] or type(error).__name__)[:300].rstrip(".")
        kind, advice = BackendError, "see the server's log"
        if status in _REFUSED:
            advice = "check the user, the password or the token, and what it may do"
        elif status in (_BROKEN, _LATE) or "timeout" in told:
            kind, advice = BackendUnavailable, "check that the server runs, or raise timeout"
        elif status is grpc.StatusCode.RESOURCE_EXHAUSTED:
            advice = "the server takes less at once: see its limits"
        elif code in (_NO_COLLECTION, _NO_DATABASE) or _MISSING.search(told):
            kind, advice = BackendNotFound, "check collection and database, or create it"
        elif "already exist" in told:
            kind, advice = BackendExists, "open it, or name another"
        return kind(f"Milvus fails at {self._url}: {told}; {advice}.")


class MilvusServerBackend:
    """Makes drivers; what the scheme stands for."""

    options = MilvusServerOptions

    def child(self, url: RetrieverURL, name: str) -> RetrieverURL:
        """The name is added to the collection, which is cut so that both fit."""
        name = re.sub(r"\W", "_", name, flags=re.ASCII)[:200]
        return collection_below(url, self.options, name, 255)

    def create(
        self,
        url: RetrieverURL,
        options: MilvusServerOptions,
        dim: int,
        metric: Metric,
        id_kind: IdKind,
    ) -> CollectionDriver:
        table = ServerTable(url, options)
        facts = facts_of(FORMAT, dim, metric, id_kind, build_options(options))
        try:
            table.create(facts, options)
        except BaseException:
            table.close()
            raise
        return CollectionDriver(MilvusCollection(table, facts, options))

    def open(
        self, url: RetrieverURL, options: dict[str, Any], *, writable: bool
    ) -> CollectionDriver:
        """What a server holds."""
        del writable
        table = ServerTable(url, self.options(**options))
        try:
            return CollectionDriver(opened(table, table.open(), url, options, self.options))
        except BaseException:
            table.close()
            raise


def _one_of(ids: list[Any]) -> str:
    return f"{ID} in [{','.join(map(literal, ids))}]"


def _status(error: BaseException) -> Any:
    """What gRPC says is the matter, if it does; pymilvus hides it in several places."""
    for one in (error, error.__context__):
        code = getattr(one, "code", None)
        code = code() if callable(code) else code
        if isinstance(code, grpc.StatusCode):
            return code
    return None


backend = MilvusServerBackend()


def _forget_connections() -> None:
    """In a forked child the lock of pymilvus' list of connections may be held, for ever."""
    pymilvus.client.connection_manager.ConnectionManager._instance = None


os.register_at_fork(after_in_child=_forget_connections)
