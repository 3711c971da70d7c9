"""URL parameters ↔ the fields of a frozen options dataclass."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ..core.errors import InvalidOption, UnknownParameter
from .url import RetrieverURL

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
    known = [field.name for field in dataclasses.fields(options)]
    return {
        name: _convert(name, text, hints[name]) if name in known else _unknown(url, name, known)
        for name, text in url.parameters.items()
    }


def merge_options(url: RetrieverURL, saved: Mapping[str, Any], named: dict[str, Any]) -> Any:
    """``saved`` options with what the URL names; only search-time options may differ.

    A field is search-time where its metadata says ``{"search": True}``.
    """
    for name, value in named.items():
        if value != saved.get(name) and name not in saved.get("_search", ()):
            raise InvalidOption(
                f"{url} says {name}={value!r}, but the index was built with "
                f"{name}={saved.get(name)!r}; leave the parameter out, or create a new index.",
                option=name,
                received=value,
            )
    return {**saved, **named}


def search_fields(options: type[Any]) -> frozenset[str]:
    """The names of the fields that may change between one opening and the next."""
    return frozenset(f.name for f in dataclasses.fields(options) if f.metadata.get("search"))


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
