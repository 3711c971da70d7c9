"""``itemspace publish`` and ``itemspace move``: what becomes a space's live version."""

from __future__ import annotations

from typing import Annotated

import typer

from ..adapters import RetrieverURL
from ..catalog import Catalog
from ..catalog.records import Version, get_build
from ..core.errors import UnmappedTable
from ..publishing import move as move_space
from ..publishing import publish_build
from ..space import Space
from .output import say, working
from .settings import DatabaseOption, Settings, SpaceOption


def publish(
    build: Annotated[int | None, typer.Option(help="The build; the newest if left out.")] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Retriever URL, such as lsh:///data/published (ITEMSPACE_TO).", show_default=False
        ),
    ] = None,
    users_to: Annotated[
        str | None,
        typer.Option(
            help="Where the vectors of the build's users go, if it has any: such as "
            "redis://localhost/0; beside the items if left out (ITEMSPACE_USERS_TO).",
            show_default=False,
        ),
    ] = None,
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Load a build into a backend and make it the live version."""
    settings = Settings.load(database=database, space=space, to=to, users_to=users_to)
    with settings.catalog() as catalog:
        found = get_build(catalog, build)
        with working(f"publishing build {found.id}"):
            version = publish_build(
                catalog, found, settings.to, space=settings.space, users_to=settings.users_to
            )
        notes = _coverage(catalog, version)
    users = "" if version.users is None else f"{version.users.count:,} users and "
    say(
        f"Version {version.number} of {version.space!r} is live: {users}{version.item_count:,} "
        f"items × {version.dim} from build {found.id}"
    )
    for sentence in notes:
        say(sentence)


def _coverage(catalog: Catalog, version: Version) -> list[str]:
    """What is to be said of items without vectors and vectors without items, if there are any."""
    try:
        with Space.open(catalog, version.space, version.number) as opened:
            return opened.coverage().sentences()
    except UnmappedTable:
        return []


def move(
    to: Annotated[str, typer.Option(help="Retriever URL of the other backend.")],
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Swap a space's backend: its live vectors go into another, which then answers."""
    settings = Settings.load(database=database, space=space)
    with settings.catalog() as catalog, working(f"moving {settings.space}"):
        version = move_space(catalog, to, space=settings.space)
    say(f"Version {version.number} of {version.space!r} is live, in {RetrieverURL.parse(to)}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(publish)
    app.command()(move)
