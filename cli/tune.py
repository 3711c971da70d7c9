"""``itemspace tune``: the options of a builder that find the most, searched on the interactions."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..builders import load_builder
from ..core.errors import InvalidOption
from ..evaluation import leave_last_out
from ..evaluation.trials import Tuning
from ..evaluation.tuning import tune as search
from .build import parse_options
from .log import DenoiseOption, EarlierOption, EventOption, LogOptions, PurchaseOption
from .output import FormatOption, OutputFormat, print_table, progress_bar, say
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

_UNITS = {"s": 1, "m": 60, "h": 3600}
#: Trials in the table; the record has all of them.
_SHOWN = 10


class MeasureName(StrEnum):
    """The measures that the command offers."""

    HR = "hr"
    RECALL = "recall"
    NDCG = "ndcg"
    MRR = "mrr"


def tune(
    builder: Annotated[str, typer.Argument(help="Such as item2vec.")],
    budget: Annotated[
        str | None, typer.Option(help="Time to search for, such as 90s, 10m or 1h.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="How many sets of options to try.", min=1)
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", help="An option that is not searched, name=value; repeatable."
        ),
    ] = None,
    field: FieldOption = None,
    related: RelatedOption = None,
    json_field: JsonFieldOption = None,
    measure: Annotated[
        MeasureName, typer.Option(help="What the best options have the most of.")
    ] = MeasureName.HR,
    k: Annotated[int, typer.Option("-k", help="Length of the lists.", min=1)] = 10,
    gap: Annotated[
        float | None,
        typer.Option(help="Seconds of pause that end a session; whole histories if left out."),
    ] = None,
    denoise: DenoiseOption = False,
    purchase: PurchaseOption = None,
    earlier: EarlierOption = None,
    event: EventOption = None,
    seed: Annotated[int, typer.Option(help="Of the search.", min=0)] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write the best options, a .toml; beside the record if not."),
    ] = None,
    output: FormatOption = OutputFormat.TABLE,
    database: DatabaseOption = None,
) -> None:
    """Search the options of a builder, for a while or a number of trials.

    Each trial is fitted without the last two items of each sequence and judged by the last but
    one, so that the last, by which [bold]evaluate[/] judges, stays unseen. [bold]build[/] and
    [bold]evaluate[/] take the file that is written.
    """
    seconds = None if budget is None else seconds_of(budget)
    if seconds is None and trials is None:
        raise InvalidOption(
            "A search ends by --budget, such as 10m, or by --trials; give one of them, or both.",
            option="budget",
            received=None,
        )
    if out is not None and out.suffix != ".toml":
        raise InvalidOption(
            f"--out ends in .toml, by which evaluate knows it; received {str(out)!r}.",
            option="out",
            received=str(out),
        )
    settings = Settings.load(database=database)
    kind = load_builder(builder)
    fixed = add_fields(builder, kind, parse_options(builder, option or []), field)
    options = LogOptions(denoise, purchase, earlier, event)
    places = SideOptions(related, json_field)
    fields = fields_of([kind(**fixed)]) if supports_side(kind) else []
    with settings.catalog() as catalog:
        side = places.read(catalog, fields)
        log, weights = options.read(catalog, side, fields)
    split = leave_last_out(log.sequences(gap=gap, weights=weights), skip=1)
    folder = settings.new_tuning_path(builder)
    record, config = folder / "trials.jsonl", out or folder / "best.toml"
    with progress_bar() as report:
        found = search(
            kind,
            split,
            budget=seconds,
            trials=trials,
            fixed=fixed,
            side=side,
            measure=measure.value,
            k=k,
            seed=seed,
            record=record,
            progress=report,
        )
    config.parent.mkdir(parents=True, exist_ok=True)
    found.write_config(config)
    if output is OutputFormat.JSON:
        files = {"config": str(config), "record": str(record)}
        print(json.dumps(found.to_dict() | files, ensure_ascii=False, default=str))
        return
    print_table(*found.table(_SHOWN))
    _say_what_was_found(found, config, record, gap, f"{places} {options}".strip())


def _say_what_was_found(
    found: Tuning, config: Path, record: Path, gap: float | None, options: str
) -> None:
    states = ", ".join(f"{count:,} {state}" for state, count in found.counts().items())
    say(
        f"{found.split}: {found.cases:,} cases; {len(found.trials):,} trials ({states}) in "
        f"{found.seconds:.0f} s"
    )
    say(f"All trials: {record}")
    again = "" if gap is None else f" --gap {gap:g}"
    say(f"The best: itemspace build --config {config}{again} {options}".rstrip())


def seconds_of(text: str) -> float:
    """The seconds of a time such as ``90s``, ``10m`` or ``1.5h``.

    Raises :class:`InvalidOption` for anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if found is None or not float(found[1]):
        raise InvalidOption(
            f"A budget is a number above 0 with s, m or h, such as 90s, 10m or 1h; received "
            f"{text!r}.",
            option="budget",
            received=text,
        )
    return float(found[1]) * _UNITS[found[2]]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(tune)
