"""A picture of a session: a column a life, with what moved, what was made of it, played and heard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echelon_bridges.session import band as played
from echelon_bridges.session.reader import Life, Session
from echelon_engine.errors import UserError
from echelon_engine.memory import ALL_OFF, CONTROL_RATE_HZ, ENGINE_STATES, NOTE_OFF, NOTE_ON
from echelon_engine.parameters import PARAMETERS
from echelon_engine.vocabulary import STEPS_PER_BEAT, TRACK_NAMES

MOST_COLUMNS = 3000  # of the lanes: more than a picture's pixels
COLOURS = ("tab:blue", "tab:orange")  # notes of the body, of others
ROWS = (("energy", 1.0), ("commitment", 1.0), ("lanes", 3.2), ("notes", 2.0), ("band", 2.8), ("loudness", 1.0))
SECTION_COLOURS = ("#9ecae1", "#a1d99b", "#fdd870", "#fb6a4a", "#bcbddc", "#d9d9d9")  # in the order of SECTIONS
LOWEST, HIGHEST = 36.0, 84.0  # MIDI notes of the band


def draw(session: Session, target: str | Path) -> None:
    """Write the picture, a PNG. Raises `UserError` where matplotlib is not installed or there is nothing to draw."""
    try:
        import matplotlib as mpl
    except ImportError:
        rule, remedy = "matplotlib is not installed", "install the extra: pip install 'echelon-engine[plot]'"
        raise UserError("a picture of a session", rule, remedy) from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    lives = [life for life in session.lives() if len(life.controls)]
    if not lives:
        raise UserError(str(session.path.parent), "holds no control frame", "there is nothing to draw")
    spans = [max(life.seconds, 1.0) for life in lives]
    shares = [max(span / sum(spans), 0.12) for span in spans]  # a short life stays visible
    figure, axes = plt.subplots(
        len(ROWS),
        len(lives),
        figsize=(min(14.0 + 2.0 * (len(lives) - 1), 40.0), 13.5),
        sharex="col",
        sharey="row",
        squeeze=False,
        gridspec_kw={"height_ratios": [height for _, height in ROWS], "width_ratios": shares},
        layout="constrained",
    )
    try:
        about = "" if session.whole else " (not whole)"
        figure.suptitle(f"{session.name}: {session.seconds:.1f} s, {len(session.bars)} bars{about}")
        for column, life in enumerate(lives):
            _life(axes[:, column], life, named=column == 0)
            _sections(axes[:, column], life, session.styles)
            _band(axes[[row for row, _ in ROWS].index("band"), column], life, named=column == 0)
            axes[0, column].set_title(f"life {life.epoch}" + ("" if life.whole else f": {life.missing[0]}"), fontsize=9)
            axes[-1, column].set_xlabel("s")
        for mark in session.marks:
            _mark(axes, lives, mark)
        figure.savefig(target, dpi=110)
    except OSError as error:
        raise UserError(str(target), f"cannot be written ({error.strerror or error})", "choose another place") from None
    finally:
        plt.close(figure)


def _life(axes: Any, life: Life, *, named: bool) -> None:
    """Draw one life into its five axes."""
    controls = life.controls
    seconds = controls["frame"] / CONTROL_RATE_HZ
    energy, commitment, lanes, notes, _, loudness = axes
    energy.plot(seconds, controls["energy"], color="tab:green", linewidth=0.8)
    commitment.plot(seconds, controls["c"], color="tab:purple", linewidth=0.8)
    commitment.set_ylim(-0.02, 1.02)
    active = controls["state"] == ENGINE_STATES.index("active")
    commitment.fill_between(seconds, 0.0, 1.0, where=active, color="tab:purple", alpha=0.12, linewidth=0)
    every = max(1, len(controls) // MOST_COLUMNS)
    lanes.imshow(
        controls["position"][::every].T,
        aspect="auto",
        origin="upper",
        interpolation="nearest",
        vmin=0.0,
        vmax=1.0,
        extent=(float(seconds[0]), float(seconds[-1]) + 1.0 / CONTROL_RATE_HZ, len(PARAMETERS) - 0.5, -0.5),
    )
    rate_hz = _rate(controls)
    end = float(seconds[-1])
    for source, colour in enumerate(COLOURS):
        rows = [(begin / rate_hz, stop / rate_hz, pitch) for begin, stop, pitch, who in sounding(life) if who == source]
        if rows:
            begins, stops, pitches = np.array(rows).T
            label = ("the body", "others")[source]
            notes.hlines(pitches, begins, np.minimum(stops, end), color=colour, linewidth=2.5, label=label)
    loudness.plot(seconds, np.maximum(controls["loudness_db"], -80.0), color="tab:red", linewidth=0.8)
    if named:
        energy.set_ylabel("energy, m/s")
        commitment.set_ylabel("commitment\n(shaded: active)")
        lanes.set_yticks(range(len(PARAMETERS)), [lane.name for lane in PARAMETERS], fontsize=6)
        notes.set_ylabel("MIDI note")
        loudness.set_ylabel("dBFS")
        if notes.get_legend_handles_labels()[0]:
            notes.legend(fontsize=7, loc="upper left")


def _sections(axes: Any, life: Life, styles: Sequence[str]) -> None:
    """Draw what the band's sections were as coloured spans behind all but the lanes, their names at the top."""
    style = -1
    for span in played.spans(life):
        colour = SECTION_COLOURS[span.section % len(SECTION_COLOURS)]
        for (row, _), axis in zip(ROWS, axes, strict=True):
            if row != "lanes":
                axis.axvspan(span.begin_s, span.end_s, color=colour, alpha=0.35, linewidth=0, zorder=0)
        said = span.name
        if span.style != style and 0 <= span.style < len(styles):
            said = f"{styles[span.style]}: {said}"
        style = span.style
        axes[0].annotate(
            said, (span.begin_s, 1.0), xycoords=("data", "axes fraction"), fontsize=7, va="bottom", clip_on=False
        )


def _band(axis: Any, life: Life, *, named: bool) -> None:
    """Draw the band's onsets as a small piano roll: a row a track, drums as ticks, notes as long as they sound."""
    from echelon_models.music.events import PITCH
    from echelon_models.music.picture import COLOURS as TRACK_COLOURS

    axis.set_ylim(len(TRACK_NAMES), 0)
    if named:
        axis.set_yticks(np.arange(len(TRACK_NAMES)) + 0.5, TRACK_NAMES, fontsize=7)
    seconds, found = played.onsets(life)
    if not len(found):
        return
    tempo = np.interp(seconds, life.controls["frame"] / CONTROL_RATE_HZ, life.controls["tempo_bpm"])
    pitched = found["kind"] == PITCH
    share = np.clip((found["sound"].astype(np.float64) - LOWEST) / (HIGHEST - LOWEST), 0.0, 1.0)
    height = found["track"] + np.where(pitched, 0.85 - 0.7 * share, 0.5)
    strength = np.clip(0.25 + 0.75 * found["gain"], 0.0, 1.0)
    colours = np.column_stack([np.array(TRACK_COLOURS)[found["track"]], strength])
    lasts = found["gate"][pitched] * 60.0 / (STEPS_PER_BEAT * tempo[pitched])
    ends = np.minimum(seconds[pitched] + lasts, float(life.controls["frame"][-1]) / CONTROL_RATE_HZ)
    axis.hlines(height[pitched], seconds[pitched], ends, colors=colours[pitched], linewidth=2, zorder=2)
    axis.scatter(seconds[~pitched], height[~pitched], marker="|", s=18, color=colours[~pitched], zorder=2)


def _rate(controls: Any) -> float:
    """Return the sample rate that the control records imply."""
    first, last = controls[0], controls[-1]
    frames = int(last["frame"] - first["frame"])
    return float(last["sample"] - first["sample"]) / frames * CONTROL_RATE_HZ if frames > 0 else 48000.0


def sounding(life: Life) -> list[tuple[int, int, float, int]]:
    """Return the notes of a life as (first sample, last sample, MIDI note, source), also those that never ended."""
    begun: dict[int, Any] = {}
    notes = []
    last = int(life.controls["sample"][-1]) if len(life.controls) else 0
    for event in life.events:
        kind, key, sample = int(event["kind"]), int(event["key"]), int(event["sample"])
        last = max(last, sample)
        ended = list(begun) if kind == ALL_OFF else [key] if kind in (NOTE_ON, NOTE_OFF) and key in begun else []
        for each in ended:
            note = begun.pop(each)
            notes.append((int(note["sample"]), sample, float(note["pitch"]), int(note["source"])))
        if kind == NOTE_ON:
            begun[key] = event
    notes += [(int(note["sample"]), last, float(note["pitch"]), int(note["source"])) for note in begun.values()]
    return sorted(notes)


def _mark(axes: Any, lives: list[Life], mark: dict[str, Any]) -> None:
    """Draw what the operator noted as a line through its life."""
    for column, life in enumerate(lives):
        if life.epoch == mark.get("epoch") and isinstance(mark.get("frame"), int):
            seconds = mark["frame"] / CONTROL_RATE_HZ
            for row in axes[:, column]:
                row.axvline(seconds, color="black", linewidth=0.6, linestyle=":")
            axes[0, column].annotate(
                str(mark.get("text", ""))[:40], (seconds, 1.0), xycoords=("data", "axes fraction"), fontsize=7, va="top"
            )
