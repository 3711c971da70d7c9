"""URL scheme → backend: one lazy table, and entry points for everyone else's."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from ..core.errors import BrokenPlugin, InvalidOption, MissingExtra, UnknownScheme
from ..core.retriever import Retriever
from ..core.vectors import VectorSet
from .driver import Backend
from .options import parse_parameters
from .url import RetrieverURL
from .wrapper import DriverRetriever

GROUP = "itemspace.retrievers"
_LOAD_BATCH = 262_144


class Builtin(NamedTuple):
    """Where a built-in backend lives and which extra brings its engine."""

    target: str
    requires: str | None
    extra: str | None


BUILTINS = MappingProxyType(
    {
        "exact": Builtin("itemspace.adapters.exact:backend", None, None),
        "faiss": Builtin("itemspace.adapters.faiss:backend", "faiss", "faiss"),
        "lsh": Builtin("itemspace.adapters.lsh:backend", None, None),
    }
)


def create_retriever(url: str | RetrieverURL, vectors: VectorSet) -> Retriever:
    """Train where the backend trains, load ``vectors``, make them durable, and return it writable.

    Parameters
    ----------
    url
        ``scheme://…``; ``lsh://`` is in memory. The backend's options are its parameters.
    vectors
        What to load; its metric and kind of ids become the retriever's. An empty set of shape
        (0, d) makes an empty retriever.

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
        if len(vectors):
            retriever.upsert(vectors.ids, vectors.matrix)
        retriever.flush()
    except BaseException:
        driver.destroy()
        raise
    return retriever


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


def load_backend(scheme: str) -> Backend:
    """The backend of a scheme, imported on first use; built-ins cannot be replaced."""
    if scheme in BUILTINS:
        return _load_builtin(BUILTINS[scheme])
    plugins = {point.name: point for point in entry_points(group=GROUP)}
    if scheme in plugins:
        return _load_plugin(plugins[scheme])
    known = sorted({*BUILTINS, *plugins})
    near = difflib.get_close_matches(scheme, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownScheme(
        f"No backend is registered under {scheme!r}; there are: {', '.join(known)}.{hint}",
        url=f"{scheme}:",
        scheme=scheme,
    )


def _load_builtin(builtin: Builtin) -> Backend:
    module, _, name = builtin.target.partition(":")
    try:
        backend: Backend = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if builtin.requires is None or (error.name or "").partition(".")[0] != builtin.requires:
            raise
        raise MissingExtra(
            f"This backend needs the package {error.name!r}; install it with "
            f"pip install 'itemspace[{builtin.extra}]'.",
            extra=builtin.extra,
        ) from error
    return backend


def _load_plugin(point: EntryPoint) -> Backend:
    try:
        backend: Any = point.load()
        return backend if hasattr(backend, "create") else _not_a_backend(backend)
    except Exception as error:
        raise BrokenPlugin(
            f"The plugin {point.value!r} for the scheme {point.name!r} does not load: {error!r}. "
            "Repair or uninstall it."
        ) from error


def _not_a_backend(thing: object) -> Backend:
    raise TypeError(f"{thing!r} has no create(): it is no Backend")
