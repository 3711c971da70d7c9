"""Builder names → classes: our own, and those of the entry-point group ``itemspace.builders``."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from ..core.errors import BrokenPlugin, InvalidOption

GROUP = "itemspace.builders"
BUILTINS = MappingProxyType(
    {
        "counts": "itemspace.builders.factorisation:CountFactorization",
        "deepwalk": "itemspace.builders.deepwalk:DeepWalk",
        "eges": "itemspace.builders.eges:EGES",
        "item2vec": "itemspace.builders.item2vec:Item2Vec",
        "itemknn": "itemspace.builders.counting:ItemKNN",
        "mf": "itemspace.builders.matrix_factorisation:MatrixFactorization",
        "netmf": "itemspace.builders.netmf:NetMF",
        "node2vec": "itemspace.builders.node2vec:Node2Vec",
        "pmi": "itemspace.builders.factorisation:PMIFactorization",
        "popularity": "itemspace.builders.counting:Popularity",
        "prone": "itemspace.builders.prone:ProNE",
    }
)


def load_builder(name: str) -> type[Any]:
    """The builder class of a name, imported on first use; built-ins cannot be replaced.

    Raises :class:`InvalidOption` naming the builders there are, or :class:`BrokenPlugin`.
    """
    if name in BUILTINS:
        module, _, attribute = BUILTINS[name].partition(":")
        builtin: type[Any] = getattr(importlib.import_module(module), attribute)
        return builtin
    plugins = {point.name: point for point in entry_points(group=GROUP)}
    if name not in plugins:
        known = sorted({*BUILTINS, *plugins})
        near = difflib.get_close_matches(name, known, n=1)
        raise InvalidOption(
            f"There is no builder {name!r}; there are: {', '.join(known)}."
            + (f" Did you mean {near[0]!r}?" if near else ""),
            option="builder",
            received=name,
        )
    try:
        plugin: type[Any] = plugins[name].load()
    except Exception as error:
        raise BrokenPlugin(
            f"The builder plugin {plugins[name].value!r} does not load: {error!r}. "
            "Repair or uninstall it."
        ) from error
    return plugin
