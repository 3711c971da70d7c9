"""SQL: items, interactions, builds and versions."""

from .catalog import Catalog
from .conditions import parse_condition
from .engines import open_engine
from .schema import check, current, downgrade, ensure, include_name, upgrade
from .side_information import JsonPath, Related

__all__ = [
    "Catalog",
    "JsonPath",
    "Related",
    "check",
    "current",
    "downgrade",
    "ensure",
    "include_name",
    "open_engine",
    "parse_condition",
    "upgrade",
]
