"""The one way in which kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile with numba: cached on disk, without the GIL, IEEE arithmetic in source order.

    Never ``parallel=True``: numba's thread layers die in forked children and under several
    threads; run nogil kernels in a thread pool instead.
    """
    return _compile(function)


def fast_kernel(function: F) -> F:
    """As :func:`kernel`, but sums may be reordered (and so vectorised): for estimates only.

    The order is fixed when the kernel is compiled: the same numbers give the same result, in a
    batch or alone. NaN and infinity stay what they are.
    """
    return _compile(function, fastmath={"reassoc", "contract", "nsz"})


def inlined(function: F) -> F:
    """A part of a kernel, compiled as if it stood where it is called; only kernels can call it.

    A call of its own costs as much as a short loop, for every array that it is given.
    """
    return cast(F, numba.njit(inline="always", error_model="numpy")(function))


def instruction(function: Callable[..., Any]) -> Any:
    """A part of kernels in LLVM's own terms; ``function`` is as numba's ``intrinsic`` has it."""
    return intrinsic(function)


def _compile(function: F, **options: Any) -> F:
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except (RuntimeError, OSError):
        # Nowhere to cache: a read-only installation without a home. Compiled in each process.
        return cast(F, numba.njit(**options)(function))
