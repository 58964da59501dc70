"""The framed file: what is packed is read back; what is cut or damaged ends the reading, and never raises."""

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
def short(performance: Performance) -> bytes:
    """A file of a few records of every kind."""
    notes = [form.pack_note(form.OPENED, {"epoch": 1}), form.pack_note(form.MARK, {"text": "jump"})]
    rows = form.pack_inputs(performance.inputs[:12]) + form.pack_rows(form.CONTROLS, performance.controls[:3])
    rows += form.pack_rows(form.EVENTS, performance.events[:2])
    return form.pack_header({"rate_hz": 48000}) + b"".join(notes + rows)


def test_records_read_back_as_they_were(performance: Performance) -> None:
    """Control records, notes and everything that was taken come back, in order, and only what is meant is stored."""
    packed = form.pack_inputs(performance.inputs)
    data = form.pack_header({}) + b"".join(
        [
            *packed,
            *form.pack_rows(form.CONTROLS, performance.controls),
            *form.pack_rows(form.EVENTS, performance.events),
        ]
    )
    found = form.scan(data)
    assert (found.stopped, found.foreign, found.lost_bytes) == ("", "", 0)
    assert same(form.unpack_rows(data, found.places[form.CONTROLS], CONTROL), performance.controls)
    assert same(form.unpack_rows(data, found.places[form.EVENTS], EVENT), performance.events)
    assert same_inputs(form.unpack_inputs(data, found.places), performance.inputs)
    assert {1, 2, 3, 4} == set(performance.inputs["kind"].tolist())
    assert sum(map(len, packed)) < 0.7 * performance.inputs.nbytes


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


@settings(max_examples=150, deadline=None)
@given(where=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_a_flipped_bit_ends_the_reading_before_it(short: bytes, where: int, bit: int) -> None:
    """Whatever bit is flipped, nothing from its record on is taken for true."""
    at = where % len(short)
    damaged = bytearray(short)
    damaged[at] ^= 1 << bit
    found = form.scan(bytes(damaged))
    assert found.stopped or found.foreign
    assert found.end <= at
    good = form.scan(short)
    for kind, places in found.places.items():
        assert places == good.places[kind][: len(places)]


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
