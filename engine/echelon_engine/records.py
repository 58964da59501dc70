"""Copying records in compiled code.

`array[0] = record` does the same, but Numba loads and stores the whole record as one value, which LLVM then takes apart
byte by byte: a minute of compiling where a call of memcpy will do.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]
def copy(typingctx: Any, target: Any, source: Any) -> Any:
    """Copy the record `source` over `target`, of the same fields, in compiled code; they do not overlap."""
    if not (isinstance(target, types.Record) and target == source):
        raise TypingError(f"copy of {source} to {target}: both must be records of the same fields")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        cgutils.raw_memcpy(builder, args[0], args[1], context.get_constant(types.intp, target.size), 1)
        return context.get_dummy_value()

    return types.void(target, source), codegen
