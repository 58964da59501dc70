"""Sends the body on to other programs as VMC: performer n to a port n higher than the first's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.protocol import osc, vmc
from echelon_engine import quaternion as qt
from echelon_engine.errors import UsageError

MOST_BYTES = 1472  # of a datagram that travels in one piece: 1500 less IP and UDP
BUNDLE_BYTES, ELEMENT_BYTES = 16, 4
NS = 1_000_000_000


def parse_target(text: str) -> tuple[str, int]:
    """Return (host, port) of `host:port`; raises `UsageError`."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise UsageError(f"sensors.relay {text!r}", "is no host:port", "for example 127.0.0.1:39540")
    return host.strip("[]"), int(port)


def packed(messages: list[bytes]) -> list[bytes]:
    """Return bundles of at most 1472 bytes that hold the encoded messages in order."""
    bundles: list[list[bytes]] = [[]]
    size = BUNDLE_BYTES
    for message in messages:
        if bundles[-1] and size + ELEMENT_BYTES + len(message) > MOST_BYTES:
            bundles.append([])
            size = BUNDLE_BYTES
        bundles[-1].append(message)
        size += ELEMENT_BYTES + len(message)
    return [osc.encode_bundle(bundle) for bundle in bundles]


class Relay:
    """An outlet that sends limb frames on to `host:port`, and says with `told(text)`, once, that it cannot.

    What cannot be sent at once is dropped and counted: motion does not wait.
    """

    name = "relay"

    def __init__(self, target: str, told: Callable[[str], None]) -> None:
        host, port = parse_target(target)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            raise UsageError(f"sensors.relay {target!r}", f"is not found ({error})", "check the host") from None
        self._address: Any = found[0][4]
        self.target = target
        self._told: Callable[[str], None] | None = told
        self.sent = self.dropped = 0
        self._begin_ns: int | None = None  # VMC tells seconds in 32 bits: counted from the first frame
        self._socket = socket.socket(found[0][0], socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def performers(self, states: NDArray[Any]) -> None:
        """Take nothing: VMC has no place for it."""

    def body(self, performer: int, frames: NDArray[Any]) -> None:
        """Send LIMB_FRAMEs `(n,)`: each as bundles of Unity's bones, the last one with its time, seconds."""
        address = (self._address[0], int(self._address[1]) + performer, *self._address[2:])
        for frame in frames:
            rotations = frame["rotation"].astype(np.float64)
            # the root's rotation with its heading: Ry(heading) q
            rotations[0] = qt.multiply(qt.about([0.0, 1.0, 0.0], np.array(float(frame["heading"]))), rotations[0])
            if self._begin_ns is None:
                self._begin_ns = int(frame["time_ns"])
            seconds = max(int(frame["time_ns"]) - self._begin_ns, 0) / NS
            messages = vmc.encode_frame(seconds, rotations, frame["origin"], bundle=False)
            try:
                for bundle in packed(messages):
                    self._socket.sendto(bundle, address)
                self.sent += 1
            except (OSError, OverflowError) as error:
                self.dropped += 1
                if self._told is not None and not isinstance(error, BlockingIOError):
                    self._told(f"the relay to {self.target} fails: {error}")
                    self._told = None

    def offer(self, controls: Any, events: Any, now_ns: int) -> None:
        """Nothing of what the engine says goes this way."""

    def report(self) -> dict[str, Any]:
        """Return the counts."""
        return {"target": self.target, "frames": self.sent, "dropped": self.dropped}

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
