"""``itemspace ingest``: files → SQL tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..catalog import open_engine
from ..catalog.ingest import ingest as load
from ..catalog.movielens import ingest_movielens
from ..core.errors import UsageError
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
                    skip_bad_rows=skip_bad_rows,
                    again=again,
                    progress=report,
                )
    finally:
        engine.dispose()
    say(str(done))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ingest)
