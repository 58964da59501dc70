"""Block time against its period: 16 voices struck again and again, the whole band, and a dancer who moves every lane.

The pure cost for every block size comes from a compiled loop around `process()`; the real figure at 512 from the null
driver, live, with everything a live block meets: three rounds or more, of which the one counts from which the
hypervisor took least; all are shown.

    python benchmarks/block.py [--seconds 20]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import rig
from figures import bar, histogram_percentiles, percentile_table, percentiles

BLOCKS = (64, 128, 256, 512, 1024, 2048)
RATE_HZ = 48000
BAR_BLOCK, BAR_PERCENT = 512, 50.0


def _judged(run: dict[str, Any]) -> dict[str, Any]:
    counters, sounding = run["counters"], run["records"]["voices"]
    largest = float(counters["block_ns_max"]) * RATE_HZ / BAR_BLOCK / 1e7
    counted = {name: int(counters[name]) for name in ("blocks", "expected_blocks", "late_blocks")}
    return {
        "load": histogram_percentiles(counters["block_histogram"], 100 / 128, largest),
        **counted,
        "voices": int(sounding[len(sounding) // 8 :].min()),
        "priority_refused": run["refused"],
        "machine": run["machine"],
    }


def measure(seconds: float = 20.0) -> dict[str, Any]:
    """Return block times in percent of the period, offline for every size and live at 512, with the bar."""
    figures: dict[str, Any] = {}
    fewest = rig.VOICES
    for block in BLOCKS:
        run = rig.render_timed(block, max(seconds / 2, 2.0), RATE_HZ)
        warm = run["spent_ns"][len(run["spent_ns"]) // 10 :]
        figures[f"loop, {block} frames"] = percentiles(warm * RATE_HZ / block / 1e7)
        fewest = min(fewest, run["voices"])
    rounds = [_judged(run) for run in rig.live_rounds(BAR_BLOCK, seconds)]
    figures[f"live, {BAR_BLOCK} frames"] = rounds[0]["load"]
    return {
        "unit": "% of the period",
        "figures": figures,
        "voices": fewest,
        "rounds": rounds,
        "bars": [
            bar(
                f"block time, {rounds[0]['voices']} voices, {BAR_BLOCK} frames, live, p99.9",
                figures[f"live, {BAR_BLOCK} frames"]["p99.9"],
                "% of the period",
                "<",
                BAR_PERCENT,
            ),
        ],
    }


def _told(run: dict[str, Any]) -> str:
    return (
        f"live round: p99.9 {run['load']['p99.9']} %, {run['blocks']} of {run['expected_blocks']} blocks, "
        f"{run['late_blocks']} late, at least {run['voices']} voices; "
        f"the hypervisor took {run['machine']['stolen_percent']} % of the time"
    )


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    lines = [percentile_table(result["unit"], result["figures"])]
    lines += [_told(run) for run in result["rounds"]]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    found = measure(parser.parse_args().seconds)
    print(table(found), json.dumps(found["bars"], indent=1), sep="\n")
