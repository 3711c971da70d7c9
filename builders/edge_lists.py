"""Files of edges: CSV with a header, Parquet, or ``.edg``, as columns of ids and weights."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.duck import connect_duckdb, quoted
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
    if not path.is_file():
        raise InputError(f"There is no file {path}; check the path.", path=str(path))
    is_parquet = path.suffix.lower() in _PARQUET
    with connect_duckdb(preserve_insertion_order="true") as db:
        try:
            edges = _open(db, path)
            columns = _columns(edges.columns, (source, target, weight), path)
            return _read(edges, columns, path)
        except db_error() as error:
            reason = str(error).partition("\n")[0]
            kind = CorruptData if is_parquet else InputError
            raise kind(f"{path} cannot be read as edges: {reason}.", path=str(path)) from error


def db_error() -> type[Exception]:
    """DuckDB's own errors."""
    import duckdb

    return duckdb.Error


def _open(db: Any, path: Path) -> Any:
    """The file as a relation; text as text throughout."""
    name = glob.escape(str(path))
    if path.suffix.lower() in _PARQUET:
        return db.read_parquet(name)
    with path.open("rb") as stream:
        first = stream.readline(1 << 16)
    if not first.strip() and path.suffix.lower() != ".gz":
        raise EmptyInput(f"{path} has no edges: its first line is empty.", path=str(path))
    if path.suffix.lower() in _BARE:
        mark = "\t" if b"\t" in first else " "
        width = len(first.split())
        names = ("source", "target", "weight")[:width]
        if not 2 <= width <= 3:
            raise InputError(
                f"Expected two or three columns in {path}, source, target and weight; its first "
                f"line is {first[:60]!r}.",
                path=str(path),
            )
        kinds = dict.fromkeys(names, "VARCHAR")
        return db.read_csv(name, header=False, sep=mark, auto_detect=False, columns=kinds)
    return db.read_csv(name, header=True, all_varchar=True)


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


def _read(edges: Any, columns: list[str], path: Path) -> Edges:
    ends = [quoted(column) for column in columns[:2]]
    plain = [f"coalesce(bool_and(try_cast({end} AS BIGINT)::VARCHAR = {end}::VARCHAR), true)"
             for end in ends]  # fmt: skip
    count, *facts = edges.aggregate(f"count(*), {' AND '.join(plain)}").fetchall()[0]
    if not count:
        raise EmptyInput(f"{path} has no edges.", path=str(path))
    kind = "BIGINT" if facts[0] else "VARCHAR"
    chosen = [f"{end}::{kind} AS c{at}" for at, end in enumerate(ends)]
    if len(columns) == 3:
        chosen.append(f"try_cast({quoted(columns[2])} AS DOUBLE) AS c2")
    found = edges.project(", ".join(chosen)).fetchnumpy()
    for at, column in enumerate(columns):
        missing = _missing(found[f"c{at}"])
        if missing.any():
            row = int(np.argmax(missing))
            value = edges.project(quoted(column)).limit(1, row).fetchall()[0][0]
            bare = path.suffix.lower() in _BARE | _PARQUET
            reason = "the id is missing" if at < 2 else "the weight is no number"
            raise BadRow(
                f"Line {row + 1 if bare else row + 2} of {path}, column {column!r}: {reason} "
                f"({value!r}). Repair or drop it; {int(missing.sum())} such rows in all.",
                path=str(path),
                line=row + 1 if bare else row + 2,
                column=column,
                value=value,
                reason=reason,
            )
    weights = np.asarray(found["c2"]) if len(columns) == 3 else None
    return Edges(Ids(np.asarray(found["c0"])), Ids(np.asarray(found["c1"])), weights)


def _missing(values: Any) -> npt.NDArray[np.bool_]:
    if np.ma.isMaskedArray(values):
        return np.ma.getmaskarray(values)
    if values.dtype == object:
        return np.array([value is None for value in values], dtype=np.bool_)
    return np.zeros(len(values), dtype=np.bool_)
