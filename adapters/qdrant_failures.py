"""What the failures of Qdrant's embedded engine are."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.errors import BackendError, BackendUnavailable, CorruptData
from ..core.ids import Ids
from .engine_folder import EngineFolder

#: What comes of a manifest or a point that is not as it was written.
MALFORMED = (AttributeError, KeyError, TypeError, ValueError)
#: Failures of the system, whatever the files are.
_SYSTEM = (errno.ENOMEM, errno.EACCES, errno.ENFILE, errno.EMFILE, errno.ENOSPC, errno.EROFS)


def damaged(folder: EngineFolder, reason: str) -> CorruptData:
    """The error for a folder that is not as it was written."""
    return CorruptData(
        f"{folder} is not a whole Qdrant shard: {reason}; restore it from a backup or build it "
        "again.",
        path=str(folder),
    )


@contextmanager
def failing_as(
    kind: type[BackendError | CorruptData], folder: EngineFolder, done: Ids | None = None
) -> Iterator[None]:
    """Raise what the engine raises as ``kind``, or as :class:`BackendUnavailable`.

    That is bare ``Exception``, and Rust's panics, which are ``BaseException``. ``done`` are ids
    of the same call that went in before; the error's ``ids``.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        reason = str(error).removeprefix("Service runtime error: ")
        if any(re.search(rf"os error {code}\b", reason) for code in _SYSTEM):
            kind = BackendUnavailable
        if kind is CorruptData:
            raise damaged(folder, reason) from error
        details = {"ids": done.to_list()} if done else {}
        went_in = f" The first {len(done)} ids of the call went in." if done else ""
        raise kind(f"Qdrant fails at {folder}: {reason}.{went_in}", **details) from error
