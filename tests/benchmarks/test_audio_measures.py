"""The measures measure: sounds whose pitch, decay, clicks and loudness are known."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

_spec = importlib.util.spec_from_file_location("audio_measures", ROOT / "benchmarks" / "audio_measures.py")
assert _spec is not None
assert _spec.loader is not None
measures = importlib.util.module_from_spec(_spec)
sys.modules["audio_measures"] = measures
_spec.loader.exec_module(measures)

RATE_HZ = 48_000.0


def time_s(seconds: float) -> np.ndarray:
    """Return the times of the samples of `seconds`."""
    return np.arange(int(seconds * RATE_HZ)) / RATE_HZ


def struck(seconds: float, hz: float, at_s: float, t60_s: float, partials: int = 12) -> np.ndarray:
    """Return a struck note: 1 ms attack, slightly inharmonic partials that all decay."""
    t = time_s(seconds) - at_s
    live = t >= 0
    t = np.where(live, t, 0.0)
    attack = np.clip(t / 0.001, 0, 1)
    total = np.zeros(len(t))
    for n in range(1, partials + 1):
        f = hz * n * (1 + 1e-4 * n * n)
        total += np.sin(2 * np.pi * f * t) * 10 ** (-3 * t * (0.7 + 0.3 * n) / t60_s) / n
    return np.where(live, attack * total, 0.0)


@pytest.mark.parametrize("hz", [27.5, 110.0, 440.3, 2093.0, 7902.1])
@pytest.mark.parametrize("off", [-7.3, 0.4])
def test_pitch_is_read_to_a_hundredth_of_a_cent(hz: float, off: float) -> None:
    """A decaying note with overtones, off by known cents, in noise at -80 dB."""
    t = time_s(2.0)
    f = hz * 2 ** (off / 1200)
    sound = sum(np.sin(2 * np.pi * f * n * t + n) * np.exp(-t * 1.5 * n) / n for n in (1, 2, 3) if f * n < 20_000)
    sound = sound + 1e-4 * np.random.default_rng(0).standard_normal(len(t))
    assert measures.cents(sound, RATE_HZ, hz) == pytest.approx(off, abs=0.02 if hz > 50 else 0.1)


@pytest.mark.parametrize("seconds", [0.2, 1.0, 6.0])
def test_decay_of_noise_and_of_a_tone(seconds: float) -> None:
    """An exponential decay gives its T60 within 1 % for a tone and 3 % for noise."""
    t = time_s(seconds)
    shape = 10 ** (-3 * t / seconds)
    assert measures.t60_s(np.sin(2 * np.pi * 440 * t) * shape, RATE_HZ) == pytest.approx(seconds, rel=0.01)
    noise = np.random.default_rng(1).standard_normal((len(t), 2)) * shape[:, None]
    assert measures.t60_s(noise, RATE_HZ) == pytest.approx(seconds, rel=0.03)


def test_loudness_of_the_reference_tone() -> None:
    """997 Hz at 0 dBFS in one channel is -3.01 LUFS (ITU-R BS.1770-4), in both 0 LUFS, at -23 dB -23 LUFS."""
    tone = np.sin(2 * np.pi * 997 * time_s(5.0))
    silent = np.zeros_like(tone)
    assert measures.loudness_lufs(np.stack((tone, silent), 1), RATE_HZ) == pytest.approx(-3.01, abs=0.02)
    assert measures.loudness_lufs(np.stack((tone, tone), 1), RATE_HZ) == pytest.approx(0.0, abs=0.02)
    quiet = np.concatenate((tone * 10 ** (-23 / 20), np.zeros(int(20 * RATE_HZ))))
    assert measures.loudness_lufs(np.stack((quiet, quiet), 1), RATE_HZ) == pytest.approx(-23.0, abs=0.15)
    assert measures.loudness_lufs(silent, RATE_HZ) == -np.inf


def test_loudness_weighting_at_another_rate() -> None:
    """The weighting is a matter of Hz: the same tones measure the same at 44.1 and 96 kHz, high ones 4 dB louder."""
    for rate_hz in (44_100.0, 96_000.0):
        t = np.arange(int(3 * rate_hz)) / rate_hz
        assert measures.loudness_lufs(np.sin(2 * np.pi * 997 * t), rate_hz) == pytest.approx(-3.01, abs=0.05)
        high = measures.loudness_lufs(np.sin(2 * np.pi * 6000 * t), rate_hz)
        assert high == pytest.approx(-3.01 + 3.3, abs=0.2)


def test_centroid_of_two_tones() -> None:
    """The centroid lies between two equal tones, and is 0 for silence."""
    t = time_s(1.0)
    both = np.sin(2 * np.pi * 1000 * t) + np.sin(2 * np.pi * 3000 * t)
    assert measures.centroid_hz(both, RATE_HZ) == pytest.approx(2000, rel=0.01)
    assert measures.centroid_hz(np.zeros(1000), RATE_HZ) == 0.0


def test_aliasing_of_a_naive_sawtooth_and_of_a_clean_one() -> None:
    """A band-limited saw measures clean, a naive one does not; an alias of known level is read to half a dB."""
    f = 1046.5
    t = time_s(2.0)
    clean = sum(np.sin(2 * np.pi * f * n * t) / n for n in range(1, int(24_000 / f)))
    assert measures.aliasing_db(clean, RATE_HZ, f) < -90
    assert measures.aliasing_db(2 * ((f * t) % 1) - 1, RATE_HZ, f) > -45
    assert measures.aliasing_db(clean + 1e-3 * np.sin(2 * np.pi * 1500 * t), RATE_HZ, f) == pytest.approx(-60, abs=0.5)


def test_a_step_clicks_and_a_smooth_change_does_not() -> None:
    """A sudden change of gain is far over the bar of 6 dB, one over 15 ms with round corners far under it."""
    t = time_s(1.0)
    tone = np.sin(2 * np.pi * 440 * t) + 1e-3 * np.sin(2 * np.pi * 8000 * t)
    u = np.clip((t - 0.5) / 0.015, 0, 1)
    sudden = tone * np.where(t < 0.5 + 1 / 1760, 0.2, 1.0)
    gentle = tone * (0.2 + 0.8 * u**3 * (10 - 15 * u + 6 * u * u))
    steady = {"before_s": (0.2, 0.4), "after_s": (0.6, 0.8)}
    assert measures.click_db(sudden, RATE_HZ, 0.5 + 1 / 1760, **steady) > 12
    assert measures.click_db(gentle, RATE_HZ, 0.5, **steady) < 1
    assert measures.click_db(np.stack((gentle, gentle), 1), RATE_HZ, 0.5, **steady) < 1


def test_clicks_in_a_file_are_found_where_they_are() -> None:
    """Steps, spikes, gaps and repeats of 2-10 % of full scale in music are found, and none in the music alone."""
    rng = np.random.default_rng(3)
    music = np.zeros(int(6 * RATE_HZ))
    for k in range(20):
        music += 0.15 * rng.uniform(0.3, 1) * struck(6.0, 110 * 2 ** (rng.integers(0, 36) / 12), 0.1 + 0.27 * k, 1.5)
    assert len(measures.clicks(music, RATE_HZ)) == 0
    assert len(measures.clicks(np.stack((music, 0.5 * music), 1), RATE_HZ)) == 0
    at = [0.75, 1.9, 3.33, 4.7]
    broken = music.copy()
    broken[int(at[0] * RATE_HZ) :] += 0.1
    broken[int(at[1] * RATE_HZ)] += 0.08
    broken[int(at[2] * RATE_HZ) : int(at[2] * RATE_HZ) + 3] = 0.3
    broken[int(at[3] * RATE_HZ) :] *= -1.0
    found = measures.clicks(broken, RATE_HZ)
    assert len(found) == len(at)
    np.testing.assert_allclose(found, at, atol=0.002)


def test_noise_bursts_are_no_clicks() -> None:
    """Breath and bow noise that swells and dies, and a sharp attack of noise, raise no alarm."""
    noise = np.random.default_rng(9).standard_normal(int(4 * RATE_HZ))
    swell = noise * 0.1 * (1 + np.sin(2 * np.pi * 1.5 * time_s(4.0)))
    attack = noise * 0.2 * (time_s(4.0) > 2.0)
    assert len(measures.clicks(swell, RATE_HZ)) == 0
    assert len(measures.clicks(attack, RATE_HZ)) == 0


def test_windows_and_silence() -> None:
    """RMS windows of a known level; a file is silent only if every window is."""
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time_s(2.0))
    np.testing.assert_allclose(measures.rms_windows(tone, RATE_HZ), 0.5 / np.sqrt(2), rtol=1e-6)
    assert len(measures.rms_windows(tone, RATE_HZ, 0.4, 0.1)) == 17
    assert measures.is_silent(tone * 1e-3, RATE_HZ)
    assert not measures.is_silent(tone, RATE_HZ)
    pulse = np.zeros(int(2 * RATE_HZ))
    pulse[48_000:50_400] = 0.1
    assert not measures.is_silent(pulse, RATE_HZ)


def test_a_sound_that_follows_late_is_seen_to_follow() -> None:
    """Loudness that is a bent copy of motion energy, 0.3 s late, correlates at that lag; noise does not."""
    rng = np.random.default_rng(4)
    energy = np.convolve(rng.random(1200), np.ones(45) / 45, mode="same")  # 20 s at 60 Hz
    t = time_s(20.0)
    level = np.interp(t - 0.3, np.arange(1200) / 60, energy) ** 3
    sound = level * np.sin(2 * np.pi * 300 * t)
    r, lag = measures.follows(sound, RATE_HZ, energy)
    assert r > 0.98
    assert lag == pytest.approx(0.3, abs=0.06)
    assert measures.follows(np.sin(2 * np.pi * 300 * t), RATE_HZ, energy)[0] < 0.5


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    """A spectrogram with its curve is a PNG of some size."""
    pytest.importorskip("matplotlib")
    t = time_s(1.0)
    measures.spectrogram_png(tmp_path / "a.png", np.sin(2 * np.pi * 440 * t), RATE_HZ, np.ones(60))
    data = (tmp_path / "a.png").read_bytes()
    assert data[:4] == b"\x89PNG"
    assert len(data) > 5000
