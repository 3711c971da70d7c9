"""What a lookup is about: an item, a vector, or a user, of whom more or less is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ..catalog.catalog import Bind, Catalog
from ..catalog.user_events import Seen, recent_items, seen_items
from ..core.histories import Recent
from ..core.ids import Ids
from ..core.retriever import Retriever, known_vectors
from ..core.vectors import FloatMatrix
from ..users.store import UserStore
from .planner import Clock
from .rankings import PopularRanking, Ranking, VectorRanking


class UserSource(StrEnum):
    """What an answer for a user rests on."""

    PUBLISHED = "published"
    """The vector that the version has of the user."""
    RECENT = "recent"
    """The mean of the user's last items."""
    POPULAR = "popular"
    """Nothing is known of the user: the most popular items."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What a lookup ranks items for."""

    ranking: Ranking
    source: UserSource | None = None
    """Where it is a user."""


#: Makes the subject when a lookup is executed, on its connection.
Resolve = Callable[[Bind, Clock], Subject]


@dataclass(frozen=True)
class UserOptions:
    """How users are taken."""

    recent: Recent
    """Their last items, where they have no vector."""
    seen: Seen | None
    """Which items they are not to get; None: they may get all."""


class Users:
    """Users of one version: published vectors first, then recent items, then what is popular."""

    def __init__(
        self,
        catalog: Catalog,
        retriever: Retriever,
        store: UserStore | None,
        popular: Callable[[], tuple[Ids, npt.NDArray[np.int64]]],
        deleted: Ids,
    ) -> None:
        self._catalog, self._retriever, self._store = catalog, retriever, store
        self._popular, self._deleted = popular, deleted

    def popular(self) -> tuple[Ids, npt.NDArray[np.int64]]:
        """Items that have events, most first, and how many."""
        return self._popular()

    def subjects(
        self, users: Sequence[Any], options: UserOptions, bind: Bind | None, clock: Clock
    ) -> list[Subject]:
        """The subject of each user, in at most two statements.

        Raises
        ------
        InvalidId
            What is no id of a user.
        UnmappedTable
            There is no log to tell what was seen.
        """
        vectors: dict[Any, tuple[FloatMatrix, UserSource]] = {}
        if self._store is not None:
            known, matrix = self._store.vectors(Ids(users, self._store.id_kind))
            names = [user for user, is_known in zip(users, known.tolist(), strict=True) if is_known]
            pairs = zip(names, matrix, strict=True)
            vectors = {user: (vector, UserSource.PUBLISHED) for user, vector in pairs}
        rest = [user for user in users if user not in vectors]
        if rest:
            vectors |= self._by_recent_items(rest, options.recent, bind, clock)
        seen: dict[Any, list[Any]] = {}
        wanted = options.seen
        if wanted is not None:
            seen = clock.ask(lambda: seen_items(self._catalog, users, wanted, bind))
        found = []
        for user in users:
            excluded = Ids(seen.get(user, ()), self._retriever.id_kind)
            if user in vectors:
                vector, source = vectors[user]
                near = VectorRanking(self._retriever, vector[None, :], excluded)
                found.append(Subject(near, source))
            else:
                # Items without an event are popular as well, where they are allowed by name.
                most = PopularRanking(*self._popular(), excluded.concat(self._deleted))
                found.append(Subject(most, UserSource.POPULAR))
        return found

    def _by_recent_items(
        self, users: Sequence[Any], recent: Recent, bind: Bind | None, clock: Clock
    ) -> dict[Any, tuple[FloatMatrix, UserSource]]:
        last = clock.ask(lambda: recent_items(self._catalog, users, recent.count, bind))
        kind, metric = self._retriever.id_kind, self._retriever.metric
        names = Ids(list(dict.fromkeys(item for items in last.values() for item in items)), kind)
        known, matrix = known_vectors(self._retriever, names)
        rows = {name: row for row, name in enumerate(names[known])}
        found = {}
        for user, items in last.items():
            of_user = [rows[item] for item in items if item in rows]
            if of_user:
                found[user] = recent.mean(matrix[of_user], metric), UserSource.RECENT
        return found
