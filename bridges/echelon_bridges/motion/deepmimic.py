"""DeepMimic humanoid clips (JSON) to rotations of the 27 bones.

A frame is [seconds, root place 3, root wxyz, chest wxyz, neck wxyz, right hip wxyz, right knee angle, right ankle wxyz,
right shoulder wxyz, right elbow angle, then the left side likewise]: Y up, metres, facing +X, arms hanging at rest, and
knees and elbows hinges about the body's left-right axis. Source: Peng et al., DeepMimic (SIGGRAPH 2018), the humanoid3d
character.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.motion.errors import MotionFileError, read_bounded
from echelon_bridges.motion.joints import Match
from echelon_bridges.motion.mapping import bones_from_world
from echelon_bridges.motion.pose import Motion
from echelon_bridges.motion.skeleton import ALL_VALID, INDEX, LIMBS, REST_OFFSETS
from echelon_engine import quaternion as qt

Floats = NDArray[np.float64]

MAX_BYTES = 64 << 20
COLUMNS = 44
# The character: joint, parent, first column, hinge (angle about the left-right axis) or ball (w x y z).
_JOINTS: tuple[tuple[str, int, int, bool], ...] = (
    ("root", -1, 4, False),
    ("chest", 0, 8, False),
    ("neck", 1, 12, False),
    ("right_hip", 0, 16, False),
    ("right_knee", 3, 20, True),
    ("right_ankle", 4, 21, False),
    ("right_shoulder", 1, 25, False),
    ("right_elbow", 6, 29, True),
    ("left_hip", 0, 30, False),
    ("left_knee", 8, 34, True),
    ("left_ankle", 9, 35, False),
    ("left_shoulder", 1, 39, False),
    ("left_elbow", 11, 43, True),
)
_MATCH = Match(
    "DeepMimic humanoid",
    (1,),
    (),
    {
        INDEX["root"]: 0, INDEX["head"]: 2,
        INDEX["r_up_leg"]: 3, INDEX["r_low_leg"]: 4, INDEX["r_foot"]: 5, INDEX["r_up_arm"]: 6, INDEX["r_low_arm"]: 7,
        INDEX["l_up_leg"]: 8, INDEX["l_low_leg"]: 9, INDEX["l_foot"]: 10, INDEX["l_up_arm"]: 11, INDEX["l_low_arm"]: 12,
    },
)  # fmt: skip
# Its body, metres, already facing +Z: hips to the chest's joint, neck, shoulders, arms, hips, legs.
_CHEST, _NECK, _SHOULDER, _ARM, _FOREARM = 0.236, 0.224, (0.183, 0.2435, -0.0245), 0.275, 0.259
_HIP, _THIGH, _SHANK = 0.085, 0.4215, 0.41


def _body() -> Floats:
    """Return the character's bone offsets (27, 3); what it lacks (collar bones, toes) is the default body's."""
    out = REST_OFFSETS.copy()
    out[1:8] *= _CHEST / out[1:8, 1].sum()
    out[8:11] = [[0.0, _NECK, 0.0], [0.0, 0.06, 0.0], [0.0, 0.06, 0.0]]
    for s, x in (("l_", 1.0), ("r_", -1.0)):
        out[INDEX[s + "up_arm"]] = np.array([x * _SHOULDER[0], _SHOULDER[1], _SHOULDER[2]]) - out[INDEX[s + "shoulder"]]
        out[INDEX[s + "low_arm"]] = [x * _ARM, 0.0, 0.0]
        out[INDEX[s + "hand"]] = [x * _FOREARM, 0.0, 0.0]
        out[INDEX[s + "up_leg"]] = [x * _HIP, 0.0, 0.0]
        out[INDEX[s + "low_leg"]] = [0.0, -_THIGH, 0.0]
        out[INDEX[s + "foot"]] = [0.0, -_SHANK, 0.0]
    return out


def read(path: str | Path) -> Motion:
    """Return a clip's motion on the 27 bones; MotionFileError says what is wrong with the file."""
    return to_bones(parse(read_bounded(path, MAX_BYTES), path))


def parse(data: bytes, path: str | Path = "<deepmimic>") -> Floats:
    """Return the rows (N, 44) of a clip, each checked to be 44 finite numbers with quaternions of length 0.5..2."""
    path = Path(path)
    if not data.strip():
        raise MotionFileError(path, "is empty; a DeepMimic clip is a JSON object with 'Frames'")
    try:
        document = json.loads(data)
    except json.JSONDecodeError as error:
        raise MotionFileError(
            path, f"is not JSON ({error.msg}); the file is damaged or cut short", error.lineno
        ) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise MotionFileError(path, "is not JSON; a DeepMimic clip is a JSON object with 'Frames'") from error
    frames = document.get("Frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not frames:
        raise MotionFileError(path, "has no list 'Frames' with at least one frame; is it a DeepMimic clip?")
    for i, row in enumerate(frames):
        if not isinstance(row, list) or len(row) != COLUMNS:
            size = len(row) if isinstance(row, list) else 0
            raise MotionFileError(path, f"frame {i} has {size} numbers; the humanoid has {COLUMNS}")
        if not all(type(v) in (int, float) and abs(v) < 1e6 for v in row):
            raise MotionFileError(
                path, f"frame {i} holds something that is no finite number under 1e6; export it again"
            )
        if not 0.0 <= row[0] <= 10.0:
            raise MotionFileError(path, f"frame {i} lasts {row[0]} s; 0 to 10 s can be played")
    rows = np.array(frames, dtype=np.float64)
    for name, _, column, hinge in _JOINTS:
        if not hinge:
            length = np.linalg.norm(rows[:, column : column + 4], axis=1)
            if np.any((length < 0.5) | (length > 2.0)):
                i = int(np.argmax((length < 0.5) | (length > 2.0)))
                raise MotionFileError(
                    path, f"frame {i}: rotation of {name} has length {length[i]:.3g}; 0.5 to 2 is a rotation"
                )
    if len(rows) > 1 and rows[:-1, 0].min() <= 0.0:
        i = int(np.argmin(rows[:-1, 0]))
        raise MotionFileError(path, f"frame {i} lasts 0 s; only the last frame may")
    return rows


def to_bones(rows: Floats) -> Motion:
    """Return rows (N, 44) as motion on the 27 bones, turned from facing +X to facing +Z."""
    count = len(rows)
    world = np.zeros((count, len(_JOINTS), 4))
    for j, (_, parent, column, hinge) in enumerate(_JOINTS):
        if hinge:
            local = qt.about([0.0, 0.0, 1.0], rows[:, column])
        else:
            local = qt.normalise(rows[:, [column + 1, column + 2, column + 3, column]])
        world[:, j] = local if parent < 0 else qt.multiply(world[:, parent], local)
    turn = qt.about([0.0, 1.0, 0.0], -0.5 * math.pi)  # +X, where it faces, to +Z
    reference = np.tile(turn, (len(_JOINTS), 1))
    for j, (name, *_) in enumerate(_JOINTS):  # its arms hang at rest: raise them to the T-pose
        if name.endswith(("shoulder", "elbow")):
            side = 1.0 if name.startswith("left") else -1.0
            reference[j] = qt.multiply(qt.about([0.0, 0.0, 1.0], side * 0.5 * math.pi), turn)
    world = qt.multiply(qt.multiply(turn, world), qt.conjugate(reference))
    local = qt.continuous(bones_from_world(world, _MATCH))
    times = np.concatenate([[0.0], np.cumsum(rows[:-1, 0])])
    valid = ALL_VALID
    for bone in ("l_toes", "r_toes", "l_hand", "r_hand", "l_shoulder", "r_shoulder"):
        valid &= ~(1 << INDEX[bone])
    assert local.shape == (count, LIMBS, 4)
    notes = (
        "DeepMimic humanoid skeleton",
        "turned from facing X to facing Z",
        "measured against a T-pose: arms by 90 deg",
    )
    return Motion(times, local, qt.rotate(turn, rows[:, 1:4]), _body(), valid, notes)
