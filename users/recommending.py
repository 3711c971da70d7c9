"""Items for a user: near the mean of what they did last, without what they have seen."""

from __future__ import annotations

from typing import Any

from ..core.errors import UnknownIds
from ..core.histories import Recent
from ..core.ids import Ids
from ..space.lookup import Lookup
from ..space.space import Space


def recommend(
    space: Space,
    user: Any,
    k: int = 10,
    *,
    recent: int = 10,
    decay: float = 1.0,
    exclude_seen: bool = True,
) -> Lookup:
    """A lookup near the mean vector of the user's last ``recent`` items.

    Parameters
    ----------
    user
        An id of the mapped interactions.
    recent
        How many of the user's last distinct items make the vector, at least 1. Under
        ``Metric.COSINE`` each counts with unit length. Items without a vector are passed over.
    decay
        Weight of an item relative to the next newer one, in (0, 1].
    exclude_seen
        Whether items that the user has any event with are left out.

    Raises
    ------
    UnknownIds
        The user has no events, or none of the recent items has a vector.
    """
    weighing = Recent(recent, decay)
    kind = space.items.id_kind
    history = [item for item in space.catalog.recent_items(user, recent) if item in space.retriever]
    if not history:
        raise UnknownIds(
            f"None of the last {recent} items of the user {user!r} has a vector in version "
            f"{space.version} of {space.name!r}; raise `recent`, or build with newer interactions.",
            ids=[user],
        )
    vector = weighing.mean(space.retriever.vectors(Ids(history, kind)), space.retriever.metric)
    seen = space.catalog.seen_items(user) if exclude_seen else []
    return space.near(vector, k, excluded=seen)
