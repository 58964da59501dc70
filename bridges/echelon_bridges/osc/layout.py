"""Bundles of messages whose addresses never change, built once: sending fills their numbers in.

OSC aligns everything to 4 bytes, so a set of bundles is one array of 32-bit words, and a tick is one scatter of the
values' words. Every bundle begins with the stamp, a message that says version, sequence and times.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel

BUNDLE_BYTES = 1472  # what a UDP datagram carries over Ethernet in one piece
IMMEDIATELY = b"#bundle\0" + struct.pack(">Q", 1)
STAMP = struct.Struct(">iqqd")
STAMP_TAGS = "ihhd"  # version, sequence, monotonic_ns, wall_s: as every message of messages/table.py
SIZES = {"i": 4, "f": 4, "h": 8, "d": 8}


def padded(text: str) -> bytes:
    """Return an OSC string: closing zero, then zeros to a multiple of 4 bytes."""
    data = text.encode() + b"\0"
    return data + bytes(-len(data) % 4)


def element(address: str, tags: str) -> tuple[bytes, int]:
    """Return (a bundle's element up to its arguments, bytes of its arguments)."""
    head = padded(address) + padded("," + tags)
    size = sum(SIZES[tag] for tag in tags)
    return struct.pack(">i", len(head) + size) + head, size


@kernel
def turn_words(out: Any, targets: Any, words: Any, sources: Any) -> None:
    """Write words uint32 at `sources` (n,), little-endian, to `targets` (n,) of `out`, big-endian."""
    for i in range(sources.shape[0]):
        word = words[sources[i]]
        out[targets[i]] = (word & 0xFF) << 24 | (word & 0xFF00) << 8 | word >> 8 & 0xFF00 | word >> 24


class Layout:
    """Bundles of at most 1,472 bytes for these messages, (address, tags of i f h d) each, in order.

    `fields` is the structured dtype, big-endian, of one tick's arguments: field n is an array of message n's (equal)
    tags. `bundles(values, stamp)` returns the datagrams: values one record of `fields`, stamp (version, sequence,
    monotonic ns, seconds since 1970). `bundles_of(raw, sources, stamp)` does, where the arguments in order are those
    32-bit words of a record in bytes. Raises ValueError for a message that no bundle can hold.
    """

    def __init__(self, messages: Sequence[tuple[str, str]], stamp_address: str) -> None:
        stamp, stamp_bytes = element(stamp_address, STAMP_TAGS)
        start = IMMEDIATELY + stamp
        data, ends = bytearray(), []
        stamps: list[int] = []
        slots: list[int] = []
        forms: list[tuple[str, str, tuple[int, ...]]] = []
        room = 0
        for number, (address, tags) in enumerate(messages):
            head, size = element(address, tags)
            if len(start) + stamp_bytes + len(head) + size > BUNDLE_BYTES:
                raise ValueError(f"{address}: {len(head) + size} bytes do not fit into a bundle of {BUNDLE_BYTES}")
            if len(head) + size > room:
                if data:
                    ends.append(len(data))
                data += start
                stamps.append(len(data))
                data += bytes(stamp_bytes)
                room = BUNDLE_BYTES - len(start) - stamp_bytes
            data += head
            slots.extend(range(len(data) // 4, (len(data) + size) // 4))
            data += bytes(size)
            room -= len(head) + size
            kind = {"i": ">i4", "f": ">f4", "h": ">i8", "d": ">f8"}[tags[0]]
            forms.append((f"m{number}", kind, (len(tags),)))
        ends.append(len(data))
        self.fields = np.dtype(forms)
        self._words = np.frombuffer(data, np.uint32)
        self._slots = np.array(slots, np.intp)
        self._data, self._stamps = data, stamps
        view = memoryview(data)
        self._bundles = [view[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
        assert self.fields.itemsize == 4 * len(slots)

    def bundles(self, values: NDArray[Any], stamp: tuple[int, int, int, float]) -> list[memoryview]:
        """Return the filled bundles; they are valid until the next call. `values` has shape (1,)."""
        self._words[self._slots] = values.view(np.uint32)
        return self._stamped(stamp)

    def bundles_of(self, raw: bytes, sources: NDArray[np.intp], stamp: tuple[int, int, int, float]) -> list[memoryview]:
        """Return the bundles filled from a record, as `bundles` does."""
        turn_words(self._words, self._slots, np.frombuffer(raw, np.uint32), sources)
        return self._stamped(stamp)

    def _stamped(self, stamp: tuple[int, int, int, float]) -> list[memoryview]:
        for at in self._stamps:
            STAMP.pack_into(self._data, at, *stamp)
        return self._bundles


_ONE, _NONE = np.zeros(1, np.uint32), np.zeros(0, np.intp)
turn_words(_ONE, _NONE, np.frombuffer(bytes(4), np.uint32), _NONE)  # compiled or loaded now: no datagram waits for it
