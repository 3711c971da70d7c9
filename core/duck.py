"""Files as DuckDB reads and writes them: in memory, without the network, headers by our rule."""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from .errors import InputError


def connect_duckdb(**config: str) -> Any:
    """A connection that downloads nothing and draws nothing; close it, or use it in a ``with``."""
    import duckdb

    offline: dict[str, Any] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        **config,
    }
    connection = duckdb.connect(config=offline)
    connection.execute("SET enable_progress_bar = false")
    return connection


def quoted(name: str) -> str:
    """A column's name for SQL text."""
    return '"' + name.replace('"', '""') + '"'


def read_header(path: Path) -> tuple[str, list[str]]:
    """The delimiter and the names in the first record of a text file; ``.gz`` is unpacked.

    The delimiter is the one of ``, ; tab |`` that the header holds most. No names: no bytes.
    Raises :class:`InputError` where it cannot be read.
    """
    try:
        with open_text(path) as text:
            first = text.readline(1 << 20)
            delimiter = max(
                ",;\t|", key=lambda mark: len(next(csv.reader([first], delimiter=mark), []))
            )
            text.seek(0)
            return delimiter, next(csv.reader(text, delimiter=delimiter), [])
    except (OSError, EOFError, csv.Error) as error:
        raise InputError(
            f"{path} does not begin like a CSV file with a header: {error}.", path=str(path)
        ) from error


def open_text(path: Path) -> IO[str]:
    """A text file, unpacked if need be; what is not UTF-8 becomes surrogates."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    return cast(
        "IO[str]",
        opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline=""),
    )


#: DuckDB's types for Python's values; others are written as texts.
_PARQUET_TYPES: dict[type, str] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    Decimal: "DOUBLE",
    datetime: "TIMESTAMP",
    date: "DATE",
}


def write_parquet(path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows of plain values into a Parquet file, each column of the type of its values."""
    columns: dict[str, Any] = {}
    selected = []
    for at, name in enumerate(names):
        columns[f"c{at}"] = np.empty(len(rows), dtype=object)
        columns[f"c{at}"][:] = [row[at] for row in rows]
        kind = _common_type({type(value) for value in columns[f"c{at}"]})
        selected.append(f"CAST(c{at} AS {kind}) AS {quoted(name)}")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, connect_duckdb() as db:
        made = Path(folder) / "rows.parquet"
        db.register("rows", columns)
        db.execute(
            f"COPY (SELECT {', '.join(selected)} FROM rows) TO $made (FORMAT parquet)",
            {"made": str(made)},
        )
        made.rename(path)


def _common_type(kinds: set[type]) -> str:
    found = {_PARQUET_TYPES.get(kind, "VARCHAR") for kind in kinds - {type(None)}}
    if found == {"BIGINT", "DOUBLE"}:
        return "DOUBLE"
    return found.pop() if len(found) == 1 else "VARCHAR"
