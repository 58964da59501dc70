"""Numbers of a record as messages say them, compiled: gathered and rounded in one turn, 60 times a second a body."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel


def rounded(raw: bytes, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float32 numbers of a record in bytes, those at `places` (n,), as float64 rounded to 6 decimals.

    What is not finite is 0: JSON has no word for it.
    """
    found = np.empty(len(places))
    _millionths(found, np.frombuffer(raw, np.float32), places)
    found /= 1e6
    return found


@kernel
def _millionths(out: Any, numbers: Any, places: Any) -> None:
    # The division is left to NumPy: here it could become a product, and 0.3 be said as 0.30000000000000004.
    for i in range(places.shape[0]):
        number = np.float64(numbers[places[i]])
        out[i] = np.rint(number * 1e6) if abs(number) < np.inf else 0.0  # false for NaN too


rounded(bytes(4), np.zeros(1, np.int64))  # compiled or loaded now: no message waits for it
