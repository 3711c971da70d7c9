"""``itemspace cold-start``: vectors for items that no build has, from their side information."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..builders.cold_start import ColdStart
from ..catalog import Catalog
from ..catalog.builds import Build, get_build
from ..catalog.item_files import read_item_file
from ..core.conversions import format_of
from ..core.errors import EmptyInput, UsageError
from ..core.side_information import SideInformation
from ..core.vectors import VectorSet
from .exchange import FileFormatOption
from .output import say, working
from .settings import DatabaseOption, Settings
from .side import JsonFieldOption, RelatedOption, SideOptions


class Method(StrEnum):
    """How the vectors of an item's fields become one."""

    MEAN = "mean"
    WEIGHTED = "weighted"


def cold_start(
    items: Annotated[
        Path | None, typer.Option(help="CSV or Parquet: a column of ids, and the fields.")
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="The items of the catalog without a vector.")
    ] = False,
    id_column: Annotated[str, typer.Option(help="The column of ids in the file.")] = "item_id",
    related: RelatedOption = None,
    json_field: JsonFieldOption = None,
    build: Annotated[
        int | None, typer.Option(help="The build; the newest with a cold start if left out.")
    ] = None,
    method: Annotated[
        Method, typer.Option(help="The mean of an item's fields, plain or by their weights.")
    ] = Method.MEAN,
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("cold-start.npz"),
    file_format: FileFormatOption = None,
    database: DatabaseOption = None,
) -> None:
    """Make vectors for new items from the fields that a build was made with.

    Values that the build did not see are skipped and reported; an item without any other gets no
    vector.
    """
    if missing == (items is not None):
        raise UsageError("Name a file of --items, or say --missing; one of the two.")
    places = SideOptions(related, json_field)
    if items is not None and places.sources():
        raise UsageError(
            "--related and --json-field are for the items of the catalog (--missing); the columns "
            "of a file have the fields' names."
        )
    settings = Settings.load(database=database)
    chosen = format_of(out, file_format)
    with settings.catalog() as catalog, working("reading the items"):
        found = get_build(catalog, build, with_cold_start=True)
        model = ColdStart.load(found.cold_start_path)
        side, report = _items(catalog, items, id_column, places, model, found)
    if missing and not len(side):
        say(f"Every item of the catalog has a vector in build {found.id}; nothing was written.")
        return
    weighted = method is Method.WEIGHTED
    made, more = model.vectors(side, method="weighted" if weighted else "mean")
    for sentence in (*report, *more):
        say(sentence)
    if not len(made):
        raise EmptyInput(
            f"None of {len(side):,} items has a value that build {found.id} was made with; nothing "
            "was written.",
            path=str(items or settings.mapping["items"]),
        )
    with working(f"writing {out}"):
        chosen.write(made.with_lineage(build=found.id), out)
    say(
        f"Wrote {len(made):,} × {made.dim} for {len(side):,} items, from build {found.id}, to {out}"
    )


def _items(
    catalog: Catalog,
    file: Path | None,
    id_column: str,
    places: SideOptions,
    model: ColdStart,
    build: Build,
) -> tuple[SideInformation, list[str]]:
    """The items to make vectors for, and sentences about them."""
    names = [encoding.field.name for encoding in model.encodings]
    vectors = VectorSet.open(build.path)
    known = vectors.ids
    if file is None:
        if not places.sources():  # where they stood when the build was made
            places = SideOptions(**vectors.lineage.get("fields_from", {}))
        side = places.side_information(catalog, names).without(known)
        return side, list(side.report)
    side, report = read_item_file(file, names, id_column=id_column, id_kind=known.kind)
    again = len(side) - len(side.without(known))
    if again:
        report.append(
            f"{again:,} of {len(side):,} items have a vector in build {build.id} already."
        )
    return side, report


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("cold-start")(cold_start)
