"""Look-ahead limiter: no sample above the ceiling, ever, and no distortion of low notes.

The gain that a sample needs is held by a sliding minimum over the look-ahead and more than half a period of the
lowest notes, released exponentially, and smoothed by two moving averages that together span exactly the look-ahead:
each average of held minima is at most the gain needed when the peak leaves the delay. Moving averages run in integers,
so they never drift. Sliding minimum: D. Lemire, "Streaming maximum-minimum filter using no more than three comparisons
per element", 2006.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel

LOOKAHEAD_S = 0.0015
HOLD_S = 0.022  # half a period of 23 Hz: a steady low note keeps a steady gain
RELEASE_S = 0.12
ONE = 1 << 30  # gain 1 in the integer averages
DELAY = 256  # >= look-ahead + 1 at 96 kHz, a power of two
QUEUE = 4096  # >= look-ahead + hold + 1 at 96 kHz, a power of two
AVERAGE = 128

LIMITER = np.dtype(
    [
        ("lookahead", np.int64),  # latency in samples
        ("window", np.int64),  # samples of the sliding minimum
        ("release", np.float64),  # one-pole coefficient
        ("clock", np.int64),
        ("head", np.int64),  # queue of candidates for the minimum: [head, tail)
        ("tail", np.int64),
        ("needed", np.float64),  # held and released gain before smoothing
        ("length", np.int64, (2,)),
        ("sum", np.int64, (2,)),
        ("average", np.int64, (2, AVERAGE)),
        ("queue_gain", np.float32, (QUEUE,)),
        ("queue_time", np.int64, (QUEUE,)),
        ("ceiling", np.float32, (DELAY,)),
        ("delay", np.float32, (DELAY, 2)),
    ],
    align=True,
)


@kernel
def init(limiter: Any, rate_hz: float) -> None:
    """Make an idle limiter at the rate (Hz, at most 96 000)."""
    limiter.lookahead = int(LOOKAHEAD_S * rate_hz + 0.5)
    limiter.window = limiter.lookahead + 1 + int(HOLD_S * rate_hz)
    limiter.release = 1.0 - np.exp(-1.0 / (RELEASE_S * rate_hz))
    limiter.length[0] = (limiter.lookahead + 2) // 2
    limiter.length[1] = limiter.lookahead + 2 - limiter.length[0]
    clear(limiter)


@kernel
def clear(limiter: Any) -> None:
    """Forget all sound: the delay silent, the gain 1."""
    limiter.clock = 0
    limiter.head = 0
    limiter.tail = 0
    limiter.needed = 1.0
    for i in range(AVERAGE):
        limiter.average[0, i] = ONE
        limiter.average[1, i] = ONE * limiter.length[0]
    limiter.sum[0] = ONE * limiter.length[0]
    limiter.sum[1] = ONE * limiter.length[0] * limiter.length[1]
    for i in range(DELAY):
        limiter.ceiling[i] = 1.0
        limiter.delay[i, 0] = 0.0
        limiter.delay[i, 1] = 0.0


@kernel
def render(sound: NDArray[np.float32], ceiling: NDArray[np.float32], limiter: Any, m: int) -> None:
    """Limit the first `m` samples of `sound` in place, float32 (2, n), delayed by `limiter.lookahead` samples.

    `ceiling` float32 (n,), linear, > 0: no sample written at k exceeds ceiling[k] in magnitude. Both channels share
    one gain.
    """
    scale = 1.0 / (ONE * limiter.length[0] * limiter.length[1])
    for k in range(m):
        now = limiter.clock
        here = now & (DELAY - 1)
        there = (now - limiter.lookahead) & (DELAY - 1)
        peak = max(abs(sound[0, k]), abs(sound[1, k]))
        gain = np.float32(1.0) if peak <= ceiling[k] else ceiling[k] / peak
        limiter.delay[here, 0] = sound[0, k]
        limiter.delay[here, 1] = sound[1, k]
        limiter.ceiling[here] = ceiling[k]
        # Sliding minimum: gains in the queue rise from head to tail; those behind a smaller one can never be the least.
        while limiter.tail > limiter.head and limiter.queue_gain[(limiter.tail - 1) & (QUEUE - 1)] >= gain:
            limiter.tail -= 1
        limiter.queue_gain[limiter.tail & (QUEUE - 1)] = gain
        limiter.queue_time[limiter.tail & (QUEUE - 1)] = now
        limiter.tail += 1
        if limiter.queue_time[limiter.head & (QUEUE - 1)] <= now - limiter.window:
            limiter.head += 1
        least = float(limiter.queue_gain[limiter.head & (QUEUE - 1)])
        needed = limiter.needed + limiter.release * (least - limiter.needed)
        limiter.needed = min(least, needed)
        # Two moving averages in a row; rounding down keeps the promise.
        fresh = int(limiter.needed * ONE)
        for stage in range(2):
            slot = now % limiter.length[stage]
            limiter.sum[stage] += fresh - limiter.average[stage, slot]
            limiter.average[stage, slot] = fresh
            fresh = limiter.sum[stage]
        # Delayed sound times gain is at most the ceiling of when it came; a ceiling that fell since pulls it along.
        smoothed = np.float32(limiter.sum[1] * scale)
        limit = ceiling[k]
        if limit < limiter.ceiling[there]:
            smoothed *= limit / limiter.ceiling[there]
        sound[0, k] = min(max(limiter.delay[there, 0] * smoothed, -limit), limit)
        sound[1, k] = min(max(limiter.delay[there, 1] * smoothed, -limit), limit)
        limiter.clock += 1
