"""Behaviour → vectors."""

from ..core.side_information import SideInformation
from .builder import Builder, UserItemVectors
from .deepwalk import DeepWalk
from .eges import EGES
from .fields import Field
from .graph import ItemGraph
from .item2vec import Item2Vec
from .matrix_factorisation import MatrixFactorization
from .netmf import NetMF
from .node2vec import Node2Vec
from .prone import ProNE
from .registry import load_builder

__all__ = [
    "EGES",
    "Builder",
    "DeepWalk",
    "Field",
    "Item2Vec",
    "ItemGraph",
    "MatrixFactorization",
    "NetMF",
    "Node2Vec",
    "ProNE",
    "SideInformation",
    "UserItemVectors",
    "load_builder",
]
