"""The initial weights of all three models: `python -m echelon_models.initial FOLDER` writes them into a folder.

They are seeded and designed, NOT trained. DELL gated carries motion through designed channels (the motion state, its
magnitude, its recent activity, its slow average) to a hand-written read-out around a resting sound; a seeded random net
of low gain around them adds life. DELL coupled and LIM-RPS are seeded random inside their certificates. Values lie on a
grid of 2^-22, so that the same files come out byte for byte wherever the last bit of a decomposition falls.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echelon_engine.parameters import LANES, PARAMETERS
from echelon_models.certificates import norm
from echelon_models.formats import FORMATS, Key
from echelon_models.weights import Model, initial_path, save

SEED = 20260217
ORIGIN = "initial weights, seeded and designed, not trained; made by python -m echelon_models.initial"
Matrix = NDArray[np.float64]
Tensors = dict[str, Matrix]

# What is heard while nobody moves: a warm string, struck softly, in a middle-sized room.
REST: dict[str, float] = {
    "ratio_1": 1.0, "ratio_2": 1.0, "ratio_3": 2.0, "ratio_4": 3.0,
    "index_1": 1.2, "index_2": 0.8, "index_3": 0.6, "index_4": 0.4,
    "amp_attack": 0.006, "amp_decay": 0.6, "amp_sustain": 0.55, "amp_release": 0.9,
    "exciter_attack": 0.003, "exciter_decay": 0.25, "exciter_sustain": 0.3, "exciter_release": 0.35,
    "filter_cutoff": 1900.0, "filter_q": 0.8, "filter_drive": 3.0, "filter_envelope": 1.0,
    "body_structure": 0.15, "body_brightness": 0.5, "body_damping": 0.3, "body_position": 0.22,
    "reverb_size": 0.55, "reverb_decay": 2.4, "reverb_predelay": 18.0, "reverb_mix": 0.25,
    "gain": -4.0, "pan": 0.0, "width": 0.6, "ceiling": -1.0,
}  # fmt: skip

# Channels of z. Fast: the motion of this frame. Slow: the same over 400 ms, behind a gate that leans to the slow net.
LEFT_UP, LEFT_FORWARD, RIGHT_UP, RIGHT_FORWARD, LEAN_FORWARD, LEAN_LEFT, COMMITMENT = range(7)
LEFT_SPEED, RIGHT_SPEED = 7, 8  # |up| + |forward| of a hand, over 2
ACTIVITY = 9  # both hands' speed, leaking away over 230 ms
SLOW_ACTIVITY, SLOW_LEAN_FORWARD, SLOW_LEAN_LEFT, SLOW_COMMITMENT = 10, 11, 12, 13
DESIGNED = 14
_LEAK = 0.93  # of ACTIVITY, per frame: exp(-1 / (60 * 0.23))

# How far a channel at 1 moves a lane, in logits of its position (at the middle, 1 logit is about a quarter of the way).
# Ratios and ceiling are not moved: the one would detune, the other is a promise.
READOUT: dict[str, dict[int, float]] = {
    "index_1": {ACTIVITY: 0.9, SLOW_COMMITMENT: 0.5, LEFT_FORWARD: 0.15, RIGHT_FORWARD: 0.15},
    "index_2": {ACTIVITY: 0.9, SLOW_COMMITMENT: 0.5, RIGHT_UP: 0.2},
    "index_3": {ACTIVITY: 0.9, SLOW_COMMITMENT: 0.4, LEFT_UP: 0.2},
    "index_4": {ACTIVITY: 0.9, SLOW_COMMITMENT: 0.6, LEFT_SPEED: 0.2},
    "amp_attack": {ACTIVITY: -0.4, SLOW_ACTIVITY: -0.2},
    "amp_decay": {SLOW_LEAN_FORWARD: 0.4, ACTIVITY: -0.3},
    "amp_sustain": {SLOW_COMMITMENT: 0.8, SLOW_ACTIVITY: 0.5},
    "amp_release": {SLOW_LEAN_FORWARD: 0.5, SLOW_ACTIVITY: -0.4},
    "exciter_attack": {ACTIVITY: -0.6},
    "exciter_decay": {SLOW_ACTIVITY: -0.4, SLOW_COMMITMENT: 0.3},
    "exciter_sustain": {SLOW_COMMITMENT: 0.7, ACTIVITY: 0.4},
    "exciter_release": {SLOW_LEAN_FORWARD: 0.3, ACTIVITY: -0.3},
    "filter_cutoff": {
        ACTIVITY: 0.8, SLOW_COMMITMENT: 0.4, LEFT_UP: 0.25, RIGHT_UP: 0.25, LEFT_FORWARD: 0.15, RIGHT_FORWARD: 0.15,
        SLOW_LEAN_FORWARD: -0.9,
    },
    "filter_q": {SLOW_COMMITMENT: 0.5, LEFT_SPEED: 0.2, RIGHT_SPEED: 0.2},
    "filter_drive": {ACTIVITY: 1.0, SLOW_COMMITMENT: 0.5},
    "filter_envelope": {ACTIVITY: 0.5, RIGHT_UP: 0.15, LEFT_UP: 0.15},
    "body_structure": {SLOW_COMMITMENT: 0.7, SLOW_ACTIVITY: 0.5, SLOW_LEAN_LEFT: 0.2},
    "body_brightness": {ACTIVITY: 0.7, LEFT_UP: 0.2, RIGHT_UP: 0.2, SLOW_LEAN_FORWARD: -0.6},
    "body_damping": {SLOW_ACTIVITY: 0.4, SLOW_LEAN_FORWARD: -0.5},
    "body_position": {LEFT_SPEED: 0.3, RIGHT_SPEED: -0.2},
    "reverb_size": {SLOW_LEAN_FORWARD: 0.9, SLOW_COMMITMENT: 0.3},
    "reverb_decay": {SLOW_LEAN_FORWARD: 0.8, SLOW_ACTIVITY: -0.3},
    "reverb_predelay": {SLOW_LEAN_FORWARD: 0.5},
    "reverb_mix": {SLOW_LEAN_FORWARD: 0.8, SLOW_ACTIVITY: -0.4},
    "gain": {ACTIVITY: 0.2, SLOW_COMMITMENT: 0.1},
    "pan": {LEAN_LEFT: -0.5, SLOW_LEAN_LEFT: -1.1},
    "width": {SLOW_ACTIVITY: 0.7, SLOW_COMMITMENT: 0.4},
}  # fmt: skip
_LIFE = 0.12  # how strongly the random channels move a lane, in logits


def rest_positions() -> Matrix:
    """Return the positions 0..1 of the resting sound; float64 (32,)."""
    return np.array([parameter.position(REST[parameter.name]) for parameter in PARAMETERS])


def _scaled(matrix: Matrix, to: float) -> Matrix:
    return matrix * (to / norm(matrix))


def dell_gated(rng: np.random.Generator) -> Tensors:
    """Return the designed DELL gated; at rest y is exactly the resting sound."""
    inputs, hidden, width = 7, 256, 128
    free = slice(DESIGNED, width)
    units = slice(24, hidden)  # hidden units of the random part
    tensors: Tensors = {}
    for path in "fs":
        first, first_bias = np.zeros((inputs + width, hidden)), np.zeros(hidden)
        second, second_bias = np.zeros((hidden, width)), np.zeros(width)
        # Random part: reads motion and the free channels of z, writes these; norms keep the loop gain under 1.
        first[:inputs, units] = rng.normal(size=(inputs, hidden - 24)) / np.sqrt(inputs)
        first[inputs + DESIGNED :, units] = _scaled(rng.normal(size=(width - DESIGNED, hidden - 24)), 0.8)
        first_bias[units] = rng.normal(scale=0.3, size=hidden - 24)
        second[units, free] = _scaled(rng.normal(size=(hidden - 24, width - DESIGNED)), 0.9)
        second_bias[free] = rng.normal(scale=0.1, size=width - DESIGNED)
        _design(path, first, first_bias, second, second_bias)
        tensors |= {f"W_{path}1": first, f"b_{path}1": first_bias, f"W_{path}2": second, f"b_{path}2": second_bias}
    # Gate: open to the fast net for the fast channels, to the slow one for the slow, in between for the rest.
    gate, gate_bias = _scaled(rng.normal(size=(2 * width, width)), 0.8), rng.normal(scale=0.5, size=width)
    gate[:, :DESIGNED] = 0.0
    gate_bias[:SLOW_ACTIVITY], gate_bias[SLOW_ACTIVITY:DESIGNED] = 6.0, -6.0
    readout = np.zeros((width + 1, LANES))
    for parameter in PARAMETERS:
        moves = READOUT.get(parameter.name, {})
        for channel, logits in moves.items():
            readout[channel, parameter.lane] = logits
        life = rng.normal(size=width - DESIGNED)
        if moves and parameter.name not in ("gain", "pan"):
            readout[free, parameter.lane] = _LIFE * life / np.sqrt(width - DESIGNED)
    # Commitment opens the sound at once, ahead of its slow average.
    for name, logits in (("filter_cutoff", 0.3), ("filter_drive", 0.2), ("gain", 0.1), ("index_1", 0.2)):
        readout[width, next(parameter.lane for parameter in PARAMETERS if parameter.name == name)] = logits
    tensors |= {"W_g": gate, "b_g": gate_bias, "W_y": readout}
    # b_y places the resting sound where the net comes to rest without motion.
    positions = rest_positions()
    tensors["b_y"] = np.log(positions / (1 - positions)) - readout[:width].T @ _rest(tensors)
    return tensors


def _design(path: str, first: Matrix, first_bias: Matrix, second: Matrix, second_bias: Matrix) -> None:
    # Each of the six motion signals s goes through a pair of units relu(+-s / scale): their difference is s, their sum
    # |s|. The scale takes gain out of W_2, where it counts in the loop, into the rows of x, where it does not.
    scale = 0.5
    for signal in range(6):
        plus, minus = 2 * signal, 2 * signal + 1
        first[signal, plus], first[signal, minus] = 1 / scale, -1 / scale
        second[plus, signal], second[minus, signal] = scale, -scale
        if signal < 4:
            speed = LEFT_SPEED if signal < 2 else RIGHT_SPEED
            second[[plus, minus], speed] = scale / 2
    commitment, activity = 12, 13
    first[COMMITMENT, commitment] = 1 / scale
    second[commitment, COMMITMENT] = scale
    # activity <- leak activity + (1 - leak) (speeds of both hands in the last frame)
    z = 7
    first[z + ACTIVITY, activity] = _LEAK
    first[z + LEFT_SPEED, activity] = first[z + RIGHT_SPEED, activity] = 1 - _LEAK
    second[activity, ACTIVITY] = 1.0 if path == "f" else 0.0
    # Slow channels: both nets say the same, so a gate pulled to fast hears the value itself, not its average (a part of
    # it for the activity, whose loop leaves no more room under a gain of 1).
    second[activity, SLOW_ACTIVITY] = 0.3 if path == "f" else 1.0
    for signal, slow in ((LEAN_FORWARD, SLOW_LEAN_FORWARD), (LEAN_LEFT, SLOW_LEAN_LEFT)):
        second[2 * signal, slow], second[2 * signal + 1, slow] = scale, -scale
    second[commitment, SLOW_COMMITMENT] = scale


def _rest(tensors: Tensors) -> Matrix:
    # z after ten seconds of x = 0, c = 0, by the equations of the specification in float64.
    z = fast = slow = target = np.zeros(128)
    for frame in range(600):
        u = np.concatenate([np.zeros(7), z])
        if frame % 24 == 0:
            target = np.maximum(u @ tensors["W_s1"] + tensors["b_s1"], 0) @ tensors["W_s2"] + tensors["b_s2"]
        fast = np.maximum(u @ tensors["W_f1"] + tensors["b_f1"], 0) @ tensors["W_f2"] + tensors["b_f2"]
        slow = slow + (target - slow) / 24
        gate = 1 / (1 + np.exp(-(np.concatenate([fast, slow]) @ tensors["W_g"] + tensors["b_g"])))
        z = gate * fast + (1 - gate) * slow
    return z


def dell_coupled(rng: np.random.Generator) -> Tensors:
    """Return a seeded DELL coupled, well inside its certificate, centred on a body that stands still."""
    drive = rng.normal(size=(128, 216))
    still = np.zeros(216)
    still[3::8] = 1.0  # identity quaternions; positions and speeds 0
    tensors = {
        "W_in": _scaled(drive, 1.2),
        "W_rec": _scaled(rng.normal(size=(128, 128)), 0.6),
        "W_out": _scaled(rng.normal(size=(32, 128)), 0.5),
        "W_lift": _scaled(rng.normal(size=(128, 32)), 0.8),
        "W_slow": _scaled(rng.normal(size=(32, 32)), 1.6),
        "U_slow": _scaled(rng.normal(size=(32, 32)), 0.5),
        "b_slow": rng.normal(scale=0.1, size=32),
    }
    tensors["b_fast"] = rng.normal(scale=0.1, size=128) - tensors["W_in"] @ still
    return tensors


def lim_rps(rng: np.random.Generator) -> Tensors:
    """Return a seeded LIM-RPS with encoders of norm < 1 and two orthonormal read-out directions."""
    body = rng.normal(size=(32, 216))
    body[:, 3::8] *= 0.1  # qw is near 1 in any pose: it would drown the rest
    body[:, 7::8] *= 2.0  # angular speed: what changes the sound while the pose does not
    directions = np.linalg.qr(rng.normal(size=(96, 2)))[0].T
    return {
        "W_1": _scaled(rng.normal(size=(128, 96)), 0.95), "b_1": rng.normal(scale=0.1, size=128),
        "W_2": _scaled(rng.normal(size=(128, 128)), 0.95), "b_2": rng.normal(scale=0.1, size=128),
        "W_3": _scaled(rng.normal(size=(96, 128)), 0.95),
        "E_body": _scaled(body, 0.98), "E_left": _scaled(rng.normal(size=(32, 12)), 0.98),
        "E_right": _scaled(rng.normal(size=(32, 12)), 0.98), "P": directions,
    }  # fmt: skip


HYPERS: dict[Key, dict[str, object]] = {
    "dell_gated": {"frame_rate": 60, "tau_fast": 1 / 60, "tau_slow": 0.4, "slow_every": 24},
    "dell_coupled": {
        "frame_rate": 60, "k_fast": 4, "k_slow": 6, "slow_to_fast": 0.3, "fast_to_slow": 0.5, "mix": 0.7,
    },
    "lim_rps": {"gamma": 0.5, "tau": 0.5, "iterations": 8},
}  # fmt: skip


def make(key: Key, path: Path) -> Model:
    """Make one model's initial weights, write them to `path`, return them."""
    design = {"dell_gated": dell_gated, "dell_coupled": dell_coupled, "lim_rps": lim_rps}[key]
    # One stream per model: changing one leaves the others as they are.
    rng = np.random.default_rng([SEED, list(FORMATS).index(key)])
    grid = 2.0**22
    tensors = {name: (np.round(values * grid) / grid).astype(np.float32) for name, values in design(rng).items()}
    return save(path, key, tensors, {**HYPERS[key], "origin": ORIGIN, "seed": SEED})


def main(arguments: Sequence[str] | None = None) -> None:
    """Write all three files, into a folder or to where the engine looks for them, and say what they promise."""
    chosen = list(sys.argv[1:] if arguments is None else arguments)
    for key in FORMATS:
        path = Path(chosen[0]) / f"{key}.safetensors" if chosen else initial_path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        model = make(key, path)
        promise = ", ".join(f"{figure.name} {figure.value:.3f}" for figure in model.figures)
        sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes; {promise}\n")


if __name__ == "__main__":
    main()
