"""`train extract`: the 32 parameters whose instrument sounds like a recording."""

from __future__ import annotations

import math
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from echelon_bridges.commands import _options

if TYPE_CHECKING:
    from echelon_models.train.extract import Extraction

LOWEST, HIGHEST = 0.0, 127.0
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def _note(text: str) -> float | None:
    """Return MIDI semitones of a name such as A3 or F#2 (A4 is 440 Hz) or of a number; None for auto."""
    if text == "auto":
        return None
    if found := re.fullmatch(r"([A-Ga-g])([#b]?)(-?\d)", text):
        name, sign, octave = found.groups()
        value = 12.0 * (int(octave) + 1) + _STEPS[name.upper()] + {"#": 1, "b": -1, "": 0}[sign]
    else:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
    if not LOWEST <= value <= HIGHEST:
        raise ArgumentTypeError(f"{text!r} must be a note such as A3, a MIDI number from 0 to 127, or auto")
    return value


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    count = _options.whole(1, 1_000_000)
    parser.add_argument("sound", metavar="SOUND.wav", help="a recording of one note or blow: WAV, FLAC, OGG or MP3")
    parser.add_argument("--out", metavar="PARAMS.npz", help="gets positions, values, what can be heard, and the note")
    parser.add_argument("--render", metavar="OUT.wav", help="gets the instrument with these parameters")
    parser.add_argument("--plot", metavar="PNG", help="gets both spectrograms and the positions as a picture")
    parser.add_argument("--note", type=_note, default=None, metavar="A3|auto", help="its pitch (default: auto)")
    parser.add_argument(
        "--probe", action="store_true", help="it is a recording of the probe phrase, whose notes are known"
    )
    parser.add_argument(
        "--evaluations",
        type=count,
        metavar="N",
        help="renders to try (default: about a minute of two cores)",
    )
    parser.add_argument("--seed", type=count, default=1, help="one seed, one result (default: 1)")


def run(arguments: Namespace) -> int:
    """Extract, say how near it is, write what was asked for."""
    from echelon_bridges.commands.train import torch_or_explain

    source = _options.check_input(arguments.sound, "recording")
    out = _options.check_output(arguments.out, ".npz") if arguments.out else None
    wav = _options.check_output(arguments.render, ".wav") if arguments.render else None
    png = _options.check_output(arguments.plot, ".png") if arguments.plot else None
    torch_or_explain("extract").set_num_threads(1)

    from echelon_models.train import extract, sound_file
    from echelon_models.train.phrase import RATE_HZ
    from echelon_models.train.settings import PROBE

    sound = sound_file.read(source, RATE_HZ)
    if arguments.probe and arguments.evaluations is None:
        print("train extract: a million pairs of ratios are judged first, about ten seconds", file=sys.stderr)
    found = extract.extract(
        sound,
        RATE_HZ,
        note=arguments.note,
        phrase=PROBE if arguments.probe else None,
        evaluations=arguments.evaluations,
        seed=arguments.seed,
        tell=_Progress(),
    )
    _say(source, found)
    if out is not None:
        extract.save(out, found)
    if wav is not None:
        _write_wav(wav, found)
    if png is not None:
        from echelon_models.train.extract_plot import draw

        draw(png, found, source.name)
    return 0


class _Progress:
    """A line that rewrites itself on a terminal, about ten lines elsewhere."""

    def __init__(self) -> None:
        self._tenth = -1

    def __call__(self, made: int, of: int, distance: float) -> None:
        text = f"train extract: {min(made, of)} of {of} renders"
        text += f", best cost {distance:.2f} dB" if math.isfinite(distance) else ""
        if sys.stderr.isatty():
            print(f"\r{text:<80}", end="\n" if made >= of else "", file=sys.stderr, flush=True)
        elif (tenth := made * 10 // of) != self._tenth:
            print(text, file=sys.stderr, flush=True)
            self._tenth = tenth


def _say(source: Path, found: Extraction) -> None:
    from echelon_engine.parameters import PARAMETERS

    if len(found.phrase.notes) == 1:
        note = found.phrase.notes[0]
        print(f"note: MIDI {note.pitch:.2f}, held {1e3 * (note.end_s - note.start_s):.0f} ms")
    print(f"{'lane':<18}{'position':>9}  value")
    for lane, position, heard in zip(PARAMETERS, found.position, found.heard, strict=True):
        unheard = "" if heard else "  (not heard)"
        print(f"{lane.name:<18}{position:9.3f}  {lane.value(position):.4g} {lane.unit}{unheard}")
    default = found.default_distance
    print(
        f"{source}: log-mel distance {found.distance:.2f} dB, all lanes in their middle {default:.2f} dB "
        f"({found.levelled_distance:.2f} dB at equal level), ratio {found.distance / max(default, 1e-9):.2f}"
    )


def _write_wav(path: Path, found: Extraction) -> None:
    from echelon_engine.wav import WavWriter
    from echelon_models.train.phrase import RATE_HZ

    with WavWriter(path, RATE_HZ) as writer:
        writer.write(found.rendered)
