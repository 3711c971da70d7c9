"""``itemspace``: from a log to filtered neighbours, by command line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..core.errors import (
    BackendError,
    CatalogError,
    CorruptData,
    InputError,
    ItemspaceError,
    PluginError,
    UnsupportedError,
    UsageError,
)
from . import (
    bench,
    build,
    cold_start,
    database,
    evaluate,
    exchange,
    ingest,
    lookup,
    publish,
    query,
    recommend,
    side,
    tune,
    versions,
)
from .output import notes

#: What the shell sees; 2 is also what a misspelt option gives.
EXIT_CODES: dict[type[ItemspaceError], int] = {
    UsageError: 2,
    InputError: 3,
    CatalogError: 4,
    BackendError: 5,
    CorruptData: 6,
    PluginError: 7,
    UnsupportedError: 8,
}

app = typer.Typer(
    name="itemspace",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Behaviour logs to vectors, and SQL-driven item lookups over any vector backend.\n\n"
    "A first round: [bold]ingest[/] a log, [bold]build[/] vectors, [bold]publish[/] them, ask "
    "for what is [bold]similar[/]. Settings come from flags, ITEMSPACE_… variables or "
    "itemspace.toml.",
)
for group in (
    ingest,
    side,
    build,
    evaluate,
    tune,
    publish,
    versions,
    lookup,
    query,
    recommend,
    exchange,
    cold_start,
    bench,
):
    group.register(app)
app.add_typer(database.app, name="database")


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of all commands."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code (see ``EXIT_CODES``; 1 is a defect of ours)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        app([word for word in words if word != "--debug"], prog_name="itemspace")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except ItemspaceError as error:
        if debug:
            raise
        notes.print(f"itemspace: {error}", markup=False, soft_wrap=True, style="red")
        return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
    return 0
