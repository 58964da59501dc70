"""The machine that figures belong to: processor, cores, kernel, governor, load, versions; what others took."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

LIBRARIES = ("numpy", "numba", "llvmlite", "sounddevice", "onnxruntime")


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return round(pages * size / 1e9, 1)


def describe() -> dict[str, Any]:
    """Return what a reader must know to compare figures, JSON-ready."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "virtual": "hypervisor" in _read("/proc/cpuinfo"),
        "system": platform.platform(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not told",
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "versions": versions,
    }


def _times() -> list[int]:
    first = _read("/proc/stat").split("\n", 1)[0].split()
    return [int(value) for value in first[1:]] or [0] * 10


@contextlib.contextmanager
def stolen_share() -> Iterator[Any]:
    """Give an object whose `found` tells afterwards how busy the machine was and how much the hypervisor took."""
    result = SimpleNamespace(found={})
    before = _times()
    yield result
    spent = [after - first for after, first in zip(_times(), before, strict=True)]
    total = max(sum(spent[:8]), 1)
    result.found = {
        "busy_percent": round(100 * (1 - (spent[3] + spent[4]) / total), 1),
        "stolen_percent": round(100 * spent[7] / total, 2),
        "load_average": round(os.getloadavg()[0], 2),
    }


def one_line(machine: dict[str, Any]) -> str:
    """Return the description as one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    virtual = ", virtual" if machine["virtual"] else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores{virtual}, {machine['memory_gb']} GB, {machine['system']}, "
        f"governor {machine['governor']}, load {machine['load_average'][0]}; {versions}"
    )
