"""The values of the 32 parameters at their positions, compiled: what goes out says both, 60 times a second."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.parameters import CURVES, LANES, PARAMETERS, curve_arrays

# In float64, other than the callback's own: people read these.
_LOW, _HIGH = (np.array([getattr(row, end) for row in PARAMETERS], np.float64) for end in ("low", "high"))
_CURVE = curve_arrays()[2]
LOG, SQUARE = CURVES.index("log"), CURVES.index("square")
_LOG_RATIO = np.log(np.where(_CURVE == LOG, _HIGH / np.where(_CURVE == LOG, _LOW, 1.0), 1.0))


def told(positions: NDArray[Any]) -> NDArray[np.float64]:
    """Return positions 0..1 (32,) and their values in the lanes' units, (2, 32) float64; 0 for what is not finite."""
    found = np.empty((2, LANES))
    _fill(found, np.asarray(positions, np.float64))
    return found


def values(positions: NDArray[Any]) -> NDArray[np.float64]:
    """Return the values (32,) of positions (32,): `Parameter.value` of all at once."""
    found: NDArray[np.float64] = told(positions)[1]
    return found


@kernel
def _fill(found: Any, positions: Any) -> None:
    # linear low + p (high - low);  square low + p^2 (high - low);  log low (high / low)^p
    for lane in range(LANES):
        position = positions[lane] if abs(positions[lane]) < np.inf else 0.0  # false for NaN too
        p = min(max(position, 0.0), 1.0)
        found[0, lane] = position
        if _CURVE[lane] == LOG:
            found[1, lane] = _LOW[lane] * np.exp(p * _LOG_RATIO[lane])
        else:
            shaped = p * p if _CURVE[lane] == SQUARE else p
            found[1, lane] = _LOW[lane] + shaped * (_HIGH[lane] - _LOW[lane])


told(np.zeros(LANES, np.float32))  # compiled or loaded now: no message waits for it
