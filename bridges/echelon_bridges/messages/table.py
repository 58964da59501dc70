"""Every message that leaves or enters: one Struct each, and one table of where it goes; all transports derive from it.

Every message carries version, sequence, engine name and two stamps. The sequence counts the messages of one subject
that were due: a number that is missing was never sent (of continuous messages only the newest is).
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct, field

from echelon_bridges.messages.fields import (
    BandPositions,
    BandState,
    Cells,
    Commitment,
    Dynamics,
    Latent,
    ModeName,
    MotionKnown,
    MotionState,
    Note,
    Performer,
    Positions,
    Row3,
    Row4,
    SectionName,
    Values,
    about,
)
from echelon_engine.memory import ENGINE_STATES, LIMBS, PERFORMERS

VERSION = 1
ROOT = "echelon"  # the first word of every subject

assert ENGINE_STATES == ("idle", "warmup", "active", "transitioning")
StateName = Literal["idle", "warmup", "active", "transitioning"]


class Message(Struct, kw_only=True, frozen=True):
    """What every message begins with."""

    version: Annotated[int, about("", "of the schema")] = VERSION
    sequence: Annotated[int, about("", "of this subject, from 1; a missing number was never sent")] = 0
    engine: Annotated[str, about("", "name of the engine")] = ""
    monotonic_ns: Annotated[int, about("ns", "when it was made, CLOCK_MONOTONIC of the engine's machine")] = 0
    wall_s: Annotated[float, about("s", "when it was made, seconds since 1970, UTC")] = 0.0


class Params(Message, kw_only=True, frozen=True):
    """The 32 parameters of the instrument as they are heard, after overrides and slew."""

    epoch: Annotated[int, about("", "grows when the audio process is replaced; frames count from 0 again")]
    frame: Annotated[int, about("", "control frame, 60 a second")]
    time_ns: Annotated[int, about("ns", "engine time of the frame, CLOCK_MONOTONIC when live")]
    motion_ns: Annotated[int, about("ns", "arrival of the newest motion in it, CLOCK_MONOTONIC; 0: none")]
    position: Annotated[Positions, about("", "0..1, by the lane's name")]
    value: Annotated[Values, about("lane", "in the lane's unit, by its name")]


class State(Message, kw_only=True, frozen=True):
    """What the engine makes of the motion, and where it is in the music."""

    epoch: Annotated[int, about("", "grows when the audio process is replaced; frames count from 0 again")]
    frame: Annotated[int, about("", "control frame, 60 a second")]
    time_ns: Annotated[int, about("ns", "engine time of the frame, CLOCK_MONOTONIC when live")]
    motion_ns: Annotated[int, about("ns", "arrival of the newest motion in it, CLOCK_MONOTONIC; 0: none")]
    state: Annotated[StateName, about("", "of the engine")]
    present: Annotated[bool, about("", "somebody moves it")]
    held: Annotated[bool, about("", "the body is held or relaxing, for want of data")]
    frozen: Annotated[bool, about("", "the body is frozen by a person")]
    muted: Annotated[bool, about("", "nothing is heard")]
    commitment: Commitment
    energy: Annotated[float, about("m/s", "of the body")]
    x: MotionState
    x_valid: MotionKnown
    lr_pan: Annotated[float, about("", "-1 the left moves, 1 the right")]
    transition_intensity: Annotated[float, about("", "how fast commitment rises")]
    dell_coherence: Annotated[float, about("", "cosine between the fast and the slow part of DELL coupled")]
    freshness: Annotated[list[float], about("", "of the left and right device, 1 present .. 0 gone")]
    latent: Annotated[Latent, about("", "LatentState")]
    tempo_bpm: Annotated[float, about("bpm", "of the musical clock")]
    bar: Annotated[int, about("", "of the musical clock, from 0")]
    beat: Annotated[float, about("beats", "since the start")]
    loudness_db: Annotated[float, about("dBFS", "RMS of the last control period; -200 is silence")]
    voices: Annotated[int, about("", "that sound")]
    latency_ms: Annotated[float | None, about("ms", "from the motion's arrival to the converter; null: no motion")]
    band: Annotated[BandState | None, about("", "what the band plays; null: nothing yet")] = None


class Performers(Message, kw_only=True, frozen=True):
    """What every performer does, heard or not."""

    time_ns: Annotated[int, about("ns", "the bodies were so then, CLOCK_MONOTONIC")]
    performers: Annotated[list[Performer], about("", "by number, from 0")]


class Events(Message, kw_only=True, frozen=True):
    """Notes that began and ended."""

    notes: Annotated[list[Note], about("", "in the order in which they were played")]
    lost: Annotated[int, about("", "notes that could not be sent since the start")] = 0


class Bar(Message, kw_only=True, frozen=True):
    """One bar that has ended. Stored once and in order; what is not known yet is null."""

    session: Annotated[str, about("", "this run of the engine")]
    id: Annotated[str, about("", "session, epoch and bar: the same bar never has another, use it to deduplicate")]
    epoch: Annotated[int, about("", "grows when the audio process is replaced; bars count from 0 again")]
    bar: Annotated[int, about("", "of the musical clock, from 0")]
    frame: Annotated[int, about("", "first control frame")]
    frames: Annotated[int, about("", "control frames it was made from")]
    complete: Annotated[bool, about("", "nothing of it is missing, neither its beginning nor its end nor a frame")]
    time_ns: Annotated[int, about("ns", "engine time of its first control frame, CLOCK_MONOTONIC when live")]
    begin_wall_s: Annotated[float, about("s", "the same, seconds since 1970, UTC")]
    seconds: Annotated[float, about("s", "its duration")]
    tempo_bpm: Annotated[float, about("bpm", "at its end")]
    state: Annotated[StateName, about("", "of the engine, at its end")]
    commitment: Annotated[float, about("", "mean, 0..1")]
    energy: Annotated[float, about("m/s", "mean")]
    loudness_db: Annotated[float, about("dBFS", "level of its mean power; -200 is silence")]
    notes: Annotated[int, about("", "that began in it")]
    z: Annotated[list[float], about("", "DELL coupled (32), at its end")]
    dynamics: Annotated[Dynamics, about("", "ten measures, four statistics of each")]
    pattern: Annotated[str | None, about("", "the active pattern, where Strudel plays one")] = None
    activations: Annotated[list[float] | None, about("", "of the 12 tracks: mean level, 0..1")] = None
    genre: Annotated[str | None, about("", "the style that the band plays, at its end")] = None
    section: Annotated[SectionName | None, about("", "of the arrangement, at its end")] = None
    mode: Annotated[ModeName | None, about("", "of the conductor, at its end")] = None
    parameters: Annotated[BandPositions | None, about("", "of the band, means over the bar")] = None
    grid_number: Annotated[int | None, about("", "of the grid that played")] = None
    grid: Annotated[
        Cells | None, about("", "that played, 12 tracks of 32 sixteenths, token ids; its second half in odd bars")
    ] = None


class Grid(Message, kw_only=True, frozen=True):
    """A grid, sent when it begins to play; it plays, and is played again, until the next one. Stored once, in order."""

    session: Annotated[str, about("", "this run of the engine")]
    id: Annotated[str, about("", "session, epoch, bar and the word grid: use it to deduplicate")]
    epoch: Annotated[int, about("", "grows when the audio process is replaced; bars count from 0 again")]
    bar: Annotated[int, about("", "in which it begins; an odd bar plays its second half")]
    number: Annotated[int, about("", "of the grid, rises from grid to grid")]
    style: Annotated[str | None, about("", "its name; null: not known")]
    section: Annotated[SectionName, about("", "of the arrangement")]
    tempo_bpm: Annotated[float, about("bpm", "of the musical clock as it begins")]
    swing: Annotated[float, about("", "where the second of two sixteenths falls, as the style has it: 0.5 is straight")]
    root: Annotated[int, about("", "pitch class of the scale's first degree, 0 is C")]
    scale: Annotated[int, about("", "bit i: i semitones above the root are in the scale")]
    chords: Annotated[list[int], about("", "of its four half bars; bit i: pitch class i, 0 is C")]
    cells: Annotated[Cells, about("", "12 tracks of 32 sixteenths, token ids")]


class Strudel(Message, kw_only=True, frozen=True):
    """A grid as Strudel plays it. Nothing sends it yet."""

    bar: Annotated[int, about("", "in which it begins")]
    tempo_bpm: Annotated[float, about("bpm", "of the musical clock")]
    patterns: Annotated[dict[str, str], about("", "one a track, by its name")]


class Health(Message, kw_only=True, frozen=True):
    """How the engine and this connection are; the whole document is the answer to the status command."""

    uptime_s: Annotated[float, about("s", "of the engine")]
    state: Annotated[str, about("", "of the engine")]
    blocks: Annotated[int, about("", "computed")]
    expected_blocks: Annotated[int, about("", "by the wall clock")]
    underruns: Annotated[int, about("", "reported by the device")]
    late_blocks: Annotated[int, about("", "finished after their deadline")]
    overload_blocks: Annotated[int, about("", "took longer than their period")]
    load_p50: Annotated[float, about("", "half of all blocks took less than this share of their period")]
    load_p99: Annotated[float, about("", "99 of 100 did")]
    load_max: Annotated[float, about("", "the longest")]
    latency_ms: Annotated[float | None, about("ms", "from the motion's arrival to the converter; null: no motion")]
    drops: Annotated[dict[str, int], about("", "what rings refused, by ring")]
    sensors: Annotated[int, about("", "that are heard")]
    gaps: Annotated[dict[str, int], about("", "messages of continuous subjects that were due and not sent")]
    bars_stored: Annotated[int, about("", "acknowledged by the server")]
    bars_waiting: Annotated[int, about("", "in the outbox, grids too")]
    bars_lost: Annotated[int, about("", "that the outbox could not hold, grids too")]


class Snapshot(Message, kw_only=True, frozen=True):
    """All of the present, for who joins late: the newest of each message, and what sounds."""

    params: Annotated[Params | None, about("", "the newest")]
    state: Annotated[State | None, about("", "the newest")]
    bar: Annotated[Bar | None, about("", "the newest that ended")]
    grid: Annotated[Grid | None, about("", "the one that plays")]
    health: Annotated[Health | None, about("", "the newest")]
    notes: Annotated[list[Note], about("", "that sound, as they began")]


class Body(Message, kw_only=True, frozen=True):
    """One limb frame: 27 limbs in mocopi's order; right-handed, Y up, Z forward, X to the body's left."""

    time_ns: Annotated[int, about("ns", "when the body was so, on the sender's clock; 0: unknown")] = 0
    number: Annotated[int, about("", "of the frame, rises by one")] = 0
    heading: Annotated[float, about("rad", "about +Y")] = 0.0
    origin: Annotated[Row3, about("m", "the root in the world")] = field(default_factory=lambda: [0.0] * 3)
    rotation: Annotated[
        list[Row4], about("", "local to the parent, x y z w; heading removed", min_length=LIMBS, max_length=LIMBS)
    ]
    position: Annotated[
        list[Row3], about("m", "relative to the root, heading removed", min_length=LIMBS, max_length=LIMBS)
    ]
    valid: Annotated[int, Meta(ge=0, lt=1 << LIMBS), about("", "bit i: limb i is measured")] = (1 << LIMBS) - 1
    synthetic: Annotated[bool, about("", "made up (relaxing after a gap): no motion")] = False
    broken: Annotated[bool, about("", "first after a gap or restart: no velocity across it")] = False


class Subject(NamedTuple):
    """One row: the words after `echelon.<engine>.`, what is sent there and how."""

    name: str  # <performer> and <device> stand for one word each
    message: type[Message]
    direction: Literal["out", "in", "request"]
    delivery: Literal["continuous", "once", "stored", "request"]  # newest wins; sent once; stored once and in order
    rate: str
    about: str


SUBJECTS: dict[str, Subject] = {
    row.name: row
    for row in (
        Subject("params", Params, "out", "continuous", "nats.rate_hz, 60 a second at most", "the 32 parameters"),
        Subject("state", State, "out", "continuous", "nats.rate_hz, 60 a second at most", "motion and music"),
        Subject(
            "performers",
            Performers,
            "out",
            "continuous",
            "15 a second, nats.rate_hz at most; with motion.performers above 1",
            "all bodies",
        ),
        Subject("events", Events, "out", "once", "when notes are played", "notes, up to 64 a message"),
        Subject("bar", Bar, "out", "stored", "one a bar", "the bar that has ended"),
        Subject("grid", Grid, "out", "stored", "when one begins to play, one a bar at most", "what the band plays"),
        Subject("strudel", Strudel, "out", "continuous", "not sent yet", "the same as Strudel's patterns"),
        Subject("health", Health, "out", "continuous", "one a second", "counters"),
        Subject("body.<performer>", Body, "out", "continuous", "nats.rate_hz", "limb frames; only with nats.body on"),
        Subject("snapshot", Snapshot, "request", "request", "when asked", "everything a late joiner needs"),
        Subject(
            "motion.<performer>.<device>",
            Body,
            "in",
            "continuous",
            "4000 pieces of 256 bytes a second each",
            "a limb frame, or a datagram of any sensor as it is (performer 0 to 3)",
        ),
    )
}
assert PERFORMERS == 4


def subject(engine: str, name: str) -> str:
    """Return the whole subject of a row of the table, its places filled in: `echelon.<engine>.<name>`."""
    return f"{ROOT}.{engine}.{name}"
