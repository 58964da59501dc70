"""Commitment and tempo: the promises of spec/equilibrium.md, over amplitudes, shapes, phases and seeds."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_engine import _jit
from echelon_engine.kernels import commitment
from echelon_engine.kernels.commitment import COMMITMENT, SLOW_AVERAGE_S

SECOND = 60
SHAPES = {
    "cosine": lambda x: 0.5 + 0.5 * np.cos(x),
    "sine": lambda x: np.abs(np.cos(x / 2)),
    "triangle": lambda x: np.abs((x / np.pi) % 2 - 1),
    "peaks": lambda x: np.exp(4 * (np.cos(x) - 1)),
}
RESULTS = ("c", "slow_average", "transition_intensity", "internal_tempo_bpm", "phase", "explained")


@_jit.kernel
def play(out: Any, state: Any, energy: Any, measured: Any) -> None:
    """Step through an energy and keep the six results of every frame."""
    for i in range(energy.shape[0]):
        commitment.step(state, energy[i], measured[i])
        out[i, 0] = state.c
        out[i, 1] = state.slow_average
        out[i, 2] = state.transition_intensity
        out[i, 3] = state.internal_tempo_bpm
        out[i, 4] = state.phase
        out[i, 5] = state.explained


def follow(energy: Any, measured: Any = None, state: Any = None) -> dict[str, Any]:
    """Return the results over time as arrays."""
    energy = np.ascontiguousarray(energy, np.float64)
    measured = np.ones(len(energy), np.bool_) if measured is None else measured
    state = np.zeros(1, COMMITMENT)[0] if state is None else state
    out = np.zeros((len(energy), len(RESULTS)), np.float32)
    play(out, state, energy, measured)
    return dict(zip(RESULTS, out.T, strict=True))


def beats(bpm: Any, phase: float = 0.0) -> Any:
    """Return the phase in radians of every control frame."""
    return 2 * np.pi * (np.cumsum(bpm) / 3600 + phase)


@pytest.mark.parametrize("level", [0.0, 0.01, 0.03])
def test_a_still_body_is_not_committed(level: float) -> None:
    """Sensor noise up to the still threshold leaves c under 0.1, at once and for a minute."""
    noise = level * np.abs(np.random.default_rng(0).standard_normal(60 * SECOND))
    assert follow(noise)["c"].max() < 0.1


@pytest.mark.parametrize("amplitude", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_periodic_energy_commits_with_its_tempo_within_four_seconds(shape: str, amplitude: float) -> None:
    """At 40 to 180 peaks a minute c > 0.8 and the tempo is within 2 % from 4 s on, at any start phase."""
    random = np.random.default_rng(int(10 * amplitude))
    for bpm in (40, 47, 60, 75, 90, 110, 128, 150, 180):
        for phase in random.random(3):
            found = follow(amplitude * SHAPES[shape](beats(np.full(8 * SECOND, bpm), phase)))
            assert found["c"][4 * SECOND :].min() > 0.8, (bpm, phase)
            assert np.abs(found["internal_tempo_bpm"][4 * SECOND :] / bpm - 1).max() < 0.02, (bpm, phase)


def test_ten_percent_of_noise_leaves_rhythm_and_tempo() -> None:
    """A noisy sensor costs accuracy, not the lock."""
    random = np.random.default_rng(3)
    for bpm in (40, 60, 90, 120, 180):
        wave = SHAPES["cosine"](beats(np.full(8 * SECOND, bpm), random.random()))
        found = follow(np.abs(wave + 0.1 * random.standard_normal(len(wave))))
        assert found["c"][4 * SECOND :].min() > 0.8
        assert np.abs(found["internal_tempo_bpm"][4 * SECOND :] / bpm - 1).max() < 0.03


def test_alternating_strong_and_weak_peaks_report_the_tempo_or_its_half() -> None:
    """Left and right steps of unequal weight: either reading is right, nothing between."""
    for bpm in (80, 100, 120, 160):
        x = beats(np.full(8 * SECOND, bpm))
        tempo = follow((0.5 + 0.5 * np.cos(x)) * (1 + 0.3 * np.cos(x / 2)))["internal_tempo_bpm"][4 * SECOND :]
        ratio = tempo / bpm
        assert np.all((np.abs(ratio - 1) < 0.02) | (np.abs(ratio - 0.5) < 0.01))


@pytest.mark.parametrize(("before", "after"), [(90, 120), (120, 90), (60, 150), (100, 110)])
def test_a_change_of_tempo_is_followed_within_four_seconds(before: int, after: int) -> None:
    """The tempo is within 4 % of the new one 4 s after a sudden change."""
    for shape in SHAPES.values():
        found = follow(shape(beats(np.repeat((before, after), 8 * SECOND))))
        assert abs(found["internal_tempo_bpm"][12 * SECOND] / after - 1) < 0.04


def test_phase_zero_is_the_peak_of_energy_and_phase_runs_with_the_tempo() -> None:
    """After lock the phase is within 0.08 beats of the energy's own, and never runs backwards."""
    for bpm in (50, 100, 170):
        x = beats(np.full(10 * SECOND, bpm), 0.37)
        phase = follow(0.6 + 0.5 * np.cos(x))["phase"][5 * SECOND :].astype(float)
        truth = (x / (2 * np.pi))[5 * SECOND :]
        assert np.abs((phase - truth + 0.5) % 1 - 0.5).max() < 0.08
        assert np.diff(np.unwrap(2 * np.pi * phase)).min() > 0.0


@pytest.mark.parametrize("peak", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["step", "ramp", "bell"])
def test_a_large_gesture_out_of_stillness_is_a_spike(kind: str, peak: float) -> None:
    """c rises by at least 0.4 within 250 ms, and the transition shows it above the slow average."""
    k = np.arange(SECOND)
    gesture = {
        "step": np.ones(SECOND),
        "ramp": np.minimum(k / 24, 1.0),
        "bell": 0.5 - 0.5 * np.cos(2 * np.pi * k / 48),
    }[kind]
    found = follow(np.concatenate([np.full(5 * SECOND, 0.01), peak * gesture]))
    rise = found["c"][5 * SECOND : 5 * SECOND + 15].max() - found["c"][5 * SECOND - 1]
    assert rise >= 0.4
    assert found["transition_intensity"][5 * SECOND : 5 * SECOND + 30].max() > 0.25


def test_white_noise_is_never_a_rhythm() -> None:
    """c stays under 0.6 for half-normal and uniform energies of any scale, from rest or at once."""
    for seed in range(60):
        random = np.random.default_rng(seed)
        noise = (np.abs(random.standard_normal(20 * SECOND)), random.random(20 * SECOND))[seed % 2]
        noise *= (0.1, 0.5, 2.0, 5.0)[seed // 2 % 4]
        energy = np.concatenate([np.zeros(2 * SECOND), noise]) if seed % 3 else noise
        assert follow(energy)["c"].max() < 0.6, seed


def test_the_rhythm_ends_soon_after_the_body_stops() -> None:
    """Three seconds into stillness c is under 0.1 again, and the tempo is remembered."""
    wave = SHAPES["cosine"](beats(np.full(8 * SECOND, 96)))
    found = follow(np.concatenate([wave, np.zeros(3 * SECOND)]))
    assert found["c"][-1] < 0.1
    assert abs(found["internal_tempo_bpm"][-1] / 96 - 1) < 0.02


def test_energy_that_was_not_measured_is_not_looked_at() -> None:
    """A held pose with any energy value gives the same results, and commitment fades."""
    wave = SHAPES["cosine"](beats(np.full(8 * SECOND, 96)))
    measured = np.repeat((True, False), (8 * SECOND, 5 * SECOND))
    quiet = follow(np.concatenate([wave, np.zeros(5 * SECOND)]), measured)
    loud = follow(np.concatenate([wave, np.full(5 * SECOND, np.nan)]), measured)
    for name in RESULTS:
        np.testing.assert_array_equal(quiet[name], loud[name])
    assert quiet["c"][-1] < 0.1


@pytest.mark.parametrize("every", [2, 4])
def test_a_slower_sensor_is_followed_too(every: int) -> None:
    """A stream of 30 or 15 Hz, measured in every second or fourth control frame, keeps tempo and commitment."""
    energy = SHAPES["cosine"](beats(np.full(10 * SECOND, 100)))
    found = follow(energy, np.arange(len(energy)) % every == 0)
    assert found["c"][5 * SECOND :].min() > 0.8
    assert np.abs(found["internal_tempo_bpm"][5 * SECOND :] / 100 - 1).max() < 0.02


def test_nan_a_gap_and_a_glitch_leave_no_trace() -> None:
    """After NaN, 5 s without measurements and one frame of 100 m/s it is finite and soon finds the rhythm again."""
    x = beats(np.full(24 * SECOND, 110))
    energy = SHAPES["cosine"](x)
    measured = np.ones(len(energy), np.bool_)
    energy[300:310] = np.nan
    energy[400] = 100.0
    energy[420] = np.inf
    energy[430] = -3.0
    measured[600:900] = False
    state = np.zeros(1, COMMITMENT)[0]
    found = follow(energy, measured, state)
    assert all(np.isfinite(found[name]).all() for name in RESULTS)
    assert state["refused"] == 13
    assert found["c"][440:600].min() > 0.8
    assert found["c"][1140:].min() > 0.8
    assert np.abs(found["internal_tempo_bpm"][1140:] / 110 - 1).max() < 0.02


def test_the_slow_average_has_the_stated_time_constant() -> None:
    """It is a one-pole average of c with 2 s, checked against a float64 reference."""
    found = follow(SHAPES["peaks"](beats(np.full(12 * SECOND, 70))))
    gain = 1 - np.exp(-1 / 60 / SLOW_AVERAGE_S)
    average, expected = 0.0, []
    for c in found["c"].astype(float):
        average += gain * (c - average)
        expected.append(average)
    np.testing.assert_allclose(found["slow_average"], expected, atol=1e-4)
    excess = np.maximum(found["c"].astype(float) - expected, 0)
    np.testing.assert_allclose(found["transition_intensity"], excess, atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(), st.booleans(), st.integers(1, 90)), min_size=1, max_size=20))
def test_results_are_bounded_for_any_input(runs: list[tuple[float, bool, int]]) -> None:
    """Any energies, measured or not, give finite results inside their ranges."""
    energy = np.concatenate([np.full(length, value) for value, _, length in runs])
    measured = np.concatenate([np.full(length, flag) for _, flag, length in runs])
    found = follow(energy, measured)
    assert all(np.isfinite(found[name]).all() for name in RESULTS)
    assert found["c"].min() >= 0.0
    assert found["c"].max() <= 1.0
    assert found["phase"].min() >= 0.0
    assert found["phase"].max() < 1.0
    assert found["internal_tempo_bpm"].max() < 300.0


def test_commitment_allocates_nothing() -> None:
    """No allocation call in the compiled code."""
    step = numba.njit(**{**_jit.OPTIONS, "cache": False})(commitment.step.py_func)
    step(np.zeros(1, COMMITMENT)[0], 0.5, True)
    code = "".join(step.inspect_llvm().values())
    assert "NRT_MemInfo_alloc" not in code
    assert "NRT_Allocate" not in code
