"""A folder for an engine that keeps files of its own: claimed, locked, described."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.errors import (
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    CorruptData,
    IncompatibleFormat,
    InvalidURL,
    LockedError,
)
from ..core.storage import write_text
from .locks import WriterLock
from .url import RetrieverURL

FORMAT = 1
_MANIFEST, _LOCK, _FILES = "manifest.json", "lock", "engine"
_TEMPORARY = f".{_MANIFEST}.tmp"


class EngineFolder:
    """``folder/engine``, the engine's files, held by one process; a manifest says what they are.

    Without a manifest nothing is there: what a creation that was killed left behind is in nobody's
    way.
    """

    def __init__(self, url: RetrieverURL) -> None:
        if url.location is None:
            raise InvalidURL(
                f"'{url.scheme}:' keeps its files in a folder; name it, as in "
                f"'{url.scheme}:///data/items'.",
                url=str(url),
            )
        self.path, self._kind = url.location, f"index:{url.scheme}"
        self._lock: WriterLock | None = None

    def __str__(self) -> str:
        return str(self.path)

    @property
    def files(self) -> Path:
        """Where the engine keeps its own."""
        return self.path / _FILES

    def claim(self) -> None:
        """Make the folder, an empty one for the engine in it, and hold it; refuse one in use."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in self.path.iterdir()}
        except OSError as error:
            raise BackendUnavailable(f"Cannot make the folder {self}: {error}.") from error
        if not names <= {_LOCK, _FILES, _TEMPORARY}:
            raise BackendExists(
                f"{self} is not empty; open it with open_retriever(…, mode='rw'), or choose "
                "another folder."
            )
        self._hold()
        shutil.rmtree(self.files, ignore_errors=True)
        self.files.mkdir()

    def open(self) -> dict[str, Any]:
        """Hold what is there, and give the facts that were last written."""
        self._read()
        self._hold()
        try:
            return self._read()
        except BaseException:
            self.release()
            raise

    def write(self, facts: Mapping[str, Any]) -> None:
        """Replace the manifest; it is durable when this returns."""
        text = json.dumps({"kind": self._kind, "format": FORMAT, "facts": dict(facts)}, indent=1)
        try:
            write_text(self.path / _MANIFEST, text)
        except OSError as error:
            raise BackendUnavailable(f"Cannot write to {self}: {error}.") from error

    def release(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def remove(self) -> None:
        """Undo :meth:`claim`, for a creation that failed."""
        self.release()
        shutil.rmtree(self.files, ignore_errors=True)
        for name in (_MANIFEST, _TEMPORARY, _LOCK):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # someone else's files stay, and their folder
            self.path.rmdir()

    def _hold(self) -> None:
        try:
            self._lock = WriterLock(self.path / _LOCK)
        except LockedError as error:
            raise LockedError(
                f"{self} is open in {error.holder}; its engine lets one process open it at a time, "
                "for reading too. Close it there first.",
                holder=error.holder,
            ) from None
        except OSError as error:
            raise BackendUnavailable(f"Cannot lock {self}: {error}.") from error

    def _read(self) -> dict[str, Any]:
        try:
            manifest = json.loads((self.path / _MANIFEST).read_text(encoding="utf-8"))
            kind, written_as = manifest["kind"], manifest["format"]
            facts: dict[str, Any] = manifest["facts"] if kind == self._kind else {}
        except (FileNotFoundError, NotADirectoryError):
            here = "no index" if os.path.lexists(self.path) else "nothing"
            raise BackendNotFound(
                f"There is {here} at {self}; make one with create_retriever(url, vectors), or "
                "check the path."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptData(
                f"{self.path / _MANIFEST} cannot be read: {error}.", path=str(self)
            ) from error
        if kind != self._kind:
            raise CorruptData(f"{self} holds a {kind!r}, not a {self._kind!r}.", path=str(self))
        if written_as != FORMAT:
            raise IncompatibleFormat(
                f"{self} is in format {written_as} of {kind!r}; this release reads format "
                f"{FORMAT}. Build it again, or use the release that wrote it.",
                path=str(self),
            )
        return facts
