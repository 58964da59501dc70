"""How fast a model answers: a sudden gesture, a lean that stays, and the slow state while its target is held.

A performer at rest for 4 s, then a step that is held for 3 s. Times count from the control frame of the step; an answer
in that same frame is 0 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from echelon_models.train import teacher
from echelon_models.train.baselines import LinearMap
from echelon_models.train.gated import FRAME_RATE, INPUTS, Gated, Stacked

Floats = NDArray[np.floating]
Player = Callable[[NDArray[np.float32], NDArray[np.float32]], Floats]  # x (T, 6), c (T,) -> (T, 32)
REST, HELD = 4 * FRAME_RATE, 3 * FRAME_RATE  # frames
GESTURE_S = 0.5  # after which a gesture's answer counts as whole
HANDS, LEAN_FORWARD, STEP = (0, 1, 2, 3), 4, 0.8
HEAD = ("reaction to a gesture, ms", "deviation", "63 % of a held lean, ms", "deviation", "slow state, ms")


def step(columns: tuple[int, ...], c: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return x (T, 6) and commitment c (T,), 0 for 4 s, then STEP in some columns, and c."""
    x, commitment = np.zeros((REST + HELD, INPUTS), np.float32), np.zeros(REST + HELD, np.float32)
    x[REST:, columns] = STEP
    commitment[REST:] = c
    return x, commitment


def crossing_ms(positions: Floats, share: float, whole_s: float) -> float:
    """Return when positions (T, 32) have made `share` of the way that they make within `whole_s` of the step, in ms.

    NaN where nothing moves. The way is the projection on the whole: what wanders across it does not count.
    """
    before = np.asarray(positions[REST - 1], np.float64)
    last = REST + round(whole_s * FRAME_RATE) - 1
    way = np.asarray(positions[last], np.float64) - before
    length = float(way @ way)
    if length < 1e-12:
        return math.nan
    made = (positions[REST : last + 1] - before) @ way / length
    return float(np.argmax(made >= share)) * 1000 / FRAME_RATE


def reaction_ms(play: Player) -> float:
    """Return when half of the answer to both hands suddenly moving is made."""
    return crossing_ms(play(*step(HANDS, 0.5)), 0.5, GESTURE_S)


def lean_ms(play: Player) -> float:
    """Return when 63 % of the answer to leaning forward and staying so is made: the slow path end to end."""
    return crossing_ms(play(*step((LEAN_FORWARD,), 0.0)), 1 - math.exp(-1), HELD / FRAME_RATE)


def slow_ms(model: Gated, index: int = 0) -> float:
    """Return the time constant of a model's slow state while its target is held, as measured in its run, in ms.

    Between two evaluations of the slow network its target stands still, and h approaches it by the same factor each
    frame: d_n+1 = r d_n with d_n = h_n+1 - h_n, so tau = -dt / ln r, r by least squares over all such frames.
    """
    x, c = step(HANDS, 0.5)
    slow = model.play(x, c, np.zeros_like(c)).slow
    assert slow is not None
    moves = np.diff(slow[:, index, 0].double().numpy(), axis=0)  # moves[n]: into frame n + 1
    every = model.times.slow_every[index]
    held = np.array([n for n in range(1, len(moves)) if (n + 1) % every], dtype=np.int64)
    rate = float((moves[held] * moves[held - 1]).sum() / max(float((moves[held - 1] ** 2).sum()), 1e-30))
    return -1000 / (FRAME_RATE * math.log(rate)) if 0 < rate < 1 else 0.0


def of(model: Stacked, index: int) -> Player:
    """Return one model of a stack as a player; the gate is not pulled."""

    def play(x: NDArray[np.float32], c: NDArray[np.float32]) -> Floats:
        return np.asarray(torch.sigmoid(model.play(x, c, np.zeros_like(c)).y[:, index, 0]).numpy())

    return play


def table(nets: Mapping[str, Stacked], linears: Mapping[str, LinearMap]) -> dict[str, list[float | None]]:
    """Return the figures of HEAD by model: mean and deviation over a stack's seeds, the others' one value."""
    found: dict[str, list[float | None]] = {}
    for name, stack in nets.items():
        cells: list[float | None] = []
        for measure in (reaction_ms, lean_ms):
            values = np.array([measure(of(stack, k)) for k in range(stack.size)])
            cells += [float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None]
        held = [slow_ms(stack, k) for k in range(stack.size)] if isinstance(stack, Gated) else []
        found[name] = [*cells, float(np.mean(held)) if held else None]
    players: dict[str, Player] = {name: each.play for name, each in linears.items()}
    for name, play in (players | {"teacher": teacher.positions}).items():
        found[name] = [reaction_ms(play), None, lean_ms(play), None, None]
    return found
