"""More motion out of little: limb frames (memory.LIMB_FRAME) in, limb frames out; the same seed, the same frames.

| function | what it promises |
|---|---|
| `mirror` | the body behind the mirror: left and right of x are swapped; twice is the identity, bit for bit |
| `warp` | tempo times `factor`: so are all velocities; poses are untouched |
| `amplitude` | bones turn `gain` times as far from their mean pose; their lengths stay |
| `noise` | an inertial suit's: slow drift of each bone, some jitter, uneven stamps; who stands still stays still |
| `drop` | frames lost in gaps, as over radio; what is left is untouched |
| `thin` | a slower sender: every k-th frame |
| `join` | takes one after the other, each where the last one ended and facing there, blended with continuous velocity |
| `variant` | all of these at random |

Source: spec/motion.md for the frame; gaps and jitter as the bridges meet them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine import poses
from echelon_engine import quaternion as qt
from echelon_engine.memory import BREAK, LIMBS

Frames = NDArray[Any]

NS = 1_000_000_000
RATE_HZ = 60.0
SLOWEST, FASTEST = 0.7, 1.4  # tempo
SMALLEST, LARGEST = 0.8, 1.2  # amplitude
DRIFT_DEG, JITTER_DEG, STAMP_MS = 2.0, 0.03, 1.0
DRIFT_HZ = (0.02, 0.1)
SHORTEST_GAP_S, LONGEST_GAP_S = 0.03, 0.6
SHORTEST_BLEND_S, LONGEST_BLEND_S, BLEND_MPS = 0.25, 2.0, 1.0  # a blend moves bones about this fast on average
VARIANT_S = 20.0

# Each limb's counterpart: arms 11-14 and 15-18, legs 19-22 and 23-26.
OTHER_SIDE = np.r_[0:11, 15:19, 11:15, 23:27, 19:23]

# Which sensor's error each limb has, and what share of it: torso_1-7 and neck_1-head bend together.
SENSOR = np.r_[0, [7] * 7, [10] * 3, 11:27]
SHARE = np.r_[1.0, [1 / 7] * 7, [1 / 3] * 3, np.ones(16)]


def mirror(frames: Frames) -> Frames:
    """Return the motion mirrored at the body's own middle plane: x -> -x, left limbs become right ones."""
    result = frames.copy()
    # A rotation vector is an axial one: its x stays, y and z turn round.
    result["rotation"] = frames["rotation"][:, OTHER_SIDE] * np.array([1, -1, -1, 1], np.float32)
    result["position"] = frames["position"][:, OTHER_SIDE] * np.array([-1, 1, 1], np.float32)
    result["heading"] = -frames["heading"]
    result["origin"] = frames["origin"] * np.array([-1, 1, 1], np.float32)
    bits = (frames["valid"][:, None] >> np.arange(LIMBS, dtype=np.uint32)) & 1
    result["valid"] = (bits[:, OTHER_SIDE] << np.arange(LIMBS, dtype=np.uint32)).sum(axis=1)
    return result


def warp(frames: Frames, factor: float) -> Frames:
    """Return the motion `factor` times as fast."""
    return _timed(frames.copy(), np.rint((frames["time_ns"] - frames["time_ns"][0]) / factor))


def amplitude(frames: Frames, gain: float) -> Frames:
    """Return the motion with every bone's way from its mean rotation, and the root's from its mean place, times `gain`.

    The heading is left alone, so that whole turns stay whole; positions follow by forward kinematics.
    """
    rotation = frames["rotation"].astype(np.float64)
    result = frames.copy()
    _pose(result, qt.slerp(qt.mean(rotation)[None], rotation, gain), poses.offsets(rotation, frames["position"]))
    middle = frames["origin"].mean(axis=0, dtype=np.float64)
    result["origin"] = middle + gain * (frames["origin"] - middle)
    return result


def noise(
    frames: Frames,
    rng: np.random.Generator,
    *,
    drift_deg: float = DRIFT_DEG,
    jitter_deg: float = JITTER_DEG,
    stamp_ms: float = STAMP_MS,
) -> Frames:
    """Return the motion as an inertial suit would have measured it; sizes are standard deviations.

    Each sensor drifts about each axis as the sum of slow sines (0.02 to 0.1 Hz) and jitters from frame to frame; the
    seven bones of the spine share the error of one, as do the three of the neck. Time stamps are off by less than a
    third of a step. Bones keep their lengths.
    """
    count, sines = len(frames), 5
    seconds = (frames["time_ns"] - frames["time_ns"][0]) / NS
    rate = rng.uniform(*DRIFT_HZ, (sines, LIMBS, 3))
    phase = rng.uniform(0.0, 2.0 * np.pi, (sines, LIMBS, 3))
    drift = np.zeros((count, LIMBS, 3))
    for k in range(sines):
        drift += np.sin(2.0 * np.pi * rate[k] * seconds[:, None, None] + phase[k])
    wrong = drift_deg * np.sqrt(2.0 / sines) * drift + jitter_deg * rng.standard_normal((count, LIMBS, 3))
    wrong = wrong[:, SENSOR] * SHARE[:, None]
    rotation = frames["rotation"].astype(np.float64)
    result = frames.copy()
    wrong_turn = qt.from_vector(np.radians(wrong))
    _pose(result, qt.multiply(rotation, wrong_turn), poses.offsets(rotation, frames["position"]))
    if count > 1:
        times = frames["time_ns"].astype(np.float64)
        least = np.diff(times).min() / 3.0
        times[1:] += np.clip(stamp_ms * 1e6 * rng.standard_normal(count - 1), -least, least)
        _timed(result, np.rint(times - times[0]))
    return result


def drop(frames: Frames, rng: np.random.Generator, gaps_per_minute: float = 6.0) -> Frames:
    """Return the motion with gaps of 30 to 600 ms at random places; the first and the last frame are always there.

    Most gaps are short (their lengths are even on a log scale).
    """
    seconds = (frames["time_ns"] - frames["time_ns"][0]) / NS
    kept = np.ones(len(frames), np.bool_)
    for _ in range(rng.poisson(gaps_per_minute * seconds[-1] / 60.0)):
        begin = rng.uniform(0.0, seconds[-1])
        length_s = SHORTEST_GAP_S * (LONGEST_GAP_S / SHORTEST_GAP_S) ** rng.random()
        kept &= (seconds <= begin) | (seconds >= begin + length_s)
    kept[[0, -1]] = True
    return frames[kept]


def thin(frames: Frames, every: int) -> Frames:
    """Return every k-th frame: a sender of a lower rate."""
    return frames[::every].copy()


def even(frames: Frames, rate_hz: float = RATE_HZ) -> Frames:
    """Return the motion at an even rate, from time 0: slerp and straight lines between its frames, as on stage."""
    times = (frames["time_ns"] - frames["time_ns"][0]).astype(np.float64)
    wanted = np.arange(int(times[-1] * rate_hz / NS + 1e-6) + 1) * (NS / rate_hz)
    after = np.clip(np.searchsorted(times, wanted, side="right"), 1, max(len(times) - 1, 1))
    if len(times) < 2:
        after = np.zeros(len(wanted), np.int64)
    before = np.maximum(after - 1, 0)
    t = np.clip((wanted - times[before]) / np.maximum(times[after] - times[before], 1.0), 0.0, 1.0)
    result = _between(frames[before], frames[after], t, straight=True)
    result["flags"] = 0
    result["flags"][0] = BREAK
    return _timed(result, np.rint(wanted))


def join(takes: Iterable[Frames], rate_hz: float = RATE_HZ, seconds: float = np.inf) -> Frames:
    """Return takes as one motion at an even rate, each blended into the next; none is taken beyond `seconds`.

    The next one begins where the last one ends on the floor and faces where it faces. The weight of a blend is a
    quintic whose first two derivatives vanish at both ends, so velocities are continuous if those of the takes are. It
    lasts 0.25 to 2 s, longer the further the two poses lie apart, at most half of either take.
    """
    done: list[Frames] = []
    length = 0
    last: Frames | None = None
    for take in takes:
        after = even(take, rate_hz)
        if last is not None:
            far_m = float(np.max(np.linalg.norm(last["position"][-1] - after["position"][0], axis=-1)))
            length_s = min(max(far_m / BLEND_MPS, SHORTEST_BLEND_S), LONGEST_BLEND_S)
            count = max(min(round(length_s * rate_hz), len(last) // 2, len(after) // 2), 1)
            middle = count // 2
            _place(after, last[len(last) - count + middle], after[middle].copy())
            s = (np.arange(count) + 0.5) / count
            t = s * s * s * (10.0 + s * (6.0 * s - 15.0))
            blend = _between(last[-count:], after[:count], t, straight=False)
            done.append(last[:-count])
            length += len(last) - count
            after = np.concatenate([blend, after[count:]])
        last = after
        if length + len(last) >= seconds * rate_hz:
            break
    assert last is not None, "no takes"
    joined = np.concatenate([*done, last])
    joined["flags"] = 0
    joined["flags"][0] = BREAK
    return _timed(joined, np.rint(np.arange(len(joined)) * (NS / rate_hz)))


def variant(takes: Sequence[Frames], rng: np.random.Generator, seconds: float = VARIANT_S) -> Frames:
    """Return `seconds` of new motion out of takes, drawn at random, each warped and scaled anew.

    Half the pieces are mirrored; the whole is measured by a noisy suit, with gaps in two of three cases, and at half
    the rate in one of five.
    """
    frames = noise(join(_pieces(takes, rng), seconds=seconds)[: round(seconds * RATE_HZ)], rng)
    if rng.random() < 0.2:
        frames = thin(frames, 2)
    return drop(frames, rng) if rng.random() < 2.0 / 3.0 else frames


def _pieces(takes: Sequence[Frames], rng: np.random.Generator) -> Iterator[Frames]:
    """Yield takes at random, without end."""
    while True:
        piece = takes[int(rng.integers(len(takes)))]
        if rng.random() < 0.5:
            piece = mirror(piece)
        piece = warp(piece, float(np.exp(rng.uniform(np.log(SLOWEST), np.log(FASTEST)))))
        yield amplitude(piece, float(rng.uniform(SMALLEST, LARGEST)))


def _timed(frames: Frames, times_ns: Any) -> Frames:
    frames["time_ns"] = frames["arrival_ns"] = np.asarray(times_ns, np.int64)
    frames["number"] = np.arange(len(frames))
    return frames


def _pose(frames: Frames, rotation: NDArray[np.float64], offsets: NDArray[np.float64]) -> None:
    frames["rotation"] = qt.canonical(rotation)
    frames["position"] = poses.positions(rotation, offsets)


def _between(a: Frames, b: Frames, t: NDArray[np.float64], *, straight: bool) -> Frames:
    """Return frames the fraction t (n,) of the way from a to b; positions on straight lines, or by kinematics."""
    result = poses.between(a.copy(), a, b, t)
    if not straight:
        first, last = (poses.offsets(each["rotation"], each["position"]) for each in (a, b))
        result["position"] = poses.positions(result["rotation"], first + t[:, None, None] * (last - first))
    result["valid"] = np.where(t <= 0.0, a["valid"], np.where(t >= 1.0, b["valid"], a["valid"] & b["valid"]))
    return result


def _place(frames: Frames, there: Any, here: Any) -> None:
    """Turn and move a motion on the floor so that its frame `here` faces and stands as `there` does."""
    angle = float(there["heading"]) - float(here["heading"])
    turned = qt.rotate(qt.from_vector([0.0, angle, 0.0]), frames["origin"] - here["origin"])
    turned[:, 1] = frames["origin"][:, 1]
    turned[:, [0, 2]] += there["origin"][[0, 2]]
    frames["origin"] = turned
    frames["heading"] = np.remainder(frames["heading"] + angle + np.pi, 2.0 * np.pi) - np.pi
