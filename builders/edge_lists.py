"""Files of edges: CSV with a header, Parquet, or ``.edg``, as columns of ids and weights."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.duck import connect_duckdb, open_text, quoted, read_header
from ..core.errors import BadRow, CorruptData, EmptyInput, InputError, MissingColumn
from ..core.ids import Ids

_PARQUET = frozenset({".parquet", ".pq"})
#: Without a header: source, target and perhaps weight, set apart by tabs or spaces.
_BARE = frozenset({".edg", ".edgelist"})


class Edges(NamedTuple):
    """An edge per line."""

    sources: Ids
    targets: Ids
    weights: npt.NDArray[np.float64] | None
    """``None`` where the file has none."""


class _Table(NamedTuple):
    """A file as a FROM item of SQL."""

    text: str
    parameters: dict[str, Any]
    columns: list[str]
    header: int
    """Lines before the first edge."""


def read_edges(
    path: Path, *, source: str | None = None, target: str | None = None, weight: str | None = None
) -> Edges:
    """Read a file of edges, a line each.

    ``.parquet`` and ``.pq`` are Parquet; ``.edg`` and ``.edgelist`` text without a header whose
    columns are set apart by tabs or spaces; anything else is delimited text with a header
    (``.gz`` is unpacked). Ids are integers where all of them are, in plain form (``7``, not
    ``007``); else strings.

    Parameters
    ----------
    source, target, weight
        Names of columns; left out: the first, the second, and a third one, if there is one, for
        the weights.

    Raises
    ------
    InputError
        No such file, or it cannot be read; :class:`CorruptData` for Parquet that is damaged.
    EmptyInput
        No edges.
    MissingColumn
        A column that is not there.
    BadRow
        An id that is missing, or a weight that is no number, with its line.
    """
    import duckdb

    if not path.is_file():
        raise InputError(f"There is no file {path}; check the path.", path=str(path))
    with connect_duckdb(preserve_insertion_order="true") as db:
        try:
            table = _open(db, path)
            columns = _columns(table.columns, (source, target, weight), path)
            return _read(db, table, columns, path)
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0]
            kind = CorruptData if path.suffix.lower() in _PARQUET else InputError
            raise kind(f"{path} cannot be read as edges: {reason}.", path=str(path)) from error


def _open(db: Any, path: Path) -> _Table:
    parameters: dict[str, Any] = {"path": glob.escape(str(path))}
    if path.suffix.lower() in _PARQUET:
        found = db.execute("DESCRIBE SELECT * FROM read_parquet($path)", parameters).fetchall()
        return _Table("read_parquet($path)", parameters, [row[0] for row in found], 0)
    if path.suffix.lower() in _BARE:
        with open_text(path) as stream:
            first = stream.readline()
        delimiter, header = "\t" if "\t" in first else " ", 0
        names = ["source", "target", "weight"][: len(first.split())]
        if len(first.split()) not in {2, 3}:
            raise InputError(
                f"Expected two or three columns in {path}, source, target and weight; its first "
                f"line is {first[:60]!r}.",
                path=str(path),
            )
    else:
        (delimiter, names), header = read_header(path), 1
    if not names:
        raise EmptyInput(f"{path} is empty.", path=str(path))
    parameters |= {"delimiter": delimiter, "columns": dict.fromkeys(names, "VARCHAR")}
    text = (
        f"read_csv($path, auto_detect=false, header={bool(header)}, delim=$delimiter, "
        "quote='\"', escape='\"', columns=$columns)"
    )
    return _Table(text, parameters, names, header)


def _columns(found: list[str], wanted: tuple[str | None, ...], path: Path) -> list[str]:
    """The names of source, target and, if there is one, weight."""
    for column in wanted:
        if column is not None and column not in found:
            raise MissingColumn(
                f"{path} has no column {column!r}; it has: {', '.join(found)}.",
                path=str(path),
                column=column,
                columns=found,
            )
    free = [column for column in found if column not in wanted]
    chosen = [column or (free.pop(0) if free else "") for column in wanted]
    if not chosen[1]:
        raise MissingColumn(
            f"{path} has one column, {found[0]!r}; edges have a source and a target.",
            path=str(path),
            column="target",
            columns=found,
        )
    return [column for column in chosen if column]


def _read(db: Any, table: _Table, columns: list[str], path: Path) -> Edges:
    def select(what: str, more: str = "") -> Any:
        return db.execute(f"SELECT {what} FROM {table.text} {more}", table.parameters)

    # NULLIF, for DuckDB moves a bare TRY_CAST into its CSV reader, where it fails like a CAST.
    texts = [f"nullif({quoted(column)}::VARCHAR, '')" for column in columns]
    plain = " AND ".join(
        f"bool_and({text} IS NOT DISTINCT FROM try_cast({text} AS BIGINT)::VARCHAR)"
        for text in texts[:2]
    )
    count, whole = select(f"count(*), {plain}").fetchone()
    if not count:
        raise EmptyInput(f"{path} has no edges.", path=str(path))
    kind = "BIGINT" if whole else "VARCHAR"
    chosen = [f"{text}::{kind} AS c{at}" for at, text in enumerate(texts[:2])]
    chosen += [f"try_cast({text} AS DOUBLE) AS c2" for text in texts[2:]]
    found = select(", ".join(chosen)).fetchnumpy()
    for at, column in enumerate(columns):
        missing = np.ma.getmaskarray(found[f"c{at}"])
        if missing.any():
            row = int(np.argmax(missing))
            value = select(quoted(column), f"LIMIT 1 OFFSET {row}").fetchone()[0]
            line = row + table.header + 1
            reason = "the id is missing" if at < 2 else "the weight is no number"
            raise BadRow(
                f"Line {line} of {path}, column {column!r}: {reason} ({value!r}). Repair or drop "
                f"it; {int(missing.sum())} such rows in all.",
                path=str(path),
                line=line,
                column=column,
                value=value,
                reason=reason,
            )
    sources, targets = (Ids(np.asarray(found[name])) for name in ("c0", "c1"))
    return Edges(sources, targets, np.asarray(found["c2"]) if len(columns) == 3 else None)
