"""The process that holds one MIDI port: `python -m echelon_bridges.midi.port_process in|out NAME CLIENT CHANNEL`.

A process of its own, because a port may never return: the driver of a JACK server that died waits for ever, and holds
the interpreter meanwhile. The bridges kill it then and start another. It keeps the time of the MIDI clock, undisturbed
by what the bridges read, and it knows which keys sound: when the bridges are gone, however they ended, it ends them.
Speaks `wire` on standard input and output; ends with standard input.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections import deque
from typing import Any

from echelon_bridges.midi import messages, ports, wire
from echelon_bridges.midi.clock import ClockOut
from echelon_engine.errors import UserError

RETRY_S = 2.0  # between attempts to open, and between looks whether the port is still there
POLL_S, REST_POLL_S = 0.002, 0.005  # of a JACK input: what plays waits for this at most; at rest
REST_S = 2.0  # since the last message
IDLE_S = 0.2
FLUSH_S = 0.1  # until the driver has sent what it was given
CALLED_BACK = bool(os.environ.get("ECHELON_MIDI_CALLBACK"))  # for tests: on JACK what is done everywhere else
# What JACK's library writes when its server ends; it has no other way to tell who uses it through RtMidi.
SERVER_ENDED = (b"JackSocketClientChannel read fail", b"JACK server has been closed", b"zombified")


class PortProcess:
    """One port, from opening to the end of standard input."""

    def __init__(self, direction: ports.Direction, wanted: str, client: str, channel: int) -> None:
        self._direction, self._wanted, self._client, self._channel = direction, wanted, client, channel
        self._input = bytearray()
        self._sounding: dict[tuple[int, int], None] = {}
        self._clock = ClockOut()
        self._refused = 0
        self._port: Any = None
        self._heard_ns = 0
        self._polled = False
        self._came: deque[tuple[list[int], float]] = deque()
        self._bell, self._ring = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._ring, False)
        # stderr comes back to us: it is where the end of a JACK server is told.
        self._complaints, end = os.pipe()
        os.dup2(end, 2)
        os.set_blocking(self._complaints, False)
        os.set_blocking(end, False)

    def run(self) -> None:
        """Open, then serve; opening is tried for as long as the bridges live."""
        told = name = ""
        while self._port is None:
            made = {}
            try:
                made = ports.clients(self._direction, self._client)
                while self._port is None:
                    try:
                        self._port, name = ports.open_port(self._direction, self._wanted, made)
                    except UserError as error:
                        if str(error) != told:
                            told = str(error)
                            self._say(wire.MISSING, told.encode())
                        self._wait(RETRY_S)
                        if "jack" not in made or self._complained():
                            break  # look at all interfaces anew; a JACK client that comes and goes disturbs
            except Exception as error:  # of the driver: it has many
                self._say(wire.MISSING, str(error).encode())
                self._wait(RETRY_S)
            if self._port is not None:
                made = {api: client for api, client in made.items() if client is not self._port}
            for client in made.values():
                client.delete()
        self._serve(name)

    def _wait(self, seconds: float) -> None:
        """Wait, answering pings; what is to be played meanwhile is nobody's."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for kind, _ in self._read(left):
                if kind == wire.PING:
                    self._pong()

    def _read(self, timeout_s: float) -> list[tuple[int, bytes]]:
        """Return the frames that came within the time; ends the process when the bridges are gone."""
        if 0 in select.select([0, self._bell], [], [], max(timeout_s, 0.0))[0]:
            data = os.read(0, 65536)
            if not data:
                self.leave()
            self._input += data
        return list(wire.frames(self._input))

    def _say(self, kind: int, body: bytes = b"") -> None:
        with contextlib.suppress(OSError):
            os.write(1, wire.frame(kind, body))

    def _pong(self) -> None:
        self._say(wire.PONG, wire.PONG_FORM.pack(self._clock.sent, self._clock.latest_ns, self._refused))
        self._clock.latest_ns = 0

    def _complained(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            text = os.read(self._complaints, 65536)
            return any(word in text for word in SERVER_ENDED)
        return False

    def _serve(self, name: str) -> None:
        if self._direction == "in":
            self._port.ignore_types(sysex=True, timing=False, active_sense=True)
            # JACK's callback is its real-time thread, where no interpreter belongs: that port is polled.
            self._polled = self._port.get_current_api() == ports.load().API_UNIX_JACK and not CALLED_BACK
            if not self._polled:
                self._port.set_callback(self._on_message)
        else:  # whatever an earlier process could not end
            self._send(messages.controller(self._channel, messages.ALL_NOTES_OFF, 0))
        self._say(wire.OPENED, name.encode())
        look = time.monotonic() + RETRY_S
        while True:
            for kind, body in self._read(self._patience_s()):
                self._do(kind, body)
            if self._direction == "in":
                self._hear()
            else:
                for byte in self._clock.due(time.monotonic_ns()):
                    self._send(bytes((byte,)))
            if time.monotonic() >= look:
                look = time.monotonic() + RETRY_S
                if self._complained():
                    self._say(wire.GONE, b"its JACK server has ended")
                    os._exit(0)  # closing would wait for the server
                if name != ports.VIRTUAL and name not in self._port.get_ports():
                    self._say(wire.GONE, f"{name} is gone".encode())
                    os._exit(0)

    def _patience_s(self) -> float:
        if self._polled:
            return POLL_S if time.monotonic_ns() - self._heard_ns < REST_S * 1e9 else REST_POLL_S
        due_ns = self._clock.due_ns()
        return IDLE_S if due_ns is None else min((due_ns - time.monotonic_ns()) * 1e-9, IDLE_S)

    def _on_message(self, found: tuple[list[int], float], _: Any = None) -> None:
        """Keep a message and wake the loop; called in the driver's thread."""
        self._came.append(found)
        with contextlib.suppress(OSError):
            os.write(self._ring, b"!")

    def _hear(self) -> None:
        if not self._polled:
            with contextlib.suppress(BlockingIOError):
                os.read(self._bell, 4096)
        while (found := self._next()) is not None:
            message, delta_s = found
            now_ns = time.monotonic_ns()
            # The driver's distance from message to message is truer than the moment we looked.
            self._heard_ns += round(delta_s * 1e9)
            if abs(self._heard_ns - now_ns) > 50_000_000:
                self._heard_ns = now_ns
            self._say(wire.HEARD, wire.HEARD_FORM.pack(self._heard_ns) + bytes(message))

    def _next(self) -> tuple[list[int], float] | None:
        if self._polled:
            return self._port.get_message()  # type: ignore[no-any-return]
        return self._came.popleft() if self._came else None

    def _do(self, kind: int, body: bytes) -> None:
        if kind == wire.SEND:
            self._send(body)
        elif kind == wire.SILENCE:
            self._silence()
        elif kind == wire.BEAT:
            for byte in self._clock.report(*wire.BEAT_FORM.unpack(body)):
                self._send(bytes((byte,)))
        elif kind == wire.PING:
            self._pong()

    def _send(self, message: bytes) -> None:
        status = message[0] & 0xF0
        if status == messages.NOTE_ON:
            self._sounding[message[0] & 15, message[1]] = None
        elif status == messages.NOTE_OFF:
            self._sounding.pop((message[0] & 15, message[1]), None)
        try:
            self._port.send_message(message)
        except Exception:  # of the driver; the look at the port decides whether it is gone
            self._refused += 1

    def _silence(self) -> None:
        for channel, key in list(self._sounding):
            self._send(messages.note_off(channel + 1, key))
        self._send(messages.controller(self._channel, messages.ALL_NOTES_OFF, 0))

    def leave(self) -> None:
        """End every note and the clock, and end."""
        if self._port is not None and self._direction == "out":
            for byte in self._clock.stop():
                self._send(bytes((byte,)))
            self._silence()
            time.sleep(FLUSH_S)
        os._exit(0)


def main() -> None:
    """Entry point."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # standard input says when
    direction, wanted, client, channel = sys.argv[1:5]
    PortProcess("in" if direction == "in" else "out", wanted, client, int(channel)).run()


if __name__ == "__main__":
    main()
