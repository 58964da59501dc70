"""Everything that can be switched while the band plays, switched while the dancer dances: does it click, or hang?

Styles every four bars, modes, tempo sources, the band itself, mutes, solos, levels and places, each asked for in the
middle of a bar. Printed: when each took effect (styles and modes: how far from the bar line), clicks within 50 ms of a
switch and of all other bar lines, and the level once the band was switched off.

    python benchmarks/switches.py [--pictures DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import audio_measures as am
import numpy as np
from band import ATTACK_S, RATE_HZ, Kept, played
from figures import bar, bar_table, text_table

from echelon_bridges.motion.dancer import Dancer
from echelon_engine import live, live_table, offline, units
from echelon_engine.config_file import make
from echelon_engine.vocabulary import BEATS_PER_BAR, MODES, TRACK_NAMES
from echelon_models.weights import load_all

NEAR_S = 0.05
OFF_SILENT_DB, LONGEST_RELEASE_S = -60.0, 8.0  # of the band, its echoes and its room
BEAT_S = 0.63  # on average, over all the tempi that are asked for

# (beat, label, field of SETTINGS, track or None, value): beats since the start, none of them on a bar line
Step = tuple[float, str, str, int | None, float]


def steps() -> list[Step]:
    """Return what is switched, and when."""
    found: list[Step] = []
    at = 6.3
    for name in ("techno", "ambient", "breakbeat", "synthwave", "house"):
        found.append((at, f"style {name}", "style", None, live_table.STYLES.index(name)))
        at += 4 * BEATS_PER_BAR
    for mode in ("rules", "continuous", "rules", "continuous"):
        found.append((at - 0.9, f"mode {mode}", "mode", None, MODES.index(mode)))
        at += 2 * BEATS_PER_BAR
    for i, name in enumerate(TRACK_NAMES):
        found.append((at + 1.37 * i, f"mute {name}", "track_mute", i, 1))
        found.append((at + 1.37 * i + 3.1, f"unmute {name}", "track_mute", i, 0))
    at += 20.0
    for name in ("pad", "bass", "hh"):
        i = TRACK_NAMES.index(name)
        found += [(at, f"solo {name}", "track_solo", i, 1), (at + 2.6, f"unsolo {name}", "track_solo", i, 0)]
        at += 4.7
    for name in ("kick", "bass", "pad", "lead", "amb"):
        i = TRACK_NAMES.index(name)
        found += [(at, f"{name} -60 dB", "track_db", i, -60.0), (at + 1.3, f"{name} +6 dB", "track_db", i, 6.0)]
        found += [(at + 2.6, f"{name} 0 dB", "track_db", i, 0.0), (at + 3.1, f"{name} left", "track_pan", i, -1.0)]
        found += [(at + 4.2, f"{name} middle", "track_pan", i, 0.0)]
        at += 5.3
    for source, bpm in (("fixed", 90.0), ("performer", 0.0), ("fixed", 150.0), ("style", 0.0)):
        if bpm:
            found.append((at, f"tempo {bpm:g}", "tempo_bpm", None, bpm))
        found.append((at, f"tempo source {source}", "tempo_source", None, live_table.TEMPO_SOURCES.index(source)))
        at += 8.0
    for on in (0, 1, 0, 1):
        found.append((at, "band on" if on else "band off", "band", None, on))
        at += 6.6
    found.append((at, "band off for good", "band", None, 0))
    return sorted(found)


class Hand:
    """Who switches: `ask` of `offline.render`."""

    def __init__(self, settings: Any) -> None:
        self.settings, self.due, self.done = settings.copy(), steps(), []

    def __call__(self, records: Any) -> Any | None:
        """Return other settings once the beat of a step has come."""
        asked = None
        for record in records:
            while self.due and record["beat"] >= self.due[0][0]:
                step = self.due.pop(0)
                self.done.append((int(record["frame"]), step))
                _, _, field, track, value = step
                if track is None:
                    self.settings[field] = value
                else:
                    self.settings[field][track] = value
                asked = self.settings
        return asked


def took_effect_s(records: Any, frame: int, step: Step) -> float:
    """Return when a step was taken: styles and modes at the first bar line that plays them, others at once."""
    field, value = step[2], step[4]
    later = np.flatnonzero(records["frame"] > frame)
    if field in ("style", "mode"):
        later = later[records[field][later] == value]
    return float(records["sample"][later[0]]) / RATE_HZ


def bar_lines_s(records: Any) -> Any:
    """Return the time of each bar line, to the sample: where the beat, straight between two frames, is a multiple."""
    beat, sample = records["beat"], records["sample"].astype(np.float64)
    lines = np.arange(1, int(beat[-1] // BEATS_PER_BAR) + 1) * BEATS_PER_BAR
    return np.interp(lines, beat, sample) / RATE_HZ


def sharpness(sound: Any, at_s: float) -> float:
    """Return the sharpest second difference within NEAR_S of a time."""
    a = max(round((at_s - NEAR_S) * RATE_HZ), 0)
    return float(np.abs(np.diff(sound[a : round((at_s + NEAR_S) * RATE_HZ)].astype(np.float64), n=2, axis=0)).max())


def near(times: Any, at_s: Any) -> int:
    """Return how many of `times` lie within NEAR_S of one of `at_s`."""
    return int((np.abs(np.asarray(times)[:, None] - np.asarray(at_s)[None, :]) < NEAR_S).any(axis=1).sum())


def measure(pictures: Path | None = None) -> dict[str, Any]:
    """Return what was switched with its time and sharpness, and the bars."""
    units.compile_cold()
    config = make({"band.style": "house", "instrument.notes_from_motion": False})
    settings = live.initial_settings(config)[0]
    hand, composer = Hand(settings), Kept(config)
    dancer = Dancer(config.dancer.seed, config.dancer.tempo_bpm)
    seconds = BEAT_S * steps()[-1][0] + LONGEST_RELEASE_S
    frames = dancer.frames(0, round(seconds * dancer.rate_hz))
    heard = offline.render(
        frames, seconds, settings, load_all(config.models), rate_hz=RATE_HZ, composer=composer, ask=hand
    )
    sound, records = heard.sound, heard.records
    rows = []
    lines = bar_lines_s(records)
    for frame, step in hand.done:
        at = took_effect_s(records, frame, step)
        if step[2] in ("style", "mode"):
            line = lines[np.abs(lines - at).argmin()]
            rows.append((step[1], float(line), float(at - line), sharpness(sound, line)))
        else:
            rows.append((step[1], at, 0.0, sharpness(sound, at)))
    switched = np.array([row[1] for row in rows])
    others = lines[(np.abs(lines[:, None] - switched[None, :]) > 2 * NEAR_S).all(axis=1)]
    struck = np.array([at for _, at, _ in played(records, composer.grids)])
    clicks = am.clicks(sound, RATE_HZ)
    gap = clicks[:, None] - struck[None, :]
    stray = clicks[~((gap > -ATTACK_S[0]) & (gap < ATTACK_S[1])).any(axis=1)]
    off = next(row[1] for row in rows if row[0] == "band off for good")
    tail = am.db(am.rms_windows(sound[round(off * RATE_HZ) :], RATE_HZ, 0.1) ** 2)
    loud = np.flatnonzero(tail > OFF_SILENT_DB)
    usual = [sharpness(sound, line) for line in others]
    if pictures is not None:
        draw(pictures, sound, rows)
    lag_ms = [1e3 * row[2] for row in rows if row[0].startswith(("style", "mode"))]
    sharpest_db = 20.0 * float(np.log10(max(row[3] for row in rows) / max(usual)))
    silent_s = 0.1 * float(loud[-1] + 1 if len(loud) else 0)
    return {
        "switches": [(label, round(at, 4), round(late, 4), round(sharp, 4)) for label, at, late, sharp in rows],
        "clicks_s": [round(float(at), 3) for at in stray],
        "clicks_under_notes": len(clicks) - len(stray),
        "usual_sharpness": round(float(np.median(usual)), 4),
        "bars": [
            bar("switches left out", len(hand.due), "", "<=", 0),
            bar("style or mode recorded before its bar line", max(-min(lag_ms), 0.0), "ms", "<=", 0.1),
            bar("style or mode recorded after its bar line (one frame)", max(lag_ms), "ms", "<=", 17),
            bar("clicks near a switch", near(stray, switched), "", "<=", 0),
            bar("clicks near other bar lines", near(stray, others), "", "<=", 0),
            bar("clicks anywhere", len(stray), "", "<=", 0),
            bar("sharpest switch against the sharpest other bar line", sharpest_db, "dB", "<=", 3.0),
            bar("under -60 dBFS after `band off`", silent_s, "s", "<=", LONGEST_RELEASE_S - 1),
        ],
    }


def draw(folder: Path, sound: Any, rows: list[Any]) -> None:
    """Draw spectrograms of two seconds around each kind of switch into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = set()
    for label, at, _, _ in rows:
        kind = label.split()[0]
        if kind not in seen or kind == "style":
            seen.add(kind)
            a = max(round((at - 1.0) * RATE_HZ), 0)
            piece = sound[a : a + 2 * RATE_HZ]
            am.spectrogram_png(folder / f"{label.replace(' ', '_')}.png", piece, RATE_HZ, np.abs(piece[::800, 0]))


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    rows = [[label, f"{at:.3f}", f"{1e3 * late:.1f}", f"{sharp:.3f}"] for label, at, late, sharp in result["switches"]]
    return text_table(("switch", "at s", "record late ms", "sharpness"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="also draw the moments of switches into this folder")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    result = measure(arguments.pictures)
    print(table(result), bar_table(result["bars"]), sep="\n\n")
    print("stray clicks at s:", *result["clicks_s"])
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
