"""A named space, and the lookups over it."""

from ..catalog.user_events import Seen
from .coverage import Coverage
from .lookup import Lookup, Rows
from .planner import Plan
from .space import Space
from .subjects import UserSource

__all__ = ["Coverage", "Lookup", "Plan", "Rows", "Seen", "Space", "UserSource"]
