"""``itemspace build``: interactions in SQL → a recorded vector set."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..builders import load_builder
from ..builders.builder import fit_builder
from ..builders.counting import ItemKNN, Popularity
from ..catalog.builds import record_build, user_vectors_path
from ..core.behaviour import Sequences
from ..core.errors import EmptyInput, InvalidOption, UnsupportedError, UsageError
from ..core.histories import Recent
from ..core.side_information import SideInformation
from ..evaluation import compare, leave_last_out
from ..evaluation.configuration import Configuration, read_config
from ..evaluation.figures import check_figure, draw_field_weights
from .log import DenoiseOption, EarlierOption, EventOption, LogOptions, PurchaseOption
from .output import print_table, progress_bar, say, working
from .settings import DatabaseOption, Settings
from .side import (
    FieldOption,
    JsonFieldOption,
    RelatedOption,
    SideOptions,
    add_fields,
    fields_of,
    keep_side,
)

#: Cases that a build is measured by, at most.
_CASES = 10_000


def build(
    builder: Annotated[
        str | None, typer.Argument(help="Such as item2vec; that of the file with --config.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="A builder's option, name=value; repeatable."),
    ] = None,
    field: FieldOption = None,
    related: RelatedOption = None,
    json_field: JsonFieldOption = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A file of options, as [bold]tune[/] writes it; --option goes before."),
    ] = None,
    gap: Annotated[
        float | None,
        typer.Option(help="Seconds of pause that end a session; whole histories if left out."),
    ] = None,
    measured: Annotated[
        bool,
        typer.Option(
            "--evaluate/--no-evaluate",
            help="Whether to show first what such vectors are worth; takes another fit.",
        ),
    ] = True,
    recent: Annotated[
        int | None,
        typer.Option(help="A user is taken by so many of the last items, now and later.", min=1),
    ] = None,
    decay: Annotated[
        float | None, typer.Option(help="Weight there of an item relative to the next newer one.")
    ] = None,
    denoise: DenoiseOption = False,
    purchase: PurchaseOption = None,
    earlier: EarlierOption = None,
    event: EventOption = None,
    chart: Annotated[
        Path | None, typer.Option(help="Draw what the fields weigh; with side information.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Learn item vectors from the interactions and record them.

    First the builder is fitted without the last item of each sequence, and it is shown how often
    it finds that, beside counting; the measures are kept with the vectors.
    """
    settings = Settings.load(database=database)
    found = None if config is None else _configuration(config, builder)
    name = builder if found is None else found.builder
    if name is None:
        raise UsageError("Name a builder, or a --config file that `itemspace tune` wrote.")
    kind = load_builder(name)
    chosen = add_fields(name, kind, parse_options(name, option or []), field)
    made = kind(**chosen) if found is None else found.make(**chosen)
    if not made.supports_vectors:
        raise UnsupportedError(
            f"{name} gives no vectors, so there is nothing to build; `itemspace evaluate "
            f"{config or name}` measures it."
        )
    if chart is not None:
        check_figure(chart)
    with settings.catalog() as catalog:
        fields = fields_of([made])
        places = SideOptions(related, json_field)
        side = places.read(catalog, fields)
        if chart is not None and side is None:
            raise UsageError(
                "There are no fields to draw; name some (--field), or leave out --chart."
            )
        log, weights = LogOptions(denoise, purchase, earlier, event).read(catalog, side, fields)
        sequences = log.sequences(gap=gap, weights=weights)
        measures = {}
        user = Recent() if found is None else found.recent
        user = Recent(recent or user.count, user.decay if decay is None else decay)
        if measured:
            with working("measuring what such vectors are worth"):
                measures = _show_worth(sequences, name, made.get_params(), user, side)
        with progress_bar() as report:
            fit_builder(made, sequences, side=side, progress=report)
        path = settings.new_build_path(name)
        kept = {**measures, **keep_side(made, path), "recent": asdict(user)}
        if places.sources():
            kept["fields_from"] = asdict(places)
        if getattr(made, "supports_users", False):
            kept["user_vectors"] = made.user_vectors_.save(user_vectors_path(path))
        vectors = made.item_vectors_.with_lineage(**kept)
        checksum = vectors.save(path)
        done = record_build(catalog, vectors, builder=name, path=path, checksum=checksum)
    if chart is not None:
        draw_field_weights(made.field_weights_, chart)
    users = f"{len(made.user_vectors_):,} users and " if "user_vectors" in kept else ""
    say(f"Build {done.id}: {users}{done.item_count:,} items × {done.dim} by {name}, in {path}")


def _show_worth(
    sequences: Sequences,
    name: str,
    options: dict[str, Any],
    recent: Recent,
    side: SideInformation | None,
) -> dict[str, Any]:
    """Print the builder beside counting; returns what goes into the lineage."""
    try:
        split = leave_last_out(sequences).drawn(_CASES)
    except EmptyInput:
        say("No sequence has two items, so nothing can be measured.")
        return {}
    beside = {
        name: load_builder(name)(**options),
        "itemknn": ItemKNN(recent=recent.count, decay=recent.decay),
        "popularity": Popularity(),
    }
    compared = compare(beside, split, side=side, recent=recent)
    print_table(*compared.table())
    how = f"--recent {recent.count} --decay {recent.decay:g}"
    say(f"{split.name}: {len(split.histories):,} cases, {how}")
    worth = compared.entries[0].evaluation
    return {
        "measures": worth.summary() | {"recent": recent.count, "decay": recent.decay},
        "measures_beside": {
            entry.name: entry.evaluation.summary() for entry in compared.entries[1:]
        },
    }


def make_builder(name: str, options: list[str]) -> Any:
    """A builder with options from ``name=value`` texts, of the types of its defaults."""
    return load_builder(name)(**parse_options(name, options))


def parse_options(name: str, options: list[str]) -> dict[str, Any]:
    """Values of ``name=value`` texts, of the types of a builder's defaults.

    An option of several texts is given once for each.
    """
    known = inspect.signature(load_builder(name)).parameters
    chosen: dict[str, Any] = {}
    for text in options:
        key, equals, value = text.partition("=")
        if key not in known or not equals:
            raise InvalidOption(
                f"{text!r} is no option of {name}; write name=value with one of: "
                f"{', '.join(known)}.",
                option=key,
                received=text,
            )
        kind = type(known[key].default)
        if kind is tuple:
            chosen[key] = [*chosen.get(key, ()), value]
        else:
            chosen[key] = _converted(key, value, kind)
    return chosen


def _configuration(path: Path, builder: str | None) -> Configuration:
    found = read_config(path)
    if builder not in (None, found.builder):
        raise UsageError(
            f"{path} is for {found.builder}, not for {builder}; leave the builder out, or name "
            "another file."
        )
    return found


def _converted(key: str, text: str, kind: type) -> Any:
    """The text as the type of the option's default; ``none`` is None."""
    if text.lower() == "none":
        return None
    if kind is type(None):
        return _guessed(text)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        raise InvalidOption(
            f"{key} is of type {kind.__name__}; received {text!r}.", option=key, received=text
        ) from None


def _guessed(text: str) -> Any:
    """A number if it is one; for options whose default, ``None``, has no type to go by."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(build)
