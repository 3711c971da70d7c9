"""A folder of index generations: each written whole, one current, with a journal of changes."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import (
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    CorruptData,
    InvalidURL,
)
from ..core.storage import (
    open_directory,
    read_manifest,
    sync,
    verify_directory,
    write_directory,
    write_text,
)
from .journal import Journal
from .locks import WriterLock
from .row_store import RowStore

FORMAT = 3
_CURRENT = "CURRENT"
_LOCK = "lock"
_GENERATION = re.compile(r"\.?generation-(?P<number>\d{6,})(\.[0-9a-f]+\.tmp)?")
T = TypeVar("T")


class Generations:
    """``folder/CURRENT`` names the generation that counts.

    A flush appends to that generation's journal, or writes the next generation, with an empty one.
    Killed at any moment, the folder holds the state of the last flush that returned, or of the one
    that was going on; leftovers go with the next generation. Readers keep the files that they have
    opened (POSIX).
    """

    def __init__(self, folder: Path | None, scheme: str) -> None:
        if folder is None:
            raise InvalidURL(
                f"'{scheme}://' is in memory and ends with its process; to open a stored index "
                f"name its folder, as in '{scheme}:///data/items'.",
                url=f"{scheme}://",
            )
        self.folder, self._kind = folder, f"index:{scheme}"
        self._lock: WriterLock | None = None
        self._journal: Journal | None = None

    def claim(self) -> None:
        """Make the folder and lock it for writing; refuse one that is in use."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BackendUnavailable(f"Cannot make the folder {self.folder}: {error}.") from error
        # What a creation that was killed left behind is no index, and in nobody's way.
        if not all(_is_leftover(path) for path in self.folder.iterdir()):
            raise BackendExists(
                f"{self.folder} is not empty; open it with open_retriever(…, mode='rw'), or "
                "choose another folder."
            )
        self.lock()

    def remove(self) -> None:
        """Undo :meth:`claim`, for a creation that failed."""
        self.release()
        for path in self.folder.iterdir():
            if path.is_dir() and _GENERATION.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
            elif path.name in (_LOCK, _CURRENT):
                path.unlink()
        with suppress(OSError):  # someone else's files stay, and their folder
            self.folder.rmdir()

    def lock(self) -> None:
        """Become the one writer, or raise :class:`LockedError`."""
        if not self.folder.is_dir():
            raise self._not_found()
        self._lock = WriterLock(self.folder / _LOCK)

    def release(self) -> None:
        """Stop being the writer."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def read(self) -> tuple[dict[str, Any], RowStore, Path]:
        """Meta, rows with the journal's changes, and the folder of the index's own files.

        The index knows the rows of the generation, which come before those of the journal.
        """
        generation = self.current()
        try:
            meta, arrays = open_directory(generation, self._kind, FORMAT)
            checksum = read_manifest(generation, self._kind, FORMAT)["sha256"]
            store = RowStore.from_arrays(arrays)
            self._journal, changes = Journal.read(
                generation,
                checksum,
                store.matrix.shape[1],
                store.all_ids().kind,
                writable=self._lock is not None,
            )
            store.apply(changes)
            return meta, store, generation / "index"
        except CorruptData:
            raise
        except (KeyError, ValueError) as error:
            raise CorruptData(
                f"{generation} is not a whole index: {error}; restore the index's folder from a "
                "backup or build it again.",
                path=str(generation),
            ) from error

    def steadily(self, read: Callable[[], T]) -> T:
        """What ``read`` gives; again where a writer swapped generations beneath it."""
        while True:
            before = self.current()
            try:
                return read()
            except (CorruptData, FileNotFoundError):
                if self.current() == before:
                    raise

    def current(self) -> Path:
        """The folder of the current generation; :class:`BackendNotFound` where there is none."""
        try:
            name = (self.folder / _CURRENT).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise self._not_found() from None
        except (OSError, ValueError) as error:
            raise CorruptData(
                f"{self.folder / _CURRENT} cannot be read: {error}.", path=str(self.folder)
            ) from error
        if not name.startswith("generation-") or "/" in name:
            raise CorruptData(
                f"{self.folder / _CURRENT} names no generation: {name[:40]!r}.",
                path=str(self.folder),
            )
        return self.folder / name

    def verify(self) -> str:
        """Compare every byte of the current generation with its checksums.

        Its journal is compared whenever it is read.
        """
        return verify_directory(self.current(), self._kind, FORMAT)

    def append(self, store: RowStore) -> bool:
        """Make the changes of a store durable in the current generation's journal.

        False where the journal is ended, or would get too long: :meth:`write` a generation.
        """
        journal = self._journal
        if journal is None or not journal.has_room(store):
            return False
        # Ended, unless it is known that they went in, and once.
        self._journal = None
        with self._writing():
            journal.append(store.changes())
        store.settle()
        self._journal = journal
        return True

    def end_journal(self) -> None:
        """Let the next flush write a generation: changes alone no longer tell its state."""
        self._journal = None

    def write(
        self, meta: Mapping[str, Any], store: RowStore, save: Callable[[Path], None] | None
    ) -> None:
        """Write the next generation and make it the current one."""

        def save_index(folder: Path) -> None:
            (folder / "index").mkdir()
            if save is not None:
                save(folder / "index")

        found = (_GENERATION.fullmatch(path.name) for path in self.folder.iterdir())
        numbers = [int(match["number"]) for match in found if match]
        path = self.folder / f"generation-{max(numbers, default=0) + 1:06d}"
        with self._writing():
            arrays = store.to_arrays()
            checksum = write_directory(path, self._kind, FORMAT, arrays, meta, save_index)
            journal = Journal.create(path, checksum)
            sync(path)
            write_text(self.folder / _CURRENT, path.name)
        store.settle()
        self._journal = journal
        for leftover in self.folder.iterdir():
            if _GENERATION.fullmatch(leftover.name) and leftover != path:
                shutil.rmtree(leftover, ignore_errors=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise BackendUnavailable(
                f"Cannot write to {self.folder}: {error}; the last flushed state stands."
            ) from error

    def _not_found(self) -> BackendNotFound:
        here = "no index" if os.path.lexists(self.folder) else "nothing"
        return BackendNotFound(
            f"There is {here} at {self.folder}; make one with create_retriever(url, vectors), or "
            "check the path."
        )


def _is_leftover(path: Path) -> bool:
    return path.name == _LOCK or _GENERATION.fullmatch(path.name) is not None
