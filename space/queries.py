"""SQL text with table functions: ``similar('sku-42', 50)`` and others beside the user's tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ..catalog.candidates import candidates
from ..catalog.catalog import Catalog
from ..catalog.engines import is_unavailable
from ..catalog.guarded import guarded, is_timeout
from ..catalog.queries import Call, Query, parse_query
from ..core.errors import InvalidCondition, InvalidOption
from ..core.neighbors import Completeness, NeighborList
from .lookup import Ground, Rows
from .planner import Clock, Planner
from .subjects import Subject

#: How many items a call gives that says no k, in a query without a LIMIT.
DEFAULT_K = 10
#: A lookup's subject, for a call and the connection to find it on.
FindSubject = Callable[[Call, Connection, Clock], Subject]


class TextQuery:
    """One text, run over one version.

    A query that joins one call with the items by their ids, and says nothing else of the call in
    its conditions, is a lookup: the call gives the k nearest items *that meet the conditions*, by
    the planner. Elsewhere a call is a table of the k nearest items, whatever they are, and whether
    more of them would have met the conditions is ``UNKNOWN``.
    """

    def __init__(
        self,
        catalog: Catalog,
        find: FindSubject,
        ground: Ground,
        written: str,
        parameters: Mapping[str, Any],
    ) -> None:
        self._catalog, self._find, self._ground = catalog, find, ground
        tables = catalog.readable
        self._query: Query = parse_query(
            written,
            catalog.dialect,
            {name: table.columns.keys() for name, table in tables.items()},
            parameters,
            {name: table.schema for name, table in tables.items()},
        )

    def run(self, seconds: float) -> Rows:
        """The rows; see :meth:`.Space.sql`."""
        query, dialect, clock = self._query, self._catalog.dialect, Clock()
        readable = frozenset(self._catalog.readable)
        with guarded(self._catalog.reader, readable, seconds) as connection:
            try:
                found, plan = self._found(connection, clock)
                kind = self._catalog.items.id_kind
                tables = [
                    candidates(
                        dialect, call.name, kind, one.ids.tolist(), one.scores.tolist()
                    ).with_parameters()
                    for call, one in zip(query.calls, found, strict=True)
                ]
                statement = query.statement(dialect, tables)
                result = clock.ask(lambda: connection.execute(statement))
                keys, rows = list(result.keys()), result.all()
            except DBAPIError as error:
                if is_unavailable(dialect, error) or is_timeout(error):
                    raise
                raise InvalidCondition(
                    f"The database refuses the query: {error.orig}.", text=query.text
                ) from error
        return Rows(
            rows,
            keys,
            completeness=_completeness(found, plan),
            plan=clock.plan(*plan),
            version=self._ground.version,
            revision=self._ground.revision,
            source=None,
        )

    def _found(
        self, connection: Connection, clock: Clock
    ) -> tuple[list[NeighborList], tuple[str, int | None]]:
        """What each call gives, and by which plan and how many matches."""
        items, dialect = self._catalog.items, self._catalog.dialect
        narrowing = self._query.narrowing(dialect, items)
        subjects = [self._find(call, connection, clock) for call in self._query.calls]
        if narrowing is None:
            pairs = zip(self._query.calls, subjects, strict=True)
            found = [subject.ranking.best(call.k or DEFAULT_K) for call, subject in pairs]
            clock.candidates += sum(map(len, found))
            return found, ("tables", None)
        planner = Planner(
            subjects[0].ranking,
            len(self._ground.retriever),
            replace(items, id=narrowing.id),
            connection,
            connection.dialect,
            lambda: narrowing.matching,
            clock,
        )
        k = self._query.calls[0].k or narrowing.limit or DEFAULT_K
        resolved = planner.resolve(k, narrowed=narrowing.narrowed)
        return [resolved.found], (resolved.strategy, resolved.matches)


def read_vector(value: Any) -> Any:
    """The vector of a call of ``near``: JSON text, or a sequence."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise InvalidOption(
            f"A vector is a list of numbers in JSON, as in near('[0.1, 0.2]', 10); received "
            f"{value[:80]!r}.",
            option="near",
            received=value,
        )
    return found


def _completeness(found: list[NeighborList], plan: tuple[str, int | None]) -> Completeness:
    if plan[0] != "tables":
        return found[0].completeness
    exhausted = all(one.completeness is Completeness.EXHAUSTED for one in found)
    return Completeness.EXHAUSTED if exhausted else Completeness.UNKNOWN
