"""Hear or see a style without a body: bars composed for an imagined energy, as text, MIDI file or piano roll.

python -m echelon_models.music.preview house house.png --bars 16 --energy up
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

import numpy as np

from echelon_engine.band import BAND_NEUTRAL, settled
from echelon_engine.errors import UserError
from echelon_models.music import files, styles
from echelon_models.music.conductor import Conductor
from echelon_models.music.piece import Piece, piece
from echelon_models.music.score import Heard, Score
from echelon_models.music.sections import QUIET_MPS, SECTIONS, WILD_MPS
from echelon_models.music.style import Style

PHRASE = (0.25, 0.35, 0.45, 0.55, 0.65, 0.8, 1.0, 0.1)  # `wave`: eight bars of a dance


def imagined(energy: float) -> Heard:
    """Return what would be heard of a body that moves at an energy 0 (still) to 1 (wild), in continuous mode."""
    e = min(max(energy, 0.0), 1.0)
    mps = QUIET_MPS * (WILD_MPS / QUIET_MPS) ** e
    sources = {"energy": mps, "c": 0.8, "tension": 0.1 + 0.5 * e, "curvature": 5.0, "curvature_rate": 9.0}
    sources |= {"periodicity": 0.4, "coherence": 0.4, "grounding": 0.5, "verticality": 1.0}
    sources |= {"prediction_confidence": 1.0 - 0.3 * e, "rotational_energy": 0.02 * 200.0**e}
    sources |= {"micro_tension": 0.0003 * 50.0**e, "transition_intensity": 0.15, "lr_pan": 0.2}
    return Heard(mps, sources["tension"], sources["c"], True, settled(sources))


def course(energy: str, bars: int) -> list[Heard]:
    """Return what is heard in each bar: `up`, `down`, `wave` (a dance), `idle` (then nobody moves) or 0..1.

    Raises `UserError`.
    """
    ramp = [bar / max(bars - 1, 1) for bar in range(bars)]
    if energy == "up":
        return [imagined(e) for e in ramp]
    if energy == "down":
        return [imagined(1.0 - e) for e in ramp]
    if energy == "wave":
        return [imagined(PHRASE[bar % len(PHRASE)]) for bar in range(bars)]
    if energy == "idle":
        still = Heard(parameter=BAND_NEUTRAL.copy())
        return [imagined(0.6) if bar < bars // 2 else still for bar in range(bars)]
    try:
        level = float(energy)
    except ValueError:
        level = -1.0
    if not 0.0 <= level <= 1.0:
        raise UserError(f"--energy {energy}", "is up, down, wave, idle or a number from 0 to 1", "try wave")
    return [imagined(level)] * bars


def rehearse(style: Style, heard: Iterable[Heard], seed: int = 1, mode: str = "continuous") -> list[Score]:
    """Return the scores of bars 0, 1, 2 .. for what is heard before each."""
    conductor = Conductor(style, seed, mode)
    return [conductor.compose(bar, what) for bar, what in enumerate(heard)]


def played(scores: Sequence[Score], bpm: float) -> Piece:
    """Return as a piece what a player sounds of scores: every grid at an odd bar holds both of its bars as played.

    A last bar without a second one is left out. At least two scores.
    """
    return piece(np.stack([score.grid for score in scores[1::2]]), bpm)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m echelon_models.music.preview", description=__doc__)
    parser.add_argument("style", help="name of a style, or a file that ends in .toml")
    parser.add_argument("target", help="OUT.png, OUT.mid, OUT.txt or OUT.npz")
    parser.add_argument("--bars", type=int, default=16, choices=range(2, 65), metavar="2..64")
    parser.add_argument("--energy", default="wave", help="up, down, wave, idle, or 0..1 (default: wave)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        style = styles.load(options.style)
        scores = rehearse(style, course(options.energy, options.bars), options.seed)
        files.write(options.target, played(scores, style.tempo[1]))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    form = " ".join(SECTIONS[score.section] for score in scores[::2])
    print(f"{options.target}: {len(scores) // 2} grids of {style.name}, {form}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
