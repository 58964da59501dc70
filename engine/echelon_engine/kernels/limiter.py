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
        ("delay", np.float32, (DELAY, 3)),  # left, right, ceiling
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
        limiter.delay[i, 0] = 0.0
        limiter.delay[i, 1] = 0.0
        limiter.delay[i, 2] = 1.0


@kernel
def render(sound: NDArray[np.float32], ceiling: NDArray[np.float32], limiter: Any, m: int) -> None:
    """Limit the first `m` samples of `sound` in place, float32 (2, n), delayed by `limiter.lookahead` samples.

    `ceiling` float32 (n,), linear, > 0: no sample written at k exceeds ceiling[k] in magnitude. Both channels share
    one gain.
    """
    queue_gain, queue_time, delay, average = limiter.queue_gain, limiter.queue_time, limiter.delay, limiter.average
    head, tail, now, needed = limiter.head, limiter.tail, limiter.clock, limiter.needed
    scale = 1.0 / (ONE * limiter.length[0] * limiter.length[1])
    for k in range(m):
        here = now & (DELAY - 1)
        there = (now - limiter.lookahead) & (DELAY - 1)
        limit = ceiling[k]
        peak = max(abs(sound[0, k]), abs(sound[1, k]))
        gain = np.float32(1.0) if peak <= limit else limit / peak
        delay[here, 0] = sound[0, k]
        delay[here, 1] = sound[1, k]
        delay[here, 2] = limit
        # Sliding minimum: gains in the queue rise from head to tail; those behind a smaller one can never be the least.
        while tail > head and queue_gain[(tail - 1) & (QUEUE - 1)] >= gain:
            tail -= 1
        queue_gain[tail & (QUEUE - 1)] = gain
        queue_time[tail & (QUEUE - 1)] = now
        tail += 1
        if queue_time[head & (QUEUE - 1)] <= now - limiter.window:
            head += 1
        least = float(queue_gain[head & (QUEUE - 1)])
        needed = min(needed + limiter.release * (least - needed), least)
        # Two moving averages in a row; rounding down keeps the promise.
        fresh = int(needed * ONE)
        for stage in range(2):
            slot = now % limiter.length[stage]
            limiter.sum[stage] += fresh - average[stage, slot]
            average[stage, slot] = fresh
            fresh = limiter.sum[stage]
        # Delayed sound times gain is at most the ceiling of when it came; a ceiling that fell since pulls it along.
        smoothed = np.float32(fresh * scale)
        if limit < delay[there, 2]:
            smoothed *= limit / delay[there, 2]
        for c in range(2):
            sound[c, k] = min(max(delay[there, c] * smoothed, -limit), limit)
        now += 1
    limiter.head, limiter.tail, limiter.clock, limiter.needed = head, tail, now, needed
