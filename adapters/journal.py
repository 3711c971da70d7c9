"""What changed since a generation was written: a SQLite file in its folder, appended to by flushes.

Only SQLite's own transactions write it, so a kill at any moment leaves whole entries. Each entry is
four buffers, little-endian; those of all entries, joined, are the buffers of all changes.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BackendUnavailable, CorruptData
from ..core.ids import IdKind
from ..core.vectors import check_matrix, ids_from_arrays
from .row_store import Changes, RowStore

#: Changes (rows that came or died) that a journal holds, as a share of the live rows, and at least.
#: Beside a million 64-d vectors under the LSH, a full one makes opening take 0.2 s instead of 0.1 s
#: with a short one; a share of a quarter, 0.7 s. A generation takes 0.5 s: 8 µs for each change.
MOST_SHARE, LEAST = 1 / 16, 4096
#: Bytes of vectors that a journal holds: it is read at once, and SQLite's blobs end at 10⁹ bytes.
MOST_BYTES = 1 << 28
_FILE = "changes.sqlite"
_SCHEMA = """
    CREATE TABLE entry (
        number INTEGER PRIMARY KEY, ids BLOB, lengths BLOB, vectors BLOB, dead BLOB
    );
    CREATE TABLE state (checksum BLOB);
"""
#: How long to wait for a reader or writer that is at it; each takes milliseconds.
_PATIENCE_SECONDS = 60.0
Entry = tuple[bytes, bytes, bytes, bytes]
Tables = tuple[list[Entry], list[tuple[bytes]]]


class Journal:
    """The changes of one generation, in the order of the flushes that made them durable.

    The file is made with the generation, so that a missing one is noticed. Its checksum starts
    from the generation's and goes on with every entry: entries that are altered, missing, too many
    or another generation's are noticed too. A file that was put back as it was some flushes ago is
    not: that is a whole older state.
    """

    def __init__(self, path: Path, checksum: bytes, size: int) -> None:
        self._path, self._checksum, self._size = path, checksum, size

    @classmethod
    def create(cls, generation: Path, checksum: str) -> Journal:
        """An empty one in the folder of a generation, whose manifest has the checksum.

        Raises ``sqlite3.Error`` where it cannot be written.
        """
        path, start = generation / _FILE, bytes.fromhex(checksum)
        with _connection(path, "rwc") as connection:
            connection.executescript(f"BEGIN;{_SCHEMA}")
            connection.execute("INSERT INTO state VALUES (?)", [start])
            connection.execute("COMMIT")
        return cls(path, start, 0)

    @classmethod
    def read(
        cls, generation: Path, checksum: str, dim: int, kind: IdKind, *, writable: bool
    ) -> tuple[Journal, Changes]:
        """The journal of a generation, and all its changes as one.

        Parameters
        ----------
        writable
            Whether a flush that was killed may be rolled back in place. Else nothing is written
            beside the generation, whatever state it is in.

        Raises
        ------
        CorruptData
            It is missing, or not what was written, or not changes of ``dim`` columns under ids of
            ``kind``.
        BackendUnavailable
            Someone holds it for a minute.
        """
        path, running = generation / _FILE, bytes.fromhex(checksum)
        try:
            entries, state = _read(path, writable)
        except (sqlite3.Error, OSError) as error:
            if _code(error) == sqlite3.SQLITE_BUSY:
                raise BackendUnavailable(f"{path} stays locked: {error}; try again.") from error
            raise _damaged(path, str(error)) from error
        for entry in entries:
            if not all(isinstance(buffer, bytes) for buffer in entry):
                raise _damaged(path, "an entry is no buffers")
            running = _following(running, entry)
        if state != [(running,)]:
            raise _damaged(path, "its checksum differs")
        try:
            changes = _changes(entries, dim, kind)
        except ValueError as error:
            raise _damaged(path, str(error)) from error
        return cls(path, running, len(changes.ids) + len(changes.dead)), changes

    def has_room(self, store: RowStore) -> bool:
        """Whether it stays short beside the store, and quickly read, with the store's changes."""
        most: float = min(
            max(LEAST, MOST_SHARE * store.live), MOST_BYTES / (4 * store.matrix.shape[1])
        )
        return self._size + store.changed <= most

    def append(self, changes: Changes) -> None:
        """Make changes durable: they are when it returns.

        Raises ``sqlite3.Error`` where that fails. Whether they are in is then unknown: the journal
        must not be used any more.
        """
        entry = _entry(changes)
        checksum = _following(self._checksum, entry)
        with _connection(self._path, "rw") as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT INTO entry (ids, lengths, vectors, dead) VALUES (?, ?, ?, ?)", entry
            )
            renewed = connection.execute(
                "UPDATE state SET checksum = ? WHERE checksum = ?", [checksum, self._checksum]
            )
            if renewed.rowcount != 1:
                raise sqlite3.DatabaseError("it is not as this process left it")
            connection.execute("COMMIT")
        self._checksum = checksum
        self._size += len(changes.ids) + len(changes.dead)


def _entry(changes: Changes) -> Entry:
    ids = changes.ids.buffers
    names = _bytes_of(ids["ids"], "<i8") if "ids" in ids else ids["ids_utf8"].tobytes()
    lengths = _bytes_of(np.diff(ids["ids_offsets"]), "<i8") if "ids_offsets" in ids else b""
    return names, lengths, _bytes_of(changes.matrix, "<f4"), _bytes_of(changes.dead, "<i8")


def _bytes_of(array: npt.NDArray[Any], kind: str) -> bytes:
    return np.ascontiguousarray(array, kind).tobytes()


def _changes(entries: list[Entry], dim: int, kind: IdKind) -> Changes:
    """All entries as one; ``ValueError`` where they are nothing of the kind."""
    joined = [b"".join(entry[column] for entry in entries) for column in range(4)]
    names, lengths = joined[0], np.frombuffer(joined[1], "<i8").astype(np.int64)
    if kind == "str":
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        arrays = {"ids_utf8": np.frombuffer(names, np.uint8), "ids_offsets": offsets}
    elif len(lengths):
        raise ValueError("its ids are strings, those of the index integers")
    else:
        arrays = {"ids": np.frombuffer(names, "<i8").astype(np.int64)}
    ids = ids_from_arrays(arrays)
    numbers = np.frombuffer(joined[2], "<f4").astype(np.float32, copy=False)
    dead = np.frombuffer(joined[3], "<i8").astype(np.int64)
    return Changes(ids, check_matrix(numbers.reshape(len(ids), dim)), dead)


def _following(checksum: bytes, entry: Entry) -> bytes:
    """The checksum of what had ``checksum``, with one more entry."""
    digest = hashlib.sha256(checksum)
    for buffer in entry:
        digest.update(len(buffer).to_bytes(8, "little"))
        digest.update(buffer)
    return digest.digest()


def _read(path: Path, writable: bool) -> Tables:
    """Both tables, as of one moment."""
    while True:
        try:
            return _tables(path, "rw" if writable else "ro")
        except sqlite3.Error as error:
            if _code(error) != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
        found = _rolled_back(path)
        if found is not None:
            return found


def _rolled_back(path: Path) -> Tables | None:
    """Both tables before a flush that was killed; None where a writer has rolled it back itself."""
    undo = path.with_name(f"{path.name}-journal")
    with TemporaryDirectory() as folder, suppress(FileNotFoundError):
        before = undo.stat().st_mtime_ns
        for file in (undo, path):
            shutil.copyfile(file, Path(folder) / file.name)
        if undo.stat().st_mtime_ns == before:
            return _tables(Path(folder) / path.name, "rw")
    return None


def _tables(path: Path, mode: str) -> Tables:
    with _connection(path, mode) as connection:
        connection.execute("BEGIN")
        query = "SELECT ids, lengths, vectors, dead FROM entry ORDER BY number"
        entries = connection.execute(query).fetchall()
        return entries, connection.execute("SELECT checksum FROM state").fetchall()


@contextmanager
def _connection(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection of its own each time: none is held between flushes, or over a fork."""
    address = f"{path.resolve().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS, isolation_level=None)
    with closing(connection):
        # FULL, and the folder too: else a lost power could bring back the file that undoes a flush.
        connection.execute("PRAGMA synchronous = EXTRA")
        yield connection


def _code(error: Exception) -> int | None:
    """SQLite's own code; None where something else found the fault."""
    return getattr(error, "sqlite_errorcode", None)


def _damaged(path: Path, reason: str) -> CorruptData:
    return CorruptData(
        f"{path}, the changes since the last whole generation, is not what was written: {reason}; "
        "restore the index's folder from a backup or build it again.",
        path=str(path),
    )
