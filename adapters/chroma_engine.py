"""What ``chroma:`` retrievers talk to: Chroma in this process or as a server, with our errors."""

from __future__ import annotations

import ctypes
import os
import random
import re
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import httpx
from chromadb.api import ServerAPI
from chromadb.config import Settings, System
from chromadb.errors import AuthorizationError, ChromaAuthError, NotFoundError, RateLimitError

from ..core.errors import (
    BackendError,
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    ClosedError,
    CorruptData,
    ItemspaceError,
)
from .chroma_options import ChromaServerOptions
from .engine_folder import EngineFolder
from .url import RetrieverURL

_RETRIES, _PAUSE = 2, (0.02, 0.2)
#: Of the system and of SQLite: no memory, right, file handle or disk left.
_SYSTEM = re.compile(r"os error (12|13|23|24|28|30)\b|code: (8|13|14)\b")


class ChromaEngine:
    """Chroma embedded, over a folder that is held; safe to use from several threads.

    Its failures are raised as ``failure``.
    """

    scope: ClassVar[dict[str, str]] = {}
    is_shared = False

    def __init__(self, folder: EngineFolder, failure: type[BackendError | CorruptData]) -> None:
        self.place, self.failure, self._folder = str(folder.files), failure, folder
        with failing_at(self.place, failure):
            self._system = _system(
                "rust.RustBindingsAPI", is_persistent=True, persist_directory=self.place
            )
            self._system.start()
            self._api: Any = self._system.instance(ServerAPI)
        _EMBEDDED.add(self)

    def call(self, method: str, **arguments: Any) -> Any:
        """What a method of Chroma's API gives."""
        if self._api is None:
            raise ClosedError(
                f"{self.place} is not open in this process: it was closed, or opened by the "
                "process that this one was forked from, and Chroma's engine does not live on in a "
                "child. Open it after the fork, in one process."
            )
        with failing_at(self.place, self.failure):
            return getattr(self._api, method)(**arguments)

    def close(self) -> None:
        """Let go of the folder; what was written is durable."""
        if self._api is not None:
            self._system.stop()
            self._system = self._api = None
        self._folder.release()

    def destroy(self, collection: str) -> None:
        """Remove the folder, which holds one collection."""
        del collection
        self.close()
        self._folder.remove()


class ChromaServer:
    """The client of a server; safe to use from several threads, and after a fork."""

    is_shared = True

    def __init__(self, url: RetrieverURL, options: ChromaServerOptions) -> None:
        self.place, self.scope = str(url), options.scope
        self._timeout, self._settings = options.timeout, options.client(url)
        self._apis: dict[int, Any] = {}

    def call(self, method: str, **arguments: Any) -> Any:
        """What a method of Chroma's API gives; asked again where a connection breaks."""
        retries = 0 if method == "create_collection" else _RETRIES
        with failing_at(self.place):
            while True:
                try:
                    return getattr(self._api(), method)(**arguments)
                except httpx.TransportError as error:
                    if not retries or isinstance(error, httpx.TimeoutException):
                        raise
                retries -= 1
                time.sleep(random.uniform(*_PAUSE))

    def close(self) -> None:
        """Disconnect."""
        api = self._apis.pop(os.getpid(), None)
        if api is not None:
            api._session.close()

    def destroy(self, collection: str) -> None:
        """Remove the collection, and disconnect."""
        try:
            self.call("delete_collection", name=collection, **self.scope)
        finally:
            self.close()

    def _api(self) -> Any:
        # A forked child must neither use its parent's connections nor close them.
        api = self._apis.get(os.getpid())
        if api is None:
            api = _system("fastapi.FastAPI", **self._settings).instance(ServerAPI)
            api._session.timeout = httpx.Timeout(self._timeout)  # Chroma's own is none
            api = self._apis.setdefault(os.getpid(), api)
        return api


@contextmanager
def failing_at(place: str, kind: type[BackendError | CorruptData] = BackendError) -> Iterator[None]:
    """Raise whatever Chroma raises as ``kind``, or as what says more.

    That is its own errors, bare ``Exception`` with the text of a server's answer, those of httpx,
    and Rust's panics, which are ``BaseException``.
    """
    try:
        yield
    except ItemspaceError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise _translated(place, error, kind) from error


def _translated(
    place: str, error: BaseException, kind: type[BackendError | CorruptData]
) -> BackendError | CorruptData:
    told = (str(error).partition("\n")[0] or type(error).__name__)[:300].rstrip(".")
    status = getattr(getattr(error.__context__, "response", None), "status_code", 0)
    advice = ""
    if isinstance(error, httpx.TransportError | RateLimitError) or status >= 502:
        kind, advice = BackendUnavailable, "; check that the server runs, or raise timeout"
    elif isinstance(error, ChromaAuthError | AuthorizationError) or status in (401, 403):
        kind, advice = BackendError, f" (status {status or 401}); check token, tenant and database"
    elif _SYSTEM.search(told):
        kind, advice = BackendUnavailable, "; check the disk, and who may write there"
    elif "already exists" in told:
        kind, advice = BackendExists, "; open it, or name another"
    elif kind is CorruptData:
        told = f"the folder is not as Chroma left it: {told}; restore it or build it again"
        return CorruptData(f"Chroma fails at {place}: {told}.", path=place)
    elif isinstance(error, NotFoundError):
        kind, advice = BackendNotFound, "; check collection, tenant and database, or create it"
    return kind(f"Chroma fails at {place}: {told}{advice}.")


def _system(api: str, **settings: Any) -> Any:
    settings["_env_file"] = None  # the working directory's .env is not ours
    return System(
        Settings(chroma_api_impl=f"chromadb.api.{api}", anonymized_telemetry=False, **settings)
    )


_EMBEDDED: weakref.WeakSet[ChromaEngine] = weakref.WeakSet()


def _abandon_engines() -> None:
    """In a forked child an engine's threads are gone, and to let go of it would wait for them."""
    for engine in _EMBEDDED:
        if engine._api is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine._api.bindings))
            engine._system = engine._api = None


os.register_at_fork(after_in_child=_abandon_engines)
