"""Who plays: strikes, bows and the level that follows energy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import MOTION, needs_shared
from performers import FRAME_NS, body, standing
from scipy.stats import spearmanr

from echelon_engine.kernels import hands, motion, notes
from echelon_engine.memory import NOTE_OFF, NOTE_ON

MAJOR = 0b101010110101
Event = tuple[int, int, int, float, float]  # control frame, kind, key, pitch, velocity


def perform(
    frames: np.ndarray, steps: int, root: int = 48, scale: int = MAJOR, playing: bool = True
) -> tuple[list[Event], np.ndarray]:
    """Play frames through body and notes; return the events and, per control frame, energy, drive and both bows."""
    state, played = body(), np.zeros(1, notes.NOTES)[0]
    events: list[Event] = []
    rows = []
    at = 0
    for step in range(steps):
        target_ns = round(step * FRAME_NS)
        while at < len(frames) and motion.wants(state, target_ns):
            motion.offer(state, frames[at])
            at += 1
        motion.advance(state, target_ns, False, 1 / 60)
        hands.hands(state, 2.0, 1 / 60)
        notes.step(played, state, root, scale, 2.0, playing, 1 / 60)
        fields = played["event"][: played["count"]][["kind", "key", "pitch", "velocity"]]
        events += [(step, *event.item()) for event in fields]
        rows.append([state["energy"], played["drive"], *played["bow"]])
    return events, np.array(rows)


def strikes(events: list[Event]) -> list[Event]:
    """Those that are notes of a struck string."""
    return [event for event in events if event[1] == NOTE_ON and event[2] < notes.BOW_KEY]


def hitting(times_s: list[float], sizes_m: list[float], seconds: float, rate_hz: float = 60) -> np.ndarray:
    """A left hand that strikes down and up in turn, by `sizes_m` within 0.2 s around each time, and rests between."""
    frames = standing(rate_hz, seconds)
    t = frames["time_ns"] * 1e-9
    height = np.full_like(t, 0.5)
    for number, (time_s, size_m) in enumerate(zip(times_s, sizes_m, strict=True)):
        height -= (-1) ** number * size_m * _smooth((t - time_s + 0.1) / 0.2)
    frames["position"][:, 14, 1] = height
    return frames


def _smooth(u: np.ndarray) -> np.ndarray:
    u = np.clip(u, 0, 1)
    return u * u * (3 - 2 * u)


@pytest.mark.parametrize("rate_hz", [30, 50, 60, 120])
def test_every_hit_is_one_note_in_time(rate_hz: float) -> None:
    """Each hit is heard once, within 60 ms after its fastest moment, harder hits louder."""
    times, sizes = [1.0, 1.8, 2.6, 3.4], [0.2, 0.35, 0.3, 0.5]
    events, _ = perform(hitting(times, sizes, 4, rate_hz), 230)
    found = strikes(events)
    assert len(found) == len(times)
    for event, time_s in zip(found, times, strict=True):
        assert 0 <= event[0] / 60 - time_s < 0.06
    velocity = [event[4] for event in found]
    assert np.argsort(velocity).tolist() == np.argsort(sizes).tolist()


def test_nobody_strikes_by_standing() -> None:
    """Ten seconds of a still body with a sensor's jitter play nothing and drive nothing."""
    frames = standing(60, 10)
    frames["position"] += np.random.default_rng(0).normal(0, np.radians(0.018) * 0.6, frames["position"].shape)
    events, rows = perform(frames, 590)
    assert not events
    assert rows[:, 1].max() < 0.02
    assert not rows[:, 2:].any()


def test_shaking_is_no_machine_gun() -> None:
    """Hands that tremble at 9 and 10 Hz, one of them beside large gestures, strike at most 5 times a second in all."""
    frames = standing(60, 8)
    t = frames["time_ns"] * 1e-9
    frames["position"][:, 14, 1] += 0.3 * np.sin(2 * np.pi * 0.7 * t) + 0.01 * np.sin(2 * np.pi * 9 * t)
    frames["position"][:, 18, 1] += 0.03 * np.sin(2 * np.pi * 10 * t)
    events, _ = perform(frames, 470)
    assert len(strikes(events)) <= 5 * 8


def test_a_lost_hand_has_not_struck() -> None:
    """A sender that falls silent in full swing makes no note, and what sounded is let go."""
    frames = standing(60, 1)
    frames["position"][:, 14, 1] += 1.5 * frames["time_ns"] * 1e-9
    events, rows = perform(frames, 240)
    assert not strikes(events)
    assert sum(1 if event[1] == NOTE_ON else -1 for event in events) == 0
    assert rows[50, 2] > 0.3
    assert rows[-1, 2] == 0


def test_every_note_is_let_go() -> None:
    """Each key that begins ends, also when motion no longer may play."""
    frames = hitting([0.8, 1.4, 2.0], [0.3, 0.5, 0.4], 3)
    events, _ = perform(frames, 240)
    assert len(strikes(events)) == 3
    sounding = set()
    for _, kind, key, _, _ in events:
        assert (key in sounding) == (kind == NOTE_OFF)
        sounding ^= {key}
    assert not sounding
    assert not perform(frames, 170, playing=False)[0]


def test_height_is_pitch() -> None:
    """From waist to overhead a hit walks two octaves of the scale, never outside of it."""
    pitches = []
    for lift in np.linspace(-0.5, 0.9, 9):
        frames = hitting([1.0], [0.3], 2)
        frames["position"][:, 14, 1] += lift
        pitches += [event[3] for event in strikes(perform(frames, 100, 50, MAJOR)[0])]
    assert len(pitches) == 9
    assert pitches == sorted(pitches)
    assert pitches[0] == 50
    assert pitches[-1] == 74
    assert all((MAJOR >> int(pitch - 50) % 12) & 1 for pitch in pitches)


def test_both_hands_on_one_degree_are_one_note() -> None:
    """A clap of two hands at one height is one note; at two heights it is two."""
    for lift, expected in ((0.0, 1), (0.4, 2)):
        frames = hitting([1.0], [0.4], 2)
        frames["position"][:, 18, 1] = frames["position"][:, 14, 1] + lift
        assert len(strikes(perform(frames, 100)[0])) == expected


def test_held_motion_bows_and_stillness_lets_go() -> None:
    """Steady circling starts a bow whose force rises with speed; it ends soon after the hand rests."""
    frames = standing(60, 6)
    t = np.minimum(frames["time_ns"] * 1e-9, 4)
    turns = np.cumsum(np.where(t < 2, 3.0, np.where(t < 4, 7.0, 0.0)) / 60)
    frames["position"][:, 14, 2] += 0.2 * np.sin(turns)
    frames["position"][:, 14, 0] += 0.2 * np.cos(turns)
    events, rows = perform(frames, 350)
    bows = [event for event in events if event[2] == notes.BOW_KEY]
    assert [event[1] for event in bows] == [NOTE_ON, NOTE_OFF]
    assert bows[0][0] < 30
    assert 240 < bows[1][0] < 290
    assert 0.2 < rows[90, 2] < rows[200, 2] < 0.7
    assert np.abs(np.diff(rows[40:220, 2])).max() < 0.1


def test_sound_answers_in_the_frame_of_the_movement() -> None:
    """Drive rises in the first control frame after a still body begins to move, and falls when it rests."""
    frames = standing(60, 4)
    t = frames["time_ns"] * 1e-9
    frames["position"][:, 14, 1] += 0.8 * np.clip(t - 1, 0, 0.5)
    _, rows = perform(frames, 230)
    assert rows[60, 1] == 0
    assert rows[61, 1] > 0
    assert rows[85, 1] > 0.05
    assert rows[200, 1] < 1e-3


@needs_shared
@pytest.mark.parametrize("name", ["ad-rokoko-jesse_dance", "ad-fair1-dab", "mocopi-mobile-arm-raise-turn"])
def test_real_dances(name: str) -> None:
    """Recorded people strike 0.5 to 5.5 times a second, and drive ranks 400 ms windows as energy does."""
    files = pytest.importorskip("echelon_bridges.motion.files")
    clip = files.load(MOTION / "bvh" / f"{name}.bvh")
    steps = int(clip.duration_s * 60)
    events, rows = perform(clip.frames, steps)
    moving = np.sum(rows[:, 0] > 0.1) / 60
    assert 0.5 < len(strikes(events)) / moving < 5.5
    windows = rows[: steps // 24 * 24].reshape(-1, 24, 4).mean(1)
    assert spearmanr(windows[:, 0], windows[:, 1]).statistic > 0.8


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_any_speeds_give_bounded_events(seed: int) -> None:
    """Whatever the hands report, events are few, in range and balanced, forces and drive within 0..1."""
    random = np.random.default_rng(seed)
    state, played = body(), np.zeros(1, notes.NOTES)[0]
    sounding: set[int] = set()
    for _ in range(200):
        state["hand_valid"] = random.integers(0, 2, 2)
        state["hand_speed"] = random.exponential(10 ** random.uniform(-2, 2), 2)
        state["hand_height"] = random.uniform(0, 1, 2)
        state["energy"] = random.exponential(2)
        notes.step(played, state, 60, int(random.integers(0, 4096)), 2.0, bool(random.integers(0, 8)), 1 / 60)
        for event in played["event"][: played["count"]]:
            key = int(event["key"])
            if event["kind"] == NOTE_ON:
                assert 36 <= event["pitch"] <= 96
                assert 0 < event["velocity"] <= 1
                sounding.add(key)
            else:
                assert key in sounding
                sounding.discard(key)
        assert played["count"] <= 8
        assert np.all((played["bow"] >= 0) & (played["bow"] <= 1))
        assert 0 <= played["drive"] <= 1
