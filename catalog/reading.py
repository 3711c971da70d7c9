"""Rows of a file as columns of a table: types found, rows checked, rows streamed.

A file is read once for its types, once for its checks and once for its rows, each time in a
stream; nothing here knows SQLAlchemy. Text files are read as text throughout and typed by *all*
their values, so that ``007`` stays the text it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast

from ..core.duck import quoted
from ..core.errors import BadRow, InputError
from ..core.ids import MAX_ID_LENGTH
from .sources import Source, reading_duckdb

BATCH = 50_000
_LARGEST_SECOND = 2.0**53

REASONS = {
    "empty id": "the id is empty",
    "id not an integer": "the column holds integer ids, and this is none that fits int64",
    "id too long": f"the id has more than {MAX_ID_LENGTH} characters",
    "NUL character": "the text holds a NUL character, which databases do not store",
    "no timestamp": "the timestamp is empty",
    "not a timestamp": "expected Unix seconds, a date or an ISO timestamp",
    "fractional timestamp": "the table's timestamps are whole seconds",
    "wrong type": "the value does not fit the column's type",
    "missing columns": "the row has fewer columns than the header",
    "too many columns": "the row has more columns than the header",
    "invalid encoding": "the row is not UTF-8",
    "unquoted value": "a quote is not closed, or text follows a closing quote",
    "line size over maximum": "the row is longer than 2 MB",
}


class ColumnType(StrEnum):
    """What a column holds; the value is DuckDB's name of the type."""

    INTEGER = "BIGINT"
    NUMBER = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"
    TEXT = "VARCHAR"


Types = Mapping[str, ColumnType]


@dataclass(frozen=True)
class Field:
    """A column of the table: a DuckDB expression over the file's columns.

    ``type`` declares what the values must be; ``None`` takes what is found.
    """

    name: str
    expression: str
    role: Literal["id", "time", "value"] = "value"
    type: ColumnType | None = None


class Fault(NamedTuple):
    """A kind of bad row in a file: how many, and the first of them."""

    line: int
    """From 1: the line of a text file (header included), the row of a Parquet file."""
    kind: str
    column: str | None
    value: str | None
    rows: int

    @property
    def reason(self) -> str:
        """What is wrong, in words."""
        return REASONS.get(self.kind, self.kind)

    def told(self, source: Source) -> str:
        """Where it is in the file, and what is wrong."""
        what = "row" if source.delimiter is None else "line"
        column = f", column {self.column}" if self.column else ""
        value = "" if self.value is None else f" (received {self.value[:80]!r})"
        return f"{source.path}, {what} {self.line}{column}: {self.reason}{value}"

    def to_error(self, source: Source, advice: str) -> BadRow:
        """The error that tells of it, and what to do."""
        return BadRow(
            f"{self.told(source)}. {advice}",
            path=str(source.path),
            line=self.line,
            column=self.column,
            value=self.value,
            reason=self.reason,
        )


@dataclass(frozen=True)
class Audit:
    """What the checks of a file found."""

    rows: int
    """Rows that can be loaded."""
    faults: list[Fault]
    """By line of the first example."""
    not_finite: dict[str, int] = field(default_factory=dict)
    """Column → how many NaN or infinite numbers it holds."""
    latest: float | None = None
    """The largest timestamp, Unix seconds."""

    @property
    def bad_rows(self) -> int:
        """Rows that cannot be loaded."""
        return sum(fault.rows for fault in self.faults)


class Reading:
    """The rows of one file as columns of one table."""

    def __init__(self, source: Source, fields: Sequence[Field]) -> None:
        self.source, self.fields = source, fields
        with self._open() as db:
            raw = db.execute(f"DESCRIBE {self._raw()}", source.parameters).fetchall()
        self._columns = [
            _Column(known, *_normalised(known.name, row[1], source.delimiter is not None))
            for known, row in zip(fields, raw, strict=True)
        ]
        for column in self._columns:
            if column.field.role == "id" and column.has not in _ID_TYPES:
                raise InputError(
                    f"The ids in column {column.field.name!r} of {source.path} are of type "
                    f"{column.has}; ids are texts or integers.",
                    path=str(source.path),
                )

    @cached_property
    def found(self) -> dict[str, ColumnType | None]:
        """Column → its type by all values of the file; ``None`` where all are NULL."""
        guesses = {c.field.name: c.profile() for c in self._columns if c.profile()}
        found = {c.field.name: c.static_type() for c in self._columns}
        if guesses:
            with self._open() as db:
                sql = f"SELECT {', '.join(guesses.values())} FROM ({self._selection()})"
                row = db.execute(sql, self.source.parameters).fetchall()[0]
            found |= {name: _TYPES[value] for name, value in zip(guesses, row, strict=True)}
        return found

    def audit(self, types: Types) -> Audit:
        """Check every row against the types of the table."""
        checks = self._checks(types)
        numbers = [c for c in self._columns if c.is_number(types[c.field.name])]
        extra = [c.not_finite() for c in numbers]
        times = [f"max({c.seconds()})" for c in self._columns if c.field.role == "time"]
        sums = "".join(f", {sql}" for sql in [*extra, *times])
        with self._open() as db:
            selection = self._selection("store_rejects")
            rows = db.execute(
                f"SELECT {_fault(checks)} AS _fault, count(*){sums} FROM ({selection}) GROUP BY 1",
                self.source.parameters,
            ).fetchall()
            rejected = [] if self.source.delimiter is None else db.execute(_REJECTED).fetchall()
        nothing: tuple[Any, ...] = (None, 0, *[None] * (len(extra) + 1))
        clean = next((row for row in rows if row[0] is None), nothing)
        counts = {row[0]: row[1] for row in rows if row[0] is not None}
        spoiled = {c.field.name: n for c, n in zip(numbers, clean[2:], strict=False) if n}
        faults = self._faults(checks, counts, rejected)
        return Audit(clean[1], faults, spoiled, clean[2 + len(extra)] if times else None)

    def rows(self, types: Types) -> Iterator[list[tuple[Any, ...]]]:
        """The rows that pass :meth:`audit`, in the file's order, in batches."""
        with self._open() as db:
            db.execute(self._clean(types), self.source.parameters)
            while batch := db.fetchmany(BATCH):
                yield batch

    def duplicates(self, types: Types, name: str) -> list[Any]:
        """Up to five values that stand more than once in a column."""
        sql = f"SELECT {quoted(name)} FROM ({self._clean(types)}) GROUP BY 1 HAVING count(*) > 1"
        with self._open() as db:
            found = db.execute(f"{sql} ORDER BY 1 LIMIT 5", self.source.parameters).fetchall()
        return [row[0] for row in found]

    def _open(self) -> Any:
        return reading_duckdb(self.source.path, is_parquet=self.source.delimiter is None)

    def _raw(self, rejects: str = "ignore_errors") -> str:
        columns = ", ".join(f"{f.expression} AS {quoted(f.name)}" for f in self.fields)
        return f"SELECT {columns} FROM {self.source.relation(rejects)}"

    def _selection(self, rejects: str = "ignore_errors") -> str:
        columns = ", ".join(f"{c.sql} AS {quoted(c.field.name)}" for c in self._columns)
        return f"SELECT {columns} FROM ({self._raw(rejects)})"

    def _clean(self, types: Types) -> str:
        columns = ", ".join(
            f"{c.converted(types[c.field.name])} AS {quoted(c.field.name)}" for c in self._columns
        )
        fault = _fault(self._checks(types))
        return f"SELECT {columns} FROM ({self._selection()}) WHERE {fault} IS NULL"

    def _checks(self, types: Types) -> list[_Check]:
        return [check for c in self._columns for check in c.checks(types[c.field.name])]

    def _faults(
        self, checks: list[_Check], counts: dict[int, int], rejected: list[Any]
    ) -> list[Fault]:
        firsts = self._first_rows(checks) if counts else []
        records = {row[0] for row in rejected}
        rows: dict[int, int] = {}
        lines: dict[int, int] = {}
        if self.source.delimiter is not None and (firsts or rejected):
            rows, lines = self.source.lines_of({row[1] for row in firsts}, records)
        faults = [
            Fault(rows.get(row, row), checks[n].kind, checks[n].column, value, counts[n])
            for n, row, value in firsts
        ]
        kinds: dict[str, list[Any]] = {}
        for row in rejected:
            kinds.setdefault(row[1].lower(), []).append(row)
        for kind, same in kinds.items():
            record, _, column, text = same[0]
            value = (text or "").strip("\r\n")
            faults.append(Fault(lines.get(record, record), kind, column, value, len(same)))
        return sorted(faults, key=lambda fault: fault.line)

    def _first_rows(self, checks: list[_Check]) -> list[Any]:
        values = " ".join(
            f"WHEN {n} THEN CAST({quoted(check.column)} AS VARCHAR)"
            for n, check in enumerate(checks)
        )
        sql = (
            f"SELECT _fault, min(_row), min_by(_value, _row) FROM (SELECT _row, _fault, "
            f"CASE _fault {values} END AS _value FROM (SELECT *, row_number() OVER () AS _row, "
            f"{_fault(checks)} AS _fault FROM ({self._selection()}))) "
            "WHERE _fault IS NOT NULL GROUP BY _fault"
        )
        with self._open() as db:
            return cast(list[Any], db.execute(sql, self.source.parameters).fetchall())


_REJECTED = (
    "SELECT DISTINCT ON (line) line, error_type, column_name, csv_line[:200] "
    "FROM reject_errors ORDER BY line, column_idx"
)
_ID_TYPES = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.TEXT)
# The bits of _Column.profile, all values of a column together, and what they allow.
_TYPES: dict[int | bool | None, ColumnType | None] = {
    None: None,
    0: ColumnType.TEXT,
    2: ColumnType.NUMBER,
    3: ColumnType.INTEGER,
    4: ColumnType.BOOLEAN,
    16: ColumnType.TIMESTAMP,
    24: ColumnType.DATE,
}


class _Check(NamedTuple):
    kind: str
    column: str
    condition: str


@dataclass(frozen=True)
class _Column:
    """A field over a file: SQL that gives values of type ``has``; a guess if that is only text."""

    field: Field
    sql: str
    has: ColumnType
    is_guess: bool

    @property
    def name(self) -> str:
        return quoted(self.field.name)

    @property
    def text(self) -> str:
        return self.name if self.has == ColumnType.TEXT else f"CAST({self.name} AS VARCHAR)"

    def static_type(self) -> ColumnType | None:
        if self.field.type is not None:
            return self.field.type
        if self.field.role == "id" and self.has == ColumnType.NUMBER:
            return ColumnType.INTEGER
        return self.has

    def profile(self) -> str:
        """An aggregate with a key of ``_TYPES``, empty where the type is known anyway."""
        if self.field.type is not None:
            return ""
        if self.field.role == "time" and self.has not in (ColumnType.INTEGER, ColumnType.NUMBER):
            time = self.seconds()
            return f"bit_and(CASE WHEN isfinite({time}) THEN 2 + ({time} = floor({time}))::INT END)"
        if not self.is_guess:
            return ""
        whole = f"TRY_CAST({self.name} AS BIGINT)::VARCHAR = {self.name}"
        if self.field.role == "id":
            return f"bit_and(CASE WHEN {self.name} IS NOT NULL THEN if({whole}, 3, 0) END)"
        return f"""bit_and(CASE WHEN {self.name} IS NULL THEN NULL
            WHEN {whole} THEN 3
            WHEN regexp_full_match({self.name}, '{_NUMBER}') THEN 2
            WHEN lower({self.name}) IN ('true', 'false') THEN 4
            WHEN TRY_CAST({self.name} AS TIMESTAMPTZ) IS NULL THEN 0
            WHEN regexp_full_match({self.name}, '{_DAY}') THEN 24
            WHEN regexp_matches({self.name}, '^{_DAY}[T ]') THEN 16 ELSE 0 END)"""

    def seconds(self) -> str:
        """Unix seconds as DOUBLE; NULL where the value is no time."""
        if self.has in (ColumnType.INTEGER, ColumnType.NUMBER):
            return f"CAST({self.name} AS DOUBLE)"
        if self.has in (ColumnType.DATE, ColumnType.TIMESTAMP):
            return f"(epoch_us(TRY_CAST({self.name} AS TIMESTAMP)) / 1e6)"
        date = f"CASE WHEN regexp_matches({self.text}, '^{_DAY}') THEN {self.text} END"
        return (
            f"coalesce(TRY_CAST({self.text} AS DOUBLE), "
            f"epoch_us(TRY_CAST({date} AS TIMESTAMPTZ)) / 1e6)"
        )

    def converted(self, target: ColumnType) -> str:
        """The value as the table stores it; NULL where it does not fit."""
        if self.field.role == "time":
            return f"TRY_CAST({self.seconds()} AS {target})"
        if target == ColumnType.INTEGER or (
            self.field.role == "id" and self.has == ColumnType.NUMBER
        ):
            return f"CAST({self._integer()} AS {target})"
        if target == ColumnType.NUMBER:
            return f"CASE WHEN isfinite({self._number()}) THEN {self._number()} END"
        if target == ColumnType.TIMESTAMP and self.has == ColumnType.TEXT:
            return f"CAST(TRY_CAST({self.name} AS TIMESTAMPTZ) AS TIMESTAMP)"
        return f"TRY_CAST({self.text} AS {target})" if target != self.has else self.name

    def is_number(self, target: ColumnType) -> bool:
        """Whether NaN and infinities are possible and become NULL."""
        return self.field.role == "value" and target == ColumnType.NUMBER

    def checks(self, target: ColumnType) -> list[_Check]:
        """What makes a row bad, in the order in which it is told."""
        value, is_text = self.text, self.has == ColumnType.TEXT
        found: list[tuple[str, str]] = []
        if self.field.role == "id":
            found.append(("empty id", f"coalesce({value}, '') = ''"))
            if target == ColumnType.INTEGER or self.has == ColumnType.NUMBER:
                found.append(("id not an integer", f"{self.converted(target)} IS NULL"))
            found.append(("id too long", f"length({value}) > {MAX_ID_LENGTH}"))
        elif self.field.role == "time":
            inside = f"coalesce(abs({self.seconds()}) <= {_LARGEST_SECOND}, false)"
            found.append(("no timestamp", f"{self.name} IS NULL"))
            found.append(("not a timestamp", f"NOT {inside}"))
            if target == ColumnType.INTEGER:
                whole = f"{self.seconds()} = floor({self.seconds()})"
                found.append(("fractional timestamp", f"NOT ({whole})"))
        elif target == ColumnType.NUMBER:
            fits = f"{self._number()} IS NOT NULL"
            found.append(("wrong type", f"{self.name} IS NOT NULL AND NOT ({fits})"))
        elif target not in (self.has, ColumnType.TEXT):
            fits = f"{self.converted(target)} IS NOT NULL"
            found.append(("wrong type", f"{self.name} IS NOT NULL AND NOT ({fits})"))
        if is_text and target == ColumnType.TEXT:
            found.append(("NUL character", f"contains({self.name}, chr(0))"))
        return [_Check(kind, self.field.name, condition) for kind, condition in found]

    def not_finite(self) -> str:
        """An aggregate: how many values are NaN or infinite."""
        return f"count_if(NOT isfinite({self._number()}))"

    def _number(self) -> str:
        # DuckDB refuses to bind a cast from DATE to DOUBLE, even TRY_CAST: by way of text.
        is_plain = self.has in (ColumnType.INTEGER, ColumnType.NUMBER)
        return f"TRY_CAST({self.name if is_plain else self.text} AS DOUBLE)"

    def _integer(self) -> str:
        if self.has == ColumnType.TEXT:
            whole = f"TRY_CAST({self.name} AS BIGINT)"
            return f"CASE WHEN {whole}::VARCHAR = {self.name} THEN {whole} END"
        if self.has == ColumnType.NUMBER:
            exact = f"{self.name} = trunc({self.name}) AND abs({self.name}) < {_LARGEST_SECOND}"
            return f"CASE WHEN {exact} THEN CAST({self.name} AS BIGINT) END"
        return self.name if self.has == ColumnType.INTEGER else f"TRY_CAST({self.text} AS BIGINT)"


# Numbers written as numbers are: not "007.5", not "+49" and no integer beyond int64.
_NUMBER = r"-?(0|[1-9][0-9]*)?\.[0-9]+([eE][+-]?[0-9]+)?|-?(0|[1-9][0-9]*)[eE][+-]?[0-9]+|" + (
    r"(?i:nan|[+-]?inf(inity)?)"
)
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}) | frozenset(
    {"UTINYINT", "USMALLINT", "UINTEGER"}
)
_WIDE = frozenset({"UBIGINT", "HUGEINT", "UHUGEINT"})


def _normalised(name: str, raw: str, is_text_file: bool) -> tuple[str, ColumnType, bool]:
    """SQL that gives one of our types, that type, and whether the values must tell the rest."""
    column = quoted(name)
    if raw in _INTEGERS:
        has = ColumnType.INTEGER
    elif raw.startswith(("DECIMAL", "FLOAT", "DOUBLE")) and not raw.endswith("]"):
        has = ColumnType.NUMBER
    elif raw.startswith("TIMESTAMP") and not raw.endswith("]"):
        has = ColumnType.TIMESTAMP
    elif raw in ("BOOLEAN", "DATE"):
        has = ColumnType(raw)
    elif raw.endswith("[]"):
        return f"array_to_string(CAST({column} AS VARCHAR[]), '|')", ColumnType.TEXT, False
    else:
        is_guess = raw in _WIDE or (is_text_file and raw == "VARCHAR")
        return f"CAST({column} AS VARCHAR)", ColumnType.TEXT, is_guess
    return f"CAST({column} AS {has})", has, False


def _fault(checks: list[_Check]) -> str:
    whens = " ".join(f"WHEN {check.condition} THEN {n}" for n, check in enumerate(checks))
    return f"CASE {whens} ELSE NULL END" if checks else "CAST(NULL AS INT)"
