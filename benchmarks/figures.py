"""Figures as every benchmark gives them: p50, p99, p99.9 and max, bars with a verdict, tables for reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
OPERATORS = ("<=", ">=", "<")


def percentiles(values: ArrayLike, digits: int = 2) -> dict[str, float]:
    """Return p50, p99, p99.9, max and count of `values`; all zero when there are none."""
    array = np.asarray(values, np.float64).ravel()
    if array.size == 0:
        return {**dict.fromkeys(SHARES, 0.0), "max": 0.0, "count": 0}
    found = {name: round(float(np.quantile(array, share)), digits) for name, share in SHARES.items()}
    return {**found, "max": round(float(array.max()), digits), "count": int(array.size)}


def histogram_percentiles(histogram: ArrayLike, bin_width: float, largest: float, digits: int = 2) -> dict[str, float]:
    """Return the same from counts a bin (upper edges; the last bin means "more") and the largest value seen."""
    counts = np.asarray(histogram, np.int64)
    total = int(counts.sum())
    if total == 0:
        return percentiles([])
    below = np.cumsum(counts)
    found = {}
    for name, share in SHARES.items():
        index = int(np.searchsorted(below, share * total))
        found[name] = round(min((index + 1) * bin_width, largest) if index < len(counts) - 1 else largest, digits)
    return {**found, "max": round(largest, digits), "count": total}


def bar(what: str, value: float, unit: str, operator: str, limit: float) -> dict[str, Any]:
    """Return one line of the specification with the figure beside it; `operator` is <=, >= or <."""
    if operator not in OPERATORS:
        raise ValueError(f"operator {operator!r}: must be one of {', '.join(OPERATORS)}")
    met = {"<=": value <= limit, ">=": value >= limit, "<": value < limit}[operator]
    return {"what": what, "value": value, "unit": unit, "bar": f"{operator} {limit:g} {unit}".strip(), "met": bool(met)}


def text_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as text: the first column to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def percentile_table(unit: str, rows: dict[str, dict[str, float]]) -> str:
    """Return named percentiles as a table."""
    names = [*SHARES, "max", "count"]
    return text_table([unit, *names], [[name, *(row[n] for n in names)] for name, row in rows.items()])


def bar_table(bars: Sequence[dict[str, Any]]) -> str:
    """Return bars beside their figures, with the verdict."""
    rows = [
        [b["what"], f"{b['value']:.4g} {b['unit']}".strip(), b["bar"], "met" if b["met"] else "MISSED"] for b in bars
    ]
    return text_table(["figure", "measured", "bar", "verdict"], rows)
