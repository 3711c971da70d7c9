"""A lookup: the items near something that match a SQL condition, as rows of one's own SELECT."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, FromClause, Join, Row, Select, select
from sqlalchemy.exc import DBAPIError, InvalidRequestError, StatementError
from sqlalchemy.orm import Session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import FunctionElement

from ..catalog.candidates import ITEM_ID, RANK, SCORE, candidates, placeholder
from ..catalog.catalog import Bind
from ..catalog.engines import is_unavailable
from ..catalog.mapping import ItemTable
from ..core.errors import InvalidCondition, UnsupportedError
from ..core.ids import Ids
from ..core.neighbors import Completeness, NeighborList
from ..core.retriever import Retriever
from ..core.vectors import FloatMatrix
from .planner import Plan, Planner


class Ground(Protocol):
    """What a lookup needs of its space."""

    @property
    def version(self) -> int:
        """The number of the version that answers."""

    @property
    def items(self) -> ItemTable:
        """The mapped items."""

    @property
    def retriever(self) -> Retriever:
        """The version's vectors."""

    def connection(self, bind: Bind | None) -> AbstractContextManager[Connection]:
        """The caller's connection, or one of our own."""


class Rows(Sequence[Row[Any]]):
    """The rows of a lookup, and what they are worth."""

    def __init__(
        self,
        rows: Sequence[Row[Any]],
        keys: Sequence[str],
        *,
        completeness: Completeness,
        plan: Plan,
        version: int,
    ) -> None:
        self._rows = rows
        self.keys = tuple(keys)
        #: Whether the k items were found, and if not, why.
        self.completeness = completeness
        #: How the answer was found.
        self.plan = plan
        #: The space's version that answered.
        self.version = version

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Any:
        return self._rows[key]

    def __repr__(self) -> str:
        return f"<Rows: {len(self)}, {self.completeness}, version {self.version}; {self.plan}>"


class Lookup:
    """The k items nearest to a query vector, to be joined into a SELECT.

    Made by :meth:`Space.similar_to` and :meth:`Space.near`. ``score`` (float, higher is better),
    ``rank`` (from 1) and ``item_id`` are columns for use in the statement.
    """

    def __init__(
        self, space: Ground, query: FloatMatrix, k: int, excluded: Ids, name: str = "near"
    ) -> None:
        self._space, self._query, self._k = space, query, k
        self._excluded, self._name = excluded, name
        self._near = placeholder(name, space.items.id_kind)

    @property
    def score(self) -> ColumnElement[Any]:
        """The item's score; see :class:`~itemspace.core.metric.Metric`.

        Its name in the rows is :attr:`score_name`.
        """
        return self._near.c[SCORE].label(self.score_name)

    @property
    def score_name(self) -> str:
        """``"score"``; ``"similarity"`` where the items have a column ``score`` of their own."""
        return "similarity" if SCORE in self._space.items.columns else SCORE

    @property
    def item_id(self) -> ColumnElement[Any]:
        """The item's id."""
        return self._near.c[ITEM_ID]

    @property
    def rank(self) -> ColumnElement[Any]:
        """1 for the nearest item, and so on."""
        return self._near.c[RANK]

    def execute(self, bind: Bind | None = None, statement: Select[Any] | None = None) -> Rows:
        """Run ``statement`` over the k nearest items that match it.

        Parameters
        ----------
        bind
            The caller's Session or Connection; nothing is committed. One of our own when left
            out.
        statement
            A ``select()`` whose FROM has the mapped items table. WHERE and joins are the
            condition; the k nearest items that meet it are found first, then GROUP BY, ORDER BY
            and LIMIT apply to their rows. Without ORDER BY, nearest first. When left out: all
            columns of the items and the score.

        Returns
        -------
        Rows
            ``completeness`` is ``FULL`` where k distinct items were found, and ``EXHAUSTED``
            where no more match. Items without a vector never match, nor do vectors without a
            row.

        Raises
        ------
        InvalidCondition
            The items table is not in the statement's FROM.
        UnsupportedError
            The score is used in WHERE.
        """
        items = self._space.items
        if statement is None:
            everything: Select[Any] = select(*items.columns.values(), self.score)
            statement = everything
        sources = self._sources(statement, items)
        matching = _matching(statement, items, self._near)
        with self._space.connection(bind) as connection, _refusals(connection, statement):
            # A Session adds criteria of its own (inheritance, soft deletion), and gives entities
            # back as entities.
            run = bind if isinstance(bind, Session) else connection
            planner = Planner(
                self._space.retriever,
                items,
                run,
                connection.dialect.name,
                matching,
                self._query,
                self._excluded,
            )
            narrowed = statement.whereclause is not None or sources != [items.table]
            found, plan = planner.resolve(self._k, narrowed=narrowed)
            started = time.perf_counter()
            keys, rows = _fetch(run, self._joined(statement, items, found, connection))
            seconds = plan.seconds_sql + time.perf_counter() - started
        plan = replace(plan, statements=plan.statements + 1, seconds_sql=seconds)
        return Rows(
            rows,
            keys,
            completeness=found.completeness,
            plan=plan,
            version=self._space.version,
        )

    def _joined(
        self, statement: Select[Any], items: ItemTable, found: NeighborList, connection: Connection
    ) -> Select[Any]:
        """The statement joined with the found items; a CTE stands for the placeholder's name."""
        near = candidates(
            connection.dialect.name,
            self._name,
            items.id_kind,
            found.ids.tolist(),
            found.scores.tolist(),
        )
        joined = statement.add_cte(near).where(items.id == self._near.c[ITEM_ID])
        if _is_plain(statement):
            joined = joined.order_by(self.rank)
        return joined

    def _sources(self, statement: Select[Any], items: ItemTable) -> list[Any]:
        """The FROM of the statement without the placeholder, checked."""
        sources = [source for source in statement.get_final_froms() if source is not self._near]
        if not any(_stands_in(items.table, source) for source in sources):
            raise InvalidCondition(
                f"The statement does not select from {items.table}, the mapped items, itself (an "
                "alias or a subquery of it cannot be joined with the neighbours); add it to the "
                "FROM.",
                text=str(statement),
            )
        ours = set(self._near.c)
        condition = statement.whereclause
        if condition is not None and not ours.isdisjoint(visitors.iterate(condition)):
            raise UnsupportedError(
                "A WHERE on the score would change which items are the k nearest; ask for a "
                "larger k and filter the rows, or use HAVING."
            )
        return sources


#: Functions that make one row of many, where an order by rank has no meaning.
_AGGREGATES = frozenset(
    {"aggregate_strings", "array_agg", "avg", "count", "group_concat", "json_agg"}
    | {"json_group_array", "max", "min", "stddev", "string_agg", "sum", "total", "variance"}
)


def _matching(statement: Select[Any], items: ItemTable, near: FromClause) -> Select[Any]:
    """The distinct ids of the items that meet the statement's conditions."""
    # Made from the statement itself, which carries its joins and the ORM's options along.
    columns = [c for c in statement._raw_columns if near not in getattr(c, "_from_objects", ())]
    plain = statement.with_only_columns(*(columns or [items.id]))
    matching = plain.with_only_columns(items.id, maintain_column_froms=True)
    matching = matching.order_by(None).group_by(None).limit(None).offset(None)
    matching._having_criteria = ()
    return matching.where(items.id.is_not(None)).distinct()


def _stands_in(table: FromClause, source: Any) -> bool:
    """Whether the table itself, not an alias of it, is the FROM or joined into it."""
    if isinstance(source, Join):
        return _stands_in(table, source.left) or _stands_in(table, source.right)
    return source is table or getattr(source, "_deannotate", lambda: None)() is table


def _is_plain(statement: Select[Any]) -> bool:
    """Whether the statement has one row per joined row, and no order of its own."""
    if statement._order_by_clauses or statement._group_by_clauses or statement._distinct:
        return False
    inside = (part for column in statement.selected_columns for part in visitors.iterate(column))
    return not any(
        isinstance(part, FunctionElement) and getattr(part, "name", "").lower() in _AGGREGATES
        for part in inside
    )


def _fetch(run: Connection | Session, statement: Select[Any]) -> tuple[list[str], Sequence[Any]]:
    """Names and rows."""
    result = run.execute(statement)
    keys = list(result.keys())
    try:
        return keys, result.all()
    except InvalidRequestError:
        # An entity with an eagerly joined collection comes once per member of it.
        return keys, run.execute(statement).unique().all()


@contextmanager
def _refusals(connection: Connection, statement: Select[Any]) -> Iterator[None]:
    """What the database says against a statement becomes :class:`InvalidCondition`."""
    try:
        yield
    except StatementError as error:
        if isinstance(error, DBAPIError) and is_unavailable(connection.dialect.name, error):
            raise
        reason = error.orig or error
        raise InvalidCondition(
            f"The database refuses the condition or the statement: {reason}.", text=str(statement)
        ) from error
