"""Analytic performers for the tests: bodies whose every speed is known, as arrays of LIMB_FRAME."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echelon_engine.kernels import hands, motion
from echelon_engine.kernels.neutral import NEUTRAL_POSITION, NEUTRAL_ROTATION, STANDING_HEIGHT_M
from echelon_engine.memory import LIMB_FRAME

ALL = (1 << 27) - 1
FRAME_NS = 1e9 / 60


def standing(rate_hz: float, seconds: float) -> NDArray[np.void]:
    """A body in the neutral pose that does not move at all."""
    count = round(rate_hz * seconds)
    frames = np.zeros(count, LIMB_FRAME)
    frames["time_ns"] = np.round(np.arange(count) / rate_hz * 1e9)
    frames["arrival_ns"] = frames["time_ns"] + 1
    frames["number"] = np.arange(count)
    frames["valid"] = ALL
    frames["rotation"] = NEUTRAL_ROTATION
    frames["position"] = NEUTRAL_POSITION
    frames["origin"][:, 1] = STANDING_HEIGHT_M
    return frames


def waving(rate_hz: float, seconds: float, hz: float = 1.0, radius_m: float = 0.3) -> NDArray[np.void]:
    """Hands on vertical circles, a forearm that swings, a slow turn and a walk to and fro."""
    frames = standing(rate_hz, seconds)
    phase = 2 * np.pi * hz * frames["time_ns"] * 1e-9
    half = 0.5 * np.sin(phase)
    frames["rotation"][:, 13] = np.stack([0 * half, 0 * half, np.sin(half), np.cos(half)], 1)
    for limb, lag in ((14, 0.0), (18, 1.0)):
        frames["position"][:, limb, 1] += radius_m * np.sin(phase + lag)
        frames["position"][:, limb, 2] += radius_m * np.cos(phase + lag)
    frames["heading"] = 0.3 * frames["time_ns"] * 1e-9
    frames["origin"][:, 0] = 0.2 * np.sin(phase / 2)
    return frames


def body() -> np.void:
    """A fresh MOTION record."""
    return np.zeros(1, motion.MOTION)[0]


def play(
    state: np.void,
    frames: NDArray[np.void],
    steps: int,
    look: Callable[[np.void], object] | None = None,
    delay_ns: int = 0,
    start: int = 0,
    frozen: bool = False,
) -> list[object]:
    """Feed frames as the callback does, `steps` control frames from number `start` on; return what `look` saw."""
    seen: list[object] = []
    at = 0
    for step in range(start, start + steps):
        target_ns = round(step * FRAME_NS) - delay_ns
        while at < len(frames) and motion.wants(state, target_ns) and frames["time_ns"][at] <= target_ns + 5e9:
            motion.offer(state, frames[at])
            at += 1
        motion.advance(state, target_ns, frozen, 1 / 60)
        hands.hands(state, 2.0, 1 / 60)
        if look:
            seen.append(look(state))
    return seen
