"""The body of a session as frames at an even rate, so that what plays clips plays it as if live."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.session.reader import Session
from echelon_engine import poses
from echelon_engine.memory import LIMB_FRAME, SYNTHETIC, TOOK_MOTION

GAP_NS = 100_000_000  # a pose older than this is held, and counts as no motion
LONGEST_GAP_S = 600.0
NS = 1_000_000_000


def body(session: Session) -> NDArray[Any]:
    """Return the bodies that were heard, all lives together, as memory.LIMB_FRAME (n,), times rising from 0."""
    found = [life.inputs["motion"][life.inputs["kind"] == TOOK_MOTION] for life in session.lives()]
    frames = np.concatenate([np.zeros(0, LIMB_FRAME), *found])
    if len(frames):
        newest = np.maximum.accumulate(np.r_[frames["time_ns"][:1] - 1, frames["time_ns"][:-1]])
        frames = frames[frames["time_ns"] > newest]
        frames["time_ns"] -= frames["time_ns"][0]
    return frames


def even(frames: NDArray[Any]) -> tuple[NDArray[Any], float, list[str]]:
    """Return a frame for every place of an even rate, that rate in Hz, and notes.

    A place has the frame nearest to it, with its own time; one that has none lies between its neighbours or, in a gap
    of more than 0.1 s, repeats the last pose, SYNTHETIC. Gaps over 10 minutes are shortened to that.
    """
    times = frames["time_ns"].astype(np.int64)
    notes = []
    steps = np.diff(times)
    long = steps > LONGEST_GAP_S * NS
    if long.any():
        notes.append(f"{int(long.sum())} gaps longer than {LONGEST_GAP_S:g} s are shortened")
        times = np.r_[0, np.cumsum(np.minimum(steps, int(LONGEST_GAP_S * NS)))]
    rate_hz = NS / float(np.median(steps)) if len(steps) else 60.0
    rate_hz = min(max(rate_hz, 10.0), 240.0)
    place = np.rint(times * (rate_hz / NS)).astype(np.int64)
    count = int(place[-1]) + 1
    grid_ns = np.rint(np.arange(count) / rate_hz * NS).astype(np.int64)
    # Of the frames of one place the nearest is kept; it is sorted last among them.
    order = np.lexsort((-np.abs(times - grid_ns[place]), place))
    chosen = np.full(count, -1, np.int64)
    chosen[place[order]] = order
    source = np.maximum.accumulate(chosen)  # the last frame at or before each place
    result = frames[source].copy()
    has = chosen >= 0
    following = np.minimum.accumulate(np.where(has, chosen, len(frames))[::-1])[::-1]  # the last place has a frame
    result["time_ns"] = np.where(has, times[source], grid_ns)
    held = ~has & (times[following] - times[source] > GAP_NS)
    result["flags"][~has] &= SYNTHETIC
    result["flags"][held] |= SYNTHETIC
    result["arrival_ns"] = result["time_ns"]
    result["number"] = np.arange(count)
    single = ~has & ~held
    if single.any():
        before, after = source[single], following[single]
        t = (result["time_ns"][single] - times[before]) / np.maximum(times[after] - times[before], 1)
        result[single] = poses.between(result[single], frames[before], frames[after], np.clip(t, 0.0, 1.0))
    if (~has).any():
        notes.append(f"{int((~has).sum())} of {count} frames were not heard: {int(held.sum())} of them are held")
    return result, rate_hz, notes
