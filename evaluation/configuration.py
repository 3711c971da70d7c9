"""A builder's configuration as a TOML file: what a search found, and what a build takes."""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..builders import load_builder
from ..core.errors import InputError, InvalidOption
from ..core.histories import Recent

#: TOML has no null.
_NONE = "none"
_FOUND = {"measure": str, "value": float, "split": str, "trials": int, "seconds": float}
_HEADING = (
    "# `itemspace build --config` takes this file, and `itemspace evaluate` among its builders."
)


@dataclass(frozen=True)
class Configuration:
    """A builder with its options, and how a history becomes a user vector."""

    builder: str
    """Its registered name."""
    options: dict[str, Any]
    recent: Recent
    found: dict[str, Any] = field(default_factory=dict)
    """Where it comes from: ``measure``, ``value``, ``split``, ``trials`` and ``seconds``."""

    def make(self, **options: Any) -> Any:
        """The builder, not fitted; ``options`` go before its own."""
        return load_builder(self.builder)(**self.options | options)

    def write(self, path: str | Path) -> None:
        """Write it as TOML, ``None`` as the text ``none``.

        Raises :class:`InvalidOption` for an option that is no plain value, before it writes.
        """
        user = {"recent": self.recent.count, "decay": self.recent.decay}
        lines = [_HEADING, f"builder = {_to_toml('builder', self.builder)}"]
        for name, table in (("options", self.options), ("user", user), ("found", self.found)):
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {_to_toml(key, value)}" for key, value in table.items()]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_config(path: str | Path) -> Configuration:
    """Read what :meth:`Configuration.write` wrote; options that it leaves out are the defaults.

    Raises
    ------
    InputError
        The file is not there or no TOML; something in it is missing, unknown or of another type.
    InvalidOption
        There is no such builder.
    """
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}.", path=str(path)) from error
    tables = {"builder": str, "options": dict, "user": dict}
    _check(path, "", found, tables, {"found": dict})
    _check(path, "user.", found["user"], {"recent": int, "decay": float})
    _check(path, "found.", found.get("found", {}), {}, _FOUND)
    known = inspect.signature(load_builder(found["builder"])).parameters
    options = {name: _from_toml(value) for name, value in found["options"].items()}
    kinds = {name: type(one.default) for name, one in known.items()}
    _check(path, "options.", options, {}, kinds)
    for name, value in options.items():
        if kinds[name] in (float, tuple) and value is not None:
            options[name] = kinds[name](value)
    try:
        recent = Recent(found["user"]["recent"], float(found["user"]["decay"]))
    except InvalidOption as error:
        raise InputError(f"{path}: in [user], {error}", path=str(path)) from error
    return Configuration(found["builder"], options, recent, found.get("found", {}))


def _check(
    path: str | Path,
    where: str,
    table: Mapping[str, Any],
    needed: Mapping[str, type],
    more: Mapping[str, type] | None = None,
) -> None:
    """Raise :class:`InputError` for what is missing, unknown or of another type."""
    known = {**needed, **(more or {})}
    for name in needed:
        if name not in table:
            raise InputError(
                f"{path} has no {where}{name}; `itemspace tune` writes it.", path=str(path)
            )
    for name, value in table.items():
        if name not in known:
            raise InputError(
                f"{path} has the unknown {where}{name}; it may have: {', '.join(known)}.",
                path=str(path),
            )
        if not _is_a(known[name], value):
            raise InputError(
                f"{path}: {where}{name} is of type {known[name].__name__}; received {value!r}.",
                path=str(path),
            )


def _is_a(kind: type, value: Any) -> bool:
    """Whether the value may stand where the default is of ``kind``; any may where that is None."""
    if kind is type(None) or value is None:
        return True
    if kind is not bool and isinstance(value, bool):
        return False
    wider: dict[type, tuple[type, ...]] = {float: (float, int), tuple: (list,)}
    return isinstance(value, wider.get(kind, (kind,)))


def _from_toml(value: Any) -> Any:
    return None if value == _NONE else value


def _to_toml(name: str, value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        value = _NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which only TOML asks to escape.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_to_toml(name, one) for one in value)}]"
    raise InvalidOption(
        f"{name} is no plain value, so no file can hold it: received {value!r}.",
        option=name,
        received=value,
    )
