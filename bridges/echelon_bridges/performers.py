"""What every performer does, heard or not: the engine's own motion kernels, run for all of them beside the callback."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels import commitment, hands, motion
from echelon_engine.memory import CONTROL_RATE_HZ, LIMB_FRAME

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


@kernel
def offer_all(body: Any, frames: Any) -> None:
    """Give limb frames (n,) to the one body in `body` (1,)."""
    for i in range(frames.shape[0]):
        motion.offer(body[0], frames[i])


@kernel
def step_all(states: Any, bodies: Any, rhythms: Any, target_ns: int, scale: float) -> None:
    """Bring all bodies (n,) and their rhythms to `target_ns`, one control frame on, and write PERFORMER (n,)."""
    for i in range(states.shape[0]):
        state, body, rhythm = states[i], bodies[i], rhythms[i]
        motion.advance(body, target_ns, False, DT)
        hands.hands(body, scale, DT)
        commitment.step(rhythm, np.float64(body.energy), body.moved != 0)
        state.time_ns = target_ns
        state.present = body.present
        state.energy = body.energy
        state.c = rhythm.c
        state.tempo_bpm = rhythm.internal_tempo_bpm
        state.phase = rhythm.phase
        for k in range(6):
            state.x[k] = body.x[k]
        state.x_valid = body.x_valid


class Performers:
    """Motion state, energy and commitment of `count` performers, as the callback derives them for one: 60 a second.

    `velocity_scale` m/s and `delay_ms` are the engine's. Devices in hands are not taken into account.
    """

    def __init__(self, count: int, velocity_scale: float, delay_ms: float) -> None:
        self._scale = float(velocity_scale)
        self._delay_ns = round(delay_ms * 1e6)
        self._bodies = np.zeros(count, motion.MOTION)
        self._rhythms = np.zeros(count, commitment.COMMITMENT)
        self._each = [self._bodies[i : i + 1] for i in range(count)]
        self._states = np.zeros(count, PERFORMER)
        self._states["performer"] = np.arange(count)
        self._nobody = self._states[:0]
        self._next_ns = 0
        self._untold = 0  # control frames since the states were told
        # Compiles, or loads what is compiled.
        step_all(self._nobody, self._bodies, self._rhythms, 0, self._scale)
        offer_all(self._each[0], np.zeros(0, LIMB_FRAME))

    def offer(self, performer: int, frames: NDArray[Any]) -> None:
        """Take memory.LIMB_FRAME (n,) of a performer."""
        offer_all(self._each[performer], frames)

    def advance(self, now_ns: int) -> NDArray[Any]:
        """Bring all of them to `now_ns`; return PERFORMER (count,) every fourth control frame, else (0,)."""
        if now_ns < self._next_ns:
            return self._nobody
        if now_ns - self._next_ns > BEHIND_NS:
            self._next_ns = now_ns
        while self._next_ns <= now_ns:
            step_all(self._states, self._bodies, self._rhythms, self._next_ns - self._delay_ns, self._scale)
            self._next_ns += PERIOD_NS
            self._untold += 1
        if self._untold < TOLD_EVERY:
            return self._nobody
        self._untold = 0
        return self._states.copy()
