"""What a phone in each hand would have told, out of limb frames: synthesised, not measured.

    specific force = R^T (d2p/dt2 - g),   user acceleration = specific force + |g| down,   angular rate from dR/dt,
    down = R^T (0, -1, 0),   dv/dt = a - mean of a over 2 s - v / 0.4 s

p and R are position and rotation of the hand in the limb frame. That frame holds neither the way of the root over the
floor nor the turning of the body, so neither is in these signals; its height is. The phone is held along the hand's own
axes (X left, Y up, Z forward in the T-pose) but for a few degrees, gravity is known but for a few degrees, and every
sensor has noise: all drawn anew for each recording. NumPy alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PARENT = (-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 11, 12, 13, 7, 15, 16, 17, 0, 19, 20, 21, 0, 23, 24, 25)
LEFT_HAND, RIGHT_HAND = 14, 18
RATE_HZ = 60.0
GRAVITY_MPS2 = 9.80665
LEAK_S, BIAS_S = 0.4, 2.0  # of the velocity estimate, as the bridges make it from a real phone
LARGEST_MPS2, LARGEST_MPS = 160.0, 20.0
SENSOR_NOISE = (0.15, 0.02)  # m/s^2, rad/s
PARABOLA = (28, 7, -8, -17, -20, -17, -8, 7, 28)  # second derivative, Savitzky & Golay 1964
TILT_DEG = 5.0  # how far grip and the phone's idea of gravity are off, standard deviation

Array = NDArray[np.float64]


class Imperfection(NamedTuple):
    """How real phones differ from ideal ones: standard deviations; zeros for an ideal one."""

    acceleration: float = SENSOR_NOISE[0]
    angular_rate: float = SENSOR_NOISE[1]
    grip_deg: float = TILT_DEG
    gravity_deg: float = TILT_DEG / 5


REAL = Imperfection()
IDEAL = Imperfection(0.0, 0.0, 0.0, 0.0)


def multiply(a: Array, b: Array) -> Array:
    """Return the products a b of quaternions (.., 4), x y z w."""
    (ax, ay, az, aw), (bx, by, bz, bw) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz,
        ],
        -1,
    )  # fmt: skip


def inverse_rotate(q: Array, v: Array) -> Array:
    """Return R^T v of vectors (.., 3) by unit quaternions (.., 4)."""
    axis, w = -q[..., :3], q[..., 3:]
    turned: Array = v + 2 * w * np.cross(axis, v) + 2 * np.cross(axis, np.cross(axis, v))
    return turned


def rotation(limbs: NDArray[np.float32], limb: int) -> Array:
    """Return a limb's rotation in the heading-free frame, unit quaternions (n, 4), from limbs (n, 216)."""
    turned = np.zeros((len(limbs), 4))
    turned[:, 3] = 1.0
    while limb >= 0:
        local = limbs[:, 8 * limb : 8 * limb + 4].astype(np.float64)
        turned = multiply(local / np.linalg.norm(local, axis=1, keepdims=True).clip(1e-6), turned)
        limb = PARENT[limb]
    return turned


def position(limbs: NDArray[np.float32], limb: int) -> Array:
    """Return a limb's position (n, 3), metres: relative to the root, plus the root's height."""
    place = limbs[:, 8 * limb + 4 : 8 * limb + 7].astype(np.float64)
    place[:, 1] += limbs[:, 5]
    return place


def device(
    limbs: NDArray[np.float32], limb: int, rng: np.random.Generator, real: Imperfection = REAL
) -> NDArray[np.float32]:
    """Return a phone's 12 numbers over one recording, float32 (n, 12), from its limbs (n, 216).

    User acceleration m/s^2, angular rate rad/s, direction of gravity, velocity m/s, all in the phone's axes, as
    memory.DEVICES has them.
    """
    frames = len(limbs)
    turned = multiply(rotation(limbs, limb), _small(rng, real.grip_deg))
    # p'' of the parabola through 9 frames: what lies above about 7 Hz is sensor noise and the corners between source
    # frames, which two differentiations would make larger than the motion.
    padded = np.pad(position(limbs, limb), ((4, 4), (0, 0)), mode="edge")
    acceleration = sum(w * padded[k : k + frames] for k, w in enumerate(PARABOLA)) / 462.0 * RATE_HZ**2
    size = np.linalg.norm(acceleration, axis=1, keepdims=True)
    acceleration *= np.minimum(1.0, LARGEST_MPS2 / np.maximum(size, 1e-9))
    g = np.array([0.0, -GRAVITY_MPS2, 0.0])
    force = inverse_rotate(turned, acceleration - g) + rng.normal(scale=real.acceleration, size=(frames, 3))
    # The phone tells gravity by its own attitude, which is a little off.
    told = multiply(turned, _small(rng, real.gravity_deg))
    down = inverse_rotate(told, np.broadcast_to(g / GRAVITY_MPS2, (frames, 3)))
    user = force + GRAVITY_MPS2 * down
    rate = np.zeros((frames, 3))
    if frames > 2:
        # 2 dq = conj(q(t-1)) q(t+1) over two frames
        ahead, back = turned[2:], turned[:-2] * np.array([-1.0, -1.0, -1.0, 1.0])
        step = multiply(back, ahead)
        step *= np.sign(step[:, 3:] + 1e-12)
        rate[1:-1] = step[:, :3] * RATE_HZ
    rate += rng.normal(scale=real.angular_rate, size=(frames, 3))
    return np.hstack([user, rate, down, _velocity(user, turned)]).astype(np.float32)


def _small(rng: np.random.Generator, degrees: float) -> Array:
    """Return a small random rotation as a quaternion (4,)."""
    half = np.radians(rng.normal(scale=degrees, size=3)) / 2 if degrees else np.zeros(3)
    q = np.array([*half, 1.0])
    unit: Array = q / np.linalg.norm(q)
    return unit


def _velocity(user: Array, turned: Array) -> Array:
    """Return the leaky integral of acceleration, kept in the world, told in the phone's axes."""
    back = turned * np.array([-1.0, -1.0, -1.0, 1.0])
    world = inverse_rotate(back, user)
    keep, learn = np.exp(-1 / (RATE_HZ * LEAK_S)), 1 - np.exp(-1 / (RATE_HZ * BIAS_S))
    velocity, bias = np.zeros(3), np.zeros(3)
    made = np.zeros_like(user)
    for n, a in enumerate(world):
        bias += learn * (a - bias)
        velocity = velocity * keep + (a - bias) / RATE_HZ
        speed = float(np.sqrt(velocity @ velocity))
        if speed > LARGEST_MPS:
            velocity *= LARGEST_MPS / speed
        made[n] = velocity
    return inverse_rotate(turned, made)


def standing() -> NDArray[np.float32]:
    """Return the limbs (216,) of a performer without a body sensor: standing, arms hanging, as the engine relaxes."""
    spine = [(0.0, up, 0.0) for up in (0.0, 0.051, 0.056, 0.060, 0.065, 0.076, 0.095, 0.106, 0.048, 0.048, 0.048)]
    arm = [(0.012, -0.076, 0.075), (0.130, 0.033, -0.033), (0.292, 0.0, 0.0), (0.242, 0.0, 0.0)]
    leg = [(0.092, -0.042, 0.020), (0.0, -0.388, 0.0), (0.0, -0.404, 0.0), (0.008, -0.099, 0.125)]
    right_arm, right_leg = ([(-x, y, z) for x, y, z in side] for side in (arm, leg))
    limbs = np.zeros((27, 8))
    limbs[:, 3] = 1.0
    half = np.radians(75.0) / 2
    limbs[[12, 16], 2], limbs[[12, 16], 3] = (-np.sin(half), np.sin(half)), np.cos(half)
    for limb, offset in enumerate((*spine, *arm, *right_arm, *leg, *right_leg)):
        if (parent := PARENT[limb]) >= 0:
            back = rotation(limbs.reshape(1, 216).astype(np.float32), parent)[0] * np.array([-1.0, -1.0, -1.0, 1.0])
            limbs[limb, 4:7] = limbs[parent, 4:7] + inverse_rotate(back, np.array(offset))
    limbs[0, 5] = 0.933
    return limbs.reshape(216).astype(np.float32)
