"""mocopi datagrams: real and made samples, unknown boxes, and damage of every kind."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import MOTION, needs_shared
from scipy.spatial.transform import Rotation

from echelon_bridges.motion.skeleton import ALL_VALID, PARENTS, REST_OFFSETS
from echelon_bridges.protocol import mocopi
from echelon_bridges.protocol.refusal import EMPTY, FOREIGN, MALFORMED, TOO_LARGE, TRUNCATED, Refusal

PACKETS = MOTION / "packets"
TURNS = Rotation.random(27, random_state=7).as_quat()
FRAME = mocopi.encode_frame(41, 0.5, TURNS, [1.0, 0.9, -2.0], REST_OFFSETS, unix_s=1.75e9)
SKELETON = mocopi.encode_skeleton(REST_OFFSETS)


def box(tag: bytes, payload: bytes) -> bytes:
    """Return one box."""
    return struct.pack("<I4s", len(payload), tag) + payload


HEAD = box(b"head", box(b"ftyp", b"sony motion format") + box(b"vrsn", b"\1"))


def frame_of(bones: bytes, *more: bytes) -> bytes:
    """Return a frame packet around a btrs payload."""
    fields = box(b"fnum", struct.pack("<I", 3)) + box(b"time", struct.pack("<f", 0.25))
    return HEAD + box(b"fram", fields + box(b"btrs", bones) + b"".join(more))


def bone(number: int, tran: bytes, *more: bytes) -> bytes:
    """Return one btdt box."""
    return box(b"btdt", box(b"bnid", struct.pack("<H", number)) + box(b"tran", tran) + b"".join(more))


def test_sizes_are_those_of_the_app() -> None:
    """A frame with all fields has 1605 bytes, without the time code 1591, a skeleton 1821."""
    assert len(FRAME) == 1605
    assert len(mocopi.encode_frame(1, 0, TURNS, [0] * 3, REST_OFFSETS, unix_s=1.0, timecode=None)) == 1591
    assert len(mocopi.encode_frame(1, 0, TURNS, [0] * 3, REST_OFFSETS, timecode=None)) == 1575
    assert len(SKELETON) == 1821


def test_what_is_encoded_is_decoded() -> None:
    """Numbers, clocks, rotations and places survive the way out and back."""
    frame = mocopi.decode(FRAME)
    assert isinstance(frame, mocopi.Frame)
    assert (frame.number, frame.time_s, frame.unix_s, frame.timecode) == (41, 0.5, 1.75e9, bytes(6))
    np.testing.assert_allclose(frame.rotations, TURNS, atol=1e-7)
    np.testing.assert_allclose(frame.root, [1.0, 0.9, -2.0], atol=1e-7)
    assert (frame.present, frame.unknown_boxes, frame.refused_bones) == (ALL_VALID, 0, 0)
    skeleton = mocopi.decode(SKELETON)
    assert isinstance(skeleton, mocopi.Skeleton)
    np.testing.assert_allclose(skeleton.offsets, REST_OFFSETS, atol=1e-7)
    assert skeleton.parents == PARENTS


@needs_shared
def test_reference_packets_decode() -> None:
    """The published samples are a T-pose written with q = -1 and the body of the facts' table."""
    frame = mocopi.decode((PACKETS / "mocopi_sample" / "sample_fram.bin").read_bytes())
    assert isinstance(frame, mocopi.Frame)
    np.testing.assert_array_equal(np.abs(frame.rotations), np.tile([0, 0, 0, 1], (27, 1)))
    assert frame.timecode is None
    skeleton = mocopi.decode((PACKETS / "mocopi_sample" / "sample_skdf.bin").read_bytes())
    assert isinstance(skeleton, mocopi.Skeleton)
    np.testing.assert_allclose(skeleton.offsets[0], [0, 0.933, 0], atol=1e-3)
    np.testing.assert_allclose(skeleton.offsets[13], [0.292, 0, 0], atol=2e-3)


@needs_shared
def test_reference_tran_box_decodes() -> None:
    """The sample tran box holds the rotation and place that its source states."""
    tran = (PACKETS / "mocopi_sample" / "tran_box.bin").read_bytes()
    bones = box(b"btdt", box(b"bnid", struct.pack("<H", 0)) + tran)
    frame = mocopi.decode(frame_of(bones))
    assert isinstance(frame, mocopi.Frame)
    np.testing.assert_allclose(frame.rotations[0], [-4.228e-18, -1.105e-16, -2.255e-17, 1.0], rtol=1e-3)
    np.testing.assert_allclose(frame.root, [-0.008016, -0.101701, 0.128571], atol=1e-6)
    assert frame.present == 1


def test_unknown_boxes_are_skipped_and_counted() -> None:
    """New boxes of a newer app, in the packet, the frame or a bone, do not hide the pose."""
    tran = struct.pack("<7f", 0, 0, 0, 1, 1, 2, 3)
    bones = b"".join(bone(n, tran, box(b"conf", b"1234")) for n in range(27))
    frame = mocopi.decode(frame_of(bones, box(b"newb", b"1")) + box(b"tail", b""))
    assert isinstance(frame, mocopi.Frame)
    assert (frame.present, frame.unknown_boxes) == (ALL_VALID, 2)
    np.testing.assert_array_equal(frame.root, [1, 2, 3])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 3.0])
def test_a_bone_that_is_no_rotation_is_refused_alone(value: float) -> None:
    """Only that bone loses its bit; the packet plays."""
    turns = TURNS.copy()
    turns[9] = [0, 0, 0, value]
    frame = mocopi.decode(mocopi.encode_frame(1, 0, turns, [0] * 3, REST_OFFSETS))
    assert isinstance(frame, mocopi.Frame)
    assert frame.refused_bones == 1
    assert frame.present == ALL_VALID & ~(1 << 9)


REFUSED = {
    "nothing": (b"", EMPTY),
    "osc": (b"/VMC/Ext/T\0\0,f\0\0\0\0\0\0", FOREIGN),
    "another format": (HEAD.replace(b"sony", b"tony"), FOREIGN),
    "head alone": (HEAD, MALFORMED),
    "no head": (b"\0\0\0\0fram", FOREIGN),
    "cut": (FRAME[:-1], TRUNCATED),
    "cut in a header": (FRAME + b"\1\2\3", TRUNCATED),
    "length beyond": (struct.pack("<I", 1 << 31) + FRAME[4:], TRUNCATED),
    "huge": (FRAME + bytes(70_000), TOO_LARGE),
    "boxes without end": (HEAD + box(b"a   ", b"") * 2000, TOO_LARGE),
    "two frames": (FRAME + FRAME[77:], MALFORMED),
    "no clock": (HEAD + box(b"fram", box(b"btrs", b"")), MALFORMED),
    "time nan": (FRAME.replace(struct.pack("<f", 0.5), struct.pack("<f", np.nan), 1), MALFORMED),
    "short tran": (frame_of(bone(0, b"1234")), MALFORMED),
    "bone without number": (frame_of(box(b"btdt", b"")), MALFORMED),
    "wide number": (HEAD + box(b"fram", box(b"fnum", b"12345678")), MALFORMED),
    "skeleton without bones": (HEAD + box(b"skdf", b""), MALFORMED),
    "another tree": (SKELETON.replace(b"pbid" + struct.pack("<h", 25), b"pbid" + struct.pack("<h", 3)), MALFORMED),
}


@pytest.mark.parametrize("case", REFUSED)
def test_damage_is_a_refusal_with_its_kind(case: str) -> None:
    """Whatever is wrong comes back as a value that says what."""
    data, kind = REFUSED[case]
    refusal = mocopi.decode(data)
    assert isinstance(refusal, Refusal)
    assert refusal.kind == kind
    assert refusal.detail


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"", HEAD, HEAD + b"\x40\0\0\0fram", HEAD + b"\x40\0\0\0skdf"]))
def test_no_bytes_raise(data: bytes, start: bytes) -> None:
    """Arbitrary bytes never raise."""
    mocopi.decode(start + data)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([FRAME, SKELETON]),
    st.lists(st.tuples(st.integers(0, 1820), st.integers(0, 255)), max_size=6),
    st.integers(0, 1821),
)
def test_no_mutation_raises_and_what_passes_is_finite(packet: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    """A real packet with bytes changed and its end cut is a refusal, or values that can be played."""
    data = bytearray(packet[: max(cut, 600)])
    for at, value in changes:
        data[at % len(data)] = value
    result = mocopi.decode(bytes(data))
    if isinstance(result, mocopi.Frame):
        assert np.isfinite(result.rotations).all()
        assert np.isfinite(result.root).all() or not result.present & 1
    elif isinstance(result, mocopi.Skeleton):
        assert np.abs(result.offsets).max() < 3.0


LAYOUTS = [
    mocopi.encode_frame(41, 0.5, TURNS, [1.0, 0.9, -2.0], REST_OFFSETS, unix_s=unix_s, timecode=timecode)
    for unix_s in (None, 1.75e9)
    for timecode in (None, b"abcdef")
]
NUMBERS = [b"\0\0\0\0", struct.pack("<f", np.nan), struct.pack("<f", np.inf), struct.pack("<f", 2.0), b"\1\0\x80\x7f"]


@pytest.mark.parametrize("packet", LAYOUTS, ids=len)
def test_a_frame_as_the_app_writes_it_is_read_without_a_search(packet: bytes) -> None:
    """All four layouts, whatever stands in the fields that nobody reads."""
    layout = mocopi._LAYOUTS[len(packet)]
    assert layout.read(packet) is not None
    assert layout.read(packet.replace(b"vrsn\1", b"vrsn\7")) is not None
    assert layout.read(packet.replace(b"btdt", b"btdu", 1)) is None


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(LAYOUTS),
    st.lists(st.tuples(st.integers(0, 1604), st.binary(min_size=1, max_size=4)), max_size=3),
    st.lists(st.tuples(st.integers(0, 26), st.integers(0, 6), st.sampled_from(NUMBERS)), max_size=2),
)
def test_both_ways_of_reading_a_frame_agree(
    packet: bytes, changes: list[tuple[int, bytes]], numbers: list[tuple[int, int, bytes]]
) -> None:
    """The reader without a search says what the search says, of every packet with bytes or numbers changed."""
    data = bytearray(packet)
    bones = len(data) - 27 * 54
    for at, value in [*changes, *((bones + 54 * bone + 26 + 4 * i, value) for bone, i, value in numbers)]:
        at %= len(packet)
        data[at : at + len(value)] = value[: len(packet) - at]
    found, searched = mocopi.decode(bytes(data)), mocopi._decode_or_refuse(bytes(data))
    assert type(found) is type(searched)
    if isinstance(found, mocopi.Frame) and isinstance(searched, mocopi.Frame):
        for one, other in zip(found, searched, strict=True):
            np.testing.assert_array_equal(one, other)
    else:
        assert found == searched
