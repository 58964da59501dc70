"""The ensemble, heard alone: every voice in a short phrase, every drum, and all twelve tracks as a band."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.errors import UserError
from echelon_engine.kernels import console, ensemble
from echelon_engine.memory import CONTROL_RATE_HZ
from echelon_engine.wav import WavWriter
from echelon_models.music.tokens import DRUMS, TRACKS

BAND = "band"  # all twelve tracks, eight bars
TEMPO_BPM = 124.0
# where the tracks stand in the phrase of the whole band
PANS = np.array([0.0, 0.0, 0.15, -0.1, 0.0, 0.0, 0.0, 0.12, -0.2, 0.0, 0.1, 0.0], np.float32)


@dataclass(frozen=True, slots=True)
class Onset:
    """A token of the phrase: when (s), on which track, what (MIDI, or 128 + drum), how hard and how long (s)."""

    at_s: float
    track: int
    sound: int
    velocity: float = 0.65
    gain: float = 1.0
    length_s: float = 0.2
    chord: int = 0  # pitch classes known from here on


Sound = NDArray[np.float32]
Action = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Mix:
    """What `ensemble.control` takes at one control frame."""

    gain: Sound
    pan: Sound
    parameter: Sound


def neutral() -> Mix:
    """Return the mix in which every track stands where the table puts it."""
    return Mix(np.ones(12, np.float32), np.zeros(12, np.float32), console.NEUTRAL.copy())


def new_ensemble(rate_hz: int = 48000) -> Any:
    """Return a silent ENSEMBLE record."""
    band = np.zeros(1, ensemble.ENSEMBLE)[0]
    ensemble.init(band, float(rate_hz))
    return band


def play(
    band: Any,
    frames: int,
    actions: Sequence[tuple[int, Action]] = (),
    mix: Callable[[int], Mix] | None = None,
    tempo_bpm: float = TEMPO_BPM,
    segment: int = 64,
) -> Sound:
    """Render `frames` samples, float32 (frames, 2), cut as the callback cuts: at control frames, actions and a grid.

    `actions` are (sample, function of the record); `mix` gives the mix at a sample, neutral without it.
    """
    rate_hz = float(band["rate_hz"])
    period = int(rate_hz / CONTROL_RATE_HZ)
    still = neutral()
    out = np.zeros((frames, 2), np.float32)
    waiting = sorted(actions, key=lambda action: action[0])
    at = done = 0
    while at < frames:
        if at % period == 0:
            now = mix(at) if mix else still
            ensemble.control(band, now.gain, now.pan, now.parameter, 60.0 / tempo_bpm * rate_hz, period)
        while done < len(waiting) and waiting[done][0] <= at:
            waiting[done][1](band)
            done += 1
        end = min(frames, at + segment - at % segment, at + period - at % period)
        if done < len(waiting):
            end = min(end, waiting[done][0])
        ensemble.render(out[at:end], band)
        at = end
    return out


def strike(onset: Onset, rate_hz: int) -> tuple[int, Action]:
    """Return an onset as an action of `play`."""

    def begin(band: Any) -> None:
        if onset.chord:
            ensemble.chord(band, onset.chord)
        samples = max(round(onset.length_s * rate_hz), 1)
        ensemble.onset(band, onset.track, onset.sound, onset.velocity, onset.gain, samples)

    return round(onset.at_s * rate_hz), begin


# Phrases of the pitched voices, times and lengths in seconds: (at, pitch, velocity, length); A minor
_PHRASES: dict[str, list[tuple[float, int, float, float]]] = {
    "BASS": [(0.0, 45, 0.65, 0.4), (0.75, 45, 0.5, 0.15), (1.0, 40, 0.8, 0.4), (2.0, 36, 1.0, 1.0)],
    "PAD": [(0.0, 57, 0.65, 2.0), (2.0, 53, 0.65, 2.0), (4.0, 55, 0.5, 2.0)],
    "LEAD": [(0.0, 69, 0.65, 0.9), (1.0, 72, 0.65, 0.4), (1.5, 76, 0.8, 0.4), (2.0, 74, 0.65, 1.6)],
    "STAB": [(0.0, 57, 0.65, 0.2), (0.75, 57, 0.5, 0.1), (1.25, 60, 0.8, 0.2), (2.0, 53, 1.0, 0.2)],
    "ARP": [(k * 0.125, (57, 60, 64, 69, 72, 69, 64, 60)[k % 8], 0.5 + 0.3 * (k % 4 == 0), 0.12) for k in range(24)],
    "FX": [(0.0, 60, 0.65, 4.0), (4.2, 72, 0.8, 0.4)],
    "VOX": [(0.0, 57, 0.65, 0.9), (1.0, 60, 0.65, 0.9), (2.0, 64, 0.8, 1.4), (3.6, 52, 0.5, 1.2)],
    "AMB": [(0.0, 57, 0.65, 3.0), (3.0, 64, 0.65, 2.5)],
}  # fmt: skip


def _drum_phrase(track: int, sound: int) -> list[Onset]:
    soft_to_hard = [(0.0, 0.65), (0.8, 0.35), (1.2, 0.5), (1.6, 0.8), (2.0, 1.0), (2.8, 0.65), (2.925, 0.65)]
    return [Onset(at_s, track, sound, velocity) for at_s, velocity in soft_to_hard]


def arrangement(bars: int = 8, velocity: float = 0.65, tempo_bpm: float = TEMPO_BPM) -> list[Onset]:
    """Return a full arrangement in A minor: every track plays, at one velocity."""
    sixteenth_s = 15.0 / tempo_bpm
    chords = [(57, (0, 4, 9)), (53, (5, 9, 0)), (48, (0, 4, 7)), (55, (7, 11, 2))]
    notes: list[Onset] = []

    def add(track: str, step: int, sound: int, steps: int, gain: float = 1.0) -> None:
        at_s = (16 * bar + step) * sixteenth_s
        notes.append(Onset(at_s, TRACKS.index(track), sound, velocity, gain, steps * sixteenth_s, mask))

    for bar in range(bars):
        root, classes = chords[bar % 4]
        mask = sum(1 << pitch_class for pitch_class in classes)
        for step in (0, 4, 8, 12):
            add("KICK", step, 128, 1)
        for step in (4, 12):
            add("SNARE", step, 129, 1)
            add("CLAP", step, 132, 1)
        for step in range(0, 16, 2):
            add("HH", step, 130 if step % 4 == 0 else 131, 1)
        for step in (0, 3, 6, 10, 14):
            add("BASS", step, root - 12, 2)
        add("PAD", 0, root, 16)
        for step, up in ((0, 12), (3, 15), (6, 19), (8, 17), (12, 15), (14, 12)):
            add("LEAD", step, root + up, 3)
        for step in (2, 6, 10, 13):
            add("STAB", step, root, 1)
        for step in range(16):
            add("ARP", step, root + (0, 7, 12, 15, 19, 12, 7, 0)[step % 8], 1)
        add("FX", 0, 60, 16)
        add("VOX", 0, root, 8)
        add("VOX", 8, root + 3, 8)
        add("AMB", 0, root, 16)
    return notes


def phrase(voice: str) -> tuple[list[Onset], float]:
    """Return the onsets of a voice's phrase, and its seconds with what rings on: of a track, a drum or the band."""
    if voice == BAND:
        return arrangement(), 8 * 240.0 / TEMPO_BPM + 2.0
    if voice in DRUMS:
        sound = DRUMS.index(voice)
        track = {"sd": 1, "hh": 2, "oh": 2, "cp": 3}.get(voice, 0)
        return _drum_phrase(track, 128 + sound), 4.2
    track = TRACKS.index(voice)
    if track < console.DRUM_TRACKS:
        return _drum_phrase(track, 128 + (0, 1, 2, 4)[track]), 4.2
    a_minor = 1 << 0 | 1 << 4 | 1 << 9
    notes = [Onset(at, track, p, v, 1.0, length, a_minor) for at, p, v, length in _PHRASES[voice]]
    return notes, max(note.at_s + note.length_s for note in notes) + 2.0


def render(voice: str, rate_hz: int = 48000) -> Sound:
    """Return the phrase of a voice, played alone by a fresh ensemble, float32 (frames, 2)."""
    notes, seconds = phrase(voice)
    still = neutral()
    if voice == BAND:
        still = Mix(still.gain, PANS, still.parameter)
    return play(
        new_ensemble(rate_hz), round(seconds * rate_hz), [strike(note, rate_hz) for note in notes], lambda _: still
    )


def figures(sound: Sound, rate_hz: int) -> tuple[float, float, float]:
    """Return (peak dBFS, RMS dBFS of what is louder than -60 dBFS, centre of gravity of the spectrum in Hz)."""
    x = np.asarray(sound, np.float64)
    peak = float(np.abs(x).max())
    cells = x[: len(x) // 480 * 480].reshape(-1, 480, 2) if len(x) >= 480 else x[None]
    power = (cells**2).mean(axis=(1, 2))
    loud = power[power > 1e-6]
    rms = float(loud.mean()) if len(loud) else 0.0
    spectrum = np.abs(np.fft.rfft(x.mean(axis=1)))
    hz = np.fft.rfftfreq(len(x), 1.0 / rate_hz)
    centre = float((hz * spectrum).sum() / spectrum.sum()) if spectrum.any() else 0.0
    return 20.0 * math.log10(max(peak, 1e-10)), 10.0 * math.log10(max(rms, 1e-20)), centre


def save(path: Path, sound: Sound, rate_hz: int) -> None:
    """Write a WAV file."""
    with WavWriter(path, rate_hz) as wav:
        wav.write(sound)


def draw(path: Path, sound: Sound, rate_hz: int, title: str) -> None:
    """Draw waveform and spectrogram, a PNG. Raises `UserError` where matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        rule, remedy = "matplotlib is not installed", "install the extra: pip install 'echelon-engine[plot]'"
        raise UserError("a picture of a voice", rule, remedy) from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    size, hop = 2048, 256
    middle = sound.mean(axis=1, dtype=np.float64)
    cells = np.lib.stride_tricks.sliding_window_view(np.pad(middle, size // 2), size)[::hop]
    level_db = 20.0 * np.log10(np.abs(np.fft.rfft(cells * np.hanning(size))) / (0.25 * size) + 1e-7).T
    time_s, hz = np.arange(level_db.shape[1]) * hop / rate_hz, np.fft.rfftfreq(size, 1.0 / rate_hz)
    figure, (wave, spectrum) = plt.subplots(
        2, 1, sharex=True, figsize=(12, 7), height_ratios=[1, 3], layout="constrained"
    )
    wave.plot(np.arange(len(sound)) / rate_hz, sound, linewidth=0.4)
    wave.set(title=title, ylabel="sound")
    spectrum.pcolormesh(time_s, hz[1:], level_db[1:], vmin=-110, vmax=-15, cmap="magma", rasterized=True)
    spectrum.set(yscale="log", ylim=(30, rate_hz / 2), xlim=(0, time_s[-1]), xlabel="s", ylabel="Hz")
    figure.savefig(path, dpi=80)
    plt.close(figure)
