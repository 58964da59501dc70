"""What a running engine counts, as one document, one table and one line. Pure: records in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from echelon_engine.band import BAND
from echelon_engine.live_table import TEMPO_SOURCES
from echelon_engine.memory import ENGINE_STATES, FROZEN, HELD, LOAD_BINS_PER_PERIOD, PRESENT
from echelon_engine.vocabulary import MODES, SECTIONS

LATENCY_OF_MOTION_NS = 1_000_000_000  # older motion is no longer what is heard
COUNTED = (
    "blocks",
    "expected_blocks",
    "underruns",
    "late_blocks",
    "overload_blocks",
    "resets",
    "refused_values",
    "clipped_frames",
    "motion_frames",
    "control_frames",
    "strikes",
)
SENSOR_COUNTS = ("frames", "lost", "refused", "undecodable")


def percentile(histogram: Any, share: float) -> float:
    """Return the load (1 = the whole period) that `share` of all blocks stay under: the upper edge of its bin.

    `histogram` is memory.COUNTERS.block_histogram; 0 when it is empty.
    """
    total = int(np.sum(histogram))
    if total == 0:
        return 0.0
    bin_ = int(np.searchsorted(np.cumsum(histogram), share * total))
    return (min(bin_, len(histogram) - 1) + 1) / LOAD_BINS_PER_PERIOD


def latency_ms(snapshot: Any) -> float | None:
    """Return milliseconds from the newest motion's arrival to the converter; None while no body moves the sound.

    `snapshot` is a memory.CONTROL.
    """
    flags, arrival_ns = int(snapshot["flags"]), int(snapshot["motion_arrival_ns"])
    age_ns = int(snapshot["dac_ns"]) - arrival_ns
    if arrival_ns <= 0 or flags & (FROZEN | HELD) or not flags & PRESENT or age_ns > LATENCY_OF_MOTION_NS:
        return None
    return round(age_ns / 1e6, 2)


def collect(
    shared: Any,
    snapshot: Any,
    settings: Any,
    *,
    name: str,
    version: str,
    uptime_s: float,
    audio: dict[str, Any],
    processes: Sequence[dict[str, Any]],
    sensors: Sequence[dict[str, Any]],
    outlets: dict[str, Any] | None = None,
    recording: dict[str, Any] | None = None,
    styles: Sequence[str] = (),
    cue: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the status document, ready for JSON.

    `shared` is the record of memory.SHARED, `snapshot` the newest memory.CONTROL, `settings` the memory.SETTINGS in
    force, `audio` what the audio process said when it was ready, `styles` the names of all styles in the order of their
    numbers, the others what the supervisor knows. Loads are shares of a block's period, 0..1; `motion_delay_ms` is what
    the de-jitter adds now, 0 in low latency.
    """
    counters, header = shared["counters"], shared["header"]
    histogram = counters["block_histogram"].copy()
    state = int(snapshot["state"])
    low_latency = bool(settings["low_latency"])
    period_ns = 1e9 * int(header["block_frames"]) / max(int(header["rate_hz"]), 1)
    return {
        "name": name,
        "version": version,
        "uptime_s": round(uptime_s, 1),
        "epoch": int(header["epoch"]),
        "device": str(audio.get("device", "")),
        "rate_hz": int(header["rate_hz"]),
        "block": int(header["block_frames"]),
        "device_latency_ms": audio.get("latency_ms"),
        **{field: int(counters[field]) for field in COUNTED},
        "load_p50": round(percentile(histogram, 0.5), 4),
        "load_p99": round(percentile(histogram, 0.99), 4),
        "load_max": round(int(counters["block_ns_max"]) / period_ns, 4),
        "state": ENGINE_STATES[state] if 0 <= state < len(ENGINE_STATES) else str(state),
        "tempo_bpm": round(float(snapshot["tempo_bpm"]), 2),
        "bar": int(snapshot["bar"]),
        "beat": round(float(snapshot["beat"]), 3),
        "tempo_source": _named(TEMPO_SOURCES, int(settings["tempo_source"])),
        "band": _band(snapshot, settings, styles),
        "c": round(float(snapshot["c"]), 4),
        "energy": round(float(snapshot["energy"]), 4),
        "loudness_db": round(max(float(snapshot["loudness_db"]), -200.0), 2),
        "voices": int(snapshot["voices"]),
        "latency_ms": latency_ms(snapshot),
        "motion_delay_ms": 0.0 if low_latency else round(float(settings["motion_delay_ms"]), 3),
        "low_latency": low_latency,
        "sensors": [dict(sensor) for sensor in sensors],
        "drops": {
            "records": int(counters["dropped_records"]),
            "inputs": int(counters["dropped_inputs"]),
            "sound": int(counters["dropped_sound"]),
            "frames": int(shared["frames"]["dropped"][:, 0].sum()),
            "commands": int(shared["commands"]["dropped"][:, 0].sum()),
        },
        "processes": [dict(process) for process in processes],
        "outlets": dict(outlets or {}),
        "recording": recording,
        "cue": cue,
    }


def _named(names: Sequence[str], index: int) -> str:
    return names[index] if 0 <= index < len(names) else str(index)


def _band(snapshot: Any, settings: Any, styles: Sequence[str]) -> dict[str, Any]:
    """Return what the band plays: style and section are null before its first grid, `wanted` is the style asked for."""
    playing = bool(snapshot["grid"])
    return {
        "on": bool(settings["band"]),
        "style": _named(styles, int(snapshot["style"])) if playing else None,
        "wanted": _named(styles, int(settings["style"])),
        "mode": _named(MODES, int(settings["mode"])),
        "section": _named(SECTIONS, int(snapshot["section"])) if playing else None,
        "grid": int(snapshot["grid"]),
        "step": int(snapshot["step"]),
        "parameters": {row.name: round(float(snapshot["band"][row.lane]), 4) for row in BAND},
    }


def _conducted(band: dict[str, Any]) -> str:
    """Return what the band plays as a few words."""
    if not band["on"]:
        return "off"
    if band["style"] is None:
        return f"{band['wanted']}, {band['mode']}, has not begun"
    wanted = f" (then {band['wanted']})" if band["wanted"] != band["style"] else ""
    return f"{band['style']}{wanted}, {band['section']}, {band['mode']}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def table(status: dict[str, Any]) -> str:
    """Return the document as people read it."""
    s = status
    ahead = s["blocks"] - s["expected_blocks"]
    latency = "no motion" if s["latency_ms"] is None else f"{s['latency_ms']:.1f} ms from motion to converter"
    latency += ", low latency" if s["low_latency"] else f", {s['motion_delay_ms']:g} ms of it against jitter"
    rows = [
        ("engine", f"{s['name']}, version {s['version']}, up {s['uptime_s']:.0f} s, epoch {s['epoch']}"),
        ("device", f"{s['device'] or '-'}, {s['rate_hz']} Hz, {s['block']} frames a block"),
        ("blocks", f"{s['blocks']} of {s['expected_blocks']} expected ({ahead:+d})"),
        ("trouble", f"{s['underruns']} underruns, {s['late_blocks']} late, {s['overload_blocks']} over their period"),
        ("load", f"p50 {s['load_p50']:.1%}, p99 {s['load_p99']:.1%}, max {s['load_max']:.1%} of a block's period"),
        ("state", f"{s['state']}, commitment {s['c']:.2f}, energy {s['energy']:.2f} m/s, {s['voices']} voices"),
        ("clock", f"{s['tempo_bpm']:.1f} bpm ({s['tempo_source']}), bar {s['bar']}, beat {s['beat']:.1f}"),
        ("band", _conducted(s["band"])),
        ("level", f"{s['loudness_db']:.1f} dBFS"),
        ("latency", latency),
        ("drops", ", ".join(f"{count} {what}" for what, count in s["drops"].items())),
        (
            "resets",
            f"{s['resets']} non-finite states reset, {s['refused_values']} values refused, "
            f"{s['clipped_frames']} frames with DELL on its clip",
        ),
    ]
    if s.get("cue"):
        rows.insert(7, ("cue", _cue(s["cue"])))
    lines = _columns(rows)
    lines += ["", *_columns([("process", "pid", "state", "restarts"), *map(_process, s["processes"])])]
    if s["sensors"]:
        heads = ("sensor", "port", "rate", "heard", *SENSOR_COUNTS[1:])
        lines += ["", *_columns([heads, *map(_sensor, s["sensors"])])]
    if s.get("outlets"):
        lines += ["", *_columns([(name, _outlet(counts)) for name, counts in s["outlets"].items()])]
    if s["recording"]:
        lines += ["", *_columns([("recording", _recording(s["recording"]))])]
    return "\n".join(lines)


def _outlet(counts: dict[str, Any]) -> str:
    """Return what an outlet reports as one line: what is said, and what is not zero."""
    parts = []
    for name, value in counts.items():
        if isinstance(value, str) and value:
            parts.append(value)
        elif isinstance(value, bool):
            parts.append(name if value else f"not {name}")
        elif isinstance(value, int | float) and value:
            parts.append(f"{value} {name.replace('_', ' ')}")
    return ", ".join(parts) or "nothing yet"


def _recording(recording: dict[str, Any]) -> str:
    made = f"{recording.get('seconds', 0)} s in {recording.get('path', '?')}"
    return f"STOPPED after {made}: {recording['error']}" if recording.get("error") else made


def _cue(cue: dict[str, Any]) -> str:
    here = f"{cue['number']} of {cue['of']}, {cue['name']}" if cue["number"] else f"none yet of {cue['of']}"
    return here + (f"; next: {cue['next']}" if cue["next"] else "; the last")


def _process(process: dict[str, Any]) -> tuple[str, ...]:
    pid = process["pid"]
    return (process["name"], "-" if pid is None else str(pid), process["state"], str(process["restarts"]))


def _sensor(sensor: dict[str, Any]) -> tuple[str, ...]:
    rate = f"{float(sensor.get('rate_hz') or 0):.0f} Hz"
    heard = {**sensor, "frames": int(sensor.get("frames") or 0) + int(sensor.get("readings") or 0)}
    counts = (str(heard.get(field, 0)) for field in SENSOR_COUNTS)
    return (str(sensor.get("name", "?")), str(sensor.get("port", "-")), rate, *counts)


def _kept(session: dict[str, Any], drops: dict[str, int]) -> str:
    """Return what becomes of a session: cut is one that lacks records, which plays again only up to there."""
    if session.get("error"):
        return "NOT KEPT"
    return "LOG CUT" if drops["records"] or drops["inputs"] or session.get("lost") else "log"


def line(status: dict[str, Any]) -> str:
    """Return the document as the one line that a terminal shows: what a performer has to see at a glance."""
    s = status
    band = s["band"]
    plays = (
        "band off" if not band["on"] else f"{band['style'] or band['wanted']} {band['section'] or '-'} {band['mode']}"
    )
    parts = [f"{s['state']:<13}", f"{s['tempo_bpm']:5.1f} bpm {s['tempo_source']}", plays]
    if s.get("cue"):
        parts.append(f"cue {s['cue']['number']}/{s['cue']['of']} {s['cue']['name']}".rstrip())
    for sensor in s["sensors"]:
        frames, lost = int(sensor.get("frames") or sensor.get("readings") or 0), int(sensor.get("lost", 0))
        if frames:
            share = lost / (frames + lost)
            parts.append(f"{sensor.get('name', '?')} {float(sensor.get('rate_hz') or 0):.0f} Hz -{share:.0%}")
    parts += [f"load {s['load_p99']:.0%}", f"{s['underruns']} underruns", f"{s['loudness_db']:.0f} dB"]
    if s["latency_ms"] is not None:
        parts.append(f"{s['latency_ms']:.0f} ms")
    if s["recording"]:
        parts.append("NOT RECORDING" if s["recording"].get("error") else "rec")
    if "nats" in s.get("outlets", {}):
        parts.append("nats" if s["outlets"]["nats"].get("connected") else "NO NATS")
    if "session" in s.get("outlets", {}):
        parts.append(_kept(s["outlets"]["session"], s["drops"]))
    parts += [f"{p['name']} {p['state']}" for p in s["processes"] if p["state"] != "ready"]
    return "  ".join(parts)
