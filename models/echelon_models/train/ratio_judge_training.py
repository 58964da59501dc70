"""Trains the judge of ratios on renders of random settings: right pairs against wrong ones that look like them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echelon_models.train import ratio_judge
from echelon_models.train.inverse import quantile, shared
from echelon_models.train.ratio_judge import Judge, ratio

STEPS, BATCH, RATE, DECAY = 24_000, 128, 2e-3, 0.02
MINED_OF, MINED, OTHERS = 1024, 128, 128  # wrong pairs: made, the likeliest of them, others
INDEX_WEIGHT = 0.3
NEAR = 0.004  # candidates nearer than this to a pair that was played are neither right nor wrong
JITTER = 0.0004  # how far a candidate that is meant to be right may be off: the grid of candidates is as fine
FACTORS, TIMES = (0.5, 2.0, 1.0 / 3.0, 3.0, 2.0 / 3.0, 1.5), (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
NEVER = -1e9
SAID = 500  # steps between two lines


def told(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the judge is told of the inverse's logits (batch, 32, parts)."""
    median, low, high = (quantile(logits, share) for share in (0.5, 1 / 6, 5 / 6))
    return ratio_judge.context(median, (high - low) / 2.0, logits.softmax(-1))


def _position(value: Tensor) -> Tensor:
    return (value.clamp_min(1e-3).log2() + 2.0) / 6.0


def wrong(truth: Tensor, count: int) -> Tensor:
    """Return pairs (batch, count, 2) that are random, or share something with those that were played.

    One ratio, an octave or fifth of it, the sum or difference of both, a neighbour, a ratio of the other pair.
    """
    batch, device = len(truth), truth.device
    pairs = truth[:, :4].reshape(batch, 2, 2)
    which = torch.randint(2, (batch, count), device=device)
    row = torch.arange(batch, device=device)[:, None]
    (m, c), (other_m, other_c) = pairs[row, which].unbind(2), pairs[row, 1 - which].unbind(2)
    any_m, any_c = torch.rand(2, batch, count, device=device)
    near_m, near_c = 0.012 * torch.randn(2, batch, count, device=device)
    factor, times = (
        torch.tensor(each, device=device)[torch.randint(6, (batch, count), device=device)] for each in (FACTORS, TIMES)
    )
    beside = _position((ratio(c) + times * ratio(m)).abs())
    kinds = (
        (any_m, any_c), (any_m, any_c), (any_m, c), (m, any_c), (other_m, c), (m, other_c), (c, m),
        (_position(ratio(m) * factor), c), (m, _position(ratio(c) * factor)), (m, beside), (beside, c),
        (m + near_m, c + near_c),
    )  # fmt: skip
    kind = torch.randint(len(kinds), (batch, count), device=device)
    modulators, carriers = (torch.stack(each, 2).gather(2, kind[..., None]) for each in zip(*kinds, strict=True))
    return _jittered(torch.cat((modulators, carriers), 2))


def _jittered(candidates: Tensor) -> Tensor:
    return candidates + JITTER * (2.0 * torch.rand_like(candidates) - 1.0)


def _barred(candidates: Tensor, truth: Tensor) -> Tensor:
    """Return which candidates are not wrong, or no candidates: near to a pair that was played, or out of range."""
    pairs = truth[:, :4].reshape(-1, 1, 2, 2)
    near = ((candidates[:, :, None] - pairs).abs().amax(3) < NEAR).any(2)
    return near | (candidates < 0.0).any(2) | (candidates > 1.0).any(2)


def train(truth: Tensor, seen: Tensor, told: tuple[Tensor, Tensor], *, steps: int = STEPS, seed: int = 0) -> Judge:
    """Return the trained judge.

    `truth` (n, 32) positions, `seen` (n, 4, bins) their `ratio_judge.lines`, `told` what the inverse says of them.
    Loss: for each pair that was played, the cross-entropy of its choice among wrong ones, half of them those that the
    judge holds likeliest of a thousand; and that of its indices' parts. One seed gives one network.
    """
    torch.manual_seed(seed)
    device = truth.device
    net = Judge().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.025)
    sums = torch.zeros(2, device=device)
    for step in range(1, steps + 1):
        rows = torch.randint(len(truth), (BATCH,), device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            losses = _losses(net, truth[rows], ratio_judge.smeared(seen[rows].float()), [each[rows] for each in told])
        loss = losses[0] + INDEX_WEIGHT * losses[1]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        sums += losses.detach()
        if step % SAID == 0:
            ranking, indices = (sums / SAID).tolist()
            print(f"step {step} of {steps}: ranking {ranking:.4f}, indices {indices:.4f}", flush=True)
            sums.zero_()
    return net.eval()


def _losses(net: Judge, truth: Tensor, picture: Tensor, told: Sequence[Tensor]) -> Tensor:
    """Return the losses of ranking and of indices, (2,), for a batch."""
    batch = len(truth)
    offered = wrong(truth, MINED_OF)
    barred = _barred(offered, truth)
    with torch.no_grad():
        net.eval()
        scores = net(picture, *told, offered.clamp(0.0, 1.0))[0].float().masked_fill(barred, NEVER)
    others = torch.arange(OTHERS, device=truth.device).expand(batch, -1)
    chosen = torch.cat((scores.topk(MINED, 1).indices, others), 1)
    offered = offered.gather(1, chosen[..., None].expand(-1, -1, 2))
    right = _jittered(truth[:, :4].reshape(batch, 2, 2))
    net.train()
    scores, indices = net(picture, *told, torch.cat((right, offered), 1).clamp(0.0, 1.0))
    against = scores[:, 2:].float().masked_fill(barred.gather(1, chosen), NEVER)
    # one more that always scores 0, so that scores of different sounds mean the same
    against = nn.functional.pad(against, (0, 1)).logsumexp(1, keepdim=True)
    ranking = torch.logaddexp(scores[:, :2].float(), against) - scores[:, :2]
    # lanes 4 and 5 are modulator and carrier of one pair, 6 and 7 of the other
    parts = shared(truth[:, 4:8].reshape(batch, 2, 2))
    return torch.stack((ranking.mean(), -(parts * indices[:, :2].float().log_softmax(-1)).sum(-1).mean()))


@torch.inference_mode()
def report(net: Judge, truth: Tensor, seen: Tensor, told: tuple[Tensor, Tensor]) -> str:
    """Return how high the pairs that were played stand among the peaks of the grid, and how far the best two err."""
    axis = torch.linspace(0.0, 1.0, ratio_judge.GRID, device=truth.device)
    ranks, errors = [], []
    for k in range(len(truth)):
        picture, context = ratio_judge.smeared(seen[k : k + 1].float()), [each[k : k + 1] for each in told]
        score = torch.cat(
            [net(picture, *context, torch.cartesian_prod(some, axis)[None])[0] for some in torch.split(axis, 64)], 1
        ).reshape(len(axis), -1)
        peaks = axis[ratio_judge.peaks(score)]
        played = truth[k, :4].reshape(2, 2)
        near = ((peaks[:, None] - played).abs().amax(2) < NEAR).float()
        ranks.append(torch.where(near.any(0), near.argmax(0), len(peaks)))
        best = peaks[:2][peaks[:2, 1].argsort()]
        errors.append((best - played).abs().reshape(-1))
    rank = torch.stack(ranks)
    shares = ", ".join(f"{n}: {100 * (rank < n).float().mean().item():.0f} %" for n in (1, 2, 5, 10, 40, 1000))
    medians = ", ".join(f"{100 * each:.1f} %" for each in torch.stack(errors).median(0).values.tolist())
    return f"pairs that were played among the first n, {shares}; median error of the best two's ratios: {medians}"
