"""Several items as one query: like these, but not like those.

Rocchio's query modification (1971; Manning, Raghavan and Schütze 2008, §9.1.1) without an original
query: from the weighted mean m of the liked, away from the weighted mean of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import InvalidId, InvalidOption, InvalidVectors, UnknownIds
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.retriever import Retriever
from ..core.vectors import FloatMatrix, unit_rows

#: An item, several, or items and their weights.
Items = Any
Weights = npt.NDArray[np.float64]


def weighed(items: Items, kind: IdKind, option: str) -> tuple[Ids, Weights]:
    """Ids and their weights: 1 each where none are said.

    Raises
    ------
    InvalidOption
        A weight that is not above 0 and finite.
    DuplicateIds, InvalidId
        An item twice, or what is no id.
    """
    if isinstance(items, str | int | np.integer):
        items = [items]
    if isinstance(items, Mapping):
        ids, given = Ids(items.keys(), kind), list(items.values())
    else:
        ids = Ids(items if isinstance(items, Ids | np.ndarray) else _listed(items, option), kind)
        given = [1.0] * len(ids)
    ids.check_unique(option)
    try:
        weights = np.array(given, dtype=np.float64)
        sound = bool((np.isfinite(weights) & (weights > 0)).all())
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise InvalidOption(
            f"A weight in {option} is a number above 0; received {given!r}. What an answer should "
            "not be like goes into unlike.",
            option=option,
            received=given,
        )
    return ids, weights


def blend(
    retriever: Retriever, liked: tuple[Ids, Weights], unlike: tuple[Ids, Weights]
) -> FloatMatrix:
    """The query, (1, d): m + Σ vⱼ(m − yⱼ) / Σ wᵢ, and under a product m − Σ vⱼyⱼ / Σ wᵢ.

    m = Σ wᵢxᵢ / Σ wᵢ is of the liked with their weights, yⱼ are the others with theirs. Under
    ``COSINE`` all of them are of unit length.

    Raises
    ------
    UnknownIds
        Items without a vector.
    InvalidVectors
        Under ``COSINE``: they cancel out.
    """
    ids, weights = liked[0].concat(unlike[0]), np.concatenate([liked[1], -unlike[1]])
    if not len(liked[0]):
        raise InvalidOption(
            "Name at least one item that the answers should be like.", option="items", received=[]
        )
    ids.check_unique("what to be like and unlike")
    vectors = retriever.vectors(ids)
    if len(ids) == 1:
        return vectors
    rows = unit_rows(vectors) if retriever.metric is Metric.COSINE else vectors
    if retriever.metric is Metric.EUCLIDEAN:
        # So that the query moves with the vectors, wherever their origin is.
        weights[: len(liked[0])] *= 1 + unlike[1].sum() / liked[1].sum()
    query: FloatMatrix = (weights / liked[1].sum() @ rows.astype(np.float64)).astype(np.float32)
    if retriever.metric is Metric.COSINE and not query.any():
        raise InvalidVectors(
            f"The vectors of {ids.to_list()!r} cancel out, so nothing is near to their "
            "difference; name other items, or weigh them."
        )
    return query[None, :]


def without_vector(error: UnknownIds, where: str) -> UnknownIds:
    """The error for items without a vector, with what to do."""
    some = ", ".join(map(repr, error.ids[:5]))
    what = f"The item {some} has" if len(error.ids) == 1 else f"The items {some} have"
    return UnknownIds(
        f"{what} no vector in {where}; check the id, or build and publish with newer interactions.",
        ids=error.ids,
    )


def _listed(items: Iterable[Any], option: str) -> list[Any]:
    try:
        return list(items)
    except TypeError:
        raise InvalidId(
            f"{option} is an id, several, or a mapping of ids to weights; received {items!r}."
        ) from None
