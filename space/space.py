"""A space: one published version of item and user vectors, over the catalog's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection

from ..adapters import open_retriever
from ..catalog.catalog import Bind, Catalog
from ..catalog.mapping import ItemTable
from ..catalog.queries import Call
from ..catalog.records import Version, get_version
from ..catalog.user_events import Seen, count_events
from ..core.errors import DimensionMismatch, InvalidId, UnknownIds, UnmappedTable, VersionMismatch
from ..core.histories import Recent
from ..core.ids import Ids
from ..core.retriever import Retriever
from ..core.vectors import check_matrix
from ..users import UserStore, open_user_store
from .batches import Batch, Recommendation
from .blends import Items, blend, weighed, without_vector
from .coverage import Coverage, find_coverage
from .lookup import Lookup, Rows
from .planner import Clock
from .queries import TextQuery, read_vector
from .rankings import PopularRanking, Ranking, VectorRanking
from .subjects import Subject, UserOptions, Users
from .variety import Variety


class Space:
    """Lookups over one version of a named space.

    ``Space.open(catalog, "items")`` takes the version that is live at that moment and keeps to
    it until it is closed. Safe to use from several threads.
    """

    def __init__(
        self,
        catalog: Catalog,
        version: Version,
        retriever: Retriever,
        store: UserStore | None = None,
    ) -> None:
        self._catalog, self._version = catalog, version
        self._retriever, self._store = retriever, store
        self._users = Users(catalog, retriever, store, self._popular)
        self._counted: tuple[Ids, npt.NDArray[np.int64]] | None = None
        self._counting = Lock()

    @classmethod
    def open(cls, catalog: Catalog, name: str = "items", version: int | None = None) -> Self:
        """The live version, or the one named.

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
        found = get_version(catalog, name, version)
        kind = catalog.items.id_kind
        if kind != found.id_kind:
            raise InvalidId(
                f"The items of {catalog.items.table} have {kind} ids, the vectors of {name!r} "
                f"version {found.number} have {found.id_kind} ids; map the right id column or "
                "build the vectors from the same ids."
            )
        retriever = open_retriever(found.url)
        try:
            return cls(catalog, found, retriever, _open_users(found))
        except BaseException:
            retriever.close()
            raise

    def __repr__(self) -> str:
        return f"<Space {self.name!r}, version {self.version}, {self._retriever!r}>"

    @property
    def name(self) -> str:
        """The space's name."""
        return self._version.space

    @property
    def version(self) -> int:
        """The number of the version that answers."""
        return self._version.number

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
        """The version's retriever, opened for reading."""
        return self._retriever

    @property
    def user_vectors(self) -> UserStore | None:
        """The users' vectors that were published with the version, if there are any."""
        return self._store

    @property
    def recent(self) -> Recent:
        """How users without a vector are taken: as the build says, or by their last ten items."""
        noted = self._version.lineage.get("recent")
        return Recent(**noted) if noted else Recent()

    def connection(self, bind: Bind | None) -> AbstractContextManager[Connection]:
        """The caller's connection, or one of the catalog's."""
        return self._catalog.connection(bind)

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
        kind = self._version.id_kind
        liked, others = weighed(items, kind, "items"), weighed(unlike, kind, "unlike")
        try:
            query = blend(self._retriever, liked, others)
        except UnknownIds as error:
            raise without_vector(error, f"version {self.version} of {self.name!r}") from None
        return self._lookup(VectorRanking(self._retriever, query, liked[0].concat(others[0])), k)

    def near(self, vector: Any, k: int = 10, *, excluded: Any = ()) -> Lookup:
        """The k items nearest to a vector (d,), without the ``excluded`` ids."""
        query = check_matrix(np.asarray(vector)[None, :], "query")
        left_out = Ids(excluded, self._version.id_kind)
        return self._lookup(VectorRanking(self._retriever, query, left_out), k)

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
        options = self.user_options(exclude_seen, recent, decay)

        def resolve(bind: Bind, clock: Clock) -> Subject:
            return self._users.subjects([user], options, bind, clock)[0]

        return Lookup(self, resolve, k)

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
        options = self.user_options(exclude_seen, recent, decay)
        return Batch(self, k, options, where, variety)

    def popular(self, k: int = 10, *, excluded: Any = ()) -> Lookup:
        """The k items with the most events, whose scores are their numbers.

        The events are counted once, on first use, for as long as the space is open.
        """
        left_out = Ids(excluded, self._version.id_kind)

        def resolve(_bind: Bind, _clock: Clock) -> Subject:
            return Subject(PopularRanking(*self._popular(), left_out))

        return Lookup(self, resolve, k)

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
        size, version = len(self._retriever), self.version
        query = TextQuery(self._catalog, self._called, size, version, text, parameters or {})
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
        return find_coverage(self._catalog, self._retriever, bind)

    def user_options(
        self, exclude_seen: bool | Seen, recent: int | None, decay: float | None
    ) -> UserOptions:
        """How users are taken, with the version's own :attr:`recent` where nothing is said."""
        usual = self.recent
        wanted = Recent(
            usual.count if recent is None else recent, usual.decay if decay is None else decay
        )
        seen = exclude_seen if isinstance(exclude_seen, Seen) else Seen() if exclude_seen else None
        return UserOptions(wanted, seen)

    @property
    def users(self) -> Users:
        """The users of this version."""
        return self._users

    def close(self) -> None:
        """Close the retriever and the store of users; the catalog stays open."""
        self._retriever.close()
        if self._store is not None:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lookup(self, ranking: Ranking, k: int) -> Lookup:
        subject = Subject(ranking)
        return Lookup(self, lambda _bind, _clock: subject, k)

    def _popular(self) -> tuple[Ids, npt.NDArray[np.int64]]:
        """Items with events, most first; none where there is no log."""
        with self._counting:
            if self._counted is None:
                try:
                    self._counted = count_events(self._catalog)
                except UnmappedTable:
                    self._counted = Ids([], self.items.id_kind), np.empty(0, dtype=np.int64)
            return self._counted


def _open_users(version: Version) -> UserStore | None:
    """The store of a version's users, checked against what the catalog says of it."""
    if version.users is None:
        return None
    store = open_user_store(version.users.url)
    try:
        if store.checksum != version.users.checksum:
            raise VersionMismatch(
                f"The user vectors at {store!r} are not those that were published with version "
                f"{version.number} of {version.space!r}; publish again."
            )
        if (store.dim, store.metric) != (version.dim, version.metric):
            raise DimensionMismatch(
                f"The users have {store.dim} dimensions and {store.metric}, the items "
                f"{version.dim} and {version.metric}; publish again.",
                expected=version.dim,
                received=store.dim,
            )
    except BaseException:
        store.close()
        raise
    return store
