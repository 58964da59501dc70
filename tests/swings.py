"""Recordings for the tests of training: swinging hands, and positions that follow them at once and slowly."""

from __future__ import annotations

import numpy as np

from echelon_models.train.dataset import Recording


def recording(seed: int, frames: int = 400, **changes: object) -> Recording:
    """Return a seeded recording whose targets a small causal net can learn."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None] / 60
    x = np.tanh(np.sin(t * rng.uniform(1, 8, 6) + rng.uniform(0, 6, 6)) * rng.uniform(0.3, 1.5, 6))
    c = 0.5 + 0.5 * np.sin(t[:, 0] * rng.uniform(0.2, 1))
    effort = np.abs(x[:, :4]).mean(1)
    slow = np.zeros(frames)
    for n in range(1, frames):
        slow[n] = slow[n - 1] + (effort[n] - slow[n - 1]) / 24
    drive = np.stack([effort, slow, c, x[:, 4], x[:, 5]], 1)
    mix = np.random.default_rng(99).normal(size=(5, 32))
    p = 1 / (1 + np.exp(-(drive - [0.4, 0.4, 0.5, 0, 0]) @ mix))
    f = np.float32
    made = Recording(
        name=f"swing {seed}", kind="dancer", x=x.astype(f), c=c.astype(f), p=p.astype(f),
        p_mask=np.ones((frames, 32), np.bool_), limbs=np.zeros((frames, 0), f), energy=effort.astype(f),
        bias=np.clip(1 - np.arange(frames) / 24, 0, 1).astype(f), tempo_bpm=np.full(frames, 100, f),
        phase=np.zeros(frames, f), present=np.ones(frames, np.bool_), source=f"swing {seed}",
    )  # fmt: skip
    return made._replace(**changes)  # type: ignore[arg-type]
