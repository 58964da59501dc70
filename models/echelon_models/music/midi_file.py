"""Standard MIDI files into grids and back, through the library mido (the extra `music`), imported when needed.

Written: type 1, 480 ticks a beat, 4/4, the piece's tempi, a track of the file for each track of the grids that plays,
named after it; drums on channel 10 as General MIDI has them. What a note's length and velocity cannot tell apart goes
into its release velocity, so that a file written here and read again has the same onsets, and still has after notes
were moved or added by hand. Read: any tempo, type 0 and 1; the lane of each part is chosen by `parts`; time becomes
steps, and the state of a note whatever `nearest` can write; `Report` says what became of it all.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echelon_engine.errors import UserError
from echelon_engine.vocabulary import STEPS, STEPS_PER_BEAT
from echelon_models.music import general_midi
from echelon_models.music.events import DRUM, SIXTEENTHS, VELOCITIES
from echelon_models.music.parts import Note, Part
from echelon_models.music.piece import Piece, absolute
from echelon_models.music.tokens import TRACKS

TICKS_PER_BEAT = 480
STEP_TICKS = TICKS_PER_BEAT // STEPS_PER_BEAT
DRUM_TICKS = STEP_TICKS // 2  # of a drum's note, which rings out whatever its length
MARK = "echelon-engine grids 1"
MOST_BYTES = 8 << 20
MOST_GRIDS = 2000  # an hour and more


class MidiError(UserError):
    """A file that is no MIDI file, or none that grids can be made of: file, byte, reason."""


class Song(NamedTuple):
    """What a file holds, in sixteenths from its start."""

    parts: list[Part]
    tempi: list[tuple[float, float]]  # (begin, bpm), sorted; empty where the file names none
    meters: list[tuple[float, str]]  # (begin, "3/4") of all that are not 4/4
    end: float  # of the longest track; of a file written here, of its last grid
    ours: bool  # written here
    unfinished: int  # notes that never ended, and do at the end of the file


def mido() -> Any:
    """Return the library. Raises `UserError` where it is not installed."""
    try:
        import mido as library
    except ImportError:
        remedy = "install the extra: pip install 'echelon-engine[music]'"
        raise UserError("a MIDI file", "the library mido is not installed", remedy) from None
    return library


def encode(what: Piece) -> bytes:
    """Return a piece as the bytes of a MIDI file."""
    library = mido()
    file = library.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    file.tracks.append(_track(_conductor(library, what), len(what)))
    found, steps, gates = absolute(what)
    for number, name in enumerate(TRACKS):
        own = np.flatnonzero(found["track"] == number)
        if len(own):
            messages = _played(library, name, found[own], steps[own], gates[own])
            file.tracks.append(_track(messages, len(what)))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def write(path: str | Path, what: Piece) -> None:
    """Write a piece as a MIDI file. Raises OSError."""
    Path(path).write_bytes(encode(what))


def _conductor(library: Any, what: Piece) -> Iterable[tuple[int, int, Any]]:
    """Yield (tick, rank, message) of the first track: the mark, 4/4, tempi where any is known, a marker a grid."""
    yield 0, 0, library.MetaMessage("track_name", name=MARK)
    yield 0, 0, library.MetaMessage("time_signature", numerator=4, denominator=4)
    before = None
    for number, bpm in enumerate(what.tempi.tolist()):
        tick = number * STEPS * STEP_TICKS
        if what.bpm.any() and bpm != before:
            yield tick, 0, library.MetaMessage("set_tempo", tempo=round(60e6 / bpm))
        yield tick, 0, library.MetaMessage("marker", text=f"grid {number + 1}")
        before = bpm


def _played(library: Any, name: str, found: Any, steps: Any, gates: Any) -> Iterable[tuple[int, int, Any]]:
    """Yield (tick, rank, message) of one track: programs, effects as controllers, every strike as a note."""
    yield 0, 0, library.MetaMessage("track_name", name=name)
    drums, pitched = general_midi.DRUM_CHANNEL, general_midi.CHANNELS[name]
    if (found["kind"] != DRUM).any():
        yield 0, 1, library.Message("program_change", channel=pitched, program=general_midi.PROGRAMS[name])
    effects = {drums: 0, pitched: 0}
    for event, step, gate in zip(found, steps.tolist(), gates.tolist(), strict=True):
        drum = event["kind"] == DRUM
        channel = drums if drum else pitched
        note = general_midi.DRUM_NOTES[event["sound"]] if drum else int(event["sound"])
        level = int(np.argmin(np.abs(VELOCITIES - event["velocity"])))
        articulation, duration = int(event["articulation"]), int(np.argmax(event["duration"] == SIXTEENTHS))
        loud = general_midi.velocity(level, articulation)
        kept = general_midi.release(articulation, duration)
        mask = int(event["effects"])
        for bit, (control, value) in enumerate(general_midi.EFFECT_CONTROLS):
            if (mask ^ effects[channel]) >> bit & 1:
                value = value if mask >> bit & 1 else general_midi.EFFECT_OFF[bit]
                yield (
                    step * STEP_TICKS,
                    2,
                    library.Message("control_change", channel=channel, control=control, value=value),
                )
        effects[channel] = mask
        for strike in range(event["count"]):
            begin = step * STEP_TICKS + strike * STEP_TICKS // 2
            long = gate if strike == event["count"] - 1 else min(gate, 0.5)
            ticks = DRUM_TICKS if drum else round(long * STEP_TICKS)
            yield begin, 3, library.Message("note_on", channel=channel, note=note, velocity=loud)
            yield begin + ticks, -1, library.Message("note_off", channel=channel, note=note, velocity=kept)


def _track(messages: Iterable[tuple[int, int, Any]], grids: int) -> Any:
    """Return messages as a track of the file, in time; ends of notes come before what begins with them."""
    library = mido()
    track, now = library.MidiTrack(), 0
    for tick, _, message in sorted(messages, key=lambda item: item[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(library.MetaMessage("end_of_track", time=max(grids * STEPS * STEP_TICKS - now, 0)))
    return track


def decode(data: bytes, name: str = "MIDI file") -> Song:
    """Return what the bytes of a MIDI file hold. Raises `MidiError` with the byte and the reason."""
    if data[:4] != b"MThd":
        raise MidiError(f"{name}: byte 0", "is no MIDI file: it does not begin with MThd", "give a .mid file")
    if len(data) > MOST_BYTES:
        raise MidiError(name, f"has {len(data)} bytes, more than {MOST_BYTES}", "cut it into pieces")
    library = mido()
    source = io.BytesIO(data)
    try:
        file = library.MidiFile(file=source)
    except Exception as error:  # the library raises what its parsing runs into: OSError, EOFError, IndexError ...
        reason = str(error) or "the file ends too early"
        raise MidiError(f"{name}: byte {source.tell()}", f"is no MIDI ({reason})", "save it again as type 1") from None
    if file.type not in (0, 1):
        raise MidiError(
            f"{name}: byte 8", f"is of type {file.type}, its tracks have times of their own", "use type 0 or 1"
        )
    if not 0 < file.ticks_per_beat < 1 << 15:
        raise MidiError(f"{name}: byte 12", "counts time in seconds (SMPTE), not in beats", "save it with ticks a beat")
    return _song(file, name)


def _song(file: Any, name: str) -> Song:
    scale = STEPS_PER_BEAT / file.ticks_per_beat
    grids = scale * max((sum(message.time for message in track) for track in file.tracks), default=0) / STEPS
    if grids > MOST_GRIDS:
        raise MidiError(name, f"lasts {grids:.0f} grids of two bars, more than {MOST_GRIDS}", "cut it into pieces")
    parts: dict[tuple[int, int], Part] = {}
    tempi: dict[float, float] = {}
    meters: list[tuple[float, str]] = []
    ends, ours, unfinished = [0.0], False, 0
    for number, track in enumerate(file.tracks):
        tick, title = 0, ""
        sounding: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        effects = [0] * 16
        for message in track:
            tick += message.time
            begin = tick * scale
            if message.type == "track_name":
                title = title or message.name
                ours = ours or (number == 0 and message.name == MARK)
            elif message.type == "set_tempo":
                tempi[begin] = _bpm(message.tempo) if message.tempo > 0 else math.inf
            elif message.type == "time_signature" and (message.numerator, message.denominator) != (4, 4):
                meters.append((begin, f"{message.numerator}/{message.denominator}"))
            elif message.type == "program_change":
                part = parts.setdefault((number, message.channel), Part("", message.channel))
                part.program = message.program if not part.notes else part.program
            elif message.type == "control_change":
                effects[message.channel] = _effects(effects[message.channel], message.control, message.value)
            elif message.type in ("note_on", "note_off"):
                key = message.channel, message.note
                if message.type == "note_on" and message.velocity:
                    sounding.setdefault(key, []).append((tick, message.velocity, effects[message.channel]))
                elif sounding.get(key):
                    release = message.velocity if message.type == "note_off" else 0
                    _end(parts, number, key, sounding[key].pop(0), tick, release, scale)
        for key, notes in sounding.items():
            for note in notes:
                unfinished += 1
                _end(parts, number, key, note, tick, 0, scale)
        for (own, _), part in parts.items():
            if own == number:
                part.name = title
        ends.append(tick * scale)
    played = [part for part in parts.values() if part.notes]
    end = ends[1] if ours else max(ends)  # ours: notes of the last grid may ring on after it
    return Song(played, sorted(tempi.items()), sorted(meters), end, ours, unfinished)


def _end(
    parts: dict[tuple[int, int], Part],
    track: int,
    key: tuple[int, int],
    begun: tuple[int, int, int],
    tick: int,
    release: int,
    scale: float,
) -> None:
    channel, midi = key
    begin, velocity, effects = begun
    part = parts.setdefault((track, channel), Part("", channel))
    part.notes.append(Note(begin * scale, tick * scale, midi, velocity, release, effects))


def _effects(mask: int, control: int, value: int) -> int:
    for bit, (known, on) in enumerate(general_midi.EFFECT_CONTROLS):
        if control == known:
            nearer = abs(value - on) < abs(value - general_midi.EFFECT_OFF[bit])
            return mask | 1 << bit if nearer else mask & ~(1 << bit)
    return mask


def _bpm(microseconds: int) -> float:
    """Return the roundest tempo that so many microseconds a beat can mean, whichever way they were rounded."""
    exact = 60e6 / microseconds
    near = (rounded for rounded in (round(exact, places) for places in range(4)) if rounded > 0)
    return next((rounded for rounded in near if abs(60e6 / rounded - microseconds) < 1.0), exact)
