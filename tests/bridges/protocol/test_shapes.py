"""Datagrams read by their shape say what reading every message of them says."""

import pytest
import senders
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_bridges.protocol import adapters, osc
from echelon_bridges.protocol.reading import Readings
from echelon_bridges.protocol.shapes import MOST, MOST_A_LENGTH, Shapes

PHONE = senders.Phone((0.5, -1.0, 2.0), (1.0, 4.0, 9.0), (0.1, -0.2, 3.0), (0.0, 0.6, 0.0, 0.8), 1234.5)
DATAGRAMS = [data for made in senders.PHONES.values() for data in made(PHONE) if data[:1] in b"/#"]
TRACKERS = senders.vrchat({"1": ((0.0, 1.0, 0.0), (1.0, 2.0, 3.0)), "head": ((0.0, 1.7, 0.0), None)})


def long_way(data: bytes) -> Readings:
    """Return what the adapters say of every message of a datagram."""
    messages, found = osc.decode(data), Readings()
    assert isinstance(messages, list)
    adapters._take(data, messages, found)
    return found


def learned(*datagrams: bytes) -> Shapes:
    """Return shapes that were shown these datagrams."""
    shapes = Shapes(adapters._take)
    for data in datagrams:
        messages = osc.decode(data)
        assert isinstance(messages, list)
        shapes.learn(data, messages)
    return shapes


def test_what_phones_and_trackers_send_has_a_shape() -> None:
    """One datagram is enough; other numbers in it are read as the adapters would read them."""
    moved = senders.Phone((9.0, 8.0, 7.0), (4.0, 1.0, 9.0), (0.3, 0.2, 0.1), (0.6, 0.0, 0.8, 0.0), 1235.5)
    for app in ("zigsim", "gyrosc", "touchosc", "sensors2osc", "tdlidar", "rime"):
        for before, after in zip(senders.PHONES[app](PHONE), senders.PHONES[app](moved), strict=True):
            found = learned(before).read(after)
            assert found is not None, app
            assert found == long_way(after)
            assert found != long_way(before)
    assert learned(*TRACKERS).read(TRACKERS[0]) == long_way(TRACKERS[0])


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([*DATAGRAMS, *TRACKERS]),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=4)), max_size=6),
)
def test_shapes_and_adapters_agree(data: bytes, changes: list[tuple[int, bytes]]) -> None:
    """With any bytes changed: a datagram that still has the shape says the same either way."""
    damaged = bytearray(data)
    for at, value in changes:
        at %= len(data)
        damaged[at : at + len(value)] = value[: len(data) - at]
    found = learned(data).read(bytes(damaged))
    if found is not None:
        assert found == long_way(bytes(damaged))


def test_time_tags_are_no_part_of_the_shape() -> None:
    """A bundle of another moment is known."""
    bundle = osc.encode_bundle([senders.floats("/gyrosc/rrate", [1, 2, 3])], 5)
    found = learned(bundle).read(osc.encode_bundle([senders.floats("/gyrosc/rrate", [1, 2, 3])], 2**64 - 1))
    assert found is not None
    assert len(found.readings) == 1


@pytest.mark.parametrize(
    "data",
    [
        senders.floats("/dev/ypr_deg", [1, 2, 3]),  # an adapter calculates with its numbers
        osc.encode_message("/dev/accel", "sss", ["1", "2", "3"]),  # numbers as text
        osc.encode_message("/dev/accel", "fffT", [1.0, 2.0, 3.0, True]),
        osc.encode_message("/dev/battery", "f", [1.0]),  # nothing is read
        osc.encode_bundle([osc.encode_bundle([senders.floats("/a/acc", [1, 2, 3])] * 2)]),
    ],
)
def test_what_has_no_shape_is_read_the_long_way(data: bytes) -> None:
    """Nothing is kept of it."""
    assert learned(data).read(data) is None


def test_shapes_are_bounded() -> None:
    """However many addresses are made up, a few shapes are kept, and new ones are learned again."""
    made = [senders.floats(f"/{n:0{4 * (n % 60) + 5}}/accel", [1, 2, 3]) for n in range(3000)]
    shapes = learned(*made)
    assert shapes._count <= MOST
    assert max(map(len, shapes._by_length.values())) <= MOST_A_LENGTH
    assert sum(shapes.read(data) is not None for data in made[-200:]) > 20
