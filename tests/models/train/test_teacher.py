"""The teacher plays 32 lanes with intent, from no more than a network could learn."""

from typing import Any

import numpy as np
import pytest

from echelon_engine.parameters import LANE
from echelon_models.initial import rest_positions
from echelon_models.train import teacher

FRAMES = 400
STATE = ("left_up", "left_forward", "right_up", "right_forward", "lean_forward", "lean_left")


def motion(**moves: Any) -> tuple[Any, Any]:
    """Return x (n, 6) and c (n,) of a body at rest, changed from frame 200 on."""
    x, c = np.zeros((FRAMES, 6), np.float32), np.zeros(FRAMES, np.float32)
    for name, value in moves.items():
        if name == "c":
            c[200:] = value
        else:
            x[200:, STATE.index(name)] = value
    return x, c


def change(lane: str, **moves: Any) -> float:
    """Return how far a lane goes from rest to the end."""
    p = teacher.positions(*motion(**moves))[:, LANE[lane]]
    return float(p[-1] - p[190])


BOTH = {"left_up": 0.5, "right_up": 0.5}


@pytest.mark.parametrize(
    "lane", ["body_brightness", "filter_cutoff", "index_1", "index_2", "index_3", "index_4", "filter_drive"]
)
def test_effort_opens(lane: str) -> None:
    """Strong gestures open brightness, filter and modulation, downward ones too."""
    assert change(lane, **BOTH) > 0.1
    assert change(lane, left_up=-0.5, right_up=-0.5) > 0.05
    assert change(lane, left_forward=0.7, right_forward=0.7) > 0.1


def test_stillness_closes() -> None:
    """Who comes to rest closes the filter, and more the longer the rest has lasted."""
    x, c = motion(**BOTH, c=0.8)
    p = teacher.positions(x[::-1], c[::-1])[:, [LANE["filter_cutoff"], LANE["body_brightness"], LANE["gain"]]]
    assert (p[190] - p[240] > 0.02).all()
    assert (p[240] - p[-1] > 0.01).all()


def test_lean_moves_the_body_and_the_room() -> None:
    """Leaning forward opens the room and darkens; leaning left moves the body and the place in the stereo field."""
    assert change("reverb_mix", lean_forward=0.7) > 0.05
    assert change("body_position", lean_forward=0.7) > 0.05
    assert change("filter_cutoff", lean_forward=0.7) < -0.05
    assert change("body_structure", lean_left=0.7) > 0.02
    assert change("pan", lean_left=0.7) < -0.05


def test_asymmetry_pans_toward_the_hand_that_moves() -> None:
    """The right hand alone pans right, the left one left, both nowhere."""
    assert change("pan", right_up=0.6) > 0.08
    assert change("pan", left_up=0.6) == pytest.approx(-change("pan", right_up=0.6), abs=0.01)
    assert change("pan", **BOTH) == pytest.approx(0.0, abs=1e-6)


def test_commitment_sharpens_attacks() -> None:
    """Commitment shortens attacks, and a sudden one shortens them further for a moment."""
    for lane in ("amp_attack", "exciter_attack"):
        p = teacher.positions(*motion(c=1.0))[:, LANE[lane]]
        assert p[-1] < p[190] - 0.03
        assert p[205] < p[-1] - 0.02


def test_ratios_and_ceiling_stand_still() -> None:
    """The one would detune, the other is a promise."""
    x, c = noise()
    x = np.tanh(np.cumsum(x, axis=0) / 5)  # a slow wandering: slow lanes have the time to follow
    p = teacher.positions(x, c)
    for lane in ("ratio_1", "ratio_2", "ratio_3", "ratio_4", "ceiling"):
        np.testing.assert_allclose(p[:, LANE[lane]], rest_positions()[LANE[lane]], rtol=1e-6)
    moved = [lane for lane in LANE if np.ptp(p[:, LANE[lane]]) > 0.02]
    assert len(moved) == 27


def noise(seed: int = 0, size: float = 1.0) -> tuple[Any, Any]:
    """Return x and c that leap at random."""
    rng = np.random.default_rng(seed)
    x = np.tanh(size * rng.normal(size=(FRAMES, 6))).astype(np.float32)
    return x, rng.random(FRAMES).astype(np.float32)


def test_it_looks_150_ms_ahead_and_no_further() -> None:
    """What happens from the tenth frame on changes nothing now; what happens in the ninth may."""
    x, c = noise()
    before = teacher.positions(x, c)
    later_x, later_c = x.copy(), c.copy()
    later_x[200:], later_c[200:] = noise(1)[0][200:], noise(1)[1][200:]
    after = teacher.positions(later_x, later_c)
    same = 200 - 9
    np.testing.assert_allclose(after[:same], before[:same], atol=1e-6)
    assert np.abs(after[same] - before[same]).max() > 1e-4


def test_it_is_bounded_and_no_faster_than_the_instrument() -> None:
    """Whatever the body does, positions lie within 0..1, off its ends, and under the slew of the lanes."""
    for seed in range(3):
        p = teacher.positions(*noise(seed, size=5.0))
        assert p.dtype == np.float32
        assert p.min() > 0.01
        assert p.max() < 0.99
        assert np.abs(np.diff(p, axis=0)).max() < 0.12


def test_slow_lanes_take_400_ms() -> None:
    """A step of the lean has gone 1 - 1/e of its way 400 ms after it, less the 75 ms of looking ahead."""
    signals = teacher.signals(*motion(lean_forward=0.5))[:, teacher.SIGNALS.index("lean_forward")]
    half = int(np.argmax(signals > (1 - np.exp(-1)) * 0.5)) - 200
    assert half / 60 == pytest.approx(0.4 - 0.075, abs=0.03)
    effort = teacher.signals(*motion(**BOTH))[:, 0]
    assert int(np.argmax(effort > 0.5 * effort[-1])) - 200 == pytest.approx(0, abs=1)


def test_jerk_is_that_of_a_known_curve() -> None:
    """A sine of 1 Hz and amplitude 1 has an RMS jerk of (2 pi)^3 / sqrt 2."""
    t = np.arange(6000) / 60
    assert teacher.jerk(np.sin(2 * np.pi * t)[:, None]) == pytest.approx((2 * np.pi) ** 3 / np.sqrt(2), rel=0.01)
    assert teacher.jerk(np.zeros((2, 3))) == 0.0
