"""OSC datagrams that are sent again and again: only their numbers change, so everything else is read once.

    shapes = Shapes(take)          # take(data, messages, found): what the adapters make of the messages of a datagram
    found = shapes.read(data)      # Readings, or None for a datagram whose shape is not known: read it the long way,
    shapes.learn(data, messages)   # and show it what that was

A shape is learned by letting the adapters read the datagram with places instead of numbers: they decide by addresses
and texts alone, never by what a number says. Where one calculates with a number the shape is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct, unpack_from
from typing import NamedTuple

from echelon_bridges.protocol import osc
from echelon_bridges.protocol.osc import Message
from echelon_bridges.protocol.reading import Readings

MOST = 256  # shapes; when there are as many, all are learned anew
MOST_A_LENGTH = 16
MOST_BYTES = 1024
BUNDLE = b"#bundle\0"

Take = Callable[[bytes, list[Message], Readings], None]


class _Place(float):
    """Stands for a number of a datagram: its value is which of them it is."""


class _Told(NamedTuple):
    """One `Readings.add`: what it says beside its numbers, and where these are among all of the datagram."""

    app: str
    device: str
    quantity: str
    begin: int
    end: int
    part: str
    axis: int


class _Places(Readings):
    """Notes what adapters add; `whole` as long as each reading is of numbers that stand side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[_Told] = []
        self.whole = True

    def add(
        self,
        app: str,
        device: str,
        quantity: str,
        raw: Sequence[object],
        time_s: float | None = None,
        part: str = "",
        axis: int = -1,
    ) -> None:
        """Note one reading."""
        places = [int(value) for value in raw if isinstance(value, _Place)]
        begin = places[0] if places else 0
        end = begin + len(raw)
        self.whole = self.whole and time_s is None and places == list(range(begin, end))
        self.told.append(_Told(app, device, quantity, begin, end, part, axis))


class _Shape(NamedTuple):
    """The bits set in `fixed` are `bits` in every datagram of this shape; `numbers` are all others."""

    fixed: int
    bits: int
    numbers: Struct
    found: _Places


class Shapes:
    """The shapes of what was heard lately, at most 256."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._by_length: dict[int, list[_Shape]] = {}
        self._count = 0

    def read(self, data: bytes) -> Readings | None:
        """Return what the adapters would add for a datagram, or None where its shape is not known."""
        shapes = self._by_length.get(len(data))
        if shapes is None:
            return None
        bits = int.from_bytes(data, "little")
        for shape in shapes:
            if bits & shape.fixed == shape.bits:
                found = Readings(unknown=shape.found.unknown)
                numbers = tuple(map(float, shape.numbers.unpack_from(data)))
                for app, device, quantity, begin, end, part, axis in shape.found.told:
                    found.add_numbers(app, device, quantity, numbers[begin:end], None, part, axis)
                return found
        return None

    def learn(self, data: bytes, messages: list[Message]) -> None:
        """Keep the shape of a datagram of these messages, where it has one: the numbers of each message come last."""
        elements = list(_elements(data))
        if len(data) > MOST_BYTES or len(elements) != len(messages) or self._count_of(data) >= MOST_A_LENGTH:
            return
        fixed = bytearray(b"\xff" * len(data))
        if data.startswith(BUNDLE):
            fixed[8:16] = bytes(8)  # nobody reads the time tag
        form, at, count = ">", 0, 0
        placed: list[Message] = []
        for (_, end), message in zip(elements, messages, strict=True):
            texts, numbers = osc.plan(message.tags)
            if numbers is None:
                return
            begin = end - numbers.size
            fixed[begin:end] = bytes(numbers.size)
            form += f"{begin - at}x{numbers.format[1:]}"
            places = [_Place(count + i) for i in range(len(message.args) - texts)]
            placed.append(message._replace(args=(*message.args[:texts], *places)))
            at, count = end, count + len(places)
        found = _Places()
        self._take(data, placed, found)
        if found.whole and found.told:
            mask = int.from_bytes(fixed, "little")
            self._keep(len(data), _Shape(mask, int.from_bytes(data, "little") & mask, Struct(form), found))

    def _count_of(self, data: bytes) -> int:
        return len(self._by_length.get(len(data), ()))

    def _keep(self, length: int, shape: _Shape) -> None:
        if self._count >= MOST:
            self._by_length, self._count = {}, 0
        self._by_length.setdefault(length, []).append(shape)
        self._count += 1


def _elements(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the messages of a packet that was read begin and end; bundles in it count as one."""
    if not data.startswith(BUNDLE):
        yield 0, len(data)
        return
    at = 16
    while at < len(data):
        (size,) = unpack_from(">i", data, at)
        yield at + 4, at + 4 + size
        at += 4 + size
