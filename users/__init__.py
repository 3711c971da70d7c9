"""User vectors and recommending."""

from .recommending import mean_vector, recommend

__all__ = ["mean_vector", "recommend"]
