"""Piano rolls: what is heard of grids as a PNG, a row a track, with what their cells say at the foot of each row.

A note is a bar from its onset to where it ends, its height its pitch within the row, its strength its gain; a drum is a
diamond at the height of its sound; a fill is two. Over an onset stand its effects; right of a row the range of its
pitches. Needs matplotlib (the extra `plot`), imported when needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from echelon_engine.errors import UserError
from echelon_engine.vocabulary import STEPS, STEPS_PER_BAR, STEPS_PER_BEAT
from echelon_models.music import tokens
from echelon_models.music.events import PITCH, strikes
from echelon_models.music.piece import Piece, absolute
from echelon_models.music.text import NAMES
from echelon_models.music.tokens import DRUMS, EFFECTS, TRACKS

MOST_GRIDS = 32  # in one picture
GRIDS_A_LINE = 2
LINE_INCHES = (17.0, 7.0)
SEMITONES = 12.0  # that a row's height spans at least
COLOURS = (  # of the tracks, red green blue 0..1
    *((0.89, 0.34, 0.18), (0.93, 0.62, 0.05), (0.66, 0.60, 0.03), (0.80, 0.42, 0.20), (0.16, 0.20, 0.36)),
    *((0.30, 0.46, 0.68), (0.13, 0.58, 0.53), (0.48, 0.32, 0.58), (0.05, 0.48, 0.35), (0.55, 0.34, 0.29)),
    *((0.76, 0.25, 0.49), (0.40, 0.46, 0.55)),
)


def draw(what: Piece, target: str | Path, title: str = "") -> None:
    """Write the piano roll of a piece. Raises `UserError` where matplotlib is missing or there are too many grids."""
    try:
        import matplotlib as mpl
    except ImportError:
        rule, remedy = "matplotlib is not installed", "install the extra: pip install 'echelon-engine[plot]'"
        raise UserError("a picture of grids", rule, remedy) from None
    if not 0 < len(what) <= MOST_GRIDS:
        raise UserError(f"{len(what)} grids", f"one picture holds 1..{MOST_GRIDS}", "choose some of them")
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    wide, lines = min(len(what), GRIDS_A_LINE), -(-len(what) // GRIDS_A_LINE)
    size = (LINE_INCHES[0] * (wide + 0.3) / (GRIDS_A_LINE + 0.3), LINE_INCHES[1] * lines)
    figure, axes = plt.subplots(lines, figsize=size, layout="constrained", squeeze=False)
    try:
        for line, panel in enumerate(axes[:, 0]):
            first = line * GRIDS_A_LINE
            _paper(panel, what, first, wide)
            _sounds(panel, what)
            _words(panel, what, first, wide)
        if title:
            figure.suptitle(title, fontsize=11)
        figure.savefig(target, dpi=100)
    except OSError as error:
        raise UserError(str(target), f"cannot be written ({error.strerror or error})", "choose another place") from None
    finally:
        plt.close(figure)


def _paper(panel: Any, what: Piece, first: int, wide: int) -> None:
    """Draw rows, beats and bars of one line, with number and tempo of each grid over it."""
    begin, end = first * STEPS, (first + wide) * STEPS
    panel.set(xlim=(begin - 0.4, end + 0.4), ylim=(len(TRACKS), 0))
    for row in range(0, len(TRACKS), 2):
        panel.axhspan(row, row + 1, color="#f3f3f0", zorder=0)
    for step in range(begin, end + 1, STEPS_PER_BEAT):
        width = 1.4 if step % STEPS == 0 else 0.9 if step % STEPS_PER_BAR == 0 else 0.4
        panel.axvline(step, color="#666666" if width > 0.4 else "#c0c0c0", linewidth=width, zorder=1)
    panel.set_yticks(np.arange(len(TRACKS)) + 0.5, TRACKS)
    beats = range(begin, end, STEPS_PER_BEAT)
    names = [f"{step // STEPS_PER_BAR + 1}.{step % STEPS_PER_BAR // STEPS_PER_BEAT + 1}" for step in beats]
    panel.set_xticks(beats, names)
    panel.tick_params(length=0, labelsize=8)
    panel.spines[:].set_visible(False)
    for number in range(first, min(first + wide, len(what))):
        said = f"grid {number + 1}" + (f", {what.bpm[number]:g} bpm" if what.bpm[number] else "")
        panel.text(number * STEPS + 0.1, -0.08, said, fontsize=8, va="bottom", color="#555555")


def _sounds(panel: Any, what: Piece) -> None:
    """Draw the strikes that begin or sound within the panel, and the range of each track's pitches."""
    left, right = panel.get_xlim()
    found, steps, gates = absolute(what)
    heights = _heights(panel, found, right)
    whole = found.copy()
    whole["gate"] = gates
    index, position, gate = strikes(whole)
    position += steps[index] - found["step"][index]  # from the start of the piece
    drum = found["kind"][index] != PITCH
    seen = (position < right) & (position + np.where(drum, 0, gate) > left)
    index, position, gate, drum = index[seen], position[seen], gate[seen], drum[seen]
    strength = np.clip(0.2 + 0.75 * found["gain"][index], 0.0, 1.0)
    colours = np.column_stack([np.array(COLOURS)[found["track"][index]], strength])
    high = heights[index]
    ends = position[~drum] + gate[~drum]
    panel.hlines(high[~drum], position[~drum], ends, colors=colours[~drum], linewidth=4.5, zorder=3)
    panel.scatter(position[~drum], high[~drum], marker="|", color="black", s=26, linewidths=1.0, zorder=4)
    panel.scatter(position[drum], high[drum], marker="D", color=colours[drum], s=26, linewidths=0, zorder=3)
    for event, step in zip(found, steps.tolist(), strict=True):
        if event["effects"] and left <= step < right:
            names = [name for bit, name in enumerate(EFFECTS) if event["effects"] >> bit & 1]
            said = "\n".join(NAMES[tokens.token_of(name)] for name in names)
            panel.text(step, event["track"] + 0.03, said, fontsize=4.5, va="top", color="#a00000", linespacing=0.9)


def _heights(panel: Any, found: Any, right: float) -> Any:
    """Return the height of every onset in its row, and write the range of pitches beside it."""
    share = 1.0 - found["sound"] / (len(DRUMS) - 1)
    for track in range(len(TRACKS)):
        own = (found["track"] == track) & (found["kind"] == PITCH)
        if own.any():
            low, high = int(found["sound"][own].min()), int(found["sound"][own].max())
            share[own] = (found["sound"][own] - low) / max(high - low, SEMITONES)
            names = [tokens.name_of(tokens.pitch_token(midi)) for midi in sorted({low, high})]
            panel.text(right + 0.15, track + 0.5, " ".join(names), fontsize=6, va="center")
    return found["track"] + 0.72 - 0.55 * share


def _words(panel: Any, what: Piece, first: int, wide: int) -> None:
    """Name the cells that are no sound of their own, at the foot of their row."""
    for number, grid in enumerate(what.grids[first : first + wide], first):
        for track, step in np.argwhere(grid >= tokens.FIRST_DYNAMICS):
            x, y = number * STEPS + int(step) + 0.05, int(track) + 0.985
            panel.text(x, y, NAMES[grid[track, step]], fontsize=5.5, va="bottom", color="#777777", zorder=5)
