"""What sensors say, as people read it: tables, bars and sparklines. Pure: rows of the hub in, text out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

BLOCKS = " ▁▂▃▄▅▆▇█"
FULL_MPS2, FULL_MPS = 20.0, 3.0  # what fills a bar
KEPT = 40  # looks that a sparkline shows
BAR = 20
SHOWN_NAME = 32
RIG: Mapping[Any, str] = {True: "yes", False: "not yet"}  # whether a sender has told its body's size; some never do

Row = Mapping[str, Any]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def plain(text: Any) -> str:
    """Return a name that came over a network without anything a terminal would obey."""
    shown = "".join(each if each.isprintable() else "?" for each in str(text))
    return shown if len(shown) <= SHOWN_NAME else shown[: SHOWN_NAME - 1] + "…"


def _place(row: Row) -> tuple[str, str]:
    performer = row.get("performer")
    return ("-" if performer is None else str(performer)), str(row.get("role", "-"))


def _device(row: Row) -> tuple[str, ...]:
    jitter, drift = row.get("jitter_ms"), row.get("drift_ppm")
    silent = float(row.get("silent_s") or 0.0)
    return (
        plain(row.get("name", "?")),
        plain(row.get("app", "?")),
        *_place(row),
        "silent" if silent >= 1.0 else f"{float(row.get('rate_hz') or 0.0):.0f} Hz",
        f"{float(row.get('loss') or 0.0):.1%}",
        "-" if not jitter else f"{float(jitter[1]):.0f} ms",
        "-" if drift is None else f"{float(drift):+.0f} ppm",
        str(row.get("frames", 0)),
        RIG.get(row.get("rig"), "-"),
        str(row.get("undecodable", "-")),
    )


def table(ports: Sequence[Row], devices: Sequence[Row]) -> str:
    """Return what listens and what is heard, as two tables."""
    heads = ("port", "address", "rate", "datagrams", "refused", "dropped", "undecodable")
    listening = [
        (
            plain(port.get("name", "?")),
            f"{port.get('address')}:{port.get('port')}",
            f"{float(port.get('rate_hz') or 0.0):.0f} Hz",
            *(str(port.get(name, 0)) for name in heads[3:]),
        )
        for port in ports
    ]
    lines = (
        columns([heads, *listening]) if listening else ["no port is open; set ports.mocopi, ports.vmc, ports.phones"]
    )
    if not devices:
        return "\n".join([*lines, "", "nothing is heard yet"])
    titles = (
        "device",
        "app",
        "performer",
        "role",
        "rate",
        "loss",
        "jitter p99",
        "drift",
        "frames",
        "rig",
        "undecodable",
    )
    return "\n".join([*lines, "", *columns([titles, *map(_device, devices)])])


def level(value: float, full: float) -> str:
    """Return a bar of 20 characters, full at `full`."""
    eighths = round(min(max(value / full, 0.0), 1.0) * BAR * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")).ljust(BAR)


def sparkline(values: Sequence[float], full: float) -> str:
    """Return a line of block characters, one a value."""
    return "".join(BLOCKS[round(min(max(value / full, 0.0), 1.0) * (len(BLOCKS) - 1))] for value in values)


class Picture:
    """A moving picture: `draw(rows)` at every look."""

    def __init__(self) -> None:
        self._speeds: dict[str, deque[float]] = {}

    def draw(self, devices: Sequence[Row]) -> list[str]:
        """Return the lines of one picture: acceleration as a bar, the speed of the last looks as a sparkline."""
        names = {str(row.get("name")) for row in devices}
        self._speeds = {name: kept for name, kept in self._speeds.items() if name in names}
        rows: list[tuple[str, ...]] = [("device", "role", "rate", "acceleration", "", "velocity", "")]
        for row in devices:
            performer, role = _place(row)
            rate = f"{float(row.get('rate_hz') or 0.0):.0f} Hz"
            if row.get("kind") != "phone":
                heading = row.get("heading")
                facing = "" if heading is None else f"faces {float(heading) * 57.29578:+.0f}°"
                origin = row.get("origin") or []
                place = "at " + ", ".join(f"{float(each):.2f}" for each in origin) + " m" if origin else ""
                rows.append((plain(row.get("name")), f"{performer}.{role}", rate, facing, "", place, ""))
                continue
            silent = float(row.get("silent_s") or 0.0) >= 1.0
            mps2, mps = (0.0 if silent else float(row.get(name) or 0.0) for name in ("mps2", "mps"))
            kept = self._speeds.setdefault(str(row.get("name")), deque(maxlen=KEPT))
            kept.append(mps)
            rows.append(
                (
                    plain(row.get("name")),
                    f"{performer}.{role}",
                    "silent" if silent else rate,
                    level(mps2, FULL_MPS2),
                    f"{mps2:5.1f} m/s²",
                    sparkline(kept, FULL_MPS).rjust(KEPT),
                    f"{mps:4.2f} m/s",
                )
            )
        return columns(rows) if devices else ["nothing is heard yet"]
