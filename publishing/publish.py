"""Publishing: load a version beside the live one, check it, move the pointer."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from ..adapters import RetrieverURL, create_retriever
from ..catalog.catalog import Catalog
from ..catalog.records import Build, Version, add_version, live_number, next_number, swap_live
from ..core.errors import CorruptData, EmptyInput, InvalidURL
from ..core.retriever import Retriever
from ..core.vectors import VectorSet

_SAMPLE = 100


def publish_build(
    catalog: Catalog, build: Build, to: str | RetrieverURL, *, space: str = "items"
) -> Version:
    """Publish a recorded build, whose files are compared with the checksum in SQL first.

    Raises :class:`~itemspace.core.errors.CorruptData` where they differ, and whatever
    :func:`publish` raises; the live version serves on.
    """
    if VectorSet.verify(build.path) != build.checksum:
        raise CorruptData(
            f"The vectors at {build.path} are not those of build {build.id}; build again.",
            path=str(build.path),
        )
    return publish(catalog, VectorSet.open(build.path), to, space=space, build=build)


def publish(
    catalog: Catalog,
    vectors: VectorSet,
    to: str | RetrieverURL,
    *,
    space: str = "items",
    build: Build | None = None,
) -> Version:
    """Load ``vectors`` as the space's next version and make it live.

    Parameters
    ----------
    to
        The backend's URL; the version goes one level below it, into ``<space>-<number>-<random>``.
    space
        Made on its first publishing.

    Returns
    -------
    Version
        The one that is live now. Older versions stay where they are.

    Raises
    ------
    EmptyInput
        There are no vectors.
    CorruptData
        The backend does not give back what was loaded.
    PublishConflict
        Another publisher was faster.
    InvalidURL, BackendError, …
        What :func:`~itemspace.adapters.create_retriever` raises.
    """
    if not len(vectors):
        raise EmptyInput("There are no vectors to publish.", path=str(to))
    base = RetrieverURL.parse(to)
    if not base.authority and base.path in ("", "/"):
        raise InvalidURL(
            f"{str(base)!r} ends with its process; to publish, name a folder as in "
            f"'{base.scheme}:///data/published'.",
            url=str(base),
        )
    live, number = live_number(catalog, space), next_number(catalog, space)
    # A name of its own: what an earlier publishing left behind, killed, is in nobody's way.
    place = base.child(f"{space}-{number:04d}-{secrets.token_hex(4)}")
    with create_retriever(place, vectors) as retriever:
        _check_loaded(retriever, vectors)
        version = add_version(catalog, space, number, vectors, url=_lasting(place), build=build)
    swap_live(catalog, space, expected=live, number=number)
    return version


def _check_loaded(retriever: Retriever, vectors: VectorSet) -> None:
    """Count, dimension, and a sample of the vectors themselves."""
    rows = np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors))).astype(np.int64)
    facts: list[tuple[str, Any, Any]] = [
        ("vectors", len(vectors), len(retriever)),
        ("dimensions", vectors.dim, retriever.dim),
        ("metric", vectors.metric, retriever.metric),
    ]
    for what, expected, received in facts:
        if expected != received:
            raise CorruptData(
                f"The backend holds {what} {received} where {expected} went in; nothing was "
                "published.",
                path=repr(retriever),
            )
    if retriever.capabilities.stores == "exact":
        back = retriever.vectors(vectors.ids[rows])
        if not np.array_equal(back, vectors.matrix[rows]):
            raise CorruptData(
                "The backend gives back other vectors than went in; nothing was published.",
                path=repr(retriever),
            )


def _lasting(place: RetrieverURL) -> str:
    """The URL to open it by from any working directory."""
    if place.path and not place.path.startswith("/") and place.location is not None:
        place = RetrieverURL(place.scheme, "", str(place.location.resolve()), place.parameters)
    return place.render()
