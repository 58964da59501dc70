"""Messages made from the records of the engine. Pure: records and two stamps in, Structs out."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_bridges import status as status_document
from echelon_bridges.messages.fields import Latent, Note, Positions, Values, finite, levels_db, state_name
from echelon_bridges.messages.table import Body, Health, Params, State
from echelon_engine.memory import ALL_OFF, BREAK, FROZEN, HELD, MUTED, NOTE_ON, PRESENT, SYNTHETIC
from echelon_engine.parameters import PARAMETERS

X_BITS = np.arange(6)
_LOW, _HIGH = np.array([p.low for p in PARAMETERS]), np.array([p.high for p in PARAMETERS])
_LOG, _SQUARE = (np.array([p.curve == curve for p in PARAMETERS]) for curve in ("log", "square"))
_RATIO = np.where(_LOG, _HIGH / np.where(_LOG, _LOW, 1.0), 1.0)


class Stamp(NamedTuple):
    """What every message begins with, apart from its version: see `table.Message`."""

    engine: str
    sequence: int = 0
    monotonic_ns: int = 0
    wall_s: float = 0.0


def stamp(engine: str, sequence: int) -> Stamp:
    """Return the stamp of a message made now."""
    return Stamp(engine, sequence, time.monotonic_ns(), round(time.time(), 6))


def values(positions: NDArray[Any]) -> NDArray[np.float64]:
    """Return the values of positions 0..1 (32,) in the lanes' units, as `Parameter.value` does for one."""
    p = np.clip(positions, 0.0, 1.0)
    # linear low + p (high - low);  square low + p^2 (high - low);  log low (high / low)^p
    found: NDArray[np.float64] = np.where(_LOG, _LOW * _RATIO**p, _LOW + np.where(_SQUARE, p * p, p) * (_HIGH - _LOW))
    return found


def params(record: Any, made: Stamp) -> Params:
    """Return the parameters of one memory.CONTROL, positions and values rounded to 6 decimals."""
    positions = finite(record["position"])
    return Params(
        **made._asdict(),
        epoch=int(record["epoch"]),
        frame=int(record["frame"]),
        time_ns=int(record["time_ns"]),
        motion_ns=int(record["motion_arrival_ns"]),
        position=Positions(*positions.round(6).tolist()),
        value=Values(*values(positions).round(6).tolist()),
    )


def state(record: Any, made: Stamp) -> State:
    """Return the state in one memory.CONTROL, rounded to 6 decimals."""
    flags = int(record["flags"])
    names = ("c", "energy", "lr_pan", "transition_intensity", "dell_coherence", "tempo_bpm", "beat")
    c, energy, lr_pan, transition, coherence, tempo, beat = finite([record[name] for name in names]).round(6).tolist()
    return State(
        **made._asdict(),
        epoch=int(record["epoch"]),
        frame=int(record["frame"]),
        time_ns=int(record["time_ns"]),
        motion_ns=int(record["motion_arrival_ns"]),
        state=state_name(int(record["state"])),
        present=bool(flags & PRESENT),
        held=bool(flags & HELD),
        frozen=bool(flags & FROZEN),
        muted=bool(flags & MUTED),
        commitment=c,
        energy=energy,
        x=finite(record["x"]).round(6).tolist(),
        x_valid=(int(record["x_valid"]) >> X_BITS & 1).astype(bool).tolist(),
        lr_pan=lr_pan,
        transition_intensity=transition,
        dell_coherence=coherence,
        freshness=finite(record["freshness"]).round(6).tolist(),
        latent=Latent(*finite(record["latent"]).round(6).tolist()),
        tempo_bpm=tempo,
        bar=int(record["bar"]),
        beat=beat,
        loudness_db=round(float(levels_db(record["loudness_db"])), 3),
        voices=int(record["voices"]),
        latency_ms=status_document.latency_ms(record),
    )


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
    flags = int(frame["flags"])
    return Body(
        **made._asdict(),
        time_ns=int(frame["time_ns"]),
        number=int(frame["number"]),
        heading=_number(frame["heading"]),
        origin=finite(frame["origin"]).round(6).tolist(),
        rotation=finite(frame["rotation"]).round(6).tolist(),
        position=finite(frame["position"]).round(6).tolist(),
        valid=int(frame["valid"]),
        synthetic=bool(flags & SYNTHETIC),
        broken=bool(flags & BREAK),
    )


def _number(value: Any) -> float:
    return round(float(finite(value)), 6)
