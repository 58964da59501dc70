"""Block time against its period with 16 voices sounding, struck again and again while the dancer moves every lane.

The pure cost for every block size comes from a compiled loop around `process()`; the real figure at 512 from the null
driver, live, with everything a live block meets. Blocks that other programs of the machine interrupt are counted in.

    python benchmarks/block.py [--seconds 20]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import rig
from figures import bar, histogram_percentiles, percentile_table, percentiles
from machine import stolen_share

BLOCKS = (64, 128, 256, 512, 1024, 2048)
RATE_HZ = 48000
BAR_BLOCK, BAR_PERCENT = 512, 50.0


def measure(seconds: float = 20.0) -> dict[str, Any]:
    """Return block times in percent of the period, offline for every size and live at 512, with the bar."""
    figures: dict[str, Any] = {}
    fewest = rig.VOICES
    for block in BLOCKS:
        run = rig.render_timed(block, max(seconds / 2, 2.0), RATE_HZ)
        warm = run["spent_ns"][len(run["spent_ns"]) // 10 :]
        figures[f"loop, {block} frames"] = percentiles(warm * RATE_HZ / block / 1e7)
        fewest = min(fewest, run["voices"])
    with stolen_share() as stolen:
        live = rig.run_live(BAR_BLOCK, seconds)
    counters, records = live["counters"], live["records"]
    largest = float(counters["block_ns_max"]) * RATE_HZ / BAR_BLOCK / 1e7
    figures[f"live, {BAR_BLOCK} frames"] = histogram_percentiles(counters["block_histogram"], 100 / 128, largest)
    sounding = records["voices"][len(records) // 8 :]
    return {
        "unit": "% of the period",
        "figures": figures,
        "voices": {"loop": fewest, "live": int(sounding.min())},
        "live": {
            "blocks": int(counters["blocks"]),
            "expected_blocks": int(counters["expected_blocks"]),
            "late_blocks": int(counters["late_blocks"]),
            "priority_refused": live["refused"],
            "machine": stolen.found,
        },
        "bars": [
            bar(
                f"block time, {fewest} voices, {BAR_BLOCK} frames, live, p99.9",
                figures[f"live, {BAR_BLOCK} frames"]["p99.9"],
                "% of the period",
                "<",
                BAR_PERCENT,
            ),
        ],
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    live = result["live"]
    return (
        percentile_table(result["unit"], result["figures"])
        + f"\nlive: {live['blocks']} of {live['expected_blocks']} blocks, {live['late_blocks']} late; "
        + f"voices at least {result['voices']}; machine while it ran: {live['machine']}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    found = measure(parser.parse_args().seconds)
    print(table(found), json.dumps(found["bars"], indent=1), sep="\n")
