"""Does the instrument, without the band, follow the body? Every clip and the dancer: `python benchmarks/follow.py`.

Each clip plays once (DeepMimic clips and what is shorter than 8 s loop for 12 s), then its last pose is held for 20 s.
Bars: rank correlation of motion energy and loudness at least 0.5 on every clip longer than 8 s, under -60 dBFS at the
end of the hold, no sample above the ceiling, no click outside the attack of a note.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import audio_measures as am
import numpy as np
from figures import bar, bar_table, text_table

from echelon_bridges.motion import files
from echelon_bridges.motion.dancer import Dancer
from echelon_engine import offline, units
from echelon_engine.config import Config
from echelon_engine.live import initial_settings
from echelon_models.weights import load_all

RATE_HZ = 48000
MOTION = Path(__file__).resolve().parents[2] / "shared" / "data" / "motion"
DANCES = ((1, 96.0), (2, 70.0), (3, 140.0), (7, 120.0))  # seed, tempo in beats a minute
DANCE_S, LOOP_S, LONG_S, HOLD_S, END_S = 60.0, 12.0, 8.0, 20.0, 5.0
ATTACK_S = 0.045  # from the control frame of a note: two frames, the look-ahead of the limiter, the blow and its echo
BAR, SILENCE_DB, CEILING_DB = 0.5, -60.0, -1.0


def dance(seed: int, tempo_bpm: float, seconds: float = DANCE_S) -> files.Clip:
    """Return the built-in dancer as a clip."""
    dancer = Dancer(seed, tempo_bpm)
    frames = dancer.frames(0, round(seconds * dancer.rate_hz))
    return files.Clip(f"dancer, seed {seed}, {tempo_bpm:g} a minute", frames, dancer.rate_hz, dancer.offsets)


def recorded(path: Path) -> tuple[files.Clip, bool]:
    """Return a motion file, looped where it is short, and whether it had to be."""
    clip = files.load(path)
    if clip.duration_s > LONG_S:
        return clip, False
    return replace(clip, frames=clip.loop().frames(0, round(LOOP_S * clip.rate_hz))), True


def play(clip: files.Clip, hold_s: float = HOLD_S) -> tuple[offline.Rendering, float]:
    """Return a clip as the instrument alone sounds, its last pose held, and how long the clip itself is (s)."""
    config = Config()
    length_s = len(clip.frames) / clip.rate_hz
    frames = files.hold(clip, hold_s).frames
    settings = initial_settings(config)[0]
    return offline.render(frames, length_s + hold_s, settings, load_all(config.models), rate_hz=RATE_HZ), length_s


def attacks_s(heard: offline.Rendering) -> am.Array:
    """Return when notes begin (s): each is counted in the control frame that asked for it, or in the one after."""
    records = heard.records
    begun = np.flatnonzero(np.diff(records["onsets"].astype(np.int64), prepend=0) > 0)
    return np.asarray(records["sample"][np.maximum(begun - 1, 0)] / RATE_HZ)


def stray_clicks(heard: offline.Rendering) -> list[float]:
    """Return the times (s) of clicks that are not the attack of a note: a blow is sharp, and meant to be."""
    found = am.clicks(heard.sound, RATE_HZ)
    gap = found[:, None] - attacks_s(heard)[None, :]
    attack = ((gap > -1e-3) & (gap < ATTACK_S)).any(axis=1)
    return [round(float(at_s), 3) for at_s in found[~attack]]


def figures(name: str, heard: offline.Rendering, length_s: float, *, looped: bool = False) -> dict[str, Any]:
    """Return what is measured of one rendering, JSON-ready."""
    size = round(length_s * RATE_HZ)
    sound = heard.sound[:size].astype(np.float64)
    energy = heard.records["energy"][: round(length_s * 60)].astype(np.float64)
    correlation, lag_s = am.follows(sound, RATE_HZ, energy)
    moving = am.rms_windows(energy, 60.0, 0.4, 0.2)
    low, high = np.quantile(moving, [0.25, 0.75])
    brightness: dict[bool, list[float]] = {False: [], True: []}
    for window, amount in enumerate(moving):
        begin = round(window * 0.2 * RATE_HZ)
        hertz = am.centroid_hz(sound[begin : begin + round(0.4 * RATE_HZ)], RATE_HZ)
        if hertz > 0.0 and not low < amount < high:
            brightness[bool(amount >= high)].append(hertz)
    calm, lively = (float(np.mean(brightness[side])) if brightness[side] else 0.0 for side in (False, True))
    peak = float(np.abs(heard.sound).max())
    end = heard.sound[-round(END_S * RATE_HZ) :].astype(np.float64)
    notes = int(heard.records["onsets"].max())
    return {
        "clip": name,
        "seconds": round(length_s, 1),
        "looped": looped,
        "correlation": round(correlation, 2),
        "lag_s": round(lag_s, 2),
        "loudness_lufs": round(am.loudness_lufs(sound, RATE_HZ), 1),
        "peak_dbfs": round(float(am.db(peak**2)), 1),
        "clicks": len(stray_clicks(heard)),
        "end_rms_dbfs": round(float(am.db((end**2).mean())), 1),
        "end_peak_dbfs": round(float(am.db(np.abs(end).max() ** 2)), 1),
        "notes_per_s": round(notes / length_s, 1),
        "brightness_ratio": round(lively / calm, 2) if calm else None,
        "finite": bool(np.isfinite(heard.sound).all()),
    }


def clips() -> Iterable[tuple[files.Clip, bool]]:
    """Yield every performance: the dancer, and where the reference data is there, what was recorded."""
    for seed, tempo_bpm in DANCES:
        yield dance(seed, tempo_bpm), False
    patterns = ("bvh/*.bvh", "packets/mocopi_stream/*.smfstream", "deepmimic/humanoid3d_*.txt")
    for path in [found for pattern in patterns for found in sorted(MOTION.glob(pattern))]:
        yield recorded(path)


def measure(pictures: Path | None = None) -> dict[str, Any]:
    """Return the figures of each performance and its bars; `pictures` is a folder for spectrograms over energy."""
    units.compile_cold()
    rows = []
    for clip, looped in clips():
        heard, length_s = play(clip)
        rows.append(figures(clip.name, heard, length_s, looped=looped))
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            name = clip.name.replace(", ", "-").replace(" ", "_")
            am.spectrogram_png(pictures / f"{name}.png", heard.sound, RATE_HZ, heard.records["energy"])
    least = min((row for row in rows if not row["looped"]), key=lambda row: row["correlation"])
    return {
        "figures": rows,
        "bars": [
            bar(f"loudness follows energy, least: {least['clip']}", least["correlation"], "", ">=", BAR),
            bar("peak after 20 s of held pose", max(row["end_peak_dbfs"] for row in rows), "dBFS", "<", SILENCE_DB),
            bar("highest peak", max(row["peak_dbfs"] for row in rows), "dBFS", "<=", CEILING_DB + 0.05),
            bar("clicks", sum(row["clicks"] for row in rows), "", "<=", 0),
            bar("renders with a value that is not finite", sum(not row["finite"] for row in rows), "", "<=", 0),
        ],
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    head = ("clip", "s", "corr", "lag s", "LUFS", "peak dBFS", "clicks", "end dBFS", "notes/s", "bright x")
    names = (
        *("seconds", "correlation", "lag_s", "loudness_lufs", "peak_dbfs", "clicks"),
        *("end_peak_dbfs", "notes_per_s", "brightness_ratio"),
    )
    rows = [
        [row["clip"] + (" *" if row["looped"] else ""), *("-" if row[name] is None else row[name] for name in names)]
        for row in result["figures"]
    ]
    return text_table(head, rows) + "\n* shorter than 8 s, looped: the bar of the correlation is not set for it"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--pictures", type=Path, help="also draw sound and motion energy into this folder")
    arguments = parser.parse_args()
    result = measure(arguments.pictures)
    print(table(result), bar_table(result["bars"]), sep="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
