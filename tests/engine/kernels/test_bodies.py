"""String and modal bank: pitch, decay and moving coefficients."""

import numpy as np
import pytest
from measures import measures

from echelon_engine.kernels import modal, string

quality = measures("quality_voices")


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
@pytest.mark.parametrize("midi", [21.0, 57.0, 96.0])
@pytest.mark.parametrize("brightness", [0.0, 1.0])
def test_string_is_in_tune_and_decays_as_asked(rate_hz: float, midi: float, brightness: float) -> None:
    """From A0 to C7 the string stays within 1 cent and 5 % of its decay, even when it dies within 20 periods."""
    hz = 440.0 * 2.0 ** ((midi - 69.0) / 12.0)
    for t60_s in (20.0 / hz, 2.0):
        cents, decay = quality.string_errors(midi, t60_s, brightness, rate_hz)
        assert abs(cents) <= 1.0
        assert abs(decay) <= 0.05


@pytest.mark.parametrize(("midi", "mode"), [(21.0, 1), (45.0, 7), (69.0, 1), (96.0, 2)])
def test_modes_are_in_tune_and_decay_as_asked(midi: float, mode: int) -> None:
    """Modes of a stiff body stay within 0.1 cent and 2 % of the formula, at 44.1 and at 96 kHz."""
    for rate_hz, t60_s in ((44100.0, 0.5), (96000.0, 8.0)):
        cents, decay = quality.modal_errors(midi, t60_s, 0.5, mode, rate_hz)
        assert abs(cents) <= 0.1
        assert abs(decay) <= 0.02


def test_modal_bank_equals_its_recursion_in_double() -> None:
    """The bank is the sum of complex one-poles driven by the same input."""
    rate_hz, hz = 48000.0, 220.0
    bank = np.zeros(1, modal.MODAL)[0]
    shape = np.sin(np.arange(1, modal.MODES + 1)).astype(np.float32)
    modal.tune(bank, shape, hz, 0.4, 0.5, 0.6, rate_hz, 0)
    x = np.random.default_rng(1).standard_normal(2000).astype(np.float32)
    y = np.zeros_like(x)
    modal.render(y, bank, x)
    step = np.exp(-bank["decay"] + 1j * bank["theta"])
    z = np.zeros(modal.MODES, complex)
    wanted = np.zeros(x.size)
    for i in range(x.size):
        z = step * z + bank["b"].astype(float) * x[i]
        wanted[i] = z.imag.sum()
    assert np.abs(y - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_moving_bank_arrives_where_a_fresh_one_is() -> None:
    """After a ramp the coefficients are exactly those of a bank tuned at once, and a ringing mode keeps its level."""
    moved, there = np.zeros(1, modal.MODAL)[0], np.zeros(1, modal.MODAL)[0]
    shape = np.ones(modal.MODES, np.float32)
    modal.tune(moved, shape, 300.0, 0.1, 4.0, 1.0, 48000.0, 0)
    modal.tune(there, shape, 300.0, 0.9, 4.0, 1.0, 48000.0, 0)
    x = np.zeros(800, np.float32)
    x[0] = 1.0
    y = np.zeros_like(x)
    modal.render(y[:1], moved, x[:1])
    modal.tune(moved, shape, 300.0, 0.9, 4.0, 1.0, 48000.0, 799)
    modal.render(y[1:], moved, x[1:])
    for field in ("c", "s", "b"):
        assert np.array_equal(moved[field], there[field])
    assert np.hypot(moved["re"], moved["im"])[5] == pytest.approx(np.exp(-moved["decay"][5] * 799), rel=0.01)


def test_struck_string_holds_no_constant() -> None:
    """A blow leaves no offset on the string, for the two places where it enters cancel."""
    state = np.zeros(1, string.STRING)[0]
    string.tune(state, 110.0, 4.0, 0.5, 48000.0, 0)
    state["comb"] = 100
    x = np.zeros(24000, np.float32)
    x[:40] = 1.0
    y = np.zeros_like(x)
    string.render(y, state, x)
    assert abs(y[-4800:].mean()) < 0.01 * np.abs(y[-4800:]).max()


@pytest.mark.parametrize("hz", [8.0, 30000.0])
def test_string_beyond_its_range_stays_finite(hz: float) -> None:
    """A pitch that the line cannot hold is clipped to what it can."""
    state = np.zeros(1, string.STRING)[0]
    string.tune(state, hz, 1.0, 1.0, 96000.0, 0)
    x = np.zeros(20000, np.float32)
    x[0] = 1.0
    y = np.zeros_like(x)
    string.render(y, state, x)
    assert np.isfinite(y).all()
    assert np.abs(y).max() <= 1.01
