"""Which joint of which skeleton is which of the 27 bones: the table of names, and the search in it.

"LeftShoulder" is the collar bone in most sets and the upper arm where LeftCollar exists: so sets are tried in order,
each with the joints that tell it from its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from echelon_bridges.motion.skeleton import INDEX, NAMES


@dataclass(frozen=True)
class JointSet:
    """One naming convention: the joints of spine and neck from below, and a joint for each bone of the limbs."""

    name: str
    hips: str
    spine: tuple[str, ...]  # those present are used
    neck: tuple[str, ...]
    head: str
    limbs: Mapping[str, str]  # bone without its side -> joint, {s} stands for Left or Right
    needs: tuple[str, ...] = ()  # joints that tell this set from its neighbours


_LEGS = {"up_leg": "{s}UpLeg", "low_leg": "{s}Leg", "foot": "{s}Foot", "toes": "{s}ToeBase"}
_ARMS = {"shoulder": "{s}Shoulder", "up_arm": "{s}Arm", "low_arm": "{s}ForeArm", "hand": "{s}Hand"}

SETS: tuple[JointSet, ...] = (
    JointSet(
        "CMU (daz names)",
        "Hips",
        ("lowerback", "Chest", "Chest2"),
        ("lowerneck", "Neck"),
        "Head",
        {
            "shoulder": "{s}Collar", "up_arm": "{s}Shoulder", "low_arm": "{s}Elbow", "hand": "{s}Wrist",
            "up_leg": "{s}Hip", "low_leg": "{s}Knee", "foot": "{s}Ankle", "toes": "{s}Toe",
        },
        ("LeftCollar",),
    ),
    JointSet(
        "CMU (cgspeed)", "Hips", ("LowerBack", "Spine", "Spine1"), ("Neck", "Neck1"), "Head", {**_ARMS, **_LEGS},
        ("LowerBack",),
    ),
    JointSet(
        "Mixamo or Rokoko", "Hips", ("Spine", "Spine1", "Spine2", "Spine3", "Spine4"), ("Neck", "Neck1"), "Head",
        {**_ARMS, **_LEGS}, ("Spine", "LeftUpLeg"),
    ),
    JointSet(
        "Unity humanoid", "Hips", ("Spine", "Chest", "UpperChest"), ("Neck",), "Head",
        {
            "shoulder": "{s}Shoulder", "up_arm": "{s}UpperArm", "low_arm": "{s}LowerArm", "hand": "{s}Hand",
            "up_leg": "{s}UpperLeg", "low_leg": "{s}LowerLeg", "foot": "{s}Foot", "toes": "{s}Toes",
        },
        ("LeftUpperLeg",),
    ),
)  # fmt: skip
OPTIONAL = ("shoulder", "toes", "hand", "foot")  # limbs a skeleton may lack


class UnknownSkeletonError(ValueError):
    """No set of joint names fits; `missing` names the joints the nearest set lacks, `nearest` that set."""

    def __init__(self, nearest: str, missing: Sequence[str]) -> None:
        self.nearest, self.missing = nearest, tuple(missing)
        super().__init__(f"nearest set is {nearest}; it lacks {', '.join(missing)}")


def _plain(name: str) -> str:
    """Return a joint name without its namespace, in lower case."""
    bare = name.rsplit(":", 1)[-1].lower().replace(" ", "").replace("_", "")
    return bare.removeprefix("mixamorig")


@dataclass(frozen=True)
class Match:
    """Which joint (index into the source) stands for what."""

    set_name: str
    spine: tuple[int, ...]
    neck: tuple[int, ...]
    bone: Mapping[int, int]  # bone -> joint, for root, head and limbs


def match(names: Sequence[str]) -> Match:
    """Return the mapping of joint `names` onto the bones, or raise UnknownSkeletonError naming what is missing."""
    at: dict[str, int] = {}
    for i, name in enumerate(names):
        at.setdefault(_plain(name), i)
    found: list[tuple[int, str, list[str]]] = []
    for joints in SETS:
        bone = {"root": joints.hips, "head": joints.head}
        for side, prefix in (("Left", "l_"), ("Right", "r_")):
            bone |= {prefix + part: pattern.format(s=side) for part, pattern in joints.limbs.items()}
        missing = [j for b, j in bone.items() if _plain(j) not in at and b[2:] not in OPTIONAL]
        missing += [j for j in joints.needs if _plain(j) not in at and j not in missing]
        spine = tuple(at[_plain(j)] for j in joints.spine if _plain(j) in at)
        neck = tuple(at[_plain(j)] for j in joints.neck if _plain(j) in at)
        if not spine:
            missing.append(joints.spine[0])
        if not missing:
            return Match(
                joints.name, spine, neck[:2], {INDEX[b]: at[_plain(j)] for b, j in bone.items() if _plain(j) in at}
            )
        found.append((len(missing), joints.name, missing))
    _, nearest, missing = min(found, key=lambda item: item[0])
    raise UnknownSkeletonError(nearest, missing)


def is_native(names: Sequence[str]) -> bool:
    """Return whether the joints are the 27 bones themselves."""
    return {name.lower() for name in names} >= set(NAMES)
