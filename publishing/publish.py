"""Publishing: load a version beside the live one, check it, move the pointer."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..adapters import RetrieverURL, create_retriever, open_retriever
from ..adapters.registry import load_backend, place_below
from ..catalog.catalog import Catalog
from ..catalog.records import (
    Build,
    PublishedUsers,
    Version,
    add_version,
    get_build,
    get_version,
    live_number,
    next_number,
    swap_live,
)
from ..core.errors import CorruptData, EmptyInput, InvalidOption
from ..core.ids import Ids
from ..core.retriever import Retriever
from ..core.vectors import FloatMatrix, VectorSet, check_one_space
from ..users import create_user_store
from ..users import place_below as users_below

_SAMPLE = 100
#: Users whose vectors an index is tuned with.
_SAMPLE_USERS = 1000


def publish_build(
    catalog: Catalog,
    build: Build,
    to: str | RetrieverURL,
    *,
    space: str = "items",
    users_to: str | RetrieverURL | None = None,
) -> Version:
    """Publish a recorded build, with its users if it has any.

    Its files are compared with the checksums in SQL first.

    Raises :class:`~itemspace.core.errors.CorruptData` where they differ, and whatever
    :func:`publish` raises; the live version serves on.
    """
    vectors = _verified(build, build.path, build.checksum)
    users = None
    if "user_vectors" in build.lineage:
        users = _verified(build, build.user_vectors_path, build.lineage["user_vectors"])
    return publish(catalog, vectors, to, space=space, build=build, users=users, users_to=users_to)


def _verified(build: Build, path: Path, checksum: str) -> VectorSet:
    if VectorSet.verify(path) != checksum:
        raise CorruptData(
            f"The vectors at {path} are not those of build {build.id}; build again.",
            path=str(path),
        )
    return VectorSet.open(path)


def publish(
    catalog: Catalog,
    vectors: VectorSet,
    to: str | RetrieverURL,
    *,
    space: str = "items",
    build: Build | None = None,
    users: VectorSet | None = None,
    users_to: str | RetrieverURL | None = None,
) -> Version:
    """Load ``vectors`` as the space's next version and make it live.

    Parameters
    ----------
    to
        The backend's URL; the version goes one level below it, into ``<space>-<number>-<random>``.
    space
        Made on its first publishing.
    users, users_to
        The users' vectors, of the same training as the items', and the URL of the store below
        which they go (:func:`~itemspace.users.create_user_store`); beside the items where that is
        a folder.

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
    DimensionMismatch, InvalidVectors, VersionMismatch
        The vectors of users and items do not belong together.
    InvalidOption
        There are users, ``users_to`` is left out, and ``to`` is no folder.
    PublishConflict
        Another publisher was faster.
    InvalidURL, BackendError, …
        What :func:`~itemspace.adapters.create_retriever` raises.
    """
    if not len(vectors):
        raise EmptyInput("There are no vectors to publish.", path=str(to))
    base = RetrieverURL.parse(to)
    if users is not None:
        check_one_space(vectors, users)
        users_to = _users_base(base, users_to)

    def load_users(name: str) -> PublishedUsers | None:
        if users is None or users_to is None:
            return None
        return _load_users(users, users_below(users_to, f"{name}-users"))

    sample = None
    if users is not None and len(users) > 1:  # who lie elsewhere than items
        sample = users.matrix[:: max(1, len(users) // _SAMPLE_USERS)]
    return _publish(catalog, vectors, base, space, build, load_users, sample)


def move(catalog: Catalog, to: str | RetrieverURL, *, space: str = "items") -> Version:
    """Publish the live version of a space anew, into another backend; users stay where they are.

    Lookups go on with the old one until the new one is live. Raises what :func:`publish` does.
    """
    live = get_version(catalog, space)
    with open_retriever(live.url) as source:
        batches = list(source.scan())
        ids = Ids([name for some, _ in batches for name in some], source.id_kind)
        matrix = np.concatenate([some for _, some in batches])
        vectors = VectorSet(ids, matrix, source.metric, live.lineage)
    build = None if live.build_id is None else get_build(catalog, live.build_id)
    base = RetrieverURL.parse(to)
    return _publish(catalog, vectors, base, space, build, lambda _name: live.users)


def _publish(
    catalog: Catalog,
    vectors: VectorSet,
    base: RetrieverURL,
    space: str,
    build: Build | None,
    load_users: Callable[[str], PublishedUsers | None],
    queries: FloatMatrix | None = None,
) -> Version:
    live, number = live_number(catalog, space), next_number(catalog, space)
    # A name of its own: what an earlier publishing left behind, killed, is in nobody's way.
    name = f"{space}-{number:04d}-{secrets.token_hex(4)}"
    place = place_below(base, name)
    with create_retriever(place, vectors, queries=queries) as retriever:
        _check_loaded(retriever, vectors)
        users = load_users(name)
        version = add_version(
            catalog, space, number, vectors, url=_lasting(place), build=build, users=users
        )
    swap_live(catalog, space, expected=live, number=number)
    return version


def _users_base(base: RetrieverURL, users_to: str | RetrieverURL | None) -> RetrieverURL:
    """Where user vectors go: what was said, or the folder of the items."""
    if users_to is not None:
        return RetrieverURL.parse(users_to)
    if hasattr(load_backend(base.scheme), "child"):
        raise InvalidOption(
            f"{base} is no folder that user vectors could go into as well; say where they go "
            "(users_to), such as 'redis://localhost/0'.",
            option="users_to",
            received=None,
        )
    return RetrieverURL("vectorset", "", base.path)


def _load_users(users: VectorSet, place: RetrieverURL) -> PublishedUsers:
    store = create_user_store(place, users)
    try:
        if len(store) != len(users):
            raise CorruptData(
                f"The store holds {len(store)} users where {len(users)} went in; nothing was "
                "published.",
                path=str(place),
            )
        rows = _sample(users)
        known, back = store.vectors(users.ids[rows])
        if not known.all() or not np.array_equal(back, users.matrix[rows]):
            raise CorruptData(
                "The store gives back other vectors than went in; nothing was published.",
                path=str(place),
            )
        return PublishedUsers(_lasting(place), store.checksum, len(users), users.ids.kind)
    finally:
        store.close()


def _sample(vectors: VectorSet) -> npt.NDArray[np.int64]:
    """Rows from the first to the last."""
    return np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors))).astype(np.int64)


def _check_loaded(retriever: Retriever, vectors: VectorSet) -> None:
    """Count, dimension, and a sample of the vectors themselves."""
    rows = _sample(vectors)
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
    if not place.authority and place.path and not place.path.startswith("/"):
        place = replace(place, path=str(Path(place.path).resolve()))
    return place.render()
