"""Where the stage's front is: what `recentre` changes about a body's frames."""

from __future__ import annotations

import math
from typing import Any

from echelon_engine.memory import BREAK


class Centre:
    """Turns and moves a performer's bodies so that where it stands and faces at `recentre` is the origin, facing +Z.

    Limb frames are heading-free, so nothing heard changes but at the join: only `heading` and the floor part of
    `origin` are counted anew, and no velocity is taken across it (BREAK). Height stays.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.heading = 0.0
        self.x = self.z = 0.0

    def apply(self, frames: Any) -> None:
        """Change LIMB_FRAMEs `(n,)` in place; the first one after `wanted` was set is the new centre."""
        if self.wanted and len(frames):
            self.wanted = False
            first = frames[0]
            self.heading = float(first["heading"])
            self.x, self.z = float(first["origin"][0]), float(first["origin"][2])
            frames["flags"][0] |= BREAK
        elif not (self.heading or self.x or self.z):
            return
        # origin <- Ry(-heading) (origin - centre)
        sine, cosine = math.sin(self.heading), math.cos(self.heading)
        east, north = frames["origin"][:, 0] - self.x, frames["origin"][:, 2] - self.z
        frames["origin"][:, 0] = cosine * east - sine * north
        frames["origin"][:, 2] = sine * east + cosine * north
        for frame in frames:
            frame["heading"] = math.remainder(float(frame["heading"]) - self.heading, math.tau)
