"""The conformance suite for retrievers, for our backends and everyone else's."""

from .retriever import RetrieverSuite

__all__ = ["RetrieverSuite"]
