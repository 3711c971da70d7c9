"""What the commands print: tables for people, JSON for programs, progress for the patient."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..core.progress import Progress as Report
from ..space import Rows

#: Progress and notes go to the error stream, so that the output can be piped.
notes = Console(stderr=True, highlight=False)
_WIDEST_PIPE = 200


class OutputFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[
    OutputFormat, typer.Option("--format", help="A table, or one JSON object.")
]


def say(text: str) -> None:
    """One line for the person, on the error stream."""
    notes.print(text, markup=False, soft_wrap=True)


def print_rows(rows: Rows, output: OutputFormat, columns: Sequence[str] | None = None) -> None:
    """The rows of a lookup with their completeness, plan and version."""
    score = rows.keys[-1]  # the command selects it last
    shown = [name for name in rows.keys if columns is None or name in columns or name == score]
    records = [{name: row._mapping[name] for name in shown} for row in rows]
    if output is OutputFormat.JSON:
        answer = {
            "rows": records,
            "completeness": rows.completeness,
            "plan": vars(rows.plan),
            "version": rows.version,
            "source": rows.source,
        }
        print(json.dumps(answer, ensure_ascii=False, default=str))
        return
    print_table(shown, ([record[name] for name in shown] for record in records))
    source = "" if rows.source is None else f", {rows.source}"
    say(f"{rows.completeness}: {len(rows)} rows, version {rows.version}{source}; {rows.plan}")


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
