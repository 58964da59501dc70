"""The output stage: a room of the asked decay, a ceiling that holds, and changes that do not click."""

import functools
import re
import sys
from typing import Any

import numba
import numpy as np
import pytest
from paths import ROOT
from scipy import signal

from echelon_engine import _jit
from echelon_engine.kernels import output, reverb
from echelon_engine.parameters import LANE, PARAMETERS

sys.path.append(str(ROOT / "benchmarks"))
import audio_measures as measures

RATE_HZ = 48_000
PERIOD = 800
DRY = {
    "reverb_mix": 0.0,
    "gain": -output.MAKEUP_DB,
    "ceiling": 0.0,
    "width": 1.0,
    "pan": 0.0,
    "reverb_size": 0.5,
    "reverb_decay": 1.0,
}


def lanes(**values: float) -> np.ndarray:
    """Return 32 parameter values: a dry, open stage but for `values`."""
    row = np.zeros(32, np.float32)
    for name, value in {**DRY, **values}.items():
        row[LANE[name]] = value
    return row


class Stage:
    """An output stage that renders in pieces, a control frame every 800 samples."""

    def __init__(self, rate_hz: int = RATE_HZ, cut: int = 64, **values: float) -> None:
        self.state: Any = np.zeros(1, output.OUTPUT)[0]
        self.rate_hz, self.cut, self.clock = rate_hz, cut, 0
        self.period = rate_hz // 60
        self.values = lanes(**values)
        self.master: dict[str, Any] = {"master": 1.0, "level": 1.0, "mute": 0, "fade": 0, "panics": 0, "test_tone": 0}
        output.init(self.state, float(rate_hz))

    def set(self, **values: float) -> None:
        """Change lanes or master settings from the next control frame on."""
        for name, value in values.items():
            if name in self.master:
                self.master[name] = value
            else:
                self.values[LANE[name]] = value

    def render(self, bus: np.ndarray) -> np.ndarray:
        """Return what is heard of `bus` (n, 2)."""
        bus = np.ascontiguousarray(bus, np.float32)
        out = np.full_like(bus, np.nan)
        at = 0
        while at < len(bus):
            into = self.clock % self.period
            if into == 0:
                m = self.master
                output.control(self.state, self.values, self.period)
                output.set_master(
                    self.state, float(m["master"]), float(m["level"]), m["mute"], m["fade"], m["panics"], m["test_tone"]
                )
            n = min(self.cut, len(bus) - at, self.period - into)
            output.render(out[at : at + n], bus[at : at + n], self.state)
            at += n
            self.clock += n
        return out


def tone(seconds: float, hz: float = 440.0, level: float = 0.5, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Return a stereo sine (n, 2)."""
    x = level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)
    return np.stack((x, x), 1).astype(np.float32)


@functools.cache
def rich(seconds: float, level: float = 0.2) -> np.ndarray:
    """Return a held tone with partials that fall by 12 dB an octave, right a little other than left (n, 2)."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    left = sum(np.sin(2 * np.pi * 220 * n * t) / n**2 for n in range(1, 90))
    right = sum(np.sin(2 * np.pi * 220 * n * t + n) / n**2 for n in range(1, 90))
    return (level * np.stack((left, right), 1)).astype(np.float32)


def noise(seconds: float, level: float = 0.3, seed: int = 0) -> np.ndarray:
    """Return white noise (n, 2)."""
    return (level * np.random.default_rng(seed).standard_normal((int(seconds * RATE_HZ), 2))).astype(np.float32)


def test_a_dry_open_stage_only_delays() -> None:
    """With mix, pan and gain neutral what comes out is what went in, late by the stated look-ahead."""
    stage = Stage()
    bus = noise(0.5, 0.1)
    out = stage.render(bus)
    late = int(stage.state["limiter"]["lookahead"])
    assert late == 72
    np.testing.assert_allclose(out[late:], bus[:-late], atol=1e-6)


@pytest.mark.parametrize("cut", [1, 37, 800])
def test_results_do_not_depend_on_the_cuts(cut: int) -> None:
    """Any cut of the blocks gives the same bits while every lane jumps and the limiter works."""
    rng = np.random.default_rng(2)
    bus = noise(0.5, 0.8)
    want, got = Stage(), Stage(cut=cut)
    for begin in range(0, len(bus), PERIOD):
        for p in PARAMETERS[24:]:
            value = float(p.value(rng.random()))
            want.set(**{p.name: value})
            got.set(**{p.name: value})
        for stage in (want, got):
            stage.set(panics=int(begin >= 10 * PERIOD), test_tone=int(begin >= 20 * PERIOD))
        block = bus[begin : begin + PERIOD]
        assert np.array_equal(want.render(block), got.render(block))


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("decay_s", [0.5, 3.0])
@pytest.mark.parametrize("size", [0.0, 1.0])
def test_the_room_decays_as_asked(rate_hz: int, decay_s: float, size: float) -> None:
    """T60 of a burst of noise below 2 kHz is within 5 % of what was asked, at every rate and size."""
    stage = Stage(rate_hz, reverb_mix=1.0, reverb_decay=decay_s, reverb_size=size)
    bus = np.zeros((int((0.3 + 0.8 * decay_s) * rate_hz), 2), np.float32)
    burst = int(0.2 * rate_hz)
    bus[:burst] = np.random.default_rng(1).standard_normal((burst, 2)) * 0.1
    low = measures.band(stage.render(bus), rate_hz, 100, 2000)[burst + int(0.1 * rate_hz) :]
    assert measures.t60_s(low, rate_hz, -3, -30) == pytest.approx(decay_s, rel=0.05)


def test_high_tones_die_somewhat_sooner() -> None:
    """At 10 kHz the room decays in about 0.8 of the asked time."""
    stage = Stage(reverb_mix=1.0, reverb_decay=2.0)
    bus = np.zeros((2 * RATE_HZ, 2), np.float32)
    bus[:4800] = noise(0.1, 0.1)
    high = measures.band(stage.render(bus), RATE_HZ, 9500, 10_500)[9600:]
    assert measures.t60_s(high, RATE_HZ, -3, -35) == pytest.approx(1.6, rel=0.07)


def test_the_mix_keeps_the_power() -> None:
    """Held noise below 3 kHz is as loud dry as wet, for short and for long rooms; left and right differ."""
    bus = measures.band(noise(8.0, 0.1), RATE_HZ, 50, 3000)
    for decay_s in (0.5, 6.0):
        levels = []
        for mix in (0.0, 0.5, 1.0):
            stage = Stage(reverb_mix=mix, reverb_decay=decay_s)
            heard = stage.render(bus)[5 * RATE_HZ :]
            levels.append(float(measures.db((heard**2).mean())))
        assert max(levels) - min(levels) < 1.5
        assert abs(np.corrcoef(heard.T)[0, 1]) < 0.1


def test_a_mono_source_fills_both_sides() -> None:
    """The room of one mono impulse is heard left and right, decorrelated."""
    stage = Stage(reverb_mix=1.0)
    bus = np.zeros((RATE_HZ, 2), np.float32)
    bus[10] = 0.9
    heard = stage.render(bus)[4800:]
    power = (heard**2).sum(axis=0)
    assert 0.5 < power[0] / power[1] < 2.0
    assert abs(np.corrcoef(heard.T)[0, 1]) < 0.2


def test_twenty_seconds_after_the_sound_the_longest_room_is_silent() -> None:
    """12 s of decay: under -60 dBFS 20 s after a loud chord ends."""
    stage = Stage(reverb_mix=1.0, reverb_decay=12.0, reverb_size=1.0)
    stage.render(np.clip(noise(3.0, 0.5), -1, 1))
    stage.render(np.zeros((20 * RATE_HZ, 2), np.float32))
    assert measures.is_silent(stage.render(np.zeros((RATE_HZ, 2), np.float32)), RATE_HZ)


def test_lengths_are_distinct_primes() -> None:
    """At every size the sixteen lines are different primes, longer than a pass and inside the buffer."""
    for rate_hz in (44_100.0, 96_000.0):
        room: Any = np.zeros(1, reverb.REVERB)[0]
        reverb.init(room, rate_hz)
        for size in np.linspace(0, 1, 24):
            room["fresh"] = 1
            reverb.control(room, float(size), 1.0, 120.0, 800)
            taps = room["tap"][1, : reverb.LINES]
            assert len(set(taps.tolist())) == reverb.LINES
            assert all(n % d for n in taps.tolist() for d in range(2, int(n**0.5) + 1))
            assert taps.min() > reverb.CHUNK
            assert room["tap"].max() < reverb.CAPACITY - reverb.CHUNK


@pytest.mark.parametrize("lane", [p.name for p in PARAMETERS[24:]])
@pytest.mark.parametrize("sound", ["sine", "rich"])
def test_a_jump_of_a_lane_does_not_click(lane: str, sound: str) -> None:
    """A jump 0 <-> 1 on a held tone leaves the energy above 5 kHz at most 6 dB over the louder steady state."""
    held = tone(3.0, level=0.3) if sound == "sine" else rich(3.0)
    if lane == "gain":  # as loud as in the other cases where the lane is fully open
        held = held * np.float32(10.0 ** (-output.MAKEUP_DB / 20.0))
    p = PARAMETERS[LANE[lane]]
    for positions in ((0.0, 1.0), (1.0, 0.0)):
        stage = Stage(
            reverb_mix=0.5, reverb_decay=0.6, gain=-output.MAKEUP_DB - 3.0, ceiling=-1.0, reverb_predelay=20.0
        )
        stage.set(**{lane: p.value(positions[0])})
        heard = [stage.render(held[:RATE_HZ])]
        stage.set(**{lane: p.value(positions[1])})
        heard.append(stage.render(held[RATE_HZ:]))
        whole = np.concatenate(heard)
        for at_s in (1.0, 1.0 + 1 / 60, 1.0 + 1 / 30):
            assert measures.click_db(whole, RATE_HZ, at_s, (0.6, 0.95), (2.4, 2.95)) <= 6.0


def test_mute_panic_fade_and_tone_do_not_click() -> None:
    """What people switch leaves no more above 5 kHz than the tone itself, 6 dB granted."""
    held = rich(2.5)
    for change in ({"mute": 1}, {"fade": 1}, {"master": 0.1}, {"level": 0.2}, {"test_tone": 1}):
        stage = Stage()
        whole = [stage.render(held[:RATE_HZ])]
        stage.set(**change)
        whole.append(stage.render(held[RATE_HZ:]))
        heard = np.concatenate(whole)
        for at_s in (1.0, 1.02, 1.3):
            assert measures.click_db(heard, RATE_HZ, at_s, (0.2, 0.9), (1.8, 2.4)) <= 6.0


def test_no_sample_is_ever_above_the_ceiling() -> None:
    """Noise far too loud, the ceiling and all else jumping at every control frame: never above, at any sample."""
    rng = np.random.default_rng(8)
    stage = Stage()
    before = 1.0
    for _ in range(180):
        for p in PARAMETERS[24:]:
            stage.set(**{p.name: p.value(rng.random())})
        wanted = 10 ** (float(stage.values[LANE["ceiling"]]) / 20)
        level = 10.0 ** rng.uniform(-2, 1.5)
        heard = stage.render(noise(1 / 60, level, int(rng.integers(1 << 30))))
        u = np.arange(1, PERIOD + 1) / PERIOD
        ceiling = before + (u**3 * (10 - 15 * u + 6 * u * u)) * (wanted - before)
        assert np.all(np.abs(heard).max(axis=1) <= ceiling * (1 + 1e-6))
        before = wanted
    assert stage.state["resets"] == 0


def test_loud_lows_keep_their_shape() -> None:
    """A 40 Hz tone 8 dB over the ceiling leaves with under 0.1 % of distortion, at the ceiling."""
    stage = Stage(ceiling=-6.0)
    heard = stage.render(tone(4.0, 40.0, 1.25))[2 * RATE_HZ :, 0].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(heard * signal.windows.blackmanharris(len(heard)))) ** 2
    own = np.arange(len(spectrum)) * RATE_HZ / len(heard)
    harmonics = spectrum[(own > 60) & (own < 2000)].sum()
    assert harmonics / spectrum[(own > 30) & (own < 50)].sum() < 1e-6
    assert np.abs(heard).max() == pytest.approx(10 ** (-6 / 20), rel=0.02)


def test_the_limiter_leaves_quiet_sound_alone_and_lets_go() -> None:
    """Under the ceiling nothing changes; after a peak the gain is back within a second; both sides share one gain."""
    stage = Stage(ceiling=-6.0)
    bus = tone(2.0, 1000.0, 0.25)
    bus[:, 1] *= 0.5
    bus[RATE_HZ // 2 : RATE_HZ // 2 + 100] *= 16
    heard = stage.render(bus)
    late = int(stage.state["limiter"]["lookahead"])
    np.testing.assert_allclose(heard[late : RATE_HZ // 2 - 100], bus[: RATE_HZ // 2 - late - 100], atol=1e-6)
    np.testing.assert_allclose(heard[-2000:], bus[-2000 - late : -late], atol=1e-3)
    np.testing.assert_allclose(heard[:, 1], 0.5 * heard[:, 0], atol=1e-6)


def test_pan_is_equal_power_and_width_goes_to_mono() -> None:
    """A centred tone keeps its power wherever it is panned; width 0 makes both sides alike."""
    for pan in (-1.0, -0.4, 0.0, 0.7, 1.0):
        heard = Stage(pan=pan).render(tone(0.5, level=0.3))[-9600:]
        assert (heard**2).mean(axis=0).sum() == pytest.approx(0.3**2, rel=1e-3)
    left_only = tone(0.5)
    left_only[:, 1] = 0
    heard = Stage(width=0.0).render(left_only)[-4800:]
    np.testing.assert_allclose(heard[:, 0], heard[:, 1], atol=1e-6)


def test_mute_is_silence_and_comes_back() -> None:
    """Muted, samples are exactly 0 within 50 ms; unmuted, the tone is back within 50 ms."""
    stage = Stage()
    stage.render(tone(0.5))
    stage.set(mute=1)
    stage.render(tone(0.05))
    assert not stage.render(tone(0.1)).any()
    stage.set(mute=0)
    stage.render(tone(0.05))
    assert np.abs(stage.render(tone(0.1))).max() == pytest.approx(0.5, rel=0.01)


def test_panic_silences_in_five_milliseconds_and_clears_the_room() -> None:
    """After a panic a long room is gone, and new sound is heard again within 0.1 s."""
    stage = Stage(reverb_mix=1.0, reverb_decay=12.0)
    stage.render(tone(1.0))
    stage.master["panics"] = 1
    heard = stage.render(np.zeros((RATE_HZ // 10, 2), np.float32))
    assert not heard[242:].any()
    assert not stage.render(np.zeros((RATE_HZ, 2), np.float32)).any()
    assert np.abs(stage.render(tone(1.0))).max() > 0.05


def test_fade_out_takes_a_third_of_a_second_and_lasts() -> None:
    """Shutting down: still heard after 0.1 s, silent after 0.31 s, for good."""
    stage = Stage()
    stage.render(tone(0.5))
    stage.set(fade=1)
    heard = stage.render(tone(0.5))
    assert np.abs(heard[4800:5800]).max() > 0.2
    assert not heard[int(0.31 * RATE_HZ) :].any()
    assert stage.state["fade"] <= 0.0
    assert not stage.render(tone(0.5)).any()


def test_the_tone_says_left_then_right() -> None:
    """The test tone replaces the instrument: 440 Hz at -20 dBFS, a second on each side."""
    stage = Stage(reverb_mix=0.5)
    stage.set(test_tone=1)
    heard = stage.render(noise(2.2))
    left, right = heard[RATE_HZ // 2 : RATE_HZ * 9 // 10], heard[RATE_HZ * 3 // 2 : RATE_HZ * 19 // 10]
    assert not left[:, 1].any()
    assert not right[:, 0].any()
    for side in (left[:, 0], right[:, 1]):
        assert np.abs(side).max() == pytest.approx(0.1, rel=0.01)
        assert abs(measures.cents(side, RATE_HZ, 440.0)) < 0.1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_bad_bus_sample_is_replaced_and_counted(bad: float) -> None:
    """NaN, infinity and absurd samples are counted; the rest of the sound goes on, finite."""
    stage = Stage(reverb_mix=0.5)
    bus = tone(0.5)
    bus[5000, 1] = bad
    heard = stage.render(bus)
    assert np.isfinite(heard).all()
    assert stage.state["refused_samples"] == 1
    assert stage.state["resets"] == 0
    assert np.abs(heard[-2000:]).max() > 0.1


@pytest.mark.parametrize("where", ["buffer", "damp", "level", "delay", "master"])
def test_a_broken_state_heals(where: str) -> None:
    """Non-finite inner state is reset once, counted, and the tone is back within a tenth of a second."""
    stage = Stage(reverb_mix=0.5)
    stage.render(tone(0.5))
    field = {
        "buffer": stage.state["reverb"]["buffer"][3],
        "damp": stage.state["reverb"]["damp"],
        "level": stage.state["level"][1],
        "delay": stage.state["limiter"]["delay"][:, 0],
        "master": stage.state["master"],
    }[where]
    field[:] = np.nan
    heard = stage.render(tone(0.5))
    assert np.isfinite(heard).all()
    assert stage.state["resets"] == 1
    assert np.abs(heard[4800:]).max() > 0.1


def test_a_lane_that_is_not_finite_keeps_its_value() -> None:
    """NaN in a lane or in the master changes nothing and is counted."""
    a, b = Stage(reverb_mix=0.3), Stage(reverb_mix=0.3)
    bus = noise(0.2)
    assert np.array_equal(a.render(bus), b.render(bus))
    for p in PARAMETERS[24:]:
        b.set(**{p.name: np.nan})
    b.set(master=np.nan)
    assert np.array_equal(a.render(bus), b.render(bus))
    assert b.state["refused_values"] > 0


def test_the_meter_reads_the_last_period() -> None:
    """A tone of 0.5 is -9.03 dB RMS, silence -120 dB."""
    stage = Stage()
    stage.render(tone(0.5, 480.0))
    output.take_loudness_db(stage.state)
    stage.render(tone(0.25, 480.0))
    assert float(stage.state["peak"]) == pytest.approx(0.5, rel=1e-3)
    assert output.take_loudness_db(stage.state) == pytest.approx(-9.03, abs=0.01)
    stage.set(mute=1)
    stage.render(tone(0.1))
    output.take_loudness_db(stage.state)
    stage.render(tone(0.1))
    assert output.take_loudness_db(stage.state) == -120.0


def test_nothing_allocates() -> None:
    """The compiled code of the stage and of all that it calls, calls no allocator."""
    stage = Stage()
    stage.render(tone(0.1))
    for function in (output.render, output.control, output.set_master):
        fresh = numba.njit(**{**_jit.OPTIONS, "cache": False})(function.py_func)
        fresh.compile(function.nopython_signatures[0].args)
        code = "".join(fresh.inspect_llvm().values())
        assert "define" in code
        assert not re.search(r"NRT_(MemInfo_alloc|Allocate)", code)
