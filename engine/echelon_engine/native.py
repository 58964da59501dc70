"""What a native thread may ask of the system: the clock, a sleep, its own id, and flush-to-zero.

libc is called by symbol name, so that the compiled code can be cached. Nothing here allocates or takes the GIL.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I32, I64 = ir.IntType(32), ir.IntType(64)
CLOCK_MONOTONIC = 6 if sys.platform == "darwin" else 1
TIMER_ABSTIME = 1
X86 = platform.machine().lower() in ("x86_64", "amd64")
ARM = platform.machine().lower() in ("arm64", "aarch64")
LINUX = sys.platform.startswith("linux")


def _libc(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


@intrinsic  # type: ignore[untyped-decorator]
def clock_ns(typingctx: Any) -> Any:
    """Return CLOCK_MONOTONIC in nanoseconds, int64: the same clock as `time.monotonic_ns`, in every process."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        timespec = cgutils.alloca_once(builder, ir.ArrayType(I64, 2))
        first = builder.bitcast(timespec, I64.as_pointer())
        builder.call(_libc(builder, "clock_gettime", I32, [I32, I64.as_pointer()]), [I32(CLOCK_MONOTONIC), first])
        seconds = builder.load(first)
        nanos = builder.load(builder.gep(first, [I64(1)]))
        return builder.add(builder.mul(seconds, I64(1_000_000_000)), nanos)

    return types.int64(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def sleep_until_ns(typingctx: Any, deadline_ns: Any) -> Any:
    """Sleep until CLOCK_MONOTONIC reaches `deadline_ns`; on macOS a relative sleep, recomputed by the caller."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        timespec = cgutils.alloca_once(builder, ir.ArrayType(I64, 2))
        first = builder.bitcast(timespec, I64.as_pointer())
        second = builder.gep(first, [I64(1)])
        billion = I64(1_000_000_000)
        if LINUX:
            builder.store(builder.sdiv(args[0], billion), first)
            builder.store(builder.srem(args[0], billion), second)
            kind = [I32, I32, I64.as_pointer(), I64.as_pointer()]
            sleep = _libc(builder, "clock_nanosleep", I32, kind)
            builder.call(sleep, [I32(CLOCK_MONOTONIC), I32(TIMER_ABSTIME), first, ir.Constant(I64.as_pointer(), None)])
            return context.get_dummy_value()
        builder.call(_libc(builder, "clock_gettime", I32, [I32, I64.as_pointer()]), [I32(CLOCK_MONOTONIC), first])
        now = builder.add(builder.mul(builder.load(first), billion), builder.load(second))
        left = builder.sub(args[0], now)
        left = builder.select(builder.icmp_signed("<", left, I64(0)), I64(0), left)
        builder.store(builder.sdiv(left, billion), first)
        builder.store(builder.srem(left, billion), second)
        sleep = _libc(builder, "nanosleep", I32, [I64.as_pointer(), I64.as_pointer()])
        builder.call(sleep, [first, ir.Constant(I64.as_pointer(), None)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def thread_id(typingctx: Any) -> Any:
    """Return the kernel's id of the calling thread (Linux), else 1: another process may raise its priority by it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not LINUX:
            return I64(1)
        return builder.sext(builder.call(_libc(builder, "gettid", I32, []), []), I64)

    return types.int64(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def flush_denormals(typingctx: Any) -> Any:
    """Set flush-to-zero and denormals-are-zero for the calling thread; return the previous control word, int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if X86:
            word = cgutils.alloca_once(builder, I32)
            byte = builder.bitcast(word, ir.IntType(8).as_pointer())
            kind = [ir.IntType(8).as_pointer()]
            builder.call(_libc(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), kind), [byte])
            before = builder.load(word)
            builder.store(builder.or_(before, I32(0x8040)), word)
            builder.call(_libc(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), kind), [byte])
            return builder.zext(before, I64)
        if ARM:
            before = builder.call(_libc(builder, "llvm.aarch64.get.fpcr", I64, []), [])
            setter = _libc(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [I64])
            builder.call(setter, [builder.or_(before, I64(1 << 24))])
            return before
        return I64(0)

    return types.int64(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def restore_denormals(typingctx: Any, word: Any) -> Any:
    """Put back the control word that `flush_denormals` returned: for threads that Python code shares."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if X86:
            slot = cgutils.alloca_once(builder, I32)
            builder.store(builder.trunc(args[0], I32), slot)
            byte = builder.bitcast(slot, ir.IntType(8).as_pointer())
            kind = [ir.IntType(8).as_pointer()]
            builder.call(_libc(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), kind), [byte])
        elif ARM:
            builder.call(_libc(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [I64]), [args[0]])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typingctx: Any, address: Any) -> Any:
    """Return a void pointer to `address`, for `numba.carray`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.uintp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def address_of(typingctx: Any, record: Any) -> Any:
    """Return a void pointer to a record."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(record), codegen
