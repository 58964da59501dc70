"""The built-in dancer: the same for everybody, smooth, alive, and with a contour."""

import numpy as np
import pytest

from echelon_bridges.motion.dancer import CONTOUR, PHRASE_BARS, Dancer
from echelon_bridges.motion.moves import MOVES
from echelon_bridges.motion.skeleton import INDEX
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK, LIMB_FRAME

RATE = 60
HANDS = [INDEX["l_hand"], INDEX["r_hand"]]
FEET = [INDEX["l_foot"], INDEX["r_foot"]]


def world(frames: np.ndarray) -> np.ndarray:
    """Return bone positions in the world, (N, 27, 3)."""
    turn = qt.about([0.0, 1.0, 0.0], frames["heading"].astype(np.float64))
    return qt.rotate(turn[:, None], frames["position"].astype(np.float64)) + frames["origin"][:, None]


def same(a: np.ndarray, b: np.ndarray) -> None:
    """Assert that all fields are equal to the bit."""
    for name in LIMB_FRAME.names or ():
        np.testing.assert_array_equal(a[name], b[name])


def bar_energy(dancer: Dancer, bars: int) -> np.ndarray:
    """Return the mean over each bar of the RMS speed of the limbs, m/s."""
    per_bar = 4 * 60 * RATE / dancer.tempo_bpm
    place = world(dancer.frames(0, int(per_bar * bars) + 1))
    energy = np.sqrt(np.mean((np.diff(place, axis=0) * RATE) ** 2, axis=(1, 2)) * 3)
    return np.array([energy[int(b * per_bar) : int((b + 1) * per_bar)].mean() for b in range(bars)])


def test_any_frame_is_the_same_however_it_is_reached() -> None:
    """One long stretch, single frames, odd chunks and a leap forward give the same numbers, to the bit."""
    whole = Dancer(seed=4).frames(0, 1500)
    assert whole.dtype == LIMB_FRAME
    other = Dancer(seed=4)
    same(other.frames(1234, 1), whole[1234:1235])
    pieces = np.concatenate([other.frames(a, 77) for a in range(0, 1500 - 76, 77)])
    same(pieces, whole[: len(pieces)])
    same(Dancer(seed=4).frames(100_000, 3), other.frames(99_999, 4)[1:])
    assert np.any(Dancer(seed=5).frames(600, 1)["rotation"] != whole[600:601]["rotation"])


def test_frames_are_stamped_and_only_the_first_breaks() -> None:
    """Numbers and nanoseconds rise evenly at 60 Hz; frame 0 alone carries BREAK."""
    frames = Dancer().frames(0, 600)
    np.testing.assert_array_equal(frames["number"], np.arange(600))
    np.testing.assert_allclose(frames["time_ns"], np.arange(600) * 1e9 / 60, atol=1)
    assert frames["flags"][0] == BREAK
    assert not frames["flags"][1:].any()
    assert Dancer().frames(5, 0).shape == (0,)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_phrases_begin_quiet_climb_and_breathe(seed: int) -> None:
    """In each phrase the second half outweighs the first two bars, and its last bar is nearly still."""
    energy = bar_energy(Dancer(seed), 4 * PHRASE_BARS).reshape(4, PHRASE_BARS)
    assert energy[0, :2].mean() > 0.3  # the entrance
    for phrase in energy[1:]:
        assert phrase[:2].mean() < 0.6 * phrase[4:7].mean()
        assert phrase[7] < 0.12
        assert phrase[:2].mean() > 0.12  # quiet, never dead
    assert len(CONTOUR) == PHRASE_BARS


def test_every_move_is_danced_and_none_is_out_of_reach() -> None:
    """Within twenty phrases each move comes up, and stillness comes once a phrase."""
    dancer = Dancer(3)
    names = [dancer.bar(b).name for b in range(20 * PHRASE_BARS)]
    assert set(names) == set(MOVES)
    assert names[PHRASE_BARS - 1 :: PHRASE_BARS] == ["still"] * 20
    assert all(0 <= dancer.bar(b).energy <= 1 for b in range(160))


@pytest.mark.parametrize(("seed", "tempo"), [(0, 104.0), (1, 104.0), (2, 80.0), (3, 132.0)])
def test_bodies_move_like_people(seed: int, tempo: float) -> None:
    """Speeds, jerks, reach and the floor stay within what a dancer can do."""
    frames = Dancer(seed, tempo).frames(0, 70 * RATE)
    hands = frames["position"][:, HANDS].astype(np.float64)
    speed = np.linalg.norm(np.diff(hands, axis=0), axis=-1) * RATE
    assert 1.5 < np.quantile(speed, 0.95) < 3.3
    assert speed.max() < 6.0
    acceleration = np.linalg.norm(np.diff(hands, 2, axis=0), axis=-1) * RATE**2
    assert acceleration.max() < 120.0
    place = world(frames)
    head = np.linalg.norm(np.diff(place[:, INDEX["head"]], axis=0), axis=-1) * RATE
    assert head.max() < 2.0
    assert place[:, FEET, 1].min() > 0.05  # ankles above the floor
    grounded = place[:, FEET, 1].min(axis=1) < 0.13
    assert grounded.mean() > 0.9  # but for small jumps one foot stands
    knees = 2 * np.arctan2(frames["rotation"][:, [20, 24], 0], frames["rotation"][:, [20, 24], 3])
    assert knees.min() > 0.0
    assert knees.max() < np.radians(150)
    assert np.abs(frames["origin"][:, [0, 2]]).max() < 0.6  # stays on its spot
    assert np.isfinite(frames["rotation"]).all()


def test_standing_feet_do_not_slide() -> None:
    """While both feet are down and the body does not turn, they move slower than 0.3 m/s."""
    frames = Dancer(0).frames(0, 60 * RATE)
    place = world(frames)
    turning = np.abs(np.diff(np.unwrap(frames["heading"].astype(np.float64)))) * RATE > 0.8
    down = (place[:-1, FEET, 1] < 0.1) & (place[1:, FEET, 1] < 0.1) & ~turning[:, None]
    slide = np.linalg.norm(np.diff(place[:, FEET], axis=0)[..., [0, 2]], axis=-1) * RATE
    assert np.quantile(slide[down], 0.95) < 0.3


def test_strikes_land_on_the_beat() -> None:
    """In a striking bar the hand is fastest within the quarter beat before a beat."""
    dancer = Dancer(0)
    bar = next(b for b in range(200) if dancer.bar(b).name == "strike" and dancer.bar(b).energy > 0.4)
    beat = RATE * 60 / dancer.tempo_bpm
    start = int((4 * bar + 0.6) * beat)
    frames = dancer.frames(start, int(2.8 * beat))
    speed = np.linalg.norm(np.diff(frames["position"][:, HANDS].astype(np.float64), axis=0), axis=-1)
    fastest = (start + 0.5 + speed.argmax(axis=0)) / beat
    assert np.all((np.ceil(fastest) - fastest) < 0.4)


def test_tempo_is_bounded() -> None:
    """A tempo nobody dances is refused with the range."""
    with pytest.raises(ValueError, match="30 to 240"):
        Dancer(0, 500.0)
