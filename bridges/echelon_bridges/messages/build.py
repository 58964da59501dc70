"""Messages made from the records of the engine. Pure: records and two stamps in, Structs out."""

from __future__ import annotations

import time
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_bridges import lane_values
from echelon_bridges import status as status_document
from echelon_bridges.messages.bars import grid_id
from echelon_bridges.messages.fields import (
    BandPositions,
    BandState,
    Latent,
    Note,
    Performer,
    Positions,
    Scalars,
    Values,
    finite,
    level_db,
    mode_name,
    section_name,
    state_name,
)
from echelon_bridges.messages.grids import Book
from echelon_bridges.messages.rounding import rounded
from echelon_bridges.messages.table import Body, Grid, Health, Params, Performers, State
from echelon_engine.memory import (
    ALL_OFF,
    BREAK,
    CONTROL,
    FROZEN,
    HELD,
    LIMB_FRAME,
    LIMBS,
    MUTED,
    NOTE_ON,
    PRESENT,
    SYNTHETIC,
)

_COMPONENTS = CONTROL["x"].shape[0]  # of the motion state


class Stamp(NamedTuple):
    """What every message begins with, apart from its version: see `table.Message`."""

    engine: str
    sequence: int = 0
    monotonic_ns: int = 0
    wall_s: float = 0.0


def stamp(engine: str, sequence: int) -> Stamp:
    """Return the stamp of a message made now."""
    return Stamp(engine, sequence, time.monotonic_ns(), round(time.time(), 6))


def _floats(record: np.dtype[Any], *names: str) -> NDArray[np.int64]:
    """Return where float32 fields of a record are in it, seen as an array of float32."""
    places = []
    for name in names:
        kind, offset = record.fields[name][:2]  # type: ignore[index]
        assert kind.base == np.float32
        places.append(np.arange(offset // 4, (offset + kind.itemsize) // 4))
    return np.concatenate(places)


_STATE = _floats(
    CONTROL,
    "c", "energy", "lr_pan", "transition_intensity", "dell_coherence", "tempo_bpm", "freshness", "x",
    "latent", "band",
)  # fmt: skip
_LATENTS = CONTROL["latent"].shape[0]
_BODY = _floats(LIMB_FRAME, "heading", "origin", "rotation", "position")
_OF_CONTROL, _OF_LIMB_FRAME = Scalars(CONTROL), Scalars(LIMB_FRAME)


def params(record: Any, made: Stamp) -> Params:
    """Return the parameters of one memory.CONTROL, positions and values rounded to 6 decimals."""
    seen = _OF_CONTROL.of(record.tobytes())
    positions, values = lane_values.told(record["position"]).round(6).tolist()
    return Params(
        **made._asdict(),
        epoch=seen["epoch"],
        frame=seen["frame"],
        time_ns=seen["time_ns"],
        motion_ns=seen["motion_arrival_ns"],
        position=Positions(*positions),
        value=Values(*values),
    )


def state(record: Any, made: Stamp, book: Book | None = None) -> State:
    """Return the state in one memory.CONTROL, rounded to 6 decimals; `book` knows the styles' names."""
    raw = record.tobytes()
    seen = _OF_CONTROL.of(raw)
    flags = seen["flags"]
    # All fields in one turn: one by one they take thrice as long.
    numbers = rounded(raw, _STATE).tolist()
    c, energy, lr_pan, transition, coherence, tempo, *rest = numbers
    return State(
        **made._asdict(),
        epoch=seen["epoch"],
        frame=seen["frame"],
        time_ns=seen["time_ns"],
        motion_ns=seen["motion_arrival_ns"],
        state=state_name(seen["state"]),
        present=bool(flags & PRESENT),
        held=bool(flags & HELD),
        frozen=bool(flags & FROZEN),
        muted=bool(flags & MUTED),
        commitment=c,
        energy=energy,
        x=rest[2:8],
        x_valid=_known(seen["x_valid"]),
        lr_pan=lr_pan,
        transition_intensity=transition,
        dell_coherence=coherence,
        freshness=rest[:2],
        latent=Latent(*rest[8 : 8 + _LATENTS]),
        tempo_bpm=tempo,
        bar=seen["bar"],
        beat=_number(seen["beat"]),
        loudness_db=level_db(seen["loudness_db"]),
        voices=seen["voices"],
        latency_ms=status_document.latency_ms(seen),
        band=_band(seen, rest[8 + _LATENTS :], book),
    )


def _band(seen: dict[str, Any], parameters: list[float], book: Book | None) -> BandState | None:
    if not seen["grid"]:
        return None
    return BandState(
        grid=seen["grid"],
        step=seen["step"],
        section=section_name(seen["section"]),
        style=None if book is None else book.style(seen["style"]),
        mode=mode_name(seen["mode"]),
        parameters=BandPositions(*parameters),
    )


def grid(record: Any, session: str, made: Stamp, book: Book) -> Grid | None:
    """Return the grid that plays since one memory.CONTROL, its first; None where `book` does not know it."""
    number = int(record["grid"])
    found, cells = book.grid(number), book.cells(number)
    if cells is None:
        return None
    bar = int(record["bar"])
    epoch = int(record["epoch"])
    return Grid(
        **made._asdict(),
        session=session,
        id=grid_id(session, epoch, bar),
        epoch=epoch,
        bar=bar,
        number=number,
        style=book.style(int(found["style"])),
        section=section_name(int(found["section"])),
        tempo_bpm=round(_number(record["tempo_bpm"]), 3),
        swing=_number(found["swing"]),
        root=int(found["root"]),
        scale=int(found["scale"]),
        chords=found["chord"].tolist(),
        cells=cells,
    )


def performers(states: NDArray[Any], made: Stamp) -> Performers:
    """Return what performers.PERFORMER (n,) say, rounded to 6 decimals."""
    columns = [states[name] for name in ("c", "energy", "tempo_bpm", "phase", "x")]
    rows = [
        Performer(
            performer=number,
            present=bool(present),
            commitment=c,
            energy=energy,
            tempo_bpm=tempo,
            phase=phase,
            x=x,
            x_valid=_known(valid),
        )
        for number, present, valid, (c, energy, tempo, phase, *x) in zip(
            states["performer"].tolist(),
            states["present"].tolist(),
            states["x_valid"].tolist(),
            finite(np.column_stack(columns)).round(6).tolist(),
            strict=True,
        )
    ]
    return Performers(**made._asdict(), time_ns=int(states["time_ns"][0]), performers=rows)


def notes(events: NDArray[Any]) -> list[Note]:
    """Return memory.EVENT (n,) as notes."""
    return [
        Note(
            kind="on" if row["kind"] == NOTE_ON else "all_off" if row["kind"] == ALL_OFF else "off",
            key=int(row["key"]),
            pitch=_number(row["pitch"]),
            velocity=_number(row["velocity"]),
            pan=_number(row["pan"]),
            source="body" if row["source"] == 0 else "other",
            epoch=int(row["epoch"]),
            frame=int(row["frame"]),
            sample=int(row["sample"]),
            time_ns=int(row["time_ns"]),
        )
        for row in events
    ]


def health(
    document: dict[str, Any], made: Stamp, *, gaps: dict[str, int], stored: int, waiting: int, lost: int
) -> Health:
    """Return the counters of the status document (`status.collect`) and of this connection."""
    copied = (
        "uptime_s", "state", "blocks", "expected_blocks", "underruns", "late_blocks", "overload_blocks", "load_p50",
        "load_p99", "load_max", "latency_ms", "drops",
    )  # fmt: skip
    return Health(
        **made._asdict(),
        **{name: document[name] for name in copied},
        sensors=len(document["sensors"]),
        gaps=gaps,
        bars_stored=stored,
        bars_waiting=waiting,
        bars_lost=lost,
    )


def body(frame: Any, made: Stamp) -> Body:
    """Return one memory.LIMB_FRAME as a message, rounded to 6 decimals."""
    raw = frame.tobytes()
    seen = _OF_LIMB_FRAME.of(raw)
    numbers = rounded(raw, _BODY)  # all in one turn, as in `state`
    heading, *origin = numbers[:4].tolist()
    return Body(
        **made._asdict(),
        time_ns=seen["time_ns"],
        number=seen["number"],
        heading=heading,
        origin=origin,
        rotation=numbers[4 : 4 + 4 * LIMBS].reshape(LIMBS, 4).tolist(),
        position=numbers[4 + 4 * LIMBS :].reshape(LIMBS, 3).tolist(),
        valid=seen["valid"],
        synthetic=bool(seen["flags"] & SYNTHETIC),
        broken=bool(seen["flags"] & BREAK),
    )


def _known(valid: int) -> list[bool]:
    """Return which components of the motion state have a source: the bits of `x_valid`."""
    return [bool(valid >> i & 1) for i in range(_COMPONENTS)]


def _number(value: Any) -> float:
    number = float(value)
    return round(number, 6) if isfinite(number) else 0.0
