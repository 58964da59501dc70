"""Trackers on a body: which one is where, and the poses that come back from them."""

import math

import numpy as np
import pytest
import senders
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from echelon_bridges.motion.placing import assign
from echelon_bridges.motion.skeleton import INDEX, REST_OFFSETS
from echelon_bridges.motion.trackers import BONES, TrackerBody, from_unity
from echelon_bridges.protocol import adapters
from echelon_bridges.protocol.reading import Reading, Readings
from echelon_engine import poses
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK

MS = 1_000_000
SECOND = 1000 * MS
ALL_LIMBS = ("hip", "chest", "l_foot", "r_foot", "l_knee", "r_knee", "l_arm", "r_arm")
STANDING = np.array([0.0, REST_OFFSETS[0, 1], 0.0])
MOUNTS = (
    {  # how each tracker sits on its bone: place in metres, and turn; limbs carry theirs on their own line
        limb: (
            np.random.default_rng(i).uniform(-0.04, 0.04, 3)
            * ([0.0, 1.0, 1.0] if limb[2:] in ("foot", "knee") else 1.0),
            Rotation.random(random_state=i).as_quat(),
        )
        for i, limb in enumerate(("head", *ALL_LIMBS))
    }
    | {f"{side}_arm": (np.array([0.0, 0.01, -0.01]), Rotation.random(random_state=3).as_quat()) for side in "lr"}
)


def to_unity(q: np.ndarray) -> tuple[float, ...]:
    """Return Unity's Euler angles, by scipy: in its left-handed numbers, about z, then x, then y."""
    x, y, z, w = q
    about_y, about_x, about_z = Rotation.from_quat([x, -y, -z, w]).as_euler("YXZ", degrees=True)
    return (about_x, about_y, about_z)


def trackers(
    turns: np.ndarray, root: np.ndarray, limbs: dict[str, str], *, euler: bool = True
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...] | None]]:
    """Return what trackers on a body (rotations (27, 4), root (3,)) say: part -> Unity's position and angles."""
    places = poses.positions(turns, REST_OFFSETS) + root
    world = poses.world_rotations(turns)
    said: dict[str, tuple[tuple[float, ...], tuple[float, ...] | None]] = {}
    for part, limb in limbs.items():
        bone = BONES[limb]
        # The tracker of an upper arm sits above the elbow.
        joint = places[bone + 1] if limb.endswith("arm") else places[bone]
        offset, turn = MOUNTS[limb]
        if limb == "head":
            offset, turn = np.array([0.0, 0.074, 0.0]), qt.IDENTITY
        x, y, z = joint + qt.rotate(world[bone], offset)
        said[part] = ((-x, y, z), to_unity(qt.multiply(world[bone], turn)) if euler else None)
    return said


def feed(body: TrackerBody, said: dict, at_ns: int, *, bundle: bool = True) -> list[np.ndarray]:
    """Send what trackers say over the wire; return the frames."""
    found = []
    for data in senders.vrchat(said, bundle=bundle):
        readings = adapters.decode(data)
        assert isinstance(readings, Readings)
        frames = body.feed(readings.readings, at_ns)
        if frames is not None:
            found += list(frames)
    return found


def squat(depth: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rotations and root of a squat with level feet: `depth` is the thighs' turn in radians."""
    turns = np.tile(qt.IDENTITY, (27, 1))
    for side in "lr":
        leg = INDEX[f"{side}_up_leg"]
        turns[leg] = qt.about([1, 0, 0], np.array(-depth))
        turns[leg + 1] = qt.about([1, 0, 0], np.array(1.9 * depth))
        turns[leg + 2] = qt.about([1, 0, 0], np.array(-0.9 * depth))
    root = STANDING.copy()
    feet = poses.positions(turns, REST_OFFSETS)[[INDEX["l_foot"], INDEX["r_foot"]]].mean(axis=0)
    stood = poses.positions(np.tile(qt.IDENTITY, (27, 1)), REST_OFFSETS)[INDEX["l_foot"]]
    root[1] += stood[1] - feet[1]
    root[2] += stood[2] - feet[2]
    return turns, root


def calibrated(limbs: dict[str, str], *, euler: bool = True, heading: float = 0.0) -> TrackerBody:
    """Return a body calibrated in the T-pose."""
    body = TrackerBody()
    turns = np.tile(qt.IDENTITY, (27, 1))
    turns[0] = qt.about([0, 1, 0], np.array(heading))
    feed(body, trackers(turns, STANDING, limbs, euler=euler), 0)
    assert body.calibrate() == limbs
    return body


WHOLE = {"head": "head"} | {str(n + 1): limb for n, limb in enumerate(ALL_LIMBS)}


def test_unitys_angles_turn_about_z_then_x_then_y() -> None:
    """Each axis alone has Unity's sense, and together they compose in Unity's order."""
    for seed in range(20):
        q = Rotation.random(random_state=seed).as_quat()
        assert qt.angle(np.array(from_unity(*to_unity(q))), q) < 1e-9
    # A yaw of 90 degrees turns Unity's forward to its right, +x: to the body's right, -x of ours.
    ahead = qt.rotate(np.array(from_unity(0.0, 90.0, 0.0)), [0.0, 0.0, 1.0])
    np.testing.assert_allclose(ahead, [-1.0, 0.0, 0.0], atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_any_numbering_is_assigned_by_height_and_side(seed: int) -> None:
    """Whatever number a tracker has, a T-pose or hanging arms tell its limb; sets may be smaller."""
    rng = np.random.default_rng(seed)
    numbers = [str(n) for n in rng.permutation(8) + 1]
    limbs = dict(zip(numbers, ALL_LIMBS, strict=True))
    if seed % 3 == 1:
        limbs = {part: limb for part, limb in limbs.items() if limb in ("hip", "l_foot", "r_foot")}
    if seed % 3 == 2:
        limbs = {part: limb for part, limb in limbs.items() if limb not in ("chest", "l_knee", "r_knee")}
    if seed % 2:
        limbs["head"] = "head"
    turns = np.tile(qt.IDENTITY, (27, 1))
    if seed >= 3:
        turns[INDEX["l_up_arm"]] = qt.about([0, 0, 1], np.array(-1.2))
        turns[INDEX["r_up_arm"]] = qt.about([0, 0, 1], np.array(1.2))
    body = TrackerBody()
    feed(body, trackers(turns, STANDING, limbs), 0)
    assert body.calibrate() == limbs
    assert body.assigned == limbs


def test_left_and_right_follow_where_the_head_looks() -> None:
    """A performer who faces backwards is not mirrored."""
    body = calibrated(WHOLE, heading=math.pi)
    assert {part: limb for part, limb in body.assigned.items() if limb == "l_foot"} == {"3": "l_foot"}


@pytest.mark.parametrize("euler", [True, False])
def test_a_t_pose_comes_out_as_one(euler: bool) -> None:
    """At calibration every bone is at rest, the root stands at its height and only tracked limbs are valid."""
    body = calibrated(WHOLE, euler=euler)
    frame = feed(body, trackers(np.tile(qt.IDENTITY, (27, 1)), STANDING, WHOLE, euler=euler), SECOND)[0]
    assert qt.angle(frame["rotation"].astype(np.float64), qt.IDENTITY).max() < math.radians(4.0)
    np.testing.assert_allclose(frame["origin"], STANDING, atol=0.01)
    np.testing.assert_allclose(
        frame["position"], poses.positions(np.tile(qt.IDENTITY, (27, 1)), REST_OFFSETS), atol=0.05
    )
    assert frame["flags"] == BREAK
    for name in ("l_hand", "r_hand", "l_low_arm", "r_low_arm", "l_toes", "r_toes", "l_shoulder"):
        assert not frame["valid"] >> INDEX[name] & 1, name
    for name in ("root", "torso_7", "head", "l_up_leg", "r_low_leg", "l_foot", "l_up_arm"):
        assert frame["valid"] >> INDEX[name] & 1, name


@pytest.mark.parametrize("knees", [True, False])
@pytest.mark.parametrize("heading", [0.0, 2.0])
def test_a_squat_comes_out_as_one(knees: bool, heading: float) -> None:
    """Thighs, shanks and feet turn as the body's did, the root sinks, and hands stay unknown."""
    limbs = {part: limb for part, limb in WHOLE.items() if knees or not limb.endswith("knee")}
    body = calibrated(limbs, heading=heading)
    turns, root = squat(1.1)
    about = qt.about([0, 1, 0], np.array(heading))
    turned = turns.copy()
    turned[0] = about
    place = qt.rotate(about, root - STANDING) + STANDING
    frame = feed(body, trackers(turned, place, limbs), SECOND)[0]
    np.testing.assert_allclose(frame["origin"], place, atol=0.01)
    assert frame["origin"][1] < STANDING[1] - 0.2
    assert float(frame["heading"]) == pytest.approx(heading, abs=0.01)
    for name in ("l_up_leg", "r_up_leg", "l_low_leg", "r_low_leg", "l_foot", "r_foot", "torso_7", "head"):
        error = qt.angle(frame["rotation"][INDEX[name]].astype(np.float64), turns[INDEX[name]])
        assert error < math.radians(4.0), (name, math.degrees(error))
    np.testing.assert_allclose(
        frame["position"][INDEX["l_foot"]], poses.positions(turns, REST_OFFSETS)[INDEX["l_foot"]], atol=0.03
    )


def test_bends_of_the_trunk_and_raised_arms_are_kept() -> None:
    """Chest, head and upper arms have the world's turns of the body's; the spine is bent evenly."""
    body = calibrated(WHOLE)
    turns = np.tile(qt.IDENTITY, (27, 1))
    turns[1:8] = qt.about([1, 0, 0], np.array(0.1))
    turns[8:11] = qt.about([0, 1, 0], np.array(0.2))
    turns[INDEX["l_up_arm"]] = qt.about([0, 0, 1], np.array(1.0))
    frame = feed(body, trackers(turns, STANDING, WHOLE), SECOND)[0]
    told = poses.world_rotations(frame["rotation"].astype(np.float64))
    truth = poses.world_rotations(turns)
    for name in ("torso_7", "head", "l_up_arm", "r_up_arm"):
        assert qt.angle(told[INDEX[name]], truth[INDEX[name]]) < math.radians(4.0), name


def test_few_trackers_still_make_a_body() -> None:
    """With hip and feet alone the legs are valid and the rest is not."""
    limbs = {"1": "hip", "2": "l_foot", "3": "r_foot"}
    body = calibrated(limbs)
    turns, root = squat(1.0)
    frame = feed(body, trackers(turns, root, limbs), SECOND)[0]
    assert frame["origin"][1] < STANDING[1] - 0.15
    legs = sum(1 << INDEX[f"{side}_{bone}"] for side in "lr" for bone in ("up_leg", "low_leg", "foot"))
    assert frame["valid"] == legs | 1


def test_single_messages_make_one_frame_a_tick() -> None:
    """A message a datagram: each tick is one frame, complete with its last message."""
    body = calibrated(WHOLE)
    for tick in range(1, 5):
        turns, root = squat(0.2 * tick)
        frames = feed(body, trackers(turns, root, WHOLE), tick * 16 * MS, bundle=False)
        assert len(frames) == 1
    assert body.frames == 4


def test_a_body_calibrates_itself_after_a_second() -> None:
    """Nothing plays before; then the pose at that moment counts as standing, and a call calibrates anew."""
    body = TrackerBody()
    said = trackers(np.tile(qt.IDENTITY, (27, 1)), STANDING, WHOLE)
    found = [feed(body, said, tick * 100 * MS) for tick in range(15)]
    assert [len(frames) for frames in found] == [0] * 10 + [1] * 5
    assert found[10][0]["flags"] == BREAK
    body.calibrate()
    assert feed(body, said, 1500 * MS)[0]["flags"] == BREAK


def test_a_tracker_that_falls_silent_is_dropped() -> None:
    """Half a second without it clears its limbs; the others play on, and it comes back by itself."""
    body = calibrated(WHOLE)
    said = trackers(np.tile(qt.IDENTITY, (27, 1)), STANDING, WHOLE)
    feed(body, said, SECOND)
    without = {part: each for part, each in said.items() if part != "3"}
    for tick in range(8):
        frames = feed(body, without, SECOND + tick * 100 * MS)
    assert not frames[-1]["valid"] >> INDEX["l_foot"] & 1
    assert frames[-1]["valid"] >> INDEX["r_foot"] & 1
    assert feed(body, said, 2 * SECOND)[-1]["valid"] >> INDEX["l_foot"] & 1


def test_too_few_trackers_are_no_body() -> None:
    """Two trackers are refused by calibration, phones are none."""
    body = TrackerBody()
    assert body.feed([Reading("", "zigsim", "gravity", (0.0, 0.0, 1.0), "g")], 0) is None
    feed(body, {"1": ((0, 1, 0), None), "2": ((0, 0.1, 0), None)}, 0)
    assert body.calibrate() == {}
    assert feed(body, {"1": ((0, 1, 0), None), "2": ((0, 0.1, 0), None)}, 5 * SECOND) == []


NUMBER = st.floats(-1e4, 1e4) | st.sampled_from([0.0, 1.0, 0.9])


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["1", "2", "3", "4", "head"]),
                st.sampled_from(["position", "euler"]),
                st.tuples(NUMBER, NUMBER, NUMBER),
            ),
            max_size=8,
        ),
        max_size=12,
    )
)
def test_no_trackers_raise_or_leave_the_numbers(datagrams: list) -> None:
    """Whatever places and angles come: nothing raises, bodies are finite and stamps rise."""
    body = TrackerBody()
    last = -1
    for n, datagram in enumerate(datagrams):
        readings = [Reading("", "vrchat", quantity, values, "m", part=part) for part, quantity, values in datagram]
        frames = body.feed(readings, n * 300 * MS)
        for frame in frames if frames is not None else ():
            assert np.isfinite(frame["position"]).all()
            assert np.isfinite(frame["rotation"]).all()
            assert np.isfinite(frame["origin"]).all()
            assert frame["time_ns"] > last
            last = frame["time_ns"]


def test_leftover_trackers_play_no_part() -> None:
    """Two at the hip's height: the nearer to 0.53 of the height is the hip, the other nothing."""
    places = {"1": (0.0, 0.93, 0.0), "2": (0.02, 1.05, 0.0), "3": (0.1, 0.1, 0.0), "4": (-0.1, 0.1, 0.0)}
    assert assign(places, 1.75) == {"1": "hip", "3": "l_foot", "4": "r_foot"}
