"""``itemspace similar``, and what ``itemspace recommend`` shares with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from sqlalchemy import select

from ..catalog import parse_condition
from ..core.errors import DuplicateIds, InvalidId, UnknownIds, UsageError
from ..core.ids import IdKind
from ..space import Lookup, Space
from .output import FormatOption, OutputFormat, print_rows
from .settings import DatabaseOption, Settings, SpaceOption

CountOption = Annotated[int, typer.Option("-k", help="How many items.", min=1)]
WhereOption = Annotated[
    str | None,
    typer.Option("--where", "-w", help="A condition over the items' columns: year >= 1990"),
]
ColumnsOption = Annotated[
    str | None, typer.Option(help="Columns to show, with commas between; all if left out.")
]


def similar(
    items: Annotated[
        list[str] | None, typer.Argument(help="Id of the item; of several: like all of them.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="The item's title, instead of its id.")] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(help="An item that the answers should not be like.")
    ] = None,
    k: CountOption = 10,
    where: WhereOption = None,
    columns: ColumnsOption = None,
    output: FormatOption = OutputFormat.TABLE,
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """The items nearest to an item, or to several, that meet a condition."""
    if bool(items) == (title is not None):
        raise UsageError("Name the item by its id, or by --title.")
    with opened_space(database, space) as opened:
        kind = opened.items.id_kind
        subjects = [read_id(item, kind) for item in items or ()] or [_by_title(opened, title)]
        others = [read_id(item, kind) for item in unlike or ()]
        near = opened.similar_to(subjects, k, unlike=others)
        print_answer(opened, near, where, columns, output)


@contextmanager
def opened_space(database: str | None, space: str | None) -> Iterator[Space]:
    """The live version of the space that the settings name."""
    settings = Settings.load(database=database, space=space)
    with settings.catalog() as catalog, Space.open(catalog, settings.space) as opened:
        yield opened


def print_answer(
    space: Space, near: Lookup, where: str | None, columns: str | None, output: OutputFormat
) -> None:
    """Run a lookup under a condition and print its rows."""
    mapped = space.items.columns
    statement = select(*mapped.values(), near.score)
    if where is not None:
        statement = statement.where(parse_condition(where, mapped))
    shown = None if columns is None else [name.strip() for name in columns.split(",")]
    for name in shown or ():
        space.items.column(name)
    print_rows(near.execute(statement=statement), output, shown)


def _by_title(space: Space, title: str | None) -> Any:
    found = space.catalog.find_items("title", title)
    if not found:
        raise UnknownIds(
            f"No item has the title {title!r}; titles are compared to the letter.", ids=[title]
        )
    if len(found) > 1:
        raise DuplicateIds(
            f"Several items have the title {title!r}, {found[0]!r} and {found[1]!r} among them; "
            "name the item by its id.",
            ids=found,
        )
    return found[0]


def read_id(text: str | None, kind: IdKind) -> Any:
    """An id from the command line."""
    if kind == "str":
        return text
    try:
        return int(text or "")
    except ValueError:
        raise InvalidId(f"Ids are integers here; received {text!r}.") from None


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(similar)
