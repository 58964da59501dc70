"""Whether a number is finite, in code that may be reassociated."""

from __future__ import annotations

from typing import Any

from echelon_engine._jit import inlined

LARGEST = 3.0e38  # nearly the largest float32; no quantity here comes near it


@inlined
def finite_number(x: Any) -> Any:
    """Return whether a float32 or float64 is finite (beyond 3e38 counts as not), also where it has been computed.

    `math.isfinite` will not do: it is x - x == 0, and for x = a + b reassociation makes that 0 whatever a and b are.
    A comparison is false for NaN.
    """
    return abs(x) <= LARGEST
