"""Makes renders of random settings and trains the networks of the probe phrase on them: the inverse, then the judge.

    python -m echelon_models.train.inverse_training INVERSE.safetensors JUDGE.safetensors --count 80000 --workers 16

A render takes a twentieth of a second of one core. What the networks hear is computed, and kept in half precision,
where they are trained: on a GPU if there is one. The inverse learns from three quarters of the renders, the judge from
the rest: there the inverse is as unsure as it is of a sound that nobody has trained it on. One in 32 of the former and
the last 256 renders are kept to see how well they do.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from echelon_engine.parameters import PARAMETERS
from echelon_models.train import ratio_judge, ratio_judge_training, settings
from echelon_models.train.inverse import Inverse, Pictures, pictures, quantile, shared
from echelon_models.train.phrase import render

TOGETHER = 64  # renders of one task
BATCH, RATE, DECAY = 512, 2e-3, 0.02
EPOCHS = 30
JUDGED = 32  # one in so many
KEPT = 256  # of which the judge has heard nothing


def draw(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return positions float32 (64, 32) and renders float32 (64, n, 2) of random settings."""
    rng = np.random.default_rng(seed)
    drawn = np.array([settings.draw(rng) for _ in range(TOGETHER)])
    return drawn.astype(np.float32), np.array([render(each, settings.PROBE) for each in drawn])


def make(count: int, workers: int, seed: int, device: str) -> tuple[Tensor, Pictures, Tensor]:
    """Return positions float32 (count, 32), pictures and the judge's lines, float16, of renders, all on `device`."""
    tasks = range(seed * 1_000_000, seed * 1_000_000 + -(-count // TOGETHER))
    positions, heard, lines = [], [], []
    began = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        for number, (drawn, sound) in enumerate(_in_turn(pool, tasks, 2 * workers), 1):
            there = torch.from_numpy(sound).to(device)
            positions.append(torch.from_numpy(drawn).to(device))
            heard.append([each.half() for each in pictures(there)])
            lines.append(ratio_judge.lines(there).half())
            if number % 50 == 0:
                print(f"{number * TOGETHER} renders, {time.perf_counter() - began:.0f} s", flush=True)
    together = Pictures(*(torch.cat(each) for each in zip(*heard, strict=True)))
    return torch.cat(positions), together, torch.cat(lines)


def _in_turn(pool: ProcessPoolExecutor, tasks: range, ahead: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield what `draw` returns for each task; only so many are made ahead, since each takes 63 MB."""
    coming: deque[Future[tuple[NDArray[Any], NDArray[Any]]]] = deque()
    for task in tasks:
        coming.append(pool.submit(draw, task))
        if len(coming) > ahead:
            yield coming.popleft().result()
    while coming:
        yield coming.popleft().result()


def _batches(rows: Tensor, heard: Pictures) -> Iterator[tuple[Tensor, Pictures]]:
    shuffled = rows[torch.randperm(len(rows), device=rows.device)]
    for chosen in torch.split(shuffled, BATCH):
        if len(chosen) == BATCH or len(chosen) == len(rows):
            yield chosen, _of(heard, chosen)


def _of(heard: Pictures, rows: Tensor) -> Pictures:
    return Pictures(*(each[rows].float() for each in heard))


def train(positions: Tensor, heard: Pictures, *, epochs: int = EPOCHS, seed: int = 0) -> tuple[Inverse, Tensor]:
    """Return the trained network and its errors on the renders kept to judge by, float32 (renders, 32).

    Loss: cross-entropy between the distribution and the part of the range that was played, shared between the two
    nearest parts. One seed gives one network.
    """
    torch.manual_seed(seed)
    device = positions.device
    rows = torch.arange(len(positions), device=device)
    judged, trained = rows[rows % JUDGED == 0], rows[rows % JUDGED != 0]
    net = Inverse().to(device)
    net(_of(heard, judged[:2]))
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    steps = epochs * max(len(trained) // BATCH, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for epoch in range(epochs):
        net.train()
        losses = []
        for chosen, batch in _batches(trained, heard):
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = net(batch)
            loss = -(shared(positions[chosen]) * logits.float().log_softmax(-1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        errors = _errors(net, positions, heard, judged)
        medians = 100 * errors.median(0).values
        print(
            f"epoch {epoch + 1} of {epochs}: loss {torch.stack(losses).mean().item():.4f}, median error "
            f"{medians.mean().item():.2f} %, {int((medians <= 10).sum())} lanes within 10 %",
            flush=True,
        )
    return net, errors


@torch.inference_mode()
def _errors(net: Inverse, positions: Tensor, heard: Pictures, rows: Tensor) -> Tensor:
    net.eval()
    found = torch.cat([quantile(net(_of(heard, chosen)), 0.5) for chosen in torch.split(rows, 1024)])
    return (found - positions[rows]).abs()


@torch.inference_mode()
def _logits(net: Inverse, heard: Pictures, rows: Tensor) -> Tensor:
    net.eval()
    return torch.cat([net(_of(heard, chosen)) for chosen in torch.split(rows, 1024)])


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inverse", type=Path, metavar="INVERSE.safetensors")
    parser.add_argument("judge", type=Path, metavar="JUDGE.safetensors")
    parser.add_argument("--count", type=int, default=80000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the inverse")
    parser.add_argument("--steps", type=int, default=ratio_judge_training.STEPS, help="of the judge")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    draw(0)  # compiles once, for all workers
    device = "cuda" if torch.cuda.is_available() else "cpu"
    positions, heard, lines = make(chosen.count, chosen.workers, chosen.seed, device)
    kept = min(KEPT, len(positions) // 8)
    rows, test = torch.split(torch.arange(len(positions), device=device), [len(positions) - kept, kept])
    first, rest = rows[rows % 4 != 0], rows[rows % 4 == 0]

    net, errors = train(positions[first], Pictures(*(each[first] for each in heard)), epochs=chosen.epochs)
    _save(net, chosen.inverse)
    for parameter, error in zip(PARAMETERS, 100 * errors.median(0).values, strict=True):
        print(f"{parameter.name:<18}{error.item():6.1f} %")

    told = ratio_judge_training.told(_logits(net, heard, rest))
    judge = ratio_judge_training.train(positions[rest], lines[rest], told, steps=chosen.steps)
    _save(judge, chosen.judge)
    told = ratio_judge_training.told(_logits(net, heard, test))
    print(ratio_judge_training.report(judge, positions[test], lines[test], told))


def _save(net: nn.Module, path: Path) -> None:
    save_file({name: tensor.half().cpu().contiguous() for name, tensor in net.state_dict().items()}, path)


if __name__ == "__main__":
    _main()
