"""Options of builders: stored unchanged by the constructor, checked by ``fit``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.errors import InvalidOption


def params_of(builder: object) -> dict[str, Any]:
    """The options of a builder: its attributes that do not end in an underscore."""
    return {name: value for name, value in vars(builder).items() if not name.endswith("_")}


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
