"""Open Sound Control 1.0/1.1 packets to messages and back, strictly: nothing is made up for bytes that are missing.

`decode` returns all messages of a packet, bundles unfolded, or one Refusal; no exception leaves it. Time tags are kept
as metadata and never waited for. Type tags: i f s b h d t T F N I S c r m [ ]. Source: opensoundcontrol.stanford.edu,
spec 1.0 and 1.1.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from echelon_bridges.protocol.refusal import EMPTY, FOREIGN, MALFORMED, TOO_LARGE, TRUNCATED, Refusal

Argument = int | float | str | bytes | bool | None

MAX_BYTES = 65536
MAX_DEPTH = 4  # bundles in bundles
MAX_MESSAGES = 1024
MAX_KNOWN_HEAD = 128  # bytes of address and type tags that are remembered
IMMEDIATE = 1  # the time tag that means "now"


class Message(NamedTuple):
    """One message: `address`, `tags` without the comma, `args` one a tag; `timetag` of its bundle, 1 where it has
    none.
    """

    address: str
    tags: str
    args: tuple[Argument, ...]
    timetag: int = IMMEDIATE


class _Bad(Exception):
    def __init__(self, kind: str, detail: str) -> None:
        self.refusal = Refusal(kind, detail)


def decode(data: bytes) -> list[Message] | Refusal:
    """Return the messages of a packet in order, or why it was refused as a whole."""
    if not data:
        return Refusal(EMPTY, "0 bytes")
    if len(data) > MAX_BYTES:
        return Refusal(TOO_LARGE, f"{len(data)} bytes")
    if data[:1] not in (b"/", b"#"):
        return Refusal(FOREIGN, f"begins with {bytes(data[:8])!r}; OSC begins with / or #bundle")
    found: list[Message] = []
    try:
        _packet(data, 0, len(data), IMMEDIATE, 0, found)
    except _Bad as bad:
        return bad.refusal
    return found


def _packet(data: bytes, at: int, end: int, timetag: int, depth: int, found: list[Message]) -> None:
    if end - at < 4 or (end - at) % 4:
        raise _Bad(MALFORMED, f"packet of {end - at} bytes; OSC comes in multiples of 4")
    if data[at : at + 8] != b"#bundle\0":
        if len(found) >= MAX_MESSAGES:
            raise _Bad(TOO_LARGE, f"more than {MAX_MESSAGES} messages in a packet")
        found.append(_message(data, at, end, timetag))
        return
    if depth >= MAX_DEPTH:
        raise _Bad(TOO_LARGE, f"bundles nested deeper than {MAX_DEPTH}")
    if end - at < 16:
        raise _Bad(TRUNCATED, "bundle without its time tag")
    (timetag,) = struct.unpack_from(">Q", data, at + 8)
    at += 16
    while at < end:
        (size,) = struct.unpack_from(">i", data, at) if end - at >= 4 else (-1,)
        if size < 0 or size > end - at - 4:
            raise _Bad(TRUNCATED, f"bundle element announces {size} bytes, {max(0, end - at - 4)} are left")
        _packet(data, at + 4, at + 4 + size, timetag, depth + 1, found)
        at += 4 + size


def _string(data: bytes, at: int, end: int) -> tuple[str, int]:
    zero = data.find(b"\0", at, end)
    if zero < 0:
        raise _Bad(TRUNCATED, "a string without its closing zero")
    after = at + ((zero - at) // 4 + 1) * 4
    if after > end:
        raise _Bad(TRUNCATED, "a string whose padding is missing")
    return data[at:zero].decode("utf-8", errors="replace"), after


_FIXED = {"i": ">i", "f": ">f", "h": ">q", "d": ">d", "t": ">Q", "c": ">i", "r": ">I", "m": ">I"}
_CONSTANT: dict[str, Argument] = {"T": True, "F": False, "N": None, "I": True}


@lru_cache(maxsize=256)
def plan(tags: str) -> tuple[int, struct.Struct | None]:
    """Return how many strings lead, and one Struct for the rest where the rest is numbers alone: the usual message."""
    numbers = tags.lstrip("s")
    if len(tags) > 256 or not all(tag in _FIXED for tag in numbers):
        return 0, None
    return len(tags) - len(numbers), struct.Struct(">" + "".join(_FIXED[tag][1:] for tag in numbers))


@lru_cache(maxsize=512)
def _known_head(head: bytes) -> tuple[str, str, int, struct.Struct | None]:
    return _head(head, 0, len(head))[:4]


def _head(data: bytes, at: int, end: int) -> tuple[str, str, int, struct.Struct | None, int]:
    """Return a message's address, its type tags, their `plan`, and where its arguments begin."""
    address, at = _string(data, at, end)
    if not address.startswith("/"):
        raise _Bad(MALFORMED, f"address {address[:40]!r}; it begins with /")
    if at == end:
        return address, "", *plan(""), at  # senders older than type tags
    if data[at : at + 1] != b",":
        raise _Bad(MALFORMED, f"{address[:40]!r}: type tags begin with a comma")
    tags, at = _string(data, at, end)
    return address, tags[1:], *plan(tags[1:]), at


def _message(data: bytes, at: int, end: int, timetag: int) -> Message:
    # Addresses and type tags repeat: where both end plainly they are read once for all messages that begin so.
    comma = data.find(b",", at, end)
    zero = data.find(b"\0", comma, end) if comma > at and not (comma - at) % 4 and not data[comma - 1] else -1
    head_end = comma + ((zero - comma) // 4 + 1) * 4
    if zero >= 0 and head_end <= end and head_end - at <= MAX_KNOWN_HEAD:
        address, tags, strings, numbers, at = *_known_head(data[at:head_end]), head_end
    else:
        address, tags, strings, numbers, at = _head(data, at, end)
    args: list[Argument] = []
    if numbers is not None:
        for _ in range(strings):
            text, at = _string(data, at, end)
            args.append(text)
        if end - at != numbers.size:
            kind = TRUNCATED if end - at < numbers.size else MALFORMED
            raise _Bad(kind, f"{address[:40]!r}: {end - at} bytes for numbers of {numbers.size}")
        return Message(address, tags, (*args, *numbers.unpack_from(data, at)), timetag)
    for tag in tags:
        form = _FIXED.get(tag)
        if form is not None:
            size = struct.calcsize(form)
            if end - at < size:
                raise _Bad(TRUNCATED, f"{address[:40]!r}: {end - at} bytes left for an argument of type {tag}")
            args.append(struct.unpack_from(form, data, at)[0])
            at += size
        elif tag in ("s", "S"):
            text, at = _string(data, at, end)
            args.append(text)
        elif tag == "b":
            if end - at < 4:
                raise _Bad(TRUNCATED, f"{address[:40]!r}: blob without its size")
            (size,) = struct.unpack_from(">i", data, at)
            if size < 0 or size > end - at - 4:
                raise _Bad(TRUNCATED, f"{address[:40]!r}: blob announces {size} bytes, {end - at - 4} are left")
            args.append(data[at + 4 : at + 4 + size])
            at += 4 + (size + 3) // 4 * 4
        elif tag in _CONSTANT:
            args.append(_CONSTANT[tag])
        elif tag not in "[]":
            raise _Bad(MALFORMED, f"{address[:40]!r}: unknown argument type {tag!r}")
    if at != end:
        raise _Bad(MALFORMED, f"{address[:40]!r}: {abs(end - at)} bytes beyond its arguments")
    return Message(address, tags, tuple(args), timetag)


def _padded(text: str) -> bytes:
    data = text.encode() + b"\0"
    return data + bytes(-len(data) % 4)


def encode_message(address: str, tags: str, args: Sequence[Argument]) -> bytes:
    """Return one message; `tags` as in `Message`, of the types i f s h d t T F N I."""
    parts = [_padded(address), _padded("," + tags)]
    values = iter(args)
    for tag in tags:
        value = next(values)
        if tag in _FIXED:
            parts.append(struct.pack(_FIXED[tag], value))
        elif tag == "s":
            parts.append(_padded(str(value)))
        elif tag not in _CONSTANT:
            raise ValueError(f"type {tag!r} cannot be written; i f s h d t T F N I can")
    return b"".join(parts)


def encode_bundle(elements: Sequence[bytes], timetag: int = IMMEDIATE) -> bytes:
    """Return a bundle of encoded messages or bundles."""
    return b"#bundle\0" + struct.pack(">Q", timetag) + b"".join(struct.pack(">i", len(e)) + e for e in elements)
