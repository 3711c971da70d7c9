"""What commands share about side information: ``--field``, and the columns that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..builders import Field
from ..catalog import Catalog
from ..catalog.records import cold_start_path
from ..core.errors import UsageError
from ..core.side_information import SideInformation
from .output import print_table, say, working

FieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        help="Side information, a column of the items: brand, genres:multi, genres:multi:SEPARATOR "
        "or price:numeric; repeatable. For builders that read it, such as eges.",
        show_default=False,
    ),
]


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


def read_side(catalog: Catalog, fields: Sequence[str]) -> SideInformation | None:
    """The columns of the items that some fields name; None without fields."""
    if not fields:
        return None
    names = [Field.parse(text).name for text in fields]
    with working("reading the items"):
        return catalog.read_side_information(names)


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
