"""DELL gated in torch, unrolled exactly as the engine runs it, many independent models side by side.

Every parameter has a leading dimension S: seeds, folds or time constants trained in one go; S = 1 is the ordinary case.
Sequences are time-major, (T, S, B, ..). The unroll has its own backward pass: what a frame costs are the products that
carry the state, the gradients of all weights are one product over all frames afterwards, and the slow network runs on
its own frames only. Source: spec/equilibrium.md, "DELL gated".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

INPUTS, WIDTH, HIDDEN, OUTPUTS = 6, 128, 256, 32
LIMIT = 10.0
FRAME_RATE = 60
JOINED = INPUTS + 1 + WIDTH  # u = [x; c; z]

SHAPES: dict[str, tuple[int, ...]] = {
    "W_f1": (JOINED, HIDDEN), "b_f1": (HIDDEN,), "W_f2": (HIDDEN, WIDTH), "b_f2": (WIDTH,),
    "W_s1": (JOINED, HIDDEN), "b_s1": (HIDDEN,), "W_s2": (HIDDEN, WIDTH), "b_s2": (WIDTH,),
    "W_g": (2 * WIDTH, WIDTH), "b_g": (WIDTH,), "W_y": (WIDTH + 1, OUTPUTS), "b_y": (OUTPUTS,),
}  # fmt: skip


class Run(NamedTuple):
    """What a stack of models made of a batch: y (T, S, B, 32) before the sigmoid, and the two states before their clip.

    `fast`, `slow`: (T, S, B, 128), None for models without such states. `gate`, `z`: (T, S, B, 128), no gradient.
    """

    y: Tensor
    fast: Tensor | None = None
    slow: Tensor | None = None
    gate: Tensor | None = None
    z: Tensor | None = None


class Times(NamedTuple):
    """Time constants of the models of a stack, in seconds; how they become steps is the engine's rule."""

    tau_fast: tuple[float, ...]
    tau_slow: tuple[float, ...]

    @property
    def a_fast(self) -> tuple[float, ...]:
        """Return dt / tau_fast of each model, at most 1."""
        return tuple(min(1.0, 1 / (FRAME_RATE * tau)) for tau in self.tau_fast)

    @property
    def a_slow(self) -> tuple[float, ...]:
        """Return dt / tau_slow of each model, at most 1."""
        return tuple(min(1.0, 1 / (FRAME_RATE * tau)) for tau in self.tau_slow)

    @property
    def slow_every(self) -> tuple[int, ...]:
        """Return the frames between two evaluations of the slow network of each model."""
        return tuple(max(1, round(FRAME_RATE * tau)) for tau in self.tau_slow)


class Plan(NamedTuple):
    """The time constants as the unroll of a number of frames reads them: on the models' device, so made only once."""

    a_fast: Tensor  # (S, 1, 1)
    a_slow: Tensor
    at_once: bool  # every a_fast is 1: h_fast carries nothing
    asked: tuple[int, ...]  # frames on which the slow network of any model runs
    rows: Tensor  # the same as indices
    due: tuple[Tensor | None, ...]  # for each of them which models (S, 1, 1); None: all


def plan(times: Times, frames: int, like: Tensor) -> Plan:
    """Return the plan of `frames` frames, with numbers of the dtype and on the device of `like`."""

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)

    due = [[n % every == 0 for every in times.slow_every] for n in range(frames)]
    asked = tuple(n for n in range(frames) if any(due[n]))
    chosen = tuple(None if all(due[n]) else column(due[n]) != 0 for n in asked)
    rows = torch.tensor(asked, dtype=torch.long, device=like.device)
    return Plan(column(times.a_fast), column(times.a_slow), min(times.a_fast) == 1.0, asked, rows, chosen)


def xavier(seeds: Sequence[int], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return stacked float32 parameters (S, ..): Xavier-uniform matrices, zero vectors; a seed gives one start."""
    made: dict[str, list[NDArray[np.float32]]] = {name: [] for name in shapes}
    for seed in seeds:
        rng = np.random.default_rng([seed, 0])
        for name, shape in shapes.items():
            bound = (6 / sum(shape)) ** 0.5 if len(shape) == 2 else 0.0
            made[name].append(rng.uniform(-bound, bound, shape).astype(np.float32))
    return {name: torch.from_numpy(np.stack(values)) for name, values in made.items()}


class Stacked(nn.Module):
    """A stack of S independent models: parameters of shape (S, ..) under the names of `shapes`."""

    clipped = False  # whether states are clipped, and have to be kept off the clip

    def __init__(self, seeds: Sequence[int], shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.seeds = tuple(int(seed) for seed in seeds)
        for name, values in xavier(self.seeds, shapes).items():
            self.register_parameter(name, nn.Parameter(values))

    @property
    def size(self) -> int:
        """Return S."""
        return len(self.seeds)

    def set_rest(self, y: Tensor) -> None:
        """Start at a resting output; y (S, 32) before the sigmoid. Learning begins from the mean of the targets."""
        with torch.no_grad():
            self.get_parameter("b_y").copy_(y)

    def tensors(self, index: int = 0) -> dict[str, NDArray[np.float32]]:
        """Return one model's parameters as float32 arrays under the names of the format."""
        return {name: value[index].detach().cpu().numpy().copy() for name, value in self.named_parameters()}

    def load(self, tensors: Mapping[str, NDArray[np.float32]], index: int = 0) -> None:
        """Put one model's arrays at a place of the stack."""
        with torch.no_grad():
            for name, value in self.named_parameters():
                value[index].copy_(torch.from_numpy(np.array(tensors[name])))

    def forward(self, x: Tensor, c: Tensor, pull: Tensor) -> Run:
        """Run the stack from zero states over x (T, S, B, 6), c and pull (T, S, B)."""
        raise NotImplementedError

    def play(self, x: NDArray[np.float32], c: NDArray[np.float32], pull: NDArray[np.float32]) -> Run:
        """Run every model over one recording from its first frame: x (T, 6), c and pull (T,); B is 1 in the result."""
        device = next(self.parameters()).device
        rows = [torch.from_numpy(np.array(each, np.float32)).to(device) for each in (x, c, pull)]
        with torch.no_grad():
            return self.forward(*(each[:, None, None].expand(-1, self.size, 1, *each.shape[1:]) for each in rows))


class Gated(Stacked):
    """DELL gated: x (T, S, B, 6) within -1..1, c and the gate's pull b (T, S, B) within 0..1, states start at 0."""

    clipped = True

    def __init__(
        self, seeds: Sequence[int], tau_fast: Sequence[float] = (1 / 60,), tau_slow: Sequence[float] = (0.4,)
    ) -> None:
        """Make one model a seed; one time constant serves all, or there is one for each."""
        super().__init__(seeds, SHAPES)
        spread = [tuple(taus) * (self.size if len(taus) == 1 else 1) for taus in (tau_fast, tau_slow)]
        if any(len(taus) != self.size for taus in spread):
            raise ValueError(
                f"{len(tau_fast)} tau_fast and {len(tau_slow)} tau_slow for {self.size} models: "
                "one for all or one for each; repeat them"
            )
        self.times = Times(*spread)
        self._plans: dict[tuple[int, torch.dtype, torch.device], Plan] = {}

    def forward(self, x: Tensor, c: Tensor, pull: Tensor) -> Run:
        """Run the stack from zero states; see the class."""
        weights = [self.get_parameter(name) for name in SHAPES]
        joined = torch.cat([x, c.unsqueeze(-1)], -1)
        key = (len(x), x.dtype, x.device)
        if key not in self._plans:
            self._plans[key] = plan(self.times, len(x), x)
        unroll: Any = _Unroll.apply
        return Run(*unroll(joined, pull.unsqueeze(-1), self._plans[key], *weights))


def _by_model(values: Tensor) -> Tensor:
    # (T, S, B, C) -> (S, T B, C): all frames of a model as rows of one product.
    return values.transpose(0, 1).reshape(values.shape[1], -1, values.shape[3])


class _Unroll(torch.autograd.Function):
    """All frames of all models, forward and backward; the formulas are those of spec/equilibrium.md."""

    @staticmethod
    def forward(ctx: Any, joined: Tensor, pull: Tensor, plan: Plan, *weights: Tensor) -> tuple[Tensor, ...]:
        w_f1, b_f1, w_f2, b_f2, w_s1, b_s1, w_s2, b_s2, w_g, b_g, w_y, b_y = weights
        frames, models, batch, given = joined.shape
        b_f1, b_f2, b_s1, b_s2, b_g = (b.unsqueeze(1) for b in (b_f1, b_f2, b_s1, b_s2, b_g))
        u = joined.new_empty(frames + 1, models, batch, JOINED)  # row n + 1 receives the z of frame n
        u[:-1, ..., :given] = joined
        u[0, ..., given:] = 0
        pair = joined.new_empty(frames, models, batch, 2 * WIDTH)  # [h_fast; h_slow], clipped
        hidden = joined.new_empty(frames, models, batch, HIDDEN)
        hidden_slow = joined.new_empty(len(plan.asked), models, batch, HIDDEN)
        fast, slow, sigma, gate = (joined.new_empty(frames, models, batch, WIDTH) for _ in range(4))
        target = joined.new_zeros(models, batch, WIDTH)
        fresh = joined.new_empty(models, batch, WIDTH)
        h_fast = h_slow = joined.new_zeros(models, batch, WIDTH)
        one = joined.new_ones(())
        k = 0
        for n in range(frames):
            if k < len(plan.asked) and n == plan.asked[k]:
                torch.baddbmm(b_s1, u[n], w_s1, out=hidden_slow[k]).relu_()
                new, due = torch.baddbmm(b_s2, hidden_slow[k], w_s2), plan.due[k]
                target = new if due is None else torch.where(due, new, target)
                k += 1
            torch.baddbmm(b_f1, u[n], w_f1, out=hidden[n]).relu_()
            if plan.at_once:
                torch.baddbmm(b_f2, hidden[n], w_f2, out=fast[n])
            else:
                torch.baddbmm(b_f2, hidden[n], w_f2, out=fresh)
                torch.lerp(h_fast, fresh, plan.a_fast, out=fast[n])
            torch.lerp(h_slow, target, plan.a_slow, out=slow[n])
            h_fast, h_slow = pair[n, ..., :WIDTH], pair[n, ..., WIDTH:]
            torch.clamp(fast[n], -LIMIT, LIMIT, out=h_fast)
            torch.clamp(slow[n], -LIMIT, LIMIT, out=h_slow)
            torch.baddbmm(b_g, pair[n], w_g, out=sigma[n]).sigmoid_()
            # g <- b + (1 - b) g;  z = g h_fast + (1 - g) h_slow, within the clip as both states are
            torch.lerp(sigma[n], one, pull[n], out=gate[n])
            torch.lerp(h_slow, h_fast, gate[n], out=u[n + 1, ..., given:])
        z = u[1:, ..., given:]
        readout = torch.cat([z, joined[..., given - 1 :]], -1)
        rows = torch.baddbmm(b_y.unsqueeze(1), _by_model(readout), w_y)
        y = rows.view(models, frames, batch, OUTPUTS).transpose(0, 1).contiguous()
        z = z.contiguous()
        ctx.save_for_backward(u, pair, hidden, hidden_slow, fast, slow, sigma, gate, readout, pull, *weights)
        ctx.plan = plan
        ctx.mark_non_differentiable(gate, z)
        return y, fast, slow, gate, z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g_y, g_fast, g_slow = gradients[:3]
        u, pair, hidden, hidden_slow, fast, slow, sigma, gate, readout, pull, *weights = ctx.saved_tensors
        w_f1, _, w_f2, _, w_s1, _, w_s2, _, w_g, _, w_y, _ = weights
        frames, models, batch, _ = fast.shape
        given = INPUTS + 1
        a_fast, a_slow, at_once, asked, chosen_rows, chosen = ctx.plan
        back = [w.transpose(1, 2).contiguous() for w in (w_f1[:, given:], w_f2, w_s1[:, given:], w_s2, w_g)]
        f1_back, f2_back, s1_back, s2_back, g_back = back

        rows_y = _by_model(g_y)
        g_z = torch.bmm(rows_y, w_y[:, :WIDTH].transpose(1, 2)).view(models, frames, batch, WIDTH).transpose(0, 1)
        g_z = g_z.contiguous()
        # What dz makes of the gate's input, and of both states, for all frames at once.
        to_gate = (pair[..., :WIDTH] - pair[..., WIDTH:]) * (1 - pull) * sigma * (1 - sigma)
        shares = torch.stack([gate, 1 - gate], 3)
        inside = torch.stack([fast, slow], 3).abs_().le_(LIMIT)
        given_back = torch.stack([g_fast, g_slow], 3)

        d_gate = torch.empty_like(fast)
        d_fresh = torch.empty_like(fast)
        d_hidden, d_hidden_slow = torch.empty_like(hidden), torch.empty_like(hidden_slow)
        d_targets = fast.new_empty(len(hidden_slow), models, batch, WIDTH)
        d_target = fast.new_zeros(models, batch, WIDTH)
        d_pair = fast.new_empty(models, batch, 2, WIDTH)
        flat = d_pair.view(models, batch, 2 * WIDTH)
        carry_fast, carry_slow = fast.new_zeros(models, batch, WIDTH), fast.new_zeros(models, batch, WIDTH)
        k = len(hidden_slow)
        for n in reversed(range(frames)):
            d_z = g_z[n]
            torch.mul(d_z, to_gate[n], out=d_gate[n])
            torch.mul(d_z.unsqueeze(2), shares[n], out=d_pair)
            d_pair[:, :, 1].add_(carry_slow)
            if not at_once:
                d_pair[:, :, 0].add_(carry_fast)
            flat.baddbmm_(d_gate[n], g_back)
            # The clip passes a gradient inside only; the losses read the states before it.
            d_states = torch.addcmul(given_back[n], d_pair, inside[n])
            d_slow = d_states[:, :, 1]
            if at_once:
                d_fresh[n] = d_states[:, :, 0]
            else:
                torch.mul(d_states[:, :, 0], a_fast, out=d_fresh[n])
                torch.mul(d_states[:, :, 0], 1 - a_fast, out=carry_fast)
            torch.mul(d_slow, 1 - a_slow, out=carry_slow)
            d_target.addcmul_(d_slow, a_slow)
            torch.bmm(d_fresh[n], f2_back, out=d_hidden[n])
            d_hidden[n].mul_(hidden[n] > 0)
            if n:
                g_z[n - 1].baddbmm_(d_hidden[n], f1_back)
            if n == asked[k - 1]:
                k -= 1
                due = chosen[k]
                if due is None:
                    d_targets[k] = d_target
                    d_target.zero_()
                else:
                    torch.mul(d_target, due, out=d_targets[k])
                    d_target.mul_(~due)
                torch.bmm(d_targets[k], s2_back, out=d_hidden_slow[k])
                d_hidden_slow[k].mul_(hidden_slow[k] > 0)
                if n:
                    g_z[n - 1].baddbmm_(d_hidden_slow[k], s1_back)

        products = (
            (u[:-1], d_hidden), (hidden, d_fresh), (u.index_select(0, chosen_rows), d_hidden_slow),
            (hidden_slow, d_targets), (pair, d_gate), (readout, g_y),
        )  # fmt: skip
        found: list[Tensor] = []
        for left, right in products:
            rows = _by_model(right)
            found += [torch.bmm(_by_model(left).transpose(1, 2), rows), rows.sum(1)]
        g_joined = None
        if ctx.needs_input_grad[0]:  # not in training: whoever looks for the worst input asks for it
            g_joined = torch.matmul(d_hidden, w_f1[:, :given].transpose(1, 2))
            g_joined[chosen_rows] += torch.matmul(d_hidden_slow, w_s1[:, :given].transpose(1, 2))
            g_joined[..., -1:] += torch.matmul(g_y, w_y[:, WIDTH:].transpose(1, 2))
        return (g_joined, None, None, *found)
