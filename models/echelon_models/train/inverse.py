"""The learned inverse of the probe phrase: from what is heard of it to the 32 positions that made it.

A network of two hidden layers is trained on renders of random settings (`settings.draw`); its answer is the median of
the positions that could have made such a sound, so a lane that cannot be heard comes out at its usual place.

    python -m echelon_models.train.inverse set.npz --count 6000 --workers 8          # renders, a tenth of a second each
    python -m echelon_models.train.inverse set.npz --train OUT.safetensors

Its weights, float16, lie beside this file and not with those of the engine's models: they never run on stage.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import nn

from echelon_engine.parameters import LANES
from echelon_models.train import listening, settings
from echelon_models.train.phrase import RATE_HZ, render

Array = NDArray[np.float32]

WEIGHTS = Path(__file__).with_name("probe_inverse.safetensors")
HIDDEN, DROPOUT = 128, 0.2
EPOCHS, BATCH, RATE = 60, 64, 2e-3
BALANCE_DB = 30.0  # full left or right counts as much as 30 dB
SOFTEST_DB = 3.0  # added to the deviation of a feature: what hardly varies is not blown up
# Frames of 171 ms of the finest resolution: attack, hold and end of the first note, second note, chord, tail.
PARTS = ((0, 2), (2, 5), (5, 7), (7, 9), (9, 11), (11, 15))


def features(sound: Array) -> Array:
    """Return what is heard of the probe phrase at 48 kHz, float32 (2902,): levels in dB and stereo balance.

    Envelopes of four wide bands every 21 ms, 32 mel bands every 85 ms, 224 bands of a 24th of an octave for each part
    of the phrase, and the balance of 14 bands every 171 ms.
    """
    fine, middle, long = (listening.powers(sound, each, RATE_HZ) for each in listening.RESOLUTIONS)
    balance = listening.balance(long)
    fine, middle, long = (listening.decibels(each.sum(0)) for each in (fine, middle, long))

    def pooled(level: Any, frames: int, bands: int, together: Any) -> Any:
        kept = len(level) // frames * frames
        power = (10.0 ** (level[:kept] / 10.0)).reshape(-1, frames, level.shape[1] // bands, bands)
        return 10.0 * np.log10(together(power))

    parts = [
        pooled(fine, 2, 5, lambda power: power.sum(3).mean(1)),
        pooled(middle, 4, 2, lambda power: power.mean((1, 3))),
        np.stack([10.0 * np.log10((10.0 ** (long[first:last] / 10.0)).mean(0)) for first, last in PARTS]),
        BALANCE_DB * balance,
    ]
    return np.concatenate([each.ravel() for each in parts]).astype(np.float32)


def network(inputs: int) -> nn.Sequential:
    """Return the untrained network, (batch, inputs) to logits of positions (batch, 32)."""
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, LANES),
    )  # fmt: skip


def estimate(sound: Array) -> NDArray[np.float64]:
    """Return the positions that most likely made a recording of the probe phrase, float32 (n, 2) at 48 kHz."""
    tensors = _load()
    x = (features(sound) - tensors["mean"]) / tensors["scale"]
    for layer in (0, 3, 6):
        x = tensors[f"{layer}.weight"] @ x + tensors[f"{layer}.bias"]
        x = np.asarray(nn.functional.gelu(torch.from_numpy(x)).numpy()) if layer < 6 else x
    return settings.ordered(1.0 / (1.0 + np.exp(-x.astype(np.float64))))


@lru_cache(maxsize=1)
def _load() -> dict[str, Array]:
    return {name: tensor.astype(np.float32) for name, tensor in load_file(WEIGHTS).items()}


def make(count: int, seed: int) -> tuple[Array, Array]:
    """Return positions float32 (count, 32) and features float32 (count, 2902) of renders of random settings."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    drawn = np.array([settings.draw(rng) for _ in range(count)])
    heard = np.array([features(render(each, settings.PROBE)) for each in drawn])
    return drawn.astype(np.float32), heard


def train(positions: Array, heard: Array, *, seed: int = 0, epochs: int = EPOCHS) -> tuple[dict[str, Array], Array]:
    """Train on 15 of 16 rows; return the tensors and the median error of each lane on the others, float32 (32,).

    The loss is the mean absolute error, whose best answer is the median. One seed gives one result.
    """
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training = np.arange(len(heard)) % 16 != 0
    mean, scale = heard[training].mean(0), heard[training].std(0) + SOFTEST_DB
    x = torch.from_numpy((heard - mean) / scale).to(device)
    y = torch.from_numpy(positions).to(device)
    rows = torch.from_numpy(np.flatnonzero(training)).to(device)
    net = network(heard.shape[1]).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.03)
    steps = epochs * (len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        chosen = rows[torch.randint(len(rows), (BATCH,), device=device)]
        loss = (torch.sigmoid(net(x[chosen])) - y[chosen]).abs().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % max(steps // 10, 1) == 0:
            print(f"inverse: step {step} of {steps}, error {loss.item():.4f}", flush=True)
    net.eval()
    with torch.no_grad():
        errors = (
            torch.sigmoid(net(x[~torch.from_numpy(training)])).cpu() - torch.from_numpy(positions[~training])
        ).abs()
    tensors = {name: tensor.cpu().numpy().astype(np.float16) for name, tensor in net.state_dict().items()}
    tensors |= {"mean": mean.astype(np.float16), "scale": scale.astype(np.float16)}
    return tensors, errors.median(0).values.numpy()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="renders: positions and features")
    parser.add_argument("--count", type=int, default=0, help="make so many renders and write them")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", type=Path, metavar="OUT.safetensors")
    chosen = parser.parse_args()
    if chosen.count:
        each = -(-chosen.count // chosen.workers)
        with ProcessPoolExecutor(chosen.workers) as pool:
            seeds = range(1000 * chosen.seed, 1000 * chosen.seed + chosen.workers)
            parts = list(pool.map(make, [each] * chosen.workers, seeds))
        positions, heard = (np.concatenate(found) for found in zip(*parts, strict=True))
        np.savez(chosen.set, positions=positions, features=heard.astype(np.float16))
    if chosen.train:
        with np.load(chosen.set) as found:
            tensors, errors = train(found["positions"], found["features"].astype(np.float32))
        save_file(tensors, chosen.train)
        print(f"{chosen.train}: median error, mean over lanes {100 * float(errors.mean()):.1f} %")


if __name__ == "__main__":
    _main()
