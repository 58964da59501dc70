"""BVH files: the hierarchy, the numbers, and their traps, to rotations of the 27 bones.

Euler angles become quaternions row by row before anything else is done with them, since near gimbal lock two of the
three angles swing wildly while the rotation barely moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.motion import mapping
from echelon_bridges.motion.errors import MotionFileError, read_bounded
from echelon_bridges.motion.joints import UnknownSkeletonError, is_native
from echelon_bridges.motion.pose import Motion
from echelon_bridges.motion.skeleton import ALL_VALID, NAMES
from echelon_engine import quaternion as qt

Floats = NDArray[np.float64]

MAX_BYTES = 256 << 20
MAX_JOINTS = 512
LIMIT = 1e7  # of every number: beyond lies no body in any unit
CHANNELS = {f"{axis}{kind}": (kind, axis) for axis in "xyz" for kind in ("position", "rotation")}


@dataclass
class Joint:
    """One joint: its parent (-1 for the root), its offset in file units and its columns."""

    name: str
    parent: int
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    position: list[tuple[str, int]] = field(default_factory=list)  # (axis, column)
    rotation: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Bvh:
    """A parsed file: joints, parents first, and one row of channel values a frame `(N, C)`."""

    path: Path
    joints: tuple[Joint, ...]
    rows: Floats
    frame_time_s: float
    notes: tuple[str, ...] = ()


def read(path: str | Path) -> Motion:
    """Return a BVH file's motion on the 27 bones; MotionFileError says what is wrong with it and where."""
    return to_bones(parse(read_bounded(path, MAX_BYTES), path))


def _number(token: str, path: Path, line: int, what: str) -> float:
    try:
        value = float(token) if "_" not in token else math.nan
    except ValueError:
        value = math.nan
    if not abs(value) < LIMIT:
        hint = "; use a point as decimal sign" if "," in token else ""
        raise MotionFileError(
            path, f"{what} {token[:40]!r} is not a finite number under 1e7{hint or '; export the file again'}", line
        )
    return value


def parse(data: bytes, path: str | Path = "<bvh>") -> Bvh:
    """Return the joints and rows of a BVH file's bytes; every column is checked to be a finite number."""
    path = Path(path)
    if not data.strip():
        raise MotionFileError(path, "is empty; a BVH file begins with HIERARCHY")
    lines = data.decode("utf-8-sig", errors="replace").splitlines()
    joints, columns, at = _parse_hierarchy(lines, path)
    return _parse_motion(lines, at, joints, columns, path)


def _parse_hierarchy(lines: list[str], path: Path) -> tuple[list[Joint], int, int]:
    """Return joints, number of columns and the index of the line after MOTION."""
    joints: list[Joint] = []
    open_blocks: list[int] = []  # joint index, or -1 for an End Site
    pending: int | None = None  # block announced, its brace not yet seen
    columns = 0
    started = False
    for i, text in enumerate(lines):
        tokens = text.replace("{", " { ").replace("}", " } ").split()
        k = 0
        while k < len(tokens):
            word = tokens[k].upper()
            if not started:
                if word != "HIERARCHY":
                    raise MotionFileError(
                        path, f"begins with {tokens[k][:40]!r}; a BVH file begins with HIERARCHY", i + 1
                    )
                started, k = True, k + 1
            elif word == "{":
                if pending is None:
                    raise MotionFileError(path, "a brace opens no joint; each { follows ROOT, JOINT or End Site", i + 1)
                open_blocks.append(pending)
                pending, k = None, k + 1
            elif word == "}":
                if not open_blocks:
                    raise MotionFileError(path, "one } too many; each closes one joint", i + 1)
                open_blocks.pop()
                k += 1
            elif word in ("ROOT", "JOINT"):
                if word == "ROOT" and joints:
                    raise MotionFileError(
                        path, "a second ROOT; a file holds one body: export the performers one by one", i + 1
                    )
                if word == "JOINT" and (not open_blocks or open_blocks[-1] < 0):
                    raise MotionFileError(path, "JOINT outside a joint's braces; the hierarchy is damaged", i + 1)
                name = " ".join(tokens[k + 1 :]).removesuffix("{").strip()
                if not name:
                    raise MotionFileError(path, f"{word} without a name", i + 1)
                joints.append(Joint(name, open_blocks[-1] if open_blocks else -1))
                if len(joints) > MAX_JOINTS:
                    raise MotionFileError(path, f"more than {MAX_JOINTS} joints; a body has under 100", i + 1)
                pending = len(joints) - 1
                k = len(tokens) - (1 if tokens[-1] == "{" else 0)
            elif word == "END":
                pending, k = -1, k + 2
            elif word == "OFFSET":
                if not open_blocks or len(tokens) < k + 4:
                    raise MotionFileError(path, "OFFSET needs three numbers inside a joint's braces", i + 1)
                x, y, z = (_number(t, path, i + 1, "offset") for t in tokens[k + 1 : k + 4])
                if open_blocks[-1] >= 0:
                    joints[open_blocks[-1]].offset = (x, y, z)
                k += 4
            elif word == "CHANNELS":
                if not open_blocks or open_blocks[-1] < 0:
                    raise MotionFileError(path, "CHANNELS outside a joint's braces; the hierarchy is damaged", i + 1)
                joint = joints[open_blocks[-1]]
                declared = tokens[k + 1] if k + 1 < len(tokens) else ""
                names = tokens[k + 2 :]
                if not declared.isdecimal() or int(declared) != len(names) or len(names) > 6:
                    raise MotionFileError(
                        path,
                        f"CHANNELS {declared} of {joint.name} lists {len(names)} names; 0 to 6, as many as it says",
                        i + 1,
                    )
                for name in names:
                    kind, axis = CHANNELS.get(name.lower(), ("", ""))
                    if not kind:
                        raise MotionFileError(
                            path, f"channel {name[:40]!r} of {joint.name}; known are Xposition .. Zrotation", i + 1
                        )
                    (joint.position if kind == "position" else joint.rotation).append((axis.upper(), columns))
                    columns += 1
                k = len(tokens)
            elif word == "MOTION":
                if open_blocks or not joints:
                    raise MotionFileError(
                        path, f"MOTION while {len(open_blocks)} braces are open; the hierarchy is cut short", i + 1
                    )
                return joints, columns, i + 1
            else:
                raise MotionFileError(
                    path,
                    f"{tokens[k][:40]!r} in the hierarchy; expected JOINT, End Site, OFFSET, CHANNELS or MOTION",
                    i + 1,
                )
    raise MotionFileError(
        path, "ends inside the hierarchy, before MOTION; the file is cut short: copy or export it again", len(lines)
    )


def _parse_motion(lines: list[str], at: int, joints: list[Joint], columns: int, path: Path) -> Bvh:
    """Return the whole file, its rows read from line index `at` on."""
    head: list[tuple[int, str]] = []
    while at < len(lines) and len(head) < 2:
        if lines[at].strip():
            head.append((at + 1, lines[at].strip()))
        at += 1
    if len(head) < 2:
        raise MotionFileError(
            path, "ends after MOTION, before 'Frame Time:'; the file is cut short: copy or export it again", len(lines)
        )
    (line, text), (line_time, text_time) = head
    key, _, value = text.partition(":")
    if key.strip().lower() != "frames" or not value.strip().isdecimal():
        raise MotionFileError(path, f"{text[:40]!r}: expected 'Frames:' and a whole number", line)
    frames = int(value)
    if frames == 0:
        raise MotionFileError(path, "holds no frames ('Frames: 0'); export a take with motion in it", line)
    key, _, value = text_time.partition(":")
    if key.strip().lower() != "frame time":
        raise MotionFileError(path, f"{text_time[:40]!r}: expected 'Frame Time:' and the seconds of a frame", line_time)
    frame_time = _number(value.strip(), path, line_time, "frame time")
    if not 1e-3 <= frame_time <= 1.0:
        raise MotionFileError(
            path, f"frame time {frame_time} s: 0.001 to 1 s can be played; write the seconds of one frame", line_time
        )
    if columns == 0:
        raise MotionFileError(path, "no joint has CHANNELS, so nothing moves", line)

    rows: list[list[float]] = []
    extra = 0
    for i in range(at, len(lines)):
        tokens = lines[i].split()
        if not tokens:
            continue
        if len(rows) == frames:
            extra += 1
            continue
        if len(tokens) != columns:
            last = (
                "; the file is cut short: copy or export it again" if not any(t.strip() for t in lines[i + 1 :]) else ""
            )
            raise MotionFileError(
                path,
                f"row {len(rows)} has {len(tokens)} numbers, the hierarchy asks for {columns}{last or ' in every row'}",
                i + 1,
            )
        try:
            row = list(map(float, tokens))
            fine = max(map(abs, row)) < LIMIT and not any(map(math.isnan, row)) and "_" not in lines[i]
        except ValueError:
            fine = False
        if not fine:
            for k, token in enumerate(tokens):
                _number(token, path, i + 1, f"row {len(rows)}, column {k + 1}:")
        rows.append(row)
    if len(rows) < frames:
        raise MotionFileError(
            path,
            f"holds {len(rows)} of the {frames} frames it announces; the file is cut short: copy or export it again",
            len(lines),
        )
    notes = (f"ignored {extra} rows beyond the {frames} announced",) if extra else ()
    return Bvh(path, tuple(joints), np.array(rows), frame_time, notes)


def local_rotations(bvh: Bvh) -> Floats:
    """Return the joints' local rotations `(N, J, 4)`, hemispheres continuous in time."""
    result = np.tile(qt.IDENTITY, (len(bvh.rows), len(bvh.joints), 1))
    for j, joint in enumerate(bvh.joints):
        if joint.rotation:
            order = "".join(axis for axis, _ in joint.rotation)
            result[:, j] = qt.from_euler(bvh.rows[:, [column for _, column in joint.rotation]], order)
    return qt.continuous(result)


def _rest_row(local: Floats) -> bool:
    """Return whether row 0 is a rest pose and not motion: all zero, or a leap that the next rows do not go on with."""
    if len(local) < 3:
        return False
    first = qt.angle(local[0], qt.IDENTITY)
    leap = float(np.max(qt.angle(local[0], local[1])))
    after = float(np.max(qt.angle(local[1], local[2])))
    still = float(np.mean(first < math.radians(0.01)))
    return bool(np.all(first < 1e-9) and leap > 1e-6) or (
        leap > math.radians(30.0) and leap > 8.0 * after and still > 0.5
    )


def to_bones(bvh: Bvh) -> Motion:
    """Return a parsed file's motion on the 27 bones; MotionFileError where the skeleton is unknown."""
    joints = bvh.joints
    names = [joint.name for joint in joints]
    local = local_rotations(bvh)
    notes = list(bvh.notes)
    start = 0
    if _rest_row(local):
        start = 1
        notes.append("dropped row 0: a rest pose, not motion")
    local = local[start:]
    offsets = np.array([joint.offset for joint in joints])
    origin = np.tile(offsets[0], (len(local), 1))
    for axis, column in joints[0].position:  # a root's position replaces its offset
        origin[:, "XYZ".index(axis)] = bvh.rows[start:, column]
    times: Floats = np.arange(len(local), dtype=np.float64) * bvh.frame_time_s

    if is_native(names):
        order = [[name.lower() for name in names].index(bone) for bone in NAMES]
        legs = offsets[order[20]], offsets[order[21]]
        scale, note = mapping.unit(float(np.linalg.norm(legs[0]) + np.linalg.norm(legs[1])))
        notes += [note] if note else []
        return Motion(times, local[:, order], origin * scale, offsets[order] * scale, ALL_VALID, tuple(notes))

    parents = [joint.parent for joint in joints]
    world = local.copy()
    for j, parent in enumerate(parents):
        if parent >= 0:
            world[:, j] = qt.multiply(world[:, parent], local[:, j])
    try:
        rig = mapping.Rig.of(names, parents, offsets, world)
    except UnknownSkeletonError as error:
        raise MotionFileError(
            bvh.path,
            f"unknown skeleton of {len(names)} joints ({', '.join(names[:6])} ..): {error}; rename the joints, or "
            "export with mocopi, Mixamo, CMU or Unity names",
        ) from error
    except ValueError as error:
        raise MotionFileError(bvh.path, str(error)) from error
    notes += [f"{rig.match.set_name} skeleton", *rig.notes]
    hips = rig.match.bone[0]
    place = origin
    joint = hips
    while parents[joint] >= 0:  # hips below a reference joint
        place = place + qt.rotate(world[:, parents[joint]], offsets[joint])
        joint = parents[joint]
    return Motion(
        times, rig.retarget(world), qt.rotate(rig.turn, place) * rig.scale, rig.offsets, rig.valid, tuple(notes)
    )
