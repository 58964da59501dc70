"""Makes renders of random settings and trains the learned inverse on them.

    python -m echelon_models.train.inverse_training OUT.safetensors --count 80000 --workers 16 --epochs 30

A render takes a twentieth of a second of one core. Pictures are computed, and kept in half precision, where the
network is trained: on a GPU if there is one. One in 32 renders is kept to judge by.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from echelon_engine.parameters import PARAMETERS
from echelon_models.train import settings
from echelon_models.train.inverse import PARTS, Inverse, Pictures, pictures, quantile
from echelon_models.train.phrase import render

TOGETHER = 64  # renders of one task
BATCH, RATE, DECAY = 512, 2e-3, 0.02
EPOCHS = 30
JUDGED = 32  # one in so many


def draw(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return positions float32 (64, 32) and renders float32 (64, n, 2) of random settings."""
    rng = np.random.default_rng(seed)
    drawn = np.array([settings.draw(rng) for _ in range(TOGETHER)])
    return drawn.astype(np.float32), np.array([render(each, settings.PROBE) for each in drawn])


def make(count: int, workers: int, seed: int, device: str) -> tuple[Tensor, Pictures]:
    """Return positions float32 (count, 32) and pictures float16 of renders, both on `device`."""
    tasks = range(seed * 1_000_000, seed * 1_000_000 + -(-count // TOGETHER))
    positions, heard = [], []
    began = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        for number, (drawn, sound) in enumerate(pool.map(draw, tasks), 1):
            positions.append(torch.from_numpy(drawn).to(device))
            heard.append([each.half() for each in pictures(torch.from_numpy(sound).to(device))])
            if number % 50 == 0:
                print(f"{number * TOGETHER} renders, {time.perf_counter() - began:.0f} s", flush=True)
    return torch.cat(positions), Pictures(*(torch.cat(each) for each in zip(*heard, strict=True)))


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
            loss = -(_shared(positions[chosen]) * logits.float().log_softmax(-1)).sum(-1).mean()
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


def _shared(position: Tensor) -> Tensor:
    """Return positions (..., 32) as weights of the nearest two parts of the range, (..., 32, `PARTS`)."""
    middles = (torch.arange(PARTS, device=position.device) + 0.5) / PARTS
    return (1.0 - PARTS * (position[..., None].clamp(middles[0], middles[-1]) - middles).abs()).clamp_min(0.0)


@torch.inference_mode()
def _errors(net: Inverse, positions: Tensor, heard: Pictures, rows: Tensor) -> Tensor:
    net.eval()
    found = torch.cat([quantile(net(_of(heard, chosen)), 0.5) for chosen in torch.split(rows, 1024)])
    return (found - positions[rows]).abs()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--count", type=int, default=80000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    draw(0)  # compiles once, for all workers
    device = "cuda" if torch.cuda.is_available() else "cpu"
    positions, heard = make(chosen.count, chosen.workers, chosen.seed, device)
    net, errors = train(positions, heard, epochs=chosen.epochs)
    save_file({name: tensor.half().cpu() for name, tensor in net.state_dict().items()}, chosen.out)
    for parameter, error in zip(PARAMETERS, 100 * errors.median(0).values, strict=True):
        print(f"{parameter.name:<18}{error.item():6.1f} %")


if __name__ == "__main__":
    _main()
