"""Trackers on a body (VRChat's `/tracking/trackers`): up to eight and the head, to limb frames.

`placing` says which tracker is where, at calibration, while the performer stands upright. What is left over plays no
part until the next calibration. Each tracker keeps its place and turn on its bone. Thighs and shanks follow from hip
and foot by two-bone inverse kinematics, the knee towards its tracker or forward. No tracker is on the hands or the
forearms: their bits in `valid` are clear, as those of every limb that no tracker tells about.
Basis: Unity's p `(x, y, z)` becomes `(-x, y, z)`; Euler angles in degrees turn about z, then x, then y.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from echelon_bridges.motion import scalar as one
from echelon_bridges.motion import vector as v
from echelon_bridges.motion.placing import CHEST, EYES_M, HEAD, HEIGHT_M, HIP, HIP_M, assign, middle_of_body
from echelon_bridges.motion.pose import Frames, LiveBody
from echelon_bridges.motion.skeleton import INDEX, LIMBS, REST_OFFSETS, TORSO_HEIGHTS
from echelon_bridges.motion.vector import Vector
from echelon_bridges.protocol.reading import Reading
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK
from echelon_engine.poses import positions

GAP_NS = 250_000_000
STALE_NS = 500_000_000  # a tracker that was silent for so long tells nothing
SETTLE_NS = 1_000_000_000  # calibration by itself comes so long after the first tracker was heard
FEWEST = 3  # trackers that make a body
AHEAD_M = 0.1  # how far out a knee is when its tracker counts as much as forward

BONES = {
    HIP: INDEX["root"], CHEST: INDEX["torso_7"], HEAD: INDEX["head"],
    "l_foot": INDEX["l_foot"], "r_foot": INDEX["r_foot"], "l_knee": INDEX["l_low_leg"], "r_knee": INDEX["r_low_leg"],
    "l_arm": INDEX["l_up_arm"], "r_arm": INDEX["r_up_arm"],
}  # fmt: skip
# What a tracker's bone is, in the bits of `valid`; thigh and shank come with the foot.
BITS = {
    HIP: 1,
    CHEST: 0b11111110,
    HEAD: 0b111 << INDEX["neck_1"],
    **{f"{s}_foot": 0b111 << INDEX[f"{s}_up_leg"] for s in "lr"},
    **{f"{s}_knee": 0b1 << INDEX[f"{s}_up_leg"] for s in "lr"},
    **{f"{s}_arm": 0b1 << INDEX[f"{s}_up_arm"] for s in "lr"},
}
_REST = positions(np.tile(qt.IDENTITY, (LIMBS, 1)), REST_OFFSETS) + np.array([0.0, REST_OFFSETS[0, 1], 0.0])
_SHARES = np.diff(TORSO_HEIGHTS, prepend=0.0).tolist()
_UP: Vector = (0.0, 1.0, 0.0)
_AHEAD: Vector = (0.0, 0.0, 1.0)


@dataclass(slots=True)
class Tracker:
    """The newest of one tracker, in the body's basis."""

    place: Vector
    turn: one.Quaternion | None
    heard_ns: int


class Mount(NamedTuple):
    """How a tracker sits: `place` of its joint and `turn` of its bone, both seen from the tracker's own axes.

    Without a turn of its own the tracker's axes are the body's, turned by the heading alone.
    """

    part: str
    place: Vector
    turn: one.Quaternion | None


class TrackerBody:
    """One performer's trackers over time. `feed` gives frames, `calibrate` says which tracker is where."""

    def __init__(self) -> None:
        self.frames = 0
        self.assigned: dict[str, str] = {}  # part -> hip, chest, head, l_foot ..
        self._body = LiveBody(REST_OFFSETS)
        self._scale = 1.0
        self._trackers: dict[str, Tracker] = {}
        self._mounts: dict[str, Mount] = {}
        self._heading = one.IDENTITY  # at calibration
        self._origin: Vector = (0.0, float(REST_OFFSETS[0, 1]), 0.0)
        self._seen: dict[tuple[str, str], int] = {}  # what the frame going on has brought -> number of the datagram
        self._expected: frozenset[tuple[str, str]] = frozenset()
        self._datagram = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._breaks = True

    def feed(self, readings: Iterable[Reading], arrival_ns: int) -> Frames | None:
        """Take the readings of one datagram; return the LIMB_FRAMEs `(n,)` it completed, or None.

        A frame is complete with every tracker of the frame before, or where one is told again by a later datagram.
        The first `SETTLE_NS` bring none; then the body is calibrated by itself.
        """
        self._datagram += 1
        done: list[Frames] = []
        for reading in readings:
            if not reading.part or reading.quantity not in ("position", "euler") or len(reading.values) != 3:
                continue
            key = (reading.part, reading.quantity)
            if self._seen.get(key, self._datagram) != self._datagram:
                self._end(arrival_ns, done)
            self._seen[key] = self._datagram
            self._take(reading, arrival_ns)
        if self._seen and (self._expected <= self._seen.keys() if self._expected else self._whole()):
            self._end(arrival_ns, done)
        return np.concatenate(done) if done else None

    def _whole(self) -> bool:
        """Return whether a first datagram is a frame by itself."""
        told = [key for key, number in self._seen.items() if key[1] == "position" and number == self._datagram]
        return len(told) >= FEWEST

    def _take(self, reading: Reading, arrival_ns: int) -> None:
        x, y, z = reading.values
        known = self._trackers.get(reading.part)
        if reading.quantity == "position":
            turn = known.turn if known is not None else None
            self._trackers[reading.part] = Tracker((-x, y, z), turn, arrival_ns)
        elif known is not None:
            known.turn = from_unity(x, y, z)

    def _end(self, arrival_ns: int, done: list[Frames]) -> None:
        """Close the frame going on; add its limb frame to `done` where there is a body."""
        self._expected = frozenset(self._seen)
        self._seen.clear()
        if self._first_ns is None:
            self._first_ns = arrival_ns
        if not self._mounts and (arrival_ns - self._first_ns < SETTLE_NS or not self.calibrate()):
            return
        time_ns = arrival_ns if self._last_ns is None else max(arrival_ns, self._last_ns + 1)
        fresh = {
            limb: (mount, self._trackers[mount.part])
            for limb, mount in self._mounts.items()
            if arrival_ns - self._trackers[mount.part].heard_ns <= STALE_NS
        }
        if not fresh:
            return
        flags = BREAK if self._breaks or self._last_ns is None or time_ns - self._last_ns > GAP_NS else 0
        rotations, origin = self._solve(fresh)
        valid = 0
        for limb in fresh:
            valid |= BITS[limb]
        done.append(
            self._body.frame(
                np.array(rotations),
                origin,
                time_ns=time_ns,
                arrival_ns=arrival_ns,
                number=self.frames,
                valid=valid,
                flags=flags,
            )
        )
        self.frames += 1
        self._last_ns, self._breaks = time_ns, False

    def calibrate(self) -> dict[str, str]:
        """Assign every tracker now, from how the performer stands; return part -> limb, empty where fewer than 3 are
        heard.
        """
        if len(self._trackers) < FEWEST:
            return {}
        head = self._trackers.get(HEAD)
        self._heading = yaw(head.turn) if head is not None and head.turn is not None else one.IDENTITY
        back = one.conjugate(self._heading)
        local = {part: one.rotate(back, tracker.place) for part, tracker in self._trackers.items()}
        self._scale = _scale(head.place[1] / EYES_M) if head is not None else 1.0
        places = assign(local, HEIGHT_M * self._scale)
        hip = next((part for part, limb in places.items() if limb == HIP), None)
        if head is None and hip is not None:
            self._scale = _scale(local[hip][1] / HIP_M)
        self._body.set_offsets(REST_OFFSETS * self._scale)
        self.assigned = places
        middle, ahead = middle_of_body(local, places)
        self._mounts = {limb: self._mount(part, limb, local[part], middle, ahead) for part, limb in places.items()}
        self._breaks = True
        return dict(places)

    def _mount(self, part: str, limb: str, seen: Vector, middle: float, ahead: float) -> Mount:
        """Return how a tracker sits, from where its joint and bone must be on a body that stands upright."""
        bone = BONES[limb]
        x, y, z = (float(value) * self._scale for value in _REST[bone])
        # Feet and knees stand where their trackers do, as wide apart.
        joint = (seen[0] if limb[2:] in ("foot", "knee") else middle + x, y, ahead + z)
        turn = one.IDENTITY
        if limb[2:] == "arm":
            # The arm points at its tracker, wherever it is held.
            side = 1.0 if limb[0] == "l" else -1.0
            turn = v.between((side, 0.0, 0.0), v.minus(seen, joint))
            elbow = one.rotate(turn, (side * float(abs(REST_OFFSETS[bone + 1, 0])) * self._scale, 0.0, 0.0))
            joint = v.plus(joint, elbow)
        tracker = self._trackers[part]
        if tracker.turn is None:
            return Mount(part, v.minus(joint, seen), None)
        inverse = one.conjugate(one.multiply(one.conjugate(self._heading), tracker.turn))
        return Mount(part, one.rotate(inverse, v.minus(joint, seen)), one.multiply(inverse, turn))

    def _solve(self, fresh: dict[str, tuple[Mount, Tracker]]) -> tuple[list[one.Quaternion], Vector]:
        """Return local rotations of the 27 bones and where the root is."""
        head_turn, chest_turn, root = (_turn(fresh.get(limb)) for limb in (HEAD, CHEST, HIP))
        if root is None:
            leader = chest_turn or head_turn
            root = yaw(leader) if leader is not None else self._heading
        joint = {limb: _joint(each, root) for limb, each in fresh.items()}
        offset = self._body.offsets
        spine: Vector = tuple(offset[1:8].sum(axis=0).tolist())
        origin = self._place(joint, root, chest_turn or root, spine)
        chest = chest_turn
        if chest is None:
            chest = root
            if CHEST in joint and HIP in joint:
                chest = one.multiply(v.between(one.rotate(root, _UP), v.minus(joint[CHEST], origin)), root)
        bones = [one.IDENTITY] * LIMBS
        bones[0] = root
        bend = one.multiply(one.conjugate(root), chest)
        place = origin
        here = root
        for i, share in enumerate(_SHARES):
            place = v.plus(place, one.rotate(here, offset[1 + i].tolist()))
            bones[1 + i] = one.slerp(one.IDENTITY, bend, share)
            here = one.multiply(here, bones[1 + i])
        nod = one.multiply(one.conjugate(chest), head_turn or chest)
        for bone in (8, 9, 10):
            bones[bone] = one.slerp(one.IDENTITY, nod, 1.0 / 3.0)
        for side in "lr":
            self._leg(side, root, origin, joint, _turn(fresh.get(f"{side}_foot")), bones)
            arm = INDEX[f"{side}_up_arm"]
            turn = _turn(fresh.get(f"{side}_arm"))
            elbow = joint.get(f"{side}_arm")
            if turn is None and elbow is not None:
                shoulder = v.plus(place, one.rotate(chest, (offset[arm - 1] + offset[arm]).tolist()))
                out = one.rotate(chest, (1.0 if side == "l" else -1.0, 0.0, 0.0))
                turn = one.multiply(v.between(out, v.minus(elbow, shoulder)), chest)
            if turn is not None:
                bones[arm] = one.multiply(one.conjugate(chest), turn)
        self._origin = origin
        return bones, origin

    def _place(self, joint: dict[str, Vector], root: one.Quaternion, chest: one.Quaternion, spine: Vector) -> Vector:
        """Return where the root is: at the hip's joint, or where chest, head or feet leave it."""
        if HIP in joint:
            return joint[HIP]
        if CHEST in joint:
            return v.minus(joint[CHEST], one.rotate(root, spine))
        if HEAD in joint:
            neck = self._body.offsets[8:11].sum(axis=0)
            return v.minus(joint[HEAD], one.rotate(chest, v.plus(spine, tuple(neck.tolist()))))
        feet = [joint[limb] for limb in ("l_foot", "r_foot") if limb in joint]
        if not feet:
            return self._origin
        x, z = (sum(foot[k] for foot in feet) / len(feet) for k in (0, 2))
        return (x, float(REST_OFFSETS[0, 1]) * self._scale, z)

    def _leg(
        self,
        side: str,
        root: one.Quaternion,
        origin: Vector,
        joint: dict[str, Vector],
        foot_turn: one.Quaternion | None,
        bones: list[one.Quaternion],
    ) -> None:
        """Write thigh, shank and foot of one side: two-bone inverse kinematics in the plane of hip, ankle and knee."""
        up_leg = INDEX[f"{side}_up_leg"]
        offset = self._body.offsets
        thigh_m, shank_m = (float(np.linalg.norm(offset[up_leg + k])) for k in (1, 2))
        hip = v.plus(origin, one.rotate(root, offset[up_leg].tolist()))
        ankle, knee = joint.get(f"{side}_foot"), joint.get(f"{side}_knee")
        ahead = one.rotate(root, _AHEAD)
        thigh = shank = root
        if ankle is not None:
            reach = v.minus(ankle, hip)
            distance = v.length(reach)
            down = v.scaled(reach, 1.0 / distance) if distance > 1e-6 else one.rotate(root, (0.0, -1.0, 0.0))
            far = min(max(distance, abs(thigh_m - shank_m) + 1e-3), (thigh_m + shank_m) * (1.0 - 1e-7))
            # The law of cosines: the knee lies `along` the way to the ankle and `out` of it.
            along = (thigh_m**2 - shank_m**2 + far**2) / (2.0 * far)
            out = math.sqrt(max(0.0, thigh_m**2 - along**2))
            # Of a straight leg the knee's own tracker tells no direction.
            pole = v.scaled(ahead, AHEAD_M)
            if knee is not None and (told := _across(v.minus(knee, hip), down)) is not None:
                pole = v.plus(pole, v.scaled(told, out))
            pole = _across(pole, down) or _across(one.rotate(root, _UP), down) or ahead
            knee_at = v.plus(v.scaled(down, along), v.scaled(pole, out))
            hinge = v.cross(v.scaled(down, -1.0), pole)
            thigh = _frame(hinge, v.scaled(knee_at, -1.0 / thigh_m))
            shank = _frame(hinge, v.scaled(v.minus(v.scaled(down, far), knee_at), -1.0 / shank_m))
        elif knee is not None:
            thigh = one.multiply(v.between(one.rotate(root, (0.0, -1.0, 0.0)), v.minus(knee, hip)), root)
            shank = thigh
        foot = foot_turn or shank
        bones[up_leg] = one.multiply(one.conjugate(root), thigh)
        bones[up_leg + 1] = one.multiply(one.conjugate(thigh), shank)
        bones[up_leg + 2] = one.multiply(one.conjugate(shank), foot)


def from_unity(x_deg: float, y_deg: float, z_deg: float) -> one.Quaternion:
    """Return Unity's Euler angles (about z, then x, then y) as a rotation in the body's basis."""
    a, b, c = (math.radians(value) * 0.5 for value in (x_deg, y_deg, z_deg))
    turn_x = (math.sin(a), 0.0, 0.0, math.cos(a))
    turn_y = (0.0, math.sin(b), 0.0, math.cos(b))
    turn_z = (0.0, 0.0, math.sin(c), math.cos(c))
    x, y, z, w = one.multiply(turn_y, one.multiply(turn_x, turn_z))
    return (x, -y, -z, w)


def yaw(turn: one.Quaternion) -> one.Quaternion:
    """Return the part of a rotation about +y (swing-twist)."""
    return one.normalise((0.0, turn[1], 0.0, turn[3]))


def _turn(each: tuple[Mount, Tracker] | None) -> one.Quaternion | None:
    """Return the rotation of a tracker's bone, where it tells one."""
    if each is None:
        return None
    mount, tracker = each
    return one.multiply(tracker.turn, mount.turn) if tracker.turn is not None and mount.turn is not None else None


def _joint(each: tuple[Mount, Tracker], root: one.Quaternion) -> Vector:
    mount, tracker = each
    axes = tracker.turn if mount.turn is not None and tracker.turn is not None else yaw(root)
    return v.plus(tracker.place, one.rotate(axes, mount.place))


def _scale(ratio: float) -> float:
    return min(max(ratio, 0.6), 1.3)


def _frame(hinge: Vector, up: Vector) -> one.Quaternion:
    """Return the rotation whose x axis is `hinge` and whose y axis is `up`, both of length 1 and across."""
    return v.from_axes(hinge, up, v.cross(hinge, up))


def _across(vector: Vector, along: Vector) -> Vector | None:
    """Return the direction of `vector` across the unit vector `along`, or None where it has none."""
    dot = vector[0] * along[0] + vector[1] * along[1] + vector[2] * along[2]
    rest = v.minus(vector, v.scaled(along, dot))
    length = v.length(rest)
    return v.scaled(rest, 1.0 / length) if length > 1e-3 else None
