"""What a file says of items, read as ``ingest`` would read it, but into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.duck import quoted
from ..core.errors import MissingColumn
from ..core.ids import IdKind, Ids
from ..core.side_information import SideInformation
from .reading import Audit, ColumnType, Field, Reading
from .sources import Source, open_source


def read_item_file(
    path: str | Path, columns: Sequence[str], *, id_column: str = "item_id", id_kind: IdKind
) -> tuple[SideInformation, list[str]]:
    """Some columns of a CSV or Parquet file, a row per item.

    Parameters
    ----------
    id_kind
        Of the items that the file's are to stand beside.

    Returns
    -------
    side
        In the file's order. Values are of the type that the whole column has, so that they equal
        those that ``ingest`` loads.
    report
        Sentences: columns that the file lacks, and numbers that are NaN or infinite: no values.

    Raises
    ------
    MissingColumn
        The file lacks the ids, or all of the columns.
    BadRow
        The first row that cannot be read; nothing is skipped.
    DuplicateIds
        An item twice.
    InputError, CorruptData, EmptyInput
        See :func:`.open_source`.
    """
    source = open_source(Path(path))
    wanted = list(dict.fromkeys(columns))
    names = [name for name in wanted if name in source.columns]
    if id_column not in source.columns or not names:
        raise _missing(source, id_column, wanted)
    id_type = ColumnType.INTEGER if id_kind == "int" else ColumnType.TEXT
    values = [Field(name, quoted(name)) for name in names if name != id_column]
    reading = Reading(source, [Field(id_column, quoted(id_column), "id", id_type), *values])
    types = {name: kind or ColumnType.TEXT for name, kind in reading.found.items()}
    audit = reading.audit(types)
    if audit.faults:
        raise audit.faults[0].to_error(source, "Correct it.")
    rows = [row for batch in reading.rows(types) for row in batch]
    read = zip(*rows, strict=True) if rows else ((),) * len(reading.fields)
    found = {known.name: column for known, column in zip(reading.fields, read, strict=True)}
    nothing = [None] * len(rows)
    side = SideInformation(
        Ids(found[id_column], id_kind), {name: found.get(name, nothing) for name in wanted}
    )
    return side, _report(source, set(wanted) - set(names), audit)


def _report(source: Source, absent: set[str], audit: Audit) -> list[str]:
    file = source.path.name
    return [f"{file} has no column {name!r}." for name in sorted(absent)] + [
        f"{file}: {count:,} values of {name} are NaN or infinite, taken as no value."
        for name, count in audit.not_finite.items()
    ]


def _missing(source: Source, id_column: str, wanted: Sequence[str]) -> MissingColumn:
    there, column = ", ".join(source.columns), id_column
    what = (
        f"{source.path} has no column {id_column!r} of ids; it has: {there}. Give the ids that "
        "name, or say theirs to cold-start (--id-column)."
    )
    if id_column in source.columns:
        column = next(iter(wanted), "")
        what = f"{source.path} has none of the columns {', '.join(wanted)}; it has: {there}."
    return MissingColumn(what, path=str(source.path), column=column, columns=list(source.columns))
