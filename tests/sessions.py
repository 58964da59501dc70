"""Sessions for the tests: performances logged turn by turn, as the bridges process does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from engines import wait_for
from performances import BLOCK, RATE, Performance

from echelon_bridges.session.log import SessionLog
from echelon_engine.block import new_shared
from echelon_engine.config import Config, Session
from echelon_engine.memory import COUNTERS

RUN = "this run"


def config(root: Path) -> Config:
    """A configuration that keeps sessions in `root`."""
    return Config(session=Session(log=str(root)))


def open_log(root: Path, epoch: int = 1) -> SessionLog:
    """A log of engine `echelon` at this epoch."""
    shared = new_shared(RATE, BLOCK)
    shared["header"]["epoch"] = epoch
    return SessionLog.open(config(root), shared, run=RUN)


def turns(performance: Performance, samples: int = 4096) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (inputs, controls, events) in stretches, in the order in which bridges take them."""
    end = int(performance.controls["sample"][-1]) + 1
    for start in range(0, end, samples):
        here = [
            records[(records["sample"] >= start) & (records["sample"] < start + samples)]
            for records in (performance.inputs, performance.controls, performance.events)
        ]
        yield here[0], here[1], here[2]


def feed(log: SessionLog, performance: Performance) -> None:
    """Give a whole performance to the log."""
    for inputs, controls, events in turns(performance):
        log.inputs(inputs)
        log.offer(controls, events, int(controls["time_ns"][-1]) if len(controls) else 0)


def feed_with_a_drop(log: SessionLog, performance: Performance, turn: int) -> None:
    """Give a whole performance to the log, of which two inputs found no room in one of its turns."""
    counters = np.zeros(1, COUNTERS)[0]
    for i, (inputs, controls, events) in enumerate(turns(performance)):
        if i == turn:
            counters["dropped_inputs"] = 2
            inputs = inputs[2:]
        log.inputs(inputs)
        log.offer(controls, events, 0)
        log.gaps(counters)


def written(log: SessionLog) -> None:
    """Wait until everything that was given is in the files."""
    wait_for(lambda: log._written == log._given or log.error, "the log")


def keep(root: Path, *performances: Performance) -> Path:
    """Log performances into one session and return its folder."""
    log = open_log(root)
    for performance in performances:
        feed(log, performance)
    written(log)
    log.close()
    assert "error" not in log.report(), log.report()
    return log.path


def same(a: Any, b: Any) -> bool:
    """Whether records are the same in every field, whatever their padding holds."""
    return len(a) == len(b) and all(
        np.ascontiguousarray(a[name]).tobytes() == np.ascontiguousarray(b[name]).tobytes()
        if a.dtype[name].base.fields is None
        else same(a[name], b[name])
        for name in a.dtype.names
    )


def same_inputs(a: Any, b: Any) -> bool:
    """Whether two logs took the same: of each input only the field of its kind counts."""
    if len(a) != len(b) or any((a[n] != b[n]).any() for n in ("epoch", "frame", "sample", "kind")):
        return False
    fields = {1: "motion", 2: "settings", 3: "devices", 4: "command", 6: "grid"}
    return all(same(a[name][a["kind"] == kind], b[name][b["kind"] == kind]) for kind, name in fields.items())
