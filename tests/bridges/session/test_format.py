"""The framed file: what is packed is read back; what is cut or damaged costs itself alone, and never raises."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from performances import Performance
from sessions import same, same_inputs

from echelon_bridges.session import format as form
from echelon_engine.memory import CONTROL, EVENT


def ends(data: bytes) -> list[int]:
    """Where each whole record of a whole file ends."""
    found = form.scan(data)
    assert not found.stopped
    places = [at for each in found.places.values() for at in each]
    return sorted(at + form.HEAD.unpack_from(data, at - 6)[1] + 4 for at in places)


@pytest.fixture(scope="module")
def data(kept: Path) -> bytes:
    """The bytes of a session."""
    return (kept / "frames").read_bytes()


@pytest.fixture(scope="module")
def short(concert: Performance) -> bytes:
    """A file of a few records of every kind."""
    notes = [form.pack_note(form.OPENED, {"epoch": 1}), form.pack_note(form.MARK, {"text": "jump"})]
    rows = form.pack_inputs(concert.inputs[:12]) + form.pack_rows(form.CONTROLS, concert.controls[:3])
    rows += form.pack_rows(form.EVENTS, concert.events[:2])
    return form.pack_header({"rate_hz": 48000}) + b"".join(notes + rows)


def test_records_read_back_as_they_were(concert: Performance) -> None:
    """Control records, notes and everything that was taken come back, in order, and only what is meant is stored."""
    packed = form.pack_inputs(concert.inputs)
    data = form.pack_header({}) + b"".join(
        [
            *packed,
            *form.pack_rows(form.CONTROLS, concert.controls),
            *form.pack_rows(form.EVENTS, concert.events),
        ]
    )
    found = form.scan(data)
    assert (found.stopped, found.foreign, found.lost_bytes) == ("", "", 0)
    assert same(form.unpack_rows(data, found.places[form.CONTROLS], CONTROL), concert.controls)
    assert same(form.unpack_rows(data, found.places[form.EVENTS], EVENT), concert.events)
    assert same_inputs(form.unpack_inputs(data, found.places), concert.inputs)
    assert {1, 2, 3, 4, 6} == set(concert.inputs["kind"].tolist())
    assert sum(map(len, packed)) < 0.7 * concert.inputs.nbytes


def test_a_cut_at_every_byte_keeps_every_whole_record(data: bytes, short: bytes) -> None:
    """Cut anywhere behind its header, a file reads up to the last record that is whole, and says what is lost."""
    for whole_file, first in ((data, len(data) - 200), (short, form.scan(short).begin)):
        whole = np.array([form.scan(short).begin, *ends(whole_file)])
        for cut in range(first, len(whole_file)):
            found = form.scan(whole_file[:cut])
            assert found.end == whole[whole <= cut].max()
            assert found.lost_bytes == cut - found.end
            assert bool(found.stopped) == (cut not in whole)
            assert found.only_cut


def test_a_cut_within_the_header_is_said(short: bytes) -> None:
    """A file that ends within its header has nothing in it and says so."""
    begin = form.scan(short).begin
    for cut in range(begin):
        found = form.scan(short[:cut])
        assert found.stopped
        assert not found.places


def without(places: dict[int, list[int]], begin: int, end: int) -> dict[int, list[int]]:
    """Return the places of all records but those that lie in a stretch of bytes."""
    left = {kind: [at for at in each if not begin < at < end] for kind, each in places.items()}
    return {kind: each for kind, each in left.items() if each}


@pytest.mark.parametrize("kind", [*form.TAKEN, form.CONTROLS, form.EVENTS, form.MARK])
def test_damage_at_every_byte_of_a_record_costs_that_record(short: bytes, kind: int) -> None:
    """Whatever byte of one record is wrong, or all of them, the others are read, and what is lost is said."""
    good = form.scan(short)
    payload = good.places[kind][0]
    begin, end = payload - form.HEAD.size, min(each for each in ends(short) if each > payload)
    wrongs = [(at, bytes([short[at] ^ bits])) for at in range(begin, end) for bits in (0x01, 0x80, 0xFF)]
    for at, put in [*wrongs, (begin, bytes(end - begin)), (begin, b"\xff" * (end - begin))]:
        found = form.scan(short[:at] + put + short[at + len(put) :])
        assert found.damage == [(begin, end)], at
        assert found.places == without(good.places, begin, end)
        assert (found.stopped, found.end, found.lost_bytes) == ("", len(short), end - begin)
        assert not found.only_cut
        assert f"1 damaged place from byte {begin} on: {end - begin} of {len(short)} bytes are lost" in found.lost


def test_a_damaged_record_behind_others_and_before_a_cut(short: bytes) -> None:
    """Several places and a cut end are told together; bytes that went missing or came in cost their record alone."""
    good = form.scan(short)
    places = sorted(at for each in good.places.values() for at in each)
    damaged = bytearray(short[:-3])
    for at in (places[2], places[6]):
        damaged[at] ^= 0xFF
    found = form.scan(bytes(damaged))
    assert len(found.damage) == 2
    assert sum(map(len, found.places.values())) == len(places) - 3
    assert "2 damaged places" in found.lost
    assert "its last record is cut" in found.lost
    for shifted in (short[: places[4]] + short[places[4] + 5 :], short[: places[4]] + b"more" + short[places[4] :]):
        found = form.scan(shifted)
        assert len(found.damage) == 1
        assert sum(map(len, found.places.values())) == len(places) - 1
        assert found.stopped == ""


@settings(max_examples=150, deadline=None)
@given(where=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_taken_for_true(short: bytes, where: int, bit: int) -> None:
    """Whatever bit is flipped, its record is missing, all others are read, and it is said."""
    at = where % len(short)
    damaged = bytearray(short)
    damaged[at] ^= 1 << bit
    found, good = form.scan(bytes(damaged)), form.scan(short)
    if at < good.begin:
        assert found.stopped or found.foreign
        assert not found.places
        return
    hit = next(end for end in ends(short) if end > at)
    begin = max((end for end in ends(short) if end <= at), default=good.begin)
    assert found.places == without(good.places, begin, hit)
    assert found.lost_bytes == hit - begin
    assert found.lost
    assert bool(found.stopped) == (hit == len(short))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_arbitrary_bytes_never_raise(tail: bytes, headed: bool) -> None:
    """Anything may lie where a session is expected, or follow its header."""
    data = (form.pack_header({"rate_hz": 48000}) if headed else b"") + tail
    found = form.scan(data)
    assert 0 <= found.end <= len(data)
    form.unpack_inputs(data, found.places)
    for kind in (form.OPENED, form.MARK, form.GAP, form.CLOSED):
        form.unpack_notes(data, found.places.get(kind, []))


def test_a_file_of_another_version_is_refused(short: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that had other fields when the file was written is named, with both sizes."""
    other = np.dtype([*[(name, CONTROL[name]) for name in CONTROL.names or ()], ("more", np.float32)])
    monkeypatch.setitem(form.RECORDS, "CONTROL", other)
    found = form.scan(short)
    assert "another version" in found.foreign
    assert str(CONTROL.itemsize) in found.foreign
    assert str(other.itemsize) in found.foreign
    assert not found.places
    version = bytearray(short)
    version[8] = 9
    assert "version 9" in form.scan(bytes(version)).foreign
