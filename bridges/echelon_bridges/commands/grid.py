"""`grid`: grids of music shown, converted between text, MIDI, arrays and pictures, and listed as onsets."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from echelon_bridges.commands import _options

if TYPE_CHECKING:
    from echelon_models.music.piece import Piece

ACTIONS = {"show": (1, "FILE"), "convert": (2, "IN OUT"), "events": (1, "FILE")}
SHOWN = 4  # grids, where none are chosen


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="show FILE: as text; convert IN OUT: between .txt, .mid and .npz, and to .png, a piano roll; "
        "events FILE: its onsets, one a line",
    )
    parser.add_argument("--pick", metavar="N[-M]", help="only grid N of the file, or N to M, counted from 1")
    parser.add_argument("--bpm", type=float, metavar="BPM", help="the tempo, instead of the file's")


def run(arguments: Namespace) -> int:
    """Do what the first word says."""
    from echelon_engine.errors import UsageError

    words: list[str] = list(arguments.words)
    action = words.pop(0) if words else ""
    if action not in ACTIONS or len(words) != ACTIONS[action][0]:
        said = f"grid {' '.join(arguments.words)}".strip()
        known = ", ".join(f"grid {name} {rest}" for name, (_, rest) in ACTIONS.items())
        rule = f"`grid {action}` takes {ACTIONS[action][1]}" if action in ACTIONS else "an action is missing"
        raise UsageError(said, rule, f"say one of: {known}")
    first, last = _range(arguments.pick)

    from echelon_models.music import files

    if action == "convert":
        suffix = files.suffix_of(words[1], reading=False)
        _options.check_output(words[1], suffix)
    files.suffix_of(words[0], reading=True)
    source = _options.check_input(words[0], "file of grids")
    what = files.read(source, first, last)
    if arguments.bpm is not None:
        what = what.at(arguments.bpm)
    if action == "convert":
        files.write(words[1], what)
        print(f"{words[1]}: {len(what)} grid{'s' * (len(what) != 1)}")
        _say(what.notes)
    elif action == "show":
        _show(what, chosen=arguments.pick is not None)
    else:
        _events(what)
    return 0


def _range(pick: str | None) -> tuple[int, int | None]:
    """Return the first and the last grid of `--pick`, None for the end of the file."""
    from echelon_engine.errors import UsageError

    if pick is None:
        return 1, None
    first, dash, last = pick.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise UsageError(
            f"--pick {pick}", "is a number or two, counted from 1", "say for example --pick 3 or --pick 3-6"
        )
    return int(first), int(last) if dash else int(first)


def _say(notes: tuple[str, ...]) -> None:
    import sys

    for note in notes:
        print(f"  {note}", file=sys.stderr)


def _show(what: Piece, *, chosen: bool) -> None:
    from echelon_models.music import text

    shown = what if chosen else what.part(1, min(SHOWN, len(what)))
    print(text.write(shown), end="")
    if len(shown) < len(what):
        print(f"\n# {len(what)} grids in all: see more with --pick {SHOWN + 1}-{len(what)}")
    _say(what.notes)


def _events(what: Piece) -> None:
    from echelon_engine.vocabulary import STEPS, STEPS_PER_BAR, STEPS_PER_BEAT
    from echelon_models.music import tokens
    from echelon_models.music.events import DRUM
    from echelon_models.music.piece import absolute

    found, steps, gates = absolute(what)
    print("grid bar.beat.16th track sound  count velocity  gain duration   gate articulation effects")
    for event, step, gate in zip(found, steps.tolist(), gates.tolist(), strict=True):
        bar, rest = divmod(step, STEPS_PER_BAR)
        beat, sixteenth = divmod(rest, STEPS_PER_BEAT)
        drum = event["kind"] == DRUM
        sound = tokens.DRUMS[event["sound"]] if drum else tokens.name_of(tokens.pitch_token(int(event["sound"])))
        word = ("-", *tokens.ARTICULATIONS)[event["articulation"]]
        effects = ",".join(name for bit, name in enumerate(tokens.EFFECTS) if event["effects"] >> bit & 1) or "-"
        print(
            f"{step // STEPS + 1:>4} {f'{bar + 1}.{beat + 1}.{sixteenth + 1}':<13} "
            f"{tokens.TRACKS[event['track']]:<5} {sound:<6} {event['count']:>5} {event['velocity']:>8.2f} "
            f"{event['gain']:>5.2f} {event['duration']:>8} {'rings' if drum else f'{gate:g}':>6} {word:<12} {effects}"
        )
    _say(what.notes)
