"""Behaviour → vectors."""

from .builder import Builder
from .deepwalk import DeepWalk
from .graph import ItemGraph
from .item2vec import Item2Vec
from .node2vec import Node2Vec
from .registry import load_builder

__all__ = ["Builder", "DeepWalk", "Item2Vec", "ItemGraph", "Node2Vec", "load_builder"]
