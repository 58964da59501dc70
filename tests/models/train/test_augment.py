"""Augmented motion keeps what it promises to keep, and changes what it promises to change."""

from typing import Any

import numpy as np
import pytest

from echelon_bridges.motion.dancer import Dancer
from echelon_engine import poses
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK
from echelon_models.train import augment
from echelon_models.train.features import Stage

DANCE = Dancer(3, 110.0).frames(60, 360)
DANCE["time_ns"] -= DANCE["time_ns"][0]
DANCE["arrival_ns"] = DANCE["time_ns"]
DANCE["flags"][0] = BREAK


@pytest.fixture(scope="module")
def stage() -> Stage:
    """One engine without sound for all tests."""
    return Stage()


def bones(frames: Any) -> Any:
    """Return the lengths of the bones in every frame, (n, 26) m."""
    parents = poses.ABOVE[1:]
    return np.linalg.norm(frames["position"][:, 1:] - frames["position"][:, parents], axis=-1)


def world_velocity(frames: Any) -> Any:
    """Return velocities of all limbs in the world (n - 1, 27, 3) m/s."""
    turn = qt.from_vector(np.stack([0 * frames["heading"], frames["heading"], 0 * frames["heading"]], axis=1))
    world = frames["origin"][:, None] + qt.rotate(turn[:, None], frames["position"])
    return np.diff(world, axis=0) / np.diff(frames["time_ns"] * 1e-9)[:, None, None]


def test_mirror_twice_is_the_identity() -> None:
    """The mirror's mirror is the same motion, bit for bit."""
    frames = DANCE.copy()
    frames["valid"] = 0b101_0011_0101_0111_0101_1100_1011
    once = augment.mirror(frames)
    twice = augment.mirror(once)
    for name in frames.dtype.names:
        assert np.array_equal(twice[name], frames[name]), name
        if name in ("rotation", "position", "heading", "origin", "valid"):
            assert not np.array_equal(once[name], frames[name]), name


def test_mirror_swaps_the_hands_of_x(stage: Stage) -> None:
    """Left and right change places, the lean changes sides, and the rest stays as it was."""
    frames = DANCE.copy()
    frames["origin"][:, 0] += np.linspace(0.0, 1.0, len(frames))
    one, other = stage.of(frames), stage.of(augment.mirror(frames))
    np.testing.assert_allclose(other.x, one.x[:, [2, 3, 0, 1, 4, 5]] * [1, 1, 1, 1, 1, -1], atol=2e-4)
    assert np.abs(one.x[:, :2] - one.x[:, 2:4]).max() > 0.1
    np.testing.assert_allclose(other.energy, one.energy, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(other.c, one.c, atol=1e-2)
    # Bones stay on their skeleton: positions still follow from the rotations.
    mirrored = augment.mirror(DANCE)
    offsets = poses.offsets(mirrored["rotation"], mirrored["position"])
    np.testing.assert_allclose(poses.positions(mirrored["rotation"], offsets), mirrored["position"], atol=1e-5)


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_warp_scales_velocities(factor: float, stage: Stage) -> None:
    """All velocities are multiplied, poses untouched, and the energy on stage follows."""
    warped = augment.warp(DANCE, factor)
    np.testing.assert_allclose(world_velocity(warped), factor * world_velocity(DANCE), rtol=1e-4, atol=1e-4)
    assert np.array_equal(warped["rotation"], DANCE["rotation"])
    seen = stage.of(warped).energy[30:].mean() / stage.of(DANCE).energy[30:].mean()
    assert seen == pytest.approx(factor, rel=0.08)


@pytest.mark.parametrize("gain", [0.0, 0.8, 1.2])
def test_amplitude_scales_angles(gain: float) -> None:
    """Every bone turns `gain` times as far from its mean; bones keep their lengths, and gain 1 changes nothing."""
    scaled = augment.amplitude(DANCE, gain)
    mean = qt.mean(DANCE["rotation"])

    def angle(frames: Any) -> Any:
        return 2.0 * np.arccos(np.clip(np.abs(np.sum(frames["rotation"] * mean, axis=-1)), 0.0, 1.0))

    np.testing.assert_allclose(angle(scaled), gain * angle(DANCE), atol=2e-3)
    np.testing.assert_allclose(bones(scaled), bones(DANCE), atol=1e-4)
    same = augment.amplitude(DANCE, 1.0)
    np.testing.assert_allclose(same["position"], DANCE["position"], atol=1e-5)


def test_noise_is_that_of_a_suit(stage: Stage) -> None:
    """Bones drift by degrees and jitter by hundredths, stamps are uneven but rise, and lengths stay."""
    noisy = augment.noise(DANCE, np.random.default_rng(1))
    wrong = qt.multiply(qt.conjugate(DANCE["rotation"].astype(float)), noisy["rotation"])
    vector = 2.0 * np.degrees(wrong[..., :3] * np.sign(wrong[..., 3:])) / augment.SHARE[:, None]
    assert 1.0 < vector.std() < 3.0
    # Twice differenced, drift is gone: jitter of sd s has sqrt(6) s there.
    assert np.diff(vector, n=2, axis=0).std() / np.sqrt(6.0) == pytest.approx(augment.JITTER_DEG, rel=0.4)
    np.testing.assert_allclose(bones(noisy), bones(DANCE), atol=1e-4)
    steps = np.diff(noisy["time_ns"])
    assert steps.min() > 0
    assert steps.std() > 0.5e6
    assert noisy["time_ns"][0] == 0


def test_who_stands_still_stays_still_under_noise(stage: Stage) -> None:
    """Noise is no motion: the state machine's stillness and commitment see none."""
    frames = DANCE.copy()
    for name in ("rotation", "position", "origin", "heading"):
        frames[name] = frames[name][0]
    found = stage.of(augment.noise(frames, np.random.default_rng(2)))
    assert found.energy[20:].mean() < 0.03
    assert found.c[60:].max() < 0.1


def test_drop_leaves_gaps_and_touches_nothing_else(stage: Stage) -> None:
    """What is left are frames of the motion with their times; gaps last at most 0.6 s; features stay finite."""
    lost = augment.drop(DANCE, np.random.default_rng(3), gaps_per_minute=60.0)
    assert len(lost) < len(DANCE) - 5
    kept = np.isin(DANCE["time_ns"], lost["time_ns"])
    assert np.array_equal(DANCE[kept], lost)
    gaps = np.diff(lost["time_ns"]) * 1e-9
    assert 0.03 < gaps.max() <= augment.LONGEST_GAP_S + 2 / 60
    assert lost["time_ns"][-1] == DANCE["time_ns"][-1]
    assert all(np.isfinite(each).all() for each in stage.of(lost))
    assert len(augment.drop(DANCE, np.random.default_rng(3), gaps_per_minute=0.0)) == len(DANCE)


def test_even_interpolates_any_rate() -> None:
    """From 30 frames a second, and from uneven ones, comes the motion that 60 a second shows."""
    uneven = np.delete(DANCE, [11, 40, 41, 97])
    for source in (augment.thin(DANCE, 2), uneven):
        again = augment.even(source)
        count = min(len(again), len(DANCE))
        np.testing.assert_allclose(again["position"][:count], DANCE["position"][:count], atol=0.03)
        np.testing.assert_allclose(np.diff(again["time_ns"]), 1e9 / 60, atol=2)
    np.testing.assert_allclose(augment.even(DANCE)["position"], DANCE["position"], atol=1e-6)


def test_join_is_smooth_where_takes_meet() -> None:
    """No limb's velocity leaps at a blend more than it does within the takes, wherever these stood and faced."""
    other = Dancer(9, 80.0).frames(0, 300)
    other["origin"][:, [0, 2]] += np.float32([3.0, -2.0])
    other["heading"] += np.float32(2.0)
    joined = augment.join([DANCE, other, DANCE])
    assert len(joined) > 700
    leaps = np.linalg.norm(np.diff(world_velocity(joined), axis=0), axis=-1)
    inside = max(np.linalg.norm(np.diff(world_velocity(take), axis=0), axis=-1).max() for take in (DANCE, other))
    assert leaps.max() < 1.5 * inside
    np.testing.assert_allclose(bones(joined), bones(DANCE)[:1].repeat(len(joined), axis=0), atol=1e-3)
    cut = np.concatenate([DANCE, other])
    cut["time_ns"] = np.arange(len(cut)) * 16_666_667
    assert np.linalg.norm(np.diff(world_velocity(cut), axis=0), axis=-1).max() > 10 * leaps.max()


def test_a_single_short_take_becomes_as_long_as_asked() -> None:
    """Half a second repeats itself without a seam that breaks the motion."""
    frames = augment.variant([DANCE[:31]], np.random.default_rng(4), seconds=6.0)
    assert frames["time_ns"][-1] * 1e-9 == pytest.approx(6.0, abs=0.05)
    assert np.abs(world_velocity(frames)).max() < 15.0


def test_one_seed_is_one_result(stage: Stage) -> None:
    """The same seed gives the same variant, another one another; every variant can be played."""
    takes = [DANCE, Dancer(9, 80.0).frames(0, 200)]
    first, again, other = (augment.variant(takes, np.random.default_rng(seed), seconds=8.0) for seed in (7, 7, 8))
    for name in first.dtype.names:
        assert np.array_equal(first[name], again[name])
    assert not np.array_equal(first["rotation"][:50], other["rotation"][:50])
    for frames in (first, other):
        found = stage.of(frames)
        assert found.present.mean() > 0.9
        assert np.isfinite(found.limbs).all()
