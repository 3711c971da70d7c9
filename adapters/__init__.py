"""Vector backends behind the one protocol; opened by URL."""

from .registry import create_retriever, open_retriever
from .url import RetrieverURL

__all__ = ["RetrieverURL", "create_retriever", "open_retriever"]
