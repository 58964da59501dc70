"""The body at each control frame: limbs, speeds and energy."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from performers import ALL, FRAME_NS, body, play, standing, waving

from echelon_engine import _jit
from echelon_engine.kernels import hands, limb_window, motion, notes
from echelon_engine.memory import BREAK, DEVICES, LIMB_FRAME, SYNTHETIC


def limbs(state: np.void) -> np.ndarray:
    """A copy of the 27 x 8."""
    return state["limbs"].reshape(27, 8).copy()


def energy(state: np.void) -> float:
    """RMS world speed, m/s."""
    return float(state["energy"])


def test_limbs_are_the_measured_body() -> None:
    """At a source frame's own time the limbs carry its rotations, positions and angular speeds."""
    frames = waving(60, 2)
    state = body()
    seen = play(state, frames, 100, limbs)
    sign = np.sign(frames["rotation"][99, :, 3:])
    np.testing.assert_allclose(seen[99][:, :4], sign * frames["rotation"][99], atol=1e-6)
    np.testing.assert_allclose(seen[99][1:, 4:7], frames["position"][99, 1:], atol=1e-6)
    # limb 13 turns by 2 * half: angle over the last 4 frames
    half = 0.5 * np.sin(2 * np.pi * frames["time_ns"][[95, 99]] * 1e-9)
    assert seen[99][13, 7] == pytest.approx(np.tanh(2 * abs(half[1] - half[0]) * 15 / (2 * np.pi)), rel=1e-3)


def test_speeds_are_world_space() -> None:
    """A pirouette with a rigid body counts: every limb's speed is radius times turn rate."""
    frames = standing(60, 2)
    frames["heading"] = (4.0 * frames["time_ns"] * 1e-9 + np.pi) % (2 * np.pi) - np.pi
    state = body()
    play(state, frames, 110)
    radius = np.hypot(frames["position"][0, :, 0], frames["position"][0, :, 2])
    arc = 2 * np.sin(4.0 / 15 / 2) * 15  # chord over the filter's span
    np.testing.assert_allclose(np.linalg.norm(state["speed"], axis=1), radius * arc, atol=1e-3)
    assert energy(state) == pytest.approx(arc * np.sqrt(np.mean(radius**2)), rel=1e-3)
    sweep = np.tanh(4.0 * frames["position"][0, 14, 0] / 2)  # a turn to the left carries the left hand backward
    np.testing.assert_allclose(state["x"][:4], [0, -sweep, 0, sweep], atol=0.02)


def test_limbs_do_not_know_the_stage() -> None:
    """Turned about Y and moved across the floor, the same performance gives the same limbs, energy and x."""
    frames = waving(50, 3)
    turned = frames.copy()
    angle = 2.2
    turned["heading"] = (turned["heading"] + angle + np.pi) % (2 * np.pi) - np.pi
    x, z = frames["origin"][:, 0], frames["origin"][:, 2]
    turned["origin"][:, 0] = np.cos(angle) * x + np.sin(angle) * z + 3
    turned["origin"][:, 2] = -np.sin(angle) * x + np.cos(angle) * z - 2

    def look(state: np.void) -> np.ndarray:
        return np.concatenate([state["limbs"], state["x"], [state["energy"]]])

    here = np.array(play(body(), frames, 170, look))
    there = np.array(play(body(), turned, 170, look))
    np.testing.assert_allclose(there[:, :-1], here[:, :-1], atol=1e-5)
    np.testing.assert_allclose(there[:, -1], here[:, -1], atol=1e-4)
    assert np.abs(here[100:, 4]).max() > 0.05  # it did travel


def test_canonical_sign_does_not_flicker() -> None:
    """A rotation that hovers about half a turn keeps its sign; one that goes well beyond changes it once."""
    frames = standing(60, 3)
    t = frames["time_ns"] * 1e-9
    half = np.pi / 2 + 0.05 * np.sin(40 * t) + np.where(t > 2, 0.3, 0.0)
    frames["rotation"][:, 12] = np.stack([np.sin(half), 0 * t, 0 * t, np.cos(half)], 1)
    frames["rotation"][1::2, 12] *= -1  # senders' signs are free
    quaternion = np.array([q[12, :4] for q in play(body(), frames, 175, limbs)])
    flips = np.sum(np.einsum("ij,ij->i", quaternion[1:], quaternion[:-1]) < 0)
    assert flips <= 2
    assert np.all(quaternion[:, 3] > -0.1 - 1e-6)


def test_the_sign_of_a_sent_quaternion_means_nothing() -> None:
    """A sender that flips q to -q at random gives the same limbs and angular speeds, also between its frames."""
    frames = waving(50, 2)
    flipped = frames.copy()
    flipped["rotation"] *= np.random.default_rng(4).choice([-1.0, 1.0], (len(frames), 27, 1)).astype(np.float32)

    def look(state: np.void) -> np.ndarray:
        return np.concatenate([state["limbs"], state["omega"]])

    got, expected = play(body(), flipped, 110, look), play(body(), frames, 110, look)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.max(expected) > 2  # the forearm does turn


@pytest.mark.parametrize("rate_hz", [15, 30, 50, 120])
@pytest.mark.parametrize("delay_ns", [0, 40_000_000])
def test_energy_does_not_depend_on_the_source_rate(rate_hz: int, delay_ns: int) -> None:
    """One movement sampled at 15 to 120 Hz has the same energy as at 60 Hz, interpolated or extrapolated."""
    reference = np.array(play(body(), waving(60, 4), 230, energy, delay_ns))[60:220]
    got = np.array(play(body(), waving(rate_hz, 4), 230, energy, delay_ns))[60:220]
    assert got.mean() == pytest.approx(reference.mean(), rel=0.03)
    assert got.max() == pytest.approx(reference.max(), rel=0.05)


def test_late_frames_make_no_spurious_speed() -> None:
    """Frames that always arrive late (extrapolated, then corrected) give no more speed than in time."""
    frames = waving(30, 4)
    late = frames.copy()

    def run(delay_ns: int) -> np.ndarray:
        state, at, seen = body(), 0, []
        for step in range(230):
            now_ns = round(step * FRAME_NS)
            while at < len(late) and late["time_ns"][at] + delay_ns <= now_ns:
                motion.offer(state, late[at])
                at += 1
            motion.advance(state, now_ns, False, 1 / 60)
            seen.append(energy(state))
        return np.array(seen)[60:]

    assert run(45_000_000).max() <= 1.02 * run(0).max()


def test_extrapolation_goes_the_right_way_and_stops() -> None:
    """Beyond the newest frame the hand goes on for a moment, less and less, and not after 50 ms."""
    frames = standing(60, 1)
    frames["position"][:, 14, 1] += 1.2 * frames["time_ns"] * 1e-9
    state = body()
    play(state, frames, 60)
    newest_ns = int(frames["time_ns"][-1])
    heights = []
    for ahead_ms in (0, 17, 33, 50, 100):
        motion.advance(state, newest_ns + ahead_ms * 1_000_000, False, 1 / 60)
        heights.append(float(state["position"][14, 1]))
    steps = np.diff(heights)
    assert steps[0] > steps[1] > steps[2] > 0
    assert steps[3] == pytest.approx(0, abs=1e-6)
    assert heights[-1] - heights[0] < 1.2 * 0.05


def test_a_gap_holds_then_relaxes() -> None:
    """A silent sender: speeds end within 0.2 s, the pose holds for a second, then drifts to neutral without speed."""
    state = body()
    frames = waving(60, 2)
    play(state, frames, 120)
    assert state["present"]
    assert not state["held"]
    held, present, values, pose = [], [], [], []
    for step in range(120, 900):
        motion.advance(state, round(step * FRAME_NS), False, 1 / 60)
        held.append(bool(state["held"]))
        present.append(bool(state["present"]))
        values.append(energy(state))
        pose.append(limbs(state))
    assert all(v == 0 for v in values[13:])
    assert all(held[13:])
    assert present[50]
    assert not present[62]
    np.testing.assert_array_equal(pose[15][1:, :7], pose[55][1:, :7])
    far = np.abs(pose[55][:, :7] - limbs(_neutral())[:, :7]).max()
    near = np.abs(pose[-1][1:, :7] - limbs(_neutral())[1:, :7]).max()
    assert far > 0.1
    assert near < 0.01
    steps = np.abs(np.diff(np.array(pose)[:, 1:, :7], axis=0)).max()
    assert steps < 0.1
    assert not state["moved"]


def _neutral() -> np.void:
    state = body()
    motion.advance(state, 0, False, 1 / 60)
    return state


def test_after_a_gap_there_is_no_jump_of_speed() -> None:
    """A body that reappears two metres away, by gap or by BREAK, has not moved there."""
    for flags, pause_s in ((0, 0.6), (BREAK, 0.0)):
        frames = standing(60, 2)
        frames["time_ns"][60:] += int(pause_s * 1e9)
        frames["origin"][60:, 0] += 2
        frames["position"][60:, 14, 1] += 0.8
        frames["flags"][60] = flags
        seen = np.array(play(body(), frames, 150, energy))
        assert seen.max() == 0


def test_a_recentred_root_is_no_movement() -> None:
    """A sender that moves its origin, or turns its heading, from one frame to the next makes no energy."""
    frames = standing(60, 2)
    frames["origin"][60:, 0] += 1.5
    frames["heading"][90:] = 2
    assert max(play(body(), frames, 118, energy)) < 1e-4


def test_a_somersault_is_movement() -> None:
    """Upside down the heading flips by half a turn while the body goes on: energy and x stay as they were."""
    frames = waving(60, 2)
    flipped = frames.copy()
    flipped["heading"][60:] += np.pi
    flipped["position"][60:, :, ::2] *= -1

    def look(state: np.void) -> list[float]:
        return [energy(state), *np.abs(state["x"][:4])]

    np.testing.assert_allclose(play(body(), flipped, 110, look), play(body(), frames, 110, look), atol=2e-3)


def test_synthetic_frames_never_count() -> None:
    """A pose made up by a bridge moves the limbs but has no speed, no `moved` and is `held`."""
    frames = waving(60, 2)
    frames["flags"] = SYNTHETIC
    state = body()
    seen = play(state, frames, 110, lambda s: (energy(s), int(s["moved"]), int(s["held"]), int(s["present"])))
    assert set(seen) == {(0.0, 0, 1, 0)}
    assert np.abs(limbs(state) - limbs(_neutral())).max() > 0.1


def test_a_still_body_has_no_energy() -> None:
    """Standing without noise is exactly zero; a standing sensor's jitter stays far below the idle threshold."""
    frames = standing(50, 3)
    assert max(play(body(), frames, 170, energy)) == 0
    noise = np.random.default_rng(1).normal(0, np.radians(0.018), (len(frames), 27, 1))
    frames["position"] += noise * 0.6
    assert max(play(body(), frames, 170, energy)) < 0.02


def test_bad_bones_keep_their_last_value() -> None:
    """A NaN, an infinity or a quaternion of length 3 refuses that bone alone: held, invalid, counted."""
    frames = waving(60, 2)
    frames["rotation"][60, 13, 0] = np.nan
    frames["position"][60, 14, 1] = np.inf
    frames["rotation"][60, 20] *= 3
    frames["origin"][60, 0] = np.nan
    state = body()
    seen = np.array(play(state, frames, 118, energy))
    assert np.isfinite(seen).all()
    assert state["window"]["refused_bones"] == 4
    clean = np.array(play(body(), waving(60, 2), 118, energy))
    assert np.abs(seen - clean).max() < 0.25
    np.testing.assert_allclose(seen[70:], clean[70:], rtol=1e-5)
    play(state := body(), frames[:61], 61)
    slot = 60 & limb_window.MASK
    assert state["window"]["valid"][slot] == ALL & ~(1 << 13) & ~(1 << 14) & ~(1 << 20)
    np.testing.assert_array_equal(state["limbs"][8 * 14 + 4 : 8 * 14 + 7], frames["position"][59, 14])


def test_a_bone_that_was_away_does_not_move_by_returning() -> None:
    """An unmeasured hand that comes back elsewhere after half a second has no speed."""
    frames = standing(60, 2)
    frames["valid"][30:60] = ALL & ~(1 << 13) & ~(1 << 14)
    frames["position"][60:, 14, 1] += 0.4
    state = body()
    assert max(play(state, frames, 110, energy)) == 0
    assert state["hand_valid"][0]
    assert state["x_valid"] == 63


def test_late_and_repeated_frames_are_refused() -> None:
    """A frame at or before the newest time changes nothing and is counted."""
    frames = waving(60, 1)
    mixed = np.concatenate([frames[:40], frames[39:40], frames[20:22], frames[40:]])
    state, clean = body(), body()
    seen = play(state, mixed, 55, limbs)
    np.testing.assert_array_equal(seen, play(clean, frames, 55, limbs))
    assert state["window"]["refused_frames"] == 3


def test_a_restarted_clock_begins_anew() -> None:
    """A BREAK frame with an earlier time is accepted and the window starts from it."""
    state = body()
    play(state, waving(60, 1), 50)
    frames = waving(60, 1)
    frames["flags"][0] = BREAK
    for frame in frames[:2]:
        assert motion.offer(state, frame)
    motion.advance(state, int(frames["time_ns"][1]), False, 1 / 60)
    np.testing.assert_allclose(state["position"], frames["position"][1], atol=1e-6)


def test_focus_on_another_performer_has_no_speed() -> None:
    """After `forget` the next performer's body is taken as it is, at its own times, without speed across."""
    state = body()
    play(state, waving(60, 1), 60)
    motion.forget(state)
    frames = standing(60, 1)
    frames["origin"][:, 0] = 1
    assert max(play(state, frames, 30, energy)) == 0


def test_frozen_keeps_the_pose() -> None:
    """Frozen: limbs as they were, no speed, energy fades within half a second, and motion is back when released."""
    frames = waving(60, 3)
    state = body()
    play(state, frames, 60)
    pose, before = limbs(state), energy(state)
    seen = play(state, frames, 30, energy, start=60, frozen=True)
    assert before > seen[0] > seen[5] > 0
    assert seen[29] < 0.02 * before
    np.testing.assert_array_equal(limbs(state)[:, :7], pose[:, :7])
    assert not state["speed"].any()
    motion.advance(state, round(90 * FRAME_NS), False, 1 / 60)


def test_moved_and_arrival_follow_the_source() -> None:
    """`moved` is true as often as the source sends; `arrival_ns` is the newest frame's."""
    frames = waving(15, 4)
    state = body()
    seen = play(state, frames, 220, lambda s: int(s["moved"]))
    assert sum(seen) == pytest.approx(55, abs=2)
    assert int(state["arrival_ns"]) == int(frames["time_ns"][np.searchsorted(frames["time_ns"], 219 * FRAME_NS)]) + 1


def test_a_flood_of_frames_keeps_the_window_wide() -> None:
    """A thousand frames a second leave energy as it is."""
    reference = np.array(play(body(), waving(60, 2), 110, energy))
    flood = np.array(play(body(), waving(1000, 2), 110, energy))
    np.testing.assert_allclose(flood[30:], reference[30:], rtol=0.03)


def test_motion_state_x() -> None:
    """x holds the hands' up and forward velocities by scale, and the lean of the torso."""
    frames = standing(60, 2)
    t = frames["time_ns"] * 1e-9
    frames["position"][:, 14, 1] += 0.8 * t
    frames["position"][:, 18, 2] -= 0.5 * t
    lean = np.radians(20)
    torso = frames["position"][0, 7]
    frames["position"][:, 7] = [0, np.cos(lean) * torso[1], np.sin(lean) * torso[1]]
    state = body()
    play(state, frames, 100)
    expected = [np.tanh(0.4), 0, 0, np.tanh(-0.25), np.tanh(20 / 30), 0]
    np.testing.assert_allclose(state["x"], expected, atol=1e-4)
    assert state["x_valid"] == 63
    frames["valid"] &= ~np.uint32((1 << 14) | (1 << 17) | (1 << 18) | (1 << 7))  # the left forearm places its hand
    play(state := body(), frames, 100)
    assert state["x_valid"] == 3
    np.testing.assert_allclose(state["x"], [np.tanh(0.4), 0, 0, 0, 0, 0], atol=1e-4)


def test_devices_play_without_a_body() -> None:
    """A push upwards of a phone in the left hand moves x, leaks away, and its velocity estimate is the energy."""
    devices = np.zeros(1, DEVICES)[0]
    devices["present"][0] = 1
    devices["latent"][0, 6:9] = (0, 0, -1)  # lying on its back: up is +Z
    state = body()
    rows = []
    for step in range(240):
        devices["time_ns"][0] = now_ns = round(step * FRAME_NS)
        devices["latent"][0, 2] = 8.0 if step < 6 else 0.0
        devices["latent"][0, 9:12] = (0.0, 0.0, 0.6 if step < 60 else 0.0)
        motion.advance(state, now_ns, False, 1 / 60)
        hands.hands(state, 2.0, 1 / 60)
        hands.devices_in_hands(state, devices, 2.0, now_ns, 1 / 60)
        rows.append([*state["x"], energy(state), state["hand_speed"][0]])
    x = np.array(rows)
    assert x[5, 0] == pytest.approx(np.tanh(8 * 0.1 / 2), rel=0.15)
    assert abs(x[5, 1]) < 1e-6
    assert x[120, 0] < 0.05 * x[5, 0]
    assert state["x_valid"] == 3
    assert x[30, 6] == pytest.approx(0.6)
    assert x[100, 6] == 0
    hands.hands(state, 2.0, 1 / 60)
    hands.devices_in_hands(state, devices, 2.0, round(400 * FRAME_NS), 1 / 60)
    assert state["x_valid"] == 0


@settings(deadline=None, max_examples=25)
@given(data=st.data(), seed=st.integers(0, 2**31))
def test_anything_in_gives_bounded_numbers_out(data: st.DataObject, seed: int) -> None:
    """Random bytes for frames, in any order and at any time, leave every result finite and bounded."""
    random = np.random.default_rng(seed)
    frames = np.frombuffer(random.bytes(40 * LIMB_FRAME.itemsize), LIMB_FRAME).copy()
    if data.draw(st.booleans()):
        frames["rotation"] = random.normal(0, 1, (40, 27, 4))
        frames["position"] = random.normal(0, data.draw(st.sampled_from([0.1, 10, 1e30])), (40, 27, 3))
    frames["time_ns"] = np.cumsum(random.integers(-5_000_000, 60_000_000, 40))
    frames["flags"] %= 8
    state, played = body(), np.zeros(1, notes.NOTES)[0]
    for step, frame in enumerate(frames):
        motion.offer(state, frame)
        motion.advance(
            state, int(frame["time_ns"]) + int(random.integers(-100, 100)) * 1_000_000, step % 9 == 8, 1 / 60
        )
        hands.hands(state, 2.0, 1 / 60)
        notes.step(played, state, 48, int(random.integers(0, 4096)), 2.0, True, 1 / 60)
        assert np.all(np.abs(state["limbs"]) <= 4.001)
        assert np.all(np.abs(state["x"]) <= 1)
        for name in ("omega", "speed", "energy", "hand_speed"):
            assert np.all(np.isfinite(state[name])), name
        assert 0 <= played["drive"] <= 1


def test_kernels_do_not_allocate() -> None:
    """No kernel of this part has an allocation in its code."""
    state, played, devices = body(), np.zeros(1, notes.NOTES)[0], np.zeros(1, DEVICES)[0]
    options = {**_jit.OPTIONS, "cache": False}
    calls = [
        (limb_window.offer, (state, waving(60, 1)[0])),
        (motion.advance, (state, 0, False, 1 / 60)),
        (hands.hands, (state, 2.0, 1 / 60)),
        (hands.devices_in_hands, (state, devices, 2.0, 0, 1 / 60)),
        (notes.step, (played, state, 48, 2741, 2.0, True, 1 / 60)),
    ]
    for function, arguments in calls:
        fresh = numba.njit(**options)(function.py_func)
        fresh(*arguments)
        (code,) = fresh.inspect_llvm().values()
        assert "NRT_MemInfo_alloc" not in code, function.__name__
        assert "NRT_Allocate" not in code, function.__name__
