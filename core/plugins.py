"""Names → what stands behind them: one lazy table, and entry points for everyone else's."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from .errors import BrokenPlugin, MissingExtra


class Builtin(NamedTuple):
    """Where something of ours lives, and which extra brings what it needs."""

    target: str
    """``module:name``."""
    requires: str | None = None
    extra: str | None = None


@dataclass(frozen=True)
class Plugins:
    """The things of one kind that a name may stand for.

    Nothing is imported before it is asked for, and nobody's plugin replaces one of ours.
    """

    what: str
    """What they are, for messages: ``backend``."""
    group: str
    """The entry-point group of everyone else's."""
    builtins: Mapping[str, Builtin]
    duty: str
    """An attribute that each of them has."""
    unknown: Callable[[str, str], Exception]
    """The error for an unknown name, from the name and a text."""

    def load(self, name: str) -> Any:
        """What the name stands for, imported on first use.

        Raises
        ------
        UnknownScheme, InvalidOption, …
            An unknown name; those there are are listed.
        MissingExtra
            What one of ours needs is not installed.
        BrokenPlugin
            Somebody else's does not load, or is something else.
        """
        if name in self.builtins:
            return self._load_builtin(self.builtins[name])
        plugins = {point.name: point for point in entry_points(group=self.group)}
        if name in plugins:
            return self._load_plugin(plugins[name])
        known = sorted({*self.builtins, *plugins})
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise self.unknown(
            name, f"There is no {self.what} {name!r}; there are: {', '.join(known)}.{hint}"
        )

    def name_of(self, target: str) -> str | None:
        """The name under which ``module:name`` is known, if it is."""
        named = {builtin.target: name for name, builtin in self.builtins.items()}
        plugins = {point.value: point.name for point in entry_points(group=self.group)}
        return named.get(target) or plugins.get(target)

    def _load_builtin(self, builtin: Builtin) -> Any:
        module, _, name = builtin.target.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if builtin.requires is None or (error.name or "").partition(".")[0] != builtin.requires:
                raise
            raise MissingExtra(
                f"This {self.what} needs the package {error.name!r}; install it with "
                f"pip install 'itemspace[{builtin.extra}]'.",
                extra=builtin.extra,
            ) from error

    def _load_plugin(self, point: EntryPoint) -> Any:
        try:
            found = point.load()
            if not hasattr(found, self.duty):
                raise TypeError(f"{found!r} has no {self.duty}(): it is no {self.what}")
        except Exception as error:
            raise BrokenPlugin(
                f"The {self.what} plugin {point.value!r} for {point.name!r} does not load: "
                f"{error!r}. Repair or uninstall it."
            ) from error
        return found
