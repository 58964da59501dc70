"""The measures of the ensemble, shared with the benchmark that prints every figure beside its bar."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from paths import ROOT


def measures() -> ModuleType:
    """Return benchmarks/quality_ensemble.py as a module."""
    spec = importlib.util.spec_from_file_location("quality_ensemble", ROOT / "benchmarks" / "quality_ensemble.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
