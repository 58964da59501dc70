"""BVH files: their traps, and refusals that say where and why."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import MOTION, needs_shared
from scipy.spatial.transform import Rotation

from echelon_bridges.motion import bvh, pose
from echelon_bridges.motion.errors import MotionFileError
from echelon_bridges.motion.skeleton import INDEX
from echelon_engine import poses
from echelon_engine import quaternion as qt

# file -> (source joint of torso_7, head, hands, feet; turn of the world; hand and chest for distances)
FILES = {
    "ad-cmu1-jumping_jacks": ("Chest2", "Head", "LeftWrist", "RightWrist", "LeftAnkle", "RightAnkle"),
    "ad-fair1-dab": ("Spine3", "Head", "LeftHand", "RightHand", "LeftFoot", "RightFoot"),
    "ad-fair1-jumping": ("Spine3", "Head", "LeftHand", "RightHand", "LeftFoot", "RightFoot"),
    "ad-rokoko-jesse_dance": ("Spine2", "Head", "LeftHand", "RightHand", "LeftFoot", "RightFoot"),
    "mocopi-mobile-arm-raise-turn": ("torso_7", "head", "l_hand", "r_hand", "l_foot", "r_foot"),
}
BONES = ("torso_7", "head", "l_hand", "r_hand", "l_foot", "r_foot")


def source_world(file: bvh.Bvh, skip: int) -> tuple[list[Rotation], np.ndarray]:
    """Return scipy's world rotations and positions of every joint, straight from the file's channels."""
    rows = file.rows[skip:]
    turns: list[Rotation] = []
    places = np.zeros((len(rows), len(file.joints), 3))
    for j, joint in enumerate(file.joints):
        order = "".join(axis for axis, _ in joint.rotation)
        local = Rotation.from_euler(order, rows[:, [c for _, c in joint.rotation]], degrees=True)
        if joint.parent < 0:
            turns.append(local)
            continue
        places[:, j] = places[:, joint.parent] + turns[joint.parent].apply(joint.offset)
        turns.append(turns[joint.parent] * local)
    return turns, places


@needs_shared
@pytest.mark.parametrize("name", FILES)
def test_world_rotations_and_reach_are_the_sources(name: str) -> None:
    """Chest, head, hands and feet turn as in the source, and hands are as far from the chest, head and feet."""
    path = MOTION / "bvh" / f"{name}.bvh"
    file = bvh.parse(path.read_bytes(), path)
    motion = bvh.read(path)
    turns, places = source_world(file, len(file.rows) - len(motion.local))
    names = [joint.name for joint in file.joints]
    up = Rotation.from_euler("X", -90, degrees=True) if "fair1" in name else Rotation.identity()
    world = poses.world_rotations(motion.local)
    here = poses.positions(motion.local, motion.offsets)
    for bone, joint in zip(BONES, FILES[name], strict=True):
        q = Rotation.from_quat(world[:, INDEX[bone]])
        source = turns[names.index(joint)]
        # W(t) W(0)^-1 does not depend on the rest pose
        difference = (q * q[0].inv()) * (up * source * source[0].inv() * up.inv()).inv()
        assert np.degrees(difference.magnitude()).max() < 1e-4, bone
    scale = np.linalg.norm(motion.offsets[20:22], axis=1).sum() / sum(
        np.linalg.norm(file.joints[names.index(j)].offset) for j in _leg(names)
    )
    for a, b in (
        ("l_hand", "torso_7"),
        ("r_hand", "l_hand"),
        ("l_foot", "r_hand") if "mocopi" in name else ("l_foot", "r_foot"),
    ):
        source = np.linalg.norm(
            places[:, names.index(FILES[name][BONES.index(a)])] - places[:, names.index(FILES[name][BONES.index(b)])],
            axis=1,
        )
        ours = np.linalg.norm(here[:, INDEX[a]] - here[:, INDEX[b]], axis=1)
        np.testing.assert_allclose(ours, source * scale, atol=2e-5)


def _leg(names: list[str]) -> tuple[str, str]:
    for knee, ankle in (("LeftKnee", "LeftAnkle"), ("LeftLeg", "LeftFoot"), ("l_low_leg", "l_foot")):
        if knee in names:
            return knee, ankle
    raise AssertionError("no leg")


@needs_shared
@pytest.mark.parametrize("name", FILES)
def test_bodies_are_people_standing_on_the_floor(name: str) -> None:
    """Metres, upright, left at +X, facing +Z after the heading is taken out; knees bend backwards."""
    motion = bvh.read(MOTION / "bvh" / f"{name}.bvh")
    frames = pose.limb_frames(motion.times_s, motion.local, motion.origin, motion.offsets, motion.valid)
    middle = np.median(frames["position"].astype(np.float64), axis=0)
    leg = np.linalg.norm(motion.offsets[20:22], axis=1).sum()
    assert 0.7 < leg < 0.93
    assert 0.35 < middle[INDEX["head"], 1] < 0.8
    assert middle[INDEX["l_up_arm"], 0] > 0.05 > -0.05 > middle[INDEX["r_up_arm"], 0]
    toes = frames["position"][:, INDEX["l_toes"]] - frames["position"][:, INDEX["l_foot"]]
    assert np.median(toes[:, 2]) > 0.02
    for side in ("l_", "r_"):
        hip, knee, ankle = (frames["position"][:, INDEX[side + b]] for b in ("up_leg", "low_leg", "foot"))
        # the knee lies in front of the line from hip to ankle
        ahead = knee[:, 2] - 0.5 * (hip[:, 2] + ankle[:, 2])
        assert np.quantile(ahead, 0.3) > -0.02
    assert 0.5 < motion.origin[:, 1].min() < motion.origin[:, 1].max() < 1.4
    assert np.abs(frames["position"]).max() < 1.2


@needs_shared
@pytest.mark.parametrize("name", FILES)
def test_knees_and_elbows_are_hinges_of_the_t_pose(name: str) -> None:
    """Against the T-pose knees bend about +X and elbows about the vertical, forward: so rolls are right too."""
    motion = bvh.read(MOTION / "bvh" / f"{name}.bvh")
    axes = {"l_low_leg": [1, 0, 0], "r_low_leg": [1, 0, 0], "l_low_arm": [0, -1, 0], "r_low_arm": [0, 1, 0]}
    for bone, axis in axes.items():
        turn = qt.canonical(motion.local[:, INDEX[bone]])[:, :3]
        bent = np.linalg.norm(turn, axis=1) > 0.15
        if bent.sum() > 20:
            mean = turn[bent].mean(axis=0)
            assert mean @ axis > 0.8 * np.linalg.norm(mean), bone


@needs_shared
def test_rest_row_of_the_mocopi_export_is_dropped() -> None:
    """Row 0 is a T-pose and no motion: 852 of 853 rows are played, and nothing leaps."""
    motion = bvh.read(MOTION / "bvh" / "mocopi-mobile-arm-raise-turn.bvh")
    assert len(motion.local) == 852
    assert any("rest pose" in note for note in motion.notes)
    assert np.degrees(qt.angle(motion.local[1:], motion.local[:-1])).max() < 15


@needs_shared
def test_notes_say_what_was_corrected() -> None:
    """Up axis, hanging arms, units and bone-local axes are reported."""
    notes = {name: " ".join(bvh.read(MOTION / "bvh" / f"{name}.bvh").notes) for name in FILES}
    assert "+Z up" in notes["ad-fair1-dab"]
    assert "l_up_arm by 90 deg" in notes["ad-cmu1-jumping_jacks"]
    assert "centimetres" in notes["ad-rokoko-jesse_dance"]
    assert "own axes" in notes["ad-rokoko-jesse_dance"]
    assert "centimetres" in notes["mocopi-mobile-arm-raise-turn"]


@needs_shared
def test_hanging_arms_come_out_hanging() -> None:
    """Jumping jacks rest with arms down: in frame 0 they hang, later they rise above the head."""
    motion = bvh.read(MOTION / "bvh" / "ad-cmu1-jumping_jacks.bvh")
    hand = poses.positions(motion.local, motion.offsets)[:, INDEX["l_hand"], 1]
    assert hand[0] < 0.1
    assert hand.max() > 0.5
    # and a T-pose of the 27 bones is a T-pose of theirs: the upper arm's rotation is about 90 degrees from it
    arm = np.degrees(qt.angle(poses.world_rotations(motion.local)[0, INDEX["l_up_arm"]], qt.IDENTITY))
    assert 60 < arm < 110


UNITY = (
    ("Hips", "", (0, 100, 0)), ("Spine", "Hips", (0, 10, 0)), ("Chest", "Spine", (0, 15, 0)),
    ("Neck", "Chest", (0, 25, 0)), ("Head", "Neck", (0, 10, 0)),
    *(
        bone
        for side, x in (("Left", 1), ("Right", -1))
        for bone in (
            (f"{side}UpperArm", "Chest", (15 * x, 20, 0)), (f"{side}LowerArm", f"{side}UpperArm", (28 * x, 0, 0)),
            (f"{side}Hand", f"{side}LowerArm", (25 * x, 0, 0)), (f"{side}UpperLeg", "Hips", (9 * x, -5, 0)),
            (f"{side}LowerLeg", f"{side}UpperLeg", (0, -40, 0)), (f"{side}Foot", f"{side}LowerLeg", (0, -41, 0)),
        )
    ),
)  # fmt: skip


def document(
    rows: list[str] | None = None, *, frames: str | None = None, time: str = "0.016667", joints: tuple = UNITY
) -> str:
    """Return a small BVH file of a Unity skeleton; every joint has three rotations, the root a position too."""
    children: dict[str, list] = {}
    for joint in joints:
        children.setdefault(joint[1], []).append(joint)

    def block(joint: tuple, depth: int) -> str:
        kind = "JOINT" if joint[1] else "ROOT"
        channels = "3 Zrotation Xrotation Yrotation"
        if kind == "ROOT":
            channels = "6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
        inner = "".join(block(child, depth + 1) for child in children.get(joint[0], []))
        inner = inner or "End Site\n{\nOFFSET 0 1 0\n}\n"
        x, y, z = joint[2]
        return f"{kind} {joint[0]}\n{{\nOFFSET {x} {y} {z}\nCHANNELS {channels}\n{inner}}}\n"

    if rows is None:
        rows = [row(n) for n in range(4)]
    return (
        "HIERARCHY\n" + block(joints[0], 0) + f"MOTION\nFrames: {len(rows) if frames is None else frames}\n"
        f"Frame Time: {time}\n" + "\n".join(rows) + "\n"
    )


def row(n: int, count: int = 3 * len(UNITY)) -> str:
    """Return a row whose joints all turn a little further each frame."""
    return " ".join(["0", "100", str(n), *([f"{2 * n}.5"] * count)])


def read(tmp_path: Path, text: str | bytes) -> bvh.Motion:
    """Write a file and read it back as motion."""
    path = tmp_path / "take.bvh"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return bvh.read(path)


def test_a_small_file_plays(tmp_path: Path) -> None:
    """A Unity skeleton without collar bones and toes plays; what is missing is not marked as measured."""
    motion = read(tmp_path, document())
    assert motion.local.shape == (4, 27, 4)
    assert motion.origin[3] == pytest.approx([0, 1.0, 0.03])
    assert not motion.valid >> INDEX["l_toes"] & 1
    assert not motion.valid >> INDEX["l_shoulder"] & 1
    assert motion.valid >> INDEX["l_hand"] & 1
    assert np.linalg.norm(poses.positions(motion.local, motion.offsets)[0, INDEX["l_hand"]]) > 0.5


@pytest.mark.parametrize("prefix", ["mixamorig:", "Armature|Bip:"])
def test_namespaces_of_joints_do_not_matter(tmp_path: Path, prefix: str) -> None:
    """mixamorig:Hips is Hips."""
    named = tuple((prefix + a, prefix + b if b else "", c) for a, b, c in UNITY)
    assert read(tmp_path, document(joints=named)).local.shape[0] == 4


def test_numbers_come_in_every_spelling(tmp_path: Path) -> None:
    """Tabs, blanks at line ends, DOS line ends, no leading zero, exponents and a byte order mark are all fine."""
    plain = document()
    odd = (
        plain.replace("0.016667", "\t.016667 ")
        .replace("2.5", "25.0e-1")
        .replace(" 100", "\t100 ")
        .replace("\n", " \r\n")
    )
    a, b = read(tmp_path, plain), read(tmp_path, b"\xef\xbb\xbf" + odd.encode())
    np.testing.assert_array_equal(a.local, b.local)
    assert b.times_s[1] == pytest.approx(0.016667)


def test_gimbal_lock_does_not_shake_the_body(tmp_path: Path) -> None:
    """Two angles that swing against each other at the pole are a calm rotation."""
    rows = []
    for n in range(20):
        hips = [str(40 * n), "90", str(0.1 * n - 40 * n)]
        rows.append(" ".join(["0", "100", "0", *hips, *(["0"] * (3 * len(UNITY) - 3))]))
    motion = read(tmp_path, document(rows))
    assert np.degrees(qt.angle(motion.local[1:, 0], motion.local[:-1, 0])).max() < 0.2


REFUSED = {
    "empty": ("", "is empty", 0),
    "blank": (" \n\t\n", "is empty", 0),
    "text": ("hello\n", "begins with 'hello'", 1),
    "cut in the hierarchy": (document()[:300], "", None),
    "cut before MOTION": (document().split("MOTION")[0], "before MOTION", None),
    "cut after MOTION": (document().split("Frames:")[0], "before 'Frame Time:'", None),
    "cut before the time": (document().split("Frame Time")[0], "before 'Frame Time:'", None),
    "no frames": (document([]), "no frames", None),
    "frames not a number": (document(frames="many"), "'Frames:'", None),
    "fewer rows": (document(frames="9"), "4 of the 9 frames", None),
    "last row cut": (document().rstrip()[:-9], "cut short", None),
    "wide row": (document([row(0), row(1) + " 7", row(2)]), "row 1 has", None),
    "word in a row": (document([row(0), row(1).replace("2.5", "fish", 1)]), "'fish' is not a finite", None),
    "comma": (document([row(0), row(1).replace("2.5", "2,5", 1)]), "use a point", None),
    "nan": (document([row(0), row(1).replace("2.5", "nan", 1)]), "row 1, column 4: 'nan'", None),
    "inf": (document([row(0), row(1).replace("2.5", "1e999", 1)]), "'1e999'", None),
    "time 0": (document(time="0"), "frame time 0.0 s", None),
    "time negative": (document(time="-0.01"), "frame time -0.01 s", None),
    "time nan": (document(time="nan"), "'nan'", None),
    "time long": (document(time="60"), "frame time 60.0 s", None),
    "too many braces": (document().replace("OFFSET 0 1 0\n}", "OFFSET 0 1 0\n}}}}}}}}", 1), "}", None),
    "joint outside": ("HIERARCHY\nJOINT a\n{\n}\n", "JOINT outside", 2),
    "second root": (document().replace("MOTION", "ROOT b\n{\n}\nMOTION"), "second ROOT", None),
    "offset words": (document().replace("OFFSET 0 100 0", "OFFSET a b c"), "offset 'a'", None),
    "channel unknown": (document().replace("3 Zrotation", "3 Wrotation", 1), "channel 'Wrotation'", None),
    "channel count": (document().replace("CHANNELS 3", "CHANNELS 4", 1), "CHANNELS 4", None),
    "stray word": (document().replace("JOINT Spine", "JUNK Spine"), "'JUNK' in the hierarchy", None),
    "no legs": (document().replace("LeftLowerLeg", "Wheel"), "it lacks LeftLowerLeg", 0),
    "horse": (document().replace("Hips", "Withers").replace("Head", "Muzzle"), "unknown skeleton", 0),
    "bones of no length": (
        document(joints=tuple((a, b, (0, 0, 0)) for a, b, _ in UNITY)), "no bone lengths", 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_file_line_and_remedy(tmp_path: Path, case: str) -> None:
    """Every damaged file is refused by MotionFileError that names the file, the value and the place."""
    text, says, line = REFUSED[case]
    with pytest.raises(MotionFileError) as caught:
        read(tmp_path, text)
    assert "take.bvh" in str(caught.value)
    assert says in str(caught.value)
    if line is not None:
        assert caught.value.line == line


def test_missing_and_huge_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is no file, a folder, and a file beyond the limit are refused in words."""
    with pytest.raises(MotionFileError, match="cannot be read"):
        bvh.read(tmp_path / "none.bvh")
    with pytest.raises(MotionFileError, match="cannot be read"):
        bvh.read(tmp_path)
    monkeypatch.setattr(bvh, "MAX_BYTES", 100)
    with pytest.raises(MotionFileError, match="at most"):
        read(tmp_path, document())


def test_deep_hierarchies_do_not_exhaust_the_stack() -> None:
    """Ten thousand nested joints are refused, not recursed into."""
    text = "HIERARCHY\nROOT a\n{\n" + "JOINT b\n{\n" * 10_000
    with pytest.raises(MotionFileError, match="more than 512 joints"):
        bvh.parse(text.encode())


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """Arbitrary bytes give a file or a MotionFileError."""
    for start in (b"", b"HIERARCHY\nROOT a\n{\n"):
        with pytest.raises(MotionFileError):
            bvh.parse(start + data)


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, len(document()) - 1), st.sampled_from([b"", b"}", b"{", b"x", b"-", b"e9", b"\n", b"\xff", b"nan "])
)
def test_no_damage_raises_anything_else(at: int, put: bytes) -> None:
    """A file with one byte replaced plays or is refused by MotionFileError."""
    data = document().encode()
    try:
        motion = bvh.to_bones(bvh.parse(data[:at] + put + data[at + 1 :]))
    except MotionFileError:
        return
    assert np.isfinite(motion.local).all()
