"""A performance as if live, rendered without a device: what was heard, and what was logged of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from echelon_engine import rings, units
from echelon_engine._jit import int64, kernel
from echelon_engine.block import new_shared
from echelon_engine.callback import run_block
from echelon_engine.memory import COMMAND, CONTROL, DEVICES, EVENT, INPUT, NOTE_OFF, NOTE_ON
from echelon_engine.native import flush_denormals, restore_denormals
from echelon_engine.state import Weights, new_engine

RATE = 48000
BLOCK = 512


class Performance(NamedTuple):
    """Sound (n, 2) and the records of memory.CONTROL, INPUT and EVENT, in order."""

    sound: Any
    controls: Any
    inputs: Any
    events: Any


@kernel
def play_live(out: Any, engine: Any, shared: Any, due_ns: int) -> None:
    """Play a block as a driver does, and leave this thread's treatment of denormals as it was."""
    before = flush_denormals()
    run_block(out, engine, shared, due_ns, due_ns + 10_000_000, int64(0))
    restore_denormals(before)


def drained(ring: Any, dtype: Any) -> Any:
    """Return everything that waits in a ring."""
    items, item = [], np.zeros(1, dtype)
    while rings.pop(item, ring):
        items.append(item.copy())
    return np.concatenate(items) if items else np.zeros(0, dtype)


def perform(
    dance: Any,
    settings: Any,
    weights: Weights,
    *,
    shared: Any = None,
    each_block: Callable[[int], None] | None = None,
    seconds: int = 6,
    epoch: int = 1,
    band: Any = None,
) -> Performance:
    """Perform with a clock that trembles, late motion, settings, devices, notes and panic.

    A `band` (echelon_bridges.band.Band) plays along. With `shared`, its rings are left to somebody else: the records
    returned are empty. `each_block` is told the number of every block that is about to be played.
    """
    units.link()
    settings["log"] = 1
    settings["idle_seconds"] = 2.0
    ours = shared is None
    shared = new_shared(RATE, BLOCK) if shared is None else shared
    if ours:
        shared["header"]["epoch"] = epoch
    engine = new_engine(shared, settings[0], weights, rate_hz=RATE, block_frames=BLOCK)
    rng = np.random.default_rng(5)
    origin_ns, fed = 7_000_000_000 * epoch, 0
    live, command, devices = settings.copy(), np.zeros(1, COMMAND), np.zeros(1, DEVICES)
    sound, controls, inputs, events = [], [], [], []
    if band is not None:
        rings.publish(shared["grids"], band.first())
    for block in range(seconds * RATE // BLOCK):
        if each_block is not None:
            each_block(block)
        due_ns = origin_ns + block * BLOCK * 1_000_000_000 // RATE + int(rng.integers(0, 3_000_000))
        while fed < len(dance) and origin_ns + int(dance["time_ns"][fed]) + rng.integers(0, 30_000_000) < due_ns:
            frame = dance[fed : fed + 1].copy()
            frame["time_ns"] += origin_ns
            if fed % 17:  # one in seventeen is lost
                rings.push(shared["frames"][0], frame)
            fed += 1
        if block % 40 == 7:
            live["override_on"][0, 16], live["override"][0, 16] = block % 80 == 7, rng.random()
            live["low_latency"] = block % 160 > 80
            live["panic"] += block == 287
            rings.publish(shared["settings"], live)
        if block % 9 == 0:
            devices["time_ns"], devices["present"] = due_ns, block % 90 != 0
            devices["latent"] = rng.normal(0.0, 3.0, devices["latent"].shape)
            rings.publish(shared["devices"], devices)
        if block % 23 == 5 or block == 287:
            command["kind"] = NOTE_OFF if block % 46 == 5 else NOTE_ON
            command["key"], command["value"] = 70_000 + block % 3, (50 + block % 20, 0.7, 0.2, 0.0)
            command["time_ns"] = 0 if block % 2 else due_ns + 20_000_000
            rings.push(shared["commands"][0], command)
        out = np.zeros((BLOCK, 2), np.float32)
        play_live(out, engine, shared, due_ns)
        sound.append(out)
        if ours:
            controls.append(drained(shared["records"], CONTROL))
            inputs.append(drained(shared["inputs"], INPUT))
            events.append(drained(shared["events"], EVENT))
            if band is not None and (grid := band.feed(controls[-1], live[0])) is not None:
                rings.publish(shared["grids"], grid)
    if not ours:
        return Performance(np.concatenate(sound), *(np.zeros(0, dtype) for dtype in (CONTROL, INPUT, EVENT)))
    return Performance(*(np.concatenate(each) for each in (sound, controls, inputs, events)))
