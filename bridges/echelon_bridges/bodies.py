"""One sender of whole bodies, whichever protocol it speaks: its stream, its jitter and its figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.fusion.jitter import Jitter
from echelon_bridges.fusion.rate import Rate
from echelon_bridges.motion.trackers import TrackerBody
from echelon_bridges.protocol.mocopi_stream import MocopiStream
from echelon_bridges.protocol.reading import Reading
from echelon_bridges.protocol.senderclock import SenderClock
from echelon_bridges.protocol.vmc import VmcStream

Frames = NDArray[Any]  # of LIMB_FRAME
COUNTED = ("lost", "refused", "refused_bones", "undecodable")


class Trackers:
    """The stream of a body made of trackers; `take` gets readings instead of datagrams."""

    timed = False

    def __init__(self) -> None:
        self.counts: Any = None
        self.clock = SenderClock()
        self.body = TrackerBody()

    def take(self, readings: list[Reading], arrival_ns: int) -> Frames | None:
        """Return the frames that the readings of one datagram completed."""
        return self.body.feed(readings, arrival_ns)


STREAMS: dict[str, Callable[[], Any]] = {"mocopi": MocopiStream, "vmc": VmcStream, "trackers": Trackers}


class Body:
    """A sender of bodies: `kind` is its protocol, `host` its address, `number` tells senders at one address apart."""

    def __init__(self, kind: str, host: str, number: int, own: int, stream: Any) -> None:
        self.kind, self.host, self.number, self.own = kind, host, number, own
        self.name = f"{kind}@{host}" if number == 0 else f"{kind}@{host}#{number + 1}"
        self.stream = stream
        self.jitter = Jitter()
        self.frames = 0
        self.last_ns = 0
        self._newest: Any = None
        self.rate = Rate()

    def take(self, frames: Frames, delay_ns: int) -> None:
        """Count frames that came."""
        self.frames += len(frames)
        arrival_ns = self.last_ns = int(frames["arrival_ns"][-1])
        if self.stream.timed:
            self.jitter.timed(int(frames["time_ns"][-1]), arrival_ns, delay_ns)
        else:
            self.jitter.untimed(arrival_ns)
        self._newest = frames[-1:]

    def count(self, name: str) -> int:
        """Return one of the stream's counts."""
        return int(getattr(self.stream.counts, name, 0))

    def report(self, now_ns: int) -> dict[str, Any]:
        """Return its figures, and where it stands."""
        lost = self.count("lost")
        newest = self._newest
        return {
            "name": self.name,
            "app": self.kind,
            "kind": "body",
            "role": "body",
            "rate_hz": self.rate.hz(self.frames, now_ns),
            "frames": self.frames,
            "lost": lost,
            "loss": round(lost / max(self.frames + lost, 1), 4),
            "restarts": self.count("restarts"),
            "undecodable": self.count("undecodable"),
            "rig": getattr(self.stream, "rig_declared", None),  # None: a protocol that never tells one
            "skeletons": self.count("skeletons"),
            "before_skeleton": self.count("before_skeleton"),
            "jitter_ms": self.jitter.percentiles_ms(),
            "late": self.jitter.late,
            "drift_ppm": rounded(self.stream.clock.drift_ppm),
            "silent_s": round(max(now_ns - self.last_ns, 0) * 1e-9, 1),
            "heading": None if newest is None else round(float(newest["heading"][0]), 2),
            "origin": None if newest is None else [round(float(each), 2) for each in newest["origin"][0]],
        }


def rounded(ppm: float | None) -> float | None:
    """Return a drift to a tenth of a millionth."""
    return None if ppm is None else round(ppm, 1)


class Restamped:
    """The stream of limb frames that come ready-made, over NATS: brought onto the engine's clock."""

    timed = True

    def __init__(self) -> None:
        self.counts: Any = None
        self.clock = SenderClock()
        self._last: tuple[int, int] | None = None  # the sender's time and ours

    def stamp(self, frames: Frames, arrival_ns: int) -> Frames:
        """Return a copy of LIMB_FRAMEs `(n,)` in order of time, stamped with engine time; none that is not newer."""
        kept = []
        for frame in frames:
            sent_ns = int(frame["time_ns"])
            if self._last is not None and sent_ns <= self._last[0]:
                if sent_ns > self._last[0] - 1_000_000_000:
                    continue
                self.clock.reset()
            ours = self.clock.engine_ns(sent_ns, arrival_ns)
            if self._last is not None:
                ours = max(ours, self._last[1] + 1)
            self._last = (sent_ns, ours)
            taken = frame.copy()
            taken["time_ns"], taken["arrival_ns"] = ours, arrival_ns
            kept.append(taken)
        return np.array(kept, dtype=frames.dtype)
