"""Publishing versions of a space."""

from .publish import publish, publish_build

__all__ = ["publish", "publish_build"]
