"""`styles`: what the band can play: listed, shown, checked, and previewed without a body."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from echelon_bridges.commands import _options

if TYPE_CHECKING:
    from pathlib import Path

    from echelon_models.music.style import Style

ACTIONS = {
    "list": (0, ""),
    "show": (1, "NAME"),
    "check": (1, "FILE.toml"),
    "preview": (2, "NAME OUT.png|.mid|.txt|.npz"),
}
FEWEST_BARS, MOST_BARS = 2, 64


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="nothing: list them; show NAME: chords, tracks and form of one; check FILE.toml: what is wrong in it; "
        "preview NAME OUT: bars of one as a piano roll (.png), MIDI file (.mid), text (.txt) or arrays (.npz). "
        "NAME may be a file that ends in .toml",
    )
    parser.add_argument("--bars", type=int, default=16, metavar="N", help="of a preview, 2 to 64 (default: 16)")
    parser.add_argument(
        "--energy", default="wave", help="of a preview: up, down, wave, idle, or a number from 0 to 1 (default: wave)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of a preview: same seed, same notes (default: 1)")
    _options.add_config(parser)


def run(arguments: Namespace) -> int:
    """Do what the first word says; list without one."""
    from echelon_engine.errors import UsageError

    words: list[str] = list(arguments.words) or ["list"]
    action = words.pop(0)
    if action not in ACTIONS or len(words) != ACTIONS[action][0]:
        known = ", ".join(f"styles {name} {rest}".replace("list ", "").strip() for name, (_, rest) in ACTIONS.items())
        rule = f"`styles {action}` takes {ACTIONS[action][1] or 'nothing'}" if action in ACTIONS else "no such action"
        raise UsageError(f"styles {' '.join(arguments.words)}", rule, f"say one of: {known}")
    if action == "check":
        return _check(words[0])
    folder = _options.styles_folder(_options.load_config(arguments))
    if action == "list":
        return _list(folder)
    style = _load(words[0], folder)
    if action == "show":
        print(describe(style, _place(words[0], folder)))
        return 0
    return _preview(arguments, style, words[1])


def _place(name: str, folder: Path | None) -> Path:
    """Return the file of a style: a person's own before one that comes with the product."""
    from pathlib import Path

    from echelon_models.music import styles

    return Path(name) if name.endswith(".toml") else styles.place(name, folder)


def _load(name: str, folder: Path | None) -> Style:
    """Return a style; an unknown name is wrong use, a file that is no good is not."""
    from echelon_engine.errors import UsageError
    from echelon_models.music import styles

    try:
        return styles.load(name, folder)
    except styles.StyleError as error:
        if name.endswith(".toml") or name in styles.names(folder):
            raise
        raise UsageError(error.value, error.rule, error.remedy) from None


def scale_name(style: Style) -> str:
    """Return root and scale of a style in words: "A minor"."""
    from echelon_engine.scales import SCALES
    from echelon_models.music.harmony import NOTES

    scale = next((name for name, bits in SCALES.items() if bits == style.scale), f"{style.scale:#x}")
    return f"{NOTES[style.root]} {scale.replace('_', ' ')}"


def _list(folder: Path | None) -> int:
    from echelon_engine import live_table
    from echelon_engine.errors import UserError
    from echelon_models.music import styles
    from echelon_models.music.styles import FOLDER

    rows = [("style", "bpm", "scale", "about")]
    for name in live_table.styles("" if folder is None else str(folder)):
        path = _place(name, folder)
        own = "" if path.parent == FOLDER else f" ({path})"
        try:
            style = styles.load(name, folder)
        except UserError as error:
            rows.append((name, "-", "-", f"NO GOOD: {error}"))
            continue
        low, usual, high = style.tempo
        rows.append((name, f"{low:g}-{usual:g}-{high:g}", scale_name(style), style.about + own))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    return 0


def describe(style: Style, path: Path) -> str:
    """Return everything about a style that a person may want to know before playing or copying it."""
    from echelon_models.music.sections import SECTIONS
    from echelon_models.music.style import TRACKS

    low, usual, high = style.tempo
    fewest, most = style.onsets_a_bar
    lines = [
        f"style      {style.name}: {style.about}",
        f"file       {path}",
        f"tempo      {usual:g} bpm, {low:g} to {high:g} with a performer; swing {style.swing:g}",
        f"scale      {scale_name(style)}{', chords may leave it' if style.borrowed else ''}",
        f"onsets     {fewest:g} to {most:g} a bar; at most {style.longest_silence_bars} bars of silence",
    ]
    for section, name in enumerate(SECTIONS):
        chords = " | ".join(" ".join(chord.name for chord in bar) for bar in style.progressions[section])
        playing = " ".join(TRACKS[track] for track in sorted(style.playing[section]))
        lines.append(f"{name:<10} {chords:<28} {playing}")
    levels = [f"{name} {track.level_db:g}" for name, track in zip(TRACKS, style.tracks, strict=True) if track]
    lines += [f"levels     {', '.join(levels)} dB", f"fills      {len(style.fills)}"]
    return "\n".join(lines)


def _check(name: str) -> int:
    """Say that a file is a style that can be played, or raise `UsageError` with the place and the reason."""
    from pathlib import Path

    from echelon_engine.errors import UsageError
    from echelon_models.music import styles

    path = Path(name)
    if path.is_dir():
        raise UsageError(name, "is a folder", "name a style's file in it")
    if path.suffix != ".toml":
        raise UsageError(name, "a style is a file that ends in .toml", f"say `styles show {path.stem}` to see one")
    try:
        style = styles.load(name)
    except styles.StyleError as error:
        raise UsageError(error.value, error.rule, error.remedy) from None
    print(f"{name}: can be played: {scale_name(style)}, {style.tempo[0]:g} to {style.tempo[2]:g} bpm")
    if path.stem != path.stem.lower():
        print(f"  but styles are chosen in lower case: call it {path.stem.lower()}.toml")
    return 0


def _preview(arguments: Namespace, style: Style, target: str) -> int:
    from echelon_engine.errors import UsageError, UserError
    from echelon_models.music import files, preview
    from echelon_models.music.sections import SECTIONS

    if not FEWEST_BARS <= arguments.bars <= MOST_BARS:
        raise UsageError(f"--bars {arguments.bars}", f"is {FEWEST_BARS} to {MOST_BARS}", "try --bars 16")
    _options.check_output(target, files.suffix_of(target, reading=False))
    try:
        heard = preview.course(arguments.energy, arguments.bars)
    except UserError as error:
        raise UsageError(error.value, error.rule, error.remedy) from None
    scores = preview.rehearse(style, heard, arguments.seed)
    files.write(target, preview.played(scores, style.tempo[1]))
    form = " ".join(SECTIONS[score.section] for score in scores[::2])
    print(f"{target}: {len(scores) // 2} grids of {style.name}, {form}")
    return 0
