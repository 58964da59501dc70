"""Atomic operations on 64-bit words of shared memory, as Numba intrinsics.

Every function takes the address of a naturally aligned word as a plain integer (`array.ctypes.data`), so it works
alike on shared memory, a callback's user data and NumPy arrays. Orders: loads acquire, stores release, exchange both.
Plain loads and stores would not do: LLVM may delete or reorder them (a seqlock written with plain stores loses its
odd phase altogether).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WORD = ir.IntType(64)


@intrinsic  # type: ignore[untyped-decorator]
def load_acquire(typingctx: Any, address: Any) -> Any:
    """Return the uint64 at `address`; nothing after it is read earlier."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], WORD.as_pointer()), "acquire", 8)

    return types.uint64(types.uintp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store_release(typingctx: Any, address: Any, value: Any) -> Any:
    """Store a uint64 at `address`; nothing before it becomes visible later."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], builder.inttoptr(args[0], WORD.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uint64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def exchange(typingctx: Any, address: Any, value: Any) -> Any:
    """Store a uint64 at `address` and return what was there, in one step."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("xchg", builder.inttoptr(args[0], WORD.as_pointer()), args[1], "acq_rel")

    return types.uint64(types.uintp, types.uint64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def fence_release(typingctx: Any) -> Any:
    """Order earlier reads and writes before all later writes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("release")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def fence_acquire(typingctx: Any) -> Any:
    """Order earlier reads before all later reads and writes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("acquire")
        return context.get_dummy_value()

    return types.void(), codegen
