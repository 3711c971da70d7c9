"""``itemspace build``: interactions in SQL → a recorded vector set."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from ..builders import load_builder
from ..catalog.records import record_build
from ..core.errors import InvalidOption, UnsupportedError
from .output import progress_bar, say, working
from .settings import DatabaseOption, Settings


def build(
    builder: Annotated[str, typer.Argument(help="Such as item2vec.")],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="A builder's option, name=value; repeatable."),
    ] = None,
    gap: Annotated[
        float | None,
        typer.Option(help="Seconds of pause that end a session; whole histories if left out."),
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Learn item vectors from the interactions and record them."""
    settings = Settings.load(database=database)
    made = make_builder(builder, option or [])
    if not made.supports_vectors:
        raise UnsupportedError(
            f"{builder} gives no vectors, so there is nothing to build; `itemspace evaluate "
            f"{builder}` measures it."
        )
    with settings.catalog() as catalog:
        with working("reading the interactions"):
            sequences = catalog.read_interactions().sequences(gap=gap)
        with progress_bar() as report:
            vectors = made.fit(sequences, progress=report).item_vectors_
        path = settings.new_build_path(builder)
        checksum = vectors.save(path)
        done = record_build(catalog, vectors, builder=builder, path=path, checksum=checksum)
    say(f"Build {done.id}: {done.item_count:,} items × {done.dim} by {builder}, in {path}")


def make_builder(name: str, options: list[str]) -> Any:
    """A builder with options from ``name=value`` texts, of the types of its defaults."""
    kind = load_builder(name)
    known = inspect.signature(kind).parameters
    chosen = {}
    for text in options:
        key, equals, value = text.partition("=")
        if key not in known or not equals:
            raise InvalidOption(
                f"{text!r} is no option of {name}; write name=value with one of: "
                f"{', '.join(known)}.",
                option=key,
                received=text,
            )
        chosen[key] = _converted(key, value, type(known[key].default))
    return kind(**chosen)


def _converted(key: str, text: str, kind: type) -> Any:
    """The text as the type of the option's default; ``none`` is None."""
    if text.lower() == "none":
        return None
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        raise InvalidOption(
            f"{key} is of type {kind.__name__}; received {text!r}.", option=key, received=text
        ) from None


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(build)
