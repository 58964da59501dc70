"""MIDI bytes: what is written, what is understood, and that no bytes do harm."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_bridges.midi import messages
from echelon_bridges.midi.messages import LANE_CC, Move, Note, Pulse, Reader, Silence

CHANNELS = st.integers(1, 16)
RESERVED = {0, 6, 32, 38, 64, 65, 66, 67, 68, 69, 88, *range(96, 102), *range(120, 128)}


def test_lanes_have_numbers_that_mean_nothing_else() -> None:
    """32 different controllers, none of them bank, data entry, a pedal, a parameter number or a channel mode."""
    assert len(set(LANE_CC)) == 32
    assert not RESERVED & set(LANE_CC)


@settings(deadline=None, max_examples=100)
@given(CHANNELS, st.integers(0, 127), st.floats(0, 1))
def test_notes_are_what_another_reader_reads(channel: int, key: int, velocity: float) -> None:
    """An independent decoder reads the same channel, key and velocity; a begin is never an end."""
    mido = pytest.importorskip("mido", reason="mido is not installed")
    on, off = (
        mido.Message.from_bytes(make)
        for make in (messages.note_on(channel, key, velocity), messages.note_off(channel, key))
    )
    assert (on.type, on.channel, on.note) == ("note_on", channel - 1, key)
    assert on.velocity >= 1
    assert abs(on.velocity - velocity * 127) <= 1
    assert (off.type, off.channel, off.note) == ("note_off", channel - 1, key)


@settings(deadline=None, max_examples=100)
@given(CHANNELS, st.integers(0, 16382), st.integers(0, 16383))
def test_nrpn_comes_back(channel: int, number: int, value: int) -> None:
    """What is sent as NRPN is read as that parameter at that value, to 14 bits."""
    reader = Reader()
    found = [event for part in messages.nrpn(channel, number, value) for event in reader.read(part)]
    assert found[-1] == Move(f"nrpn {channel} {number}", value / 16383)


def test_pairs_of_controllers_have_14_bits() -> None:
    """A coarse and a fine half are one value; the coarse one alone is the 7 bit controller."""
    reader = Reader()
    assert reader.read((0xB0, 7, 100)) == [Move("cc 1 7", 100 / 127)]
    assert Move("cc14 1 7", (100 * 128 + 5) / 16383) in reader.read((0xB0, 39, 5))


def test_an_nrpn_ends_with_the_null_and_a_registered_parameter_is_not_ours() -> None:
    """Data entry after the null or after an RPN moves no NRPN."""
    reader = Reader()
    for message in messages.nrpn(1, 3, 0):
        reader.read(message)
    for number, value in ((101, 127), (100, 127)):
        assert reader.read((0xB0, number, value)) == []
    assert reader.read((0xB0, 6, 64)) == [Move("cc 1 6", 64 / 127)]


def test_the_bend_rests_in_the_middle() -> None:
    """The wheel's ends are 0 and 1, and its rest is exactly one half."""
    reader = Reader()
    values = [reader.read((0xE1, low, high))[0] for low, high in ((0, 0), (0, 64), (127, 127))]
    assert values == [Move("bend 2", 0.0), Move("bend 2", 0.5), Move("bend 2", 1.0)]


def test_the_pedal_holds_its_channel() -> None:
    """A key released under the pedal ends with it, one pressed again does not."""
    reader = Reader()
    for message in ((0xB0, 64, 127), (0x90, 60, 1), (0x90, 62, 1), (0x80, 60, 0), (0x90, 62, 0), (0x90, 62, 9)):
        assert not [event for event in reader.read(message) if event == Note(1, message[1], 0.0)]
    assert [event for event in reader.read((0xB0, 64, 0)) if isinstance(event, Note)] == [Note(1, 60, 0.0)]
    assert Note(2, 60, 0.0) in reader.read((0x81, 60, 0)), "another channel has its own pedal"


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ((0xF8,), [Pulse(0xF8)]),
        ((0xFF,), [Silence(0)]),
        ((0xB3, 123, 0), [Silence(4)]),
        ((0xB3, 120, 0), [Silence(4)]),
        ((0xB3, 121, 0), []),
        ((0xD0, 127), [Move("pressure 1", 1.0)]),
        ((0xC0, 5), []),
        ((0xFE,), []),
        ((0xF0, 1, 2, 0xF7), []),
        ((0x90, 60), []),
        ((0x90, 60, 200), []),
        ((60, 60, 60), []),
        ((), []),
    ],
)
def test_other_messages(message: tuple[int, ...], meaning: list[object]) -> None:
    """Modes, the clock and pressure mean what they say; what is cut or foreign means nothing."""
    assert Reader().read(message) == meaning


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(st.integers(0, 255), max_size=4), max_size=40))
def test_no_bytes_harm(stream: list[list[int]]) -> None:
    """Any bytes give values within 0..1, keys and channels that exist, and never an exception."""
    reader = Reader()
    for message in stream:
        for event in reader.read(message):
            if isinstance(event, Note):
                assert 1 <= event.channel <= 16
                assert 0 <= event.key <= 127
                assert 0.0 <= event.velocity <= 1.0
            elif isinstance(event, Move):
                assert 0.0 <= event.value <= 1.0
