"""The bridges' end of a MIDI port: keeps its process alive, never waits for it."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from echelon_bridges.midi import wire
from echelon_bridges.midi.ports import Direction, load

PING_S = 0.5
HUNG_S = 3.0  # without an answer for so long, the process is replaced
RESTART_S = 1.0
CLOSE_S = 1.0


class Link:
    """One port by name. `told(text)` hears of a port that is missing, gone or back, once each.

    `heard(message, time_ns)` gets what comes in, in this link's thread; `reset()` is called there when the port was
    opened or lost: nothing sounds then.

    Raises `UserError` where python-rtmidi is missing.
    """

    def __init__(
        self,
        direction: Direction,
        wanted: str,
        client: str,
        told: Callable[[str], None],
        *,
        channel: int = 1,
        heard: Callable[[bytes, int], None] | None = None,
        reset: Callable[[], None] | None = None,
    ) -> None:
        load()
        self.port = ""  # name of the open one
        self.dropped = self.starts = self.ticks = self.refused = 0
        self.tick_late_ms = 0.0
        self._command = [sys.executable, "-m", "echelon_bridges.midi.port_process"]
        self._command += [direction, wanted, client, str(channel)]
        self._what = f"MIDI {'output' if direction == 'out' else 'input'}"
        self._told, self._heard, self._reset = told, heard, reset
        self._said: set[str] = set()
        self._to = -1
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"midi {direction}", daemon=True)
        self._thread.start()

    def send(self, *messages: bytes) -> bool:
        """Send MIDI messages, all or none; False when the port is closed or its process does not take any now."""
        return self._write(b"".join(wire.frame(wire.SEND, message) for message in messages))

    def beat(self, time_ns: int, beat: float, tempo_bpm: float) -> bool:
        """Say where the musical clock is: the process sends its ticks."""
        return self._write(wire.frame(wire.BEAT, wire.BEAT_FORM.pack(time_ns, beat, tempo_bpm)))

    def silence(self) -> bool:
        """End all notes that were sent."""
        return self._write(wire.frame(wire.SILENCE))

    def _write(self, data: bytes, always: bool = False) -> bool:
        with self._lock:
            if self._to >= 0 and (self.port or always):
                with contextlib.suppress(OSError):
                    # A pipe takes this little whole or not at all.
                    os.write(self._to, data)
                    return True
            self.dropped += bool(self.port)
            return False

    def _keep(self) -> None:
        while not self._closing.is_set():
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            self.starts += 1
            self._process = process
            os.set_blocking(process.stdin.fileno(), False)
            with self._lock:
                self._to = process.stdin.fileno()
            try:
                self._serve(process.stdout.fileno())
            finally:
                with self._lock:
                    self._to = -1
                    self.port = ""
                with contextlib.suppress(OSError):
                    process.stdin.close()  # its wish to leave
                try:
                    process.wait(CLOSE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                process.stdout.close()
                if self._reset is not None:
                    self._reset()
            self._closing.wait(RESTART_S)

    def _serve(self, source: int) -> None:
        """Read what the process says until it ends, hangs or is no longer wanted."""
        data = bytearray()
        answered = asked = time.monotonic()
        while not self._closing.is_set():
            if select.select([source], [], [], PING_S)[0]:
                read = os.read(source, 65536)
                if not read:
                    return
                data += read
                for kind, body in wire.frames(data):
                    if kind == wire.PONG:
                        answered = time.monotonic()
                    self._take(kind, body)
            now = time.monotonic()
            if now - asked > 4 * PING_S:  # held up ourselves: the answer may lie there unread
                answered = now
            if now - answered > HUNG_S:
                self._say(f"{self._what}: the port does not answer; it is opened anew")
                if self._process is not None:
                    self._process.kill()
                return
            if now - asked >= PING_S:
                asked = now
                self._write(wire.frame(wire.PING), always=True)

    def _take(self, kind: int, body: bytes) -> None:
        if kind == wire.HEARD and self._heard is not None:
            (time_ns,) = wire.HEARD_FORM.unpack_from(body)
            self._heard(body[wire.HEARD_FORM.size :], time_ns)
        elif kind == wire.PONG:
            self.ticks, late_ns, self.refused = wire.PONG_FORM.unpack(body)
            self.tick_late_ms = round(late_ns / 1e6, 3)
        elif kind == wire.OPENED:
            if self._reset is not None:
                self._reset()  # before it shows as open: what is sent from then on must not be forgotten
            self.port = body.decode(errors="replace")
            if self._said:  # it was missed
                self._told(f"{self._what}: {'our own port' if self.port == 'virtual' else self.port} is open again")
            self._said.clear()
        elif kind == wire.MISSING:
            self._say(f"{self._what} is not there yet: {body.decode(errors='replace')}")
        elif kind == wire.GONE:
            self._say(f"{self._what}: {body.decode(errors='replace')}; it is opened again when it is back")

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._told(text)

    def close(self) -> None:
        """End the notes, the clock and the process; 2 s at most."""
        self._closing.set()
        with self._lock:
            if self._to >= 0 and self._process is not None and self._process.stdin is not None:
                self._to = -1
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
        self._thread.join(2 * CLOSE_S)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
