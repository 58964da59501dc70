"""A session played again: what the callback took, at the samples at which it took it, gives the same bytes of sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine import rings, units
from echelon_engine.block import new_shared
from echelon_engine.clock import control_sample
from echelon_engine.errors import UserError
from echelon_engine.memory import CONTROL, INPUT, TOOK_CLOCK, TOOK_SETTINGS
from echelon_engine.offline import Rendering, play_block, take_records
from echelon_engine.state import Weights, new_engine


def script(controls: NDArray[Any], inputs: NDArray[Any], rate_hz: int) -> NDArray[Any]:
    """Return the script of one life of the audio process: memory.INPUT, for the ring of that name, in order.

    `controls` is memory.CONTROL (n,), of which `frame`, `sample` and `time_ns` are used; `inputs` is memory.INPUT (m,);
    both in the order in which they were logged, from control frame 0 on without a gap. Raises `UserError` otherwise.
    """
    _check(controls, inputs, rate_hz)
    clocks = np.zeros(len(controls), INPUT)
    clocks["kind"] = TOOK_CLOCK
    for field in ("epoch", "frame", "sample", "time_ns"):
        clocks[field] = controls[field]
    both = np.concatenate([clocks, inputs[inputs["frame"] < len(controls)]])
    return both[np.argsort(both["frame"], kind="stable")]


def replay(
    controls: NDArray[Any],
    inputs: NDArray[Any],
    weights: Weights,
    *,
    rate_hz: int,
    block_frames: int = 512,
    progress: Callable[[float], None] | None = None,
) -> Rendering:
    """Play what one life of the audio process took and return what was heard: the same bytes, on the same machine.

    Arguments and errors are those of `script`. The sound ends with the last control frame. `progress` is called with
    the share done, about twenty times.
    """
    waiting = script(controls, inputs, rate_hz)
    units.link()
    shared = new_shared(rate_hz, block_frames)
    settings = inputs["settings"][0].copy()
    settings["panic"] = settings["fade"] = settings["mute"] = settings["record"] = 0  # of a listener who does nothing
    settings["master_db"], settings["route"] = 0.0, (0, 1)
    engine = new_engine(shared, settings, weights, rate_hz=rate_hz, block_frames=block_frames, scripted=True)
    engine["panic"] = int(inputs["settings"]["panic"][0])
    last = len(controls) - 1
    end = int(controls["sample"][last]) + control_sample(last + 1, rate_hz) - control_sample(last, rate_hz)
    sound = np.zeros((-(-end // block_frames) * block_frames, 2), np.float32)
    records = np.zeros(len(controls), CONTROL)
    fed = taken = next_report = 0
    for start in range(0, end, block_frames):
        while fed < len(waiting) and rings.push(shared["script"], waiting[fed : fed + 1]):
            fed += 1
        play_block(sound[start : start + block_frames], engine, shared)
        taken = take_records(records, taken, shared)
        if progress is not None and start >= next_report:
            progress(start / end)
            next_report = start + end // 20
    return Rendering(sound[:end], records[:taken], shared["counters"])


def _check(controls: NDArray[Any], inputs: NDArray[Any], rate_hz: int) -> None:
    rule = ""
    if not len(controls) or not np.array_equal(controls["frame"], np.arange(len(controls))):
        rule = "its control frames do not follow each other from 0 on"
    elif controls["sample"][0] != 0 or (np.diff(controls["sample"]) <= 0).any():
        rule = "its control frames do not rise in time from sample 0 on"
    elif (controls["sample"] > controls["frame"] * rate_hz // 60).any():
        rule = f"its control frames come later than 60 a second at {rate_hz} Hz"
    elif not len(inputs) or inputs["kind"][0] != TOOK_SETTINGS or inputs["frame"][0] != 0:
        rule = "it does not begin with the settings"
    if rule:
        raise UserError("this session", f"cannot be played again: {rule}", "part of it was lost; render its motion")
