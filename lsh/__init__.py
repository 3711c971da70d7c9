"""The native LSH: random hyperplanes, several tables, query-directed probing, exact scores."""

from .index import HyperplaneLSH
from .options import LSHOptions

__all__ = ["HyperplaneLSH", "LSHOptions"]
