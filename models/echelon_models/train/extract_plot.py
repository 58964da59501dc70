"""A picture of an extraction, as PNG: needs matplotlib (the extra `plot`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from echelon_engine.parameters import LANES, PARAMETERS
from echelon_models.train import listening
from echelon_models.train.extract import Extraction
from echelon_models.train.phrase import RATE_HZ


def draw(path: str | Path, found: Extraction, name: str) -> None:
    """Draw the log-mel spectra of recording and instrument one above the other, and the positions of the 32 lanes."""
    # The object interface: no global state, no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(3, 1)
    length_s = len(found.sound) / RATE_HZ
    for axis, sound, title in (
        (top, found.sound, f"Recording: {name}"),
        (
            middle,
            found.rendered,
            f"Instrument: {found.distance:.1f} dB away (default setting {found.default_distance:.1f})",
        ),
    ):
        level = listening.decibels(listening.powers(sound, listening.RESOLUTIONS[1], RATE_HZ).sum(0))
        axis.imshow(
            level.T, origin="lower", aspect="auto", vmin=-90, vmax=-10, cmap="magma",
            extent=(0.0, length_s, 0, listening.MEL_BANDS),
        )  # fmt: skip
        axis.set(title=title, ylabel="mel band")
    middle.set(xlabel="s")
    places = np.arange(LANES)
    bottom.bar(places, found.position, color=["#2f6fb7" if heard else "#c9d1dc" for heard in found.heard])
    bottom.set_xticks(places, [each.name for each in PARAMETERS], rotation=70, ha="right", fontsize=8)
    bottom.set(title="Positions (grey: cannot be heard in this sound)", ylim=(0, 1))
    bottom.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
