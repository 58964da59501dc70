"""The whole control frame (hear, think, play, report: all models, commitment, notes), warm and in the callback.

Warm: a compiled loop runs nothing but control frames, so weights and state stay in the caches. After rendered blocks:
the product times its control frames while `process` renders 16 voices, which push them out of the caches. A run gives
the same frames every time, so each is measured in five identical runs and its fastest counts: what the frame costs,
without what a hypervisor took; the first run alone stands beside it. In the live callback: under the null driver, which
sleeps between blocks, where neighbours on the machine empty the caches, too; of three rounds or more the one counts
from which the hypervisor took least. "Paced, spinning" shows how much of that is theirs: it plays as live but never
sleeps.

    python benchmarks/control_frame.py [--seconds 20]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import rig
from figures import bar, percentile_table, percentiles
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.clock import begin_control_frame, time_ns
from echelon_engine.native import address_of, clock_ns, flush_denormals, restore_denormals
from echelon_engine.process import hear, play, report, think
from echelon_engine.rings import discard, push

WARM_BAR_US, COLD_BAR_US = 40.0, 120.0
RUNS = 5  # of the same frames


@kernel
def _frames_alone(spent: Any, engine: Any, shared: Any, frames: Any) -> None:
    before = flush_denormals()
    here = address_of(engine)
    for i in range(spent.shape[0]):
        push(shared.frames[0], frames[i : i + 1])
        begin_ns = clock_ns()
        now_ns = time_ns(engine.clock)
        samples = begin_control_frame(engine.clock, engine.sequence.tempo.bpm)
        hear(here, now_ns, 0)
        think(here, now_ns, 0)
        play(here, samples, 0)
        report(here, now_ns, 0)
        spent[i] = clock_ns() - begin_ns
        engine.clock.sample = engine.clock.next_control
        discard(shared.records)
        discard(shared.events)
    restore_denormals(before)


def _alone() -> NDArray[np.int64]:
    """Return nanoseconds of each control frame of a fresh engine that does nothing else."""
    engine, shared = rig.engine_for(512)
    frames = rig.frames_of_dancer(30.0)
    spent = np.zeros(len(frames), np.int64)
    _frames_alone(spent[:1], engine, shared, frames)  # compiles
    with rig.real_time():
        _frames_alone(spent[1:], engine, shared, frames[1:])
    return spent


def measure(seconds: float = 20.0) -> dict[str, Any]:
    """Return microseconds a control frame, warm, after rendered blocks and in the live callback, with their bars."""
    alone = np.array([_alone() for _ in range(RUNS)])[:, 300:] / 1e3
    looped = np.array([rig.render_timed(512, seconds)["control_ns"] for _ in range(RUNS)])[:, 60:] / 1e3
    spinning = rig.render_timed(512, seconds, paced=True)["control_ns"][60:] / 1e3
    warm, cold = percentiles(alone.min(axis=0)), percentiles(looped.min(axis=0))
    live = rig.live_rounds(512, seconds)
    inside = rig.control_percentiles(live[0]["counters"])
    return {
        "unit": "us a control frame",
        "figures": {
            "warm": warm,
            "warm, first run alone": percentiles(alone[0]),
            "after rendered blocks": cold,
            "after rendered blocks, first run alone": percentiles(looped[0]),
            "paced, spinning between blocks": percentiles(spinning),
            "in the live callback": inside,
        },
        "rounds": [{**rig.control_percentiles(run["counters"]), **run["machine"]} for run in live],
        "priority_refused": live[0]["refused"],
        "bars": [
            bar("whole control frame, warm, p99", warm["p99"], "us", "<=", WARM_BAR_US),
            bar("whole control frame, after a rendered block, p99", cold["p99"], "us", "<=", COLD_BAR_US),
            bar(
                "whole control frame, after a rendered block, in the live callback, p99",
                inside["p99"],
                "us",
                "<=",
                COLD_BAR_US,
            ),
        ],
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    stolen = ", ".join(f"{run['p99']} us ({run['stolen_percent']} %)" for run in result["rounds"])
    return percentile_table(result["unit"], result["figures"]) + f"\nlive p99 of each round (stolen time): {stolen}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    found = measure(parser.parse_args().seconds)
    print(table(found), json.dumps(found["bars"], indent=1), sep="\n")
