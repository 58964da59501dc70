"""All benchmarks in one run: every figure beside its bar, the machine described, JSON for keeping.

python benchmarks/run.py [--json FILE] [--quick] [--only control_frame,block]
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from figures import bar, bar_table
from machine import describe, one_line, stolen_share

# Name, options of measure() for a quick look, what it is about. In this order: the quiet ones first.
SUITE: dict[str, tuple[dict[str, Any], str]] = {
    "equilibrium": ({"rounds": 60}, "the models alone, against NumPy, ONNX Runtime and the memory's own speed"),
    "control_frame": ({"seconds": 5.0}, "one control frame, warm and in the callback"),
    "block": ({"seconds": 5.0}, "block time against its period, 16 voices"),
    "jitter": ({"seconds": 3.0}, "blocks under a fight for the GIL: native against a Python callback"),
    "latency": ({"strikes": 20}, "motion datagram to sound, from outside"),
    "memory_use": ({"seconds": 5.0}, "memory of every process"),
    "sensor_load": ({"seconds": 4.0}, "many sensors, and a flood, from outside"),
    "cold_start": ({}, "from nothing to the first sound"),
    "follow": ({}, "loudness against the body's energy, clip by clip"),
    "commitment": ({"noise_seeds": 20}, "commitment and tempo on rhythms that are known"),
    "quality_voices": ({"minutes": 0.2}, "tuning, decay, aliasing, clicks"),
}


def bars_of(result: dict[str, Any], limits: dict[str, tuple[str, float]] | None = None) -> list[dict[str, Any]]:
    """Return the bars of a result: its own, its ratios (what, ratio, bar, holds), and `limits` on figures it names."""
    bars = list(result.get("bars", []))
    for name, (side, limit) in (limits or {}).items():
        if isinstance(value := result.get(name), float):
            bars.append(bar(name, round(value, 2), "", {"at most": "<=", "at least": ">="}[side], limit))
    for ratio in result.get("ratios", []):
        rule = str(ratio["bar"]).replace("at most", "<=").replace("at least", ">=")
        bars.append({"what": ratio["what"], "value": ratio["ratio"], "unit": "x", "bar": rule, "met": ratio["holds"]})
    return bars


def run_suite(names: Sequence[str], quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmarks called `names` one after the other; return everything, JSON-ready. One that fails is told."""
    document: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "quick": quick,
        "machine": describe(),
        "benchmarks": {},
        "bars": [],
    }
    say(one_line(document["machine"]))
    for name in names:
        options, about = SUITE[name]
        say(f"\n## {name}: {about}\n")
        began = time.monotonic()
        try:
            module = importlib.import_module(name)
            with stolen_share() as stolen:
                result = module.measure(**(options if quick else {}))
            if isinstance(result, list):  # rows of (what, figure, bar, unit), at most the bar
                result = {"bars": [bar(what, figure, unit, "<=", limit) for what, figure, limit, unit in result]}
        except Exception as error:  # the others are still worth having
            document["benchmarks"][name] = {"error": "".join(traceback.format_exception_only(error)).strip()}
            say(f"failed: {document['benchmarks'][name]['error']}")
            continue
        result["took_seconds"] = round(time.monotonic() - began, 1)
        result["machine_meanwhile"] = stolen.found
        document["benchmarks"][name] = result
        bars = bars_of(result, getattr(module, "BARS", None))
        document["bars"] += bars
        if hasattr(module, "table"):
            say(module.table(result))
        else:
            say(bar_table(bars) if bars else json.dumps(result, indent=1))
    return document


def readable(document: dict[str, Any]) -> str:
    """Return the bars of a whole run as text, and what failed."""
    failed = [f"{name}: {result['error']}" for name, result in document["benchmarks"].items() if "error" in result]
    lines = [
        bar_table(document["bars"]),
        f"{sum(b['met'] for b in document['bars'])} of {len(document['bars'])} bars met",
    ]
    return "\n".join(lines + [f"failed: {text}" for text in failed])


def present() -> list[str]:
    """Return the benchmarks of the suite whose file is there."""
    return [name for name in SUITE if (Path(__file__).parent / f"{name}.py").is_file()]


def main() -> int:
    """Entry point; 0 when everything could be measured, whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    parser.add_argument("--quick", action="store_true", help="a few minutes less, rougher tails")
    parser.add_argument("--only", metavar="NAMES", help=f"some of: {','.join(present())}")
    chosen = parser.parse_args()
    names = chosen.only.split(",") if chosen.only else present()
    if unknown := [name for name in names if name not in SUITE]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(present())}")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        print(text, flush=True)

    document = run_suite(names, chosen.quick, say)
    say(f"\n## bars\n\n{readable(document)}")
    if chosen.json:
        chosen.json.write_text(json.dumps(document, indent=1) + "\n")
        chosen.json.with_suffix(".md").write_text("```\n" + "\n".join(said) + "\n```\n")
    return 1 if any("error" in result for result in document["benchmarks"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
