"""``itemspace side``, and what commands share about side information: where fields are read."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from ..builders import Field
from ..builders.fields import read_column
from ..catalog import Catalog, JsonPath, Related
from ..catalog.builds import cold_start_path
from ..core.errors import UsageError
from ..core.side_information import SideInformation
from .output import print_table, say, working
from .settings import DatabaseOption, Settings

FieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        help="Side information, a column of the items: brand, genres:multi, genres:multi:SEPARATOR "
        "or price:numeric; repeatable. For builders that read it, such as eges.",
        show_default=False,
    ),
]
RelatedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--related",
        help="Where a field stands in another table, any number of rows per item: "
        "NAME=TABLE.ITEM_COLUMN.VALUE_COLUMN, as in tags=item_tag.item_id.tag; repeatable.",
        show_default=False,
    ),
]
JsonFieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--json-field",
        help="Where a field stands inside a column of JSON: NAME=COLUMN.KEY…, as in "
        "brand=extra.brand.name; repeatable.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class SideOptions:
    """Where the options of a command say that fields stand; ``str`` writes them."""

    related: Sequence[str] | None = None
    json_field: Sequence[str] | None = None

    def __str__(self) -> str:
        given = {"--related": self.related, "--json-field": self.json_field}
        words = [
            word
            for option, texts in given.items()
            for text in texts or ()
            for word in (option, text)
        ]
        return shlex.join(words)

    def sources(self) -> dict[str, Related | JsonPath]:
        """Name → source, of what does not stand in a column of its own.

        Raises :class:`UsageError` for texts that cannot be read, and a name that stands twice.
        """
        pairs: list[tuple[str, Related | JsonPath]] = [
            *map(_related, self.related or ()),
            *map(_inside_json, self.json_field or ()),
        ]
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(
                f"--related and --json-field say twice where {twice!r} stands; say it once."
            )
        return found

    def side_information(self, catalog: Catalog, names: Iterable[str]) -> SideInformation:
        """The fields of these names.

        Raises :class:`UsageError` for a field that is placed and not among them.
        """
        sources, wanted = self.sources(), list(dict.fromkeys(names))
        if others := [name for name in sources if name not in wanted]:
            raise UsageError(
                f"No field is named {others[0]!r}; there are: {', '.join(wanted) or 'none'}. Name "
                f"it (--field {others[0]}:multi), or leave out where it stands."
            )
        return catalog.side_information({name: sources.get(name, name) for name in wanted})

    def read(self, catalog: Catalog, fields: Sequence[str]) -> SideInformation | None:
        """What some fields name, and say what was left out; None without fields."""
        names = [Field.parse(text).name for text in fields]
        if not names and not self.sources():
            return None
        with working("reading the items"):
            side = self.side_information(catalog, names)
        for sentence in side.report:
            say(sentence)
        return side


def supports_side(builder: Any) -> bool:
    """Whether a builder, or its class, reads side information."""
    return bool(getattr(builder, "supports_side", False))


def add_fields(
    name: str, kind: type[Any], options: Mapping[str, Any], fields: Sequence[str] | None
) -> dict[str, Any]:
    """The options of a builder with those of ``--field``; :class:`UsageError` if it has no use."""
    if not fields:
        return dict(options)
    if not supports_side(kind):
        raise UsageError(f"{name} reads no side information; leave --field out, or build eges.")
    return {**options, "fields": [*options.get("fields", ()), *fields]}


def fields_of(builders: Iterable[Any]) -> list[str]:
    """The fields that the builders read, as they were declared, each once."""
    texts = [text for one in builders if supports_side(one) for text in one.fields or ()]
    return list(dict.fromkeys(texts))


def keep_side(builder: Any, path: Path) -> dict[str, Any]:
    """Tell what a builder learned of its fields, and save its cold start beside its vectors.

    Returns what goes into the lineage.
    """
    model = getattr(builder, "cold_start_", None)
    if model is None:
        return {}
    for sentence in builder.report_:
        say(sentence)
    weights = dict(builder.field_weights_)
    ranked = sorted(weights.items(), key=lambda pair: -pair[1])
    print_table(["slot", "weight"], [[slot, f"{weight:.4f}"] for slot, weight in ranked])
    return {"field_weights": weights, "cold_start": model.save(cold_start_path(path))}


def side(
    field: FieldOption = None,
    related: RelatedOption = None,
    json_field: JsonFieldOption = None,
    database: DatabaseOption = None,
) -> None:
    """Show how many items have a value of each field, and how many values there are.

    A field of [bold]--field[/] is shown as a builder reads it, any other as it stands.
    """
    options, fields = SideOptions(related, json_field), list(map(Field.parse, field or ()))
    names = [*(one.name for one in fields), *options.sources()]
    if not names:
        raise UsageError("Name the fields to look at, such as --field brand --field genres:multi.")
    with Settings.load(database=database).catalog() as catalog, working("reading the items"):
        found = options.side_information(catalog, names)
    columns = {name: found.column(name) for name in names}
    columns |= {one.name: _as_read(one, found) for one in fields}
    for sentence in found.report:
        say(sentence)
    print_table(
        ["field", "items", "share", "distinct", "values per item"],
        [
            [
                one.column,
                f"{one.present:,}",
                f"{100 * one.share:.1f} %",
                f"{one.distinct:,}",
                f"{one.values_per_item:.2f}" if one.values > one.present else "",
            ]
            for one in SideInformation(found.ids, columns).coverage()
        ],
    )
    say(f"{len(found):,} items")


def _as_read(field: Field, side: SideInformation) -> list[Any]:
    """The column as builders read it: text, lists of texts, or numbers; None is no value."""
    cells = read_column(field, side.column(field.name), side.ids)
    several = [cells.values[start:end] for start, end in pairwise(cells.offsets.tolist())]
    if field.kind == "multi":
        return several
    return [values[0] if len(values) else None for values in several]


def _related(text: str) -> tuple[str, Related]:
    """``NAME=TABLE.ITEM_COLUMN.VALUE_COLUMN``; the table may have a schema before it."""
    name, _, place = text.partition("=")
    table, *columns = place.rsplit(".", 2)
    if not (name and table and len(columns) == 2 and all(columns)):
        raise UsageError(
            "--related is NAME=TABLE.ITEM_COLUMN.VALUE_COLUMN, as in tags=item_tag.item_id.tag; "
            f"received {text!r}."
        )
    return name, Related(table, *columns)


def _inside_json(text: str) -> tuple[str, JsonPath]:
    """``NAME=COLUMN.KEY…``."""
    name, _, place = text.partition("=")
    column, *keys = place.split(".")
    if not (name and column and all(keys)):
        raise UsageError(
            f"--json-field is NAME=COLUMN.KEY…, as in brand=extra.brand.name; received {text!r}."
        )
    return name, JsonPath(column, *keys)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(side)
