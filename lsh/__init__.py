"""The native LSH: trees of hyperplanes, buckets of codes, query-directed probing, exact scores."""

from .index import HyperplaneLSH
from .options import LSHOptions

__all__ = ["HyperplaneLSH", "LSHOptions"]
