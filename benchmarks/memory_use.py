"""Memory of the running product: resident and proportional set size of every process of `echelon-engine run`.

python benchmarks/memory_use.py [--seconds 10]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import product
from figures import bar, text_table

AUDIO_BAR_MB, PRODUCT_BAR_MB = 350.0, 800.0


def set_sizes(pid: int) -> dict[str, float]:
    """Return resident and proportional set size of a process in megabytes (10^6 bytes)."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        key, value = line.split(":")
        if key in ("Rss", "Pss"):
            sizes[f"{key.lower()}_mb"] = round(int(value.split()[0]) * 1024 / 1e6, 1)
    return sizes


def measure(seconds: float = 10.0) -> dict[str, Any]:
    """Return the set sizes after `seconds` of dancing, the standby audio process included."""
    name = f"bench-memory-{os.getpid()}"
    options = ["--device", "null"]
    for kind in ("mocopi", "vmc"):
        options += ["--set", f"ports.{kind}={product.free_port()}"]
    with product.running(name, options):
        time.sleep(seconds)
        processes = {row["name"]: int(row["pid"]) for row in product.status(name)["processes"]}
        parents = {int(status.parent.name): _parent(status) for status in Path("/proc").glob("[0-9]*/status")}
        supervisor = next((parents[pid] for pid in processes.values() if pid in parents), 0)
        for pid, parent in parents.items():  # what the supervisor runs besides: the loaded spare
            if parent == supervisor and pid not in processes.values():
                processes[f"standby {pid}"] = pid
        figures = {name: set_sizes(pid) for name, pid in {"supervisor": supervisor, **processes}.items() if pid}
    total = {key: round(sum(row[key] for row in figures.values()), 1) for key in ("rss_mb", "pss_mb")}
    audio = figures.get("audio", {"rss_mb": 0.0})["rss_mb"]
    return {
        "unit": "MB",
        "figures": {**figures, "whole product": total},
        "bars": [
            bar("memory of the audio process, resident", audio, "MB", "<=", AUDIO_BAR_MB),
            bar("memory of the whole product, proportional", total["pss_mb"], "MB", "<=", PRODUCT_BAR_MB),
            bar("memory of the whole product, resident sum", total["rss_mb"], "MB", "<=", PRODUCT_BAR_MB),
        ],
    }


def _parent(status: Path) -> int:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("PPid:")), 0)


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    rows = [[name, row["rss_mb"], row["pss_mb"]] for name, row in result["figures"].items()]
    return text_table([result["unit"], "resident", "proportional"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    found = measure(parser.parse_args().seconds)
    print(table(found), json.dumps(found["bars"], indent=1), sep="\n")
