"""What people read of a running engine: figures, table, line, events."""

import io
import json

import numpy as np
import pytest

from echelon_bridges import status
from echelon_bridges.terminal import Terminal, key_values
from echelon_engine.block import new_shared
from echelon_engine.memory import CONTROL, COUNTERS


def document(**changes: object) -> dict[str, object]:
    """A status document of a small engine that has played a while."""
    shared = new_shared(48000, 480)  # a period of 10 ms
    counters = shared["counters"]
    counters["blocks"], counters["expected_blocks"], counters["underruns"] = 990, 1000, 3
    counters["block_histogram"][12] = 980
    counters["block_histogram"][127] = 10
    counters["block_ns_max"] = 12_000_000
    counters["dropped_records"] = 7
    shared["frames"]["dropped"][2, 0] = 4
    snapshot = np.zeros(1, CONTROL)[0]
    snapshot["state"], snapshot["tempo_bpm"], snapshot["loudness_db"] = 2, 96.0, -np.inf
    snapshot["motion_arrival_ns"], snapshot["dac_ns"] = 1_000_000, 21_500_000
    found = status.collect(
        shared,
        snapshot,
        name="echelon",
        version="1",
        uptime_s=12.34,
        audio={"device": "null", "latency_ms": 10.7},
        processes=[{"name": "audio", "pid": 41, "state": "ready", "restarts": 0}],
        sensors=[{"name": "mocopi", "port": 12351, "rate_hz": 59.9, "frames": 90, "lost": 10}],
    )
    return {**found, **changes}


def test_document_is_json_with_every_counter() -> None:
    """The document survives JSON (no infinities) and carries the counters, drops, sensors and processes."""
    found = json.loads(json.dumps(document(), allow_nan=False))
    assert (found["blocks"], found["expected_blocks"], found["underruns"]) == (990, 1000, 3)
    assert found["state"] == "active"
    assert found["latency_ms"] == 20.5
    assert found["drops"] == {"records": 7, "sound": 0, "frames": 4, "commands": 0}
    assert found["sensors"][0]["frames"] == 90
    assert found["processes"][0]["pid"] == 41
    assert found["load_p50"] == pytest.approx(13 / 128, abs=1e-4)
    assert found["load_p99"] == pytest.approx(1.0, abs=0.9)
    assert found["load_max"] == pytest.approx(1.2)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 0.99, 1.0])
def test_percentile_is_an_upper_bound_that_is_tight_to_one_bin(share: float) -> None:
    """At least the asked share of blocks lies under the percentile, and less than that share one bin lower."""
    histogram = np.zeros(1, COUNTERS)[0]["block_histogram"]
    histogram[:] = np.random.default_rng(1).integers(0, 50, 256)
    load = status.percentile(histogram, share)
    bins = round(load * 128)
    total = histogram.sum()
    assert histogram[:bins].sum() >= share * total
    assert histogram[: bins - 1].sum() < max(share * total, 1)


def test_percentile_of_nothing_is_zero() -> None:
    """Before the first block the load is 0."""
    assert status.percentile(np.zeros(256, np.int64), 0.99) == 0.0


def test_table_says_what_matters() -> None:
    """The table names blocks, trouble, load, sensors and processes."""
    text = status.table(document())
    for part in (
        "990 of 1000 expected (-10)",
        "3 underruns",
        "p50 10.2%",
        "active",
        "20.5 ms",
        "mocopi",
        "12351",
        "41",
    ):
        assert part in text


def test_line_fits_the_stage() -> None:
    """One line: state, tempo, sensor with rate and loss, load, underruns, latency, and who is not ready."""
    processes = [{"name": "bridges", "pid": None, "state": "waiting", "restarts": 2}]
    text = status.line(document(processes=processes))
    assert "\n" not in text
    for part in ("active", "96.0 bpm", "mocopi 60 Hz -10%", "3 underruns", "20 ms", "bridges waiting"):
        assert part in text
    assert "mocopi" not in status.line(document(sensors=[{"name": "mocopi", "frames": 0}]))


def test_plain_log_is_one_parsable_line_an_event() -> None:
    """Without a terminal an event is one line key=value; spaces, quotes and newlines are quoted; no status line."""
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.event("notice", text='two words, "quoted"\nand a line', pid=3, empty="")
    terminal.line("status")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert "level=info event=notice" in lines[0]
    assert r'text="two words, \"quoted\"\nand a line" pid=3 empty=""' in lines[0]
    assert key_values({"a": 1, "b": None, "c": "x=y"}) == 'a=1 b=null c="x=y"'


class _Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_terminal_keeps_the_status_line_below_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the status line is erased before an event and drawn again after it, never wider than the screen."""
    monkeypatch.setenv("COLUMNS", "40")
    screen = _Screen()
    terminal = Terminal(screen)
    terminal.line("s" * 100)
    terminal.event("died", "warning", part="audio", text="gone")
    shown = screen.getvalue()
    assert shown.count("s" * 39) == 2
    assert "s" * 40 not in shown
    assert "warning: died: gone  part=audio\n" in shown
    terminal.clear()
    assert screen.getvalue().endswith("\r\x1b[2K")


def test_closed_terminal_is_survived() -> None:
    """A stream that is gone does not stop the engine."""
    stream = io.StringIO()
    terminal = Terminal(stream)
    stream.close()
    terminal.event("notice")
