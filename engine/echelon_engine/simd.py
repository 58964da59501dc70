"""One vector loop that compilers do not find by themselves: a matrix times a vector, its sums kept in registers.

Written in LLVM's vector types, so it becomes AVX-512, AVX2 or NEON as the machine has it. Nothing here allocates.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

import echelon_engine._jit  # noqa: F401 - sets the cache folder before Numba is imported

PANEL = 32  # outputs whose sums are kept in registers together
UNROLL = 2  # inputs taken per turn: with PANEL, enough independent sums to hide the latency of a multiply-add

_F32, _I64 = ir.FloatType(), ir.IntType(64)
_WIDE = ir.VectorType(_F32, PANEL)


def _plain(typingctx: Any, array: Any) -> Any:
    """Return a record's array field as an ordinary C-contiguous array of the same memory.

    Every field has a type of its own, by its shape; without this a function would be compiled for each. Slicing (`[:]`)
    does the same, with more code.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        borrowed: Any = impl_ret_borrowed
        return borrowed(context, builder, signature.return_type, args[0])

    return types.Array(array.dtype, array.ndim, "C")(array), codegen


plain: Any = intrinsic(_plain)


def _panel_product(typingctx: Any, out: Any, panels: Any, x: Any, bias: Any) -> Any:
    """Write `out[32 p + j] = bias[32 p + j] + sum_k panels[p, k, j] x[k]`; float32, C-contiguous, k even.

    `panels` (P, K, 32) is read once, front to back; out (32 P,), x (K,), bias (32 P,); out may be bias, never x.
    The function that calls this is never inlined.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = [
            context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args, args, strict=True)
        ]
        to, weights, inputs, offset = arrays
        tools: Any = cgutils
        count, depth = tools.unpack_tuple(builder, weights.shape, 3)[:2]
        multiply_add = tools.get_or_insert_function(
            builder.module, ir.FunctionType(_WIDE, [_WIDE] * 3), f"llvm.fmuladd.v{PANEL}f32"
        )
        wide = [builder.bitcast(array.data, _WIDE.as_pointer()) for array in (to, weights, offset)]
        none = ir.Constant(_WIDE, None)
        spread = ir.Constant(ir.VectorType(ir.IntType(32), PANEL), [0] * PANEL)

        def load(base: Any, index: Any) -> Any:
            # Arrays are aligned to single numbers only, wherever their record lies.
            return builder.load(builder.gep(base, [index]), align=4)

        # One copy for all layers: inlined into each caller it would cost seconds of compile time.
        builder.function.attributes.add("noinline")
        with tools.for_range(builder, count) as panel:
            first = builder.mul(panel.index, depth)
            start, body, end = (builder.append_basic_block(name) for name in ("sum.start", "sum.body", "sum.end"))
            builder.branch(start)
            builder.position_at_end(start)
            builder.branch(body)
            builder.position_at_end(body)
            k = builder.phi(_I64)
            sums = [builder.phi(_WIDE) for _ in range(UNROLL)]
            k.add_incoming(_I64(0), start)
            for n, total in enumerate(sums):
                total.add_incoming(none, start)
                at = builder.add(k, _I64(n))
                number = builder.insert_element(none, builder.load(builder.gep(inputs.data, [at])), ir.IntType(32)(0))
                factor = builder.shuffle_vector(number, none, spread)
                row = load(wide[1], builder.add(first, at))
                total.add_incoming(builder.call(multiply_add, [row, factor, total]), body)
            following = builder.add(k, _I64(UNROLL))
            k.add_incoming(following, body)
            builder.cbranch(builder.icmp_signed("<", following, depth), body, end)
            builder.position_at_end(end)
            result = load(wide[2], panel.index)
            for total in sums:
                result = builder.fadd(result, total.incomings[1][0])
            builder.store(result, builder.gep(wide[0], [panel.index]), align=4)
        return context.get_dummy_value()

    return types.void(out, panels, x, bias), codegen


panel_product: Any = intrinsic(_panel_product)
