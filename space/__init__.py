"""A named space, and the lookups over it."""

from .lookup import Lookup, Rows
from .planner import Plan
from .space import Space

__all__ = ["Lookup", "Plan", "Rows", "Space"]
