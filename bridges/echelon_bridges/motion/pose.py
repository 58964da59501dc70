"""From local rotations of the 27 bones to limb frames: forward kinematics with the heading taken out.

Heading is the twist of the root's rotation about +Y (swing-twist decomposition), `2 atan2(qy, qw)`. That direction is
the sum of the pelvis' own forward and of `left x up`, each projected on the floor: lying on the back, the belly or a
side and pure rolls and cartwheels leave it where it was. The shoulders' `left x up` alone turns over whenever one
shoulder points at the floor. The twist is undefined only head down, where `qy^2 + qw^2` goes to 0: there the last
heading is held, and let go in proportion as the body comes up again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.motion.skeleton import ALL_VALID, LIMBS
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK, LIMB_FRAME
from echelon_engine.poses import positions

Floats = NDArray[np.float64]
Numbers = qt.Numbers
Frames = NDArray[Any]  # of LIMB_FRAME


@dataclass(frozen=True)
class Motion:
    """Motion on the 27 bones: `times_s` (N,), `local` (N, 27, 4) x y z w, `origin` (N, 3) m, `offsets` (27, 3) m.

    `valid` bit i: bone i is measured; `notes` say what was corrected on the way here.
    """

    times_s: Floats
    local: Floats
    origin: Floats
    offsets: Floats
    valid: int
    notes: tuple[str, ...]


UPRIGHT = 0.15  # qy^2 + qw^2 from which the heading is trusted at once; head down within 45 degrees lies below it


def follow_heading(last: float, x: float, y: float, z: float, w: float) -> float:
    """Return the heading (radians, -pi..pi) of a root rotation, given the heading of the frame before.

    Live frames call it compiled: it keeps to what Numba knows.
    """
    trust = y * y + w * w
    target = 2.0 * math.atan2(y, w)
    if trust < UPRIGHT:
        step = target - last
        step -= math.tau * round(step / math.tau)
        target = last + step * (trust / UPRIGHT) ** 2
    return target - math.tau * round(target / math.tau)


def headings(root: Numbers, last: float | None = None) -> Floats:
    """Return the headings `(N,)` in radians of root rotations `(N, 4)` in order of time."""
    root = np.asarray(root, dtype=np.float64)
    result: Floats = 2.0 * np.arctan2(root[:, 1], root[:, 3])
    result = np.remainder(result + np.pi, math.tau) - np.pi
    doubtful = np.flatnonzero(root[:, 1] ** 2 + root[:, 3] ** 2 < UPRIGHT)
    for i in doubtful:
        before = result[i - 1] if i > 0 else (last if last is not None else float(result[0]))
        result[i] = follow_heading(float(before), *map(float, root[i]))
    return result


def remove_heading(root: Numbers, heading: Numbers) -> Floats:
    """Return root rotations with a turn by `-heading` about +Y applied on top."""
    return qt.multiply(qt.about([0.0, 1.0, 0.0], -np.asarray(heading)), root)


def limb_frames(
    times_s: Numbers, local_rotations: Numbers, origin: Numbers, offsets: Numbers, valid: int = ALL_VALID
) -> Frames:
    """Return a contiguous stretch of motion as limb frames; the first carries BREAK.

    `times_s` `(N,)` seconds, `local_rotations` `(N, 27, 4)` unit x y z w (the root's with its heading), `origin` `(N,
    3)` the root in the world, metres, `offsets` `(27, 3)` metres, `valid` bit i: bone i is measured. Frames are
    LIMB_FRAME `(N,)`: rotations canonical (w >= 0), positions heading-free and relative to the root, `arrival_ns =
    time_ns`.
    """
    local = qt.normalise(local_rotations)
    frames = np.zeros(len(local), LIMB_FRAME)
    if not len(local):
        return frames
    heading = headings(local[:, 0])
    local[:, 0] = remove_heading(local[:, 0], heading)
    frames["time_ns"] = np.rint(np.asarray(times_s, dtype=np.float64) * 1e9).astype(np.int64)
    frames["arrival_ns"] = frames["time_ns"]
    frames["number"] = np.arange(len(local))
    frames["valid"] = valid
    frames["flags"][0] = BREAK
    frames["heading"] = heading
    frames["origin"] = origin
    frames["rotation"] = qt.canonical(local)
    frames["position"] = positions(local, offsets)
    return frames


class LiveBody:
    """The single-frame path for live streams: keeps the rig, the last good rotation of each bone and the heading.

    `refused_bones` counts rotations that were not finite or whose length lay outside 0.5..2; such a bone keeps its last
    value. One instance per performer; a few microseconds a frame once `load` was called.
    """

    def __init__(self, offsets: Numbers) -> None:
        from echelon_bridges.motion import kinematics  # compiled code: for live streams alone

        self._make = kinematics.frame
        self._body = np.zeros(1, kinematics.BODY)
        self._body["last"] = qt.IDENTITY
        self.offsets: Floats = self._body["offsets"][0]
        self.refused_bones = 0
        self.set_offsets(offsets)

    @classmethod
    def load(cls) -> None:
        """Compile or load what frames are made with, so that no frame waits for it."""
        cls(np.zeros((LIMBS, 3))).frame(
            np.tile(qt.IDENTITY, (LIMBS, 1)), np.zeros(3), time_ns=0, arrival_ns=0, number=0
        )

    def set_offsets(self, offsets: Numbers) -> None:
        """Swap the rig: `offsets` `(27, 3)` metres."""
        self.offsets[:] = offsets

    def frame(
        self,
        rotations: Floats,
        origin: Numbers,
        *,
        time_ns: int,
        arrival_ns: int,
        number: int,
        valid: int = ALL_VALID,
        flags: int = 0,
    ) -> Frames:
        """Return one LIMB_FRAME record `(1,)` of local rotations `(27, 4)` (any length 0.5..2) and the root's place."""
        x, y, z = map(float, origin)
        turns = np.ascontiguousarray(rotations, np.float64)
        record: Frames = np.zeros(1, LIMB_FRAME)
        self.refused_bones += self._make(record, self._body, turns, x, y, z, time_ns, arrival_ns, number, valid, flags)
        return record
