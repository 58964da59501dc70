"""Who gets the datagrams: `host:port, ..`, resolved aside, sent without waiting, failures counted and said once."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable

from echelon_engine.errors import UsageError

MOST = 16
RETRY_NS = 5_000_000_000  # between attempts to reach a host that has no address or no route
SEND_BUFFER_BYTES = 1 << 18


def parse(text: str) -> list[tuple[str, int]]:
    """Return the (host, port) of `osc.targets`; raises `UsageError` that names what is no target."""
    found: list[tuple[str, int]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        host, _, port = part.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
            raise UsageError(f"osc.targets: {part!r}", "must be HOST:PORT", "for example 127.0.0.1:9001")
        found.append((host.strip("[]"), int(port)))
    found = list(dict.fromkeys(found))
    if len(found) > MOST:
        raise UsageError("osc.targets", f"{len(found)} targets, at most {MOST}", "send to one program that passes on")
    return found


class Target:
    """One host and port. A connected socket, so that the system says when nobody listens there."""

    def __init__(self, host: str, port: int, told: Callable[[str], None]) -> None:
        self.name = f"{host}:{port}"
        self.sent = self.failed = self.dropped = 0
        self._host, self._port, self._told = host, port, told
        self._said: set[str] = set()
        self._socket: socket.socket | None = None
        self._tried_ns = 0
        self._resolving = False
        self._lock = threading.Lock()
        self._closed = False
        self._connect()

    def send(self, datagrams: Iterable[bytes | memoryview], now_ns: int) -> None:
        """Send them now or never; a target that cannot be reached is tried again every few seconds."""
        connection = self._socket
        if connection is None:
            self.failed += 1
            if now_ns - self._tried_ns >= RETRY_NS and not self._resolving:
                self._tried_ns = now_ns
                self._connect()
            return
        try:
            for datagram in datagrams:
                connection.send(datagram)
                self.sent += 1
        except (BlockingIOError, InterruptedError):
            self.dropped += 1  # the system's buffer is full
        except ConnectionRefusedError:
            self.failed += 1  # the answer to an earlier datagram
            self._say(f"OSC: nobody listens at {self.name}; it is sent all the same")
        except OSError as error:
            self.failed += 1
            self._say(f"OSC: {self.name} cannot be reached ({error.strerror}); tried again every {RETRY_NS // 10**9} s")
            self._lose(now_ns)

    def _lose(self, now_ns: int) -> None:
        self._tried_ns = now_ns
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        try:
            ipaddress.ip_address(self._host.partition("%")[0])
        except ValueError:  # a name: asking for its address may take seconds
            self._resolving = True
            threading.Thread(target=self._resolve, name=f"resolve {self._host}", daemon=True).start()
        else:
            self._resolve()

    def _resolve(self) -> None:
        made: socket.socket | None = None
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            with contextlib.suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            made.connect(address)
        except (OSError, UnicodeError) as error:
            if made is not None:
                made.close()
            reason = getattr(error, "strerror", None) or str(error)
            self._say(f"OSC: {self.name} cannot be reached ({reason}); tried again every {RETRY_NS // 10**9} s")
        else:
            with self._lock:
                if self._closed:
                    made.close()
                else:
                    self._socket = made
        finally:
            self._tried_ns = time.monotonic_ns()
            self._resolving = False

    def _say(self, text: str) -> None:
        if text not in self._said and len(self._said) < MOST:
            self._said.add(text)
            self._told(text)

    def report(self) -> dict[str, int]:
        """Return datagrams sent, sendings that failed, and datagrams that the system could not take."""
        return {"sent": self.sent, "failed": self.failed, "dropped": self.dropped}

    def close(self) -> None:
        """Close the socket."""
        with self._lock:
            self._closed = True
            if self._socket is not None:
                self._socket.close()
                self._socket = None
