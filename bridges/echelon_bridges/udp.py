"""UDP sockets of sensors: drained in bounded turns, each source kept to its budget before anything is parsed."""

from __future__ import annotations

import errno
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from echelon_bridges import kernel_filter
from echelon_engine.errors import UserError

RECEIVE_BYTES = 1 << 16
ANCILLARY_BYTES = 128
KERNEL_BUFFER_BYTES = 1 << 19
TURN_DATAGRAMS = 512  # drained at most before they are parsed and others get their turn: a flood shows in one turn
PIECE_BYTES = 256  # a message of one bone; a datagram costs as many pieces as it has begun
BUDGET_HZ = 4000.0  # pieces a second that one source may send: a bone a message at 120 Hz, and more
BUDGET_BURST = 1000.0
EXCESS = 64  # refused datagrams more than taken ones: a flood
SHUT_OUT_NS = 1_000_000_000  # for so long the system drops what a flooding source sends
DOUBLINGS = 5  # of that, for a source that floods again within CALM_NS of being heard again
CALM_NS = 10_000_000_000
SOURCES = 64  # that have a budget at once; one more is refused while all of these are heard
IDLE_NS = 10_000_000_000  # a source silent for so long gives its place to a new one


OLDEST_NS = 1_000_000_000  # a stamp further from now than this tells of a clock that was set
_STAMP = struct.Struct("=qq")
_COUNT = struct.Struct("=I")


class Datagram(NamedTuple):
    """What arrived, from where, and when: the system's stamp where it gives one, else when it was read."""

    data: bytes
    host: str
    port: int
    arrival_ns: int


@dataclass(slots=True)
class Budget:
    """A token bucket: one token a piece of a datagram. `excess` counts what was refused, less what was taken."""

    tokens: float = BUDGET_BURST
    filled_ns: int = 0
    excess: int = 0

    def spend(self, now_ns: int, size: int = 0) -> bool:
        """Take the tokens of a datagram of `size` bytes if there are as many."""
        if now_ns > self.filled_ns:
            self.tokens = min(self.tokens + (now_ns - self.filled_ns) * 1e-9 * BUDGET_HZ, BUDGET_BURST)
            self.filled_ns = now_ns
        cost = 1 + size // PIECE_BYTES
        if self.tokens < cost:
            self.excess += 1
            return False
        self.tokens -= cost
        if self.excess:
            self.excess -= 1
        return True


@dataclass(slots=True)
class PortCounts:
    """What arrived on one port."""

    datagrams: int = 0
    over_budget: int = 0  # of sources that send too fast
    sources_refused: int = 0  # datagrams of sources that were too many


@dataclass(slots=True)
class UdpPort:
    """One bound socket. `drain` returns the datagrams; a source that floods is shut out for a while."""

    socket: socket.socket
    address: tuple[str, int]
    counts: PortCounts = field(default_factory=PortCounts)
    _budgets: dict[str, Budget] = field(default_factory=dict)
    _shut_out: dict[str, int] = field(default_factory=dict)  # source -> until when
    _floods: dict[str, tuple[int, int]] = field(default_factory=dict)  # source -> doublings, until when
    _overflowed: int = 0

    def drain(self, now_ns: int) -> list[Datagram]:
        """Return the waiting datagrams of sources within their budget, at most TURN_DATAGRAMS of them.

        Budgets go by the sender's address alone: its port changes with every restart of an app. `now_ns` is the
        engine's time; arrivals are told on its clock.
        """
        received: list[Datagram] = []
        wall_ns = time.time_ns()
        if self._shut_out and now_ns >= min(self._shut_out.values()):
            self._shut_out = {host: until for host, until in self._shut_out.items() if now_ns < until}
            kernel_filter.refuse(self.socket, self._shut_out)
        for _ in range(TURN_DATAGRAMS):
            try:
                data, told, _, source = self.socket.recvmsg(RECEIVE_BYTES, ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue  # an ICMP error of an earlier answer; nothing was received
            self.counts.datagrams += 1
            host = source[0]
            budget = self._budgets.get(host)
            if budget is None:
                if len(self._budgets) >= SOURCES and not self._forget_idle(now_ns):
                    self.counts.sources_refused += 1
                    continue
                budget = self._budgets[host] = Budget(filled_ns=now_ns)
            if budget.spend(now_ns, len(data)):
                received.append(Datagram(data, host, source[1], self._arrival_ns(told, now_ns, wall_ns)))
                continue
            self.counts.over_budget += 1
            if budget.excess >= EXCESS and host not in self._shut_out:
                budget.excess = 0
                # The rest of a turn's datagrams are drained all the same; from then on none of its arrive.
                until = self._shut_out[host] = now_ns + self._penalty_ns(host, now_ns)
                budget.filled_ns = until  # nothing is saved up meanwhile
                kernel_filter.refuse(self.socket, self._shut_out)
        return received

    def _penalty_ns(self, host: str, now_ns: int) -> int:
        """Return for how long a flood is shut out: each return of it fills the socket for a moment at others' cost."""
        doublings, until = self._floods.get(host, (-1, now_ns - CALM_NS))
        doublings = min(doublings + 1, DOUBLINGS) if now_ns - until < CALM_NS else 0
        penalty_ns = SHUT_OUT_NS << doublings
        if len(self._floods) >= 2 * SOURCES:
            del self._floods[next(iter(self._floods))]
        self._floods[host] = (doublings, now_ns + penalty_ns)
        return penalty_ns

    def _arrival_ns(self, told: list[tuple[int, int, bytes]], now_ns: int, wall_ns: int) -> int:
        """Return when a datagram reached the system, so that jitter is the network's and not ours."""
        arrival_ns = now_ns
        for _, kind, value in told:
            if kind == kernel_filter.SO_TIMESTAMPNS and len(value) == _STAMP.size:
                seconds, nanoseconds = _STAMP.unpack(value)
                age_ns = wall_ns - (seconds * 1_000_000_000 + nanoseconds)
                if 0 < age_ns < OLDEST_NS:
                    arrival_ns = now_ns - age_ns
            elif kind == kernel_filter.SO_RXQ_OVFL and len(value) == _COUNT.size:
                self._overflowed = _COUNT.unpack(value)[0]
        return arrival_ns

    def _forget_idle(self, now_ns: int) -> bool:
        """Take the budget of the source that is silent for longest; False when every one was heard lately."""
        host = min(self._budgets, key=lambda each: self._budgets[each].filled_ns)
        if now_ns - self._budgets[host].filled_ns <= IDLE_NS:
            return False
        del self._budgets[host]
        return True

    def shuts_out(self, host: str) -> bool:
        """Return whether this source floods, and is not heard for the time being."""
        return host in self._shut_out

    @property
    def dropped(self) -> int:
        """Datagrams that the system dropped: of sources shut out, or because the socket was full."""
        return max(kernel_filter.dropped(self.socket), self._overflowed)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def bind(host: str, port: int) -> UdpPort:
    """Bind a non-blocking UDP socket; raises `UserError` that names the port and what to do."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)
        kernel_filter.tell_more(made)
        made.bind((host, port))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"UDP port {port}", "is in use by another program", "stop it, or choose another") from None
        raise UserError(f"UDP {host}:{port}", f"cannot be bound ({error.strerror})", "set ports.bind") from None
    except (OverflowError, ValueError, TypeError) as error:  # no port number, no host name
        made.close()
        raise UserError(f"UDP {host}:{port}", f"is no address ({error})", "set ports.bind") from None
    return UdpPort(made, made.getsockname())


def local_addresses() -> list[str]:
    """Return the IPv4 addresses that a phone could type in, without loopback; may be empty. Sends nothing."""
    found: list[str] = []
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # a documentation address: only asks the routing table
            found.append(probe.getsockname()[0])
    except OSError:
        pass
    return [address for address in found if not address.startswith("127.")]
