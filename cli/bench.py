"""``itemspace bench``: backends beside each other on the same vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..catalog.builds import get_build
from ..core.conversions import format_of
from ..core.vectors import VectorSet
from ..evaluation.figures import check_figure
from ..evaluation.retrieval import compare_backends
from .output import FormatOption, OutputFormat, print_table, say, working
from .settings import DatabaseOption, Settings


def bench(
    backend: Annotated[
        list[str], typer.Option("--backend", "-b", help="Retriever URL; repeatable.")
    ],
    vectors: Annotated[
        Path | None,
        typer.Option(help="A file of vectors, or a folder of a build; the newest if left out."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many neighbours.", min=1)] = 10,
    queries: Annotated[
        int, typer.Option(help="How many of the vectors are asked for, and not loaded.", min=1)
    ] = 1000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all measures.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw recall against speed.")] = None,
    output: FormatOption = OutputFormat.TABLE,
    database: DatabaseOption = None,
) -> None:
    """Load vectors into backends and measure recall, speed, filters, memory, load and disk.

    Each backend is in a process of its own, and what it makes below its URL is removed again. No
    answer is believed: scores are worked out again, and ids checked.
    """
    if figure is not None:
        check_figure(figure)
    if vectors is None:
        with Settings.load(database=database).catalog() as catalog:
            vectors = get_build(catalog).path
    given = VectorSet.open(vectors) if vectors.is_dir() else format_of(vectors).read(vectors)
    with working("loading and searching"):
        found = compare_backends(backend, given, k=k, queries=queries)
    if json_file is not None:
        json_file.write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
    if figure is not None:
        found.write_figure(figure)
    if output is OutputFormat.JSON:
        print(json.dumps(found.to_dict()))
    else:
        print_table(*found.table())
        say(f"{found.count:,} × {found.dim}, {given.metric}; MB beyond what was there before")
    for url, reason in found.failures.items():
        say(f"{url} failed: {reason}")
    if found.failures:
        raise typer.Exit(5)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(bench)
