"""Publishing versions of a space."""

from .publish import move, publish, publish_build

__all__ = ["move", "publish", "publish_build"]
