"""``itemspace publish``, ``move`` and others: what becomes a space's live version."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..adapters import RetrieverURL
from ..catalog import Catalog
from ..catalog.builds import get_build
from ..catalog.versions import Version
from ..core.errors import InvalidOption, UnmappedTable
from ..core.vectors import VectorSet
from ..publishing import move as move_space
from ..publishing import publish as publish_vectors
from ..publishing import publish_build
from ..publishing.publish import MIN_RECALL
from ..space import Space
from .output import progress_bar, say
from .settings import DatabaseOption, Settings, SpaceOption


class WhatChanged(StrEnum):
    """What becomes of changes since the live version."""

    DROP = "drop"
    FOLD = "fold"


RecallOption = Annotated[
    float,
    typer.Option(help="Below this recall of 10 neighbours the version is staged, not made live."),
]
WaitOption = Annotated[float, typer.Option(help="Seconds to wait for another publisher.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with a publishing that was killed.")
]


def publish(
    vectors: Annotated[
        Path | None,
        typer.Argument(help="A vector set to publish; a build is taken if left out."),
    ] = None,
    build: Annotated[int | None, typer.Option(help="The build; the newest if left out.")] = None,
    users: Annotated[
        Path | None,
        typer.Option(help="The vector set of the users, beside VECTORS; builds bring their own."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Retriever URL, such as lsh:///data/published (ITEMSPACE_TO).", show_default=False
        ),
    ] = None,
    users_to: Annotated[
        str | None,
        typer.Option(
            help="Where the vectors of the users go, if there are any: such as "
            "redis://localhost/0; beside the items if left out (ITEMSPACE_USERS_TO).",
            show_default=False,
        ),
    ] = None,
    changes: Annotated[
        WhatChanged,
        typer.Option(
            help="fold: what was upserted and deleted since the live version goes into this one, "
            "whose vectors are of the same training. drop: they are of a new one."
        ),
    ] = WhatChanged.DROP,
    stage_only: Annotated[
        bool, typer.Option("--stage-only", help="Load and check it; `activate` makes it live.")
    ] = False,
    resume: ResumeOption = False,
    min_recall: RecallOption = MIN_RECALL,
    min_overlap: Annotated[
        float,
        typer.Option(help="Likewise, of what the live version answers."),
    ] = 0.0,
    wait: WaitOption = 0.0,
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Load vectors into a backend, check them, and make them the live version."""
    settings = Settings.load(database=database, space=space, to=to, users_to=users_to)
    if vectors is None and users is not None:
        raise InvalidOption(
            "--users goes with VECTORS; a build brings its own.", option="users", received=users
        )
    with settings.catalog() as catalog, progress_bar() as report:
        options: dict[str, Any] = {
            "space": settings.space,
            "changes": changes.value,
            "stage_only": stage_only,
            "resume": resume,
            "min_recall": min_recall,
            "min_overlap": min_overlap,
            "wait": wait,
            "progress": report,
        }
        if vectors is None:
            found = get_build(catalog, build)
            what = f"build {found.id}"
            version = publish_build(
                catalog, found, settings.to, users_to=settings.users_to, **options
            )
        else:
            what = str(vectors)
            of_users = None if users is None else VectorSet.open(users)
            items = VectorSet.open(vectors)
            where = {"users_to": settings.users_to, **options}
            version = publish_vectors(catalog, items, settings.to, users=of_users, **where)
        notes = _coverage(catalog, version)
    count = "" if version.users is None else f"{version.users.count:,} users and "
    state = "staged" if stage_only else "live"
    say(
        f"Version {version.number} of {version.space!r} is {state}: {count}"
        f"{version.item_count:,} items × {version.dim} from {what}; {_measures(version)}"
    )
    for sentence in notes:
        say(sentence)


def _measures(version: Version) -> str:
    recall, overlap = version.measures["recall"], version.measures["overlap"]
    found = f"recall@10 {recall:.3f}"
    return found if overlap is None else f"{found}, overlap {overlap:.2f} with the one before"


def _coverage(catalog: Catalog, version: Version) -> list[str]:
    """What is to be said of items without vectors and vectors without items, if there are any."""
    try:
        with Space.open(catalog, version.space, version.number) as opened:
            return opened.coverage().sentences()
    except UnmappedTable:
        return []


def move(
    to: Annotated[str, typer.Option(help="Retriever URL of the other backend.")],
    resume: ResumeOption = False,
    min_recall: RecallOption = MIN_RECALL,
    wait: WaitOption = 0.0,
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Swap a space's backend: its live vectors, with what changed since, go into another.

    Into the same one, too: that folds the changes in.
    """
    settings = Settings.load(database=database, space=space)
    with settings.catalog() as catalog, progress_bar() as report:
        version = move_space(
            catalog,
            to,
            space=settings.space,
            resume=resume,
            min_recall=min_recall,
            wait=wait,
            progress=report,
        )
    say(
        f"Version {version.number} of {version.space!r} is live, in {RetrieverURL.parse(to)}; "
        f"{_measures(version)}"
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(publish)
    app.command()(move)
