"""Builder names → classes: our own, and those of the entry-point group ``itemspace.builders``."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from ..core.errors import InvalidOption
from ..core.plugins import Builtin, Plugins


def _unknown(name: str, text: str) -> InvalidOption:
    return InvalidOption(text, option="builder", received=name)


BUILDERS = Plugins(
    what="builder",
    group="itemspace.builders",
    builtins=MappingProxyType(
        {
            "counts": Builtin("itemspace.builders.factorisation:CountFactorization"),
            "deepwalk": Builtin("itemspace.builders.deepwalk:DeepWalk"),
            "eges": Builtin("itemspace.builders.eges:EGES"),
            "item2vec": Builtin("itemspace.builders.item2vec:Item2Vec"),
            "itemknn": Builtin("itemspace.builders.counting:ItemKNN"),
            "mf": Builtin("itemspace.builders.matrix_factorisation:MatrixFactorization"),
            "netmf": Builtin("itemspace.builders.netmf:NetMF"),
            "node2vec": Builtin("itemspace.builders.node2vec:Node2Vec"),
            "pmi": Builtin("itemspace.builders.factorisation:PMIFactorization"),
            "popularity": Builtin("itemspace.builders.counting:Popularity"),
            "prone": Builtin("itemspace.builders.prone:ProNE"),
        }
    ),
    duty="fit",
    unknown=_unknown,
)


def load_builder(name: str) -> type[Any]:
    """The builder class of a name; see :meth:`.Plugins.load`."""
    builder: type[Any] = BUILDERS.load(name)
    return builder
