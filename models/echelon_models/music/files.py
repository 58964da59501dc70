"""Files of grids by their suffix: text, MIDI, arrays, pictures; each format's module is imported when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from echelon_engine.errors import UsageError, UserError
from echelon_models.music.events import check
from echelon_models.music.piece import Piece, piece

# What can be read and written, by suffix.
FORMATS = {
    ".txt": "text for people",
    ".mid": "MIDI file",
    ".midi": "MIDI file",
    ".npz": "arrays: grid uint8 (N, 12, 32), bpm",
    ".png": "piano roll (written only)",
}
MOST_TEXT = 64 << 20  # bytes


def suffix_of(path: str | Path, *, reading: bool) -> str:
    """Return the suffix of a format that can be read, or written. Raises `UsageError` for any other."""
    suffix = Path(path).suffix.lower()
    known = [name for name in FORMATS if not (reading and name == ".png")]
    if suffix not in known:
        what = "read from" if reading else "written to"
        raise UsageError(str(path), f"grids are {what} {' '.join(known)}", f"give a file that ends in {known[0]}")
    return suffix


def read(path: str | Path, first: int = 1, last: int | None = None) -> Piece:
    """Return the grids of a file, number `first` to `last` of them, counted from 1; all without `last`.

    `notes` of the piece says what changed in reading. An npz with `vel` and `dur`, as data sets have them, gets
    dynamics and durations as tokens (`nearest`). Raises `UserError` with the place and the reason, OSError.
    """
    suffix = suffix_of(path, reading=True)
    if suffix == ".npz":
        return _arrays(Path(path), first, last)
    if suffix == ".txt":
        from echelon_models.music import text

        whole = text.read(_decoded(Path(path)), str(path))
    else:
        from echelon_models.music import arrange

        whole, _ = arrange.read(path)
    return whole.part(first, len(whole) if last is None else last)


def write(path: str | Path, what: Piece) -> None:
    """Write a piece in the format of the suffix. Raises `UserError`, OSError."""
    suffix = suffix_of(path, reading=False)
    if suffix == ".npz":
        np.savez_compressed(path, grid=what.grids, bpm=what.bpm)
    elif suffix == ".txt":
        from echelon_models.music import text

        Path(path).write_text(text.write(what), "utf-8")
    elif suffix == ".png":
        from echelon_models.music import picture

        picture.draw(what, path)
    else:
        from echelon_models.music import midi_file

        midi_file.write(path, what)


def _decoded(path: Path) -> str:
    if path.stat().st_size > MOST_TEXT:
        raise UserError(str(path), f"has more than {MOST_TEXT >> 20} MiB", "give a file of grids")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start}", "is no text (UTF-8)", "give a text file") from None


def _arrays(path: Path, first: int, last: int | None) -> Piece:
    """Return grids of an npz file: its own, or made of a data set's sounds, velocities and durations."""
    try:
        with path.open("rb") as source:
            if source.read(2) != b"PK":
                rule = "is no npz file: it does not begin as a zip file does"
                raise UserError(f"{path}: byte 0", rule, "give a file that numpy.savez wrote")
            source.seek(0)
            with np.load(source, allow_pickle=False) as file:
                if "grid" not in file.files:
                    raise UserError(str(path), "holds no array `grid`", "write grid uint8 (N, 12, 32)")
                names = [name for name in ("grid", "bpm", "vel", "dur") if name in file.files]
                arrays: dict[str, Any] = {name: file[name] for name in names}
    except UserError:
        raise
    except Exception as error:  # zip, zlib, header and pickle errors, each of its own kind
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(str(path), f"is no npz file ({error})", "give a file that numpy.savez wrote") from None
    try:
        grids = check(arrays["grid"])
        grids = grids[None] if grids.ndim == 2 else grids
        bpm = np.asarray(arrays.get("bpm", 0.0), np.float32)
        whole = Piece(grids, np.broadcast_to(bpm, (len(grids),)))
        chosen = whole.part(first, len(whole) if last is None else last)
        if "vel" in arrays and "dur" in arrays:
            return _observed(chosen, *(arrays[name][first - 1 : first - 1 + len(chosen)] for name in ("vel", "dur")))
        return piece(chosen.grids, chosen.bpm.tolist())
    except UserError as error:
        raise type(error)(f"{path}: {error.value}", error.rule, error.remedy) from None
    except (ValueError, TypeError) as error:
        raise UserError(str(path), f"its arrays do not fit together ({error})", "one bpm, vel and dur a grid") from None


def _observed(what: Piece, velocity: Any, duration: Any) -> Piece:
    from collections import Counter

    from echelon_models.music.nearest import nearest, observed, summary

    lost: Counter[str] = Counter()
    grids = np.zeros_like(what.grids)
    for number, each in enumerate(zip(what.grids, velocity, duration, strict=True)):
        grids[number], losses = nearest(observed(*each))
        lost.update(summary(losses))
    notes = ["dynamics and durations written from vel and dur"]
    if lost:
        kinds = ", ".join(f"{field} of {count}" for field, count in sorted(lost.items()))
        notes.append(f"nearest, for want of silent cells: {kinds} onsets")
    tempi = np.where((what.bpm >= 20) & (what.bpm <= 400), what.bpm, 0.0)
    return piece(grids, tempi.tolist(), notes)
