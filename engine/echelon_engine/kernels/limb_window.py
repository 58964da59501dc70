"""The newest source frames of one performer, checked, so that the body can be asked for at any time between them.

Frames are counted from the start: frame number k lies in slot k % SLOTS, and the window holds `oldest` <= k < `pushed`.
An epoch is a stretch of frames with no break in it; nothing is interpolated or differenced across two epochs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel
from echelon_engine.kernels.neutral import NEUTRAL, PARENT
from echelon_engine.memory import BREAK, LIMBS, SYNTHETIC

PARENTS = np.maximum(PARENT, 0)
SLOTS = 16
MASK = SLOTS - 1

# One body as a flat row of float32: where its parts begin.
ROTATION, POSITION = 0, 4 * LIMBS
WORLD = POSITION + 3 * LIMBS  # positions in the world
ORIGIN = WORLD + 3 * LIMBS
HEADING = ORIGIN + 3  # unwrapped
BODY = HEADING + 1

GAP_NS = 250_000_000  # frames further apart than this do not belong to one movement
MISSING_NS = 150_000_000  # a bone that was away longer does not move by coming back
CLOSE_NS = 10_000_000  # of three frames within this the middle one goes, so the window always spans 70 ms
SHORTEST_STEP_S = 1 / 120  # senders' time stamps jitter; a jump is judged over no less than this
TELEPORT_M_S = 15.0  # a root that is faster was moved by its sender (re-centred), not by its legs
TURNS_PER_S, SWEPT_M_S = 6.4, 6.0  # likewise for its heading (skaters reach 5), if the limbs are swept along:
# in a somersault the heading flips, and they are not
LIMB_GLITCH_M_S = 30.0  # no hand is faster against its own pelvis
FARTHEST_M = 1e4  # beyond it float32 no longer resolves a body: refused like a NaN

WINDOW = np.dtype(
    [
        ("pushed", np.int64),
        ("oldest", np.int64),
        ("refused_bones", np.int64),  # bones (or roots) not finite or not a rotation
        ("refused_frames", np.int64),  # out of order or sent twice
        ("known", np.int64),  # bit i: seen_ns[i] holds
        ("seen_ns", np.int64, (LIMBS,)),  # when each limb was last placed by a measured bone
        ("time_ns", np.int64, (SLOTS,)),
        ("arrival_ns", np.int64, (SLOTS,)),
        ("first", np.int64, (SLOTS,)),  # frame with which its epoch began
        ("real", np.int64, (SLOTS,)),  # 1 measured, 0 synthetic
        ("valid", np.int64, (SLOTS,)),  # bit i: limb i is measured
        ("joined", np.int64, (SLOTS,)),  # bit i: limb i moved continuously from the frame before
        ("a", np.int64),  # of the last `sample`: the frames around its time ..
        ("b", np.int64),
        ("fraction", np.float64),  # .. and how far it was from a to b
        ("body", np.float32, (SLOTS, BODY)),  # rotations in the hemisphere of the frame before
    ],
    align=True,
)


@kernel
def forget(motion: Any) -> None:
    """Drop every frame (another performer takes the focus): the next frame begins an epoch, at any time stamp."""
    motion.window.oldest = motion.window.pushed
    motion.window.known = 0


@inlined
def wants(motion: Any, target_ns: int) -> bool:
    """Return whether frames up to `target_ns` are still missing: pop one more while this is true."""
    window = motion.window
    missing: bool = window.oldest == window.pushed or window.time_ns[(window.pushed - 1) & MASK] < target_ns
    return missing


@kernel
def offer(motion: Any, frame: Any) -> bool:
    """Check one LIMB_FRAME (memory.py) and copy it in; return whether it was accepted.

    A frame not newer than the newest is refused and counted, unless it carries BREAK: then the sender's clock began
    anew, and so does the window. A bone that is not finite or whose quaternion has a length outside 0.5..2 keeps its
    last value, loses its valid bit for that frame and is counted (when the frame claimed it). Source: spec/motion.md.
    """
    window = motion.window
    times = window.time_ns
    time_ns = frame.time_ns
    claimed = np.int64(frame.valid)
    real = 1 if frame.flags & SYNTHETIC == 0 else 0
    number = window.pushed
    before = (number - 1) & MASK
    broken = real == 0 or frame.flags & BREAK != 0 or window.real[before] == 0
    if window.oldest != number and time_ns <= times[before]:
        if frame.flags & BREAK == 0:
            window.refused_frames += 1
            return False
        window.oldest = number
    if window.oldest == number:  # nothing to compare with: a neutral body stands in the unused slot before
        broken = True
        times[before] = time_ns
        for k in range(BODY):
            window.body[before, k] = NEUTRAL[k]
    elif number - window.first[before] >= 2 and time_ns - times[(number - 2) & MASK] < CLOSE_NS and not broken:
        number -= 1
        before = (number - 1) & MASK
    slot = number & MASK
    body = window.body[slot]
    past = window.body[before]
    step_ns = time_ns - times[before]
    step_s = max(SHORTEST_STEP_S, 1e-9 * step_ns)

    origin = frame.origin
    reach = abs(frame.heading)
    far = 0.0
    fast_turn = False
    for j in range(3):
        reach += abs(origin[j])
        far += (origin[j] - past[ORIGIN + j]) ** 2
    if reach < FARTHEST_M:  # false for NaN too
        turned = (frame.heading - past[HEADING]) / (2.0 * math.pi)
        turned -= math.floor(turned + 0.5)
        body[HEADING] = past[HEADING] + 2.0 * math.pi * turned
        for j in range(3):
            body[ORIGIN + j] = origin[j]
        broken = broken or far > (TELEPORT_M_S * step_s) ** 2
        fast_turn = abs(turned) > TURNS_PER_S * step_s
    else:
        for j in range(ORIGIN, BODY):
            body[j] = past[j]
        window.refused_bones += 1
    sine, cosine = math.sin(body[HEADING]), math.cos(body[HEADING])

    rotation, position = frame.rotation, frame.position
    valid = np.int64(0)
    placed = np.int64(0)
    joined = np.int64(0)
    swept = 0.0
    for i in range(LIMBS):
        q = ROTATION + 4 * i
        p = POSITION + 3 * i
        w = WORLD + 3 * i
        square = 0.0
        along = 0.0
        reach = 0.0
        for j in range(4):
            square += rotation[i, j] ** 2
            along += rotation[i, j] * past[q + j]
        for j in range(3):
            reach += abs(position[i, j])
        if square >= 0.25 and square <= 4.0 and reach < FARTHEST_M:  # false for NaN too
            scale = math.copysign(1.0 / math.sqrt(square), along)
            for j in range(4):
                body[q + j] = scale * rotation[i, j]
            for j in range(3):
                body[p + j] = position[i, j]
            valid |= claimed & (1 << i)
        else:
            for j in range(4):
                body[q + j] = past[q + j]
            for j in range(3):
                body[p + j] = past[p + j]
            window.refused_bones += (claimed >> i) & 1
        # world = origin + Ry(heading) position
        body[w] = body[ORIGIN] + cosine * body[p] + sine * body[p + 2]
        body[w + 1] = body[ORIGIN + 1] + body[p + 1]
        body[w + 2] = body[ORIGIN + 2] - sine * body[p] + cosine * body[p + 2]
        far = 0.0
        for j in range(3):
            far += (body[w + j] - past[w + j] - (body[ORIGIN + j] - past[ORIGIN + j])) ** 2
        swept += far
        if far <= (LIMB_GLITCH_M_S * step_s) ** 2 and time_ns - window.seen_ns[i] <= MISSING_NS:
            joined |= 1 << i
        if ((valid >> i) | (valid >> PARENTS[i])) & 1:  # its parent places a limb that has no sensor of its own
            placed |= 1 << i
            window.seen_ns[i] = time_ns
    broken = broken or step_ns > GAP_NS or (fast_turn and swept > LIMBS * (SWEPT_M_S * step_s) ** 2)
    times[slot] = time_ns
    window.arrival_ns[slot] = frame.arrival_ns
    window.first[slot] = number if broken else window.first[before]
    window.real[slot] = real
    window.valid[slot] = valid
    window.joined[slot] = 0 if broken else joined & window.known
    window.known |= placed
    window.pushed = number + 1
    window.oldest = max(window.oldest, number + 1 - SLOTS)
    return True


@kernel
def sample(out: NDArray[np.float32], window: Any, time_ns: int, first: int, last: int) -> None:
    """Write the body at `time_ns` among frames first..last into `out`, float32 (BODY,), and a, b, fraction.

    Straight lines between frames; the end frames beyond them (a = b); the earlier frame where an epoch ends in between.
    """
    times = window.time_ns
    a = last
    while a > first and times[a & MASK] > time_ns:
        a -= 1
    b = min(a + 1, last)
    past_ns = time_ns - times[a & MASK]
    if past_ns <= 0 or window.first[b & MASK] > a:
        b = a
    fraction = 0.0
    if a < b:
        fraction = past_ns / (times[b & MASK] - times[a & MASK])
    start, end = window.body[a & MASK], window.body[b & MASK]
    for k in range(BODY):
        out[k] = start[k] + np.float32(fraction) * (end[k] - start[k])
    window.a = a
    window.b = b
    window.fraction = fraction
