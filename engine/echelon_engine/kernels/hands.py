"""What the hands do: the motion state x (6), heights for notes.py, and devices in the hands of a bodiless performer."""

from __future__ import annotations

import math
from typing import Any

from echelon_engine._jit import kernel
from echelon_engine.kernels.finite import finite_number
from echelon_engine.kernels.limb_window import MASK, ORIGIN, WORLD
from echelon_engine.kernels.motion import NOW, SHORT, SPAN_S, STRIKE_SPAN_S, THEN
from echelon_engine.kernels.neutral import HEAD, LEFT_HAND, TORSO_7

LEAN_RAD = math.radians(30.0)
STATURE_S = 5.0  # time constant of the body's measured size
STATURE_M = 0.65  # distance root -> head of an adult, until the body's own is known
SHORTEST_M, TALLEST_M = 0.2, 1.2
OVERHEAD = 1.7  # heights 0 .. 1: from the root to this many statures above it
SIDE_M = 0.8  # a hand this far out is fully on its side
LEAK_S = 0.4  # time constant of the devices' velocity integral
DEVICE_FRESH_S, DEVICE_LOST_S = 0.15, 1.0
TORSO = 2  # its slot among the devices


@kernel
def hands(motion: Any, velocity_scale: float, dt: float) -> None:
    """Write x, x_valid and the hands' heights from the body of the last `advance`; `velocity_scale` in m/s (2).

    x = [tanh(v_up / s) tanh(v_forward / s)] of the left then the right hand relative to the root, heading-free
    (33 ms delay, see motion.py); then tanh(lean_forward / 30 deg), tanh(lean_left / 30 deg) of the vector root ->
    torso_7, lean = asin(component / length), which never wraps. No source: 0 and the bit clear. Source: spec/motion.md.
    """
    s = max(velocity_scale, 0.05)
    now, then, short = motion.row[NOW], motion.row[THEN], motion.row[SHORT]
    present = motion.present != 0
    valid = motion.window.valid[(motion.used - 1) & MASK] if present else 0
    mask = 0
    for k in range(6):
        motion.x[k] = 0.0
    head = motion.position[HEAD]
    length = math.sqrt(head[0] * head[0] + head[1] * head[1] + head[2] * head[2])
    if motion.stature == 0.0:
        motion.stature = STATURE_M
    if motion.moved != 0 and (valid >> HEAD) & 1:
        motion.stature += (min(max(length, SHORTEST_M), TALLEST_M) - motion.stature) * (dt / STATURE_S)
    sine, cosine = math.sin(motion.heading), math.cos(motion.heading)
    for h in range(2):
        limb = LEFT_HAND + 4 * h
        moved = motion.hand_velocity[h]
        rate = motion.rate * ((motion.measured >> limb) & 1)
        square = 0.0
        for j in range(3):
            k = WORLD + 3 * limb + j
            moved[j] = rate * (now[k] - then[k] - (now[ORIGIN + j] - then[ORIGIN + j]))
            square += (now[k] - short[k]) ** 2
        # velocity relative to the root, seen along the performer's own axes: Ry(-heading) (v_hand - v_root)
        east, north = moved[0], moved[2]
        moved[0] = cosine * east - sine * north
        moved[2] = sine * east + cosine * north
        motion.hand_speed[h] = rate * (SPAN_S / STRIKE_SPAN_S) * math.sqrt(square)
        motion.hand_height[h] = min(max(motion.position[limb, 1] / (OVERHEAD * motion.stature), 0.0), 1.0)
        motion.hand_side[h] = min(max(motion.position[limb, 0] / SIDE_M, -1.0), 1.0)
        source = ((valid >> limb) | (valid >> (limb - 1))) & 1  # a forearm places the hand, too
        motion.hand_valid[h] = source & (motion.measured >> limb) if motion.rate > 0.99 / SPAN_S else 0
        if source:
            mask |= 3 << (2 * h)
            motion.x[2 * h] = math.tanh(moved[1] / s)
            motion.x[2 * h + 1] = math.tanh(moved[2] / s)
    torso = motion.position[TORSO_7]
    length = math.sqrt(torso[0] * torso[0] + torso[1] * torso[1] + torso[2] * torso[2])
    if (valid >> TORSO_7) & 1 and length > 0.05:
        mask |= 48
        motion.x[4] = math.tanh(math.asin(min(max(torso[2] / length, -1.0), 1.0)) / LEAN_RAD)
        motion.x[5] = math.tanh(math.asin(min(max(torso[0] / length, -1.0), 1.0)) / LEAN_RAD)
    motion.x_valid = mask


@kernel
def devices_in_hands(motion: Any, devices: Any, velocity_scale: float, now_ns: int, dt: float) -> None:
    """Let the devices (DEVICES record) play the hands that no body measures; call after `hands`.

    v <- v exp(-dt / 0.4 s) + a dt along up (against gravity) and forward (the device's long axis +Y made horizontal,
    or where it points straight up or down, its back -Z); a device without gravity is taken to be Y up, Z forward.
    energy = RMS of the devices' velocity estimates when there is no body; a device silent for 0.15 s no longer pushes,
    for 1 s is gone. The height of a hand is the elevation of its device: level is the middle. A device on the torso,
    upright and its screen to the front, gives the lean: asin of its gravity forward and to the left. Source: motion.md.
    """
    if motion.frozen != 0:
        return
    s = max(velocity_scale, 0.05)
    leak = math.exp(-dt / LEAK_S)
    total = 0.0
    count = 0
    for h in range(2):
        age = 1e-9 * (now_ns - devices.time_ns[h])
        latent = devices.latent[h]
        finite = True
        for j in range(12):
            finite = finite and finite_number(latent[j])
        velocity = motion.device_velocity[h]
        velocity[0] *= leak
        velocity[1] *= leak
        if devices.present[h] == 0 or age > DEVICE_LOST_S or not finite:
            continue
        up0, up1, up2 = -float(latent[6]), -float(latent[7]), -float(latent[8])
        length = math.sqrt(up0 * up0 + up1 * up1 + up2 * up2)
        elevation = 0.0
        if length > 0.1:
            up0, up1, up2 = up0 / length, up1 / length, up2 / length
            elevation = up1
            # forward = axis - (axis . up) up
            f0, f1, f2 = -up1 * up0, 1.0 - up1 * up1, -up1 * up2
            if abs(up1) > 0.9:
                f0, f1, f2 = up2 * up0, up2 * up1, up2 * up2 - 1.0
            length = math.sqrt(f0 * f0 + f1 * f1 + f2 * f2)
            f0, f1, f2 = f0 / length, f1 / length, f2 / length
        else:
            up0, up1, up2 = 0.0, 1.0, 0.0
            f0, f1, f2 = 0.0, 0.0, 1.0
        push = dt if age < DEVICE_FRESH_S else 0.0
        velocity[0] += push * (latent[0] * up0 + latent[1] * up1 + latent[2] * up2)
        velocity[1] += push * (latent[0] * f0 + latent[1] * f1 + latent[2] * f2)
        for j in range(2):
            velocity[j] = min(max(velocity[j], -20.0), 20.0)
        if (motion.x_valid >> (2 * h)) & 3:
            continue  # the body measures this hand
        motion.x_valid |= 3 << (2 * h)
        motion.x[2 * h] = math.tanh(velocity[0] / s)
        motion.x[2 * h + 1] = math.tanh(velocity[1] / s)
        square = 0.0
        if age < DEVICE_FRESH_S:
            for j in range(9, 12):
                square += float(latent[j]) * latent[j]
        total += min(square, 400.0)
        count += 1
        motion.hand_valid[h] = 1
        motion.hand_speed[h] = min(math.sqrt(square), 20.0)
        motion.hand_height[h] = 0.5 + 0.5 * elevation
        motion.hand_side[h] = 0.5 - h
    age = 1e-9 * (now_ns - devices.time_ns[TORSO])
    if devices.present[TORSO] != 0 and age < DEVICE_LOST_S and (motion.x_valid & 48) == 0:
        g0, g1, g2 = float(devices.latent[TORSO, 6]), float(devices.latent[TORSO, 7]), float(devices.latent[TORSO, 8])
        length = math.sqrt(g0 * g0 + g1 * g1 + g2 * g2)
        if finite_number(length) and length > 0.1:
            motion.x_valid |= 48
            motion.x[4] = math.tanh(math.asin(min(max(g2 / length, -1.0), 1.0)) / LEAN_RAD)
            motion.x[5] = math.tanh(math.asin(min(max(g0 / length, -1.0), 1.0)) / LEAN_RAD)
    if count > 0 and motion.present == 0:
        motion.energy = math.sqrt(total / count)
        motion.moved = 1 if motion.energy > 0.0 else motion.moved
