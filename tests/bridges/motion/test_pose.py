"""Forward kinematics, heading and the single-frame path."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from echelon_bridges.motion import pose
from echelon_bridges.motion.skeleton import (
    ALL_VALID,
    INDEX,
    LIMBS,
    NAMES,
    PARENTS,
    REST_OFFSETS,
    mirror,
)
from echelon_engine import poses
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK, LIMB_FRAME

Y = np.array([0.0, 1.0, 0.0])


def bodies(count: int, seed: int = 3) -> np.ndarray:
    """Return random local rotations (count, 27, 4), the root upright within 60 degrees."""
    local = Rotation.random(count * LIMBS, random_state=seed).as_quat().reshape(count, LIMBS, 4)
    rng = np.random.default_rng(seed)
    local[:, 0] = Rotation.from_euler(
        "YXZ", np.stack([rng.uniform(-3, 3, count), rng.uniform(-1, 1, count), rng.uniform(-1, 1, count)], 1)
    ).as_quat()
    return local


def test_default_body_is_a_mirrored_t_pose() -> None:
    """Rest offsets mirror, parents come first, and the fingertips point sideways."""
    assert len(NAMES) == LIMBS == 27
    assert all(parent < bone for bone, parent in enumerate(PARENTS))
    for bone in range(LIMBS):
        np.testing.assert_allclose(REST_OFFSETS[bone] * [-1, 1, 1], REST_OFFSETS[mirror(bone)])
    place = poses.positions(np.tile(qt.IDENTITY, (LIMBS, 1)), REST_OFFSETS)
    assert place[INDEX["l_hand"], 0] == pytest.approx(0.676)
    assert place[INDEX["head"], 1] == pytest.approx(0.653)
    assert place[INDEX["l_toes"], 2] > 0.1


def test_positions_follow_the_chain_of_parents() -> None:
    """Pointer jumping gives what walking from parent to child gives."""
    local = bodies(4)
    expected = np.zeros((4, LIMBS, 3))
    for n in range(4):
        turn = [Rotation.from_quat(local[n, 0])]
        for bone in range(1, LIMBS):
            parent = PARENTS[bone]
            expected[n, bone] = expected[n, parent] + turn[parent].apply(REST_OFFSETS[bone].copy())
            turn.append(turn[parent] * Rotation.from_quat(local[n, bone]))
    np.testing.assert_allclose(poses.positions(local, REST_OFFSETS), expected, atol=1e-12)


def test_frames_do_not_know_where_on_stage_the_body_faces() -> None:
    """Turning and moving the whole body changes heading and origin, and nothing else."""
    local = bodies(6)
    times, origin = np.arange(6) / 60, np.zeros((6, 3))
    here = pose.limb_frames(times, local, origin, REST_OFFSETS)
    turned = local.copy()
    turned[:, 0] = qt.multiply(qt.about(Y, 1.1), local[:, 0])
    there = pose.limb_frames(times, turned, origin + 5.0, REST_OFFSETS)
    np.testing.assert_allclose(here["position"], there["position"], atol=1e-6)
    np.testing.assert_allclose(qt.angle(here["rotation"], there["rotation"]), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.remainder(there["heading"] - here["heading"], math.tau), 1.1, atol=1e-5)
    assert np.all(there["origin"] == 5.0)


def test_frames_put_the_body_back_where_it_was() -> None:
    """Heading applied again to positions and the root's rotation gives the body in the world."""
    local = bodies(6)
    frames = pose.limb_frames(np.arange(6) / 50, local, np.ones((6, 3)), REST_OFFSETS, valid=5)
    back = qt.about(Y, frames["heading"].astype(np.float64))
    np.testing.assert_allclose(
        qt.rotate(back[:, None], frames["position"]), poses.positions(local, REST_OFFSETS), atol=1e-6
    )
    np.testing.assert_allclose(qt.angle(qt.multiply(back, frames["rotation"][:, 0]), local[:, 0]), 0.0, atol=1e-5)
    assert frames.dtype == LIMB_FRAME
    assert np.all(frames["rotation"][..., 3] >= 0)
    assert frames["flags"].tolist() == [BREAK, 0, 0, 0, 0, 0]
    assert frames["time_ns"][5] == 100_000_000
    assert np.all(frames["valid"] == 5)


@pytest.mark.parametrize("axis", ["X", "Z"])
def test_heading_stands_still_through_rolls_and_cartwheels(axis: str) -> None:
    """A whole turn about the body's own left-right or front axis leaves the heading where it was."""
    angles = np.radians(np.arange(0, 361, 3))
    roll = Rotation.from_euler(axis, angles[:, None])
    root = (Rotation.from_euler("Y", 0.7) * roll).as_quat()
    heading = pose.headings(root)
    assert np.abs(heading - 0.7).max() < 1e-6


def test_heading_near_head_down_moves_little() -> None:
    """A flip that passes head down a little aslant does not whirl the heading round from one frame to the next."""
    angles = np.radians(np.arange(0, 361, 4))
    wobble = np.full(len(angles), 0.1)
    root = (Rotation.from_euler("X", angles[:, None]) * Rotation.from_euler("Z", wobble[:, None])).as_quat()
    steps = np.diff(np.unwrap(pose.headings(root)))
    raw = np.diff(np.unwrap(2 * np.arctan2(root[:, 1], root[:, 3])))
    assert np.abs(raw).max() > 0.5  # what would have happened
    assert np.abs(steps).max() < 0.25


def test_live_frames_equal_recorded_ones() -> None:
    """The single-frame path gives the same records as the path for whole files."""
    local = bodies(20)
    origin = np.random.default_rng(0).normal(size=(20, 3))
    recorded = pose.limb_frames(np.arange(20) / 60, local, origin, REST_OFFSETS)
    body = pose.LiveBody(REST_OFFSETS)
    for n in range(20):
        live = body.frame(local[n] * 1.3, origin[n], time_ns=n, arrival_ns=n + 1, number=n)[0]
        np.testing.assert_allclose(live["position"], recorded[n]["position"], atol=1e-6)
        np.testing.assert_allclose(live["rotation"], recorded[n]["rotation"], atol=1e-6)
        assert live["heading"] == pytest.approx(recorded[n]["heading"], abs=1e-6)
        assert (live["time_ns"], live["arrival_ns"], live["valid"]) == (n, n + 1, ALL_VALID)
    assert body.refused_bones == 0


def test_live_heading_follows_the_recorded_one_head_down() -> None:
    """Through a flip that passes head down a little aslant, compiled and not, it is the same heading."""
    angles = np.radians(np.arange(0, 361, 4))
    wobble = np.full(len(angles), 0.1)
    local = np.tile(qt.IDENTITY, (len(angles), LIMBS, 1))
    local[:, 0] = (Rotation.from_euler("X", angles[:, None]) * Rotation.from_euler("Z", wobble[:, None])).as_quat()
    expected = pose.headings(local[:, 0])
    body = pose.LiveBody(REST_OFFSETS)
    for n in range(len(angles)):
        live = body.frame(local[n], np.zeros(3), time_ns=n, arrival_ns=n, number=n)[0]
        assert math.remainder(float(live["heading"]) - expected[n], math.tau) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("bad", [[np.nan, 0, 0, 1], [0, 0, 0, 0], [np.inf, 0, 0, 1], [0, 0, 0, 2.1], [0.4, 0, 0, 0]])
def test_a_refused_bone_keeps_its_last_value(bad: list[float]) -> None:
    """A rotation that is none holds the bone where it was, is counted, and leaves the other bones alone."""
    local = bodies(2)
    body = pose.LiveBody(REST_OFFSETS)
    first = body.frame(local[0], np.zeros(3), time_ns=0, arrival_ns=0, number=0)[0]
    damaged = local[1].copy()
    damaged[13] = bad
    second = body.frame(damaged, [np.nan, 0, 0], time_ns=1, arrival_ns=1, number=1)[0]
    np.testing.assert_allclose(second["rotation"][13], first["rotation"][13], atol=1e-6)
    np.testing.assert_allclose(qt.angle(second["rotation"][14], local[1, 14]), 0.0, atol=1e-5)
    assert np.isfinite(second["position"]).all()
    assert np.isfinite(second["origin"]).all()
    assert body.refused_bones == 1
