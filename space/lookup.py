"""A lookup: the items near something that match a SQL condition, as rows of one's own SELECT."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from typing import Any, Protocol, Self

from sqlalchemy import CTE, ColumnElement, Connection, FromClause, Row, Select, select
from sqlalchemy.exc import DBAPIError, InvalidRequestError, StatementError
from sqlalchemy.orm import Session

from ..catalog.candidates import (
    ITEM_ID,
    RANK,
    SCORE,
    Candidates,
    candidates,
    is_among,
    placeholder,
)
from ..catalog.catalog import Bind
from ..catalog.engines import is_unavailable
from ..catalog.mapping import ItemTable
from ..core.errors import InvalidCondition
from ..core.neighbors import Completeness, NeighborList
from ..core.retriever import Retriever
from .in_database import InDatabase, Vectors
from .planner import Clock, Plan, Planner, Resolved
from .rankings import VectorRanking
from .statements import conditions_of, is_one_row_per_item, merges_rows, sources_of
from .subjects import Resolve, Subject, UserSource
from .variety import DEEPER, DEPTH, Variety


class Ground(Protocol):
    """What a lookup needs of its space."""

    @property
    def version(self) -> int:
        """The number of the version that answers."""

    @property
    def revision(self) -> int:
        """Of the last change that it sees."""

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
        revision: int,
        source: UserSource | None,
    ) -> None:
        self._rows = rows
        self.keys = tuple(keys)
        #: Whether the k items were found, and if not, why.
        self.completeness = completeness
        #: How the answer was found.
        self.plan = plan
        #: The space's version that answered.
        self.version = version
        #: Of the last change that the answer has seen (:meth:`.Space.upsert`).
        self.revision = revision
        #: What is known of the user it is for; None where it is for no user.
        self.source = source

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Any:
        return self._rows[key]

    def __repr__(self) -> str:
        source = "" if self.source is None else f", {self.source}"
        return (
            f"<Rows: {len(self)}, {self.completeness}, version {self.version}{source}; {self.plan}>"
        )


class Lookup:
    """The k items nearest to something, to be joined into a SELECT.

    Made by :meth:`Space.similar_to`, :meth:`Space.for_user` and others. ``score`` (float, higher
    is better), ``rank`` (from 1) and ``item_id`` are columns for use in the statement.
    """

    def __init__(self, space: Ground, subject: Resolve, k: int, name: str = "near") -> None:
        self._space, self._k, self._name = space, k, name
        #: Finds what it is about.
        self.subject = subject
        self._near = placeholder(name, space.items.id_kind)
        self._variety = Variety()

    @property
    def score(self) -> ColumnElement[Any]:
        """The item's score; see :class:`~itemspace.core.metric.Metric`.

        Its name in the rows is :attr:`score_name`. Of popular items: how many events they have.
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
        """1 for the first item, and so on."""
        return self._near.c[RANK]

    def diverse(self, diversity: float = 0.3) -> Self:
        """The same lookup, whose items are chosen to differ from each other as well.

        By maximal marginal relevance (:mod:`.variety`) over five times as many items as are
        wanted; ``diversity`` is from 0, the plain order, to 1. Popular items are left as they are.
        """
        return self._with(self._variety.diverse(diversity))

    def at_most(self, most: int, column: ColumnElement[Any]) -> Self:
        """The same lookup with at most so many items of each value of a column.

        ``column`` is one of the items, or of a table that the statement joins with one row per
        item. NULL is no value: items without one are not counted.
        """
        return self._with(self._variety.at_most(most, column))

    def as_table(self, bind: Bind | None = None, name: str = "neighbors") -> FromClause:
        """The k best items, whatever they are, as a table (item_id, score, rank) of any statement.

        The items are found now, and travel with the statement that joins the table, as one
        parameter. Conditions of that statement come after: it may leave fewer than k.

        Parameters
        ----------
        bind
            The caller's Session or Connection, where the subject is found by SQL (a user's).
        name
            Of the table in the statement; several in one statement have different names.
        """
        with self._space.connection(bind) as connection:
            found = self.subject(connection, Clock()).ranking.best(self._k)
            return self._candidates(connection, name, found).with_parameters()

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
            row (popular items need no vector).

        Raises
        ------
        InvalidCondition
            The items table is not in the statement's FROM.
        UnsupportedError
            The score is used in WHERE.
        """
        if statement is None:
            everything: Select[Any] = select(*self._space.items.columns.values(), self.score)
            statement = everything
        clock = Clock()
        with self._space.connection(bind) as connection, _refusals(connection, statement):
            subject = self.subject(connection, clock)
            # A Session adds criteria of its own (inheritance, soft deletion), and gives entities
            # back as entities.
            run = bind if isinstance(bind, Session) else connection
            resolved = self._resolve(statement, subject, run, connection, clock)
            if resolved.rows is None:
                keys, rows = self._fetch(statement, resolved.found, run, connection, clock)
            else:
                keys, rows = resolved.rows
        return Rows(
            rows,
            keys,
            completeness=resolved.found.completeness,
            plan=clock.plan(resolved.strategy, resolved.matches),
            version=self._space.version,
            revision=self._space.revision,
            source=subject.source,
        )

    def _resolve(
        self,
        statement: Select[Any],
        subject: Subject,
        run: Connection | Session,
        connection: Connection,
        clock: Clock,
    ) -> Resolved:
        """The k items that match the statement, with their rows where those came along."""
        items, dialect = self._space.items, connection.dialect.name
        sources = sources_of(statement, items, self._near)

        @cache
        def matching() -> Select[Any]:
            return conditions_of(statement, items, self._near)

        alone = sources == [items.table]
        together = alone and not self._variety and is_one_row_per_item(statement, items, self._near)
        planner: Planner | InDatabase
        ranking = subject.ranking
        vectors = self._vectors_in(connection)
        if vectors is not None and isinstance(ranking, VectorRanking):
            fetch_near = partial(self._join, statement, run=run, clock=clock, is_one=True)
            planner = InDatabase(
                vectors,
                ranking,
                items,
                run,
                matching,
                clock,
                self._name,
                fetch_near if together else None,
            )
        else:

            def fetch(found: NeighborList, k: int) -> Any:
                return self._fetch(statement.limit(k), found, run, connection, clock, is_one=True)

            planner = Planner(
                ranking,
                len(self._space.retriever),
                items,
                run,
                connection.dialect,
                matching,
                clock,
                fetch if together else None,
            )
        narrowed = statement.whereclause is not None or not alone
        if not self._variety:
            return planner.resolve(self._k, narrowed=narrowed)
        depth = DEPTH * self._k
        while True:
            resolved = planner.resolve(depth, narrowed=narrowed)
            values = self._values(resolved.found, matching(), run, dialect, clock)
            chosen = self._variety.choose(resolved.found, subject.ranking, values, self._k)
            if len(chosen) == self._k or len(resolved.found) < depth:
                return Resolved(chosen, resolved.strategy, resolved.matches)
            depth *= DEEPER

    def _values(
        self,
        found: NeighborList,
        matching: Select[Any],
        run: Connection | Session,
        dialect: str,
        clock: Clock,
    ) -> list[Any] | None:
        """What the capped column says of found items."""
        column, items = self._variety.column, self._space.items
        if column is None:
            return None
        ids = found.ids.tolist()
        pairs = matching.with_only_columns(items.id, column, maintain_column_froms=True)
        pairs = pairs.where(is_among(dialect, items.id, items.id_kind, ids))
        of_item = dict(clock.ask(lambda: run.execute(pairs).all()))
        return [of_item[item] for item in ids]

    def _fetch(
        self,
        statement: Select[Any],
        found: NeighborList,
        run: Connection | Session,
        connection: Connection,
        clock: Clock,
        *,
        is_one: bool = False,
    ) -> tuple[list[str], Sequence[Any]]:
        """Names and rows of the statement joined with found items; ``is_one``: one for each."""
        near = self._candidates(connection, self._name, found)
        return self._join(statement, near.cte, near.parameters, run=run, clock=clock, is_one=is_one)

    def _join(
        self,
        statement: Select[Any],
        near: CTE,
        parameters: dict[str, Any] | None = None,
        *,
        run: Connection | Session,
        clock: Clock,
        is_one: bool,
    ) -> tuple[list[str], Sequence[Any]]:
        # A CTE stands for the placeholder's name.
        joined = statement.add_cte(near).where(self._space.items.id == self._near.c[ITEM_ID])
        if not statement._order_by_clauses and (is_one or not merges_rows(statement)):
            joined = joined.order_by(self.rank)

        def send() -> tuple[list[str], Sequence[Any]]:
            result = run.execute(joined, parameters)
            keys = list(result.keys())
            try:
                return keys, result.all()
            except InvalidRequestError:
                # An entity with an eagerly joined collection comes once per member of it.
                return keys, run.execute(joined, parameters).unique().all()

        fetched: tuple[list[str], Sequence[Any]] = clock.ask(send)
        return fetched

    def _vectors_in(self, connection: Connection) -> Vectors | None:
        """The vectors as a table of the items' own database, where they are one.

        Not on a connection that commits by itself: settings would outlive the lookup.
        """
        find = getattr(self._space.retriever, "vectors_in", None)
        if find is None or getattr(connection.connection.dbapi_connection, "autocommit", True):
            return None
        found: Vectors | None = find(connection.engine.url)
        return found

    def _candidates(self, connection: Connection, name: str, found: NeighborList) -> Candidates:
        ids, scores = found.ids.tolist(), found.scores.tolist()
        return candidates(connection.dialect.name, name, self._space.items.id_kind, ids, scores)

    def _with(self, variety: Variety) -> Self:
        other = copy.copy(self)
        other._variety = variety
        return other


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
