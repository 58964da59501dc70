"""Quality of the ensemble: each figure beside its bar.

    python benchmarks/quality_ensemble.py

`measure()` returns a list of (name, figure, low, high, unit); a figure is good within its bounds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

sys.path.insert(0, str(Path(__file__).parent))
import audio_measures as measures

from echelon_bridges import audition
from echelon_bridges.audition import Mix, Onset
from echelon_engine._jit import int64, kernel
from echelon_engine.kernels import console, ensemble, pitched, pitched_note, timbres
from echelon_engine.native import clock_ns
from echelon_models.music.tokens import TRACKS

RATE = 48000
Row = tuple[str, float, float, float, str]
Sound = NDArray[np.float32]
PITCHED = TRACKS[console.DRUM_TRACKS :]
SUSTAINED = ("BASS", "PAD", "LEAD", "VOX")


def mix(gain: float = 1.0, only: int | None = None, **parameters: float) -> Mix:
    """Return a mix with every track at `gain`, or one alone, and parameters by name (upper case) as positions."""
    neutral = audition.neutral()
    gains = np.full(12, gain, np.float32)
    if only is not None:
        gains[:] = 0.0
        gains[only] = gain
    for name, position in parameters.items():
        neutral.parameter[getattr(console, name)] = position
    return Mix(gains, neutral.pan, neutral.parameter)


DRY = {"REVERB_SEND": 0.0, "DELAY_SEND": 0.0, "BRIGHTNESS": 1.0, "WIDTH": 1.0}


def held(track: int, pitch: int, seconds: float = 2.5, velocity: float = 0.65, parameters: Any = None) -> Sound:
    """Return one dry note held for `seconds`, half a second longer."""
    band = audition.new_ensemble(RATE)
    still = mix(**{**DRY, **(parameters or {})})
    note = audition.strike(Onset(0.0, track, pitch, velocity, 1.0, seconds), RATE)
    return audition.play(band, round((seconds + 0.5) * RATE), [note], lambda _: still)


def mean_cents(sound: Sound, hz: float) -> float:
    """Return how far the fundamental is off on average, in cents: total phase of the demodulated partial over time."""
    x = sound.mean(axis=1, dtype=np.float64)
    t = np.arange(len(x)) / RATE
    size = int(max(4 * RATE / hz, 1024))
    window = np.hanning(size)
    z = signal.fftconvolve(x * np.exp(-2j * np.pi * hz * t), window / window.sum(), "valid")
    off_hz = np.polyfit(np.arange(len(z)) / RATE, np.unwrap(np.angle(z)), 1, w=np.abs(z))[0] / (2 * np.pi)
    return float(1200.0 * np.log2(1.0 + off_hz / hz))


def pitch_cents(voice: str, pitch: int) -> float:
    """Return the mean error of a held note after its attack."""
    sound = held(TRACKS.index(voice), pitch)
    hz = 440.0 * 2.0 ** ((pitch - 69) / 12)
    # plucked ones before they fade, once the filter no longer turns the phase
    first, last = (0.3, 0.7) if voice in ("STAB", "ARP") else (0.35, 2.4)
    return mean_cents(sound[round(first * RATE) : round(last * RATE)], hz)


def aliasing_db(timbre: int, pitch: int, rate_hz: float = 48000.0, velocity: float = 1.0) -> float:
    """Return the loudest line of a voice's oscillators that is no partial, at the top of its brightness.

    Layers stand on whole multiples of one bin, without detuning, so that every true partial falls on its bin.
    """
    frames = 1 << 15
    pair, work = np.zeros(1, pitched.PITCHED)[0], np.zeros(1, pitched.WORK)[0]
    pitched.init(pair, timbre)
    pitched.onset(pair, float(pitch), velocity, 1.0, 1 << 40, 0)
    pitched.render(np.zeros(64, np.float32), np.zeros(64, np.float32), pair, work, rate_hz, 64)
    note = pair["note"][int(pair["newest"])]
    rise = 2.0 ** (timbres.TIMBRES[timbre].rise / 12.0)
    steps = np.array(note["step"], np.float64) * rise
    unit = max(round(steps[0] * frames / 2), 1) | 1  # half the pitch: fifths lie between octaves
    note["step"][:] = np.where(steps > 0, np.maximum(np.round(steps / steps[0] * 2), 1) * unit / frames, 0.0)
    note["phase"][:] = 0
    work["bend"][:] = 1.0
    work["mod"][:] = 1.0
    sound = np.zeros(frames + 1024, np.float64)
    for at in range(0, len(sound), 64):
        pitched_note.oscillate(work, note, timbre, rate_hz, 64)
        sound[at : at + 64] = work["source"].sum(axis=0)
    spectrum = np.abs(np.fft.rfft(sound[1024:] * signal.windows.blackmanharris(frames)))
    spectrum[:8] = 0.0
    partial = np.zeros(len(spectrum), bool)
    for place in range(unit, len(spectrum), unit):
        partial[max(place - 4, 0) : place + 5] = True
    return float(20 * np.log10(spectrum[~partial].max() / spectrum.max()))


def click_db(voice: str, change: Any, pitch: int = 57, parameters: Any = None) -> float:
    """Return by how much a change on a held note sticks out above 5 kHz, in dB; `change(band, mix)` makes it.

    The loudest 5 ms around the change, over the louder of two renders at the same place: one in which it was never
    made, one in which it was always so. A change of the mix is heard from the next control frame on.
    """
    track, jump, frames = TRACKS.index(voice), int(1.2 * RATE) // 800 * 800, int(1.35 * RATE)
    powers = []
    for at in (jump, frames, 0):
        band = audition.new_ensemble(RATE)
        begin = mix(**{**DRY, **(parameters or {})})
        after = Mix(begin.gain.copy(), begin.pan.copy(), begin.parameter.copy())
        note = audition.strike(Onset(0.0, track, pitch, 0.65, 1.0, 4.0), RATE)

        def make(band: Any, after: Mix = after) -> None:
            change(band, after)

        def now(sample: int, begin: Mix = begin, after: Mix = after, at: int = at) -> Mix:
            return begin if sample < at else after

        if at == 0:
            change(band, after)
        sound = audition.play(band, frames, [note, (jump, make)] if at == jump else [note], now)
        powers.append(np.convolve(measures.high_power(sound, RATE), np.ones(240) / 240, "same"))
    around = slice(jump - 120, jump + 800 + 1080)
    steady = max(powers[1][around].max(), powers[2][around].max(), 1e-12)
    return float(measures.db(powers[0][around].max()) - measures.db(steady))


def set_parameter(which: int, position: float) -> Any:
    """Return a change of one parameter."""

    def change(_: Any, after: Mix) -> None:
        after.parameter[which] = position

    return change


def set_gain(track: int, gain: float, pan: float = 0.0) -> Any:
    """Return a change of one track's fader."""

    def change(_: Any, after: Mix) -> None:
        after.gain[track] = gain
        after.pan[track] = pan

    return change


def toggle(track: int, bits: int) -> Any:
    """Return a change of a track's effects."""
    return lambda band, _: ensemble.effects(band, track, bits)


def retrigger_db(voice: str, spacing_s: float = 0.05) -> float:
    """Return how far the loudest 5 ms above 5 kHz of quick repeats exceed those of the first two onsets, in dB.

    From the third onset on a voice is taken over while its release still sounds.
    """
    band, track = audition.new_ensemble(RATE), TRACKS.index(voice)
    still = mix(**DRY)
    notes = [Onset(1.0 + k * spacing_s, track, 57, 0.65, 1.0, 0.04) for k in range(8)]
    notes = [Onset(0.0, track, 57, 0.65, 1.0, 0.9), *notes]
    sound = audition.play(band, 2 * RATE, [audition.strike(n, RATE) for n in notes], lambda _: still)
    power = np.convolve(measures.high_power(sound, RATE), np.ones(240) / 240, "same")
    first = power[: round((1.0 + spacing_s) * RATE)].max()
    return float(measures.db(power[round((1.0 + spacing_s) * RATE) :].max()) - measures.db(max(first, 1e-12)))


def band_figures(bars: int = 8, velocity: float = 0.65, **parameters: float) -> tuple[float, float, float, float]:
    """Return (peak dBFS, LUFS, centroid Hz, side over middle dB) of a full arrangement at intensity 0.7."""
    still = mix(**parameters)
    still = Mix(still.gain, audition.PANS, still.parameter)
    notes = [audition.strike(n, RATE) for n in audition.arrangement(bars, velocity)]
    sound = audition.play(
        audition.new_ensemble(RATE), round(bars * 240 / audition.TEMPO_BPM * RATE), notes, lambda _: still
    )
    x = sound.astype(np.float64)
    side, middle = ((x[:, 0] - x[:, 1]) ** 2).mean(), ((x[:, 0] + x[:, 1]) ** 2).mean()
    peak = 20 * np.log10(np.abs(x).max())
    aside = float(measures.db(side) - measures.db(middle))
    return float(peak), measures.loudness_lufs(x, RATE), measures.centroid_hz(x, RATE), aside


@kernel
def _timed(times: Any, out: Any, band: Any, gain: Any, pan: Any, parameter: Any, every: int) -> None:
    """Write the ns of each block of 512 samples; every track begins a note every `every` blocks, 0: never."""
    for b in range(times.shape[0]):
        if every > 0 and b % every == 0:
            for t in range(12):
                sound = int64(128) + t + max(t - 1, int64(0)) if t < 4 else int64(57)
                ensemble.onset(band, t, sound, 0.65, 1.0, int64(20000))
        begin = clock_ns()
        ensemble.control(band, gain, pan, parameter, 24000.0, int64(800))
        for k in range(8):
            ensemble.render(out[64 * k : 64 * k + 64], band)
        times[b] = clock_ns() - begin


def milliseconds_per_block(blocks: int = 2000, bits: int = 31, every: int = 12) -> NDArray[np.float64]:
    """Return the times of blocks of 512 samples in ms while all twelve tracks sound, with the effects of `bits`.

    A note an eighth at 120 bpm: the old ones are still releasing. `every` 0: nothing plays. In short bursts at the
    callback's priority where that is allowed.
    """
    from rig import real_time

    band = audition.new_ensemble(RATE)
    still = mix()
    out, times = np.zeros((512, 2), np.float32), np.zeros(blocks, np.int64)
    for t in range(12):
        ensemble.effects(band, t, bits)
    _timed(times[:24], out, band, still.gain, still.pan, still.parameter, every)
    for at in range(0, blocks, 120):
        with real_time():
            _timed(times[at : at + 120], out, band, still.gain, still.pan, still.parameter, every)
        time.sleep(0.02)
    return times / 1e6


def storm(seconds: float, seed: int = 1) -> tuple[bool, float, int]:
    """Play random onsets, effects and jumps of every parameter; return (all finite, peak, resets)."""
    rng = np.random.default_rng(seed)
    band = audition.new_ensemble(RATE)
    actions: list[tuple[int, audition.Action]] = []
    for at in rng.integers(0, int(seconds * RATE), int(60 * seconds)):
        track, sound = int(rng.integers(12)), int(rng.choice([rng.integers(0, 128), rng.integers(128, 140)]))
        note = Onset(at / RATE, track, sound, float(rng.random()), float(rng.random() * 1.25), float(rng.random()))
        actions.append(audition.strike(note, RATE))
        if rng.random() < 0.3:
            bits, which = int(rng.integers(32)), int(rng.integers(12))
            actions.append((int(at), lambda band, which=which, bits=bits: ensemble.effects(band, which, bits)))
    frames = int(seconds * 60) + 1
    jumps = rng.random((frames, 15)).round(rng.integers(0, 3)).astype(np.float32)
    gains, pans = rng.random((frames, 12)).astype(np.float32), rng.uniform(-1, 1, (frames, 12)).astype(np.float32)
    bpm = 124.0
    sound = audition.play(
        band,
        int(seconds * RATE),
        actions,
        lambda at: Mix(gains[at // 800], pans[at // 800], jumps[at // 800]),
        bpm,
    )
    return bool(np.isfinite(sound).all()), float(np.abs(sound).max()), int(band["resets"])


def measure(storm_seconds: float = 60.0) -> list[Row]:
    rows: list[Row] = []
    for voice in PITCHED:
        sound = audition.render(voice)
        peak, rms, centre = audition.figures(sound, RATE)
        rows.append((f"{voice} rms of its phrase", rms, -42.0, -18.0, "dBFS"))
        rows.append((f"{voice} peak", peak, -30.0, -6.0, "dBFS"))
        rows.append((f"{voice} centroid", centre, 100.0, 8000.0, "Hz"))
    for voice in PITCHED:
        if voice == "FX":
            continue  # it rises
        pitches = (36, 45, 57, 69, 81) if voice != "BASS" else (36, 40, 45, 52, 60)
        worst = max(abs(pitch_cents(voice, pitch)) for pitch in pitches)
        rows.append((f"{voice} pitch", worst, 0.0, 3.0, "cent"))
    for k, voice in enumerate(PITCHED):
        worst = max(aliasing_db(k, pitch, rate) for pitch in (72, 78, 84) for rate in (44100.0, 48000.0))
        rows.append((f"{voice} aliasing C5..C6", worst, -200.0, -60.0, "dB"))
    for voice in SUSTAINED:
        track = TRACKS.index(voice)
        for name, bit in (("lpf", 1), ("hpf", 2), ("delay", 4), ("reverb", 8), ("dist", 16)):
            parameters = {"REVERB_SEND": 0.3, "DELAY_SEND": 0.25}
            rows.append(
                (f"{voice} click {name} on", click_db(voice, toggle(track, bit), 57, parameters), -99, 6.0, "dB")
            )
        rows.append((f"{voice} click mute", click_db(voice, set_gain(track, 0.0)), -99, 6.0, "dB"))
        rows.append((f"{voice} click pan", click_db(voice, set_gain(track, 1.0, -1.0)), -99, 6.0, "dB"))
        for name in ("BASS_WEIGHT", "PAD_LEVEL", "INTENSITY", "BRIGHTNESS", "REVERB_SEND", "DELAY_SEND", "WIDTH"):
            which = getattr(console, name)
            worst = max(click_db(voice, set_parameter(which, 1.0 - a), 57, {name: a}) for a in (0.0, 1.0))
            rows.append((f"{voice} click {name.lower()}", worst, -99, 6.0, "dB"))
    rows.extend((f"{voice} click of taking over", retrigger_db(voice), -99, 6.0, "dB") for voice in PITCHED)
    peak, lufs, centre, width = band_figures()
    rows.append(("band peak, intensity 0.7", peak, -8.0, -4.5, "dBFS"))
    rows.append(("band loudness, intensity 0.7", lufs, -17.0, -15.0, "LUFS"))
    rows.append(("band centroid", centre, 1500.0, 8000.0, "Hz"))
    rows.append(("band width 0.7: side over middle", width, -22.0, -6.0, "dB"))
    rows.append(("band width 0: side over middle", band_figures(2, WIDTH=0.0)[3], -300.0, -100.0, "dB"))
    rows.append(("band width 1: side over middle", band_figures(2, WIDTH=1.0)[3], -16.0, -3.0, "dB"))
    rows.append(("band intensity 0 against 0.7", band_figures(2, INTENSITY=0.0)[1] - lufs, -18.0, -8.0, "LU"))
    rows.append(("band intensity 1 against 0.7", band_figures(2, INTENSITY=1.0)[1] - lufs, 2.0, 6.0, "LU"))
    rows.append(("band ff against mf", band_figures(2, 1.0)[1] - lufs, 1.0, 6.0, "LU"))
    finite, peak, resets = storm(storm_seconds)
    rows.append((f"storm of {storm_seconds:g} s: not finite", float(not finite), 0.0, 0.0, ""))
    rows.append(("storm: states reset", float(resets), 0.0, 0.0, ""))
    rows.append(("storm: peak", peak, 0.1, 0.58, ""))
    times, period = milliseconds_per_block(), 512 / RATE * 1e3
    for name, share in (("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)):
        rows.append((f"12 tracks, all effects, {name}", float(np.percentile(times, share)), 0.0, 0.15 * period, "ms"))
    plain = float(np.percentile(milliseconds_per_block(600, 0), 50))
    rows.append(("12 tracks, no effects, p50", plain, 0.0, 0.8, "ms"))
    rows.append(("nothing plays, p50", float(np.median(milliseconds_per_block(240, 0, 0))), 0.0, 0.02, "ms"))
    return rows


if __name__ == "__main__":
    for name, figure, low, high, unit in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0):
        good = low <= figure <= high
        print(
            f"{name:36s} {figure:10.3f} {unit:5s} {low:9.2f} .. {high:9.2f}  {'ok' if good else 'MISSED'}", flush=True
        )
