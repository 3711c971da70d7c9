"""The states of a training on disk: the newest in a folder, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ..core.errors import InvalidOption
from ..core.storage import open_directory, verify_directory, write_directory

Arrays = Mapping[str, npt.NDArray[Any]]


def write_state(
    folder: Path, epoch: int, kind: str, version: int, arrays: Arrays, meta: Mapping[str, Any]
) -> None:
    """Write the state after an epoch into a folder; older states go.

    ``meta`` holds the ``fingerprint`` by which :func:`read_state` knows the training again.
    """
    path = folder / f"epoch-{epoch:06d}"
    if not path.exists():
        write_directory(path, kind, version, arrays, meta)
    for other in folder.glob("epoch-*"):
        if other != path:
            shutil.rmtree(other, ignore_errors=True)


def read_state(
    folder: Path, kind: str, version: int, fingerprint: str
) -> tuple[Mapping[str, Any], Arrays] | None:
    """The meta and arrays, memory-mapped, of the newest state; None where there is none.

    Raises
    ------
    InvalidOption
        The state is of other options or other sequences.
    CorruptData
        It is damaged.
    """
    states = sorted(folder.glob("epoch-*"))
    if not states:
        return None
    verify_directory(states[-1], kind, version)
    meta, arrays = open_directory(states[-1], kind, version)
    if meta["fingerprint"] != fingerprint:
        raise InvalidOption(
            f"The checkpoint in {folder} is of other options or other sequences; choose "
            "another folder, or remove it to start over.",
            option="checkpoint",
            received=str(folder),
        )
    return meta, arrays
