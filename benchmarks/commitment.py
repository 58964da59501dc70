"""How well commitment and tempo do what spec/equilibrium.md asks of them: `python benchmarks/commitment.py`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels.commitment import COMMITMENT, step

RATE_HZ = 60
SECOND = RATE_HZ
SHAPES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "cosine": lambda x: 0.5 + 0.5 * np.cos(x),
    "cosine on a pedestal": lambda x: 0.7 + 0.3 * np.cos(x),
    "|sine|": lambda x: np.abs(np.cos(x / 2)),
    "triangle": lambda x: np.abs((x / np.pi) % 2 - 1),
    "peaks": lambda x: np.exp(4 * (np.cos(x) - 1)),
}
TEMPI_BPM = (40, 43, 48, 55, 60, 72, 80, 90, 100, 120, 133, 150, 165, 180)
AMPLITUDES_MPS = (0.2, 1.0, 4.0)


@kernel
def _play(out: NDArray[np.float32], state: Any, energy: NDArray[np.float64]) -> None:
    for i in range(energy.shape[0]):
        step(state, energy[i], True)
        out[i, 0] = state.c
        out[i, 1] = state.internal_tempo_bpm


def follow(energy: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return c and tempo (beats a minute) of every control frame of an energy (m/s)."""
    out = np.zeros((len(energy), 2), np.float32)
    _play(out, np.zeros(1, COMMITMENT)[0], np.ascontiguousarray(energy, np.float64))
    return out[:, 0], out[:, 1]


def beats(bpm: Any, phase: float = 0.0) -> NDArray[np.float64]:
    """Return the phase (rad) of every control frame for a tempo per control frame."""
    return 2 * np.pi * (np.cumsum(bpm) / 60 / RATE_HZ + phase)


def _sweep(noise: float) -> dict[str, float]:
    random = np.random.default_rng(1)
    commitments, errors = [], []
    for shape in SHAPES.values():
        for bpm in TEMPI_BPM:
            for amplitude in AMPLITUDES_MPS:
                for phase in (random.random(), random.random()):
                    wave = shape(beats(np.full(8 * SECOND, bpm), phase))
                    energy = np.abs(amplitude * (wave + noise * random.standard_normal(len(wave))))
                    c, tempo = follow(energy)
                    commitments.append(c[4 * SECOND :].min())
                    errors.append(np.abs(tempo[4 * SECOND :] / bpm - 1).max())
    return {
        "runs": len(errors),
        "c_lowest": float(min(commitments)),
        "tempo_error_p50": float(np.median(errors)),
        "tempo_error_p99": float(np.quantile(errors, 0.99)),
        "tempo_error_largest": float(max(errors)),
        "share_within_2_percent": float(np.mean(np.array(errors) <= 0.02)),
    }


def _changes() -> dict[str, float]:
    found = {}
    for before, after in ((90, 120), (120, 90), (60, 150), (150, 60), (100, 110)):
        worst = 0.0
        for shape in SHAPES.values():
            for phase in (0.0, 0.3, 0.7):
                tempo = np.repeat((before, after), 8 * SECOND)
                worst = max(worst, abs(float(follow(shape(beats(tempo, phase)))[1][12 * SECOND]) / after - 1))
        found[f"{before}->{after}"] = worst
    return found


def _spikes() -> dict[str, float]:
    found = {}
    rise = np.minimum(np.arange(SECOND) / (0.4 * SECOND), 1.0)
    bell = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SECOND) / (0.8 * SECOND))
    for name, gesture in (("step", np.ones(SECOND)), ("ramp of 0.4 s", rise), ("bell of 0.8 s", bell)):
        for peak in (1.0, 3.0):
            c, _ = follow(np.concatenate([np.full(5 * SECOND, 0.01), peak * gesture]))
            found[f"{name} to {peak} m/s"] = float(c[5 * SECOND : 5 * SECOND + 15].max() - c[5 * SECOND - 1])
    return found


def _noise(seeds: int) -> dict[str, float]:
    highest, medians = [], []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        kinds = (np.abs(random.standard_normal(30 * SECOND)), random.random(30 * SECOND))
        c, _ = follow(kinds[seed % 2] * (0.1, 0.3, 1.0, 3.0)[seed // 2 % 4])
        highest.append(c.max())
        medians.append(np.median(c))
    return {"seeds": seeds, "c_highest": float(max(highest)), "c_median": float(np.median(medians))}


def _cost_us() -> float:
    energy = np.abs(1 + np.cos(beats(np.full(10 * SECOND, 117.0))))
    follow(energy)
    state, out = np.zeros(1, COMMITMENT)[0], np.zeros((len(energy), 2), np.float32)
    laps = []
    for _ in range(30):
        begin = time.perf_counter()
        _play(out, state, energy)
        laps.append((time.perf_counter() - begin) / len(energy) * 1e6)
    return float(min(laps))


def measure(noise_seeds: int = 200) -> dict[str, Any]:
    """Return every figure as one JSON-ready dictionary."""
    still = np.abs(np.random.default_rng(0).standard_normal(60 * SECOND))
    return {
        "c_at_rest": {f"noise of {level} m/s": float(follow(still * level)[0].max()) for level in (0.0, 0.01, 0.03)},
        "periodic_clean": _sweep(0.0),
        "periodic_with_10_percent_noise": _sweep(0.1),
        "periodic_with_20_percent_noise": _sweep(0.2),
        "tempo_error_4_s_after_a_change": _changes(),
        "c_rise_in_250_ms": _spikes(),
        "white_noise": _noise(noise_seeds),
        "us_per_control_frame": _cost_us(),
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
