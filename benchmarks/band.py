"""Three minutes of the dancer in each style, with the default settings: does the band follow, and does it sound well?

Each style is rendered as `echelon-engine render dancer OUT.wav --seconds 180` does. Printed: sections, the rank
correlation of motion energy with note density and with loudness over two bars, notes outside the style's harmony,
loudness, peak, the longest silence, clicks outside the attack of a note.

    python benchmarks/band.py [--seconds 180] [--styles house,techno] [--pictures DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import audio_measures as am
import numpy as np
from figures import bar, bar_table, text_table
from scipy import stats

from echelon_bridges.band import Band
from echelon_bridges.motion.dancer import Dancer
from echelon_engine import live, live_table, offline, units
from echelon_engine.config_file import make
from echelon_engine.vocabulary import SECTIONS
from echelon_models.music import events, styles
from echelon_models.weights import load_all

RATE_HZ = 48000
BARS_A_WINDOW = 2
ATTACK_S = (0.02, 0.06)  # before (a control frame and the limiter's look-ahead) and after a note begins
SILENT_DB = -60.0


class Kept(Band):
    """A conductor of whom every grid is kept, by its number."""

    def _grid(self, bar: int, score: Any) -> Any:
        made = super()._grid(bar, score)
        self.grids = {**getattr(self, "grids", {}), int(made["number"][0]): made[0].copy()}
        return made


def played(records: Any, grids: dict[int, Any]) -> list[tuple[int, float, Any]]:
    """Return what was struck: (bar since the start, time s, EVENT) of each onset, from the steps of control records."""
    meant = {0: np.zeros(0, events.EVENT)} | {number: events.events(grid["cell"]) for number, grid in grids.items()}
    found: list[tuple[int, float, Any]] = []
    for i in np.flatnonzero(np.diff(records["step"], prepend=-1)):
        grid, at = meant[int(records["grid"][i])], float(records["sample"][i]) / RATE_HZ
        found += [(int(records["bar"][i]), at, event) for event in grid[grid["step"] == records["step"][i]]]
    return found


def longest_silence_s(sound: Any) -> float:
    """Return the longest stretch of windows of 100 ms under SILENT_DB."""
    quiet = am.db(am.rms_windows(sound, RATE_HZ, 0.1) ** 2) < SILENT_DB
    edges = np.flatnonzero(np.diff(np.concatenate(([False], quiet, [False])).astype(int)))
    return float((edges[1::2] - edges[::2]).max(initial=0) * 0.1)


def figures(name: str, seconds: float, picture: Path | None) -> dict[str, Any]:
    """Return what is measured of one style, JSON-ready."""
    config = make({"band.style": name})
    style = styles.load(name)
    dancer = Dancer(config.dancer.seed, config.dancer.tempo_bpm)
    composer = Kept(config)
    heard = offline.render(
        dancer.frames(0, round(seconds * dancer.rate_hz)),
        seconds,
        live.initial_settings(config)[0],
        load_all(config.models),
        rate_hz=RATE_HZ,
        composer=composer,
    )
    records = heard.records
    struck = played(records, composer.grids)
    window = records["bar"] // BARS_A_WINDOW
    whole = [w for w in np.unique(window) if np.unique(records["bar"][window == w]).size == BARS_A_WINDOW][:-1]
    energy = [float(records["energy"][window == w].mean()) for w in whole]
    notes = [sum(each // BARS_A_WINDOW == w for each, _, _ in struck) for w in whole]
    loud = []
    for w in whole:
        at = records["sample"][window == w]
        loud.append(float((heard.sound[at[0] : at[-1]].astype(np.float64) ** 2).mean()))
    pitched = [int(event["sound"]) % 12 for _, _, event in struck if event["kind"] == events.PITCH]
    clicks = am.clicks(heard.sound, RATE_HZ)
    begun = np.array([at for _, at, _ in struck] + list(_own_notes_s(records)))
    gap = clicks[:, None] - begun[None, :]
    stray = clicks[~((gap > -ATTACK_S[0]) & (gap < ATTACK_S[1])).any(axis=1)] if len(begun) else clicks
    peak = float(np.abs(heard.sound).max())
    bar_s = 240.0 / float(records["tempo_bpm"].mean())
    if picture is not None:
        am.spectrogram_png(picture / f"{name}.png", heard.sound, RATE_HZ, records["energy"])
    order = records["section"][np.flatnonzero(np.diff(records["section"], prepend=-1))]
    return {
        "style": name,
        "sections": [SECTIONS[section] for section in order],
        "density": round(float(stats.spearmanr(energy, notes)[0]), 2),
        "loudness": round(float(stats.spearmanr(energy, loud)[0]), 2),
        "notes_a_bar": f"{min(notes) / BARS_A_WINDOW:g}..{max(notes) / BARS_A_WINDOW:g}",
        "outside": sum(not style.allowed >> pitch & 1 for pitch in pitched),
        "pitched": len(pitched),
        "lufs": round(am.loudness_lufs(heard.sound.astype(np.float64), RATE_HZ), 1),
        "peak_dbfs": round(float(am.db(peak**2)), 2),
        "silence_bars": round(longest_silence_s(heard.sound) / bar_s, 1),
        "silence_allowed": style.longest_silence_bars,
        "clicks": len(stray),
        "clicks_s": [round(float(at), 3) for at in stray[:8]],
    }


def _own_notes_s(records: Any) -> Any:
    """Return when notes of the performer begin."""
    begun = np.flatnonzero(np.diff(records["onsets"].astype(np.int64), prepend=0) > 0)
    return records["sample"][np.maximum(begun - 1, 0)] / RATE_HZ


def measure(seconds: float = 180.0, names: list[str] | None = None, pictures: Path | None = None) -> dict[str, Any]:
    """Return the figures of each style and the bars."""
    units.compile_cold()
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    rows = [figures(name, seconds, pictures) for name in names or live_table.STYLES]
    worst = max(rows, key=lambda row: row["silence_bars"] - row["silence_allowed"])
    return {
        "figures": rows,
        "bars": [
            bar("note density follows energy, least", min(r["density"] for r in rows), "", ">=", 0.6),
            bar("loudness follows energy, least", min(r["loudness"] for r in rows), "", ">=", 0.6),
            bar("fewest sections that a style passes", min(len(set(r["sections"])) for r in rows), "", ">=", 3),
            bar("notes outside their style's harmony", sum(r["outside"] for r in rows), "", "<=", 0),
            bar("quietest style", min(r["lufs"] for r in rows), "LUFS", ">=", -20.0),
            bar("loudest style", max(r["lufs"] for r in rows), "LUFS", "<=", -12.0),
            bar("highest peak", max(r["peak_dbfs"] for r in rows), "dBFS", "<=", -0.95),
            bar(f"longest silence ({worst['style']})", worst["silence_bars"], "bars", "<=", worst["silence_allowed"]),
            bar("clicks", sum(r["clicks"] for r in rows), "", "<=", 0),
        ],
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    head = (
        "style",
        "density",
        "loudness",
        "notes a bar",
        "outside",
        "LUFS",
        "peak dBFS",
        "silence",
        "clicks",
        "sections",
    )
    names = ("style", "density", "loudness", "notes_a_bar", "outside", "lufs", "peak_dbfs", "silence_bars", "clicks")
    return text_table(head, [[*(r[name] for name in names), " ".join(r["sections"])] for r in result["figures"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--styles", help="names, comma between them")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--pictures", type=Path, help="also draw sound and motion energy into this folder")
    arguments = parser.parse_args()
    names = arguments.styles.split(",") if arguments.styles else None
    result = measure(arguments.seconds, names, arguments.pictures)
    print(table(result), bar_table(result["bars"]), sep="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
