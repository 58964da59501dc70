"""A session played again: what the callback took, at the samples at which it took it, gives the same bytes of sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine import rings, units
from echelon_engine.block import new_shared
from echelon_engine.clock import NS, control_sample
from echelon_engine.errors import UserError
from echelon_engine.memory import CONTROL, TOOK_COMMAND, TOOK_DEVICES, TOOK_MOTION, TOOK_SETTINGS
from echelon_engine.offline import Rendering
from echelon_engine.process import process
from echelon_engine.state import Weights, new_engine


def replay(
    controls: NDArray[Any],
    inputs: NDArray[Any],
    weights: Weights,
    *,
    rate_hz: int,
    progress: Callable[[float], None] | None = None,
) -> Rendering:
    """Play what one life of the audio process took and return what was heard: the same bytes, on the same machine.

    `controls` is memory.CONTROL (n,), of which `frame`, `sample` and `time_ns` are used; `inputs` is memory.INPUT (m,);
    both in the order in which they were logged, from control frame 0 on without a gap. Raises `UserError` otherwise.
    The sound ends with the last control frame. `progress` is called with the share done, about twenty times.
    """
    _check(controls, inputs)
    units.link()
    shared = new_shared(rate_hz, 512)
    engine = new_engine(shared, _settings(inputs[0]), weights, rate_hz=rate_hz)
    last = len(controls) - 1
    end = int(controls["sample"][last]) + control_sample(last + 1, rate_hz) - control_sample(last, rate_hz)
    commands = inputs[inputs["kind"] == TOOK_COMMAND]
    cuts = np.unique(np.concatenate([controls["sample"], commands["sample"], [end]]))
    sound = np.zeros((end, 2), np.float32)
    records, record, taken = np.zeros(len(controls), CONTROL), np.zeros(1, CONTROL), 0
    frame = fed = asked = 0
    state = inputs[inputs["kind"] != TOOK_COMMAND]
    for start, stop in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        if frame <= last and controls["sample"][frame] == start:
            engine["replayed_control"] = start
            engine["clock"]["origin_ns"] = int(controls["time_ns"][frame]) - start * NS // rate_hz
            while fed < len(state) and state["frame"][fed] == frame:
                _feed(shared, state[fed])
                fed += 1
            frame += 1
        while asked < len(commands) and commands["sample"][asked] == start:
            rings.push(shared["commands"][0], commands["command"][asked : asked + 1])
            asked += 1
        process(sound[start:stop], engine, shared)
        while rings.pop(record, shared["records"]):
            records[taken] = record[0]
            taken += 1
        if progress is not None and frame % max(last // 20, 1) == 0:
            progress(start / end)
    return Rendering(sound, records[:taken], shared["counters"])


def _feed(shared: Any, taken: Any) -> None:
    """Offer the callback one thing that it took."""
    if taken["kind"] == TOOK_SETTINGS:
        rings.publish(shared["settings"], np.array([_settings(taken)]))
    elif taken["kind"] == TOOK_DEVICES:
        rings.publish(shared["devices"], np.array([taken["devices"]]))
    elif taken["kind"] == TOOK_MOTION:
        focus = int(rings.newest(shared["settings"])["focus"])
        rings.push(shared["frames"][focus], np.array([taken["motion"]]))


def _settings(taken: Any) -> Any:
    """Return logged settings for a replay, which has two channels and logs nothing itself."""
    settings = taken["settings"].copy()
    settings["route"] = (0, 1)
    settings["record"] = settings["log"] = 0
    return settings


def _check(controls: NDArray[Any], inputs: NDArray[Any]) -> None:
    rule = ""
    if not len(controls) or not np.array_equal(controls["frame"], np.arange(len(controls))):
        rule = "its control frames do not follow each other from 0 on"
    elif controls["sample"][0] != 0 or (np.diff(controls["sample"]) <= 0).any():
        rule = "its control frames do not rise in time from sample 0 on"
    elif not len(inputs) or inputs["kind"][0] != TOOK_SETTINGS or inputs["frame"][0] != 0:
        rule = "it does not begin with the settings"
    if rule:
        raise UserError("this session", f"cannot be played again: {rule}", "part of it was lost; render its motion")
