"""A session that the callback plays again: it takes from the script what it once took from the rings.

The script is a ring of INPUT records in the order in which they were taken. TOOK_CLOCK begins each control frame: it
says at which sample it was taken, and at which engine time. The same samples follow, whatever the block; when the
script ends, or nobody fills it any more, the callback goes on with what is live. Stopping, muting, panic and a lower
master volume are obeyed all the while.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import kernel
from echelon_engine.atomics import load_acquire
from echelon_engine.clock import NS
from echelon_engine.kernels import motion
from echelon_engine.memory import TOOK_CLOCK, TOOK_COMMAND, TOOK_DEVICES, TOOK_GRID, TOOK_MOTION, TOOK_SETTINGS
from echelon_engine.records import copy
from echelon_engine.rings import pop, take

LIVE, WAITING, PLAYING = 0, 1, 2  # ENGINE.script


@kernel
def next_kind(ring: Any) -> int:
    """Return the kind of the oldest item of the script, 0 when it is empty."""
    read = ring.read[0]
    if read == load_acquire(ring.written.ctypes.data):
        return 0
    return int(ring.item[read & np.uint64(ring.item.shape[0] - 1)].kind)


@kernel
def next_sample(ring: Any) -> int:
    """Return when the oldest item of the script, which is not empty, was taken."""
    return int(ring.item[ring.read[0] & np.uint64(ring.item.shape[0] - 1)].sample)


@kernel
def cue(engine: Any, shared: Any) -> bool:
    """Return whether a control frame begins at this sample; its clock is then set, and a script that ended is left."""
    clock, ring = engine.clock, shared.script
    kind = next_kind(ring)
    if kind == TOOK_CLOCK and next_sample(ring) <= clock.sample:
        pop(engine.input, ring)
        clock.origin_ns = engine.input[0].time_ns - clock.sample * NS // clock.rate_hz
        return True
    if clock.sample < clock.next_control:
        return False
    if kind == 0:
        engine.script = LIVE
        copy(engine.settings[0], engine.asked[0])
    return True


@kernel
def commands_due(engine: Any, shared: Any) -> bool:
    """Return whether commands were taken at this sample."""
    return bool(next_kind(shared.script) == TOOK_COMMAND and next_sample(shared.script) <= engine.clock.sample)


@kernel
def follow_settings(engine: Any, shared: Any) -> None:
    """Bring `engine.settings` to what was set then, with what is asked for now to be silent."""
    take(engine.asked, shared.settings)
    while next_kind(shared.script) == TOOK_SETTINGS:
        pop(engine.input, shared.script)
        copy(engine.told[0], engine.input[0].settings)
    copy(engine.settings[0], engine.told[0])
    settings, asked = engine.settings[0], engine.asked[0]
    settings.fade |= asked.fade
    settings.mute |= asked.mute
    settings.panic += asked.panic
    settings.master_db = min(settings.master_db, asked.master_db)
    settings.record = asked.record
    settings.route[0], settings.route[1] = asked.route[0], asked.route[1]
    settings.log = np.uint8(0)


@kernel
def follow_motion(engine: Any, shared: Any) -> None:
    """Offer the bodies, devices and grids that were taken in this control frame."""
    kind = next_kind(shared.script)
    while kind in (TOOK_MOTION, TOOK_DEVICES, TOOK_GRID):
        pop(engine.input, shared.script)
        if kind == TOOK_DEVICES:
            copy(engine.devices[0], engine.input[0].devices)
        elif kind == TOOK_GRID:
            copy(engine.sequence.waiting[0], engine.input[0].grid)
        else:
            motion.offer(engine.motion, engine.input[0].motion)
            shared.counters.motion_frames += 1
        kind = next_kind(shared.script)
