"""One version of a space at one revision: what a request sees from its beginning to its end."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import cached_property, partial
from threading import Lock

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from ..adapters import open_retriever
from ..catalog.catalog import Bind, Catalog
from ..catalog.changes import Change
from ..catalog.leases import claim_reading
from ..catalog.mapping import ItemTable
from ..catalog.user_events import count_events
from ..catalog.versions import Version
from ..core.errors import DimensionMismatch, InvalidId, UnmappedTable, VersionMismatch
from ..core.histories import Recent
from ..core.ids import Ids
from ..core.retriever import Retriever
from ..users import UserStore, open_user_store
from .overlay import Changes, OverlaidRetriever
from .subjects import Users

#: Vectors that are searched for before a version answers, so that its pages and kernels are there.
_WARMING = 32


class OpenVersion:
    """The vectors of a version, opened for reading; closed with the last reference to it.

    Parameters
    ----------
    keeper
        What keeps the version from being removed; kept for as long as this is.

    Raises
    ------
    NothingPublished
        It was removed.
    InvalidId
        The ids of the items table are of another kind than those of the vectors.
    VersionMismatch
        The users' vectors are not those that were published with the items'.
    BackendNotFound, CorruptData, …
        What :func:`~itemspace.adapters.open_retriever` and
        :func:`~itemspace.users.open_user_store` raise.
    """

    def __init__(self, catalog: Catalog, version: Version, keeper: object = None) -> None:
        kind = catalog.items.id_kind
        if kind != version.id_kind:
            raise InvalidId(
                f"The items of {catalog.items.table} have {kind} ids, the vectors of "
                f"{version.space!r} version {version.number} have {version.id_kind} ids; map the "
                "right id column or build the vectors from the same ids."
            )
        claim_reading(catalog, version)
        self.version = version
        self.retriever = open_retriever(version.url)
        try:
            self.store = _open_users(version)
        except BaseException:
            self.retriever.close()
            raise
        self._catalog, self._keeper = catalog, keeper
        self._counted: tuple[Ids, npt.NDArray[np.int64]] | None = None
        self._counting = Lock()
        self.close = weakref.finalize(self, _close, self.retriever, self.store)

    def warm(self) -> None:
        """Search once, so that the first request does not wait for pages and kernels."""
        for _, some in self.retriever.scan(_WARMING):
            self.retriever.search(some, 10)
            return

    def renew_lock(self) -> None:
        """In a forked child: a thread of the parent may have held it."""
        self._counting = Lock()

    def popular(self) -> tuple[Ids, npt.NDArray[np.int64]]:
        """Items with events, most first, and how many; none where there is no log."""
        with self._counting:
            if self._counted is None:
                try:
                    self._counted = count_events(self._catalog)
                except UnmappedTable:
                    nothing = Ids([], self._catalog.items.id_kind)
                    self._counted = nothing, np.empty(0, dtype=np.int64)
            return self._counted


class Snapshot:
    """A version with the changes up to a revision; it never changes."""

    def __init__(
        self,
        catalog: Catalog,
        opened: OpenVersion,
        changes: Changes,
        before: OverlaidRetriever | None = None,
    ) -> None:
        self._catalog, self.opened, self.changes = catalog, opened, changes
        self._retriever = OverlaidRetriever(opened.retriever, changes, opened, before)

    @classmethod
    def of(
        cls, catalog: Catalog, opened: OpenVersion, log: Iterable[Change], revision: int
    ) -> Snapshot:
        """A version with the changes since it was published."""
        version = opened.version
        nothing = Changes.none(version.base_revision, version.id_kind, version.dim)
        return cls(catalog, opened, nothing.then(log, revision))

    def then(self, log: Iterable[Change], revision: int) -> Snapshot:
        """The same version with what came after."""
        changes = self.changes.then(log, revision)
        return Snapshot(self._catalog, self.opened, changes, self._retriever)

    @property
    def version(self) -> int:
        """The version's number."""
        return self.opened.version.number

    @property
    def revision(self) -> int:
        """Of the last change that is in it."""
        return self.changes.revision

    @property
    def items(self) -> ItemTable:
        """The mapped items."""
        return self._catalog.items

    @property
    def retriever(self) -> Retriever:
        """The vectors as they are at the revision."""
        return self._retriever

    @property
    def recent(self) -> Recent:
        """How users without a vector are taken: as the build says, or by their last ten items."""
        noted = self.opened.version.lineage.get("recent")
        return Recent(**noted) if noted else Recent()

    @cached_property
    def users(self) -> Users:
        """The users of the version."""
        # A method of the snapshot would be a cycle, which keeps the version open for long.
        popular = partial(_popular, self.opened, self.changes)
        store, deleted = self.opened.store, self.changes.deleted
        return Users(self._catalog, self._retriever, store, popular, deleted)

    def connection(self, bind: Bind | None) -> AbstractContextManager[Connection]:
        """The caller's connection, or one of the catalog's."""
        return self._catalog.connection(bind)

    def popular(self) -> tuple[Ids, npt.NDArray[np.int64]]:
        """Items with events, most first, without those that were deleted."""
        return _popular(self.opened, self.changes)


def _popular(opened: OpenVersion, changes: Changes) -> tuple[Ids, npt.NDArray[np.int64]]:
    ids, counts = opened.popular()
    deleted = changes.deleted
    if not len(deleted):
        return ids, counts
    kept = np.flatnonzero(deleted.rows_of(ids) < 0)
    return ids[kept], counts[kept]


def _close(retriever: Retriever, store: UserStore | None) -> None:
    retriever.close()
    if store is not None:
        store.close()


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
