"""A space: the live version of item and user vectors, over the catalog's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sqlalchemy import ColumnElement, Connection

from ..adapters import create_retriever
from ..catalog.catalog import Bind, Catalog
from ..catalog.mapping import ItemTable
from ..catalog.queries import Call
from ..catalog.user_events import Seen
from ..core.errors import DimensionMismatch, UnknownIds
from ..core.histories import Recent
from ..core.ids import Ids
from ..core.retriever import Retriever, known_vectors
from ..core.vectors import FloatMatrix, VectorSet, check_matrix
from ..users import UserStore
from .batches import Batch, Recommendation
from .blends import Items, blend, weighed, without_vector
from .coverage import Coverage, find_coverage
from .following import Follower, Pinned, Source
from .lookup import Lookup, Rows
from .planner import Clock
from .queries import TextQuery, read_vector
from .rankings import PopularRanking, VectorRanking
from .snapshot import Snapshot
from .subjects import Subject, UserOptions
from .variety import Variety


class Space:
    """Lookups over a named space: its live version, with what was changed since it was published.

    ``Space.open(catalog, "items")`` follows what is published, upserted and deleted, in whatever
    process: each call sees one version at one revision, and a call that follows another may see
    the next. :meth:`pin` keeps to one, for a request of several calls. Safe to use from several
    threads, and after a fork.
    """

    def __init__(self, catalog: Catalog, source: Source) -> None:
        self._catalog, self._source = catalog, source

    @classmethod
    def open(
        cls,
        catalog: Catalog,
        name: str = "items",
        version: int | None = None,
        *,
        refresh: float = 1.0,
    ) -> Self:
        """The live version, whatever is live, or the version named; with its changes.

        Parameters
        ----------
        refresh
            Seconds after which what another process published or changed is seen here, at the
            latest (a new version: once it is open and warm).

        Raises
        ------
        UnknownSpace, NothingPublished
            Nothing to open.
        InvalidId
            The ids of the items table are of another kind than those of the vectors.
        VersionMismatch
            The users' vectors are not those that were published with the items'.
        BackendNotFound, CorruptData, …
            What :func:`~itemspace.adapters.open_retriever` and
            :func:`~itemspace.users.open_user_store` raise.
        """
        return cls(catalog, Follower(catalog, name, version, refresh))

    def __repr__(self) -> str:
        now = self._now
        return (
            f"<Space {self.name!r}, version {now.version}, revision {now.revision}, "
            f"{now.retriever!r}>"
        )

    def pin(self) -> Space:
        """This version at this revision, until it is closed, whatever is published or changed.

        The version is kept from being removed for as long as the pin is open.
        """
        return Space(self._catalog, Pinned(self._now))

    @property
    def _now(self) -> Snapshot:
        return self._source.current()

    @property
    def name(self) -> str:
        """The space's name."""
        return self._now.opened.version.space

    @property
    def version(self) -> int:
        """The number of the version that answers."""
        return self._now.version

    @property
    def revision(self) -> int:
        """Of the last change that is seen."""
        return self._now.revision

    @property
    def catalog(self) -> Catalog:
        """The tables it looks up in."""
        return self._catalog

    @property
    def items(self) -> ItemTable:
        """The mapped items."""
        return self._catalog.items

    @property
    def retriever(self) -> Retriever:
        """The vectors, as they are at this moment, for reading."""
        return self._now.retriever

    @property
    def user_vectors(self) -> UserStore | None:
        """The users' vectors that were published with the version, if there are any."""
        return self._now.opened.store

    @property
    def recent(self) -> Recent:
        """How users without a vector are taken: as the build says, or by their last ten items."""
        return self._now.recent

    def similar_to(self, items: Items, k: int = 10, *, unlike: Items = ()) -> Lookup:
        """The k items nearest to one item or to several, which are themselves left out.

        Parameters
        ----------
        items
            An id, a sequence of ids, or a mapping of ids to weights above 0.
        unlike
            Likewise: what the answers should not be like. The query is :func:`.blend`'s.

        Raises
        ------
        UnknownIds
            Items that have no vector in this version.
        DuplicateIds, InvalidId, InvalidOption, InvalidVectors
            An item twice, what is no id, a weight that is not above 0, or vectors that cancel out.
        """
        now = self._now
        kind = now.retriever.id_kind
        liked, others = weighed(items, kind, "items"), weighed(unlike, kind, "unlike")
        try:
            query = blend(now.retriever, liked, others)
        except UnknownIds as error:
            raise without_vector(error, f"version {now.version} of {self.name!r}") from None
        return _near(now, query, liked[0].concat(others[0]), k)

    def near(self, vector: Any, k: int = 10, *, excluded: Any = ()) -> Lookup:
        """The k items nearest to a vector (d,), without the ``excluded`` ids."""
        query = check_matrix(np.asarray(vector)[None, :], "query")
        now = self._now
        return _near(now, query, now.retriever.filter(excluded).ids, k)

    def for_user(
        self,
        user: Any,
        k: int = 10,
        *,
        exclude_seen: bool | Seen = True,
        recent: int | None = None,
        decay: float | None = None,
    ) -> Lookup:
        """k items for a user, found when the lookup is executed.

        The items nearest to the vector that was published of the user; for others, to the mean of
        their last items (each of unit length under ``Metric.COSINE``; items without a vector are
        passed over); for users of whom nothing is known, the most popular items, whose scores are
        numbers of events. ``rows.source`` says which it was.

        Parameters
        ----------
        user
            An id of the published users or of the mapped interactions; need not be known.
        exclude_seen
            Whether items that the user has an event with are left out; a :class:`.Seen` says
            which events count.
        recent, decay
            How many of the last distinct items make the mean, at least 1, and the weight of one
            relative to the next newer, in (0, 1]; :attr:`recent` where left out.

        Raises
        ------
        InvalidOption
            Options out of their range.
        InvalidId, UnmappedTable
            On execution: no id of a user; no log that tells what was seen.
        """
        now = self._now
        options = _user_options(now, exclude_seen, recent, decay)

        def resolve(bind: Bind, clock: Clock) -> Subject:
            return now.users.subjects([user], options, bind, clock)[0]

        return Lookup(now, resolve, k)

    def for_users(
        self,
        users: Sequence[Any],
        k: int = 10,
        *,
        where: ColumnElement[bool] | None = None,
        exclude_seen: bool | Seen = True,
        recent: int | None = None,
        decay: float | None = None,
        diversity: float = 0.0,
        at_most: tuple[int, ColumnElement[Any]] | None = None,
        bind: Bind | None = None,
    ) -> list[Recommendation]:
        """What :meth:`for_user` finds, for many users with few searches and statements.

        Parameters
        ----------
        users
            Distinct ids; they need not be known.
        where
            A condition over the columns of the items. Ids of all items that meet it are read.
        diversity, at_most
            As :meth:`.Lookup.diverse`, and ``(2, brand)`` as :meth:`.Lookup.at_most`.
        bind
            The caller's Session or Connection.

        Returns
        -------
        list of Recommendation
            For each user, in their order.

        Raises
        ------
        DuplicateIds
            A user twice.
        InvalidOption, InvalidId, UnmappedTable
            As :meth:`for_user`.
        """
        return self.batch(
            k,
            where=where,
            exclude_seen=exclude_seen,
            recent=recent,
            decay=decay,
            diversity=diversity,
            at_most=at_most,
        ).recommend(users, bind)

    def batch(
        self,
        k: int = 10,
        *,
        where: ColumnElement[bool] | None = None,
        exclude_seen: bool | Seen = True,
        recent: int | None = None,
        decay: float | None = None,
        diversity: float = 0.0,
        at_most: tuple[int, ColumnElement[Any]] | None = None,
    ) -> Batch:
        """:meth:`for_users` for any number of calls, which reads the condition's items once."""
        variety = Variety().diverse(diversity)
        if at_most is not None:
            variety = variety.at_most(*at_most)
        now = self._now
        options = _user_options(now, exclude_seen, recent, decay)
        return Batch(now, k, options, where, variety)

    def popular(self, k: int = 10, *, excluded: Any = ()) -> Lookup:
        """The k items with the most events, whose scores are their numbers.

        The events are counted once, on first use, for each version.
        """
        now = self._now
        left_out = now.retriever.filter(excluded).ids.concat(now.changes.deleted)

        def resolve(_bind: Bind, _clock: Clock) -> Subject:
            return Subject(PopularRanking(*now.popular(), left_out))

        return Lookup(now, resolve, k)

    def sql(
        self,
        text: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        seconds: float = 10.0,
    ) -> Rows:
        """The rows of one SELECT, in the database's own dialect, read-only.

        In FROM may stand ``similar(item_id, k)``, ``for_user(user_id, k)`` and ``near(vector, k)``,
        tables of (item_id, score, rank), beside the tables of :attr:`.Catalog.readable`. The text
        is checked before it is sent, to the catalog's ``reader``::

            SELECT i.title, s.score FROM similar('sku-42') AS s
            JOIN item AS i ON i.item_id = s.item_id
            WHERE i.price < 50 ORDER BY s.score DESC LIMIT 10

        Such a query, over one call joined with the items by their ids, is a lookup: the call's
        items are the k nearest that meet the conditions (k is the LIMIT where the call says none,
        and 10 where there is none or rows are merged). In other queries they are the k nearest
        of all, and ``rows.completeness`` is ``UNKNOWN``.

        Parameters
        ----------
        parameters
            The values of ``:name`` in the text.
        seconds
            For each statement.

        Raises
        ------
        InvalidCondition
            Not one SELECT, or what is in it is not allowed or not there.
        UnknownColumn, UnknownIds, InvalidId
            A column or an item that is not there, or what is no id.
        QueryTimeout
            A statement took longer than ``seconds``.
        """
        with self.pin() as pinned:
            given = parameters or {}
            query = TextQuery(self._catalog, pinned._called, pinned._now, text, given)
            return query.run(seconds)

    def _called(self, call: Call, connection: Connection, clock: Clock) -> Subject:
        """What a table function is about."""
        lookups: dict[str, Callable[[Any], Lookup]] = {
            "similar": self.similar_to,
            "for_user": self.for_user,
            "near": lambda vector: self.near(read_vector(vector)),
        }
        return lookups[call.function](call.subject).subject(connection, clock)

    def coverage(self, bind: Bind | None = None) -> Coverage:
        """Which items have a vector, and which vectors an item; reads all ids."""
        return find_coverage(self._catalog, self.retriever, bind)

    def upsert(self, ids: Any, vectors: Any) -> int:
        """Add items to the space, or replace their vectors, until the next publishing.

        The version itself is not written: the change goes into a log in SQL, and every reader lays
        it over the version, in this process when this returns, in others within their ``refresh``.
        What becomes of it with the next version, :func:`~itemspace.publishing.publish` says.

        Parameters
        ----------
        ids, vectors
            n distinct ids, and (n, d): of the training of the live version, such as those that its
            cold start makes of new items' side information.

        Returns
        -------
        int
            The revision: what :attr:`revision` is from now on, at least.

        Raises
        ------
        DimensionMismatch, DuplicateIds, InvalidId, InvalidVectors
            Nothing has changed.
        VersionMismatch
            A version of another training has gone live, so these vectors fit no longer.
        ReadOnlyError
            The space is pinned.
        """
        snapshot = self._now
        now = snapshot.opened.version
        given = VectorSet(snapshot.retriever.filter(ids).ids, vectors, now.metric)
        create_retriever("exact:", given)  # refuses what could not be searched
        if given.dim != now.dim:
            raise DimensionMismatch(
                f"The vectors have {given.dim} dimensions; version {now.number} of {now.space!r} "
                f"has {now.dim}.",
                expected=now.dim,
                received=given.dim,
            )
        return self._source.append(given.ids, given.matrix)

    def delete(self, ids: Any) -> int:
        """Withdraw items from the space; seen like :meth:`upsert`. Returns how many it had.

        A later version has them again where its vectors do and the deletion is older.
        """
        now = self._now
        gone = now.retriever.filter(ids).ids
        gone.check_unique("one call of delete")
        known = int(known_vectors(now.retriever, gone)[0].sum())
        self._source.append(gone, None)
        return known

    def close(self) -> None:
        """Follow no longer; the version closes with the last lookup or pin that needs it.

        The catalog stays open.
        """
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _near(now: Snapshot, query: FloatMatrix, excluded: Ids, k: int) -> Lookup:
    subject = Subject(VectorRanking(now.retriever, query, excluded))
    return Lookup(now, lambda _bind, _clock: subject, k)


def _user_options(
    now: Snapshot, exclude_seen: bool | Seen, recent: int | None, decay: float | None
) -> UserOptions:
    """How users are taken, with the version's own way where nothing is said."""
    usual = now.recent
    wanted = Recent(
        usual.count if recent is None else recent, usual.decay if decay is None else decay
    )
    seen = exclude_seen if isinstance(exclude_seen, Seen) else Seen() if exclude_seen else None
    return UserOptions(wanted, seen)
