"""When control frames happen: on their sample, timed when live; in low latency, live, as soon as a block begins."""

import numpy as np

from echelon_engine import offline, rings, units
from echelon_engine.block import new_shared
from echelon_engine.memory import CONTROL
from echelon_engine.process import process
from echelon_engine.state import CACHE_LINE, ENGINE, STREAMED, new_engine


def played(settings, weights, *, live: bool, blocks: int = 64, block: int = 512):
    """Render blocks as a live or an offline shell does; return (control records, counters)."""
    units.link()
    shared = new_shared(48000, block)
    engine = new_engine(shared, settings[0], weights, rate_hz=48000, block_frames=block)
    engine["started"] = int(live)
    out, record, records = np.zeros((block, 2), np.float32), np.zeros(1, CONTROL), []
    for _ in range(blocks):
        process(out, engine, shared)
        while rings.pop(record, shared["records"]):
            records.append(record.copy())
    return np.concatenate(records), shared["counters"]


def test_control_frames_are_timed_when_live_alone(settings, weights) -> None:
    """Live, every control frame is in the histogram; offline nobody looks at a clock."""
    records, counters = played(settings, weights, live=True)
    assert counters["control_histogram"].sum() == len(records) == counters["control_frames"]
    assert counters["control_ns_max"] > 0
    _, counters = played(settings, weights, live=False)
    assert counters["control_histogram"].sum() == counters["control_ns_max"] == 0


def test_low_latency_takes_a_control_frame_when_its_block_begins(settings, weights) -> None:
    """Live and in low latency no control frame waits inside its block, and there are still 60 a second."""
    settings["low_latency"] = 1
    records, _ = played(settings, weights, live=True, blocks=375)
    assert (records["sample"] % 512 == 0).all()
    assert (records["frame"] == np.arange(len(records))).all()
    assert abs(len(records) - 4 * 60) <= 1
    due = records["frame"] * 800
    assert ((records["sample"] <= due) & (due < records["sample"] + 512)).all()


def test_low_latency_offline_keeps_every_sample(dance, settings, weights) -> None:
    """Rendering with low latency is as independent of the block as without."""
    settings["low_latency"] = 1
    small, large = (offline.render(dance, 1.5, settings[0], weights, block_frames=block) for block in (64, 512))
    assert small.sound.tobytes() == large.sound.tobytes()
    assert (small.records["sample"] == large.records["frame"] * 800).all()


def test_what_is_streamed_begins_on_a_cache_line(settings, weights) -> None:
    """Weights and big states lie on addresses from which wide loads do not cross a line, the record included."""
    engine = new_engine(new_shared(48000, 512), settings[0], weights, rate_hz=48000)
    for name in STREAMED:
        assert (engine.__array_interface__["data"][0] + ENGINE.fields[name][1]) % CACHE_LINE == 0
