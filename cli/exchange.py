"""``itemspace import``, ``export`` and ``copy``: vectors from elsewhere, and for elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..adapters import open_retriever
from ..adapters.copying import copy_retriever
from ..catalog.builds import get_build, record_build
from ..core.conversions import FORMATS, format_of
from ..core.metric import Metric
from ..core.vectors import VectorSet
from .output import progress_bar, say, working
from .settings import DatabaseOption, Settings

FileFormatOption = Annotated[
    str | None,
    typer.Option("--format", help=f"{', '.join(FORMATS)}; by the file's ending if left out."),
]


def import_vectors(
    file: Annotated[Path, typer.Argument(help="The vectors.")],
    file_format: FileFormatOption = None,
    metric: Annotated[Metric, typer.Option(help="How they are compared.")] = Metric.COSINE,
    database: DatabaseOption = None,
) -> None:
    """Record vectors that were made elsewhere, as a build to publish."""
    settings = Settings.load(database=database)
    with settings.catalog(create=True) as catalog:
        path = settings.new_build_path("import")
        with working(f"reading {file}"):
            vectors = format_of(file, file_format).read(file, metric=metric)
            checksum = vectors.save(path)
        done = record_build(catalog, vectors, builder="import", path=path, checksum=checksum)
    say(f"Build {done.id}: {done.item_count:,} items × {done.dim} from {file}, in {path}")


def export_vectors(
    file: Annotated[Path, typer.Argument(help="Where to write.")],
    build: Annotated[int | None, typer.Option(help="The build; the newest if left out.")] = None,
    file_format: FileFormatOption = None,
    database: DatabaseOption = None,
) -> None:
    """Write a build's vectors for other programs."""
    settings = Settings.load(database=database)
    chosen = format_of(file, file_format)
    with settings.catalog() as catalog:
        found = get_build(catalog, build)
    vectors = VectorSet.open(found.path)
    with working(f"writing {file}"):
        chosen.write(vectors, file)
    say(f"Wrote {len(vectors):,} × {vectors.dim} of build {found.id} to {file}")


def copy(
    source: Annotated[str, typer.Argument(help="Retriever URL: lsh:///data/items.")],
    target: Annotated[str, typer.Argument(help="Another, where nothing is yet.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a copy that was broken off.")
    ] = False,
) -> None:
    """Copy all vectors of a backend into another, and verify them there."""
    with open_retriever(source) as opened, progress_bar() as report:
        done = copy_retriever(opened, target, resume=resume, progress=report)
    say(
        f"Copied {done.count:,} vectors, checksum {done.checksum}; recall@10 "
        f"{done.source_recall:.3f} there, {done.target_recall:.3f} here"
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import")(import_vectors)
    app.command("export")(export_vectors)
    app.command()(copy)
