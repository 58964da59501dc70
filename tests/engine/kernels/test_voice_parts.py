"""Sine, operators, filter and envelope against references in double precision."""

import numpy as np
import pytest
from measures import measures

from echelon_engine._jit import kernel
from echelon_engine.kernels import envelope, operators, svf
from echelon_engine.kernels.sine import sine

quality = measures("quality_voices")


@kernel
def _sines(out, turns):  # type: ignore[no-untyped-def]
    for i in range(out.shape[0]):
        out[i] = sine(turns[i])


def test_sine_errs_less_than_minus_110_db() -> None:
    """The fast sine is a sine over several turns of either sign."""
    turns = np.linspace(-4.0, 4.0, 100001).astype(np.float32)
    out = np.zeros_like(turns)
    _sines(out, turns)
    assert np.abs(out - np.sin(2 * np.pi * turns.astype(np.float64))).max() < 10 ** (-110 / 20)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.41, 3.5, 7.0, 16.0])
@pytest.mark.parametrize("index", [4.0, 8.0])
def test_operators_do_not_fold(ratio: float, index: float) -> None:
    """At C6 nothing but partials of the pair stands above -60 dB."""
    assert quality.alias_db(ratio, index) < -60.0


def test_operators_equal_the_formula() -> None:
    """At a low pitch the decimated pairs are the formula delayed by the decimator, with both indices of each pair."""
    work, ops = np.zeros(1, operators.WORK)[0], np.zeros(1, operators.OPERATORS)[0]
    ratio, index = np.array([1.0, 2.0, 3.0, 1.0]), np.array([1.5, 0.5, 0.7, 0.9])
    work["ratio"][:] = ratio[:, None]
    work["index"][:] = index[:, None]
    y = np.zeros(2048, np.float32)
    for at in range(0, y.size, 64):
        operators.render(y[at : at + 64], work, ops, np.ones(64, np.float32), 100.0, 48000.0, 64)
    t = np.arange(y.size) / 48000.0 - (operators.TAPS - 0.5) / 96000.0
    p = 2 * np.pi * 100.0 * ratio[:, None] * t
    pairs = [np.sin(p[c] + index[m] * np.sin(p[m]) + index[c] * np.sin(p[c])) for m, c in ((0, 1), (2, 3))]
    wanted = 0.5 * (pairs[0] + pairs[1])
    assert np.abs(y - wanted)[200:].max() < 1e-3


def _filtered(x: np.ndarray, cutoff_hz: float, q: float, drive: float) -> np.ndarray:
    table = np.zeros(svf.TABLE, np.float32)
    svf.fill_table(table, 48000.0)
    state = np.zeros(1, svf.SVF)[0]
    state["root"] = 1.0
    y = x.astype(np.float32)
    octave, damping, gain = (
        np.full(y.size, v, np.float32) for v in (np.log2(cutoff_hz / svf.LOWEST_HZ), 1.0 / q, drive)
    )
    svf.render(y, state, octave, damping, gain, table, y.size)
    return y


@pytest.mark.parametrize(("cutoff_hz", "q"), [(200.0, 0.7), (1000.0, 5.0), (8000.0, 20.0)])
def test_filter_has_the_response_of_its_prototype(cutoff_hz: float, q: float) -> None:
    """Undriven, the filter is the bilinear lowpass at its cutoff, levelled by its Q, behind a two-sample mean."""
    x = np.zeros(1 << 15)
    x[0] = 1.0
    y = np.fft.rfft(_filtered(x, cutoff_hz, q, 1.0))
    w = np.pi * np.arange(y.size) / (y.size - 1)
    s = 1j * np.tan(w / 2 * (1 - 1e-9)) / np.tan(np.pi * cutoff_hz / 48000.0)
    wanted = np.cos(w / 2) / (s * s + s / q + 1) * (2 / (1 + q)) ** 0.5
    assert np.abs(np.abs(y) - np.abs(wanted)).max() < 0.01 * np.abs(wanted).max()


def test_drive_bounds_what_enters_and_keeps_one_at_one() -> None:
    """At 24 dB a quiet tone is lifted, one at the reference stays, a loud one is held."""
    t = np.arange(4800) / 48000.0
    for level, low, high in ((0.01, 0.03, 0.05), (1.0, 0.9, 1.1), (30.0, 0.9, 1.3)):
        peak = np.abs(_filtered(level * np.sin(2 * np.pi * 100.0 * t), 15000.0, 0.7, 15.85)[2400:]).max()
        assert low < peak < high


def test_envelope_takes_the_times_it_was_given() -> None:
    """Attack reaches 1 in its time, decay and release fall by 60 dB in theirs."""
    env = np.zeros(1, envelope.ENVELOPE)[0]
    envelope.start(env, 0.02, 0.1, 0.5, 0.2, 48000.0)
    y = np.zeros(24000, np.float32)
    envelope.render(y, env, 24000)
    top = int(np.argmax(y))
    assert top == pytest.approx(960, abs=3)
    assert y[top + 4800] - 0.5 == pytest.approx(0.0005, rel=0.05)
    envelope.release(env)
    envelope.render(y, env, 24000)
    assert y[9600] == pytest.approx(0.0005, rel=0.05)
    assert env["stage"] == envelope.IDLE


def test_envelope_retriggers_from_where_it_is() -> None:
    """A new attack in the middle of a release never steps."""
    env = np.zeros(1, envelope.ENVELOPE)[0]
    envelope.start(env, 0.01, 0.1, 0.5, 0.2, 48000.0)
    y = np.zeros(3000, np.float32)
    envelope.render(y[:1000], env, 1000)
    envelope.release(env)
    envelope.render(y[1000:2000], env, 1000)
    envelope.start(env, 0.01, 0.1, 0.5, 0.2, 48000.0)
    envelope.render(y[2000:], env, 1000)
    assert np.abs(np.diff(y)).max() < 0.005
