"""``itemspace recommend``: for one user, or for all of them into a file or a table."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import ColumnElement

from ..catalog import parse_condition
from ..core.errors import InvalidOption, UsageError
from ..space import Lookup, Seen, Space
from ..space.everyone import Output, recommend_all
from ..space.outputs import ParquetOutput, TableOutput
from .lookup import ColumnsOption, CountOption, WhereOption, opened_space, print_answer, read_id
from .output import FormatOption, OutputFormat, progress_bar, say
from .settings import DatabaseOption, SpaceOption


def recommend(
    user: Annotated[str | None, typer.Option(help="Id of the user.")] = None,
    all_users: Annotated[
        bool, typer.Option("--all-users", help="For every user with events; needs --out or --into.")
    ] = False,
    k: CountOption = 10,
    recent: Annotated[
        int | None,
        typer.Option(
            help="How many of the last items count of a user without a vector; as the vectors "
            "were measured if left out.",
            min=1,
        ),
    ] = None,
    decay: Annotated[
        float | None, typer.Option(help="Weight of an item relative to the next newer one.")
    ] = None,
    seen: Annotated[bool, typer.Option(help="Whether seen items may come back.")] = False,
    seen_kind: Annotated[
        list[str] | None,
        typer.Option(help="Only such events make an item seen: purchase; repeatable."),
    ] = None,
    seen_days: Annotated[
        float | None, typer.Option(help="Only events of the last days make an item seen.", min=0)
    ] = None,
    where: WhereOption = None,
    diversity: Annotated[
        float, typer.Option(help="How much items should differ from each other.", min=0, max=1)
    ] = 0.0,
    at_most: Annotated[
        str | None,
        typer.Option(help="At most so many items of each value of a column: brand=2."),
    ] = None,
    columns: ColumnsOption = None,
    output: FormatOption = OutputFormat.TABLE,
    out: Annotated[
        Path | None, typer.Option(help="A Parquet file for --all-users; goes on where it was.")
    ] = None,
    into: Annotated[
        str | None, typer.Option(help="A SQL table for --all-users; goes on where it was.")
    ] = None,
    space: SpaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Items for a user, or for all users: without those seen, near the user's vector.

    Users who have none are taken by their last items, and others get what is popular.
    """
    if all_users == (user is not None):
        raise UsageError("Name the user (--user), or recommend to --all-users.")
    if (out is not None) + (into is not None) != all_users:
        raise UsageError("--all-users goes to a file (--out) or a table (--into), one of them.")
    with opened_space(database, space) as opened:
        excluded = _excluded(opened, seen, seen_kind, seen_days)
        cap = None if at_most is None else _cap(opened, at_most)
        if user is not None:
            who = read_id(user, opened.catalog.interactions.user_kind)
            near = opened.for_user(who, k, exclude_seen=excluded, recent=recent, decay=decay)
            print_answer(opened, _varied(near, diversity, cap), where, columns, output)
            return
        batch = opened.batch(
            k,
            where=None if where is None else parse_condition(where, opened.items.columns),
            exclude_seen=excluded,
            recent=recent,
            decay=decay,
            diversity=diversity,
            at_most=cap,
        )
        target: Output
        if out is not None:
            target = ParquetOutput(out, opened.catalog)
        else:
            target = TableOutput(opened.catalog, into or "", opened.version)
        job = {
            "space": opened.name,
            "version": opened.version,
            "k": k,
            "where": where,
            "recent": recent,
            "decay": decay,
            "seen": [seen, seen_kind, seen_days],
            "diversity": diversity,
            "at_most": at_most,
        }
        with progress_bar() as report:
            done = recommend_all(opened.catalog, batch, target, job, progress=report)
        say(f"{done:,} users, version {opened.version} of {opened.name!r}: {out or into}")


def _excluded(space: Space, seen: bool, kinds: list[str] | None, days: float | None) -> bool | Seen:
    if not kinds and days is None:
        return not seen
    if seen:
        raise UsageError("--seen lets all items come back; leave out --seen-kind and --seen-days.")
    column = space.catalog.interactions.kind
    is_number = column is not None and column.type.python_type is int
    read = [read_id(kind, "int" if is_number else "str") for kind in kinds or ()]
    return Seen(read or None, None if days is None else timedelta(days=days))


def _cap(space: Space, text: str) -> tuple[int, ColumnElement[Any]]:
    name, equals, count = text.partition("=")
    if not equals or not count.isdigit():
        raise InvalidOption(
            f"Write a column and a number, as in brand=2; received {text!r}.",
            option="at_most",
            received=text,
        )
    return int(count), space.items.column(name)


def _varied(near: Lookup, diversity: float, cap: tuple[int, ColumnElement[Any]] | None) -> Lookup:
    if diversity:
        near = near.diverse(diversity)
    return near if cap is None else near.at_most(*cap)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(recommend)
