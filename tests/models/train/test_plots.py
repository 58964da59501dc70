"""Pictures of a training: whole PNG files of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")
pytest.importorskip("matplotlib", reason="matplotlib is in the extra `plot`")

from swings import recording  # noqa: E402

from echelon_models.train import plots  # noqa: E402
from echelon_models.train.gated import Gated  # noqa: E402
from echelon_models.train.losses import Losses  # noqa: E402


def whole_png(path: Path) -> bool:
    """Tell whether a file is a PNG with its end."""
    raw = path.read_bytes()
    return raw.startswith(b"\x89PNG") and raw[-8:-4] == b"IEND" and len(raw) > 10_000


def test_every_picture_is_drawn(tmp_path: Path) -> None:
    """Loss, states and parameters become PNG files, also for a training of one epoch and a recording of a second."""
    for epochs, frames in ((1, 60), (12, 1500)):
        rng = np.random.default_rng(0)
        history = {f"{part}_{term}": rng.random((epochs, 1)) for part in ("train", "test") for term in Losses._fields}
        plots.loss(tmp_path / "loss.png", history, 1)
        plots.states(tmp_path / "states.png", Gated((1,)), recording(1, frames))
        plots.parameters(tmp_path / "parameters.png", Gated((1,)), recording(1, frames), {4: "index_1", 29: "pan"})
        for name in ("loss", "states", "parameters"):
            assert whole_png(tmp_path / f"{name}.png"), name
            (tmp_path / f"{name}.png").unlink()
