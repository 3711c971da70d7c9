"""Items for a user: near the mean of what they did last, without what they have seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import InvalidOption, UnknownIds
from ..core.ids import Ids
from ..core.metric import Metric
from ..core.vectors import FloatMatrix
from ..space.lookup import Lookup
from ..space.space import Space


def recommend(
    space: Space, user: Any, k: int = 10, *, recent: int = 10, exclude_seen: bool = True
) -> Lookup:
    """A lookup near the mean vector of the user's last ``recent`` items.

    Parameters
    ----------
    user
        An id of the mapped interactions.
    recent
        How many of the user's last distinct items make the vector, at least 1. Under
        ``Metric.COSINE`` each counts with unit length. Items without a vector are passed over.
    exclude_seen
        Whether items that the user has any event with are left out.

    Raises
    ------
    UnknownIds
        The user has no events, or none of the recent items has a vector.
    """
    if recent < 1:
        raise InvalidOption(
            f"recent is at least 1; received {recent}.", option="recent", received=recent
        )
    kind = space.items.id_kind
    history = [item for item in space.catalog.recent_items(user, recent) if item in space.retriever]
    if not history:
        raise UnknownIds(
            f"None of the last {recent} items of the user {user!r} has a vector in version "
            f"{space.version} of {space.name!r}; raise `recent`, or build with newer interactions.",
            ids=[user],
        )
    vector = mean_vector(space.retriever.vectors(Ids(history, kind)), space.retriever.metric)
    seen = space.catalog.seen_items(user) if exclude_seen else []
    return space.near(vector, k, excluded=seen)


def mean_vector(vectors: FloatMatrix, metric: Metric) -> FloatMatrix:
    """The mean of vectors (n, d), as float32 (d,); of their directions under ``COSINE``.

    Where the directions cancel out, the first (newest) vector.
    """
    wide = vectors.astype(np.float64)
    if metric is Metric.COSINE:
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    mean: FloatMatrix = wide.mean(axis=0).astype(np.float32)
    return mean if mean.any() else vectors[0]
