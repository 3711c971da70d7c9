"""``itemspace versions`` and others: which versions there are, and which one answers."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ..adapters import RetrieverURL
from ..catalog.changes import count_changes
from ..catalog.versions import State, Version, get_pointer, list_versions
from ..core.vectors import VectorSet
from ..publishing import activate as activate_version
from ..publishing import collect as collect_versions
from ..publishing import diff as compare_versions
from ..publishing import rollback as roll_back
from ..publishing.collecting import KEEP
from ..space import Space
from .output import FormatOption, OutputFormat, print_lines, print_table, progress_bar, say
from .settings import DatabaseOption, Settings, SpaceOption

_UNITS = ("B", "kB", "MB", "GB", "TB")


def versions(
    output: FormatOption = OutputFormat.TABLE,
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """List the versions of a space: state, size, measures, where they are and what made them."""
    settings = Settings.load(database=database, space=space)
    with settings.catalog() as catalog:
        live = get_pointer(catalog, settings.space).live
        found = list_versions(catalog, settings.space)
        of_live = [one for one in found if one.number == live]
        changes = [count_changes(catalog, one) for one in of_live]
    lines = [_facts(version, live) for version in found]
    if output is OutputFormat.JSON:
        print(json.dumps(lines, ensure_ascii=False, default=str))
    else:
        for line in lines:
            line["size"] = _size(line.pop("bytes"))
            line["lineage"] = line["lineage"].get("builder")
        print_lines(
            list(lines[0]) if lines else [], [list(line.values()) for line in lines], output
        )
    for version, count in zip(of_live, changes, strict=True):
        if count:
            what = "calls of upsert and delete, after it was published, are"
            say(f"Version {version.number}: {count:,} {what} laid over it.")


def activate(
    number: Annotated[int, typer.Argument(metavar="VERSION")],
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Make a version live that was published or staged."""
    settings = Settings.load(database=database, space=space)
    with settings.catalog() as catalog:
        version = activate_version(catalog, number, space=settings.space)
    say(f"Version {version.number} of {version.space!r} is live.")


def rollback(space: SpaceOption = None, database: DatabaseOption = None) -> None:
    """Make the version live again that was before the live one."""
    settings = Settings.load(database=database, space=space)
    with settings.catalog() as catalog:
        version = roll_back(catalog, space=settings.space)
    say(f"Version {version.number} of {version.space!r} is live.")


def diff(
    first: Annotated[int, typer.Argument(metavar="V1")],
    second: Annotated[int, typer.Argument(metavar="V2")],
    k: Annotated[int, typer.Option("-k", help="Neighbours of each item.")] = 10,
    sample: Annotated[
        int, typer.Option(help="Of how many items the neighbours are compared; 0: of all.")
    ] = 1000,
    show: Annotated[int, typer.Option(help="Items to show, those that moved most first.")] = 20,
    output: FormatOption = OutputFormat.TABLE,
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Which items moved from one version to another: how many neighbours they kept."""
    settings = Settings.load(database=database, space=space)
    with settings.catalog() as catalog, progress_bar() as report:
        found = compare_versions(
            catalog,
            first,
            second,
            space=settings.space,
            k=k,
            sample=sample or None,
            progress=report,
        )
    rows = list(zip(found.ids[:show], found.overlaps[:show].tolist(), strict=True))
    if output is OutputFormat.JSON:
        facts = {
            "added": found.added,
            "removed": found.removed,
            "common": found.common,
            "compared": found.compared,
            "overlap": found.mean,
            "items": [{"item_id": name, "overlap": share} for name, share in rows],
        }
        print(json.dumps(facts, ensure_ascii=False))
        return
    print_lines(("item_id", "overlap"), rows, output)
    say(
        f"{found.added:,} items came, {found.removed:,} went; of {found.compared:,} of the "
        f"{found.common:,} others, {found.mean:.1%} of the {k} neighbours are the same."
    )


def collect(
    keep: Annotated[
        int, typer.Option(help="How many versions that were live before stay, to roll back to.")
    ] = KEEP,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; else they are only shown.")] = (
        False
    ),
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Remove the vectors of versions that nobody needs; shows them first, without --yes."""
    settings = Settings.load(database=database, space=space)
    with settings.catalog() as catalog:
        found = collect_versions(catalog, space=settings.space, keep=keep, dry_run=not yes)
    rows = [
        (one.version.number, one.why, str(RetrieverURL.parse(one.version.url))) for one in found
    ]
    if rows:
        print_table(("version", "why", "where"), rows)
    if not yes:
        say(f"{len(found)} versions would be removed; --yes removes them.")
        return
    removed = sum(one.removed for one in found)
    rest = len(found) - removed
    say(f"{removed} versions were removed." + (f" {rest} are being read still." if rest else ""))


def upsert(
    vectors: Annotated[str, typer.Argument(help="A vector set: of the live version's training.")],
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Add items to the live version, or replace their vectors, until the next publishing."""
    settings = Settings.load(database=database, space=space)
    given = VectorSet.open(vectors)
    with settings.catalog() as catalog, Space.open(catalog, settings.space) as opened:
        revision = opened.upsert(given.ids, given.matrix)
    say(f"{len(given):,} items are in {settings.space!r}, at revision {revision}.")


def delete(
    items: Annotated[list[str], typer.Argument(metavar="ITEM…", help="Ids.")],
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Withdraw items from the live version: no lookup finds them from now on."""
    settings = Settings.load(database=database, space=space)
    with settings.catalog() as catalog, Space.open(catalog, settings.space) as opened:
        ids: list[Any] = list(items)
        if opened.retriever.id_kind == "int":
            ids = [int(name) if name.lstrip("-").isdigit() else name for name in items]
        count = opened.delete(ids)
    say(f"{count:,} of {len(items):,} items were there, and are withdrawn.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (versions, activate, rollback, diff, collect, upsert, delete):
        app.command()(command)


def _facts(version: Version, live: int | None) -> dict[str, Any]:
    state = "live" if version.number == live else str(version.state)
    if version.state is State.READY and version.activated_at is None:
        state = "staged"
    return {
        "version": version.number,
        "state": state,
        "items": version.item_count,
        "users": 0 if version.users is None else version.users.count,
        "dim": version.dim,
        "recall": version.measures.get("recall"),
        "overlap": version.measures.get("overlap"),
        "bytes": version.measures.get("bytes"),
        "published": f"{version.created_at:%Y-%m-%d %H:%M}",
        "build": version.build_id,
        "where": str(RetrieverURL.parse(version.url)),
        "lineage": dict(version.lineage),
    }


def _size(count: int | None) -> str | None:
    if count is None:
        return None
    size, unit = float(count), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {_UNITS[unit]}"
