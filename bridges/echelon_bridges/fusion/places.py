"""Which datagrams of one address come from one sender, though its port changes with every restart of the app."""

from __future__ import annotations

from dataclasses import dataclass, field

DOUBT_NS = 5_000_000_000  # after a port took over: the old one heard again means two senders
AGAIN = 2  # datagrams; a single one is a straggler
FORMER = 4
MOST = 8  # senders at one address
HOSTS = 128


@dataclass(slots=True)
class _Place:
    port: int
    last_ns: int = 0
    former: dict[int, list[int]] = field(default_factory=dict)  # port -> when it was left, how often heard since


class Places:
    """Numbers the senders at each address, from 0.

    A port that was never heard continues the sender that was silent for longest: an app that was restarted. If the
    port before is heard again within 5 s they are two senders, and the newcomer gets a number of its own.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, list[_Place]] = {}

    def of(self, host: str, port: int, now_ns: int) -> int:
        """Return the number of the sender at `host` that sends from `port`."""
        places = self._hosts.get(host)
        if places is None:
            if len(self._hosts) >= HOSTS:
                del self._hosts[min(self._hosts, key=lambda each: max(p.last_ns for p in self._hosts[each]))]
            self._hosts[host] = [_Place(port, now_ns)]
            return 0
        for i, place in enumerate(places):
            if place.port == port:
                place.last_ns = now_ns
                return i
        for i, place in enumerate(places):
            left = place.former.get(port)
            if left is None or now_ns - left[0] > DOUBT_NS:
                continue
            left[1] += 1
            if left[1] >= AGAIN and len(places) < MOST:
                places.append(_Place(place.port, place.last_ns))
                place.port, place.last_ns = port, now_ns
                del place.former[port]
            return i
        i = min(range(len(places)), key=lambda each: places[each].last_ns)
        place = places[i]
        place.former.pop(port, None)
        if len(place.former) >= FORMER:
            del place.former[next(iter(place.former))]
        place.former[place.port] = [now_ns, 0]
        place.port, place.last_ns = port, now_ns
        return i
