"""The second shell around `process`: as fast as it can, from limb frames to samples and control records.

Time is sample time: sample 0 is at 0 ns, limb frames are stamped from there. The same input gives the same bytes on
one machine, whatever the block size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from echelon_engine import rings, units
from echelon_engine._jit import kernel
from echelon_engine.block import new_shared
from echelon_engine.clock import NS
from echelon_engine.memory import COMMAND, CONTROL, LIMB_FRAME
from echelon_engine.native import flush_denormals, restore_denormals
from echelon_engine.process import process
from echelon_engine.state import Weights, new_engine

AHEAD_NS = NS  # limb frames are in the ring this long before they are due


class Composer(Protocol):
    """Who gives the band its grids."""

    def first(self) -> NDArray[Any]:
        """Return the grid with which it begins, memory.GRID (1,)."""

    def feed(self, records: NDArray[Any], settings: Any) -> NDArray[Any] | None:
        """Take new memory.CONTROL (n,); return the next GRID (1,), a block at least before its bar line, or None."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a render gives: `sound` float32 (samples, 2), and `records` of memory.CONTROL, one a control frame."""

    sound: NDArray[np.float32]
    records: NDArray[Any]
    counters: Any


@kernel
def play_block(out: Any, engine: Any, shared: Any) -> None:
    """Call `process` as the callback does, with denormals flushed; the thread's own mode is put back."""
    before = flush_denormals()
    process(out, engine, shared)
    restore_denormals(before)


def take_records(records: NDArray[Any], taken: int, shared: Any) -> int:
    """Append what the ring of control records holds to the first `taken` of `records` (n,); return how many are there.

    What finds no room is left out.
    """
    record = np.zeros(1, CONTROL)
    while rings.pop(record, shared["records"]):
        if taken < len(records):
            records[taken] = record[0]
            taken += 1
    return taken


def render(
    frames: NDArray[Any],
    seconds: float,
    settings: Any,
    weights: Weights,
    *,
    rate_hz: int = 48000,
    block_frames: int = 512,
    commands: NDArray[Any] | None = None,
    composer: Composer | None = None,
    ask: Callable[[NDArray[Any]], Any] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Rendering:
    """Play limb frames (memory.LIMB_FRAME, times rising from about 0) for `seconds` and return what was heard.

    `settings` is a memory.SETTINGS record; `commands` (memory.COMMAND) are notes with their times; without a `composer`
    the band is silent. `ask` gets the new control records of each block and may return other SETTINGS, taken with the
    next control frame, or None. `progress` is called with the share done, about twenty times.
    """
    units.link()
    shared = new_shared(rate_hz, block_frames)
    engine = new_engine(shared, settings, weights, rate_hz=rate_hz, block_frames=block_frames)
    samples = round(seconds * rate_hz)
    sound = np.zeros((samples, 2), np.float32)
    out = np.zeros((block_frames, 2), np.float32)
    records = np.zeros(samples * 60 // rate_hz + 2, CONTROL)
    ordered = np.ascontiguousarray(frames, LIMB_FRAME)
    fed = taken = 0
    next_report = 0
    engine["settings"][0]["route"] = (0, 1)  # a rendering has two channels
    due = np.zeros(0, COMMAND) if commands is None else np.sort(commands, order="time_ns", kind="stable")
    asked = 0
    if composer is not None:
        rings.publish(shared["grids"], composer.first())
    for start in range(0, samples, block_frames):
        horizon_ns = (start + block_frames) * NS // rate_hz + AHEAD_NS
        while fed < len(ordered) and ordered["time_ns"][fed] <= horizon_ns:
            if not rings.push(shared["frames"][0], ordered[fed : fed + 1]):
                break
            fed += 1
        while asked < len(due) and due["time_ns"][asked] <= horizon_ns:
            if not rings.push(shared["commands"][1], due[asked : asked + 1]):
                break
            asked += 1
        play_block(out, engine, shared)
        n = min(block_frames, samples - start)
        sound[start : start + n] = out[:n]
        before, taken = taken, take_records(records, taken, shared)
        if ask is not None and (asked_for := ask(records[before:taken])) is not None:
            settings = asked_for.copy()
            settings["route"] = (0, 1)
            rings.publish(shared["settings"], np.array([settings]))
        if composer is not None and (grid := composer.feed(records[before:taken], settings)) is not None:
            rings.publish(shared["grids"], grid)
        if progress is not None and start >= next_report:
            progress(start / samples)
            next_report = start + samples // 20
    played = records[:taken]
    return Rendering(sound, played[played["sample"] < samples], shared["counters"])
