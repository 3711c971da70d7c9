"""User vectors and recommending."""

from .recommending import recommend

__all__ = ["recommend"]
