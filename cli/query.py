"""``itemspace sql``: one SELECT with table functions over the mapped tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import InvalidOption
from .lookup import opened_space
from .output import FormatOption, OutputFormat, print_rows, say, write_rows
from .settings import DatabaseOption, SpaceOption


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT, in the database's dialect.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", help="What :name stands for: name=value, JSON or a text."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long a statement may take.")] = 10.0,
    output: FormatOption = OutputFormat.TABLE,
    out: Annotated[
        Path | None, typer.Option(help="A new file instead: .parquet, .csv or .json by its name.")
    ] = None,
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Rows of one SELECT, read-only; beside tables may stand similar(item, k) and others.

    The functions are similar(item_id, k), for_user(user_id, k) and near(vector as JSON, k): tables
    of item_id, score and rank, as in

    SELECT i.title, s.score FROM similar('sku-42') AS s JOIN item AS i ON i.item_id = s.item_id
    WHERE i.price < 50 ORDER BY s.score DESC LIMIT 10
    """
    parameters = dict(map(_read, parameter or ()))
    with opened_space(database, space) as opened:
        rows = opened.sql(query, parameters, seconds=seconds)
    if out is None:
        print_rows(rows, output)
        return
    write_rows(out, rows)
    say(f"{len(rows)} rows are in {out}; {rows.completeness}, version {rows.version}; {rows.plan}")


def _read(written: str) -> tuple[str, Any]:
    name, equals, value = written.partition("=")
    if not equals or not name.isidentifier():
        raise InvalidOption(
            f"A parameter is given as name=value; received {written!r}.",
            option="parameter",
            received=written,
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sql)
