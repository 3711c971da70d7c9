"""Many readers or one writer, between threads; one writer, between processes."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from ..core.errors import LockedError


class ReadWriteLock:
    """Shared for reading, exclusive for writing; a waiting writer goes before new readers."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False
        self._held_shared = _Held(self._start_reading, self._stop_reading)
        self._held_alone = _Held(self._start_writing, self._stop_writing)

    def read(self) -> AbstractContextManager[None]:
        """Hold it shared."""
        return self._held_shared

    def write(self) -> AbstractContextManager[None]:
        """Hold it alone."""
        return self._held_alone

    def _start_reading(self) -> None:
        with self._condition:
            while self._writing or self._writers_waiting:
                self._condition.wait()
            self._readers += 1

    def _stop_reading(self) -> None:
        with self._condition:
            self._readers -= 1
            if not self._readers:
                self._condition.notify_all()

    def _start_writing(self) -> None:
        with self._condition:
            self._writers_waiting += 1
            try:
                while self._writing or self._readers:
                    self._condition.wait()
            finally:
                self._writers_waiting -= 1
                self._condition.notify_all()
            self._writing = True

    def _stop_writing(self) -> None:
        with self._condition:
            self._writing = False
            self._condition.notify_all()


class _Held(AbstractContextManager[None]):
    """Calls one function on the way in and one on the way out, by any number of threads."""

    def __init__(self, start: Callable[[], None], stop: Callable[[], None]) -> None:
        self._start, self._stop = start, stop

    def __enter__(self) -> None:
        self._start()

    def __exit__(self, *_: object) -> None:
        self._stop()


class WriterLock:
    """An advisory lock on a file; released when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take it, or raise :class:`LockedError` naming the holder."""
        self._stream: IO[str] = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._stream.seek(0)
            holder = self._stream.read().strip() or "an unknown process"
            self._stream.close()
            raise LockedError(
                f"{path.parent} is being written by {holder}; close it there first, or open it "
                "with mode='r'.",
                holder=holder,
            ) from None
        _HELD.add(self)
        self._stream.truncate(0)
        self._stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._stream.flush()

    def release(self) -> None:
        """Give it back."""
        _HELD.discard(self)
        if not self._stream.closed:
            fcntl.flock(self._stream, fcntl.LOCK_UN)
            self._stream.close()


#: A forked child shares its parent's locks, and would hold them when the parent lets go.
_HELD: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _forget_locks() -> None:
    for lock in _HELD:
        lock._stream.close()


os.register_at_fork(after_in_child=_forget_locks)
