"""Recorded motion as clips: load a file, hold its end, loop it without a seam.

`load` turns every supported file (BVH, DeepMimic JSON, captured datagrams, a logged session) into limb frames with
time from 0.
`Loop` and `dancer.Dancer` share one interface, `frames(start, count)`, so a player need not know which it plays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.motion import bvh, deepmimic, pose
from echelon_bridges.motion.errors import MotionFileError
from echelon_bridges.motion.pose import Frames, Motion
from echelon_bridges.protocol import captures
from echelon_bridges.protocol.mocopi_stream import MocopiStream
from echelon_bridges.protocol.sniff import protocol_of
from echelon_bridges.protocol.vmc import VmcStream
from echelon_bridges.session.folder import is_session
from echelon_engine import poses
from echelon_engine import quaternion as qt
from echelon_engine.errors import UserError
from echelon_engine.memory import SYNTHETIC

Floats = NDArray[np.float64]

BLEND_S = 0.25  # shortest cross-blend at the seam of a loop
BLEND_LIMIT_S = 2.0
ROAM_M = 200.0  # a loop that travels goes back to where it began after this way, with a BREAK
BLEND_SPEED_MPS = 1.0  # a seam may move a bone about this fast on average; longer ways take longer blends


@dataclass(frozen=True)
class Clip:
    """A recorded stretch of motion. `frames` LIMB_FRAME (N,), `time_ns` from 0; `notes` say what was corrected."""

    name: str
    frames: Frames
    rate_hz: float
    offsets: Floats
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Seconds until the frame that would follow the last one."""
        return float(self.frames["time_ns"][-1]) * 1e-9 + 1.0 / self.rate_hz

    def loop(self, blend_s: float = BLEND_S) -> Loop:
        """Return the clip as endless motion, its end cross-blended into its beginning."""
        return Loop(self, blend_s)


def blend(a: Frames, b: Frames, t: Floats, offsets: Floats) -> Frames:
    """Return frames the fraction `t` (N,) of the way from `a` to `b`; positions follow from the blended rotations."""
    frames = a.copy()
    rotation = qt.slerp(a["rotation"], b["rotation"], np.broadcast_to(t[:, None], a["rotation"].shape[:2]))
    frames["rotation"] = qt.canonical(rotation)
    frames["position"] = poses.positions(rotation, offsets)
    way = np.remainder(b["heading"].astype(np.float64) - a["heading"] + np.pi, 2.0 * np.pi) - np.pi
    frames["heading"] = np.remainder(a["heading"] + t * way + np.pi, 2.0 * np.pi) - np.pi
    frames["origin"] = a["origin"] + t[:, None] * (b["origin"] - a["origin"])
    frames["valid"] = a["valid"] & b["valid"]
    return frames


class Loop:
    """A clip without end: `frames(start, count)` gives any stretch, the same however it is asked for.

    The end is cross-blended into the beginning over 0.25 s, longer where the two poses lie far apart. Each round starts
    where the last one ended on stage and faces where it faced, so that no bone and no heading leaps at the seam.
    """

    def __init__(self, clip: Clip, blend_s: float = BLEND_S) -> None:
        frames = clip.frames
        rate = clip.rate_hz
        far = float(np.max(np.linalg.norm(frames["position"][-1] - frames["position"][0], axis=-1)))
        wanted = int(np.ceil(rate * min(max(blend_s, far / BLEND_SPEED_MPS), BLEND_LIMIT_S)))
        count = min(wanted, len(frames) // 3)
        self.clip, self.rate_hz = clip, rate
        self.period = max(1, len(frames) - count)
        middle = count // 2
        tail = frames[self.period + middle] if count else frames[-1]
        # One round carries the body by a turn about +Y and a step on the floor.
        self._turn = float(tail["heading"]) - float(frames[middle]["heading"])
        self._step = np.array(tail["origin"], np.float64) - self._turned(frames[middle]["origin"], self._turn)
        self._step[1] = 0.0
        self._group = max(1, int(ROAM_M / max(float(np.linalg.norm(self._step)), 1e-9)))
        round_: Frames = frames[: self.period].copy()
        round_["flags"] = 0
        if count:
            # Seen from the next round's start, the tail goes on from the last one.
            before = frames[self.period :].copy()
            before["heading"] -= self._turn
            before["origin"] = self._turned(before["origin"] - self._step.astype(np.float32), -self._turn)
            s = (np.arange(count) + 0.5) / count
            t = s * s * s * (10.0 + s * (6.0 * s - 15.0))
            round_[:count] = blend(before, round_[:count], t, clip.offsets)
            round_["flags"] = 0
        self._round = round_

    @staticmethod
    def _turned(origin: NDArray[np.floating], turn: float) -> Floats:
        return qt.rotate(qt.about([0.0, 1.0, 0.0], turn), origin)

    def frames(self, start: int, count: int) -> Frames:
        """Return `count` frames from frame `start` (0 is the clip's own first) on; only frame 0 carries BREAK."""
        index = np.arange(start, start + count)
        rounds, place = np.divmod(index, self.period)
        result: Frames = self._round[place]
        first = (rounds % self._group == 0) & (place < len(self.clip.frames))
        result[first] = self.clip.frames[place[first]]
        rounds %= self._group  # a traveller starts over before float32 runs out of millimetres
        result["flags"] = np.where((rounds == 0) & (place == 0), self.clip.frames["flags"][0], 0)
        for k in np.unique(rounds):
            if k == 0:
                continue
            # k rounds: a turn by k a, and a step of (1 + R + R^2 .. R^(k-1)) s, R^j a turn by j a
            here = rounds == k
            spiral = np.exp(1j * self._turn)
            total = complex(k) if abs(spiral - 1.0) < 1e-9 else complex((1.0 - spiral**k) / (1.0 - spiral))
            x, _, z = self._step
            origin = self._turned(result["origin"][here], float(k) * self._turn)
            step = [total.real * x + total.imag * z, 0.0, total.real * z - total.imag * x]
            result["origin"][here] = origin + np.array(step)
            heading = result["heading"][here] + float(k) * self._turn
            result["heading"][here] = np.remainder(heading + np.pi, 2.0 * np.pi) - np.pi
        result["time_ns"] = result["arrival_ns"] = np.rint(index / self.rate_hz * 1e9).astype(np.int64)
        result["number"] = index
        return result


def hold(clip: Clip, seconds: float) -> Clip:
    """Return the clip with its last pose held for `seconds` more, marked SYNTHETIC: a held pose is no motion."""
    count = round(seconds * clip.rate_hz)
    held = np.repeat(clip.frames[-1:], count)
    held["number"] += 1 + np.arange(count)
    held["time_ns"] += np.rint((1 + np.arange(count)) / clip.rate_hz * 1e9).astype(np.int64)
    held["arrival_ns"] = held["time_ns"]
    held["flags"] = SYNTHETIC
    return replace(clip, frames=np.concatenate([clip.frames, held]), notes=(*clip.notes, f"held for {seconds:g} s"))


def from_motion(name: str, motion: Motion) -> Clip:
    """Return a clip of decoded motion on the 27 bones."""
    frames = pose.limb_frames(motion.times_s, motion.local, motion.origin, motion.offsets, motion.valid)
    times = motion.times_s
    rate = (len(times) - 1) / float(times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 60.0
    return Clip(name, frames, rate, motion.offsets, motion.notes)


def _from_capture(path: Path) -> Clip:
    """Return a capture of mocopi or VMC datagrams as a clip, through the same decoders as live ones."""
    datagrams = captures.read(path)
    begin = datagrams[0][0]
    stream = MocopiStream() if any(protocol_of(data) == "mocopi" for _, data in datagrams) else VmcStream()
    found = [stream.feed(data, round((seconds - begin) * 1e9)) for seconds, data in datagrams]
    played = [frames for frames in found if frames is not None]
    if not played:
        raise MotionFileError(path, f"none of its {len(datagrams)} datagrams is a mocopi or VMC frame")
    frames = np.concatenate(played)
    frames["time_ns"] -= frames["time_ns"][0]
    frames["arrival_ns"] = frames["time_ns"]
    steps = np.diff(frames["time_ns"])
    rate = 1e9 / float(np.median(steps)) if len(steps) else 60.0
    notes = [f"{len(frames)} frames from {len(datagrams)} datagrams"]
    if stream.counts.refused:
        notes.append(f"refused {stream.counts.refused} datagrams")
    return Clip(path.stem, frames, rate, stream.offsets.copy(), tuple(notes))


def _from_session(path: Path) -> Clip:
    """Return the body that a session was played with; what else was heard (notes, settings, devices) is not in it."""
    from echelon_bridges.session import motion as played
    from echelon_bridges.session.reader import Session

    try:
        session = Session.open(path)
    except UserError as error:
        raise MotionFileError(path, f"{error.rule}; {error.remedy}") from None
    heard = played.body(session)
    if not len(heard):
        raise MotionFileError(path, "nobody moves in this session; choose another one")
    frames, rate_hz, notes = played.even(heard)
    about = "the session's body plays as if live; `render` plays its sound byte for byte"
    return Clip(
        session.name,
        frames,
        rate_hz,
        poses.offsets(heard["rotation"], heard["position"]),
        (about, *session.notes, *notes),
    )


def load(path: str | Path) -> Clip:
    """Return a motion file as a clip: BVH, DeepMimic JSON or captured datagrams, told apart by suffix, else by content.

    A session (its folder) gives the body that it was played with. MotionFileError says file, line, value, rule and
    remedy for anything that cannot be played.
    """
    path = Path(path)
    if is_session(path):
        return _from_session(path)
    if path.is_dir():
        raise MotionFileError(path, "is a folder; name one motion file in it")
    suffix = path.suffix.lower()
    if suffix == ".bvh":
        return from_motion(path.stem, bvh.read(path))
    if suffix in (".smfstream", ".mocopipackets", ".vmcpackets"):
        return _from_capture(path)
    if suffix in (".json", ".txt"):
        return from_motion(path.stem, deepmimic.read(path))
    try:
        with path.open("rb") as file:
            start = file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError as error:
        raise MotionFileError(path, f"cannot be read ({error.strerror or error}); check the name") from error
    if start.upper().startswith(b"HIERARCHY"):
        return from_motion(path.stem, bvh.read(path))
    if start.startswith(b"{"):
        return from_motion(path.stem, deepmimic.read(path))
    raise MotionFileError(
        path, f"suffix {suffix or '(none)'}: BVH (.bvh), DeepMimic JSON (.json) and captures (.smfstream) play"
    )
