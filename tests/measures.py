"""The measures of sound, shared with the benchmarks that print every figure beside its bar."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from paths import ROOT


def measures(name: str) -> ModuleType:
    """Return a benchmark as a module: `quality_voices`, `quality_ensemble`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
