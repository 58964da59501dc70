"""Everything that phones and trackers send, over OSC or JSON: bytes in, readings out, and no exception leaves it.

Nothing but the bytes decides what comes out: what is remembered of them (`shapes`) only saves reading them again.

One table says who is asked: a bundle that is ZIG SIM's as a whole, then each message by the start of its address, and
whoever is not known by that, by the last element (`general`). JSON objects go to the first adapter that knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from echelon_bridges.protocol import android, general, osc, sensorlog, vrchat, zigsim
from echelon_bridges.protocol.osc import Message
from echelon_bridges.protocol.reading import Readings
from echelon_bridges.protocol.refusal import EMPTY, FOREIGN, MALFORMED, TOO_LARGE, Refusal
from echelon_bridges.protocol.shapes import Shapes

MAX_BYTES = 8192  # of one datagram
MAX_BRACKETS = 512  # in one JSON text, so its depth too; ZIG SIM's 90 joints take about 100

# Start of the address -> adapter; whatever no start fits goes to `general`.
OSC: tuple[tuple[str, Callable[[Message, Readings], None]], ...] = ((vrchat.PREFIX, vrchat.take),)
JSON: tuple[Callable[[Mapping[str, object], Readings], bool], ...] = (
    zigsim.take_json,
    android.take_json,
    sensorlog.take_json,
)
_decoder = msgspec.json.Decoder()


def decode(data: bytes) -> Readings | Refusal:
    """Return the readings of a datagram that begins with `/`, `#` (OSC) or `{` (JSON), or why it was refused."""
    if not data:
        return Refusal(EMPTY, "0 bytes")
    if len(data) > MAX_BYTES:
        return Refusal(TOO_LARGE, f"{len(data)} bytes; a phone's datagram has at most {MAX_BYTES}")
    return _decode_osc(data) if data[:1] in (b"/", b"#") else _decode_json(data)


def _decode_osc(data: bytes) -> Readings | Refusal:
    found = _shapes.read(data)
    if found is not None:
        return found
    messages = osc.decode(data)
    if isinstance(messages, Refusal):
        return messages
    found = Readings()
    if messages:
        _take(data, messages, found)
        _shapes.learn(data, messages)
    return found


def _take(data: bytes, messages: list[Message], found: Readings) -> None:
    """Add what the messages of a datagram say; never by what a number of theirs is (see `shapes`)."""
    if data[:1] == b"#" and zigsim.owns(messages):
        zigsim.take_bundle(messages, found)
        return
    for message in messages:
        for start, take in OSC:
            if message.address.startswith(start):
                take(message, found)
                break
        else:
            general.take(message, found)


_shapes = Shapes(_take)


def _decode_json(data: bytes) -> Readings | Refusal:
    text = data.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\0")
    if text[:1] != b"{":
        return Refusal(FOREIGN, f"begins with {bytes(data[:8])!r}; OSC begins with / or #bundle, JSON with {{")
    if text.count(b"{") + text.count(b"[") > MAX_BRACKETS:
        return Refusal(TOO_LARGE, f"more than {MAX_BRACKETS} brackets in a JSON text")
    try:
        value = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Refusal(MALFORMED, f"no JSON: {error}")
    found = Readings()
    for take in JSON:
        if take(value, found):
            return found
    found.unknown += 1
    return found
