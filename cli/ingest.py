"""``itemspace ingest``: files → SQL tables."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from ..catalog import open_engine
from ..catalog.ingest import InteractionColumns, ItemColumns
from ..catalog.ingest import ingest as load
from ..catalog.movielens import ingest_movielens
from ..core.errors import InvalidOption, UsageError
from .output import progress_bar, say
from .settings import DatabaseOption, Settings


def ingest(
    folder: Annotated[
        Path | None, typer.Argument(help="A MovieLens folder (movies.csv, ratings.csv).")
    ] = None,
    items: Annotated[
        list[Path] | None, typer.Option(help="CSV or Parquet of items; repeatable.")
    ] = None,
    interactions: Annotated[
        list[Path] | None, typer.Option(help="CSV or Parquet of events; repeatable.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            "-c",
            help="The file's name for item_id, user_id or timestamp: item_id=article; repeatable.",
        ),
    ] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Load the good rows and report the bad ones.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Load files that were loaded before once more.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Load items and interactions; all of it or, at the first bad row, nothing."""
    if (folder is None) == (not items and not interactions):
        raise UsageError("Name a MovieLens folder, or --items and --interactions files.")
    names = _named(column or [])
    if names and folder is not None:
        raise UsageError("A MovieLens folder has its own names of columns; leave out --column.")
    engine = open_engine(Settings.load(database=database).database, create=True)
    try:
        with progress_bar() as report:
            if folder is not None:
                done = ingest_movielens(
                    engine, folder, skip_bad_rows=skip_bad_rows, again=again, progress=report
                )
            else:
                done = load(
                    engine,
                    items=items or None,
                    interactions=interactions or None,
                    item_columns=ItemColumns(**{k: v for k, v in names.items() if k == "item_id"}),
                    interaction_columns=InteractionColumns(**names),
                    skip_bad_rows=skip_bad_rows,
                    again=again,
                    progress=report,
                )
    finally:
        engine.dispose()
    say(str(done))


def _named(texts: list[str]) -> dict[str, str]:
    """``["item_id=article"]`` as a dict, checked."""
    pairs = [text.partition("=") for text in texts]
    known = [field.name for field in fields(InteractionColumns)]
    for text, (key, _, name) in zip(texts, pairs, strict=True):
        if key not in known or not name:
            raise InvalidOption(
                f"{text!r} names no column; write one of {', '.join(known)}, then = and the "
                "file's name for it, as in item_id=article.",
                option="column",
                received=text,
            )
    return {key: name for key, _, name in pairs}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ingest)
