"""Loading a version into its place, and making sure that it is there; and removing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..adapters import RetrieverURL, create_retriever, open_retriever
from ..adapters.copying import is_there
from ..adapters.registry import BATCH, batches_of, load_backend, remove_retriever
from ..catalog.versions import PublishedUsers
from ..core.errors import BackendNotFound, CorruptData
from ..core.progress import Progress
from ..core.retriever import Retriever
from ..core.storage import remove_directory
from ..core.vectors import FloatMatrix, VectorSet
from ..users import create_user_store, remove_user_store

_SAMPLE = 100


def load_items(
    place: RetrieverURL,
    vectors: VectorSet,
    queries: FloatMatrix | None,
    *,
    resume: bool,
    progress: Progress | None,
) -> Retriever:
    """Load vectors into a place, writable; ``resume``: go on with what is there already."""
    made = _opened(place) if resume else None
    if made is None:
        return create_retriever(place, vectors, queries=queries, progress=progress)
    try:
        done = 0
        for rows in batches_of(len(vectors)):
            ids, matrix = vectors.ids[rows], vectors.matrix[rows]
            new = np.flatnonzero(~is_there(made, ids, matrix))
            if len(new):
                made.upsert(ids[new], matrix[new])
            done += len(ids)
            if progress is not None:
                progress(done, len(vectors), "loading")
        if queries is not None:
            made.tune(queries)  # type: ignore[attr-defined]
        made.flush()
    except BaseException:
        made.close()
        raise
    return made


def check_items(made: Retriever, vectors: VectorSet, progress: Progress | None) -> None:
    """Raise :class:`CorruptData` unless a backend holds just these vectors, each as it was given.

    Where it stores them otherwise (``capabilities.stores``), just these ids.
    """
    facts: list[tuple[str, Any, Any]] = [
        ("vectors", len(vectors), len(made)),
        ("dimensions", vectors.dim, made.dim),
        ("metric", vectors.metric, made.metric),
    ]
    for what, expected, received in facts:
        if expected != received:
            raise CorruptData(
                f"The backend holds {what} {received} where {expected} went in; nothing was "
                "published.",
                path=repr(made),
            )
    same, seen = made.capabilities.stores == "exact", np.zeros(len(vectors), dtype=np.bool_)
    for ids, matrix in made.scan(BATCH):
        rows = vectors.ids.rows_of(ids)
        strange = rows < 0
        if same and not strange.any() and not np.array_equal(vectors.matrix[rows], matrix):
            strange = (vectors.matrix[rows] != matrix).any(axis=1)
        if strange.any():
            name = ids[int(np.argmax(strange))]
            raise CorruptData(
                f"The backend gives back another vector of {name!r} than went in; nothing was "
                "published.",
                path=repr(made),
            )
        seen[rows] = True
        if progress is not None:
            progress(int(seen.sum()), len(vectors), "verifying")
    if not seen.all():
        name = vectors.ids[int(np.argmin(seen))]
        raise CorruptData(
            f"The backend does not give {name!r} back, which went in; nothing was published.",
            path=repr(made),
        )


def load_users(users: VectorSet, url: str) -> PublishedUsers:
    """Load the users' vectors into a store, and make sure that it holds them."""
    place = RetrieverURL.parse(url)
    remove_user_store(place)  # of a publishing that was broken off
    store = create_user_store(place, users)
    try:
        rows = np.linspace(0, len(users) - 1, min(_SAMPLE, len(users))).astype(np.int64)
        known, back = store.vectors(users.ids[rows])
        wrong = not known.all() or not np.array_equal(back, users.matrix[rows])
        if len(store) != len(users) or wrong:
            raise CorruptData(
                f"The store holds {len(store)} users where {len(users)} went in, or gives back "
                "other vectors than went in; nothing was published.",
                path=str(place),
            )
        return PublishedUsers(url, store.checksum, len(users), users.ids.kind)
    finally:
        store.close()


def remove_items(url: str) -> None:
    """Remove what was loaded, whole or half; nothing where nothing is."""
    place = RetrieverURL.parse(url)
    folder = _folder_of(place)
    try:
        remove_retriever(place)
    except BackendNotFound:
        pass
    except CorruptData:  # a publisher was killed while it wrote
        if folder is None:
            raise
    if folder is not None:  # which was made for this version alone
        remove_directory(folder)


def bytes_of(url: str) -> int | None:
    """What the files of a place take, where it is a folder."""
    folder = _folder_of(RetrieverURL.parse(url))
    if folder is None:
        return None
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _opened(place: RetrieverURL) -> Retriever | None:
    """What a publisher that was killed left there, if it can be written to."""
    try:
        return open_retriever(place, "rw")
    except (BackendNotFound, CorruptData):
        remove_items(place.render())
        return None


def _folder_of(place: RetrieverURL) -> Path | None:
    """The folder that is all of a place; None where it is in something that others are in too."""
    if hasattr(load_backend(place.scheme), "child"):
        return None
    return place.location
