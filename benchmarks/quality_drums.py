"""Whether the drums sound like their names: each against all real one-shots, by log-mel distance.

    python benchmarks/quality_drums.py [--audio FOLDER] [--picture DRUMS.png] [--json FILE.json]

Every one-shot under the folder (default: ../shared/data/music/audio; loops left out) gets a class by its name. Sounds
are compared as log-mel spectrograms: mono at 44.1 kHz; from 1 ms before the first sample above 1 % of the peak; half a
second, silence behind shorter ones; Hann windows of 1024 samples every 256 in transforms of 4096; 64 triangular bands
from 30 Hz to 16 kHz, equally wide in mel; the loudest window at 0 dB; nothing below -60 dB counts. The distance is the
root mean square difference in dB. The bar: of the five nearest real sounds of each drum all are of its own class.

The constants of the drums were fitted to these same recordings by the first ruler at velocity 0.8, so the bar says that
the models reach their class, not that unheard recordings would agree. Beside it stand what was not fitted: a second
ruler (2048 every 512, 32 bands, one second, -50 dB), other rates, velocities, tunes and noise; the nearest five when
only one sound of a machine and class counts (a TR-808 has 25 kicks here); and how far real sounds' own nearest agree.

Decay: until the level stays 30 dB under its peak; centroid: of the power spectrum of the half second.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from figures import bar, text_table
from numpy.typing import NDArray
from scipy import signal

from echelon_engine.kernels import drum_sounds, drums

RATE_HZ = 44100
AUDIO = Path(__file__).resolve().parents[2] / "shared" / "data" / "music" / "audio"
NEAREST = 5
COLLECTIONS = ("sonic-pi", "uzu-drumkit", "hydrogen-Audiophob")  # of sounds from everywhere
Array = NDArray[np.float64]

# first match wins; names in lower case without their folder
CLASSES = (
    ("", r"^loop_|^bass_|^guit_|^ambi_|^vinyl_|^misc_burp|^misc_crow"),  # no one-shots of drums: not compared at all
    ("cymbal", r"crash|ride|splash|^cr_|^rd_|cymbal_(hard|soft)|elec_cymbal|cymball?($|[-_](cy|long|short))|sabmute"),
    ("oh", r"hat-?open|hhopen|ohihat|openhat|-oh$|^oh_|hhat-.*open|cymbal_open|hihat-open"),
    ("hh", r"hi[hs]?-?hat|hithat|hhclosed|closedhat|chihat|-ch$|^hh_|shorthi|hat-light|cymbal_(closed|pedal)"),
    ("sd", r"snare|_sd|-sd|^sd_|^sn_|shortsn"),
    ("bd", r"kick|^bd_|drum_bass"),
    ("cp", r"clap|^cp_"),
    ("rim", r"(^|[-_])rim|stick"),
    ("tom", r"tom|^[hml]t_"),
    ("perc", r"conga|bongo|clave|block|cowb|timbal|tabla|cabasa|maraca|tamb|guiro|shake|^sh_|^tb_|^cb_|perc|elec_wood"),
    ("other", r""),
)


def class_of(path: Path) -> str:
    """Return the class of a recording by its name: a drum, cymbal, other, or nothing for what is not compared."""
    name = path.stem.removeprefix(path.parent.name.partition("-")[2] + "_").lower()
    name = name.rpartition("__")[2].removeprefix("tr505-")  # hydrogen: number__author__name
    return next(found for found, pattern in CLASSES if re.search(pattern, name))


@dataclass(frozen=True)
class Ruler:
    """A log-mel spectrogram: bands of `window` samples every `hop`, `seconds` long, down to `floor_db`."""

    window: int = 1024
    hop: int = 256
    bands: int = 64
    seconds: float = 0.5
    floor_db: float = -60.0
    low_hz: float = 30.0
    high_hz: float = 16000.0
    transform: int = 4096

    @cached_property
    def filters(self) -> Array:
        """Return the triangles, equally wide in mel = 2595 lg(1 + f / 700 Hz), (bands, bins)."""
        mel = np.linspace(*(2595.0 * np.log10(1.0 + f / 700.0) for f in (self.low_hz, self.high_hz)), self.bands + 2)
        edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
        f = np.fft.rfftfreq(self.transform, 1.0 / RATE_HZ)
        up = (f - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
        down = (edges[2:, None] - f) / (edges[2:] - edges[1:-1])[:, None]
        triangles: Array = np.maximum(np.minimum(up, down), 0.0)
        return triangles

    def __call__(self, sound: Array) -> NDArray[np.float32]:
        """Return the log-mel spectrogram of a sound that begins at its onset, float32 (windows, bands), dB."""
        x = np.zeros(int(self.seconds * RATE_HZ) + self.window)
        x[self.window // 2 :][: len(sound)] = sound[: len(x) - self.window // 2]
        frames = np.lib.stride_tricks.sliding_window_view(x, self.window)[:: self.hop] * np.hanning(self.window)
        power = np.abs(np.fft.rfft(frames, self.transform)) ** 2 @ self.filters.T
        level = 10.0 * np.log10(power / power.sum(axis=1).max() + 1e-12)
        return np.maximum(level, self.floor_db).astype(np.float32)


RULER = Ruler()
OTHER_RULER = Ruler(window=2048, hop=512, bands=32, seconds=1.0, floor_db=-50.0)


def distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> Array:
    """Return the root mean square differences of spectrograms (..., windows, bands), dB."""
    return np.sqrt(np.mean(np.square(a - b, dtype=np.float64), axis=(-2, -1)))


def from_onset(x: Array) -> Array:
    """Return a sound from 1 ms before its first sample above 1 % of the peak."""
    first = int(np.argmax(np.abs(x) > 0.01 * np.abs(x).max()))
    return x[max(first - RATE_HZ // 1000, 0) :]


def at_rate(x: Array, rate_hz: int) -> Array:
    """Return a sound at 44.1 kHz."""
    if rate_hz == RATE_HZ:
        return x
    common = int(np.gcd(RATE_HZ, rate_hz))
    return np.asarray(signal.resample_poly(x, RATE_HZ // common, rate_hz // common), np.float64)


def decay_s(x: Array) -> float:
    """Return the time from the loudest 5 ms until the level stays 30 dB below it."""
    hop = RATE_HZ // 400
    x = np.pad(x, (0, -len(x) % hop))
    level = np.convolve(np.mean(x.reshape(-1, hop) ** 2, axis=1), [0.5, 0.5])
    peak = int(np.argmax(level))
    return float((np.flatnonzero(level > 1e-3 * level[peak])[-1] - peak + 1) * hop / RATE_HZ)


def centroid_hz(x: Array) -> float:
    """Return the centroid of the power spectrum of the first half second."""
    power = np.abs(np.fft.rfft(x[: RATE_HZ // 2])) ** 2
    return float(np.sum(power * np.fft.rfftfreq(min(len(x), RATE_HZ // 2), 1.0 / RATE_HZ)) / np.sum(power))


def render(
    sound: int | NDArray[np.float64], velocity: float = 0.8, rate_hz: int = RATE_HZ, tune: float = 0.0, seed: int = 0
) -> Array:
    """Return one stroke at 44.1 kHz until it has ended; `sound` 0..7 or a row of the table."""
    drum = np.zeros(1, drums.DRUM)[0]
    drums.init(drum, float(rate_hz), seed)
    if isinstance(sound, int):
        drums.strike(drum, sound, float(tune), float(velocity), 1.0)
    else:
        drums.excite(drum, sound, float(tune), float(velocity), 1.0)
    out = np.zeros(8 * rate_hz, np.float32)
    at = 0
    while drum["active"] and at < len(out):
        drums.render(out[at : at + 64], drum)
        at += 64
    return at_rate(out[:at].astype(np.float64), rate_hz)


@dataclass(frozen=True)
class Real:
    """All real one-shots: names, classes, sounds from their onset, log-mel spectrograms by both rulers."""

    names: list[str]
    classes: NDArray[np.str_]
    sounds: list[Array]
    mels: NDArray[np.float32]
    other_mels: NDArray[np.float32]

    def nearest(self, sound: Array, ruler: Ruler = RULER) -> tuple[NDArray[np.intp], Array]:
        """Return the indices of the five nearest and the distances to all."""
        mels = self.mels if ruler is RULER else self.other_mels
        away = distances(mels, ruler(sound))
        return np.argsort(away, kind="stable")[:NEAREST], away

    def nearest_machines(self, sound: Array) -> list[int]:
        """Return the indices of the five nearest, one of each machine (or collection) and class."""
        found: dict[tuple[str, str], int] = {}
        for i in np.argsort(distances(self.mels, RULER(sound)), kind="stable"):
            folder, _, name = self.names[i].partition("/")
            machine = name.partition("_")[0] if folder == "dm" else folder
            one = self.names[i] if folder in COLLECTIONS else machine
            found.setdefault((one, str(self.classes[i])), int(i))
        return list(found.values())[:NEAREST]

    def medoid(self, name: str) -> int:
        """Return the index of the sound of a class that has the least sum of distances to the others."""
        own = np.flatnonzero(self.classes == name)
        sums = [distances(self.mels[own], self.mels[i]).sum() for i in own]
        return int(own[int(np.argmin(sums))])

    def agreement(self, name: str) -> float:
        """Return the share of own neighbours among the five nearest of the real sounds of a class."""
        shares = []
        for i in np.flatnonzero(self.classes == name):
            away = distances(self.mels, self.mels[i])
            away[i] = np.inf
            shares.append(np.mean(self.classes[np.argsort(away)[:NEAREST]] == name))
        return float(np.mean(shares))


def load(folder: Path = AUDIO) -> Real:
    """Read all one-shots under a folder."""
    import soundfile

    names, classes, sounds = [], [], []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".flac", ".ogg", ".wav"} or not (found := class_of(path)):
            continue
        samples, rate_hz = soundfile.read(path, always_2d=True)
        sound = from_onset(at_rate(samples.mean(axis=1), int(rate_hz)))
        names.append(f"{path.parent.name.replace('smpldsnds-drum-machines', 'dm')}/{path.stem}")
        classes.append(found)
        sounds.append(sound)
    if not names:
        raise SystemExit(f"{folder}: no recordings (.flac, .ogg, .wav) there; give their folder by --audio")
    return Real(
        names,
        np.array(classes),
        sounds,
        np.stack([RULER(sound) for sound in sounds]),
        np.stack([OTHER_RULER(sound) for sound in sounds]),
    )


def measure(folder: Path = AUDIO) -> dict[str, Any]:
    """Return for each drum its nearest real sounds, centroid and decay beside its class, and the bars."""
    real = load(folder)
    result: dict[str, Any] = {"one_shots": dict(Counter(real.classes.tolist())), "drums": {}, "bars": []}
    for number, name in enumerate(drum_sounds.DRUMS):
        own = [real.sounds[i] for i in np.flatnonzero(real.classes == name)]
        mine = render(number)
        sound = from_onset(mine)
        nearest, away = real.nearest(sound)

        def agreeing(x: Array, ruler: Ruler = RULER, name: str = name) -> int:
            return int(np.sum(real.classes[real.nearest(from_onset(x), ruler)[0]] == name))

        entry = {
            "nearest": [(real.names[i], str(real.classes[i]), round(float(away[i]), 2)) for i in nearest],
            "own_of_5": int(np.sum(real.classes[nearest] == name)),
            "own_of_5_other_ruler": agreeing(sound, OTHER_RULER),
            "own_of_5_machines": int(np.sum(real.classes[real.nearest_machines(sound)] == name)),
            "own_of_5_variants": {
                "48 kHz": agreeing(render(number, rate_hz=48000)),
                "96 kHz": agreeing(render(number, rate_hz=96000)),
                "soft": agreeing(render(number, velocity=0.5)),
                "hard": agreeing(render(number, velocity=1.0)),
                "+2 semitones": agreeing(render(number, tune=2.0)),
                "-2 semitones": agreeing(render(number, tune=-2.0)),
                "other noise": agreeing(render(number, seed=1)),
            },
            "real_agreement": round(real.agreement(name), 2),
            "nearest_of_other_class": round(float(away[real.classes != name].min()), 2),
            "medoid": real.names[real.medoid(name)],
            "centroid_hz": round(centroid_hz(sound)),
            "centroid_class_hz": np.round(np.quantile([centroid_hz(x) for x in own], [0.25, 0.5, 0.75])).tolist(),
            "decay_s": round(decay_s(sound), 3),
            "decay_class_s": np.round(np.quantile([decay_s(x) for x in own], [0.25, 0.5, 0.75]), 3).tolist(),
            "peak": round(float(np.abs(mine).max()), 3),
        }
        result["drums"][name] = entry
        result["bars"].append(
            bar(f"{name}: nearest real sounds of its class", entry["own_of_5"], "of 5", ">=", NEAREST)
        )
    return result


def table(result: dict[str, Any]) -> str:
    """Return what `measure` found, for reading."""

    def quartiles(values: list[float], form: str) -> str:
        return " .. ".join(format(v, form) for v in values)

    rows = [
        [
            name,
            result["one_shots"].get(name, 0),
            f"{d['own_of_5']}/5",
            f"{d['own_of_5_other_ruler']}/5",
            f"{d['own_of_5_machines']}/5",
            " ".join(str(n) for n in d["own_of_5_variants"].values()),
            f"{5 * d['real_agreement']:.1f}/5",
            d["centroid_hz"],
            quartiles(d["centroid_class_hz"], ".0f"),
            d["decay_s"],
            quartiles(d["decay_class_s"], ".2f"),
        ]
        for name, d in result["drums"].items()
    ]
    head = [
        "drum",
        "real",
        "own",
        "other ruler",
        "machines",
        "variants",
        "real ones",
        "centroid Hz",
        "class",
        "decay s",
        "class",
    ]
    lines = [text_table(head, rows), "", "variants: " + ", ".join(result["drums"]["bd"]["own_of_5_variants"])]
    lines.append("machines: one sound of a machine and class counts")
    lines.append("class: quartiles and median of the real ones; real ones: how far their own five nearest agree")
    for name, d in result["drums"].items():
        near = ", ".join(f"{real} {cls if cls != name else ''}{away:6.2f}" for real, cls, away in d["nearest"])
        lines.append(f"{name:5s} {near}; nearest of another class {d['nearest_of_other_class']}")
    return "\n".join(lines)


def picture(path: Path, folder: Path = AUDIO) -> None:
    """Draw each drum above the medoid of its class: waveform and log-mel spectrogram."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    real = load(folder)
    columns = len(drum_sounds.DRUMS)
    figure, axes = plt.subplots(4, columns, figsize=(3.2 * columns, 11), layout="constrained")
    for i, name in enumerate(drum_sounds.DRUMS):
        medoid = real.medoid(name)
        for row, (title, sound) in enumerate(
            ((name, from_onset(render(i))), (real.names[medoid], real.sounds[medoid]))
        ):
            x = sound[: RATE_HZ // 2]
            wave, mel = axes[2 * row, i], axes[2 * row + 1, i]
            wave.plot(np.arange(len(x)) / RATE_HZ, x / np.abs(x).max(), linewidth=0.4)
            wave.set(title=title, xlim=(0, 0.5), ylim=(-1, 1))
            wave.title.set_fontsize(8)
            mel.imshow(RULER(sound).T, origin="lower", aspect="auto", cmap="magma", vmin=-60, vmax=0)
    figure.savefig(path, dpi=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=AUDIO)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = measure(args.audio)
    print(table(result))
    for line in result["bars"]:
        print(f"{line['what']:45s} {line['value']} bar {line['bar']}  {'ok' if line['met'] else 'MISSED'}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if args.picture:
        picture(args.picture, args.audio)


if __name__ == "__main__":
    main()
