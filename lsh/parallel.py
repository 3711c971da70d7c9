"""Kernels without the GIL, in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def run_all(run: Callable[[T], R], things: Iterable[T], threads: int) -> list[R]:
    """``run`` of each thing, in order; in threads where there are several of both."""
    todo = list(things)
    if threads == 1 or len(todo) < 2:
        return list(map(run, todo))
    with ThreadPoolExecutor(min(threads, len(todo))) as pool:
        return list(pool.map(run, todo))


def pieces(count: int, size: int) -> list[slice]:
    """[0, count) in slices of at most ``size``."""
    return [slice(low, high) for low, high in pairwise([*range(0, count, size), count])]
