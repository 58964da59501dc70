"""The built-in performer: a procedural dancer, endless, deterministic by seed.

It dances phrases of eight bars with a contour: quiet beginnings, a build, a climax, a breath. Every bar is one move
(`moves`) written in joint angles over beats; neighbouring bars are blended over one beat with a C2 curve, so nothing
jerks. Feet stand on the floor by two-bone inverse kinematics. Any frame can be asked for: it is the same however it was
reached.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.motion import moves, pose
from echelon_bridges.motion.pose import Frames
from echelon_bridges.motion.skeleton import ALL_VALID, INDEX, LIMBS, REST_OFFSETS
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK

Floats = NDArray[np.float64]

BEATS = 4
PHRASE_BARS = 8
BLOCK = 120  # frames computed together, so that chunking can never show in the last bit

# Energy of each bar of a phrase, and how strongly each phrase of a round of four is danced: the second climbs, the
# third is the climax, the fourth recovers. The first phrase of all enters at once instead of building from nothing.
CONTOUR = (0.22, 0.34, 0.46, 0.58, 0.70, 0.84, 1.00, 0.10)
ENTRANCE = (0.62, 0.70, 0.56, 0.66, 0.78, 0.88, 1.00, 0.10)
PHRASES = (0.74, 0.88, 1.00, 0.56)
_QUIET = ("sway", "float", "sway")
_MIDDLE = ("groove", "wave", "groove", "lunge", "strike")
_STRONG = ("strike", "spin", "lunge", "reach", "strike", "spin")

_X, _Y, _Z = np.eye(3)


class Dancer:
    """The built-in performer: `frames(start_index, count)` gives LIMB_FRAME `(count,)` at 60 Hz from any index on."""

    rate_hz = 60.0

    def __init__(self, seed: int = 1, tempo_bpm: float = 96.0) -> None:
        if not 30.0 <= tempo_bpm <= 240.0:
            raise ValueError(f"tempo of {tempo_bpm} bpm: the dancer dances 30 to 240")
        self.seed, self.tempo_bpm = int(seed), float(tempo_bpm)
        self.offsets = REST_OFFSETS.copy()
        self._plans: dict[int, moves.Bar] = {}
        self._blocks: dict[int, Frames] = {}

    def bar(self, index: int) -> moves.Bar:
        """Return the plan of a bar: its move, energy 0..1, leading side and variation. Bars before 0 stand still."""
        if index < 0:
            return moves.Bar("still", 0.0, 1.0, (0.0,) * 4)
        if (plan := self._plans.get(index)) is not None:
            return plan
        phrase, place = divmod(index, PHRASE_BARS)
        draw = np.random.Generator(np.random.Philox(key=[self.seed & (2**64 - 1), index]))
        chance = draw.random(6)
        contour = CONTOUR if phrase else ENTRANCE
        energy = contour[place] * PHRASES[phrase % len(PHRASES)] * (0.92 + 0.16 * chance[0])
        if place == PHRASE_BARS - 1:
            name = "still"
        elif place == PHRASE_BARS - 2 and phrase % len(PHRASES) != 3:
            before = self.bar(index - 1).name
            name = {"spin": "reach", "reach": "spin"}.get(before) or ("spin" if chance[5] < 0.5 else "reach")
        else:
            pool = _QUIET if energy < 0.33 else _MIDDLE if energy < 0.62 else _STRONG
            name = pool[int(chance[1] * len(pool))]
            if name == self.bar(index - 1).name and name not in ("sway", "groove"):
                name = pool[(int(chance[1] * len(pool)) + 1) % len(pool)]
        plan = moves.Bar(
            name,
            min(1.0, float(energy)),
            1.0 if (index + int(chance[2] < 0.3)) % 2 == 0 else -1.0,
            (float(chance[2]), float(chance[3]), float(chance[4]), float(chance[5])),
        )
        if len(self._plans) > 4096:
            self._plans.clear()
        self._plans[index] = plan
        return plan

    def frames(self, start_index: int, count: int) -> Frames:
        """Return LIMB_FRAME `(count,)` from frame `start_index` on; `time_ns` is 0 at frame 0, which carries BREAK."""
        first, last = start_index // BLOCK, (start_index + max(count, 1) - 1) // BLOCK
        joined = np.concatenate([self._block(k) for k in range(first, last + 1)])
        begin = start_index - first * BLOCK
        return joined[begin : begin + count].copy()

    def _block(self, k: int) -> Frames:
        block = self._blocks.get(k)
        if block is None:
            index = np.arange(k * BLOCK, (k + 1) * BLOCK)
            times = index / self.rate_hz
            local, origin = self._pose(times)
            block = pose.limb_frames(times, local, origin, self.offsets, ALL_VALID)
            block["number"] = index
            block["flags"] = 0
            if k == 0:
                block["flags"][0] = BREAK
            if len(self._blocks) > 8:
                self._blocks.clear()
            self._blocks[k] = block
        return block

    def _pose(self, times: Floats) -> tuple[Floats, Floats]:
        """Return local rotations (N, 27, 4) and the root's place (N, 3) at `times` (N,) seconds."""
        beat = times * self.tempo_bpm / 60.0
        # Bar A is danced alone except for the beat around its end, where it hands over to bar A + 1.
        bar = np.floor((beat - 0.5) / BEATS).astype(int)
        into = beat - 0.5 - BEATS * bar
        hand_over = moves.smooth(into - (BEATS - 1.0))
        angles = moves.neutral(len(beat))
        turn = np.zeros(len(beat))
        for b in range(int(bar.min()), int(bar.max()) + 2):
            weight = np.where(bar == b, 1.0 - hand_over, np.where(bar == b - 1, hand_over, 0.0))
            here = np.flatnonzero(weight)
            if not len(here):
                continue
            plan = self.bar(b)
            u = beat[here] - BEATS * b
            for name, value in moves.dance(plan, u).items():
                angles[name][here] += weight[here] * value
            turn[here] += moves.turn(plan, u)  # whole turns, so that a bar which is over leaves nothing behind
        self._breathe(angles, times)
        return skeleton_pose(angles, turn)

    def _breathe(self, angles: moves.Angles, times: Floats) -> None:
        """Add breath and the slow wandering that no living body is without."""
        draw = np.random.Generator(np.random.Philox(key=[self.seed & (2**64 - 1), 1 << 40]))
        phase = draw.random(8) * math.tau
        angles["bend"] += 1.0 * np.sin(math.tau * 0.25 * times)
        for k, (name, size) in enumerate(
            (("bend_side", 1.2), ("twist", 2.0), ("nod", 2.0), ("look", 4.0), ("l_raise", 2.5), ("r_raise", 2.5))
        ):
            angles[name] += size * np.sin(math.tau * (0.061 + 0.017 * k) * times + phase[k])


def skeleton_pose(a: moves.Angles, turn: Floats) -> tuple[Floats, Floats]:
    """Return local rotations (N, 27, 4) and the root's place (N, 3) of a body given by its angles (degrees, metres).

    The pelvis stands over the feet as high as both legs reach, lowered by `crouch`; knees bend forward.
    """
    count = len(turn)
    local = np.tile(qt.IDENTITY, (count, LIMBS, 1))
    rad = {name: np.radians(value) for name, value in a.items()}
    heading = qt.about(_Y, turn)
    pelvis = qt.multiply(
        qt.about(_Y, rad["pelvis_yaw"]),
        qt.multiply(qt.about(_Z, -rad["pelvis_side"]), qt.about(_X, rad["pelvis_lean"])),
    )
    local[:, 0] = qt.multiply(heading, pelvis)
    spine = qt.multiply(
        qt.about(_Y, rad["twist"] / 7), qt.multiply(qt.about(_Z, -rad["bend_side"] / 7), qt.about(_X, rad["bend"] / 7))
    )
    local[:, 1:8] = spine[:, None]
    neck = qt.multiply(
        qt.about(_Y, rad["look"] / 3), qt.multiply(qt.about(_Z, -rad["tilt"] / 3), qt.about(_X, rad["nod"] / 3))
    )
    local[:, 8:11] = neck[:, None]
    for s, side in (("l_", 1.0), ("r_", -1.0)):
        arm = INDEX[s + "up_arm"]
        # Above the horizontal the collar bone takes part of the raise.
        shrug = np.radians(12.0) * moves.smooth((a[s + "raise"] + 20.0) / 120.0)
        local[:, arm - 1] = qt.about(_Z, side * shrug)
        local[:, arm] = qt.multiply(
            qt.about(_Y, -side * rad[s + "front"]),
            qt.multiply(qt.about(_Z, side * (rad[s + "raise"] - shrug)), qt.about(_X, rad[s + "roll"])),
        )
        local[:, arm + 1] = qt.about(_Y, -side * rad[s + "elbow"])
        local[:, arm + 2] = qt.about(_Z, side * rad[s + "wrist"])

    # The legs, in the frame that turns with the body. Feet first, then how high the pelvis can be above them.
    ankle_up = 0.099
    place = np.stack([a["sway"], np.zeros(count), a["sway_front"]], axis=1)
    feet, hips = {}, {}
    reach_m = 0.388 + 0.404 - 0.012
    height = np.full(count, ankle_up + 0.042 + reach_m) - a["crouch"]
    ceiling = np.exp(-40.0 * (height - 0.8))
    for s, side in (("l_", 1.0), ("r_", -1.0)):
        feet[s] = np.stack([side * (0.11 + a[s + "out"]), ankle_up + a[s + "lift"], a[s + "ahead"]], axis=1)
        hips[s] = qt.rotate(pelvis, REST_OFFSETS[INDEX[s + "up_leg"]])
        away = feet[s] - place - hips[s]
        across = np.minimum(away[:, 0] ** 2 + away[:, 2] ** 2, 0.8 * reach_m**2)
        top = feet[s][:, 1] - hips[s][:, 1] + np.sqrt(reach_m**2 - across)
        ceiling += np.exp(-40.0 * (top - 0.8))
    place[:, 1] = 0.8 - np.log(ceiling) / 40.0 + a["jump"]
    for s, side in (("l_", 1.0), ("r_", -1.0)):
        leg = INDEX[s + "up_leg"]
        feet[s][:, 1] += a["jump"]
        thigh, knee, shank = leg_to(feet[s] - place - hips[s], np.radians(12.0) * side)
        local[:, leg] = qt.multiply(qt.conjugate(pelvis), thigh)
        local[:, leg + 1] = qt.about(_X, knee)
        point = np.radians(50.0) * moves.smooth(4.0 * (a[s + "lift"] + a["jump"]))  # a lifted foot points down
        flat = qt.multiply(qt.about(_Y, np.full(count, np.radians(12.0) * side)), qt.about(_X, point))
        local[:, leg + 2] = qt.multiply(qt.conjugate(shank), flat)
    return local, qt.rotate(heading, place)


def leg_to(way: Floats, out: float) -> tuple[Floats, Floats, Floats]:
    """Return thigh rotation (N, 4), knee angle (N,) and shank rotation (N, 4) that put the ankle at `way` from the hip.

    `way` (N, 3) metres; `out` is how far the knee looks outward from +Z, radians. Law of cosines in the leg's plane.
    """
    thigh_m, shank_m = 0.388, 0.404
    d = np.clip(np.linalg.norm(way, axis=1), 0.25, thigh_m + shank_m - 1e-3)
    down = way / np.linalg.norm(way, axis=1, keepdims=True)
    knee = np.pi - np.arccos(np.clip((thigh_m**2 + shank_m**2 - d**2) / (2 * thigh_m * shank_m), -1.0, 1.0))
    lead = np.arccos(np.clip((thigh_m**2 + d**2 - shank_m**2) / (2 * thigh_m * d), -1.0, 1.0))
    # First yaw outward, then swing the leg's axis from straight down onto `down`, then bring the thigh forward.
    yaw = np.broadcast_to(qt.about(_Y, np.array(out)), (len(way), 4))
    swing = qt.between(np.broadcast_to(-_Y, way.shape), down)
    thigh = qt.multiply(qt.multiply(swing, yaw), qt.about(_X, -lead))
    return thigh, knee, qt.multiply(thigh, qt.about(_X, knee))
