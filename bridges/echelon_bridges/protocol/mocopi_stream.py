"""One mocopi performer over time: packets in order to limb frames, with everything that went wrong counted.

Starts on rotations with the default body before the first skeleton packet and swaps the body when it comes. Order, loss
and restarts are judged by both clocks of a packet, its number and its time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echelon_bridges.motion.pose import Floats, Frames, LiveBody
from echelon_bridges.motion.skeleton import ALL_VALID, REST_OFFSETS
from echelon_bridges.protocol import mocopi
from echelon_bridges.protocol.refusal import FOREIGN, Refusal
from echelon_bridges.protocol.senderclock import SenderClock
from echelon_engine.memory import BREAK

GAP_S = 0.25  # no velocity is taken across a longer gap
LATE_FRAMES = 1000  # a number lower by less may be a late packet, by more is a restart
LOST_LIMIT = 10_000  # a leap beyond is no loss but another count
LATE_IN_A_ROW = 5  # late packets that go on in order are a restarted sender


@dataclass(slots=True)
class Counts:
    """What a stream has brought so far."""

    frames: int = 0
    skeletons: int = 0
    lost: int = 0  # numbers that were passed over, those that came late included
    duplicates: int = 0
    late: int = 0
    restarts: int = 0
    refused: int = 0  # datagrams
    undecodable: int = 0  # of these, in some other format
    refused_bones: int = 0
    unknown_boxes: int = 0
    before_skeleton: int = 0


class MocopiStream:
    """Turns one performer's datagrams into limb frames."""

    timed = True

    def __init__(self) -> None:
        self.counts = Counts()
        self.refusal: Refusal | None = None  # the newest
        self.clock = SenderClock()
        self._body = LiveBody(REST_OFFSETS)
        self._has_skeleton = False
        self._last: mocopi.Frame | None = None
        self._last_ns = 0
        self._late: tuple[int, int] = (0, 0)  # number of the newest late packet, how many came in order

    @property
    def offsets(self) -> Floats:
        """Bone offsets in use (27, 3), metres."""
        return self._body.offsets

    @property
    def rig_declared(self) -> bool:
        """Whether the sender has told its own bone offsets."""
        return self._has_skeleton

    def feed(self, data: bytes, arrival_ns: int) -> Frames | None:
        """Take one datagram; return LIMB_FRAME `(1,)`, or None for skeletons and everything that is not played."""
        packet = mocopi.decode(data)
        if isinstance(packet, Refusal):
            self.counts.refused += 1
            self.counts.undecodable += packet.kind == FOREIGN
            self.refusal = packet
            return None
        self.counts.unknown_boxes += packet.unknown_boxes
        self.counts.refused_bones += packet.refused_bones
        if isinstance(packet, mocopi.Skeleton):
            self.counts.skeletons += 1
            self._has_skeleton = True
            offsets = self._body.offsets.copy()
            sent = (packet.present >> np.arange(len(offsets))) & 1 == 1
            offsets[sent] = packet.offsets[sent]
            self._body.set_offsets(offsets)
            return None
        flags = self._judge(packet)
        if flags is None:
            return None
        self._last = packet
        self.counts.frames += 1
        self.counts.before_skeleton += not self._has_skeleton
        time_ns = self.clock.engine_ns(round(packet.time_s * 1e9), arrival_ns)
        self._last_ns = max(time_ns, self._last_ns + 1) if self._last_ns else time_ns
        rotations = packet.rotations
        if packet.present != ALL_VALID:  # bones that did not come keep their last value
            missing = (packet.present >> np.arange(len(rotations))) & 1 == 0
            rotations = rotations.copy()
            rotations[missing] = np.nan
        before = self._body.refused_bones
        frame = self._body.frame(
            rotations, packet.root, time_ns=self._last_ns, arrival_ns=arrival_ns, number=packet.number, flags=flags
        )
        self._body.refused_bones = before  # counted by the decoder
        return frame

    def _judge(self, packet: mocopi.Frame) -> int | None:
        """Return the flags of a frame to be played, or None for one that is not; count what happened."""
        last = self._last
        if last is None:
            return BREAK
        ahead = (packet.number - last.number + (1 << 31)) % (1 << 32) - (1 << 31)
        later_s = packet.time_s - last.time_s
        if abs(later_s) < 1e-5:
            if ahead == 0 or last.unix_s is None or packet.unix_s is None or packet.unix_s <= last.unix_s:
                self.counts.duplicates += 1
                return None
        elif ahead > 0 and later_s > 0:
            self._late = (0, 0)
            if ahead < LOST_LIMIT:
                self.counts.lost += ahead - 1
            return BREAK if later_s > GAP_S else 0
        elif ahead < 0 and self._came_late(packet, last, -ahead):  # of this start, or of the one before
            return None
        self.counts.restarts += 1
        self.clock.reset()
        self._late = (0, 0)
        return BREAK

    def _came_late(self, packet: mocopi.Frame, last: mocopi.Frame, behind: int) -> bool:
        """Return whether a packet with an older number is a late one of this app, and not a restarted app's."""
        if packet.unix_s is not None and last.unix_s is not None:
            late = packet.unix_s < last.unix_s
        else:
            late = behind < LATE_FRAMES
        number, run = self._late
        run = run + 1 if packet.number == number + 1 else 1
        if not late or run > LATE_IN_A_ROW:
            return False
        self._late = (packet.number, run)
        self.counts.late += 1
        return True
