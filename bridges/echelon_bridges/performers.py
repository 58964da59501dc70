"""What every performer does, heard or not: the engine's own motion kernels, run for all of them beside the callback."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.kernels import commitment, hands, motion
from echelon_engine.memory import CONTROL_RATE_HZ

DT = 1.0 / CONTROL_RATE_HZ
PERIOD_NS = 1_000_000_000 // CONTROL_RATE_HZ
TOLD_EVERY = 4  # control frames: 15 times a second
BEHIND_NS = 1_000_000_000  # further behind than this, what was missed is left out

PERFORMER = np.dtype(
    [
        ("performer", np.int64),
        ("time_ns", np.int64),  # the body was so then, CLOCK_MONOTONIC
        ("present", np.uint8),  # a body was measured within the last second
        ("energy", np.float32),  # m/s
        ("c", np.float32),  # commitment 0..1
        ("tempo_bpm", np.float32),  # internal tempo
        ("phase", np.float32),  # of the beat, 0..1
        ("x", np.float32, (6,)),  # the motion state of spec/motion.md
        ("x_valid", np.uint32),  # bit i: component i has a source
    ],
    align=True,
)


class Performers:
    """Motion state, energy and commitment of `count` performers, as the callback derives them for one: 60 a second.

    `velocity_scale` m/s and `delay_ms` are the engine's. Devices in hands are not taken into account.
    """

    def __init__(self, count: int, velocity_scale: float, delay_ms: float) -> None:
        self._scale = velocity_scale
        self._delay_ns = round(delay_ms * 1e6)
        self._bodies = [np.zeros(1, motion.MOTION)[0] for _ in range(count)]
        self._rhythms = [np.zeros(1, commitment.COMMITMENT)[0] for _ in range(count)]
        self._states = np.zeros(count, PERFORMER)
        self._states["performer"] = np.arange(count)
        self._next_ns = 0
        self._untold = 0  # control frames since the states were told
        spare_body, spare_rhythm = np.zeros(1, motion.MOTION)[0], np.zeros(1, commitment.COMMITMENT)[0]
        self._step(spare_body, spare_rhythm, 0)  # compiles, or loads what is compiled

    def offer(self, performer: int, frames: NDArray[Any]) -> None:
        """Take memory.LIMB_FRAME (n,) of a performer."""
        for frame in frames:
            motion.offer(self._bodies[performer], frame)

    def advance(self, now_ns: int) -> NDArray[Any]:
        """Bring all of them to `now_ns`; return PERFORMER (count,) every fourth control frame, else (0,)."""
        if now_ns < self._next_ns:
            return self._states[:0]
        if now_ns - self._next_ns > BEHIND_NS:
            self._next_ns = now_ns
        while self._next_ns <= now_ns:
            for body, rhythm in zip(self._bodies, self._rhythms, strict=True):
                self._step(body, rhythm, self._next_ns - self._delay_ns)
            self._next_ns += PERIOD_NS
            self._untold += 1
        if self._untold < TOLD_EVERY:
            return self._states[:0]
        self._untold = 0
        for state, body, rhythm in zip(self._states, self._bodies, self._rhythms, strict=True):
            state["time_ns"] = self._next_ns - PERIOD_NS - self._delay_ns
            for name in ("present", "energy", "x", "x_valid"):
                state[name] = body[name]
            state["c"], state["phase"] = rhythm["c"], rhythm["phase"]
            state["tempo_bpm"] = rhythm["internal_tempo_bpm"]
        return self._states.copy()

    def _step(self, body: Any, rhythm: Any, target_ns: int) -> None:
        motion.advance(body, target_ns, False, DT)
        hands.hands(body, self._scale, DT)
        commitment.step(rhythm, float(body["energy"]), bool(body["moved"]))
