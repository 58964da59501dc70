"""The body at each control frame: limbs (27 x 8), world speeds, energy. hands.py adds the motion state x (6).

`offer` takes source frames, `wants` says whether more are needed, `advance` computes the body at one time. Poses come
from slerp between the two source frames around that time; speeds never do. They are displacements of the measured
body over the last SPAN_S of source time, so neither extrapolation, nor its correction, nor the source's rate makes one.

Delay of every speed here: SPAN_S / 2 = 33 ms (a box filter; what a 5-sample central difference at 60 Hz has). A change
shows at the first frame that carries it, with a quarter of its final size. Source: spec/motion.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import kernel
from echelon_engine.kernels.limb_window import (
    BODY,
    HEADING,
    MASK,
    ORIGIN,
    POSITION,
    WINDOW,
    WORLD,
    forget,
    offer,
    sample,
    wants,
)
from echelon_engine.kernels.neutral import NEUTRAL
from echelon_engine.kernels.quaternions import angle_between, slerp_limbs
from echelon_engine.memory import CONTROL_RATE_HZ, LIMBS

__all__ = ["MOTION", "advance", "forget", "offer", "wants"]

SPAN_S = 1 / 15  # 4 frames of 60 Hz, 1 of 15 Hz
STRIKE_SPAN_S = 1 / 30  # of the hands' own speed, for strikes: 17 ms delay
SPAN_NS, STRIKE_SPAN_NS = int(SPAN_S * 1e9), int(STRIKE_SPAN_S * 1e9)
EXTRAPOLATE_S = 0.05  # the pose goes on at most this long beyond the newest frame ..
DAMPING_S = 0.025  # .. slowing down with this time constant (direction: of the last STRIKE_SPAN_S)
FADE_FROM_S, FADE_TO_S = 0.1, 0.2  # speeds of a silent sender fade between these ages; then the pose is held
RELAX_AFTER_S, RELAX_S = 1.0, 1.5  # then it drifts to neutral, with this time constant
FREEZE_S = 0.1  # time constant of energy's decay when frozen
FLICKER = 0.1  # a quaternion changes its sign only beyond w = -0.1
BOUND_M = 4.0  # of every position in the limbs
TRAIL = CONTROL_RATE_HZ  # control frames of root positions: one second
# Rows: the pose, the neutral body, the measured body at the end of SPAN_S and at its and STRIKE_SPAN_S's beginning.
POSE, REST, NOW, THEN, SHORT, ROWS = 0, 1, 2, 3, 4, 5

MOTION = np.dtype(
    [
        ("window", WINDOW),
        ("used", np.int64),  # frames of the window used so far (number of the newest + 1)
        ("first", np.int64),  # where the epoch of the last advance began
        ("begun", np.int64),
        ("fresh", np.int64),  # the first pose of an epoch
        ("frozen", np.int64),
        # what the others read
        ("present", np.uint8),  # a real body was measured within the last second
        ("moved", np.uint8),  # a new real frame was used since the last advance
        ("held", np.uint8),  # gap or synthetic: the pose is not a measured one
        ("arrival_ns", np.int64),  # of the newest frame used
        ("limbs", np.float32, (LIMBS * 8,)),  # per limb qx qy qz qw px py pz w
        ("omega", np.float32, (LIMBS,)),  # local angular speed, rad/s
        ("speed", np.float32, (LIMBS, 3)),  # velocity in the world, m/s
        ("position", np.float32, (LIMBS, 3)),  # relative to the root, heading-free, m
        ("origin", np.float32, (3,)),  # root in the world, m
        ("heading", np.float32),  # rad about +Y, unwrapped
        ("measured", np.int64),  # bit i: limb i's speed is measured
        ("rate", np.float64),  # what displacements over SPAN_S are multiplied with, 1/s
        ("energy", np.float32),  # RMS over the measured limbs of their world speed, m/s
        ("x", np.float32, (6,)),  # spec/motion.md
        ("x_valid", np.uint32),  # bit i: component i has a source
        # the hands (left, right), for notes.py
        ("hand_valid", np.uint8, (2,)),
        ("hand_speed", np.float32, (2,)),  # world speed over STRIKE_SPAN_S, m/s
        ("hand_velocity", np.float32, (2, 3)),  # relative to the root, heading-free, m/s, over SPAN_S
        ("hand_height", np.float32, (2,)),  # 0 waist .. 1 overhead
        ("hand_side", np.float32, (2,)),  # -1 far right .. 1 far left
        ("stature", np.float64),  # slow average of the distance root -> head, m
        ("device_velocity", np.float64, (2, 2)),  # leaky integrals: up, forward, m/s
        ("row", np.float32, (ROWS, BODY)),  # scratch: bodies as in limb_window.py
        ("trail", np.float32, (TRAIL, 3)),
        ("trail_at", np.int64),
    ],
    align=True,
)


@kernel
def _speeds(motion: Any) -> None:
    """Write speed, omega and energy of the `measured` limbs from the bodies `now` and `then`.

    v = (P(t) - P(t - SPAN)) / SPAN with P linear between source frames: the mean of the velocities between
    consecutive source frames, weighted by time.
    """
    now, then = motion.row[NOW], motion.row[THEN]
    total = 0.0
    count = 0
    for i in range(LIMBS):
        measured = (motion.measured >> i) & 1
        count += measured
        rate = motion.rate * measured
        for j in range(3):
            v = rate * (now[WORLD + 3 * i + j] - then[WORLD + 3 * i + j])
            motion.speed[i, j] = v
            total += v * v
        motion.omega[i] = rate * angle_between(now, then, 4 * i)
    motion.energy = math.sqrt(total / max(count, 1))


@kernel
def _limbs(motion: Any) -> None:
    """Write the 216 numbers of the pose: canonical quaternion (with hysteresis), position, tanh(omega / 2 pi).

    Limb 0's position is (travel sideways, height, travel forward) over the last second; a fresh body has no past.
    """
    fresh = motion.fresh != 0
    limbs, pose, trail = motion.limbs, motion.row[POSE], motion.trail
    for i in range(LIMBS):
        at = 8 * i
        along = 0.0
        for j in range(4):
            along += limbs[at + j] * pose[4 * i + j]
        sign = 1.0 if fresh else math.copysign(1.0, along)
        if sign * pose[4 * i + 3] < (0.0 if fresh else -FLICKER):
            sign = -sign
        for j in range(4):
            limbs[at + j] = sign * pose[4 * i + j]
        for j in range(3):
            motion.position[i, j] = pose[POSITION + 3 * i + j]
            limbs[at + 4 + j] = min(max(motion.position[i, j], -BOUND_M), BOUND_M)
        limbs[at + 7] = math.tanh(motion.omega[i] / (2.0 * math.pi))
    if fresh:
        for k in range(TRAIL):
            for j in range(3):
                trail[k, j] = pose[ORIGIN + j]
    slot = motion.trail_at
    east = pose[ORIGIN] - trail[slot, 0]
    north = pose[ORIGIN + 2] - trail[slot, 2]
    for j in range(3):
        motion.origin[j] = pose[ORIGIN + j]
        trail[slot, j] = pose[ORIGIN + j]
    motion.trail_at = (slot + 1) % TRAIL
    motion.heading = pose[HEADING]
    # travel = Ry(-heading) (origin now - origin a second ago)
    sine, cosine = math.sin(motion.heading), math.cos(motion.heading)
    limbs[4] = cosine * east - sine * north
    limbs[5] = pose[ORIGIN + 1]
    limbs[6] = sine * east + cosine * north
    for j in range(4, 7):
        limbs[j] = min(max(limbs[j], -BOUND_M), BOUND_M)


@kernel
def advance(motion: Any, target_ns: int, frozen: bool, dt: float) -> None:
    """Compute the body at `target_ns` from the frames offered so far; call once a control frame (dt seconds).

    Between two frames: slerp and lerp. Newer than the newest: extrapolated by at most EXTRAPOLATE_S, damped, then held;
    a silent sender's speeds fade to 0 by 0.2 s (`held`), after 1 s the pose drifts to neutral and `present` ends. A
    break or a synthetic frame has no speed. `frozen` keeps the pose, zeroes speeds and lets `energy` decay.
    """
    window = motion.window
    pose, rest, now, short = motion.row[POSE], motion.row[REST], motion.row[NOW], motion.row[SHORT]
    oldest = window.oldest
    newest = window.pushed - 1
    motion.moved = 0
    motion.frozen = 1 if frozen else 0
    motion.fresh = 1 - motion.begun
    if motion.begun == 0:
        motion.begun = 1
        motion.first = -1
        for k in range(BODY):
            rest[k] = NEUTRAL[k]
            pose[k] = NEUTRAL[k]
    if frozen or newest < oldest:
        if newest < oldest:
            motion.held = 1
            motion.present = 0
        energy = motion.energy * math.exp(-dt / FREEZE_S)
        motion.measured = 0
        _speeds(motion)
        motion.energy = energy if energy > 1e-4 else 0.0
        if motion.fresh != 0:
            _limbs(motion)
        for i in range(LIMBS):
            motion.limbs[8 * i + 7] = 0.0
        return

    sample(now, window, target_ns, oldest, newest)
    b, fraction = window.b, window.fraction
    slot = b & MASK
    start, end = window.body[window.a & MASK], window.body[slot]
    age = max(1e-9 * (target_ns - window.time_ns[slot]), 0.0)
    end_ns = min(target_ns, window.time_ns[slot])
    first = max(window.first[slot], oldest)
    real = window.real[slot]
    sample(short, window, end_ns - STRIKE_SPAN_NS, first, b)
    sample(motion.row[THEN], window, end_ns - SPAN_NS, first, b)
    if age > 0.0 and b == newest:
        start, end = short, now
        fraction = 1.0 + DAMPING_S / STRIKE_SPAN_S * (1.0 - math.exp(-min(age, EXTRAPOLATE_S) / DAMPING_S))
    slerp_limbs(pose, start, end, fraction, LIMBS)
    for k in range(POSITION, BODY):
        pose[k] = start[k] + np.float32(fraction) * (end[k] - start[k])
    if age > RELAX_AFTER_S:
        relaxed = 1.0 - math.exp((RELAX_AFTER_S - age) / RELAX_S)
        slerp_limbs(pose, pose, rest, relaxed, LIMBS)
        for k in range(POSITION, WORLD):
            pose[k] += np.float32(relaxed) * (rest[k] - pose[k])

    fade = min(max((FADE_TO_S - age) / (FADE_TO_S - FADE_FROM_S), 0.0), 1.0) * real
    joined = (1 << LIMBS) - 1 if first < b and fade > 0.0 else 0
    for k in range(window.a + 1, b + 1):
        joined &= window.joined[k & MASK]
    motion.measured = joined
    motion.rate = fade / SPAN_S
    _speeds(motion)
    motion.fresh = 1 if window.first[slot] != motion.first else 0
    _limbs(motion)
    motion.first = window.first[slot]
    motion.held = 0 if fade > 0.0 else 1
    motion.present = real if age <= RELAX_AFTER_S else 0
    if b >= motion.used:
        motion.moved = real
        motion.used = b + 1
        motion.arrival_ns = window.arrival_ns[slot]
