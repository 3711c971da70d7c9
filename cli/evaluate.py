"""``itemspace evaluate``: builders beside each other on a split of the interactions."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..builders import load_builder
from ..core.behaviour import Interactions, Weights
from ..core.errors import UsageError
from ..core.histories import Recent
from ..evaluation import (
    Comparison,
    Split,
    by_time,
    compare,
    leave_last_out,
    random_events,
)
from ..evaluation.configuration import read_config
from .build import parse_options
from .log import DenoiseOption, EarlierOption, EventOption, LogOptions, PurchaseOption
from .output import FormatOption, OutputFormat, print_table, say, working
from .settings import DatabaseOption, Settings
from .side import (
    FieldOption,
    JsonFieldOption,
    RelatedOption,
    SideOptions,
    add_fields,
    fields_of,
    supports_side,
)


class SplitName(StrEnum):
    """The splits that the command offers."""

    LAST = "last"
    TIME = "time"
    RANDOM = "random"


def evaluate(
    builders: Annotated[
        list[str],
        typer.Argument(
            help="Such as popularity, item2vec:window=20,epochs=20, or a file that tune wrote, "
            "which ends in .toml and says --recent and --decay itself."
        ),
    ],
    field: FieldOption = None,
    related: RelatedOption = None,
    json_field: JsonFieldOption = None,
    split: Annotated[
        SplitName,
        typer.Option(
            help="What is tested: each user's last item, the last fifth of the time, or "
            "a random fifth of the events."
        ),
    ] = SplitName.LAST,
    gap: Annotated[
        float | None, typer.Option(help="Seconds of pause that end a session; with --split last.")
    ] = None,
    denoise: DenoiseOption = False,
    purchase: PurchaseOption = None,
    earlier: EarlierOption = None,
    event: EventOption = None,
    k: Annotated[int, typer.Option("-k", help="Length of the lists.", min=1)] = 10,
    recent: Annotated[int, typer.Option(help="How many of the last items count.", min=1)] = 10,
    decay: Annotated[
        float, typer.Option(help="Weight of an item relative to the next newer one.")
    ] = 1.0,
    seen: Annotated[bool, typer.Option(help="Whether items of the history are listed.")] = False,
    seed: Annotated[int, typer.Option(help="Of the random split.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all measures.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw HR against k and time.")] = None,
    output: FormatOption = OutputFormat.TABLE,
    database: DatabaseOption = None,
) -> None:
    """Fit builders on a part of the log and measure how well they find the rest.

    Full ranking over all items, with 95 % bootstrap intervals. --field is for the builders that
    read side information and name no fields of their own, as eges:fields=brand does.
    """
    settings = Settings.load(database=database)
    made = {text: _builder(text, Recent(recent, decay), field) for text in builders}
    fitted = [builder for builder, _ in made.values()]
    if field and not any(map(supports_side, fitted)):
        raise UsageError("None of the builders reads side information; leave --field out.")
    with settings.catalog() as catalog:
        fields = fields_of(fitted)
        side = SideOptions(related, json_field).read(catalog, fields)
        log, weights = LogOptions(denoise, purchase, earlier, event).read(catalog, side, fields)
    chosen = _split(log, weights, split, gap, seed)
    with working("fitting and measuring"):
        ks = tuple(sorted({1, 5, 10, 20, k}))
        entries = []
        for text, (builder, weighing) in made.items():
            one = compare(
                {text: builder},
                chosen,
                side=side,
                ks=ks,
                recent=weighing,
                exclude_history=not seen,
            )
            entries += one.entries
    found = Comparison(chosen, entries)
    if json_file is not None:
        found.write_json(json_file)
    if figure is not None:
        found.write_figure(figure)
    if output is OutputFormat.JSON:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    print_table(*found.table(k))
    say(f"{chosen.name}: {len(chosen.histories):,} cases, {len(chosen.train.vocabulary):,} items")


def _builder(text: str, recent: Recent, fields: list[str] | None) -> tuple[Any, Recent]:
    """A builder, and how a history becomes a user vector for it."""
    if text.endswith(".toml"):
        found = read_config(text)
        name, options, recent = found.builder, found.options, found.recent
    else:
        name, _, listed = text.partition(":")
        options = parse_options(name, listed.split(",") if listed else [])
    kind = load_builder(name)
    if supports_side(kind) and not options.get("fields"):
        options = add_fields(name, kind, options, fields)
    return kind(**options), recent


def _split(
    log: Interactions, weights: Weights | None, split: SplitName, gap: float | None, seed: int
) -> Split:
    if split is SplitName.TIME:
        return by_time(log, weights=weights)
    sequences = log.sequences(gap=gap, weights=weights)
    return (
        leave_last_out(sequences)
        if split is SplitName.LAST
        else random_events(sequences, seed=seed)
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(evaluate)
