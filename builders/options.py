"""Options of builders: stored unchanged by the constructor, checked by ``fit``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from ..core.behaviour import Sequences
from ..core.errors import InvalidOption


class Configured:
    """A builder whose options are its attributes that do not end in an underscore."""

    def get_params(self) -> dict[str, Any]:
        """The options, by name."""
        return {name: value for name, value in vars(self).items() if not name.endswith("_")}


def lineage_of(name: str, builder: Configured, data: Any, **more: Any) -> dict[str, Any]:
    """What the vectors of a builder say of where they come from: sequences, or a graph."""
    if isinstance(data, Sequences):
        size = {"sequences": len(data), "events": len(data.items)}
    else:
        size = {"nodes": len(data), "edges": data.edges, "directed": data.directed}
    return {
        "builder": name,
        "options": builder.get_params(),
        **size,
        **more,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def check_window(builder: Any, name: str = "window") -> None:
    """Raise :class:`InvalidOption` unless it is None or a whole number of at least 1."""
    if getattr(builder, name) is not None:
        check_option(builder, name, int, lambda value: value >= 1, "None or at least 1")


def check_half_life(builder: Any) -> None:
    """Raise :class:`InvalidOption` unless ``half_life`` is None or a number above 0."""
    if builder.half_life is not None:
        check_option(builder, "half_life", float, lambda value: value > 0, "None or above 0")


def check_choice(builder: object, name: str, choices: tuple[str, ...]) -> None:
    """Raise :class:`InvalidOption` unless the option is one of ``choices``."""
    value = getattr(builder, name)
    if value not in choices:
        raise InvalidOption(
            f"{name} is one of {', '.join(choices)}; received {value!r}.",
            option=name,
            received=value,
        )


def check_option(
    builder: object, name: str, kind: type, holds: Callable[[Any], Any], expected: str
) -> None:
    """Raise :class:`InvalidOption` unless the option is of ``kind`` and in its range."""
    value = getattr(builder, name)
    kinds = (int, float) if kind is float else kind
    if isinstance(value, bool) or not isinstance(value, kinds) or not holds(value):
        raise InvalidOption(
            f"{name} is {expected}; received {value!r}.", option=name, received=value
        )


def check_skipgram(builder: object, *counts: str) -> None:
    """Raise :class:`InvalidOption` for options of a skip-gram builder out of their range.

    ``counts`` are options of its own that are whole numbers of at least 1.
    """
    check_window(builder)
    if builder.patience is not None:  # type: ignore[attr-defined]
        check_option(builder, "patience", int, lambda value: value >= 1, "None or at least 1")
    for name in ("dim", "negatives", "threads", *counts):
        check_option(builder, name, int, lambda value: value >= 1, "a whole number of at least 1")
    check_option(builder, "sample", float, lambda value: value >= 0, "a number of at least 0")
    check_option(builder, "alpha", float, lambda value: value > 0, "a number above 0")
    check_option(builder, "ns_exponent", float, isfinite, "a finite number")
    check_option(builder, "seed", int, lambda value: value >= 0, "a whole number of at least 0")


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low`` to ``high``, both included; ``log``: searched by magnitude."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Real:
    """A number from ``low`` to ``high``; ``log``: searched by magnitude."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class OneOf:
    """One of the values, without an order."""

    values: tuple[Any, ...]


#: What may be searched for each option; a builder's ``search_space`` is its default.
SearchSpace = Mapping[str, Whole | Real | OneOf]
