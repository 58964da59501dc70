"""The pitched voices: in tune, free of aliasing, taken over without a click, each what its name says."""

from typing import Any

import numpy as np
import pytest
from measures import measures

from echelon_engine.kernels import pitched, svf, timbres, waves
from echelon_models.music.tokens import TRACKS

quality = measures("quality_ensemble")
NAMES = quality.PITCHED
A_MINOR = 1 << 0 | 1 << 4 | 1 << 9


def _voice(timbre: int, rate_hz: float = 48000.0) -> tuple[Any, Any]:
    pair, work = np.zeros(1, pitched.PITCHED)[0], np.zeros(1, pitched.WORK)[0]
    svf.fill_table(work["table"], rate_hz)
    pitched.init(pair, timbre)
    return pair, work


def _render(pair: Any, work: Any, cuts: Any, rate_hz: float = 48000.0) -> Any:
    out = np.zeros((2, sum(cuts)), np.float32)
    at = 0
    for n in cuts:
        pitched.render(out[0, at : at + n], out[1, at : at + n], pair, work, rate_hz, n)
        at += n
    return out


@pytest.mark.parametrize("voice", [name for name in NAMES if name != "FX"])
@pytest.mark.parametrize("pitch", [45, 69])
def test_in_tune(voice: str, pitch: int) -> None:
    """A held note is within 3 cents of its pitch on average, vibrato and detuned layers included."""
    assert abs(quality.pitch_cents(voice, pitch)) < 3.0


@pytest.mark.parametrize("timbre", range(8))
def test_aliasing_of_high_notes(timbre: int) -> None:
    """At C6, fortissimo and at the top of its brightness, what is no partial is 60 dB down."""
    assert quality.aliasing_db(timbre, 84) < -60.0


def test_saw_is_its_series() -> None:
    """The closed form is the sum of a^k sin(k q) / k."""
    from echelon_engine._jit import kernel

    @kernel
    def render(out, turns, a):  # type: ignore[no-untyped-def]
        for i in range(out.shape[0]):
            out[i] = waves.saw(turns[i], a)

    turns = np.linspace(-1.9, 1.9, 777).astype(np.float32)
    for a in (0.001, 0.3, 0.8, 0.97):
        out = np.zeros(777, np.float32)
        render(out, turns, np.float32(a))
        k = np.arange(1, 2000)[:, None]
        series = (a**k * np.sin(2 * np.pi * k * turns.astype(np.float64)) / k).sum(axis=0)
        assert np.abs(out - series).max() < 2e-5 * max(1.0, 1.0 / (1.0 - a) / 10)


@pytest.mark.parametrize("timbre", range(8))
def test_cuts_do_not_matter(timbre: int) -> None:
    """A note with its release, and one that takes its voice over, are the same to the last bits of a float."""
    heard = []
    for cuts in ([64] * 15, [64, 1, 63, 32, 32] * 5, [16] * 60):
        pair, work = _voice(timbre)
        parts = []
        for k in range(4):
            pitched.onset(pair, 57.0 + k, 0.65, 1.0, 700, A_MINOR)
            parts.append(_render(pair, work, cuts))
        heard.append(np.concatenate(parts, axis=1))
    assert np.abs(heard[0]).max() > 0.001
    # a loop's remainder rounds otherwise than its vectors do
    assert np.abs(heard[0] - heard[1]).max() < 2e-6 * np.abs(heard[0]).max()
    assert np.abs(heard[0] - heard[2]).max() < 2e-6 * np.abs(heard[0]).max()


@pytest.mark.parametrize("voice", NAMES)
def test_taking_over_does_not_click(voice: str) -> None:
    """Repeats that come while two notes still sound are no sharper above 5 kHz than the first."""
    assert quality.retrigger_db(voice) < 6.0


@pytest.mark.parametrize("timbre", range(8))
def test_note_ends_with_its_length(timbre: int) -> None:
    """After its length and its release a note is over, to the last bit."""
    pair, work = _voice(timbre)
    pitched.onset(pair, 60.0, 0.65, 1.0, 4800, 0)
    seconds = 0.1 + 2.0 * timbres.TIMBRES[timbre].release_s
    sound = _render(pair, work, [64] * int(seconds * 48000 / 64))
    assert np.abs(sound).max() > 0.001
    assert not pitched.sounding(pair)
    assert not _render(pair, work, [64]).any()


def test_chords_are_built_from_the_chord() -> None:
    """A stab on A in A minor sounds A, C and E; in A major C sharp instead of C."""

    def partial(sound: Any, pitch: int) -> float:
        spectrum = np.abs(np.fft.rfft(sound.sum(axis=0) * np.hanning(sound.shape[1])))
        k = round(440.0 * 2.0 ** ((pitch - 69) / 12) * sound.shape[1] / 48000)
        return float(spectrum[k - 2 : k + 3].max())

    found = {}
    for name, mask in (("minor", A_MINOR), ("major", 1 << 1 | 1 << 4 | 1 << 9)):
        pair, work = _voice(NAMES.index("STAB"))
        pitched.onset(pair, 57.0, 0.65, 1.0, 24000, mask)
        found[name] = _render(pair, work, [64] * 250)
    assert partial(found["minor"], 60) > 10 * partial(found["minor"], 61)
    assert partial(found["major"], 61) > 10 * partial(found["major"], 60)
    assert partial(found["minor"], 64) > 0.1 * partial(found["minor"], 57)


def test_harder_is_louder_and_brighter() -> None:
    """Velocity raises level and centroid of the bass, the lead, the stab and the arpeggio."""
    for voice in ("BASS", "LEAD", "STAB", "ARP"):
        soft, hard = (quality.held(TRACKS.index(voice), 52, 0.4, v) for v in (0.35, 1.0))
        assert np.abs(hard).max() > 1.5 * np.abs(soft).max()
        assert quality.measures.centroid_hz(hard, 48000) > 1.1 * quality.measures.centroid_hz(soft, 48000)


def test_voices_sound_like_their_names() -> None:
    """Bass low, pad slow and wide, lead with vibrato, stab and arp short, fx rising, vox with formants, amb airy."""
    hold = {name: quality.held(TRACKS.index(name), 45 if name == "BASS" else 57, 2.0) for name in NAMES}

    def level(name: str, begin: float, end: float) -> float:
        return float(np.sqrt((hold[name][int(begin * 48000) : int(end * 48000)].astype(np.float64) ** 2).mean()))

    def centroid(name: str, begin: float, end: float) -> float:
        return float(quality.measures.centroid_hz(hold[name][int(begin * 48000) : int(end * 48000)], 48000))

    def width(name: str) -> float:
        x = hold[name].astype(np.float64)
        return float(((x[:, 0] - x[:, 1]) ** 2).mean() / ((x[:, 0] + x[:, 1]) ** 2).mean())

    assert centroid("BASS", 0.5, 1.5) < 400.0
    assert centroid("BASS", 0.0, 0.03) > 1.3 * centroid("BASS", 0.5, 1.5)
    assert level("PAD", 0.0, 0.05) < 0.25 * level("PAD", 0.5, 1.5)
    assert width("PAD") > 0.05 > width("BASS")
    for name in ("STAB", "ARP"):
        assert level(name, 0.8, 1.2) < 0.1 * level(name, 0.0, 0.1)
    assert centroid("FX", 1.5, 2.0) > 2.0 * centroid("FX", 0.2, 0.7)
    assert level("FX", 1.5, 2.0) > level("FX", 0.2, 0.7)
    x = hold["LEAD"][36000:96000].mean(axis=1, dtype=np.float64)
    turning = np.unwrap(
        np.angle(np.convolve(x * np.exp(-2j * np.pi * 220.0 / 48000 * np.arange(60000)), np.hanning(2000)))
    )
    shakes = np.abs(np.fft.rfft(np.diff(turning[4000:52000]) * np.hanning(47999)))
    assert 4.5 < np.argmax(shakes[2:20]) + 2 < 6.5  # Hz: one second is heard
    x = hold["AMB"][48000:96000].mean(axis=1, dtype=np.float64)
    spectrum = np.abs(np.fft.rfft(x * np.hanning(48000))) ** 2
    flat = np.exp(np.log(spectrum[500:8000] + 1e-20).mean()) / spectrum[500:8000].mean()
    assert flat > 0.01  # noise between the tones


def test_vowels_differ_from_note_to_note() -> None:
    """The first note of the voice begins on an open ah, the second on an eh: its second formant lies higher."""
    pair, work = _voice(NAMES.index("VOX"))
    shares = []
    for _ in range(2):
        pitched.onset(pair, 45.0, 0.65, 1.0, 12000, 0)
        sound = _render(pair, work, [64] * 150).sum(axis=0)
        _render(pair, work, [64] * 900)
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        hz = np.fft.rfftfreq(len(sound), 1 / 48000)
        shares.append([spectrum[(hz > a) & (hz < b)].sum() for a, b in ((900, 1300), (1500, 1900))])
    assert shares[0][0] > shares[0][1]
    assert shares[1][1] > shares[1][0]
