"""URL parameters ↔ the fields of a frozen options dataclass."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, field, fields, replace
from typing import Any, TypeVar

from ..core.errors import InvalidOption, UnknownParameter
from .url import RetrieverURL

T = TypeVar("T")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def parse_parameters(url: RetrieverURL, options: type[Any]) -> dict[str, Any]:
    """The URL's parameters with the types of the fields of ``options``.

    Raises
    ------
    UnknownParameter
        Names the parameters that the backend knows.
    InvalidOption
        A value that is not of the field's type.
    """
    hints = typing.get_type_hints(options)
    known = [known.name for known in fields(options)]
    return {
        name: _convert(name, text, hints[name]) if name in known else _unknown(url, name, known)
        for name, text in url.parameters.items()
    }


def merge_options(
    url: RetrieverURL, options: type[T], saved: Mapping[str, Any], named: Mapping[str, Any]
) -> T:
    """``saved`` options with what the URL names; only search-time options may differ.

    A field is search-time where it was made by :func:`search_time`.
    """
    free = search_fields(options)
    for name, value in named.items():
        if value != saved.get(name) and name not in free:
            raise InvalidOption(
                f"{url} says {name}={value!r}, but the index was built with "
                f"{name}={saved.get(name)!r}; leave the parameter out, or create a new index.",
                option=name,
                received=value,
            )
    return options(**{**saved, **named})


def search_time(default: Any, **more: Any) -> Any:
    """A field that may change between one opening and the next."""
    return field(default=default, metadata={"search": True}, **more)


def build_options(options: Any) -> dict[str, Any]:
    """The options that an index is built with."""
    free = search_fields(type(options))
    return {name: value for name, value in asdict(options).items() if name not in free}


def check_option(options: Any, name: str, holds: object, expected: str) -> None:
    """Raise :class:`InvalidOption` unless what an option should be holds."""
    if not holds:
        received = getattr(options, name)
        raise InvalidOption(
            f"{name} is {expected}; received {received!r}.", option=name, received=received
        )


def check_range(options: Any, name: str, least: float, most: float) -> None:
    """Raise :class:`InvalidOption` unless an option is left out or in its range."""
    value = getattr(options, name)
    holds = value is None or least <= value <= most
    check_option(options, name, holds, f"at least {least:,} and at most {most:,}")


def check_choice(options: Any, name: str, choices: Iterable[str]) -> None:
    """Raise :class:`InvalidOption` unless an option is one of its choices."""
    known = tuple(choices)
    check_option(options, name, getattr(options, name) in known, f"one of {', '.join(known)}")


def collection_below(
    url: RetrieverURL, options: type[Any], name: str, longest: int
) -> RetrieverURL:
    """The URL whose collection has ``name`` added, and is cut so that both fit in bytes."""
    named = parse_parameters(url, options).get("collection", "items")
    kept = max(0, longest - 1 - len(name.encode()))
    collection = f"{named.encode()[:kept].decode(errors='ignore')}_{name}"
    return replace(url, parameters={**url.parameters, "collection": collection})


def search_fields(options: type[Any]) -> frozenset[str]:
    """The names of the fields that may change between one opening and the next."""
    return frozenset(f.name for f in fields(options) if f.metadata.get("search"))


def _unknown(url: RetrieverURL, name: str, known: list[str]) -> Any:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(sorted(known)) or "none"
    raise UnknownParameter(
        f"{url.scheme} has no parameter {name!r}; it has: {listed}.{hint}",
        url=str(url),
        parameter=name,
    )


def _convert(name: str, text: str, hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    converters: dict[Any, Callable[[str], Any]] = {
        bool: lambda value: _BOOLEANS[value.lower()],
        int: int,
        float: float,
        str: str,
    }
    try:
        return converters[hint](text)
    except (KeyError, ValueError):
        raise InvalidOption(
            f"The parameter {name} is of type {hint.__name__}; received {text!r}.",
            option=name,
            received=text,
        ) from None
