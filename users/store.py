"""Where the user vectors of a version are: one small protocol, stores by URL."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..adapters.options import parse_parameters
from ..adapters.registry import unknown_scheme
from ..adapters.url import RetrieverURL
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.plugins import Builtin, Plugins
from ..core.vectors import FloatMatrix, VectorSet

Found = npt.NDArray[np.bool_]


class UserStore(Protocol):
    """User vectors of one version, found by their ids; written once, then only read.

    Safe to use from several threads.
    """

    @property
    def dim(self) -> int:
        """Number of dimensions of every vector."""

    @property
    def metric(self) -> Metric:
        """How they are compared with the items'."""

    @property
    def id_kind(self) -> IdKind:
        """Whether users are ``"int"`` or ``"str"``."""

    @property
    def checksum(self) -> str:
        """Of what was stored, as the store itself noted it then: which vectors these are."""

    def __len__(self) -> int:
        """How many users."""

    def vectors(self, ids: Ids) -> tuple[Found, FloatMatrix]:
        """Which users are stored, (n,), and the vectors of those that are, in their order.

        One round trip, however many they are. ``ids`` are of :attr:`id_kind` and may repeat.

        Raises
        ------
        BackendUnavailable
            The store cannot be reached.
        CorruptData
            It holds something else.
        """

    def scan(self, batch_size: int = 10_000) -> Iterator[tuple[Ids, FloatMatrix]]:
        """Every user with their vector, once, in batches, in no promised order."""

    def close(self) -> None:
        """Let go of files and connections. A second call does nothing."""


class StoreBackend(Protocol):
    """Makes stores of one kind; what a URL scheme of the group ``itemspace.users`` stands for.

    ``options`` is a frozen dataclass: its fields are the URL's parameters.
    """

    options: type[Any]

    def child(self, url: RetrieverURL, name: str) -> RetrieverURL:
        """The place of that name below a URL."""

    def create(self, url: RetrieverURL, options: Any, vectors: VectorSet) -> UserStore:
        """Store the vectors, all or nothing; ``BackendExists`` where something is already."""

    def open(self, url: RetrieverURL, options: Any) -> UserStore:
        """What is stored there; ``BackendNotFound`` where nothing is."""

    def remove(self, url: RetrieverURL, options: Any) -> None:
        """Remove what is stored there, if anything is, a half-written rest included."""


STORES = Plugins(
    what="user store",
    group="itemspace.users",
    builtins=MappingProxyType(
        {
            "redis": Builtin("itemspace.users.redis:backend", "redis", "redis"),
            "rediss": Builtin("itemspace.users.redis:backend", "redis", "redis"),
            "unix": Builtin("itemspace.users.redis:backend", "redis", "redis"),
            "vectorset": Builtin("itemspace.users.vectorset:backend"),
        }
    ),
    duty="create",
    unknown=unknown_scheme,
)


def create_user_store(url: str | RetrieverURL, vectors: VectorSet) -> UserStore:
    """Store user vectors at a place of their own, durably, and return the store.

    Parameters
    ----------
    url
        ``vectorset:///data/users`` is a folder that is memory-mapped, ``redis://host/0?prefix=…``
        a Redis.

    Raises
    ------
    InvalidURL, UnknownScheme, UnknownParameter, InvalidOption, MissingExtra, BrokenPlugin
        As for :func:`~itemspace.adapters.create_retriever`.
    BackendExists
        Something is stored there already.
    BackendUnavailable
        The store cannot be reached.
    """
    parsed, backend = _resolve(url)
    options = backend.options(**parse_parameters(parsed, backend.options))
    return backend.create(parsed, options, vectors)


def open_user_store(url: str | RetrieverURL) -> UserStore:
    """Open what :func:`create_user_store` stored; never creates.

    Raises
    ------
    BackendNotFound
        Nothing is stored there.
    CorruptData, IncompatibleFormat
        What is stored cannot be used.
    BackendUnavailable, InvalidURL, UnknownScheme, …
        As there.
    """
    parsed, backend = _resolve(url)
    return backend.open(parsed, backend.options(**parse_parameters(parsed, backend.options)))


def remove_user_store(url: str | RetrieverURL) -> None:
    """Remove what is stored at a URL, if anything is."""
    parsed, backend = _resolve(url)
    backend.remove(parsed, backend.options(**parse_parameters(parsed, backend.options)))


def place_below(url: str | RetrieverURL, name: str) -> RetrieverURL:
    """The place of that name below a store's URL: of one version's users."""
    parsed, backend = _resolve(url)
    return backend.child(parsed, name)


def _resolve(url: str | RetrieverURL) -> tuple[RetrieverURL, StoreBackend]:
    parsed = RetrieverURL.parse(url)
    backend: StoreBackend = STORES.load(parsed.scheme)
    return parsed, backend
