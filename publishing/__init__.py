"""Publishing versions of a space: load, check, switch, roll back, compare, collect."""

from .collecting import Collected, collect
from .comparing import Difference, diff
from .publish import activate, move, publish, publish_build, rollback

__all__ = [
    "Collected",
    "Difference",
    "activate",
    "collect",
    "diff",
    "move",
    "publish",
    "publish_build",
    "rollback",
]
