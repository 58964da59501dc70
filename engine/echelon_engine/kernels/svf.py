"""State-variable filter, trapezoidal and without delay in its loop, behind a saturating drive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel

SVF = np.dtype(
    [
        ("band", np.float64),  # state of the first integrator
        ("low", np.float64),  # state of the second
        ("last", np.float64),  # previous input and its square root term, for the antialiased drive
        ("root", np.float64),
    ],
    align=True,
)

STEPS_PER_OCTAVE = 64
OCTAVES = 11
LOWEST_HZ = 10.0
TABLE = STEPS_PER_OCTAVE * OCTAVES + 2
_STEPS, _ZERO, _LAST = np.float32(STEPS_PER_OCTAVE), np.float32(0.0), np.float32(TABLE - 2.001)


@kernel
def fill_table(table: NDArray[np.float32], rate_hz: float) -> None:
    """Write g = tan(pi cutoff / rate) for cutoffs on a log grid from 10 Hz; float32 (TABLE,).

    Linear interpolation between 64 points an octave errs by less than 2e-5; the grid stops at 0.45 of the rate.
    """
    for i in range(TABLE):
        cutoff_hz = LOWEST_HZ * 2.0 ** (i / STEPS_PER_OCTAVE)
        table[i] = math.tan(math.pi * min(cutoff_hz / rate_hz, 0.45))


@inlined
def coefficient(table: Any, octave: Any) -> Any:
    """Return g of a cutoff `octave` octaves (float32 or float64, and so is g) above 10 Hz, clipped to the table."""
    place = min(max(octave * _STEPS, _ZERO), _LAST)
    at = np.int32(place)
    return table[at] + (place - np.float32(at)) * (table[at + 1] - table[at])


@kernel
def render(
    x: NDArray[np.float32],
    svf: Any,
    octave: NDArray[np.float32],
    damping: NDArray[np.float32],
    drive: NDArray[np.float32],
    table: NDArray[np.float32],
    frames: int,
) -> None:
    """Filter `x` (float32, >= frames) in place: saturating drive, then a 12 dB/octave lowpass.

    Per sample, float32: `octave` log2(cutoff / 10 Hz), clipped to the table; `damping` 1/Q; `drive` gain >= 1.
    The filter is Simper's linear trapezoidal SVF ("Solving the continuous SVF equations using trapezoidal integration
    and equivalent currents", 2013; Zavalishin, "The Art of VA Filter Design", 2012, ch. 4): stable while modulated at
    audio rate. Resonance is levelled by (2 / (1 + Q))^1/2, so a high Q sings without jumping out.
    The drive is f(x) = x sqrt(1 + k^2) / sqrt(1 + k^2 x^2), k^2 = drive - 1: linear at 0 dB, an input of 1 stays at 1,
    a quiet one gains half the drive in dB. It is antialiased by its antiderivative (Parker, Zavalishin, Le Bivic
    2016), closed and well-conditioned here:
    (F(x1) - F(x0)) / (x1 - x0) = sqrt(1 + k^2) (x1 + x0) / (S1 + S0), S = sqrt(1 + k^2 x^2).
    """
    band = svf.band
    low = svf.low
    last = svf.last
    root = svf.root
    for i in range(frames):
        now = float(x[i])
        k2 = float(drive[i]) - 1.0
        s = math.sqrt(1.0 + k2 * now * now)
        driven = math.sqrt(1.0 + k2) * (now + last) / (s + root)
        last = now
        root = s

        g = coefficient(table, float(octave[i]))
        k = float(damping[i])
        a1 = 1.0 / (1.0 + g * (g + k))
        # v1 = a1 (band + g (x - low));  v2 = low + g v1;  states <- 2 v - state
        v1 = a1 * (band + g * (driven - low))
        v2 = low + g * v1
        band = 2.0 * v1 - band
        low = 2.0 * v2 - low
        x[i] = v2 * math.sqrt(2.0 * k / (1.0 + k))
    svf.band = band
    svf.low = low
    svf.last = last
    svf.root = root
