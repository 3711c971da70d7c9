"""URL scheme → backend."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ..core.errors import InvalidOption, InvalidURL, UnknownScheme
from ..core.plugins import Builtin, Plugins
from ..core.progress import Progress
from ..core.retriever import Retriever
from ..core.vectors import VectorSet
from .driver import Backend
from .options import parse_parameters
from .url import RetrieverURL
from .wrapper import DriverRetriever

#: Vectors that are loaded at once, at most.
BATCH = 262_144


def unknown_scheme(scheme: str, text: str) -> UnknownScheme:
    """The error for a URL that nothing is registered for."""
    return UnknownScheme(text, url=f"{scheme}:", scheme=scheme)


BACKENDS = Plugins(
    what="backend",
    group="itemspace.retrievers",
    builtins=MappingProxyType(
        {
            "chroma": Builtin("itemspace.adapters.chroma:backend", "chromadb", "chroma"),
            "chroma+http": Builtin("itemspace.adapters.chroma:server", "chromadb", "chroma"),
            "chroma+https": Builtin("itemspace.adapters.chroma:server", "chromadb", "chroma"),
            "exact": Builtin("itemspace.adapters.exact:backend"),
            "faiss": Builtin("itemspace.adapters.faiss:backend", "faiss", "faiss"),
            "hnswlib": Builtin("itemspace.adapters.hnswlib:backend", "hnswlib", "hnswlib"),
            "lancedb": Builtin("itemspace.adapters.lancedb:backend", "lancedb", "lancedb"),
            "lsh": Builtin("itemspace.adapters.lsh:backend"),
            "milvus": Builtin("itemspace.adapters.milvus_server:backend", "pymilvus", "milvus"),
            "milvus+lite": Builtin(
                "itemspace.adapters.milvus_embedded:backend", "milvus_lite", "milvus"
            ),
            "pgvector": Builtin("itemspace.adapters.pgvector:backend", "psycopg", "pgvector"),
            "pgvector+psycopg": Builtin(
                "itemspace.adapters.pgvector:backend", "psycopg", "pgvector"
            ),
            "qdrant+edge": Builtin("itemspace.adapters.qdrant:backend", "qdrant_edge", "qdrant"),
            "sqlite-vec": Builtin("itemspace.adapters.sqlite_vec:backend", "apsw", "sqlite-vec"),
            "usearch": Builtin("itemspace.adapters.usearch:backend", "usearch", "usearch"),
            "voyager": Builtin("itemspace.adapters.voyager:backend", "voyager", "voyager"),
        }
    ),
    duty="create",
    unknown=unknown_scheme,
)


def create_retriever(
    url: str | RetrieverURL,
    vectors: VectorSet,
    *,
    queries: Any = None,
    progress: Progress | None = None,
) -> Retriever:
    """Train where the backend trains, load ``vectors``, make them durable, and return it writable.

    Parameters
    ----------
    url
        ``scheme://…``; ``lsh://`` is in memory. The backend's options are its parameters.
    vectors
        What to load; its metric and kind of ids become the retriever's. An empty set of shape
        (0, d) makes an empty retriever.
    queries
        Some of the kind that searches will have, (q, d): a backend that finds its settings by
        samples takes these, and not vectors, for queries.
    progress
        Called with (done, total, "loading") after each batch of :data:`BATCH` vectors.

    Raises
    ------
    InvalidURL, UnknownScheme, UnknownParameter, InvalidOption
        The URL; known names are listed. Nothing was made.
    MissingExtra, BrokenPlugin
        The backend cannot be loaded.
    BackendExists
        Something is stored there already.
    """
    parsed = RetrieverURL.parse(url)
    backend = load_backend(parsed.scheme)
    options = backend.options(**parse_parameters(parsed, backend.options))
    driver = backend.create(parsed, options, vectors.dim, vectors.metric, vectors.ids.kind)
    retriever = DriverRetriever(driver, parsed, writable=True)
    try:
        done = 0
        for rows in batches_of(len(vectors)):
            retriever.upsert(vectors.ids[rows], vectors.matrix[rows])
            done += len(vectors.ids[rows])
            if progress is not None:
                progress(done, len(vectors), "loading")
        if len(vectors) and queries is not None:
            retriever.tune(queries)
        retriever.flush()
    except BaseException:
        driver.destroy()
        raise
    return retriever


def batches_of(count: int) -> Iterator[Any]:
    """What takes batches of some vectors from their arrays: all at once where there are few.

    The first batch is a sample of them all: a backend that trains does so on it.
    """
    if count <= BATCH:
        yield from [slice(None)] if count else []
        return
    first = np.linspace(0, count - 1, BATCH).astype(np.int64)
    yield first
    left = np.ones(count, dtype=np.bool_)
    left[first] = False
    rest = np.flatnonzero(left)
    yield from (rest[start : start + BATCH] for start in range(0, len(rest), BATCH))


def open_retriever(url: str | RetrieverURL, mode: Literal["r", "rw"] = "r") -> Retriever:
    """Open what is stored; never creates.

    Parameters
    ----------
    mode
        ``"r"``: for reading, by any number of processes. ``"rw"``: for writing, by one.

    Raises
    ------
    BackendNotFound
        Nothing is stored there.
    LockedError
        Another process writes there; it is named.
    CorruptData, IncompatibleFormat
        What is stored cannot be used.
    InvalidURL, UnknownScheme, UnknownParameter, InvalidOption, MissingExtra, BrokenPlugin
        As for :func:`create_retriever`.
    """
    if mode not in ("r", "rw"):
        raise InvalidOption(
            f"mode is 'r' or 'rw'; received {mode!r}.", option="mode", received=mode
        )
    parsed = RetrieverURL.parse(url)
    backend = load_backend(parsed.scheme)
    named = parse_parameters(parsed, backend.options)
    driver = backend.open(parsed, named, writable=mode == "rw")
    return DriverRetriever(driver, parsed, writable=mode == "rw")


def remove_retriever(url: str | RetrieverURL) -> None:
    """Remove what is stored at a URL; raises what :func:`open_retriever` does with ``"rw"``."""
    parsed = RetrieverURL.parse(url)
    backend = load_backend(parsed.scheme)
    backend.open(parsed, parse_parameters(parsed, backend.options), writable=True).destroy()


def place_below(url: RetrieverURL, name: str) -> RetrieverURL:
    """The place of that name below a URL: a folder, or what the backend has in its stead.

    Raises :class:`InvalidURL` for a place that ends with the process.
    """
    child = getattr(load_backend(url.scheme), "child", None)
    if child is not None:
        found: RetrieverURL = child(url, name)
        return found
    if url.location is None:
        raise InvalidURL(
            f"{str(url)!r} ends with its process; to publish, name a folder as in "
            f"'{url.scheme}:///data/published'.",
            url=str(url),
        )
    return url.child(name)


def check_url(url: RetrieverURL) -> None:
    """Raise what :func:`create_retriever` does for a URL that is wrong, and make nothing."""
    backend = load_backend(url.scheme)
    backend.options(**parse_parameters(url, backend.options))


def load_backend(scheme: str) -> Backend:
    """The backend of a scheme; see :meth:`.Plugins.load`."""
    backend: Backend = BACKENDS.load(scheme)
    return backend
