"""What people read of a running engine: figures, table, line, events."""

import io
import json

import numpy as np
import pytest

from echelon_bridges import status
from echelon_bridges.terminal import Terminal, key_values
from echelon_engine.band import BAND
from echelon_engine.block import new_shared
from echelon_engine.memory import CONTROL, COUNTERS, FROZEN, HELD, PRESENT, SETTINGS
from echelon_engine.vocabulary import SECTIONS


def moving(flags: int = PRESENT, age_ms: float = 20.5) -> np.void:
    """A control record whose newest motion arrived so long before its sound."""
    snapshot = np.zeros(1, CONTROL)[0]
    snapshot["state"], snapshot["tempo_bpm"], snapshot["loudness_db"] = 2, 96.0, -np.inf
    snapshot["flags"] = flags
    snapshot["motion_arrival_ns"] = 1_000_000
    snapshot["dac_ns"] = 1_000_000 + round(age_ms * 1e6)
    return snapshot


def document(
    snapshot: np.void | None = None, low_latency: bool = False, band: bool = True, **changes: object
) -> dict[str, object]:
    """A status document of a small engine that has played a while."""
    shared = new_shared(48000, 480)  # a period of 10 ms
    counters = shared["counters"]
    counters["blocks"], counters["expected_blocks"], counters["underruns"] = 990, 1000, 3
    counters["block_histogram"][12] = 980
    counters["block_histogram"][127] = 10
    counters["block_ns_max"] = 12_000_000
    counters["dropped_records"] = 7
    shared["frames"]["dropped"][2, 0] = 4
    settings = np.zeros(1, SETTINGS)[0]
    settings["motion_delay_ms"], settings["low_latency"] = 40.0, low_latency
    settings["band"], settings["style"], settings["mode"], settings["tempo_source"] = band, 1, 1, 2
    found = status.collect(
        shared,
        moving() if snapshot is None else snapshot,
        settings,
        name="echelon",
        version="1",
        uptime_s=12.34,
        audio={"device": "null", "latency_ms": 10.7},
        processes=[{"name": "audio", "pid": 41, "state": "ready", "restarts": 0}],
        sensors=[{"name": "mocopi", "port": 12351, "rate_hz": 59.9, "frames": 90, "lost": 10}],
        styles=("house", "techno"),
    )
    return {**found, **changes}


def test_document_is_json_with_every_counter() -> None:
    """The document survives JSON (no infinities) and carries the counters, drops, sensors and processes."""
    found = json.loads(json.dumps(document(), allow_nan=False))
    assert (found["blocks"], found["expected_blocks"], found["underruns"]) == (990, 1000, 3)
    assert found["state"] == "active"
    assert found["latency_ms"] == 20.5
    assert (found["motion_delay_ms"], found["low_latency"]) == (40.0, False)
    assert found["drops"] == {"records": 7, "inputs": 0, "sound": 0, "frames": 4, "commands": 0}
    assert found["sensors"][0]["frames"] == 90
    assert found["processes"][0]["pid"] == 41
    assert found["load_p50"] == pytest.approx(13 / 128, abs=1e-4)
    assert found["load_p99"] == pytest.approx(1.0, abs=0.9)
    assert found["load_max"] == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("snapshot", "known"),
    [
        (moving(), True),
        (moving(age_ms=999.0), True),
        (moving(age_ms=1001.0), False),
        (moving(flags=0), False),
        (moving(flags=PRESENT | HELD), False),
        (moving(flags=PRESENT | FROZEN), False),
        (np.zeros(1, CONTROL)[0], False),
    ],
)
def test_latency_is_told_only_while_a_body_moves_the_sound(snapshot: np.void, known: bool) -> None:
    """A held, frozen, absent or long silent body has no latency: the figure never grows while nothing moves."""
    found = document(snapshot)
    assert (found["latency_ms"] is not None) == known
    assert ("no motion" in status.table(found)) != known


def test_low_latency_has_no_jitter_delay() -> None:
    """In low latency the de-jitter adds nothing, and the document and the table say which of the two it is."""
    found = document(low_latency=True)
    assert (found["motion_delay_ms"], found["low_latency"]) == (0.0, True)
    assert "low latency" in status.table(found)
    assert "40 ms of it against jitter" in status.table(document())


def test_band_is_seen_at_a_glance() -> None:
    """Style, section, mode and who sets the tempo stand in the document, the table and the line, before and in play."""
    before = document()
    assert (before["band"]["style"], before["band"]["wanted"], before["tempo_source"]) == (None, "techno", "performer")
    assert "techno - continuous" in status.line(before)
    assert "techno, continuous, has not begun" in status.table(before)
    snapshot = moving()
    snapshot["grid"], snapshot["step"], snapshot["section"], snapshot["style"] = 5, 9, SECTIONS.index("build"), 0
    snapshot["mode"], snapshot["band"] = 1, 0.25
    found = json.loads(json.dumps(document(snapshot), allow_nan=False))
    band = found["band"]
    assert (band["on"], band["style"], band["wanted"], band["mode"]) == (True, "house", "techno", "continuous")
    assert (band["section"], band["grid"], band["step"]) == ("build", 5, 9)
    assert band["parameters"] == {row.name: 0.25 for row in BAND}
    assert "house (then techno), build, continuous" in status.table(found)
    assert "96.0 bpm (performer)" in status.table(found)
    assert "96.0 bpm performer  house build continuous" in status.line(found)
    off = document(snapshot, band=False)
    assert "band off" in status.line(off)
    assert off["band"]["on"] is False


def test_connections_are_seen_at_a_glance() -> None:
    """A lost server and a session that is no longer kept stand in the line; the table shows what is not zero."""
    good = {"nats": {"connected": True, "server": "nats://x", "gaps": {}, "lost": 0}, "session": {"seconds": 3.5}}
    bad = {"nats": {"connected": False}, "session": {"error": "the disk is full"}}
    assert "connected, nats://x" in status.table(document(outlets=good))
    assert "3.5 seconds" in status.table(document(outlets=good))
    none = {"records": 0, "inputs": 0}
    assert "nats  log" in status.line(document(outlets=good, drops=none))
    for cut in ({"drops": none | {"records": 7}}, {"drops": none | {"inputs": 1}}):
        assert "nats  LOG CUT" in status.line(document(outlets=good, **cut))
    lost = {"session": {"seconds": 3.5, "lost": 2}}
    assert "LOG CUT" in status.line(document(outlets=lost, drops=none))
    assert "NO NATS  NOT KEPT" in status.line(document(outlets=bad))
    assert "the disk is full" in status.table(document(outlets=bad))


def test_failed_recording_is_seen_at_a_glance() -> None:
    """Table and line tell a recording that goes on from one that has stopped, and the table says why."""
    good = {"path": "x.wav", "seconds": 12.5}
    bad = {**good, "error": "x.wav: the disk refused more"}
    assert "12.5 s in x.wav" in status.table(document(recording=good))
    assert "STOPPED after 12.5 s in x.wav: x.wav: the disk refused more" in status.table(document(recording=bad))
    assert status.line(document(recording=good)).endswith("rec")
    assert "NOT RECORDING" in status.line(document(recording=bad))
    assert "rec" not in status.line(document()).lower()


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
