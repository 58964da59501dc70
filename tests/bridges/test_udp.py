"""UDP ports: budgets per source, places given back, mistakes said as people can act on them."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from engines import wait_for

from echelon_bridges import kernel_filter, udp
from echelon_bridges.udp import (
    BUDGET_BURST,
    BUDGET_HZ,
    CALM_NS,
    IDLE_NS,
    SHUT_OUT_NS,
    SOURCES,
    Budget,
    Datagram,
    UdpPort,
)
from echelon_engine.errors import UserError

SECOND = 1_000_000_000


class Wire:
    """A socket whose datagrams the test makes up, from any address."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, tuple[str, int]]] = []
        self.options = 0

    def send(self, *hosts: str) -> None:
        """Let a datagram from each of these arrive."""
        self.waiting += [(host.encode(), (host, 9)) for host in hosts]

    def recvmsg(self, _size: int, _ancillary: int) -> tuple[bytes, list[Any], int, tuple[str, int]]:
        """Return the oldest."""
        if not self.waiting:
            raise BlockingIOError
        data, source = self.waiting.pop(0)
        return data, [], 0, source

    def setsockopt(self, *_: object) -> None:
        """Take a filter and not obey it: other systems have none."""
        self.options += 1


@pytest.fixture
def wire() -> Wire:
    """An idle wire."""
    return Wire()


def port_on(wire: Wire) -> UdpPort:
    """A port at the end of a wire."""
    return UdpPort(wire, ("127.0.0.1", 9))  # type: ignore[arg-type]


@pytest.fixture
def port() -> Iterator[UdpPort]:
    """A real port on the loopback."""
    made = udp.bind("127.0.0.1", 0)
    yield made
    made.close()


def test_datagrams_arrive_with_their_source(port: UdpPort) -> None:
    """What is sent to a bound port comes out once, with the sender's address, and is counted."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        for data in (b"a", b""):
            sender.sendto(data, port.address)
        number = sender.getsockname()[1]
    found: list[Datagram] = []
    wait_for(lambda: found.extend(port.drain(SECOND)) or len(found) == 2, "two datagrams")
    assert [each[:3] for each in found] == [(b"a", "127.0.0.1", number), (b"", "127.0.0.1", number)]
    assert port.drain(SECOND) == []
    assert port.counts.datagrams == 2


def test_budget_is_a_burst_and_then_a_rate() -> None:
    """A source may send its burst at once, then its rate; waiting does not save up more than the burst."""
    budget = Budget()
    assert sum(budget.spend(0) for _ in range(5000)) == BUDGET_BURST
    assert sum(budget.spend(SECOND) for _ in range(9000)) == BUDGET_BURST
    later = sum(budget.spend(SECOND + i * SECOND // 20_000) for i in range(20_000))
    assert later == pytest.approx(BUDGET_HZ, abs=2)


def test_large_datagrams_cost_more() -> None:
    """Parsing takes time by the byte: of bundles with a whole body a source may send 360 a second."""
    budget = Budget(tokens=0.0)
    assert sum(budget.spend(i * SECOND // 1000, 2600) for i in range(1001)) == pytest.approx(BUDGET_HZ / 11, abs=2)
    assert budget.excess > 100


def test_one_source_over_budget_takes_nothing_from_another(wire: Wire) -> None:
    """A flood is refused and counted; a second address is served in the same turn."""
    port = port_on(wire)
    wire.send(*["10.0.0.1"] * 3000, "10.0.0.2")
    found = []
    while wire.waiting:
        found += port.drain(SECOND)
    assert [host for _, host, *_ in found].count("10.0.0.1") == BUDGET_BURST
    assert [host for _, host, *_ in found].count("10.0.0.2") == 1
    assert port.counts.over_budget == 3000 - BUDGET_BURST
    assert port.counts.datagrams == 3001
    assert wire.options == 1, "shut out once"


@pytest.mark.skipif(not kernel_filter.LINUX, reason="the filter is Linux's")
def test_a_flooding_source_is_shut_out_by_the_system_for_a_while(port: UdpPort) -> None:
    """After a flood nothing of its source arrives for a second, is counted as dropped, and then it may send again."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flooding,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as calm,
    ):
        flooding.bind(("127.0.0.2", 0))
        calm.bind(("127.0.0.3", 0))
        heard: list[str] = []

        def turn(now_ns: int) -> None:
            heard.extend(host for _, host, *_ in port.drain(now_ns))

        for _ in range(300):
            for _ in range(10):
                flooding.sendto(b"x", port.address)
            turn(SECOND)
        assert 0 < port.counts.over_budget < 1000, "most of it never reached us"
        assert port.dropped > 1000
        calm.sendto(b"x", port.address)
        wait_for(lambda: turn(SECOND) or "127.0.0.3" in heard, "the other source")
        heard.clear()
        turn(SECOND + SHUT_OUT_NS)  # it is over
        flooding.sendto(b"x", port.address)
        wait_for(lambda: turn(SECOND + SHUT_OUT_NS + 100_000_000) or heard, "the source that flooded")
        assert heard == ["127.0.0.2"]


def test_a_flood_that_returns_is_shut_out_for_longer_each_time(wire: Wire) -> None:
    """1 s, 2 s, 4 s .. 32 s; after ten calm seconds it is 1 s again."""
    port = port_on(wire)
    now_ns, waits = SECOND, []
    for _ in range(8):
        wire.send(*["10.0.0.1"] * 3000)
        while wire.waiting:
            port.drain(now_ns)
        assert port.shuts_out("10.0.0.1")
        before_ns = now_ns
        while port.shuts_out("10.0.0.1"):
            now_ns += SECOND
            port.drain(now_ns)
        waits.append((now_ns - before_ns) // SECOND)
    assert waits == [1, 2, 4, 8, 16, 32, 32, 32]
    now_ns += CALM_NS
    wire.send(*["10.0.0.1"] * 3000)
    while wire.waiting:
        port.drain(now_ns)
    port.drain(now_ns + SECOND)
    assert not port.shuts_out("10.0.0.1")


def test_places_of_silent_sources_are_given_to_new_ones(wire: Wire) -> None:
    """With all places taken a new source is refused and counted; the one silent for longest gives way after 10 s."""
    port = port_on(wire)
    hosts = [f"10.0.0.{i}" for i in range(SOURCES)]
    for i, host in enumerate(hosts):
        wire.send(host)
        assert len(port.drain(i)) == 1
    wire.send("10.0.1.1")
    assert port.drain(SECOND) == []
    assert port.counts.sources_refused == 1
    wire.send(*hosts[1:])
    assert len(port.drain(IDLE_NS // 2)) == SOURCES - 1
    wire.send("10.0.1.1", "10.0.1.2")
    # in the place of the first; no other is free
    assert [each[:2] for each in port.drain(IDLE_NS + 1)] == [(b"10.0.1.1", "10.0.1.1")]
    assert port.counts.sources_refused == 2


def test_a_taken_port_names_itself(port: UdpPort) -> None:
    """A port in use is refused with its number and what to do."""
    with pytest.raises(UserError, match=rf"UDP port {port.address[1]}: is in use.*stop it"):
        udp.bind("127.0.0.1", port.address[1])


@pytest.mark.parametrize(
    ("host", "number"),
    [("127.0.0.1", 65536), ("127.0.0.1", -1), ("192.0.2.1", 0), ("no host\0", 0), ("a" * 70 + ".b", 0), ("..", 0)],
)
def test_impossible_addresses_are_refused_not_crashed_on(host: str, number: int) -> None:
    """Numbers beyond 65535, foreign addresses and odd names are one clear refusal."""
    with pytest.raises(UserError, match=r"set ports\.bind"):
        udp.bind(host, number)


def test_local_addresses_are_ones_to_type_in() -> None:
    """What is offered to a phone is never the loopback."""
    assert not [address for address in udp.local_addresses() if address.startswith("127.")]
