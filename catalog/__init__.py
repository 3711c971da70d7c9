"""SQL: items, interactions, builds and versions."""

from .catalog import Catalog
from .conditions import parse_condition
from .engines import open_engine
from .schema import check, current, downgrade, ensure, include_name, upgrade

__all__ = [
    "Catalog",
    "check",
    "current",
    "downgrade",
    "ensure",
    "include_name",
    "open_engine",
    "parse_condition",
    "upgrade",
]
