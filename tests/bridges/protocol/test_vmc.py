"""VMC performers: where frames begin, whose bones they are, and what senders do wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import MOTION, needs_shared
from scipy.spatial.transform import Rotation

from echelon_bridges.motion import pose
from echelon_bridges.motion.skeleton import ALL_VALID, INDEX, REST_OFFSETS
from echelon_bridges.protocol import captures, osc, vmc
from echelon_engine import poses
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK

MS = 1_000_000
CALM = np.tile(qt.IDENTITY, (27, 1))


def gesture(n: int) -> np.ndarray:
    """Return a body that raises its left arm and turns, a little more each frame."""
    turns = CALM.copy()
    turns[0] = qt.about([0, 1, 0], np.array(0.02 * n))
    turns[2] = qt.about([1, 0, 0], np.array(0.01 * n))
    turns[INDEX["l_up_arm"]] = qt.about([0, 0, 1], np.array(0.03 * n))
    return turns


def feed(stream: vmc.VmcStream, datagrams: list[bytes], arrival_ns: int) -> list[np.ndarray]:
    """Feed datagrams that arrive together; return the frames they completed."""
    found = [stream.feed(data, arrival_ns) for data in datagrams]
    return [frame for frames in found if frames is not None for frame in frames]


@needs_shared
@pytest.mark.parametrize(
    ("name", "frames"),
    [("arm-raise-30hz", 5), ("neutral-standing-30hz", 5), ("mixed-traffic-30hz", 3), ("extended-forms", 1)],
)
def test_reference_captures_decode(name: str, frames: int) -> None:
    """Each capture gives its frames, nothing is refused, and bodies stand 0.9 m high."""
    stream = vmc.VmcStream()
    found = []
    for seconds, data in captures.read(MOTION / "packets" / "vmc_captures" / f"{name}.vmcpackets"):
        found += feed(stream, [data], round(seconds * 1e9))
    assert len(found) == frames
    assert (stream.counts.refused, stream.counts.malformed, stream.counts.refused_bones) == (0, 0, 0)
    assert found[0]["origin"][1] == pytest.approx(0.9)
    assert found[0]["flags"] == BREAK
    if name == "arm-raise-30hz":  # the left arm rises, the right one does not
        hands = np.array([[f["position"][INDEX[b], 1] for b in ("l_hand", "r_hand")] for f in found])
        assert np.ptp(hands[:, 0]) > 0.3
        assert np.ptp(hands[:, 1]) < 0.01


@pytest.mark.parametrize("bundle", [True, False])
def test_bodies_arrive_as_they_were_sent(bundle: bool) -> None:
    """World rotations of root, chest, head, hands and feet survive the way through Unity's basis and its spine."""
    local = Rotation.random(27 * 12, random_state=4).as_quat().reshape(12, 27, 4)
    local = qt.slerp(CALM, local, np.full((12, 27), 0.3))
    local[:, [22, 26]] = qt.IDENTITY
    stream = vmc.VmcStream()
    found = []
    for n in range(12):
        found += feed(stream, vmc.encode_frame(n / 30, local[n], [0.1 * n, 0.9, -0.2], bundle=bundle), n * 33 * MS)
    if not bundle:  # the first of single messages is complete when the second begins
        assert len(found) == 12
    expected = pose.limb_frames(np.arange(12) / 30, local, np.zeros((12, 3)), REST_OFFSETS)
    for n, frame in enumerate(found):
        world = poses.world_rotations(frame["rotation"].astype(np.float64))
        sent = poses.world_rotations(expected[n]["rotation"].astype(np.float64))
        for bone in ("root", "torso_7", "neck_2", "head", "l_hand", "r_hand", "l_foot", "r_foot"):
            assert qt.angle(world[INDEX[bone]], sent[INDEX[bone]]) < 1e-4, bone
        assert frame["heading"] == pytest.approx(expected[n]["heading"], abs=1e-5)
        assert frame["origin"] == pytest.approx([0.1 * n, 0.9, -0.2], abs=1e-6)
        assert frame["valid"] == ALL_VALID


def test_a_bundle_is_played_the_moment_it_arrives() -> None:
    """A whole body in one datagram waits for no other, the first one neither."""
    stream = vmc.VmcStream()
    for n in range(3):
        assert len(feed(stream, vmc.encode_frame(n / 60, gesture(n), [0, 0.9, 0]), n * 17 * MS)) == 1


@pytest.mark.parametrize("time_first", [True, False])
def test_single_messages_are_complete_with_their_last(time_first: bool) -> None:
    """Once the bones are known, a frame of single messages ends with its last message, T leading or trailing."""
    stream = vmc.VmcStream()
    done_at = []
    for n in range(4):
        *bones, time = vmc.encode_frame(n / 60, gesture(n), [0, 0.9, 0], bundle=False)
        messages = [time, *bones] if time_first else [*bones, time]
        for k, message in enumerate(messages):
            frames = stream.feed(message, n * 17 * MS)
            if frames is not None:
                done_at.append((n, k - len(messages)))
    assert done_at[-2:] == [(2, -1), (3, -1)]
    assert stream.counts.frames >= 3
    assert stream.counts.duplicates == 0


def test_bones_without_time_play_too() -> None:
    """A sender that never says T is cut at its repeating bones and stamped by arrival."""
    stream = vmc.VmcStream()
    stamps = []
    for n in range(5):
        for message in vmc.encode_frame(0, gesture(n), [0, 0.9, 0], bundle=False)[:-1]:
            stamps += [int(f["time_ns"]) for f in feed(stream, [message], (n + 1) * 16 * MS)]
    assert len(stamps) >= 4
    assert np.all(np.diff(stamps) > 0)


def test_bones_that_are_not_sent_keep_their_last_value() -> None:
    """After a whole body, a frame with one bone moves that bone alone; fingers and unknown names change nothing."""
    stream = vmc.VmcStream()
    whole = feed(stream, vmc.encode_frame(0.0, gesture(20), [0, 0.9, 0]), 0)[0]
    one = osc.encode_message(vmc.BONE, "sfffffff", ["Head", 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    finger = osc.encode_message(vmc.BONE, "sfffffff", ["LeftIndexDistal", 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    times = [osc.encode_message(vmc.TIME, "f", [t]) for t in (0.02, 0.04)]
    frames = feed(stream, [times[0], one, finger, times[1]], 20 * MS)
    assert len(frames) == 1
    others = [b for b in range(27) if b != INDEX["head"]]
    np.testing.assert_allclose(frames[0]["rotation"][others], whole["rotation"][others], atol=1e-6)
    assert abs(frames[0]["rotation"][INDEX["head"], 1]) == pytest.approx(1.0)
    assert stream.counts.ignored == 1


@pytest.mark.parametrize(
    "values",
    [[0, 0, 0, float("nan"), 0, 0, 1], [0, 0, 0, 0, 0, 0, 0], [float("inf"), 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 9]],
)
def test_bones_that_are_no_pose_are_refused_alone(values: list[float]) -> None:
    """NaN, zero and overlong quaternions leave the bone where it was and are counted."""
    stream = vmc.VmcStream()
    before = feed(stream, vmc.encode_frame(0.0, gesture(20), [0, 0.9, 0]), 0)[0]
    bad = osc.encode_message(vmc.BONE, "sfffffff", ["LeftUpperArm", *map(float, values)])
    times = [osc.encode_message(vmc.TIME, "f", [t]) for t in (0.02, 0.04)]
    after = feed(stream, [times[0], bad, times[1]], 20 * MS)[0]
    np.testing.assert_allclose(after["rotation"], before["rotation"], atol=1e-6)
    assert stream.counts.refused_bones == 1


def test_short_and_mistyped_messages_are_counted() -> None:
    """Too few arguments and wrong types are ignored; extra arguments are fine."""
    stream = vmc.VmcStream()
    stream.feed(osc.encode_message(vmc.BONE, "sff", ["Hips", 0.0, 0.0]), 0)
    stream.feed(osc.encode_message(vmc.BONE, "sddddddd", ["Hips", *[0.5] * 7]), 0)
    stream.feed(osc.encode_message(vmc.TIME, "s", ["now"]), 0)
    stream.feed(osc.encode_message(vmc.TIME, "f", [-5.0]), 0)
    assert stream.counts.malformed == 4
    extra = osc.encode_message(vmc.ROOT_POSE, "sfffffffffffff", ["root", *[0.0] * 6, 1.0, *[1.0] * 6])
    stream.feed(extra, 0)
    assert stream.counts.malformed == 4


def test_unnormalised_quaternions_play() -> None:
    """Senders emit quaternions of any length near one."""
    stream = vmc.VmcStream()
    frame = feed(stream, vmc.encode_frame(0.0, gesture(10) * 1.4, [0, 0.9, 0]), 0)[0]
    np.testing.assert_allclose(np.linalg.norm(frame["rotation"], axis=1), 1.0, atol=1e-6)


def test_a_restarted_sender_breaks_and_a_repeated_time_does_not_play() -> None:
    """T back at 0 is a restart; a T that stands still repeats a frame that was played."""
    stream = vmc.VmcStream()
    flags = []
    for t, at in ((50.0, 1), (50.02, 2), (50.02, 3), (0.0, 4), (0.02, 5)):
        flags += [int(f["flags"]) for f in feed(stream, vmc.encode_frame(t, CALM, [0, 0.9, 0]), at * 20 * MS)]
    assert flags == [BREAK, 0, BREAK, 0]
    assert (stream.counts.restarts, stream.counts.duplicates) == (1, 1)


def test_a_taller_sender_is_taller() -> None:
    """The default body is scaled to the leg that the sender's bone offsets tell."""
    stream = vmc.VmcStream()
    legs = [
        osc.encode_message(vmc.BONE, "sfffffff", [name, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0, 1.0])
        for name in ("LeftLowerLeg", "LeftFoot")
    ]
    times = [osc.encode_message(vmc.TIME, "f", [t]) for t in (0.02, 0.04)]
    feed(stream, [times[0], *legs, times[1]], 0)
    assert np.linalg.norm(stream.offsets[20:22], axis=1).sum() == pytest.approx(1.0, abs=1e-3)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=24),
            st.tuples(st.sampled_from(sorted(vmc.BODY)), st.lists(st.floats(width=32), min_size=7, max_size=7)),
            st.floats(width=32),
        ),
        max_size=40,
    )
)
def test_no_stream_raises_or_goes_back_in_time(events: list) -> None:
    """Whatever bones, numbers and times come: nothing raises, bodies stay finite, stamps rise."""
    stream = vmc.VmcStream()
    last = None
    for k, event in enumerate(events):
        if isinstance(event, bytes):
            data = b"/VMC/Ext/" + event
        elif isinstance(event, tuple):
            data = osc.encode_message(vmc.BONE, "sfffffff", [event[0], *event[1]])
        else:
            data = osc.encode_message(vmc.TIME, "f", [event])
        for frame in feed(stream, [data], k * 5 * MS):
            assert np.isfinite(frame["position"]).all()
            assert np.isfinite(frame["origin"]).all()
            assert last is None or frame["time_ns"] > last
            last = frame["time_ns"]
