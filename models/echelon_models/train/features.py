"""Limb frames to what the models see on stage: x, commitment, energy, gate pull, limbs, control frame by control frame.

The callback's own compiled units `hear` and `think` run here, from the same machine code, without the audio around
them: so the numbers equal those of `echelon_engine.offline.render` bit for bit (tested), 250 times faster than real
time. Kernels compiled once more into a loop of our own would be as fast, but LLVM may order additions otherwise there.
The networks that `think` also runs are given zero weights: nothing here depends on them. Imports Numba.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_engine import live, units
from echelon_engine._jit import kernel
from echelon_engine.block import new_shared
from echelon_engine.config import Config
from echelon_engine.kernels import dell_coupled, dell_gated, lim_rps
from echelon_engine.memory import (
    CONTROL_RATE_HZ,
    LIMB_FRAME,
    SYNTHETIC,
    TOOK_DEVICES,
    TOOK_MOTION,
    TOOK_SETTINGS,
)
from echelon_engine.native import flush_denormals, restore_denormals
from echelon_engine.state import Weights, new_engine

RATE_HZ = 48000  # of the sample clock that control frames lie on
NS = 1_000_000_000
SHORTEST_S = 0.5
SLOWEST_HZ = 8.0  # the engine takes frames a quarter of a second apart for a break
# What a body leaves behind in the engine.
_STATES = ("motion", "commitment", "machine", "lim_rps", "coupled", "gated", "latent", "devices", "boundary_beat")


@kernel
def _flush() -> int:
    return int(flush_denormals())


@kernel
def _restore(mode: int) -> None:
    restore_denormals(mode)


class FeatureError(ValueError):
    """Motion from which no features can be made; the message has value, rule and remedy."""


class Features(NamedTuple):
    """One row a control frame (60 a second), as the engine's models get them.

    `x` float32 (n, 6) motion state, `c` float32 (n,) commitment 0..1, `energy` float32 (n,) m/s, `bias` float32 (n,)
    the state machine's pull of the gate toward fast 0..1, `tempo_bpm` and `phase` float32 (n,) of the rhythm (0 until
    one is heard), `present` bool (n,) a real body was measured within the last second, `running` bool (n,) the
    networks ran (Idle freezes them), `limbs` float32 (n, 216). Source: spec/motion.md, spec/equilibrium.md.
    """

    x: NDArray[np.float32]
    c: NDArray[np.float32]
    energy: NDArray[np.float32]
    bias: NDArray[np.float32]
    tempo_bpm: NDArray[np.float32]
    phase: NDArray[np.float32]
    present: NDArray[np.bool_]
    running: NDArray[np.bool_]
    limbs: NDArray[np.float32]

    def cut(self, first: int, last: int) -> Features:
        """Return the rows from `first` to before `last`."""
        return self._replace(**{name: rows[first:last] for name, rows in self._asdict().items()})


class Stage:
    """An engine without sound: hears limb frames and thinks, from the zero state for every `of`."""

    def __init__(self, settings: Any = None) -> None:
        units.compile_cold()
        self._settings = live.initial_settings(Config())[0] if settings is None else settings
        self._shared = new_shared(RATE_HZ, 512)
        nothing = Weights(*(np.zeros(1, kernel.WEIGHTS)[0] for kernel in (dell_gated, dell_coupled, lim_rps)))
        self._engine = new_engine(self._shared, self._settings, nothing, rate_hz=RATE_HZ)
        self._address = self._engine.__array_interface__["data"][0]
        self._hear, self._think = (units.compiled(name).ctypes for name in ("hear", "think"))

    def of(self, frames: NDArray[Any], seconds: float | None = None) -> Features:
        """Return the features of limb frames (memory.LIMB_FRAME (m,), times rising from about 0), from control frame 0.

        `seconds` is how long, default until the last frame. Raises `FeatureError` for frames that are too few, not
        finite, or whose times do not rise.
        """
        check(frames)
        if seconds is None:
            seconds = float(frames["time_ns"][-1]) / NS + self.delay_s
        count = int(seconds * CONTROL_RATE_HZ) + 1
        times_ns = np.arange(count) * (RATE_HZ // CONTROL_RATE_HZ) * NS // RATE_HZ
        self._begin()
        return self._run(times_ns, self._feed(frames, times_ns))

    @property
    def delay_s(self) -> float:
        """How much later than it was a body is seen."""
        return float(self._settings["motion_delay_ms"]) / 1e3

    def of_life(self, controls: NDArray[Any], inputs: NDArray[Any]) -> Features:
        """Return the features of one life of a recorded session: memory.CONTROL (n,) and memory.INPUT (m,).

        What the callback took is taken again in the same control frames, devices and settings included; so x and c are
        those that the session logged.
        """
        self._begin()
        return self._run(controls["time_ns"].astype(np.int64), self._take(controls["frame"], inputs))

    def _begin(self) -> None:
        for name in _STATES:
            self._engine[name] = np.zeros((), self._engine.dtype.fields[name][0])
        self._engine["settings"][0] = self._settings
        for ring in self._shared["frames"]:
            ring["written"][0] = ring["read"][0] = 0

    def _push(self, frames: NDArray[Any]) -> None:
        """Put frames into the ring of the performer in focus; this thread is its writer and its reader."""
        ring = self._shared["frames"][int(self._engine["settings"][0]["focus"])]
        written = int(ring["written"][0])
        ring["item"][(written + np.arange(len(frames))) % len(ring["item"])] = frames
        ring["written"][0] = written + len(frames)

    def _feed(self, frames: NDArray[Any], times_ns: NDArray[np.int64]) -> Iterator[None]:
        """Keep the ring a second ahead of the control frames."""
        due = np.searchsorted(frames["time_ns"], times_ns + NS, side="right")
        fed = 0
        for end in due:
            if end > fed:
                self._push(frames[fed:end])
                fed = int(end)
            yield

    def _take(self, numbers: NDArray[np.int64], inputs: NDArray[Any]) -> Iterator[None]:
        """Give, before each control frame, what was taken in it."""
        order = np.argsort(inputs["frame"], kind="stable")
        ends = np.searchsorted(inputs["frame"][order], numbers, side="right")
        taken = 0
        for end in ends:
            for each in inputs[order[taken:end]]:
                if each["kind"] == TOOK_MOTION:
                    self._push(each["motion"][None])
                elif each["kind"] == TOOK_DEVICES:
                    self._engine["devices"][0] = each["devices"]
                elif each["kind"] == TOOK_SETTINGS:
                    self._engine["settings"][0] = each["settings"]
                    self._engine["settings"][0]["log"] = 0
            taken = end
            yield

    def _run(self, times_ns: NDArray[np.int64], feed: Iterator[None]) -> Features:
        count = len(times_ns)
        body, rhythm, machine = (self._engine[name] for name in ("motion", "commitment", "machine"))
        outputs: list[tuple[Any, Any]] = [
            (np.zeros((count, 6), np.float32), body["x"]),
            (np.zeros(count, np.float32), _view(rhythm, "c")),
            (np.zeros(count, np.float32), _view(body, "energy")),
            (np.zeros(count, np.float32), _view(machine, "bias")),
            (np.zeros(count, np.float32), _view(rhythm, "internal_tempo_bpm")),
            (np.zeros(count, np.float32), _view(rhythm, "phase")),
            (np.zeros(count, np.bool_), _view(body, "present")),
            (np.zeros(count, np.bool_), _view(machine, "frozen")),
            (np.zeros((count, 216), np.float32), body["limbs"]),
        ]
        address, hear, think = self._address, self._hear, self._think
        mode = _flush()  # denormals, as in the callback
        try:
            for n, (now_ns, _) in enumerate(zip(times_ns.tolist(), feed, strict=True)):
                hear(address, now_ns, 0)
                think(address, now_ns, 0)
                for out, value in outputs:
                    out[n] = value
        finally:
            _restore(mode)
        found = Features(*(out for out, _ in outputs))
        return found._replace(running=~found.running)


def _view(record: Any, name: str) -> NDArray[Any]:
    """Return a scalar field of a record as an array () that follows it."""
    dtype, offset = record.dtype.fields[name][:2]
    value: NDArray[Any] = np.frombuffer(record.data, np.uint8, dtype.itemsize, offset).view(dtype).reshape(())
    return value


def check(frames: NDArray[Any], name: str = "this motion") -> None:
    """Raise `FeatureError` where limb frames are not what features can be made of, naming the first wrong one."""
    if frames.dtype != LIMB_FRAME:
        raise FeatureError(f"{name}: {frames.dtype} is no limb frame; give memory.LIMB_FRAME")
    real = frames[frames["flags"] & SYNTHETIC == 0]
    length_s = float(real["time_ns"][-1] - real["time_ns"][0]) / NS if len(real) > 1 else 0.0
    if length_s < SHORTEST_S:
        raise FeatureError(
            f"{name}: {len(real)} frames of motion in {length_s:.2f} s; a recording lasts {SHORTEST_S:g} s at least: "
            "record a longer one"
        )
    steps = np.diff(frames["time_ns"])
    if steps.min() <= 0:
        n = int(np.argmax(steps <= 0)) + 1
        raise FeatureError(f"{name}: frame {n} is not later than frame {n - 1}; times rise: sort or cut the recording")
    if (rate_hz := NS / float(np.median(steps))) < SLOWEST_HZ:
        raise FeatureError(
            f"{name}: {rate_hz:.3g} frames a second; a body is seen {SLOWEST_HZ:g} times a second at least: "
            "check the frame time, or record at a higher rate"
        )
    for field in ("rotation", "position", "origin", "heading"):
        finite = np.isfinite(frames[field]).reshape(len(frames), -1).all(axis=1)
        if not finite.all():
            n = int(np.argmin(finite))
            raise FeatureError(
                f"{name}: frame {n} has a {field} that is not finite ({int((~finite).sum())} frames in all); "
                "every number is finite: cut these frames"
            )
