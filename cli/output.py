"""What the commands print: tables for people, JSON for programs, progress for the patient."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..core.duck import write_parquet
from ..core.errors import BackendExists, InputError, InvalidOption
from ..core.progress import Progress as Report
from ..core.storage import write_text
from ..space import Rows

#: Progress and notes go to the error stream, so that the output can be piped.
notes = Console(stderr=True, highlight=False)
_WIDEST_PIPE = 200


class OutputFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


FormatOption = Annotated[
    OutputFormat, typer.Option("--format", help="A table, one JSON object, or CSV.")
]


def say(text: str) -> None:
    """One line for the person, on the error stream."""
    notes.print(text, markup=False, soft_wrap=True)


def print_rows(rows: Rows, output: OutputFormat, columns: Sequence[str] | None = None) -> None:
    """The rows of a lookup with their completeness, plan and version."""
    score = rows.keys[-1]  # the command selects it last
    at = [
        place
        for place, name in enumerate(rows.keys)
        if columns is None or name in columns or name == score
    ]
    shown = [rows.keys[place] for place in at]
    cells = [[row[place] for place in at] for row in rows]
    if output is OutputFormat.JSON:
        print(json.dumps(_answer(rows, shown, cells), ensure_ascii=False, default=str))
        return
    print_lines(shown, cells, output)
    source = "" if rows.source is None else f", {rows.source}"
    say(f"{rows.completeness}: {len(rows)} rows, version {rows.version}{source}; {rows.plan}")


def write_rows(path: Path, rows: Rows) -> None:
    """The rows of a lookup into a new file: Parquet, CSV or JSON, by its name."""
    if path.exists():
        raise BackendExists(f"{path} exists already; remove it, or name another file.")
    names, kind = rows.keys, path.suffix.lower()
    try:
        if kind == ".json":
            text = json.dumps(_answer(rows, names, rows), ensure_ascii=False, default=str)
            write_text(path, text)
        elif kind == ".csv":
            with path.open("x", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([names, *rows])
        elif kind in (".parquet", ".pq"):
            write_parquet(path, names, rows)
        else:
            raise InvalidOption(
                f"A file of rows is .parquet, .csv or .json; received {path.name!r}.",
                option="out",
                received=str(path),
            )
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}.", path=str(path)) from error


def _answer(rows: Rows, names: Sequence[str], cells: Iterable[Sequence[Any]]) -> dict[str, Any]:
    return {
        "rows": [dict(zip(names, line, strict=True)) for line in cells],
        "completeness": rows.completeness,
        "plan": vars(rows.plan),
        "version": rows.version,
        "revision": rows.revision,
        "source": rows.source,
    }


def print_lines(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], output: OutputFormat
) -> None:
    """CSV where that is wanted, else a table, on the output stream."""
    if output is OutputFormat.CSV:
        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *rows])
    else:
        print_table(columns, rows)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on the output stream."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name == "score" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(*pair) for pair in zip(columns, row, strict=True)))
    width = None if sys.stdout.isatty() else _WIDEST_PIPE
    Console(width=width, highlight=False, markup=False).print(table)


def working(text: str) -> AbstractContextManager[object]:
    """A spinner on the error stream while something of unknown length goes on."""
    return notes.status(text)


@contextmanager
def progress_bar() -> Iterator[Report]:
    """Bars on the error stream, one per text; nothing where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=notes, disable=not notes.is_terminal
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def report(done: int, total: int | None, text: str) -> None:
            if text not in tasks:
                tasks[text] = bar.add_task(text, total=total, count="")
            count = f"{done:,}" if total is None else f"{done:,} of {total:,}"
            bar.update(tasks[text], completed=done, total=total, count=count)

        yield report


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if name == "score" else f"{value:g}"
    return str(value)
