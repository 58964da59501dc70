"""VMC performers (Virtual Motion Capture over OSC) to limb frames, and limb frames to VMC.

The protocol does not say where a frame begins. Here it ends when `/VMC/Ext/T` and every bone of the frame before have
come, whichever is last; a second T, or a bone again in a later datagram, ends it too. Basis: Unity's, left-handed, the
body's left at -X; to the body's `p (-x, y, z)`, `q (x, -y, -z, w)`. Source: protocol.vmc.info.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from echelon_bridges.motion import scalar as one
from echelon_bridges.motion.pose import Floats, Frames, LiveBody
from echelon_bridges.motion.skeleton import INDEX, LIMBS, REST_OFFSETS, TORSO_HEIGHTS
from echelon_bridges.protocol import osc
from echelon_bridges.protocol.refusal import FOREIGN, Refusal
from echelon_bridges.protocol.senderclock import SenderClock
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK

DEFAULT_PORT = 39539
BONE, ROOT_POSE, TIME = "/VMC/Ext/Bone/Pos", "/VMC/Ext/Root/Pos", "/VMC/Ext/T"
GAP_S = 0.25
LATE_S = 0.5  # T lower by less is a late frame, by more a restart
STILL = 5  # frames with one T after which this T is no clock
SPINE = ("Spine", "Chest", "UpperChest")
# Unity's bone (side left out) for each limb bone; spine and neck are spread.
LIMB_NAMES = {
    "shoulder": "Shoulder", "up_arm": "UpperArm", "low_arm": "LowerArm", "hand": "Hand", "up_leg": "UpperLeg",
    "low_leg": "LowerLeg", "foot": "Foot", "toes": "Toes",
}  # fmt: skip
LIMB_OF = {
    side + unity: INDEX[prefix + bone]
    for side, prefix in (("Left", "l_"), ("Right", "r_"))
    for bone, unity in LIMB_NAMES.items()
} | {"Head": INDEX["head"]}
BODY = frozenset(LIMB_OF) | frozenset(SPINE) | {"Hips", "Neck"}
_HEIGHTS: tuple[float, ...] = tuple(map(float, TORSO_HEIGHTS))
_FLIP = np.array([1.0, -1.0, -1.0, 1.0])


@dataclass(slots=True)
class Counts:
    """What a stream has brought so far."""

    frames: int = 0
    duplicates: int = 0  # frames whose T did not move on
    late: int = 0  # frames whose T went back a little
    restarts: int = 0
    refused: int = 0  # datagrams
    undecodable: int = 0  # of these, not OSC
    refused_bones: int = 0  # not finite, or a quaternion outside 0.5..2
    malformed: int = 0  # messages with too few or wrong arguments
    ignored: int = 0  # other addresses, fingers, eyes


def _pose_of(message: osc.Message) -> Sequence[float] | None:
    """Return the seven numbers behind the name of a pose message, or None where they are missing or no floats."""
    return message.args[1:8] if message.tags.startswith("sfffffff") else None  # type: ignore[return-value]


class VmcStream:
    """Turns one performer's datagrams into limb frames; bones that are not sent keep their last value."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.refusal: Refusal | None = None  # the newest
        self.clock = SenderClock()
        self._body = LiveBody(REST_OFFSETS)
        self._scale = 1.0
        self._number = 0
        self._rotation: dict[str, one.Quaternion] = {}  # in the body's basis, as last sent
        self._root: tuple[tuple[float, float, float], one.Quaternion] = ((0.0, 0.0, 0.0), one.IDENTITY)
        self._hips = (0.0, float(REST_OFFSETS[0, 1]), 0.0)
        self._lengths: dict[str, float] = {}
        self._seen: dict[str, int] = {}  # bone -> datagram that brought it, in the frame going on
        self._expected: frozenset[str] = frozenset()  # bones of the frame before
        self._missing: set[str] = set()  # of these, not yet come
        self._time_s: float | None = None
        self._has_time = False  # whether this sender says T at all
        self._datagram = 0
        self._last_time_s: float | None = None
        self._last_ns: int | None = None
        self._still = 0  # frames in a row whose T did not move on
        self._restarted = 0  # BREAK where the newest T began again

    @property
    def rig_declared(self) -> bool:
        """Whether the sender has told the lengths of a leg, to which the default body is scaled."""
        return len(self._lengths) == 2

    @property
    def timed(self) -> bool:
        """Whether this sender says when its frames were made."""
        return self._has_time

    @property
    def offsets(self) -> Floats:
        """Bone offsets in use (27, 3), metres."""
        return self._body.offsets

    def feed(self, data: bytes, arrival_ns: int) -> Frames | None:
        """Take one datagram; return the LIMB_FRAMEs `(n,)` it completed, or None."""
        messages = osc.decode(data)
        if isinstance(messages, Refusal):
            self.counts.refused += 1
            self.counts.undecodable += messages.kind == FOREIGN
            self.refusal = messages
            return None
        self._datagram += 1
        done: list[Frames] = []
        for message in messages:
            if message.address == BONE:
                self._bone(message, arrival_ns, done)
            elif message.address == TIME:
                time_s = message.args[0] if message.tags.startswith(("f", "d")) else None
                if not isinstance(time_s, float) or not 0.0 <= time_s < 1e8:
                    self.counts.malformed += 1
                    continue
                if self._time_s is not None:
                    self._end(arrival_ns, done)
                self._time_s, self._has_time = time_s, True
                self._end_if_complete(arrival_ns, done)
            elif message.address == ROOT_POSE:
                self._take_root(message)
            else:
                self.counts.ignored += 1
        # A datagram with T and a whole body is a frame by itself, the first one too.
        if self._time_s is not None and "Hips" in self._seen and self._all_from_here():
            self._end(arrival_ns, done)
        return np.concatenate(done) if done else None

    def _all_from_here(self) -> bool:
        return len(self._seen) >= 10 and all(at == self._datagram for at in self._seen.values())

    def _take_root(self, message: osc.Message) -> None:
        value = _pose_of(message)
        if value is None:
            self.counts.malformed += 1
        elif not _is_pose(value):
            self.counts.refused_bones += 1
        else:
            px, py, pz, x, y, z, w = value
            self._root = ((-px, py, pz), one.normalise((x, -y, -z, w)))

    def _bone(self, message: osc.Message, arrival_ns: int, done: list[Frames]) -> None:
        value = _pose_of(message)
        if value is None:
            self.counts.malformed += 1
            return
        name = str(message.args[0])
        if name not in BODY:
            self.counts.ignored += 1
            return
        if self._seen.get(name, self._datagram) != self._datagram:
            self._end(arrival_ns, done)
        self._seen[name] = self._datagram
        self._missing.discard(name)
        if _is_pose(value):
            px, py, pz, x, y, z, w = value
            self._rotation[name] = one.normalise((x, -y, -z, w))
            if name == "Hips":
                self._hips = (-px, py, pz)
            elif name in ("LeftLowerLeg", "LeftFoot"):
                self._lengths[name] = math.sqrt(px * px + py * py + pz * pz)
        else:
            self.counts.refused_bones += 1
        self._end_if_complete(arrival_ns, done)

    def _end_if_complete(self, arrival_ns: int, done: list[Frames]) -> None:
        if not self._missing and self._expected and (self._time_s is not None or not self._has_time):
            self._end(arrival_ns, done)

    def _end(self, arrival_ns: int, done: list[Frames]) -> None:
        """Close the frame going on and, where it holds a body, add its limb frame to `done`."""
        time_s, seen = self._time_s, bool(self._seen)
        self._time_s = None
        if seen:
            self._expected = frozenset(self._seen)
            self._seen.clear()
        self._missing = set(self._expected)
        if not seen:
            return
        flags = BREAK if self._last_ns is None else 0
        time_ns = arrival_ns
        if time_s is not None:
            stamp_ns = self._stamp(time_s, arrival_ns)
            if stamp_ns is None:
                return
            time_ns = stamp_ns
            flags |= self._restarted
        if self._last_ns is not None:
            time_ns = max(time_ns, self._last_ns + 1)
            if time_ns - self._last_ns > GAP_S * 1e9:
                flags |= BREAK
        self._last_ns = time_ns
        self._fit_body()
        place, turn = self._root
        hips = one.rotate(turn, self._hips)
        done.append(
            self._body.frame(
                self._bones(turn),
                [place[0] + hips[0], place[1] + hips[1], place[2] + hips[2]],
                time_ns=time_ns,
                arrival_ns=arrival_ns,
                number=self._number,
                valid=self._valid(),
                flags=flags,
            )
        )
        self._number += 1
        self.counts.frames += 1

    def _stamp(self, time_s: float, arrival_ns: int) -> int | None:
        """Return the engine time of a frame said to be at T, or None for one that was played or came too late."""
        last_s = self._last_time_s
        self._restarted = 0
        if last_s is not None and time_s <= last_s:
            self._still = self._still + 1 if time_s == last_s else 0
            if self._still > STILL:
                return arrival_ns
            if time_s > last_s - LATE_S:
                if time_s == last_s:
                    self.counts.duplicates += 1
                else:
                    self.counts.late += 1
                return None
            self.counts.restarts += 1
            self.clock.reset()
            self._restarted = BREAK
        self._still = 0
        self._last_time_s = time_s
        return self.clock.engine_ns(round(time_s * 1e9), arrival_ns)

    def _valid(self) -> int:
        """Return the bits of the bones this sender has ever sent; spread bones count with their sources."""
        valid = 0x7FF if "Hips" in self._rotation else 0x7FE
        for name, bone in LIMB_OF.items():
            if name in self._rotation:
                valid |= 1 << bone
            elif bone == INDEX["head"]:
                valid &= ~(1 << bone)
        return valid

    def _fit_body(self) -> None:
        """Scale the default body to the sender's leg where it sends bone lengths."""
        leg = sum(self._lengths.values())
        if len(self._lengths) == 2 and 0.2 < leg < 2.0:
            scale = leg / float(np.linalg.norm(REST_OFFSETS[20:22], axis=1).sum())
            if abs(scale - self._scale) > 0.01:
                self._scale = scale
                self._body.set_offsets(REST_OFFSETS * scale)

    def _bones(self, turn: one.Quaternion) -> Floats:
        """Return local rotations (27, 4) from the newest of each Unity bone: spine spread over seven, neck halved."""
        sent = self._rotation
        bones: list[one.Quaternion] = [one.IDENTITY] * LIMBS
        for name, bone in LIMB_OF.items():
            if name in sent:
                bones[bone] = sent[name]
        bones[0] = one.multiply(turn, sent.get("Hips", one.IDENTITY))
        curve = [one.IDENTITY]
        for name in SPINE:
            if name in sent:
                curve.append(one.multiply(curve[-1], sent[name]))
        spaces = len(curve) - 1
        below = one.IDENTITY
        for i, height in enumerate(_HEIGHTS if spaces else ()):
            k = min(int(height * spaces), spaces - 1)
            here = one.slerp(curve[k], curve[k + 1], height * spaces - k)
            bones[1 + i] = one.multiply(one.conjugate(below), here)
            below = here
        bones[8] = bones[9] = one.slerp(one.IDENTITY, sent.get("Neck", one.IDENTITY), 0.5)
        return np.array(bones)


def _is_pose(value: Sequence[float]) -> bool:
    """Return whether three metres and a quaternion are finite and the quaternion's length lies within 0.5..2."""
    px, py, pz, x, y, z, w = value
    return 0.25 <= x * x + y * y + z * z + w * w <= 4.0 and px * px + py * py + pz * pz < 1e10  # false for NaN


def encode_frame(
    time_s: float, rotations: Floats, origin: Sequence[float] | Floats, *, bundle: bool = True
) -> list[bytes]:
    """Return a pose as VMC datagrams: one bundle (T first), or with `bundle=False` single messages, T last.

    `rotations` `(27, 4)` local x y z w, the root's with its heading, `origin` `(3,)` metres. torso_1..3, 4..5 and 6..7
    go to Spine, Chest and UpperChest, both neck bones to Neck. Positions restate the default body's.
    """
    pose: dict[str, tuple[Floats, Floats]] = {}
    q = np.asarray(rotations, dtype=np.float64)
    pose["Hips"] = (q[0], np.asarray(origin, dtype=np.float64))
    for name, first, last in (("Spine", 1, 3), ("Chest", 4, 5), ("UpperChest", 6, 7), ("Neck", 8, 9)):
        turn = q[first]
        for bone in range(first + 1, last + 1):
            turn = qt.multiply(turn, q[bone])
        pose[name] = (turn, REST_OFFSETS[first : last + 1].sum(axis=0))
    for name, bone in LIMB_OF.items():
        pose[name] = (q[bone], REST_OFFSETS[bone])
    single = [osc.encode_message(ROOT_POSE, "sfffffff", ["root", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])]
    for name, (turn, place) in pose.items():
        values = [-place[0], place[1], place[2], *(turn * _FLIP)]
        single.append(osc.encode_message(BONE, "sfffffff", [name, *map(float, values)]))
    time = osc.encode_message(TIME, "f", [float(time_s)])
    return [osc.encode_bundle([time, *single])] if bundle else [*single, time]
