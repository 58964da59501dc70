"""Waveguide string (extended Karplus-Strong), in tune and with the decay that was asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel
from echelon_engine.kernels.envelope import LOG_1000
from echelon_engine.kernels.modal import decay_slope

LONGEST = 4096  # samples of the loop: 24 Hz at 96 kHz
SHORTEST = 7.0  # samples: the interpolator and the loop filter need room

STRING = np.dtype(
    [
        ("line", np.float32, (LONGEST,)),
        ("at", np.int64),  # where the next sample is written
        ("low", np.float64),  # state of the loop filter
        ("delay", np.float64),  # samples of the delay line
        ("pole", np.float64),  # of the loop filter
        ("gain", np.float64),  # of the loop
        ("delay_step", np.float64),  # per sample while ramping
        ("pole_step", np.float64),
        ("gain_step", np.float64),
        ("delay_end", np.float64),
        ("pole_end", np.float64),
        ("gain_end", np.float64),
        ("comb", np.int64),  # samples between the two places where a blow enters: the strike position
        ("left", np.int64),
    ],
    align=True,
)


@inlined
def _pole(magnitude: Any, cosine: Any) -> Any:
    """Return the pole a of (1 - a) / (1 - a z^-1) whose magnitude at cos(omega) is `magnitude` (0 when >= 1)."""
    m2 = magnitude * magnitude
    if m2 >= 1.0 - 1e-12:
        return 0.0
    # (1 - a)^2 = m^2 (1 - 2 a cos + a^2)
    half = 1.0 - m2 * cosine
    return (half - math.sqrt(max(half * half - (1.0 - m2) * (1.0 - m2), 0.0))) / (1.0 - m2)


@kernel
def tune(string: Any, fundamental_hz: float, t60_s: float, brightness: float, rate_hz: float, frames: int) -> None:
    """Head for a pitch, a decay by 60 dB of the fundamental and a brightness 0..1 within `frames` samples (0: at once).

    Karplus & Strong 1983, tuned and damped after Jaffe & Smith 1983: the loop is a delay with third-order Lagrange
    interpolation and a one-pole lowpass g (1 - a) / (1 - a z^-1).
    - The pole of the fundamental is asked to lie at z = e^(-sigma + j omega), sigma = ln(1000) / (t60 rate), so all
      responses are evaluated there, not on the unit circle: pitch and decay are both exact.
    - Brightness asks that partial 8 decay 8^q times faster; the filter's pole is clamped where it alone would take more
      than 0.9 of the loss at the fundamental, so the asked decay can always be had with a loop gain below 1.
    - The delay is what is left of the period after the phase delays of filter and interpolator, in fixed-point steps.
    """
    period = min(max(rate_hz / fundamental_hz, SHORTEST), LONGEST - 8.0)
    omega = 2.0 * math.pi / period
    cosine = math.cos(omega)
    sine = math.sin(omega)
    high = min(8.0, 0.5 * math.pi / omega)
    sigma = LOG_1000 / (max(t60_s, 1e-3) * rate_hz)
    grow = math.exp(sigma)  # |1 / z|
    loss = sigma * period  # nepers a trip
    steeper = math.exp(decay_slope(brightness) * math.log(high)) - 1.0
    bright = _pole(math.exp(-loss * steeper), math.cos(high * omega))
    delay = period
    pole = 0.0
    gain = 0.0
    for _ in range(4):
        # Lagrange: taps at floor - 1 .. floor + 2, fraction d in [0, 1)
        whole = math.floor(delay)
        d = delay - whole
        h0 = -d * (d - 1.0) * (d - 2.0) / (6.0 * grow)
        h1 = (d + 1.0) * (d - 1.0) * (d - 2.0) / 2.0
        h2 = -(d + 1.0) * d * (d - 2.0) / 2.0 * grow
        h3 = (d + 1.0) * d * (d - 1.0) / 6.0 * grow * grow
        # response around tap 1: h0 z + h1 + h2 / z + h3 / z^2
        real = h1 + (h0 + h2) * cosine + h3 * math.cos(2.0 * omega)
        imag = (h0 - h2) * sine - h3 * math.sin(2.0 * omega)
        taps = math.sqrt(real * real + imag * imag) * math.exp(sigma * whole)
        taps_delay = whole - math.atan2(imag, real) / omega
        pole = min(min(bright, _pole(min(math.exp(0.1 * loss) / taps, 1.0), cosine)), 1.0 - 1e-4)
        # one-pole: (1 - a) / (1 - a / z);  gain |one-pole| |taps| = 1,  phases together one turn
        real = 1.0 - pole * grow * cosine
        imag = pole * grow * sine
        gain = min(math.sqrt(real * real + imag * imag) / ((1.0 - pole) * taps), 0.99999)
        wanted = period - math.atan2(imag, real) / omega
        delay = min(max(delay + wanted - taps_delay, 2.0), LONGEST - 4.0)
    string.delay_end = delay
    string.pole_end = pole
    string.gain_end = gain
    if frames > 0:
        string.delay_step = (delay - string.delay) / frames
        string.pole_step = (pole - string.pole) / frames
        string.gain_step = (gain - string.gain) / frames
    else:
        string.delay = delay
        string.pole = pole
        string.gain = gain
    string.left = frames


@kernel
def clear(string: Any) -> None:
    """Silence the string."""
    for i in range(LONGEST):
        string.line[i] = 0.0
    string.low = 0.0
    string.at = 0


@inlined
def step(string: Any, x: Any) -> Any:
    """Feed one sample and return what the string does at the bridge, float64.

    The blow enters twice, `comb` samples apart and opposite: the comb of a strike position, which also keeps the loop
    free of a constant.
    """
    if string.left > 0:
        string.left -= 1
        if string.left == 0:
            string.delay = string.delay_end
            string.pole = string.pole_end
            string.gain = string.gain_end
        else:
            string.delay += string.delay_step
            string.pole += string.pole_step
            string.gain += string.gain_step
    mask = LONGEST - 1
    whole = int(string.delay)
    d = string.delay - whole
    tap = string.at - whole
    # Lagrange of third order on the samples around the delay
    below = string.line[(tap + 1) & mask]
    here = string.line[tap & mask]
    above = string.line[(tap - 1) & mask]
    last = string.line[(tap - 2) & mask]
    u = d + 1.0
    v = d - 1.0
    w = d - 2.0
    back = v * w * (0.5 * u * here - d * below / 6.0) + u * d * (v * last / 6.0 - 0.5 * w * above)
    string.low = back + string.pole * (string.low - back)
    now = string.gain * string.low + x
    string.line[string.at & mask] = now
    if string.comb > 0:
        string.line[(string.at - string.comb) & mask] -= x
    string.at += 1
    return now


@kernel
def render(out: NDArray[np.float32], string: Any, x: NDArray[np.float32]) -> None:
    """Write the response of the string to `x` (float32) to `out` (float32, same length)."""
    for i in range(out.shape[0]):
        out[i] = step(string, float(x[i]))
