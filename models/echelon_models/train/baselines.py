"""What DELL gated is measured against: a GRU and an MLP with one-poles of equal size, a linear map and a ridge.

The networks are stacks as `gated.Gated` and learn in the same loop from the same windows; the linear ones are solved in
closed form. DELL gated has 172,480 parameters; GRU 172,302, MLP 172,284.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echelon_models.train.dataset import Recording
from echelon_models.train.gated import INPUTS, OUTPUTS, Run, Stacked

GRU_WIDTH, MLP_WIDTH = 230, 395
_GIVEN = INPUTS + 1
HISTORY = 60  # frames the ridge looks at
RIDGES = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


class Gru(Stacked):
    """A stack of GRUs of one layer (Cho et al. 2014) on [x; c], y read from the state; the pull is not seen."""

    def __init__(self, seeds: Sequence[int]) -> None:
        width, shapes = GRU_WIDTH, dict[str, tuple[int, ...]]()
        for gate in "run":  # reset, update, new
            shapes |= {f"W_{gate}": (_GIVEN, width), f"U_{gate}": (width, width)}
            shapes |= {f"b_{gate}": (width,), f"d_{gate}": (width,)}
        super().__init__(seeds, {**shapes, "W_y": (width, OUTPUTS), "b_y": (OUTPUTS,)})

    def forward(self, x: Tensor, c: Tensor, pull: Tensor) -> Run:
        """Run the stack from zero states; see Stacked."""
        joined = torch.cat([x, c.unsqueeze(-1)], -1)
        w, b, u, d = (torch.cat([self.get_parameter(f"{k}_{gate}") for gate in "run"], -1) for k in "WbUd")
        drive = torch.matmul(joined, w) + b.unsqueeze(1)
        unroll: Any = _GruUnroll.apply
        h = unroll(drive, u, d)
        return Run(torch.matmul(h, self.get_parameter("W_y")) + self.get_parameter("b_y").unsqueeze(1))


class _GruUnroll(torch.autograd.Function):
    """h (T, S, B, H) from drive (T, S, B, 3H), U (S, H, 3H) and d (S, 3H); gates in the order r, u, n."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        frames, models, batch, triple = drive.shape
        width = triple // 3
        h = drive.new_zeros(frames + 1, models, batch, width)
        gates = drive.new_empty(frames, models, batch, triple)  # r, u, n
        own = drive.new_empty(frames, models, batch, triple)
        bias = bias.unsqueeze(1)
        for n in range(frames):
            # r, u = sigmoid(a + U h + d);  n = tanh(a + r (U h + d));  h <- n + u (h - n)
            torch.baddbmm(bias, h[n], weights, out=own[n])
            gate = gates[n]
            torch.add(drive[n, ..., : 2 * width], own[n, ..., : 2 * width], out=gate[..., : 2 * width]).sigmoid_()
            new = gate[..., 2 * width :]
            torch.addcmul(drive[n, ..., 2 * width :], gate[..., :width], own[n, ..., 2 * width :], out=new).tanh_()
            torch.lerp(new, h[n], gate[..., width : 2 * width], out=h[n + 1])
        ctx.save_for_backward(h, gates, own, weights)
        return h[1:].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        h, gates, own, weights = ctx.saved_tensors
        r, u, new = gates.chunk(3, -1)
        _, _, own_new = own.chunk(3, -1)
        frames, models, batch, width = r.shape
        back = weights.transpose(1, 2).contiguous()
        to_new = (1 - u) * (1 - new * new)  # dh -> d(input of tanh)
        to_update = (h[:-1] - new) * u * (1 - u)
        to_reset = to_new * own_new * r * (1 - r)
        scale = torch.stack([to_reset, to_update, to_new * r], 3)
        d_own = torch.empty_like(scale)
        d_new = torch.empty_like(to_new)
        given = gradients[0]
        d_h = torch.zeros_like(given[0])
        for n in reversed(range(frames)):
            d_h = d_h + given[n]
            torch.mul(d_h.unsqueeze(2), scale[n], out=d_own[n])
            torch.mul(d_h, to_new[n], out=d_new[n])
            d_h = torch.baddbmm(d_h * u[n], d_own[n].view(models, batch, 3 * width), back)
        flat = d_own.view(frames, models, batch, 3 * width)
        rows = flat.transpose(0, 1).reshape(models, -1, 3 * width)
        states = h[:-1].transpose(0, 1).reshape(models, -1, width)
        d_drive = torch.cat([flat[..., : 2 * width], d_new], -1)
        return d_drive, torch.bmm(states.transpose(1, 2), rows), rows.sum(1)


class Mlp(Stacked):
    """A stack of MLPs of two hidden layers on [x; c], each output smoothed by a one-pole that is learned."""

    def __init__(self, seeds: Sequence[int]) -> None:
        width = MLP_WIDTH
        super().__init__(
            seeds,
            {
                "W_1": (_GIVEN, width), "b_1": (width,), "W_2": (width, width), "b_2": (width,),
                "W_y": (width, OUTPUTS), "b_y": (OUTPUTS,), "k": (OUTPUTS,),
            },
        )  # fmt: skip

    def forward(self, x: Tensor, c: Tensor, pull: Tensor) -> Run:
        """Run the stack; the one-poles start at the first output."""
        hidden = torch.cat([x, c.unsqueeze(-1)], -1)
        for k in "12":
            hidden = torch.relu(torch.matmul(hidden, self.get_parameter(f"W_{k}")) + self._bias(f"b_{k}"))
        raw = torch.matmul(hidden, self.get_parameter("W_y")) + self._bias("b_y")
        # y <- y + a (raw - y),  a = sigmoid(k)
        a = torch.sigmoid(self._bias("k"))
        y = raw[0]
        found = [y]
        for each in raw[1:]:
            y = torch.lerp(y, each, a)
            found.append(y)
        return Run(torch.stack(found))

    def _bias(self, name: str) -> Tensor:
        return self.get_parameter(name).unsqueeze(1)


class LinearMap(NamedTuple):
    """p = clip([x; c] of the last `history` frames and 1, times `weights`), zeros before the first frame.

    `weights` float64 (7 history + 1, 32): rows 7k .. 7k+6 are [x; c] k frames ago, the last row the constant. `ridge`:
    the penalty on the mean square of the weights, relative to the data's.
    """

    weights: NDArray[np.float64]
    history: int
    ridge: float

    def play(self, x: NDArray[np.float32], c: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return positions 0..1, float64 (T, 32), from x (T, 6) and c (T,)."""
        made: NDArray[np.float64] = np.clip(_features(x, c, self.history) @ self.weights, 0.0, 1.0)
        return made


def _features(x: NDArray[np.float32], c: NDArray[np.float32], history: int) -> NDArray[np.float64]:
    joined = np.concatenate([np.zeros((history - 1, _GIVEN)), np.column_stack([x, c])])
    seen = np.lib.stride_tricks.sliding_window_view(joined, history, axis=0)  # (T, 7, history), the newest last
    rows = seen[:, :, ::-1].transpose(0, 2, 1).reshape(len(x), -1)
    return np.concatenate([rows, np.ones((len(x), 1))], 1)


class Sums(NamedTuple):
    """A recording's share of the normal equations: features' products, their products with all lanes, and frames."""

    gram: NDArray[np.float64]
    moments: NDArray[np.float64]
    frames: int


Known = dict[tuple[str, int, int], Sums]  # by recording's name, history and the lane whose frames count


def linear(training: Sequence[Recording], known: Known | None = None) -> LinearMap:
    """Return the least-squares map from the present frame; `known` keeps what other folds of the same data need too."""
    return _solve(training, 1, (1e-9,), known)[0]


def ridge(
    training: Sequence[Recording],
    testing: Sequence[Recording],
    ridges: Sequence[float] = RIDGES,
    known: Known | None = None,
) -> LinearMap:
    """Return the map from the last 60 frames with the penalty that does best on `testing`, what stops the nets too."""
    maps = _solve(training, HISTORY, ridges, known)
    return maps[int(np.argmin(errors(maps, testing)))]


def errors(maps: Sequence[LinearMap], recordings: Sequence[Recording]) -> NDArray[np.float64]:
    """Return the mean square error of each map over all targets that count; the maps look equally far back."""
    totals, count = np.zeros(len(maps)), 0.0
    for each in recordings:
        features = _features(each.x, each.c, maps[0].history)
        for k, fitted in enumerate(maps):
            made = np.clip(features @ fitted.weights, 0.0, 1.0)
            totals[k] += float(((made - each.p) ** 2 * each.p_mask).sum())
        count += float(each.p_mask.sum())
    return totals / max(count, 1.0)


def error(fitted: LinearMap, recordings: Sequence[Recording]) -> float:
    """Return the mean square error over all targets that count."""
    return float(errors([fitted], recordings)[0])


def _sums(each: Recording, history: int, lane: int) -> Sums:
    rows = np.flatnonzero(each.p_mask[:, lane])
    features = _features(each.x, each.c, history)[rows]
    return Sums(features.T @ features, features.T @ each.p[rows], len(rows))


def _solve(
    training: Sequence[Recording], history: int, ridges: Sequence[float], known: Known | None = None
) -> list[LinearMap]:
    # Lanes that count on the same frames share their normal equations.
    width = _GIVEN * history + 1
    lanes = np.unique(np.concatenate([each.p_mask for each in training]), axis=1, return_inverse=True)[1].ravel()
    found = np.zeros((len(ridges), width, OUTPUTS))
    for group in range(lanes.max() + 1):
        chosen = np.flatnonzero(lanes == group)
        gram, moments, frames = np.zeros((width, width)), np.zeros((width, len(chosen))), 0
        for each in training:
            key = (each.name, history, int(chosen[0]))
            share = known[key] if known is not None and key in known else _sums(each, history, key[2])
            if known is not None:
                known[key] = share
            gram += share.gram
            moments += share.moments[:, chosen]
            frames += share.frames
        # The constant is not pulled to 0.
        penalty = np.append(np.full(width - 1, np.trace(gram[:-1, :-1]) / (width - 1)), 0.0)
        for k, strength in enumerate(ridges):
            system = gram + np.diag(penalty * strength / history) + np.eye(width) * 1e-9 * max(frames, 1)
            found[k][:, chosen] = np.linalg.solve(system, moments)
    return [LinearMap(weights, history, strength) for weights, strength in zip(found, ridges, strict=True)]
