"""Other skeletons onto the 27 bones: which joint is which bone, and the T-pose they are measured against.

`Rig.of` reads a skeleton's rest pose once (up axis, facing, unit, arms that hang); `Rig.retarget` then turns any number
of its poses into local rotations of the 27 bones. Preserved exactly: the world rotation, against the T-pose, of every
joint that has a bone, and the place of every limb relative to the end of the spine.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.motion.joints import Match, match
from echelon_bridges.motion.skeleton import (
    HEAD,
    INDEX,
    LEG_LENGTH_M,
    LIMBS,
    NAMES,
    PARENTS,
    REST_OFFSETS,
    ROOT,
    TORSO_7,
    TORSO_HEIGHTS,
)
from echelon_engine import quaternion as qt

Floats = NDArray[np.float64]


# The 24 rotations that take axes to axes: where an unknown local frame may lie relative to the body's.
CUBE: tuple[Floats, ...] = tuple(
    qt.from_matrix(m)
    for permutation in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
    if np.linalg.det(m := np.eye(3)[list(permutation)] * np.array(signs)[:, None]) > 0
)
UNITS = ((1.0, "metres"), (0.01, "centimetres"), (0.0254, "inches"), (0.001, "millimetres"))


@dataclass
class Rig:
    """A source skeleton measured against the T-pose: everything that does not change from frame to frame."""

    match: Match
    turn: Floats  # (4,) source world -> Y up, Z forward
    reference: Floats  # (J, 4) joint rotations in the T-pose, in the turned world
    offsets: Floats  # (27, 3) metres
    scale: float  # metres per unit
    valid: int
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, names: Sequence[str], parents: Sequence[int], offsets: Floats, world: Floats) -> Rig:
        """Measure a skeleton.

        `names`, `parents` (-1 for the root; parents first) and `offsets` `(J, 3)` describe it in its own unit; `world`
        `(N, J, 4)` is some of its motion as world rotations, used where the rest pose alone does not tell.
        """
        found = match(names)
        zero = np.zeros((len(names), 3))
        for j, parent in enumerate(parents):
            if parent >= 0:
                zero[j] = zero[parent] + offsets[j]
        b = found.bone
        feet = 0.5 * (zero[b[INDEX["l_low_leg"]]] + zero[b[INDEX["r_low_leg"]]]) - zero[b[ROOT]]
        tall = zero[b[HEAD]] - zero[b[ROOT]]
        figure = bool(tall @ feet < -0.5 * np.linalg.norm(tall) * np.linalg.norm(feet))
        notes: list[str] = []
        if float(np.linalg.norm(tall)) < 1e-9:
            raise ValueError("head and hips coincide: the skeleton has no bone lengths; export it with them")
        if figure:
            turn = _turn_of_rest(tall - feet, zero[b[INDEX["l_up_leg"]]] - zero[b[INDEX["r_up_leg"]]])
        else:
            turn = _turn_of_motion(parents, offsets, world, b[ROOT], b[HEAD])
        if np.abs(turn[3]) < 1.0 - 1e-9:
            up = qt.rotate(qt.conjugate(turn), [0.0, 1.0, 0.0])
            axis = int(np.argmax(np.abs(up)))
            sign = "-" if up[axis] < 0 else "+"
            notes.append(f"turned from {sign}{'XYZ'[axis]} up to Y up, facing Z")
        reference, raised = _reference(found, offsets, parents, turn, figure, world)
        if raised:
            notes.append("measured against a T-pose: " + raised)
        rig = cls(found, turn, reference, np.zeros((LIMBS, 3)), 1.0, 0, notes)
        rig._measure(parents, offsets)
        return rig

    def _measure(self, parents: Sequence[int], offsets: Floats) -> None:
        """Fill in the bones' offsets, the unit and which bones are there."""
        m = self.match
        posed = qt.rotate(self.reference[[max(p, 0) for p in parents]], offsets)

        def chain(joint: int, until: int) -> Floats:
            """Return the way from joint `until` up to `joint` in the T-pose."""
            way = np.zeros(3)
            while joint not in (until, -1):
                way += posed[joint]
                joint = parents[joint]
            return way

        def sure(bone: str) -> int:
            return m.bone[INDEX[bone]]

        leg = sum(
            float(np.linalg.norm(chain(sure(s + "low_leg"), sure(s + "up_leg"))))
            + float(np.linalg.norm(chain(m.bone.get(INDEX[s + "foot"], sure(s + "low_leg")), sure(s + "low_leg"))))
            for s in ("l_", "r_")
        )
        self.scale, note = unit(0.5 * leg)
        if note:
            self.notes.append(note)

        out = self.offsets
        chest = m.spine[-1]
        knots = np.concatenate([np.zeros((1, 3)), [chain(j, m.bone[ROOT]) for j in m.spine]])
        places = np.stack(
            [np.interp(TORSO_HEIGHTS, np.linspace(0.0, 1.0, len(knots)), knots[:, k]) for k in range(3)], axis=1
        )
        out[1 : TORSO_7 + 1] = np.diff(places, axis=0, prepend=0.0)
        neck = m.neck or (m.bone[HEAD],)
        out[8] = chain(neck[0], chest)
        rest = chain(m.bone[HEAD], neck[0])
        out[9] = chain(neck[1], neck[0]) if len(neck) > 1 else 0.5 * rest
        out[HEAD] = rest - out[9]
        self.valid = (1 << (HEAD + 1)) - 1
        for bone in range(HEAD + 1, LIMBS):
            parent = PARENTS[bone]
            if bone not in m.bone:
                out[bone] = REST_OFFSETS[bone] / self.scale
                continue
            self.valid |= 1 << bone
            above = parent
            while above != TORSO_7 and above not in m.bone:
                above = PARENTS[above]
            out[bone] = chain(m.bone[bone], chest if above == TORSO_7 else m.bone[above])
            if above != parent:  # a collar bone that the source lacks: the default one, taken off the upper arm
                out[bone] -= REST_OFFSETS[parent] / self.scale
        out *= self.scale

    def retarget(self, world: qt.Numbers) -> Floats:
        """Return local rotations of the bones `(N, 27, 4)` from world rotations of the joints `(N, J, 4)`."""
        turned = qt.multiply(qt.multiply(self.turn, world), qt.conjugate(self.reference))
        return bones_from_world(turned, self.match)


def bones_from_world(world: Floats, found: Match) -> Floats:
    """Return local rotations `(N, 27, 4)` from joint rotations `(N, J, 4)` in the body's basis, relative to a T-pose.

    The spine's cumulative rotation is read off by slerp at the seven heights of the torso, so the whole bend is kept;
    a single neck joint is halved.
    """
    count = world.shape[0]
    bones = np.tile(qt.IDENTITY, (count, LIMBS, 1))
    root = world[:, found.bone[ROOT]]
    curve = [root, *(world[:, j] for j in found.spine)]
    bones[:, ROOT] = root
    spaces = len(curve) - 1
    for i, height in enumerate(TORSO_HEIGHTS):
        k = min(int(height * spaces), spaces - 1)
        bones[:, 1 + i] = qt.slerp(curve[k], curve[k + 1], np.full(count, height * spaces - k))
    head = world[:, found.bone[HEAD]]
    if len(found.neck) == 2:
        bones[:, 8], bones[:, 9] = world[:, found.neck[0]], world[:, found.neck[1]]
    elif len(found.neck) == 1:
        bones[:, 9] = world[:, found.neck[0]]
        bones[:, 8] = qt.slerp(bones[:, TORSO_7], bones[:, 9], np.full(count, 0.5))
    else:
        for i, bone in enumerate((8, 9)):
            bones[:, bone] = qt.slerp(bones[:, TORSO_7], head, np.full(count, (i + 1) / 3.0))
    bones[:, HEAD] = head
    for bone in range(HEAD + 1, LIMBS):
        joint = found.bone.get(bone)
        bones[:, bone] = bones[:, PARENTS[bone]] if joint is None else world[:, joint]
    parents = np.array(PARENTS[1:])
    local = bones.copy()
    local[:, 1:] = qt.multiply(qt.conjugate(bones[:, parents]), bones[:, 1:])
    return local


def unit(leg_length: float) -> tuple[float, str]:
    """Return metres per unit and a note, from the length of thigh and shank in the file's unit.

    A leg within 15 % of 0.81 m in a customary unit is taken at its word; otherwise the body is scaled to 0.81 m.
    """
    if not leg_length > 0.0:
        raise ValueError("leg of length 0: thigh and shank need offsets; export the skeleton with its bone lengths")
    for scale, name in UNITS:
        if abs(leg_length * scale / LEG_LENGTH_M - 1.0) < 0.15:
            return scale, "" if scale == 1.0 else f"read as {name}"
    scale = LEG_LENGTH_M / leg_length
    return scale, f"unit unknown: scaled by {scale:.4g} so that thigh and shank are {LEG_LENGTH_M} m"


def _turn_of_rest(tall: Floats, left: Floats) -> Floats:
    """Return the axis-to-axis rotation that brings a rest figure upright, its left along +X."""
    return max(CUBE, key=lambda q: float(_direction(tall, q)[1] + _direction(left, q)[0]))


def _turn_of_motion(parents: Sequence[int], offsets: Floats, world: Floats, hips: int, head: int) -> Floats:
    """Return the rotation that brings the median of head minus hips, over the motion, upright."""
    way = np.zeros((len(world), 3))
    joint = head
    while joint not in (hips, -1):
        way += qt.rotate(world[:, parents[joint]], offsets[joint])
        joint = parents[joint]
    tall = np.median(way, axis=0)
    axis = int(np.argmax(np.abs(tall)))
    return qt.between(np.sign(tall[axis]) * np.eye(3)[axis], [0.0, 1.0, 0.0])


def _direction(v: Floats, q: Floats) -> Floats:
    turned = qt.rotate(q, v)
    return turned / max(float(np.linalg.norm(turned)), 1e-12)


# Bones whose own direction in the T-pose is known: bone -> the bone its direction leads to.
_LEADS = {
    INDEX[s + a]: INDEX[s + b]
    for s in ("l_", "r_")
    for a, b in (
        ("shoulder", "up_arm"), ("up_arm", "low_arm"), ("low_arm", "hand"), ("up_leg", "low_leg"), ("low_leg", "foot"),
        ("foot", "toes"),
    )
}  # fmt: skip
_T_POSE = {bone: REST_OFFSETS[lead] / np.linalg.norm(REST_OFFSETS[lead]) for bone, lead in _LEADS.items()}
for _side, _x in (("l_", 1.0), ("r_", -1.0)):
    _T_POSE[INDEX[_side + "shoulder"]] = np.array([_x, 0.0, 0.0])
    _T_POSE[INDEX[_side + "hand"]] = np.array([_x, 0.0, 0.0])


# Where the next joint is a hinge: the axis it bends about in the T-pose, knees back and elbows forward.
_HINGES = {
    INDEX["l_up_leg"]: np.array([1.0, 0.0, 0.0]),
    INDEX["r_up_leg"]: np.array([1.0, 0.0, 0.0]),
    INDEX["l_up_arm"]: np.array([0.0, -1.0, 0.0]),
    INDEX["r_up_arm"]: np.array([0.0, 1.0, 0.0]),
}


def _hinge(upper: Floats, lower: Floats) -> Floats | None:
    """Return the axis (3,), in the upper bone's own frame, that the lower bends about; None where it is straight."""
    bend = qt.canonical(qt.multiply(qt.conjugate(upper), lower))[:, :3]
    mean: Floats = bend.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return mean / length if length > 0.1 else None  # 12 degrees on average


def _reference(
    found: Match, offsets: Floats, parents: Sequence[int], turn: Floats, figure: bool, world: Floats
) -> tuple[Floats, str]:
    """Return the joints' rotations in the T-pose and, in words, what was raised or turned to get there."""
    count = len(parents)
    lead = {found.bone[a]: found.bone[b] for a, b in _LEADS.items() if a in found.bone and b in found.bone}
    bone_of = {joint: bone for bone, joint in found.bone.items()}
    reference = np.tile(turn, (count, 1))
    if not figure:
        return _reference_of_frames(found, offsets, parents, turn, world), "every joint has its own axes"
    straightened: list[str] = []
    for joint in range(count):
        bone = bone_of.get(joint)
        name = NAMES[bone][2:] if bone is not None else ""
        if bone is None and parents[joint] >= 0 and NAMES[bone_of.get(parents[joint], 0)].endswith("_hand"):
            reference[joint] = reference[parents[joint]]
        elif name in ("up_arm", "low_arm", "up_leg", "low_leg") and joint in lead and bone is not None:
            rest = qt.rotate(turn, offsets[lead[joint]])
            if float(np.linalg.norm(rest)) < 1e-9:
                continue
            away = np.degrees(np.arccos(np.clip(rest @ _T_POSE[bone] / np.linalg.norm(rest), -1.0, 1.0)))
            if away > 10.0:
                reference[joint] = qt.multiply(qt.between(rest, _T_POSE[bone]), turn)
                straightened.append(f"{NAMES[bone]} by {away:.0f} deg")
        elif name == "hand":
            reference[joint] = reference[parents[joint]]
    return reference, ", ".join(straightened)


def _reference_of_frames(found: Match, offsets: Floats, parents: Sequence[int], turn: Floats, world: Floats) -> Floats:
    """Return the T-pose of a skeleton whose zero pose is no figure: each joint's axes run along its own bone.

    A joint's T-pose rotation takes its bone onto the T-pose's direction. That leaves its roll open by quarter turns.
    The one that lets knee and elbow bend the way they do is taken; where nothing bends, the one that keeps the joint
    nearest to its parent.
    """
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(parents):
        children.setdefault(parent, []).append(joint)
    bone_of = {joint: bone for bone, joint in found.bone.items()}
    middle = [*found.spine, *found.neck, found.bone[HEAD]]
    stem = dict(itertools.pairwise(middle))
    reference = np.tile(turn, (len(parents), 1))
    hips = found.bone[ROOT]
    left = offsets[found.bone[INDEX["l_up_leg"]]] - offsets[found.bone[INDEX["r_up_leg"]]]
    reference[hips] = _turn_of_rest(offsets[found.spine[0]], left)
    sample = world[:: max(1, len(world) // 64)]
    for joint in range(len(parents)):
        parent = parents[joint]
        if parent < 0 or joint == hips:
            continue
        bone = bone_of.get(joint)
        if joint in stem:
            along, aim = offsets[stem[joint]], np.array([0.0, 1.0, 0.0])
        elif bone in _T_POSE:
            nearest = found.bone.get(_LEADS.get(bone, -1))
            heirs = [nearest] if nearest is not None else children.get(joint, [])
            along, aim = sum((offsets[h] for h in heirs), np.zeros(3)), _T_POSE[bone]
        elif joint == found.bone[HEAD] or bone is not None:
            along, aim = None, None
        else:
            reference[joint] = reference[parent]
            continue
        above = qt.multiply(qt.multiply(turn, sample[:, parent]), qt.conjugate(reference[parent]))
        here = qt.multiply(turn, sample[:, joint])
        hinge = None
        if bone in _HINGES and bone is not None:
            hinge = _hinge(sample[:, joint], sample[:, found.bone[_LEADS[bone]]])
        choices: list[tuple[float, int, Floats]] = []
        for q in CUBE:
            if along is not None and aim is not None and np.linalg.norm(along) > 1e-9:
                ahead = _direction(along, q)
                if ahead @ aim < 0.7:
                    continue
                q = qt.multiply(qt.between(ahead, aim), q)
            if hinge is None or bone is None:
                cost = float(np.mean(qt.angle(above, qt.multiply(here, qt.conjugate(q)))))
            else:
                cost = -float(qt.rotate(q, hinge) @ _HINGES[bone])
            choices.append((cost, len(choices), q))
        reference[joint] = min(choices)[2] if choices else reference[parent]
    return reference
