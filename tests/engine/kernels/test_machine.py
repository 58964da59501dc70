"""The state machine: who becomes what when, the gate's pull, and the fade of Idle."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_engine import _jit
from echelon_engine.kernels import machine
from echelon_engine.kernels.machine import ACTIVE, IDLE, MACHINE, TRANSITIONING, WARMUP
from echelon_engine.memory import ENGINE_STATES


def fresh() -> Any:
    """Return a new machine."""
    return np.zeros(1, MACHINE)[0]


def run(
    state: Any,
    frames: int,
    *,
    moved: bool = True,
    energy: float = 0.5,
    c: float = 0.5,
    slow: float = 0.5,
    idle_seconds: float = 5.0,
) -> None:
    """Step `state` so many control frames with the same input."""
    for _ in range(frames):
        machine.step(state, moved, energy, c, slow, idle_seconds)


def active() -> Any:
    """Return a machine that is past its warmup."""
    state = fresh()
    run(state, 60)
    assert state["state"] == ACTIVE
    return state


def test_nothing_happens_before_the_first_motion_frame() -> None:
    """Without motion the engine stays idle, frozen and silent."""
    state = fresh()
    run(state, 600, moved=False)
    assert (state["state"], state["frozen"], state["level"], state["bias"]) == (IDLE, 1, 0.0, 0.0)


def test_the_first_motion_frame_ever_begins_the_warmup() -> None:
    """Even a still body's first frame leaves Idle."""
    state = fresh()
    run(state, 1, energy=0.0)
    assert state["state"] == WARMUP
    assert state["frozen"] == 0
    assert state["bias"] == 1.0


def test_the_warmup_pulls_the_gate_less_and_less_for_24_frames() -> None:
    """b = 1 - n/24, then Active with b = 0."""
    state = fresh()
    biases = []
    for _ in range(24):
        run(state, 1)
        assert state["state"] == WARMUP
        biases.append(float(state["bias"]))
    np.testing.assert_allclose(biases, 1.0 - np.arange(24) / 24.0, atol=1e-6)
    run(state, 1)
    assert state["state"] == ACTIVE
    assert state["bias"] == 0.0


def test_a_spike_of_commitment_is_a_transition_until_it_settles() -> None:
    """In above 0.25, b follows the excess, out only under 0.1."""
    state = active()
    run(state, 1, c=0.74, slow=0.5)
    assert state["state"] == ACTIVE
    run(state, 1, c=0.9, slow=0.5)
    assert state["state"] == TRANSITIONING
    assert state["bias"] == pytest.approx(0.4)
    run(state, 1, c=0.65, slow=0.5)
    assert state["state"] == TRANSITIONING
    assert state["bias"] == pytest.approx(0.15)
    run(state, 1, c=0.59, slow=0.5)
    assert state["state"] == ACTIVE
    assert state["bias"] == 0.0


@pytest.mark.parametrize("still", [{"moved": False}, {"energy": 0.029}])
def test_five_seconds_without_motion_are_idle(still: dict[str, Any]) -> None:
    """No packets and a body that stands still both end in Idle after 300 frames, not earlier."""
    state = active()
    run(state, 299, **still)
    assert state["state"] == ACTIVE
    run(state, 1, **still)
    assert state["state"] == IDLE
    assert state["frozen"] == 1


def test_the_time_to_idle_is_configurable_and_starts_again_with_each_motion() -> None:
    """One moving frame resets the clock."""
    state = active()
    run(state, 119, moved=False, idle_seconds=2.0)
    run(state, 1, idle_seconds=2.0)
    run(state, 119, moved=False, idle_seconds=2.0)
    assert state["state"] == ACTIVE
    run(state, 1, moved=False, idle_seconds=2.0)
    assert state["state"] == IDLE


def test_idle_resumes_above_the_upper_threshold_only_and_is_active_at_once() -> None:
    """Hysteresis: 0.05 m/s keeps Idle, 0.09 m/s ends it without a second warmup."""
    state = active()
    run(state, 400, energy=0.0)
    run(state, 60, energy=0.05)
    assert state["state"] == IDLE
    run(state, 1, energy=0.09)
    assert state["state"] == ACTIVE


def test_energy_without_a_motion_frame_is_not_believed() -> None:
    """A held pose that claims to move does not wake the engine."""
    state = active()
    run(state, 300, moved=False, energy=3.0)
    assert state["state"] == IDLE
    run(state, 60, moved=False, energy=3.0)
    assert state["state"] == IDLE


def test_idle_fades_the_sound_over_seconds_and_back_quickly() -> None:
    """The level is monotonic, takes seconds down, a few frames up, and never jumps."""
    state = active()
    run(state, 300, moved=False)
    levels = [float(state["level"])]
    while levels[-1] > 0.0:
        run(state, 1, moved=False)
        levels.append(float(state["level"]))
        assert len(levels) < 1000
    assert len(levels) > 120
    assert np.all(np.diff(levels) <= 0.0)
    assert np.abs(np.diff(levels)).max() < 0.02
    rise = [0.0]
    while rise[-1] < 1.0:
        run(state, 1)
        rise.append(float(state["level"]))
    assert 2 <= len(rise) - 1 <= 6


def test_values_that_are_not_finite_are_refused_and_do_not_stick() -> None:
    """NaN and infinity count, and the next good frame behaves as if they had not been."""
    state = active()
    run(state, 5, energy=np.nan, c=np.inf)
    assert state["refused"] == 10
    assert state["state"] == ACTIVE
    run(state, 1, c=0.9, slow=0.5)
    assert state["state"] == TRANSITIONING


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(), st.floats(), st.floats(), st.floats()),
        min_size=1,
        max_size=60,
    )
)
def test_the_machine_is_bounded_for_any_input(rows: list[tuple[bool, float, float, float, float]]) -> None:
    """Whatever arrives, the state is one of four, and pull and level lie in 0..1."""
    state = fresh()
    for moved, energy, c, slow, seconds in rows:
        machine.step(state, moved, energy, c, slow, seconds)
        assert 0 <= state["state"] < len(ENGINE_STATES)
        assert 0.0 <= state["bias"] <= 1.0
        assert 0.0 <= state["level"] <= 1.0
        assert state["frozen"] == (state["state"] == IDLE)


def test_the_machine_allocates_nothing() -> None:
    """No allocation call in the compiled code."""
    step = numba.njit(**{**_jit.OPTIONS, "cache": False})(machine.step.py_func)
    step(fresh(), True, 0.5, 0.5, 0.5, 5.0)
    code = "".join(step.inspect_llvm().values())
    assert "NRT_MemInfo_alloc" not in code
    assert "NRT_Allocate" not in code
