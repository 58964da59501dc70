"""Feeds a clip or the dancer to the engine as if live: frames stamped ahead of time, so that none is ever late."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from echelon_engine import rings
from echelon_engine._jit import kernel
from echelon_engine.memory import BREAK, LIMB_FRAME

NOTHING = np.zeros(0, LIMB_FRAME)
AHEAD_NS = 150_000_000  # a stall of the bridges up to this long is not heard
NS = 1_000_000_000


@kernel
def push_frames(performers: Any, performer: int, frames: Any) -> int:
    """Append limb frames (n,) to the ring of a performer, one of `performers` (m,); return how many found room."""
    pushed = 0
    for i in range(frames.shape[0]):
        if rings.push(performers[performer], frames[i : i + 1]):
            pushed += 1
    return pushed


class Source(Protocol):
    """Motion by index: `frames(start, count)` of memory.LIMB_FRAME with times counted from frame 0."""

    rate_hz: float

    def frames(self, start: int, count: int) -> NDArray[Any]:
        """Return `count` frames from `start` on; fewer, or none, when the motion has ended."""


class Player:
    """Pushes the frames of a source whose time has come, stamped on the engine's clock from `start_ns` on."""

    def __init__(self, source: Source, ring: Any, start_ns: int) -> None:
        self.source, self.ring, self.start_ns = source, ring, start_ns
        self._next = 0
        self._broken = False  # the next frame does not follow the one before
        self.sent = 0
        self.ended = False

    def skip_to(self, now_ns: int) -> None:
        """Go on where the motion would be by now, after what the ring holds already: for bridges that were restarted.

        The first frame is marked BREAK.
        """
        self._next = max(0, int((now_ns - self.start_ns) * self.source.rate_hz // NS))
        if written := int(self.ring["written"][0]):
            newest_ns = int(self.ring["item"][(written - 1) % len(self.ring["item"])]["time_ns"])
            self._next = max(self._next, round((newest_ns - self.start_ns) * self.source.rate_hz / NS) + 1)
        self._broken = True

    def move_to(self, ring: Any, now_ns: int) -> None:
        """Play for another performer from now on."""
        self.ring = ring
        self.skip_to(now_ns)

    def feed(self, now_ns: int) -> NDArray[Any]:
        """Push every frame due within `AHEAD_NS` of `now_ns` and return them: LIMB_FRAME (n,), n may be 0."""
        until = int((now_ns + AHEAD_NS - self.start_ns) * self.source.rate_hz // NS)
        if self.ended or until <= self._next:
            return NOTHING
        frames = self.source.frames(self._next, min(until - self._next, 512))
        if len(frames) == 0:
            self.ended = True
            return NOTHING
        frames = np.ascontiguousarray(frames)
        frames["time_ns"] += self.start_ns
        frames["arrival_ns"] = np.maximum(frames["time_ns"], 0)
        if self._broken:
            frames["flags"][0] |= BREAK
            self._broken = False
        for i in range(len(frames)):
            if rings.push(self.ring, frames[i : i + 1]):
                self.sent += 1
        self._next += len(frames)
        return frames


class Once:
    """A clip played a single time."""

    def __init__(self, frames: NDArray[Any], rate_hz: float) -> None:
        self._frames, self.rate_hz = frames, rate_hz

    def frames(self, start: int, count: int) -> NDArray[Any]:
        """Return what is left of the clip from `start` on."""
        return self._frames[start : start + count].copy()
