"""An index as one array of addresses: taking twenty arrays apart for each call of a kernel takes
longer than to search a small index."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.np.numpy_support import carray

from ..core.jit import instruction, kernel
from .buckets import Buckets
from .growing import Forest
from .lanes import GROUP, LANES
from .space import Int64s, Space


def handle_of(space: Space, forest: Forest, buckets: Buckets) -> Int64s:
    """Addresses and lengths; good for as long as the arrays are kept alive by the caller."""
    arrays: list[Any] = [space.centre, *forest, *buckets[:9]]
    assert all(array.flags.c_contiguous for array in arrays)
    length = np.float32(space.length).view(np.int32)
    sizes = [len(buckets.codes), len(buckets.biases), len(buckets.sizes)]
    sizes += [len(forest.offsets), len(forest.roots), forest.planes.shape[1]]
    facts = [space.metric, length, len(space.centre), *sizes]
    return np.array([*facts, *(array.ctypes.data for array in arrays)], dtype=np.int64)


@instruction
def _pointer(_context: Any, address: Any) -> Any:
    """An address as a pointer."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@kernel
def metric_of(handle: Int64s) -> tuple[int, np.float32]:
    """The space's metric and length."""
    bits = np.empty(1, dtype=np.int32)
    bits[0] = handle[1]
    return handle[0], bits.view(np.float32)[0]


@kernel
def centre_of(handle: Int64s) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The space's centre."""
    return carray(_pointer(handle[9]), (handle[2],), np.float32)


@kernel
def forest_of(handle: Int64s) -> Forest:
    """The nodes, as they are there now."""
    nodes, trees, width = handle[6], handle[7], handle[8]
    return Forest(
        carray(_pointer(handle[10]), (nodes, width), np.float32),
        carray(_pointer(handle[11]), (nodes,), np.float32),
        carray(_pointer(handle[12]), (nodes,), np.float32),
        carray(_pointer(handle[13]), (nodes,), np.float32),
        carray(_pointer(handle[14]), (nodes, 2), np.int32),
        carray(_pointer(handle[15]), (trees,), np.int32),
    )


@kernel
def buckets_of(handle: Int64s) -> Buckets:
    """The buckets, as they are there now; without ``counts``."""
    dim, blocks, biases, buckets = handle[2], handle[3], handle[4], handle[5]
    groups = (dim + GROUP - 1) // GROUP
    return Buckets(
        carray(_pointer(handle[16]), (buckets, dim), np.float32),
        carray(_pointer(handle[17]), (buckets,), np.float32),
        carray(_pointer(handle[18]), (buckets,), np.int32),
        carray(_pointer(handle[19]), (buckets,), np.int32),
        carray(_pointer(handle[20]), (buckets,), np.int32),
        carray(_pointer(handle[21]), (blocks,), np.int32),
        carray(_pointer(handle[22]), (blocks, groups, LANES, GROUP), np.uint8),
        carray(_pointer(handle[23]), (blocks, LANES), np.int32),
        carray(_pointer(handle[24]), (biases, LANES), np.float32),
        np.empty(0, dtype=np.int64),
    )
