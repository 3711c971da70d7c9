"""``milvus:``, ``milvus+lite:``: collections of Milvus, at a server or in a folder.

What Milvus sets, as measured with milvus-lite 3.2.2, in a folder and as a server (a full Milvus
server was not tried):

- Index types that milvus-lite lacks it takes without a word, and scans; here are those it has.
- Vectors come back bit for bit under every metric; a VARCHAR's length is in bytes.
- pymilvus' ``get`` and ``delete`` leave quotes in ids as they are, its iterator skips ``""`` and
  2**63 - 1; so here are expressions.
- Of 100,000 vectors with every tenth, and every second, allowed, a filtered search found .955 and
  1.0 of the ten nearest in 237 and 483 ms; one for more than k, of which some are dropped, .99 and
  1.0 in 157 and 115 ms. So it is not told of filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from ..core.capabilities import Capabilities
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.vectors import FloatMatrix
from .collection import Found, Untold
from .facts import read_facts
from .milvus_options import MilvusOptions
from .options import merge_options
from .url import RetrieverURL

FORMAT = 1
#: The collection's fields, and the property that says in JSON what it is.
ID, VECTOR, FACTS = "id", "vector", "itemspace"
METRICS = {Metric.COSINE: "COSINE", Metric.INNER_PRODUCT: "IP", Metric.EUCLIDEAN: "L2"}
#: UTF-8 of an id of 255 characters.
ID_BYTES = 1020
#: Items of one call and of one answer, and components of either.
_ITEMS, _MOST, _COMPONENTS = 2_000, 16_384, 1 << 20
Row = dict[str, Any]


class Table(Protocol):
    """One collection of an engine, whose rows are an ``id`` and a ``vector``.

    It reads its own writes, and its failures are ours.
    """

    def upsert(self, ids: list[Any], vectors: FloatMatrix) -> None: ...

    def get(self, ids: list[Any], field: str) -> list[Row]: ...

    def delete(self, ids: list[Any]) -> None: ...

    def page(self, condition: str, size: int) -> list[Row]:
        """The first of those that it holds for, by id."""

    def count(self) -> int: ...

    def search(self, queries: FloatMatrix, limit: int, params: Row) -> list[list[Row]]: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def drop(self) -> None: ...


class MilvusCollection(Untold):
    """A :class:`~itemspace.adapters.collection.Collection` of Milvus."""

    few = 1_000

    def __init__(self, table: Table, facts: dict[str, Any], options: MilvusOptions) -> None:
        self._table, self._options = table, options
        self.dim, self.metric = int(facts["dim"]), Metric(facts["metric"])
        self.id_kind: IdKind = facts["ids"]
        self.capabilities = Capabilities(
            is_exact=options.index == "flat", supports_filter=False, supports_atomic_upsert=False
        )
        self.most = max(1, min(_MOST, _COMPONENTS // self.dim))
        self.batch = min(_ITEMS, self.most)
        self.flush, self.close, self.destroy = table.flush, table.close, table.drop
        self.count = table.count

    def put(self, ids: Ids, vectors: FloatMatrix) -> None:
        self._table.upsert(ids.to_list(), vectors)

    def get(self, ids: Ids) -> Found:
        return self._found(self._table.get(ids.to_list(), VECTOR))

    def remove(self, ids: Ids) -> int:
        stored = [row[ID] for row in self._table.get(ids.to_list(), ID)]
        if stored:
            self._table.delete(stored)
        return len(stored)

    def pages(self, size: int) -> Iterator[Found]:
        condition, size = "", min(size, self.most)
        while rows := self._table.page(condition, size):
            yield self._found(rows)
            condition = f"{ID} > {literal(rows[-1][ID])}"

    def nearest(self, queries: FloatMatrix, limit: int, allowed: None) -> list[Found]:
        del allowed  # the driver applies filters
        step, params = max(1, self.most // limit), self._options.search_params(limit)
        return [
            self._found(line)
            for start in range(0, len(queries), step)
            for line in self._table.search(queries[start : start + step], limit, params)
        ]

    def _found(self, rows: list[Row]) -> Found:
        vectors = np.array([row[VECTOR] for row in rows], np.float32)
        return Found(Ids([row[ID] for row in rows], self.id_kind), vectors.reshape(-1, self.dim))


#: Of JSON's escapes milvus-lite knows these; other characters stand for themselves.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def literal(value: int | str) -> str:
    """An id in an expression."""
    return str(value) if isinstance(value, int) else f'"{value.translate(_ESCAPES)}"'


def opened(
    table: Table, text: str | None, url: RetrieverURL, named: dict[str, Any], kind: Any
) -> MilvusCollection:
    """The collection of a table that says ``text`` of itself, if it is ours."""
    facts = read_facts(text, str(url), FORMAT, kind)
    return MilvusCollection(table, facts, merge_options(url, kind, facts["options"], named))
