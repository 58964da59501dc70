"""How long the first start compiles, and how soon a later one plays its first block.

Every figure comes from fresh processes with an empty cache folder of their own. CPU time counts all processes; on a
busy machine it grows, too, so the load is reported beside it. Units are also compiled one by one, to see what each
costs: those figures include a second or two of starting a compiler, which a cold start pays once a core.

    python benchmarks/cold_start.py [--json FILE] [--jobs 2] [--units]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COLD = """
import sys
from echelon_engine import units
slow = units.compile_cold(int(sys.argv[1]))
if slow:
    sys.exit(f"compiled the plain way, which takes twice as long: {', '.join(slow)}")
"""
WARM = """
import numpy as np
from echelon_engine import live, offline
from echelon_engine.config import Config
from echelon_models.weights import load_all
config = Config()
settings = live.initial_settings(config)[0]
offline.render(np.zeros(0, offline.LIMB_FRAME), 512 / 48000, settings, load_all(config.models))
"""
BARS = {"cold wall s": ("at most", 20.0), "cold cpu s": ("at most", 35.0), "warm to first block s": ("at most", 3.0)}


def timed(code: list[str], cache: str, fed: str | None = None) -> tuple[float, float]:
    """Run Python with `code` (arguments) on a cache folder; return wall and CPU seconds of it and its children."""
    before, began = os.times(), time.monotonic()
    subprocess.run(
        [sys.executable, "-P", *code],
        env={**os.environ, "ECHELON_CACHE_DIR": cache},
        input=fed,
        text=True,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, cpu


def measure(jobs: int | None = None, each: bool = False) -> dict[str, Any]:
    """Return wall and CPU seconds of a cold start with `jobs` compilers, and of a warm one; `each`: per unit, too."""
    from echelon_engine.units import JOBS

    load = os.getloadavg()[0]
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as cache:
        result["cold wall s"], result["cold cpu s"] = timed(["-c", COLD, str(jobs or os.cpu_count() or 1)], cache)
        timed(["-c", WARM], cache)  # compiles what Python calls in a render
        result["warm to first block s"], result["warm cpu s"] = timed(["-c", WARM], cache)
    if each:
        result["unit cpu s"] = {}
        for name in JOBS:
            with tempfile.TemporaryDirectory() as cache:
                result["unit cpu s"][name] = timed(["-m", "echelon_engine.unit_compiler"], cache, f"{name}\n")[1]
    result["load before"], result["load after"] = load, os.getloadavg()[0]
    return result


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines of text, each beside its bar."""
    lines = []
    for name, value in result.items():
        for label, number in value.items() if isinstance(value, dict) else [("", value)]:
            rule, bar = BARS.get(name, ("", 0.0))
            lines.append(f"{name + ' ' + label:32}{number:8.2f}  {f'{rule} {bar:g}' if rule else ''}".rstrip())
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--units", action="store_true", help="also compile each unit alone")
    arguments = parser.parse_args()
    result = measure(arguments.jobs, arguments.units)
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
