"""Behaviour logs and item tables from CSV or Parquet into ordinary SQL tables.

Every file is checked whole before the first row is written, and all files of a call go into one
transaction.
"""

from __future__ import annotations

import glob
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, delete, func, insert, select

from ..core.duck import quoted
from ..core.errors import (
    AlreadyIngested,
    DuplicateIds,
    EmptyInput,
    InputError,
    InvalidOption,
    MissingColumn,
    UnmappedTable,
)
from ..core.ids import IdKind
from ..core.progress import Progress
from .bookkeeping import ingest_table
from .candidates import is_among
from .engines import translated_errors
from .mapping import EVENT_NUMBER, INTERACTION, ITEM
from .reading import Audit, ColumnType, Field, Reading
from .schema import ensure
from .sources import Source, open_source
from .tables import (
    create_log_index,
    declared_types,
    open_table,
    sender,
    writing,
)

Files = Path | str | Sequence[Path | str]

# Other names under which a column is taken where its own is absent: case and "_" do not count.
ALIASES = {
    "item_id": ("itemid", "movieid", "productid", "articleid", "sku", "asin", "item"),
    "user_id": ("userid", "customerid", "visitorid", "user"),
    "timestamp": ("timestamp", "ts", "time", "datetime", "date", "unixtime", "eventtime"),
}
_MILLISECONDS = 1e11


@dataclass(frozen=True)
class ItemColumns:
    """Which column of an item file holds the ids.

    A name left at its default may also stand under one of :data:`ALIASES`; any other name must
    be there exactly. All other columns are loaded under their own names.
    """

    item_id: str = "item_id"


@dataclass(frozen=True)
class InteractionColumns:
    """Which columns of a log hold users, items and times; names as in :class:`ItemColumns`.

    A log without ``timestamp`` (left at its default) is taken too; its order is the file's.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"


@dataclass(frozen=True)
class IngestReport:
    """What was loaded."""

    rows: dict[str, int] = field(default_factory=dict)
    """Table → rows written."""
    bad_rows: dict[str, int] = field(default_factory=dict)
    """Kind of fault → rows left out."""
    examples: dict[str, str] = field(default_factory=dict)
    """Kind of fault → the first such row: file, line, column, value."""
    notes: list[str] = field(default_factory=list)
    """Sentences about what was assumed or changed."""
    seconds: float = 0.0
    """Wall time, seconds."""

    def __str__(self) -> str:
        """What a person wants to know, one thing per line."""
        loaded = ", ".join(f"{count:,} rows into {name}" for name, count in self.rows.items())
        skipped = [
            f"Skipped {count:,} rows: {kind}; the first: {self.examples[kind]}"
            for kind, count in self.bad_rows.items()
        ]
        return "\n".join([f"Loaded {loaded} in {self.seconds:.1f} s", *self.notes, *skipped])


@dataclass(frozen=True)
class Load:
    """Files for one table, and how their columns become its columns."""

    table: str
    sources: Sequence[Source]
    fields: Callable[[Source, list[str]], list[Field]]
    """From a file (and the list of notes, to add to) to the fields of the table."""


def ingest(
    engine: Engine,
    *,
    items: Files | None = None,
    interactions: Files | None = None,
    item_columns: ItemColumns | None = None,
    interaction_columns: InteractionColumns | None = None,
    skip_bad_rows: bool = False,
    again: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Load items into the table ``item`` and a log into ``interaction``, in one transaction.

    Ids become BIGINT if all are canonical integers (``7``, not ``007``), else VARCHAR(255), the
    same for the items of both tables; times become Unix seconds (UTC where no zone is given),
    BIGINT or, with fractions, DOUBLE; events without times are numbered in the column
    ``event_number``. Other columns are typed by all their values; NaN and
    infinities become NULL and are told in the notes. Lists of Parquet are joined by ``|``. Tables
    that exist keep their types: what does not fit is a bad row.

    Parameters
    ----------
    items, interactions
        A file, a folder of Parquet files, a wildcard, or several of these.
    skip_bad_rows
        Load the other rows and count the bad ones, instead of raising for the first.
    again
        Take bytes that were ingested before. Items replace those of the same ids; events are
        appended once more.
    progress
        Called with (done, total, what is being done).

    Raises
    ------
    InputError, MissingColumn, EmptyInput, BadRow, CorruptData
        A file that cannot be taken; nothing is loaded.
    DuplicateIds
        An item twice, in the files or (without ``again``) in the table; nothing is loaded.
    AlreadyIngested
        The same bytes went into the same table before.
    DatabaseUnavailable, SchemaOutdated, CatalogError, UnmappedTable
        The database does not work, refuses the rows, or has a table that cannot take them.
    """
    item_names = item_columns or ItemColumns()
    log_names = interaction_columns or InteractionColumns()
    loads = []
    if items is not None:
        loads.append(Load(ITEM, open_files(items), lambda s, n: _item_fields(s, item_names, n)))
    if interactions is not None:
        files = open_files(interactions)
        loads.append(Load(INTERACTION, files, lambda s, n: _log_fields(s, log_names, n)))
    if not loads:
        raise InvalidOption(
            "Nothing to ingest; name a file of items or of interactions.",
            option="interactions",
            received=None,
        )
    return load(engine, loads, skip_bad_rows=skip_bad_rows, again=again, progress=progress)


def open_files(files: Files) -> list[Source]:
    """Open a file, a folder of Parquet files, a wildcard, or several of these, sorted by name."""
    named = [files] if isinstance(files, Path | str) else list(files)
    return [open_source(path) for name in named for path in _expanded(Path(name))]


def load(
    engine: Engine,
    loads: Sequence[Load],
    *,
    skip_bad_rows: bool,
    again: bool,
    progress: Progress | None,
) -> IngestReport:
    """Check all files, then write them in one transaction; see :func:`ingest`."""
    start = time.perf_counter()
    report = IngestReport()
    ensure(engine)
    _check_known(engine, loads, again, report)
    parts = _plan(engine, loads, report)
    for done, part in enumerate(parts, start=1):
        part.check(skip_bad_rows, report)
        if progress is not None:
            progress(done, len(parts), "checking the files")
    with writing(engine) as connection:
        metadata = MetaData()
        tables = {p.name: open_table(connection, metadata, p.name, p.types) for p in parts}
        if again and ITEM in tables:
            _remove_replaced(connection, tables[ITEM], parts)
        for part in parts:
            written = _write(connection, tables[part.name], part, progress)
            report.rows[part.name] = report.rows.get(part.name, 0) + written
        if INTERACTION in tables:
            create_log_index(connection, tables[INTERACTION])
    return replace(report, seconds=time.perf_counter() - start)


# Files and their columns


def _expanded(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(path.glob("*.parquet"))
    elif glob.has_magic(str(path)) and not path.exists():
        found = sorted(Path(name) for name in glob.glob(str(path)))  # noqa: PTH207
    else:
        return [path]
    if not found:
        raise InputError(f"No Parquet files in {path}, or none match it.", path=str(path))
    return found


def _item_fields(source: Source, names: ItemColumns, notes: list[str]) -> list[Field]:
    return _fields(source, {"item_id": names.item_id}, notes)


def _log_fields(source: Source, names: InteractionColumns, notes: list[str]) -> list[Field]:
    keys = {"item_id": names.item_id, "user_id": names.user_id, "timestamp": names.timestamp}
    return _fields(source, keys, notes)


def _fields(source: Source, keys: dict[str, str], notes: list[str]) -> list[Field]:
    chosen = {key: _find(source, key, name, notes) for key, name in keys.items()}
    fields = [
        Field(key, quoted(column), "time" if key == "timestamp" else "id")
        for key, column in chosen.items()
        if column is not None
    ]
    others = [name for name in source.columns if name not in chosen.values()]
    taken = {known.name for known in fields}
    for name in others:
        if name.casefold() in taken:
            raise InputError(
                f"{source.path} has a column {name!r} besides {chosen[name.casefold()]!r}, which "
                f"was named as {name.casefold()}; rename or drop one of them.",
                path=str(source.path),
            )
    return fields + [Field(name, quoted(name)) for name in others]


def _find(source: Source, key: str, name: str, notes: list[str]) -> str | None:
    if name in source.columns:
        return name
    if name == key:
        plain = {column.casefold().replace("_", ""): column for column in source.columns}
        for alias in ALIASES[key]:
            if alias in plain:
                notes.append(f"{source.path.name}: {plain[alias]} was taken as {key}.")
                return plain[alias]
        if key == "timestamp":
            notes.append(f"{source.path.name} has no timestamps; its order counts.")
            return None
    raise _missing(source, key, name)


def _missing(source: Source, key: str, name: str) -> MissingColumn:
    return MissingColumn(
        f"{source.path} has no column {name!r}; it has: {', '.join(source.columns)}. Say which "
        f"column is meant (--column {key}=…).",
        path=str(source.path),
        column=name,
        columns=list(source.columns),
    )


# The plan: one part per file, and the types of each table's columns


@dataclass
class _Part:
    name: str
    source: Source
    reading: Reading
    types: dict[str, ColumnType]
    audit: Audit = field(default_factory=lambda: Audit(0, []))

    def check(self, skip_bad_rows: bool, report: IngestReport) -> None:
        """Raise for the first bad row, or count them all; raise for duplicate items."""
        self.audit = audit = self.reading.audit(self.types)
        path = self.source.path
        if audit.faults and not skip_bad_rows:
            raise audit.faults[0].to_error(
                self.source,
                "Correct it, or skip such rows with skip_bad_rows=True (--skip-bad-rows). Nothing "
                "was loaded.",
            )
        if not audit.rows:
            why = f"none of its {audit.bad_rows} rows can be loaded; " if audit.faults else ""
            more = f"the first: {audit.faults[0].told(self.source)}" if audit.faults else ""
            raise EmptyInput(f"{path} has no rows to load. {why}{more}".strip(), path=str(path))
        for fault in audit.faults:
            report.bad_rows[fault.kind] = report.bad_rows.get(fault.kind, 0) + fault.rows
            report.examples.setdefault(fault.kind, fault.told(self.source))
        for column, count in audit.not_finite.items():
            report.notes.append(
                f"{path.name}: {count} values of {column} are NaN or infinite; stored as NULL."
            )
        if audit.latest is not None and audit.latest > _MILLISECONDS:
            report.notes.append(
                f"{path.name}: timestamps up to {audit.latest:.0f} look like milliseconds, but "
                "were loaded as Unix seconds."
            )
        if self.name == ITEM:
            _check_unique(self.reading.duplicates(self.types, "item_id"), f"in {path}")


def _plan(engine: Engine, loads: Sequence[Load], report: IngestReport) -> list[_Part]:
    declared = declared_types(engine)
    parts = []
    for wanted in loads:
        for source in wanted.sources:
            fields = wanted.fields(source, report.notes)
            fields = _fitting(wanted.table, source, fields, declared, report.notes)
            parts.append(_Part(wanted.table, source, Reading(source, fields), {}))
    items = [found["item_id"] for found in declared.values() if "item_id" in found]
    item_type = items[0] if items else _common("id", [p.reading.found["item_id"] for p in parts])
    for name in {part.name for part in parts}:
        same = [part for part in parts if part.name == name]
        types = declared.get(name) or _found_types(same)
        types = types | {"item_id": declared.get(name, {}).get("item_id", item_type)}
        if name == INTERACTION and "timestamp" not in types:
            types[EVENT_NUMBER] = ColumnType.INTEGER
        for part in same:
            part.types = types
    return parts


def _found_types(parts: list[_Part]) -> dict[str, ColumnType]:
    roles = {known.name: known.role for part in parts for known in part.reading.fields}
    for part in parts:
        if "timestamp" in roles and "timestamp" not in part.reading.found:
            raise _missing(part.source, "timestamp", "timestamp")
    return {
        name: _common(role, [part.reading.found.get(name) for part in parts])
        for name, role in roles.items()
    }


def _common(role: str, found: list[ColumnType | None]) -> ColumnType:
    kinds = {kind for kind in found if kind is not None}
    if len(kinds) == 1:
        return kinds.pop()
    if kinds == {ColumnType.INTEGER, ColumnType.NUMBER}:
        return ColumnType.NUMBER
    if kinds == {ColumnType.DATE, ColumnType.TIMESTAMP}:
        return ColumnType.TIMESTAMP
    return ColumnType.INTEGER if role == "time" else ColumnType.TEXT


def _fitting(
    table: str,
    source: Source,
    fields: list[Field],
    declared: dict[str, dict[str, ColumnType]],
    notes: list[str],
) -> list[Field]:
    """The fields that a table which exists has; all of them for a new table."""
    if table not in declared:
        return fields
    columns = declared[table]
    for known in fields:
        right = columns.get(known.name) in (ColumnType.INTEGER, ColumnType.TEXT)
        if known.role == "time":
            right = columns.get(known.name) in (None, ColumnType.INTEGER, ColumnType.NUMBER)
        if known.role != "value" and not right:
            raise UnmappedTable(
                f"The table {table} exists, but its column {known.name} is missing or not of a "
                "type that ingest writes (ids: integer or text, times: numbers); rename the table."
            )
    if "timestamp" in columns and not any(known.role == "time" for known in fields):
        raise _missing(source, "timestamp", "timestamp")
    left = [known.name for known in fields if known.name not in columns]
    if left:
        notes.append(
            f"{source.path.name}: the table {table} has no columns {', '.join(left)}; left out."
        )
    return [known for known in fields if known.name in columns]


# Writing


def _write(connection: Connection, table: Table, part: _Part, progress: Progress | None) -> int:
    names = [known.name for known in part.reading.fields]
    numbered = EVENT_NUMBER in part.types and EVENT_NUMBER not in names
    last = connection.scalar(select(func.max(table.c[EVENT_NUMBER]))) if numbered else None
    number = 0 if last is None else last + 1
    send = sender(connection, table, [*names, EVENT_NUMBER] if numbered else names)
    done = 0
    for rows in part.reading.rows(part.types):
        if numbered:
            rows = [(*row, at) for at, row in enumerate(rows, start=number + done)]  # noqa: PLW2901
        if table.name == ITEM:
            _check_unique(_present(connection, table, part, rows), "in the table item already")
        send(rows)
        done += len(rows)
        if progress is not None:
            progress(done, part.audit.rows, f"loading {part.source.path.name}")
    connection.execute(
        insert(ingest_table).values(
            source=str(part.source.path.absolute())[-1024:],
            sha256=part.source.sha256,
            target=table.name,
            rows=done,
            bad_rows=part.audit.bad_rows,
            ingested_at=datetime.now(UTC),
        )
    )
    return done


def _remove_replaced(connection: Connection, table: Table, parts: list[_Part]) -> None:
    """Delete the items that the files bring again."""
    for part in parts:
        for rows in part.reading.rows(part.types) if part.name == ITEM else ():
            connection.execute(delete(table).where(_among(connection, table, part, rows)))


def _present(connection: Connection, table: Table, part: _Part, rows: list[Any]) -> list[Any]:
    found = select(table.c.item_id).where(_among(connection, table, part, rows)).limit(5)
    return list(connection.scalars(found))


def _among(connection: Connection, table: Table, part: _Part, rows: list[Any]) -> Any:
    at = [known.name for known in part.reading.fields].index("item_id")
    kind: IdKind = "int" if part.types["item_id"] == ColumnType.INTEGER else "str"
    return is_among(connection.dialect.name, table.c.item_id, kind, [row[at] for row in rows])


# Refusals


def _check_known(engine: Engine, loads: Sequence[Load], again: bool, report: IngestReport) -> None:
    seen: dict[tuple[str, str], str] = {}
    with translated_errors(engine), engine.connect() as connection:
        for part in loads:
            for source in part.sources:
                key = (part.table, source.sha256)
                found = connection.scalar(
                    select(ingest_table.c.ingested_at)
                    .where(ingest_table.c.sha256 == key[1], ingest_table.c.target == key[0])
                    .order_by(ingest_table.c.id.desc())
                    .limit(1)
                )
                when = f"on {_utc(found):%Y-%m-%d %H:%M:%S} UTC" if found else seen.get(key)
                if when is not None:
                    _refuse_or_note(source, part.table, when, again, report)
                seen[key] = "in this call"


def _utc(moment: datetime) -> datetime:
    """In UTC; SQLite gives back what it was given, without its zone."""
    return moment.astimezone(UTC) if moment.tzinfo else moment


def _refuse_or_note(
    source: Source, table: str, when: str, again: bool, report: IngestReport
) -> None:
    if not again:
        raise AlreadyIngested(
            f"The bytes of {source.path} were ingested into the table {table} {when}; to take them "
            "again, pass again=True (--again).",
            path=str(source.path),
        )
    done = "replaced" if table == ITEM else "appended once more"
    report.notes.append(
        f"{source.path.name} was ingested into {table} {when}; its rows were {done}."
    )


def _check_unique(ids: list[Any], where: str) -> None:
    if ids:
        shown = ", ".join(map(repr, ids[:5]))
        raise DuplicateIds(
            f"Items stand more than once {where}: {shown}; each may stand once. To replace items "
            "of the table, pass again=True (--again). Nothing was loaded.",
            ids=ids,
        )
