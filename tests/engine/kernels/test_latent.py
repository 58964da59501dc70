"""LatentState: each of the 25 numbers against what it is said to be, at rest, in motion and for bad input."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_engine import _jit
from echelon_engine.kernels import latent
from echelon_engine.kernels.dynamics import DELAY_FRAMES, Z
from echelon_engine.kernels.latent import AHEAD_FRAMES, BOUND, CONFIDENCE_SCALE, LATENT, SIZE
from echelon_engine.memory import LATENT_STATE_NAMES, LIMBS

LEFT, RIGHT = (11, 12, 13, 14, 19, 20, 21, 22), (15, 16, 17, 18, 23, 24, 25, 26)
HEAD, FEET = 10, (21, 25)
RANDOM = np.random.default_rng(0)
P = np.linalg.qr(RANDOM.standard_normal((Z, 2)))[0].T.astype(np.float32).copy()


class Body:
    """A standing body whose parts a test changes before each step."""

    def __init__(self) -> None:
        self.state = np.zeros(1, LATENT)[0]
        self.z = np.zeros(Z, np.float32)
        self.speed = np.zeros((LIMBS, 3), np.float32)
        self.omega = np.zeros(LIMBS, np.float32)
        self.position = np.zeros((LIMBS, 3), np.float32)
        self.position[HEAD] = (0.0, 0.6, 0.02)
        self.position[FEET, 1] = -0.9
        self.origin = np.array([0.0, 0.95, 0.0], np.float32)
        self.present = True
        self.residual, self.energy, self.tempo, self.phase = 0.002, 0.0, 96.0, 0.25

    def step(self) -> dict[str, float]:
        """Run one control frame and return the state by name."""
        out = np.zeros(SIZE, np.float32)
        latent.step(
            out,
            self.state,
            self.z,
            P,
            self.residual,
            1,
            5,
            self.speed,
            self.omega,
            self.position,
            self.origin,
            self.present,
            self.energy,
            self.tempo,
            self.phase,
        )
        return dict(zip(LATENT_STATE_NAMES, out.tolist(), strict=True))

    def swing(self, frame: int, hz: float = 1.0, size: float = 1.0) -> dict[str, float]:
        """Run one control frame with the latent on a circle in its two principal directions."""
        angle = 2 * np.pi * hz * frame / 60
        self.z[:] = size * (np.cos(angle) * P[0] + np.sin(angle) * P[1])
        return self.step()


def test_position_velocity_and_acceleration_are_read_through_p() -> None:
    """On a circle at 1 Hz: the position now, velocity and acceleration of 50 ms ago."""
    body = Body()
    for frame in range(60):
        found = body.swing(frame, size=2.0)
    w = 2 * np.pi
    now, late = w * 59 / 60, w * (59 - DELAY_FRAMES) / 60
    assert (found["position_x"], found["position_y"]) == pytest.approx((2 * np.cos(now), 2 * np.sin(now)), abs=1e-5)
    velocity = (found["velocity_x"], found["velocity_y"])
    assert velocity == pytest.approx((-2 * w * np.sin(late), 2 * w * np.cos(late)), abs=0.3)
    acceleration = (found["acceleration_x"], found["acceleration_y"])
    assert acceleration == pytest.approx((-2 * w**2 * np.cos(late), -2 * w**2 * np.sin(late)), abs=3)
    assert found["norm"] == pytest.approx(2.0, abs=1e-5)
    # 1/r, a little less for the speed floor
    assert found["curvature"] == pytest.approx(0.5, rel=0.05)
    assert abs(found["curvature_rate"]) < 0.1


def test_micro_tension_is_the_rms_above_six_hz() -> None:
    """A slow swing gives a 36th of its size, a 15 Hz tremor its own RMS over the 96 elements."""
    slow, tremor = Body(), Body()
    for frame in range(120):
        quiet = slow.swing(frame, size=5.0)["micro_tension"]
        tremor.z[:] = 0.3 * np.sin(2 * np.pi * 15 * frame / 60 + 0.3)
        shaking = tremor.step()["micro_tension"]
    assert quiet < 0.03 * 5 / np.sqrt(Z)
    assert shaking == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_the_energies_are_means_over_the_limbs() -> None:
    """Mean of omega^2 / 2 and of speed^2 / 2 against float64."""
    body = Body()
    body.speed[:] = RANDOM.standard_normal((LIMBS, 3))
    body.omega[:] = RANDOM.standard_normal(LIMBS)
    found = body.step()
    assert found["kinetic_energy"] == pytest.approx((body.speed.astype(float) ** 2).sum(1).mean() / 2, rel=1e-5)
    assert found["rotational_energy"] == pytest.approx((body.omega.astype(float) ** 2).mean() / 2, rel=1e-5)


def test_grounding_tells_standing_stamping_and_flying_apart() -> None:
    """Standing: contact alone. Legs at work on the ground: more. A leap: little."""
    standing, stamping, leaping = Body(), Body(), Body()
    assert standing.step()["grounding"] == pytest.approx(0.5)
    stamping.speed[23:27] = (0.0, 1.5, 0.0)
    assert stamping.step()["grounding"] > 0.9
    leaping.step()
    leaping.origin[1] += 0.4
    leaping.speed[:] = (0.0, 2.0, 0.0)
    assert leaping.step()["grounding"] < 0.2


@pytest.mark.parametrize(("axis", "expected"), [((0, 0.6, 0), 1.0), ((0.6, 0, 0), 0.0), ((0, -0.6, 0), -1.0)])
def test_verticality_is_the_cosine_of_the_spine_to_up(axis: tuple[float, ...], expected: float) -> None:
    """Upright 1, lying 0, on the hands -1."""
    body = Body()
    body.position[HEAD] = axis
    assert body.step()["verticality"] == pytest.approx(expected, abs=1e-4)


def test_coherence_is_high_for_a_travelling_body_and_low_for_opposing_limbs() -> None:
    """All limbs together 1, left against right about 0, at rest 0."""
    body = Body()
    assert body.step()["coherence"] == 0.0
    body.speed[:] = (1.0, 0.0, 0.5)
    assert body.step()["coherence"] == pytest.approx(1.0, abs=0.01)
    body.speed[LEFT, :] = (0.0, 2.0, 0.0)
    body.speed[RIGHT, :] = (0.0, -2.0, 0.0)
    body.speed[:11] = 0.0
    assert abs(body.step()["coherence"]) < 0.05


def test_lr_pan_is_negative_where_the_left_limbs_move() -> None:
    """-1 left, +1 right, 0 both or none, and it comes back to 0 at rest."""
    body = Body()
    body.speed[LEFT, :] = (0.0, 2.0, 0.0)
    for _ in range(120):
        body.step()
    assert body.state["lr_pan"] < -0.95
    body.speed[:] = 0.0
    body.speed[RIGHT, :] = (2.0, 0.0, 0.0)
    for _ in range(120):
        body.step()
    assert body.state["lr_pan"] > 0.95
    body.speed[:] = 0.0
    for _ in range(120):
        body.step()
    assert abs(body.state["lr_pan"]) < 0.01


def test_tension_rises_in_turning_motion_and_is_still_at_rest() -> None:
    """It starts at 0, grows within a second or two of fast circles, stays in 0..1 and leaks away."""
    body = Body()
    for _ in range(60):
        assert body.step()["tension"] == 0.0
    rising = [body.swing(frame, hz=2.0, size=0.3)["tension"] for frame in range(120)]
    assert rising[-1] > 0.2
    assert max(rising) <= 1.0
    body.z[:] = 0.0
    for _ in range(60):
        after = body.step()["tension"]
    falling = [body.step()["tension"] for _ in range(600)]
    assert after < rising[-1]
    assert falling[-1] < 0.02


def test_a_straight_motion_is_predicted_and_a_sudden_turn_is_not() -> None:
    """250 ms ahead on the line; the confidence falls when the line breaks and returns when it holds again."""
    body = Body()
    x = 0.0
    for _ in range(60):
        x += 0.02
        body.z[:] = x * P[0]
        found = body.step()
    assert found["predicted_x"] == pytest.approx(x + AHEAD_FRAMES * 0.02, abs=1e-3)
    assert found["prediction_confidence"] > 0.99
    for _ in range(AHEAD_FRAMES):
        x -= 0.05
        body.z[:] = x * P[0]
        broken = body.step()
    error = AHEAD_FRAMES * 0.07
    assert broken["prediction_confidence"] == pytest.approx(np.exp(-((error / CONFIDENCE_SCALE) ** 2)), abs=0.01)
    for _ in range(3 * AHEAD_FRAMES):
        found = body.step()
    assert found["prediction_confidence"] > 0.99


def test_what_comes_from_others_passes_through() -> None:
    """Tempo, phase, residual, converged and iterations are handed on; periodicity hears the energy."""
    body = Body()
    for frame in range(300):
        body.energy = 0.5 + 0.5 * np.cos(2 * np.pi * 1.5 * frame / 60)
        found = body.step()
    assert found["internal_tempo"] == 96.0
    assert found["phase"] == 0.25
    assert found["residual"] == pytest.approx(0.002)
    assert (found["converged"], found["iterations"]) == (1.0, 5.0)
    assert found["periodicity"] > 0.9


def test_without_a_body_its_numbers_are_zero() -> None:
    """`present` False: energies, grounding, verticality and coherence rest."""
    body = Body()
    body.speed[:] = 1.0
    body.step()
    body.present = False
    found = body.step()
    names = ("rotational_energy", "kinetic_energy", "grounding", "verticality", "coherence")
    assert [found[name] for name in names] == [0.0] * 5


def test_values_that_are_not_finite_do_not_stick() -> None:
    """One bad frame is counted and looks like its predecessor; the next good one is as if nothing had been."""
    clean, dirty = Body(), Body()
    for frame in range(60):
        expected = clean.swing(frame)
        found = dirty.swing(frame)
    good = dirty.z.copy()
    dirty.z[7] = np.nan
    dirty.speed[3, 1] = np.inf
    dirty.residual = np.nan
    found = dirty.step()
    assert all(np.isfinite(list(found.values())))
    assert dirty.state["refused"] == 1
    dirty.z[:] = good
    dirty.speed[:] = 0.0
    dirty.residual = 0.002
    for frame in range(60, 120):
        expected, found = clean.swing(frame), dirty.swing(frame)
    for name in set(LATENT_STATE_NAMES) - {"tension"}:
        assert found[name] == pytest.approx(expected[name], abs=1e-3), name


ANY = st.floats(width=32)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(ANY, ANY, ANY, ANY, ANY, st.floats(), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 2**32 - 1),
)
def test_every_number_is_finite_and_bounded_for_any_input(rows: list[Any], seed: int) -> None:
    """Whatever the arrays hold, all 25 and lr_pan stay in their ranges."""
    random = np.random.default_rng(seed)
    body = Body()
    for z, speed, omega, position, origin, scalar, present in rows:
        body.z[:] = random.choice([z, 0.0, 1.0], Z)
        body.speed[:] = random.choice([speed, 0.0, -1.0], (LIMBS, 3))
        body.omega[:] = omega
        body.position[:] = random.choice([position, 0.0, 0.5], (LIMBS, 3))
        body.origin[:] = origin
        body.present = present
        body.residual = body.energy = body.tempo = body.phase = scalar
        found = body.step()
        values = np.array(list(found.values()))
        assert np.isfinite(values).all()
        assert np.abs(values).max() <= BOUND
        for name in ("tension", "grounding", "periodicity", "prediction_confidence"):
            assert 0.0 <= found[name] <= 1.0, name
        for value in (found["verticality"], found["coherence"], body.state["lr_pan"]):
            assert -1.0 <= value <= 1.0


def test_latent_allocates_nothing() -> None:
    """No allocation call in the compiled code."""
    step = numba.njit(**{**_jit.OPTIONS, "cache": False})(latent.step.py_func)
    body = Body()
    arrays = (body.speed, body.omega, body.position, body.origin)
    step(np.zeros(SIZE, np.float32), body.state, body.z, P, 0.0, 1, 5, *arrays, True, 0.5, 96.0, 0.5)
    code = "".join(step.inspect_llvm().values())
    assert "NRT_MemInfo_alloc" not in code
    assert "NRT_Allocate" not in code
