"""Sixteen estimated products at once, by the widest instruction that the processor has.

A block holds sixteen rows as codes of 7 bits, unsigned, four coordinates of all rows together:
``uint8 (groups, 16, 4)``. The query is ``int8``, four coordinates in an ``int32``. Because a code
has 7 bits, two products fit 16 bits, and every way to sum them up gives the same integers:

``VNNI``
    ``vpdpbusd`` over 64 bytes, where the processor has AVX-512 VNNI.
``AVX2``
    ``vpmaddubsw`` and ``vpmaddwd`` over 32 bytes.
``PORTABLE``
    Vectors of LLVM's, which become what the processor has: NEON, SSE2, ….

numba compiles for the processor at hand, and keeps what it compiled for that processor only; where
an instruction is missing, its name stands for the portable code, so nothing here can crash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils as typed_cgutils

from ..core.jit import instruction

#: numba's helpers have no types.
cgutils: Any = typed_cgutils
LANES, GROUP = 16, 4
#: Ways to sum up, see above.
VNNI, AVX2, PORTABLE = 0, 1, 2

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_F32 = ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_I32, LANES), ir.VectorType(_F32, LANES)
_BLOCK = LANES * GROUP
#: Bytes of a cache line.
_LINE = 64
_Step = Callable[[Any, Any, Any, Any], Any]


def has(way: int) -> bool:
    """Whether the processor has the instructions of :data:`VNNI`, :data:`AVX2`."""
    features = llvm.get_host_cpu_features()
    needed = {VNNI: ("avx512vnni", "avx512bw"), AVX2: ("avx2",), PORTABLE: ()}[way]
    return all(features.get(name, False) for name in needed)


def best_way() -> int:
    """The fastest that the processor has."""
    return next(way for way in (VNNI, AVX2, PORTABLE) if has(way))


def _broadcast(builder: Any, value: Any, lanes: int) -> Any:
    kind = ir.VectorType(value.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, _I32(0))
    places = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    return builder.shuffle_vector(first, undefined, places)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=1)


def _call(builder: Any, name: str, result: Any, *values: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _vnni(builder: Any, sums: Any, codes: Any, query: Any) -> Any:
    wide = ir.VectorType(_I8, _BLOCK)
    values = builder.bitcast(_broadcast(builder, query, LANES), wide)
    found = _load(builder, codes, wide)
    return _call(builder, "llvm.x86.avx512.vpdpbusd.512", _INTS, sums, found, values)


def _avx2(builder: Any, sums: Any, codes: Any, query: Any) -> Any:
    bytes_, words = ir.VectorType(_I8, 32), ir.VectorType(_I16, 16)
    halves = []
    for half in (0, 32):
        found = _load(builder, builder.gep(codes, [_I64(half)]), bytes_)
        values = builder.bitcast(_broadcast(builder, query, 8), bytes_)
        pairs = _call(builder, "llvm.x86.avx2.pmadd.ub.sw", words, found, values)
        ones = ir.Constant(words, [1] * 16)
        eight = ir.VectorType(_I32, 8)
        halves.append(_call(builder, "llvm.x86.avx2.pmadd.wd", eight, pairs, ones))
    whole = builder.shuffle_vector(*halves, ir.Constant(_INTS, list(range(LANES))))
    return builder.add(sums, whole)


def _portable(builder: Any, sums: Any, codes: Any, query: Any) -> Any:
    four = _load(builder, codes, _INTS)
    for place in range(GROUP):
        shift = ir.Constant(_INTS, [8 * place] * LANES)
        found = builder.and_(builder.lshr(four, shift), ir.Constant(_INTS, [255] * LANES))
        value = builder.ashr(builder.shl(query, _I32(24 - 8 * place)), _I32(24))
        sums = builder.add(sums, builder.mul(found, _broadcast(builder, value, LANES)))
    return sums


def _make(step: _Step) -> Any:
    @instruction
    def estimate(
        _context: Any,
        codes: Any,
        block: Any,
        query: Any,
        base: Any,
        scale: Any,
        biases: Any,
        at: Any,
        least: Any,
        estimates: Any,
    ) -> Any:
        """estimates[i] = base + scale · (codes[block] · query)[i] + biases[at + i].

        Returns a mask of 16 bits: which are above ``least`` (NaN is not).
        """
        signature = types.int64(
            codes, types.int64, query, types.float32, types.float32, biases, types.int64,
            types.float32, estimates,
        )  # fmt: skip

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def array(place: int) -> Any:
                return context.make_array(signature.args[place])(context, builder, values[place])

            groups = cgutils.unpack_tuple(builder, array(0).shape, 4)[1]
            start = builder.mul(values[1], builder.mul(groups, _I64(_BLOCK)))
            first = builder.gep(builder.bitcast(array(0).data, _I8.as_pointer()), [start])
            four = builder.bitcast(array(2).data, _I32.as_pointer())
            # Two sums, for an instruction waits for its sum longer than for anything else.
            sums = [cgutils.alloca_once_value(builder, ir.Constant(_INTS, [0] * 16)) for _ in "ab"]

            def add(sum_: Any, group: Any) -> None:
                codes_of_group = builder.gep(first, [builder.mul(group, _I64(_BLOCK))])
                query_of_group = builder.load(builder.gep(four, [group]))
                done = step(builder, builder.load(sum_), codes_of_group, query_of_group)
                builder.store(done, sum_)

            with cgutils.for_range(builder, builder.lshr(groups, _I64(1))) as loop:
                even = builder.shl(loop.index, _I64(1))
                add(sums[0], even)
                add(sums[1], builder.add(even, _I64(1)))
            with builder.if_then(builder.trunc(groups, _I1)):
                add(sums[0], builder.sub(groups, _I64(1)))
            total = builder.sitofp(builder.add(*map(builder.load, sums)), _FLOATS)
            scaled = builder.fmul(total, _broadcast(builder, values[4], LANES))
            based = builder.fadd(scaled, _broadcast(builder, values[3], LANES))
            line = builder.gep(builder.bitcast(array(5).data, _F32.as_pointer()), [values[6]])
            found = builder.fadd(based, _load(builder, line, _FLOATS))
            place = builder.bitcast(array(8).data, _FLOATS.as_pointer())
            builder.store(found, place, align=4)
            above = builder.fcmp_ordered(">", found, _broadcast(builder, values[7], LANES))
            return builder.zext(builder.bitcast(above, _I16), _I64)

        return signature, generate

    return estimate


#: The three ways; those that the processor lacks are the portable one.
estimate_vnni = _make(_vnni if has(VNNI) else _portable)
estimate_avx2 = _make(_avx2 if has(AVX2) else _portable)
estimate_portable = _make(_portable)


@instruction
def lowest_bit(_context: Any, mask: Any) -> Any:
    """The place of the lowest bit of a mask that is not 0."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(_I1, 1))

    return types.int64(types.int64), generate


def _prefetch(dims: int, width: int) -> Any:
    """What asks for line ``row`` of an array of so many dimensions and bytes a number."""

    @instruction
    def prefetch(_context: Any, array: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            found = context.make_array(signature.args[0])(context, builder, values[0])
            size = _I64(width)
            for length in cgutils.unpack_tuple(builder, found.shape, dims)[1:]:
                size = builder.mul(size, length)
            place = builder.bitcast(found.data, _I8.as_pointer())
            first = builder.gep(place, [builder.mul(values[1], size)])
            kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
            ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            lines = builder.udiv(builder.add(size, _I64(_LINE - 1)), _I64(_LINE))
            with cgutils.for_range(builder, lines) as loop:
                line = builder.gep(first, [builder.mul(loop.index, _I64(_LINE))])
                builder.call(ask, [line, _I32(0), _I32(3), _I32(1)])
            return context.get_dummy_value()

        return types.void(array, types.int64), generate

    return prefetch


#: Ask for a row of a float32 matrix, or a block of codes, which is needed soon.
prefetch_row, prefetch_block = _prefetch(2, 4), _prefetch(4, 1)
