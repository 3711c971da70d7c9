"""Behaviour → vectors."""

from .builder import Builder
from .item2vec import Item2Vec
from .registry import load_builder

__all__ = ["Builder", "Item2Vec", "load_builder"]
