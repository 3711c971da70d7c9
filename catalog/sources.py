"""CSV and Parquet files as DuckDB sees them: columns, delimiter, checksum, lines."""

from __future__ import annotations

import csv
import glob
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from ..core.duck import connect_duckdb, open_text, read_header
from ..core.errors import BadRow, CorruptData, EmptyInput, InputError

MEMORY_LIMIT = "512MB"
_PARQUET = frozenset({".parquet", ".pq"})


@dataclass(frozen=True)
class Source:
    """One file; made by :func:`open_source`."""

    path: Path
    columns: tuple[str, ...]
    delimiter: str | None
    """``None`` for Parquet."""

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file's bytes, in hex."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def relation(self, rejects: str = "ignore_errors") -> str:
        """The file as a FROM item; its parameters are :attr:`parameters`."""
        if self.delimiter is None:
            return "read_parquet($path)"
        return (
            "read_csv($path, auto_detect=false, header=true, delim=$delimiter, quote='\"', "
            f"escape='\"', columns=$columns, {rejects}=true)"
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """The bound parameters of :meth:`relation`."""
        # DuckDB expands wildcards in paths even when they are bound.
        path = glob.escape(str(self.path))
        if self.delimiter is None:
            return {"path": path}
        columns = dict.fromkeys(self.columns, "VARCHAR")
        return {"path": path, "delimiter": self.delimiter, "columns": columns}

    def lines_of(self, rows: set[int], rejected: set[int]) -> tuple[dict[int, int], dict[int, int]]:
        """First lines of accepted rows (counted from 1) and of rejected records, as in an editor.

        DuckDB counts records (blank ones too), of which quoted line ends make several lines.
        """
        lines: tuple[dict[int, int], dict[int, int]] = ({}, {})
        accepted, line = 0, 1
        with open_text(self.path) as text:
            reader = csv.reader(text, delimiter=self.delimiter or ",")
            try:
                for number, record in enumerate(reader, start=1):
                    if number in rejected:
                        lines[1][number] = line
                    elif number > 1 and (record or len(self.columns) == 1):
                        accepted += 1
                        if accepted in rows:
                            lines[0][accepted] = line
                    line = reader.line_num + 1
            except csv.Error:  # a field beyond csv.field_size_limit: DuckDB's counts must do
                pass
        return lines


def open_source(path: Path) -> Source:
    """Look at a file's header; Parquet by its suffix, anything else is delimited UTF-8 text.

    The delimiter is the one of ``, ; tab |`` that the header holds most; ``.gz`` is unpacked.

    Raises
    ------
    InputError, EmptyInput, BadRow, CorruptData
        Not there or with unusable column names; no bytes; a header that is not UTF-8; no Parquet.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}; check the path.", path=str(path))
    if path.suffix.lower() in _PARQUET:
        with reading_duckdb(path, is_parquet=True) as db:
            parameters = {"path": glob.escape(str(path))}
            found = db.execute("DESCRIBE SELECT * FROM read_parquet($path)", parameters).fetchall()
        return Source(path, _checked_names(path, [row[0] for row in found]), None)
    delimiter, names = read_header(path)
    return Source(path, _checked_names(path, names), delimiter)


@contextmanager
def reading_duckdb(path: Path, *, is_parquet: bool) -> Iterator[Any]:
    """A DuckDB of its own that reaches no network and spills beside the system's other files."""
    with tempfile.TemporaryDirectory(prefix="itemspace-") as folder:
        db = connect_duckdb(
            memory_limit=MEMORY_LIMIT, preserve_insertion_order="true", temp_directory=folder
        )
        try:
            db.execute("SET TimeZone = 'UTC'")
            yield db
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            raise _unreadable(path, is_parquet, str(error).partition("\n")[0]) from error
        finally:
            db.close()


def _unreadable(path: Path, is_parquet: bool, reason: str) -> CorruptData | InputError:
    if is_parquet:
        text = f"{path} is no sound Parquet file ({reason}); write it again."
        return CorruptData(text, path=str(path))
    text = (
        f"{path} cannot be read as delimited text ({reason}); line ends that are partly CRLF and "
        "partly LF are a usual cause."
    )
    return InputError(text, path=str(path))


def _checked_names(path: Path, names: list[str]) -> tuple[str, ...]:
    where = str(path)
    if not any(names):
        raise EmptyInput(f"{path} is empty; expected a header and rows.", path=where)
    named = [name or f"column{n}" for n, name in enumerate(names)]
    for name in named:
        if any("\ud800" <= mark <= "\udfff" or mark == "\0" for mark in name):
            shown = name.encode(errors="surrogateescape").decode(errors="replace")
            raise BadRow(
                f"Line 1 of {path} is not UTF-8: {shown!r}; convert the file to UTF-8.",
                path=where,
                line=1,
                column=None,
                value=shown,
                reason="the row is not UTF-8",
            )
    folded = [name.casefold() for name in named]
    twice = sorted({name for name in named if folded.count(name.casefold()) > 1})
    if twice:
        raise InputError(
            f"{path} has columns whose names differ at most in case: {', '.join(twice)}; "
            "rename them.",
            path=where,
        )
    return tuple(named)
