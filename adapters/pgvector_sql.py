"""A collection of ``pgvector:`` as a table of SQLAlchemy's, for statements of its own database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Column, ColumnElement, MetaData, Table, Text, cast, literal
from sqlalchemy.types import UserDefinedType

from ..core.metric import Metric
from ..core.vectors import FloatMatrix
from .pgvector_options import PgvectorOptions, login_of
from .url import RetrieverURL

_OPERATORS = {Metric.COSINE: "<=>", Metric.INNER_PRODUCT: "<#>", Metric.EUCLIDEAN: "<->"}
#: What a session sets for its searches, and a statement of somebody else's transaction may, too.
_SETTINGS = ("jit", "hnsw.", "ivfflat.")


class SqlVectors:
    """Ids and vectors as ``table.c.id`` and ``table.c.vec``, with their distances from a query."""

    def __init__(self, options: PgvectorOptions, metric: Metric) -> None:
        self._metric, self._type = metric, _VectorType(options.storage)
        self.table = Table(
            options.collection,
            MetaData(),
            Column[Any]("id"),
            Column[Any]("vec", self._type),
            schema=options.schema,
        )
        #: What is to be set in the transaction that a statement runs in.
        self.settings: Mapping[str, Any] = {
            name: value
            for name, value in options.settings.items()
            if name.startswith(_SETTINGS) and name != "hnsw.ef_search"
        }
        self._ef_search = options.ef_search

    def settings_for(self, count: int) -> dict[str, str]:
        """What to set for a search for so many."""
        wide = {"hnsw.ef_search": max(self._ef_search, min(count, 1000))}
        return {name: str(value) for name, value in {**self.settings, **wide}.items()}

    def distance(self, query: FloatMatrix, *, exact: bool) -> ColumnElement[float]:
        """By the bare operator, which an index orders by; ``exact`` keeps every index out."""
        vector = cast(literal(str(query.tolist()), Text()), self._type)
        bare: ColumnElement[float] = self.table.c.vec.op(_OPERATORS[self._metric])(vector)
        return bare + 0.0 if exact else bare

    def score(self, distance: ColumnElement[float]) -> ColumnElement[float]:
        """Higher is better: see :class:`~itemspace.core.metric.Metric`."""
        return 1.0 - distance if self._metric is Metric.COSINE else -distance


class _VectorType(UserDefinedType[Any]):
    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """Its name in SQL."""
        return self.name


def is_same_database(place: RetrieverURL, options: PgvectorOptions, url: URL) -> bool:
    """Whether a retriever's URL and SQLAlchemy's name the same database in the same words."""
    login = login_of(place, options)
    host = url.host or url.query.get("host")
    mine = (login["host"], login["port"] or 5432, login["dbname"])
    return mine == (host, url.port or url.query.get("port") or 5432, url.database)
