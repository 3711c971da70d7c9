"""Directories of arrays: written whole or not at all, checksummed, memory-mapped, no pickle.

A directory holds one ``.npy`` file per array and ``manifest.json`` with the kind of thing it is,
the version of its format, and the SHA-256 and size of every file. It is written under a temporary
name beside its place, synced, and renamed into it: a reader sees all of it or nothing.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import BackendExists, CorruptData, IncompatibleFormat, MissingData

Array = npt.NDArray[Any]
MANIFEST = "manifest.json"
_BLOCK = 1 << 20
_TEMPORARY = ".{}.{}.tmp"


def write_directory(
    path: Path,
    kind: str,
    version: int,
    arrays: Mapping[str, Array],
    meta: Mapping[str, Any],
    extra: Callable[[Path], None] | None = None,
) -> str:
    """Write ``arrays`` and ``meta`` as a new directory and return its checksum.

    Parameters
    ----------
    path
        Where; :class:`BackendExists` if anything is there.
    kind, version
        Written into the manifest and asked for by :func:`open_directory`.
    meta
        Anything that JSON can hold.
    extra
        Called with the temporary folder to write further files into it.

    Returns
    -------
    str
        The SHA-256 of the manifest's content, which names those of all files: the checksum of
        the whole.
    """
    if path.exists():
        raise BackendExists(f"{path} exists already; choose another place or remove it first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / _TEMPORARY.format(path.name, secrets.token_hex(4))
    temporary.mkdir()
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        if extra is not None:
            extra(temporary)
        files = {
            file.relative_to(temporary).as_posix(): {
                "sha256": sha256_of(file),
                "bytes": file.stat().st_size,
            }
            for file in sorted(temporary.rglob("*"))
            if file.is_file()
        }
        manifest = {"kind": kind, "format": version, "meta": dict(meta), "files": files}
        checksum = _checksum(manifest)
        text = json.dumps(
            {**manifest, "sha256": checksum}, indent=1, ensure_ascii=False, allow_nan=False
        )
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        for file in temporary.rglob("*"):
            sync(file)
        sync(temporary)
        temporary.rename(path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return checksum


def remove_directory(path: Path) -> None:
    """Remove a directory, if it is there, and what processes that were killed left of it."""
    shutil.rmtree(path, ignore_errors=True)
    for left in path.parent.glob(_TEMPORARY.format(glob.escape(path.name), "*")):
        shutil.rmtree(left, ignore_errors=True)


def open_directory(path: Path, kind: str, version: int) -> tuple[dict[str, Any], dict[str, Array]]:
    """The manifest's ``meta`` and the arrays, memory-mapped; file sizes are checked, bytes not.

    Raises
    ------
    MissingData
        Nothing is at ``path``.
    IncompatibleFormat
        Another format version.
    CorruptData
        Another kind of thing, a missing or damaged file.
    """
    manifest = read_manifest(path, kind, version)
    arrays = {}
    for name, facts in manifest["files"].items():
        file = path / name
        if not file.is_file() or file.stat().st_size != facts["bytes"]:
            raise CorruptData(
                f"{file} is missing or of another length than was written; restore it from a "
                "backup or build it again.",
                path=str(file),
            )
        if file.parent == path and file.suffix == ".npy":
            arrays[file.stem] = load_array(file)
    return manifest["meta"], arrays


def read_manifest(path: Path, kind: str, version: int) -> dict[str, Any]:
    """The checked manifest of a directory; see :func:`open_directory` for the errors."""
    if not path.is_dir():
        raise MissingData(f"There is no {kind} at {path}; it was moved or removed.", path=str(path))
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        found, written_as = manifest["kind"], manifest["format"]
        checksum = manifest.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptData(
            f"{path / MANIFEST} cannot be read ({error}); this is no whole {kind} directory.",
            path=str(path),
        ) from error
    if found != kind:
        raise CorruptData(f"{path} holds a {found!r}, not a {kind!r}.", path=str(path))
    if written_as != version:
        raise IncompatibleFormat(
            f"{path} is in format {written_as} of {kind!r}; this release reads format {version}. "
            "Build it again, or use the release that wrote it.",
            path=str(path),
        )
    if _checksum(manifest) != checksum:
        raise _not_as_written(path / MANIFEST)
    return {**manifest, "sha256": checksum}


def verify_directory(path: Path, kind: str, version: int) -> str:
    """Read every byte and compare; returns the checksum of the whole as when it was written.

    Raises :class:`CorruptData` naming the first file that differs.
    """
    manifest = read_manifest(path, kind, version)
    for name, facts in manifest["files"].items():
        file = path / name
        if not file.is_file() or sha256_of(file) != facts["sha256"]:
            raise _not_as_written(file)
    return str(manifest["sha256"])


def load_array(file: Path) -> Array:
    """One ``.npy`` file, memory-mapped read-only; :class:`CorruptData` where it is none."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise CorruptData(f"{file} cannot be read: {error}.", path=str(file)) from error
    if not isinstance(array, np.ndarray):
        raise CorruptData(f"{file} is not a .npy file.", path=str(file))
    return array


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _checksum(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _not_as_written(file: Path) -> CorruptData:
    return CorruptData(
        f"{file} is not what was written (its checksum differs); restore it from a backup or "
        "build it again.",
        path=str(file),
    )


def write_text(path: Path, text: str) -> None:
    """Write or replace a text file, UTF-8, whole or not at all; durable when this returns.

    Meanwhile it is beside its place, as ``.<name>.tmp``.
    """
    temporary = path.parent / f".{path.name}.tmp"
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.rename(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Force a file's or directory's bytes to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
