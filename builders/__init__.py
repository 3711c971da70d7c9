"""Behaviour → vectors."""

from .builder import Builder
from .deepwalk import DeepWalk
from .graph import ItemGraph
from .item2vec import Item2Vec
from .netmf import NetMF
from .node2vec import Node2Vec
from .prone import ProNE
from .registry import load_builder

__all__ = [
    "Builder",
    "DeepWalk",
    "Item2Vec",
    "ItemGraph",
    "NetMF",
    "Node2Vec",
    "ProNE",
    "load_builder",
]
