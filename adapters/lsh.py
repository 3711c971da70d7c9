"""``lsh://``: the native random-hyperplane LSH (:mod:`itemspace.lsh`)."""

from __future__ import annotations

from ..lsh import HyperplaneLSH, LSHOptions
from .in_process import InProcessBackend

backend = InProcessBackend(LSHOptions, HyperplaneLSH)
