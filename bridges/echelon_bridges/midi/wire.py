"""What the bridges and a process that holds a MIDI port say to one another: frames of kind, length and body. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

# To the port's process.
SEND, SILENCE, BEAT, PING = 1, 2, 3, 4  # a MIDI message; end what sounds; the musical clock (BEAT_FORM); are you there
# From it.
OPENED, MISSING, GONE, HEARD, PONG = 65, 66, 67, 68, 69  # port's name; why; why; HEARD_FORM and message; PONG_FORM

BEAT_FORM = struct.Struct("<qdd")  # nanoseconds, beat, tempo in bpm
HEARD_FORM = struct.Struct("<q")  # when, nanoseconds
PONG_FORM = struct.Struct("<qqq")  # ticks sent, largest lateness ns, messages that the port refused
_HEAD = struct.Struct("<BB")


def frame(kind: int, body: bytes = b"") -> bytes:
    """Return one frame; the body has 255 bytes at most, the rest is cut."""
    body = body[:255]
    return _HEAD.pack(kind, len(body)) + body


def frames(data: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the whole frames (kind, body) off the front of what was read."""
    while len(data) >= 2 and len(data) >= 2 + data[1]:
        kind, size = data[0], data[1]
        body = bytes(data[2 : 2 + size])
        del data[: 2 + size]
        yield kind, body
