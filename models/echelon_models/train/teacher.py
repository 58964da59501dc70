"""The teacher: from the motion state and commitment to the 32 positions, with musical intent, one table.

It reads only what DELL gated is given (x and c), but up to 150 ms ahead: fast signals are smoothed without delay by a
window that reaches 83 ms forward, slow ones by 400 ms from a point 150 ms ahead. A causal network that follows it must
learn to anticipate.

| intent | signals | lanes |
|---|---|---|
| effort opens | effort: the speed of both hands now; rise, reach | brightness, cutoff, indices, drive |
| lean moves the body and the room | lean_forward, lean_left (slow) | structure, position, room, cutoff down |
| stillness closes | stillness (slow) | cutoff, brightness, indices, gain, width down; damping less |
| asymmetry pans | asymmetry (hands' speeds), lean_left | pan, body position |
| commitment sharpens | c, slow_c, accent | attacks shorter, envelope depth, resonance, sustain |

Ratios and the ceiling stand still: the one would detune, the other is a promise.
Source: spec/motion.md for x, spec/equilibrium.md for commitment, parameters.py for the lanes; the intent is ours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from echelon_engine.memory import CONTROL_RATE_HZ
from echelon_engine.parameters import LANE, LANES
from echelon_models.initial import rest_positions

Floats = NDArray[np.float64]

LOOK_AHEAD_FRAMES = 9  # 150 ms
FAST_FRAMES = 5  # half width of the fast window: 83 ms
SLOW_S = 0.4
BOUND_LOGIT = 4.0  # positions stay within 0.018..0.982
SIGNALS = (
    "effort", "rise", "reach", "asymmetry", "accent", "c", "slow_effort", "stillness", "slow_c", "lean_forward",
    "lean_left",
)  # fmt: skip

# How far each signal at 1 moves a lane, in logits of its position.
TABLE: dict[str, dict[str, float]] = {
    # effort opens, stillness closes
    "index_1": {"effort": 2.2, "slow_c": 0.4, "stillness": -0.5, "reach": 0.3},
    "index_2": {"effort": 2.0, "slow_c": 0.4, "stillness": -0.5, "rise": 0.3},
    "index_3": {"effort": 1.8, "accent": 0.8, "stillness": -0.5},
    "index_4": {"effort": 1.6, "accent": 1.0, "stillness": -0.4},
    "filter_cutoff": {"effort": 2.0, "rise": 0.5, "slow_c": 0.2, "stillness": -0.8, "lean_forward": -0.8},
    "filter_drive": {"effort": 1.8, "c": 0.4, "stillness": -0.4},
    "body_brightness": {"effort": 1.8, "rise": 0.4, "lean_forward": -0.7, "stillness": -0.5},
    "gain": {"effort": 0.7, "c": 0.2, "stillness": -0.4},
    "width": {"slow_effort": 1.2, "slow_c": 0.4, "stillness": -0.6},
    # commitment sharpens
    "amp_attack": {"c": -0.5, "accent": -1.0, "stillness": 0.5},
    "exciter_attack": {"c": -0.6, "accent": -1.1, "stillness": 0.5},
    "amp_decay": {"slow_effort": -0.6, "lean_forward": 0.6},
    "amp_sustain": {"slow_c": 0.8, "slow_effort": 0.6},
    "amp_release": {"slow_effort": -0.7, "lean_forward": 0.7, "stillness": 0.3},
    "exciter_decay": {"slow_effort": -0.6, "slow_c": 0.3},
    "exciter_sustain": {"slow_c": 0.7, "slow_effort": 0.5},
    "exciter_release": {"slow_effort": -0.5, "lean_forward": 0.5},
    "filter_q": {"slow_c": 0.6, "accent": 0.5},
    "filter_envelope": {"accent": 1.0, "effort": 0.5, "c": 0.2},
    # lean moves the body and the room
    "body_structure": {"lean_left": 0.9, "slow_c": 0.6, "slow_effort": 0.4},
    "body_position": {"lean_forward": 1.0, "asymmetry": 0.5},
    "body_damping": {"lean_forward": -0.8, "slow_effort": 0.6, "stillness": -0.3},
    "reverb_size": {"lean_forward": 1.2, "slow_c": 0.3},
    "reverb_decay": {"lean_forward": 1.1, "slow_effort": -0.5, "stillness": 0.3},
    "reverb_predelay": {"lean_forward": 0.8},
    "reverb_mix": {"lean_forward": 1.1, "slow_effort": -0.6, "stillness": 0.3},
    # asymmetry pans
    "pan": {"asymmetry": 1.4, "lean_left": -1.2},
}


def matrix() -> Floats:
    """Return the table as float64 (signals, 32), logits."""
    found = np.zeros((len(SIGNALS), LANES))
    for lane, moves in TABLE.items():
        for signal, logits in moves.items():
            found[SIGNALS.index(signal), LANE[lane]] = logits
    return found


def positions(x: NDArray[np.floating], c: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return target positions, float32 (n, 32) within 0..1, of x (n, 6) and c (n,), one row a control frame.

    Row t depends on rows up to t + 9 (150 ms) and, through the slow signals, on all before.
    """
    rest = rest_positions()
    # p = sigmoid(logit(rest) + signals M), the sum softly held within +-4
    logits = np.log(rest / (1.0 - rest)) + signals(x, c) @ matrix()
    moves = np.any(matrix() != 0.0, axis=0)
    logits[:, moves] = BOUND_LOGIT * np.tanh(logits[:, moves] / BOUND_LOGIT)
    return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)


def signals(x: NDArray[np.floating], c: NDArray[np.floating]) -> Floats:
    """Return what the table speaks of, float64 (n, len(SIGNALS)): -1..1, rest 0 (stillness 1)."""
    x, c = np.asarray(x, np.float64), np.asarray(c, np.float64)
    left, right = np.hypot(x[:, 0], x[:, 1]), np.hypot(x[:, 2], x[:, 3])
    effort = np.tanh(1.2 * np.sqrt(0.5 * (left**2 + right**2)))
    loud = left + right
    asymmetry = (right - left) / (loud + 0.25)  # the floor: nothing pans at rest
    fast = smooth(np.stack([effort, 0.5 * (x[:, 0] + x[:, 2]), 0.5 * (x[:, 1] + x[:, 3]), asymmetry, c], axis=1))
    slow = follow(ahead(np.stack([effort, c, x[:, 4], x[:, 5]], axis=1)))
    # An accent stands out of what the last moments were like.
    accent = np.tanh(2.0 * (np.maximum(fast[:, 0] - slow[:, 0], 0.0) + np.maximum(fast[:, 4] - slow[:, 1], 0.0)))
    stillness = np.exp(-((slow[:, 0] / 0.15) ** 2)) * (1.0 - slow[:, 1])
    columns = (
        fast[:, 0], fast[:, 1], fast[:, 2], fast[:, 3], accent, fast[:, 4],
        slow[:, 0], stillness, slow[:, 1], slow[:, 2], slow[:, 3],
    )  # fmt: skip
    return np.stack(columns, axis=1)


def smooth(values: Floats) -> Floats:
    """Return values (n, k) under a Hann window of +-FAST_FRAMES: no delay, 83 ms of look-ahead; ends are held."""
    weights = np.hanning(2 * FAST_FRAMES + 3)[1:-1]
    weights /= weights.sum()
    held = np.pad(values, ((FAST_FRAMES, FAST_FRAMES), (0, 0)), mode="edge")
    return np.sum([w * held[i : i + len(values)] for i, w in enumerate(weights)], axis=0)  # type: ignore[no-any-return]


def ahead(values: Floats) -> Floats:
    """Return the mean of the next LOOK_AHEAD_FRAMES values (n, k) and the present one: 75 ms early on average."""
    held = np.pad(values, ((0, LOOK_AHEAD_FRAMES), (0, 0)), mode="edge")
    total = np.cumsum(np.concatenate([np.zeros((1, values.shape[1])), held]), axis=0)
    width = LOOK_AHEAD_FRAMES + 1
    return (total[width:] - total[:-width]) / width  # type: ignore[no-any-return]


def follow(values: Floats) -> Floats:
    """Return values (n, k) through a one-pole of SLOW_S, started at the first."""
    gain = 1.0 - math.exp(-1.0 / (SLOW_S * CONTROL_RATE_HZ))
    result = np.array(values)
    for t in range(1, len(values)):
        result[t] = result[t - 1] + gain * (values[t] - result[t - 1])
    return result


def jerk(positions: NDArray[np.floating]) -> float:
    """Return the RMS over lanes and time of the third difference, positions per second cubed."""
    third = np.diff(np.asarray(positions, np.float64), n=3, axis=0) * CONTROL_RATE_HZ**3
    return float(np.sqrt(np.mean(third**2))) if third.size else 0.0
