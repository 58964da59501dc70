"""`sessions`: what was logged: list, inspect, draw and export it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from echelon_bridges.commands import _options

if TYPE_CHECKING:
    from pathlib import Path

    from echelon_bridges.session.reader import Session

ACTIONS = {
    "list": (0, "[DIR]"),
    "inspect": (1, "SESSION"),
    "plot": (2, "SESSION OUT.png"),
    "export": (2, "SESSION OUT.npz|.mid|.txt"),
}
MUSIC = (".mid", ".txt")  # what the band played; .npz holds everything


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="[DIR]: list the sessions there (default: session.log); inspect SESSION; plot SESSION OUT.png; "
        "export SESSION OUT.npz (everything, as arrays), OUT.mid or OUT.txt (what the band played). "
        "SESSION is the folder of one",
    )
    _options.add_config(parser)


def run(arguments: Namespace) -> int:
    """Do what the first word says; list where it is a folder or nothing."""
    from echelon_engine.errors import UsageError

    words: list[str] = list(arguments.words)
    action = words.pop(0) if words and words[0] in ACTIONS else "list"
    wanted, usage = ACTIONS[action]
    if len(words) != wanted and not (action == "list" and len(words) == 1):
        said = " ".join(arguments.words)
        known = ", ".join(f"sessions {name} {rest}".replace("list ", "") for name, (_, rest) in ACTIONS.items())
        raise UsageError(f"sessions {said}", f"`sessions {action}` takes {usage}", f"say one of: {known}")
    if action == "list":
        return _list(arguments, words[0] if words else "")
    from echelon_bridges.session.reader import Session

    target = _options.check_output(words[1], _suffix(action, words[1])) if len(words) > 1 else None
    session = Session.open(words[0])
    if target is None:
        print(describe(session))
    elif action == "plot":
        from echelon_bridges.session.plot import draw

        draw(session, target)
        print(f"{target}: {session.seconds:.1f} s of {session.name}")
    else:
        if target.suffix.lower() in MUSIC:
            _export_music(session, target)
        else:
            _export(session, target)
        print(f"{target}: {session.seconds:.1f} s of {session.name}")
    return 0


def _suffix(action: str, name: str) -> str:
    """Return how the output must end: of several that may be, the one that was named."""
    if action == "plot":
        return ".png"
    from echelon_engine.errors import UsageError

    suffixes = (*MUSIC, ".npz")
    found = next((suffix for suffix in suffixes if name.lower().endswith(suffix)), None)
    if found is None:
        raise UsageError(name, f"must end in {', '.join(suffixes)}", "choose what is to be written by the ending")
    return found


def _list(arguments: Namespace, given: str) -> int:
    from pathlib import Path

    from echelon_bridges.session.folder import is_session, sessions
    from echelon_bridges.session.reader import Session
    from echelon_engine.errors import UsageError, UserError

    place = given or _options.load_config(arguments).session.log
    if not place:
        raise UsageError(
            "sessions", "no folder is named", "say `sessions DIR`, or set session.log in the configuration"
        )
    root = Path(place).expanduser()
    if not root.is_dir():
        raise UserError(str(root), "no such folder", "name the folder that `run --log DIR` was given")
    if is_session(root):
        raise UserError(str(root), "is one session, not a folder of them", f"say `sessions inspect {root}`")
    found = sorted(sessions(root))
    if not found:
        print(f"{root}: no sessions")
        return 0
    width = max(len(path.name) for path in found)
    print(f"{'session':<{width}}  {'duration':>9}  {'bars':>5}  {'lives':>5}  state")
    for path in found:
        try:
            session = Session.open(path)
        except UserError as error:
            print(f"{path.name:<{width}}  {'-':>9}  {'-':>5}  {'-':>5}  {error.rule}")
            continue
        row = f"{_duration(session.seconds):>9}  {len(session.bars):>5}  {len(session.epochs):>5}"
        print(f"{path.name:<{width}}  {row}  {state(session)}")
    return 0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def state(session: Session) -> str:
    """Return in a few words whether a session is whole."""
    notes = list(session.notes)
    if session.gaps:
        notes.append("something was dropped")
    return "; ".join(notes) or "whole"


def describe(session: Session) -> str:
    """Return everything that a person may want to know about a session."""
    from echelon_bridges.session import band
    from echelon_bridges.session import format as form

    header = session.header
    started, product = header.get("started", {}), header.get("product", {})
    lines = [
        f"session    {session.name}",
        f"engine     {header.get('engine')}, version {product.get('version')}, {session.rate_hz} Hz, "
        f"blocks of {header.get('block_frames')}",
        f"machine    {product.get('machine')}, numba {product.get('numba')}",
        f"started    {started.get('local')} (wall {started.get('wall_s', 0.0):.3f} s, monotonic "
        f"{started.get('monotonic_ns', 0) / 1e9:.3f} s, sample {started.get('sample')})",
        f"length     {_duration(session.seconds)}, {len(session.bars)} bars, {session.bytes} bytes",
        f"state      {state(session)}",
    ]
    for key, weights in header.get("weights", {}).items():
        lines.append(f"weights    {key} {weights.get('sha256', '')[:12]} {weights.get('file')}")
    for life in session.lives():
        kinds = {kind: int((life.inputs["kind"] == kind).sum()) for kind in form.TAKEN}
        taken = ", ".join(f"{count} {form.TAKEN[kind]}" for kind, count in kinds.items())
        begun = session.wall_s(int(life.controls["time_ns"][0]))
        lines.append(
            f"life {life.epoch:<5} {_duration(life.seconds)} from wall {begun:.3f} s, {len(life.controls)} control "
            f"frames ({life.plays} can be played again), {len(life.events)} note events; took {taken}"
        )
        lines += [f"           band: {text}" for text in band.summary(life, session.styles)]
        lines += [f"           missing: {text}" for text in life.missing]
    for mark in session.marks:
        lines.append(f"mark       life {mark.get('epoch')}, frame {mark.get('frame')}: {mark.get('text')}")
    for gap in session.gaps:
        counts = ", ".join(f"{gap.get(name, 0)} {name}" for name in ("records", "events", "inputs", "log"))
        lines.append(f"dropped    {counts}, in all, by life and control frame {gap.get('until')}")
    return "\n".join(lines)


def _export(session: Session, target: Path) -> None:
    """Write all records as arrays, and header, bars and marks as JSON text."""
    import json

    import numpy as np

    from echelon_bridges.session import band
    from echelon_engine.errors import UserError

    lives = session.lives()
    if not lives:
        raise UserError(str(session.path.parent), "holds no control frame", "there is nothing to export")
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(life, name) for life in lives]) for name in ("controls", "inputs", "events")
    }
    arrays["grids"] = np.concatenate([band.grids(life) for life in lives])
    for name, value in (("header", session.header), ("bars", session.bars), ("marks", session.marks)):
        arrays[name] = np.array(json.dumps(value))
    try:
        np.savez_compressed(target, **arrays)
    except OSError as error:
        raise UserError(str(target), f"cannot be written ({error.strerror})", "choose another place") from None


def _export_music(session: Session, target: Path) -> None:
    """Write what the band played, all lives one after the other, as a MIDI file or as text."""
    import sys

    import numpy as np

    from echelon_bridges.session import band
    from echelon_engine.errors import UserError
    from echelon_models.music import files
    from echelon_models.music.piece import piece

    parts = [part for life in session.lives() if len(part := band.piece(life))]
    if not parts:
        raise UserError(str(session.path.parent), "holds no grid: the band did not play", "export to .npz instead")
    whole = piece(np.concatenate([part.grids for part in parts]), np.concatenate([part.bpm for part in parts]).tolist())
    try:
        files.write(target, whole)
    except OSError as error:
        raise UserError(str(target), f"cannot be written ({error.strerror})", "choose another place") from None
    for note in (note for part in parts for note in part.notes):
        print(f"  {note}", file=sys.stderr)
