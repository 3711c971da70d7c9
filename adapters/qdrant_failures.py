"""What the failures of Qdrant's embedded engine are."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.errors import BackendError, BackendUnavailable, CorruptData
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
def failing_as(kind: type[BackendError | CorruptData], folder: EngineFolder) -> Iterator[None]:
    """Raise what the engine raises as ``kind``, or as :class:`BackendUnavailable`.

    That is bare ``Exception``, and Rust's panics, which are ``BaseException``.
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
        raise kind(f"Qdrant fails at {folder}: {reason}.") from error
