"""OSC: what python-osc writes is read, and nothing is made up for bytes that are missing."""

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from echelon_bridges.protocol import osc
from echelon_bridges.protocol.refusal import EMPTY, FOREIGN, MALFORMED, TOO_LARGE, TRUNCATED, Refusal


def message(address: str, *args: object) -> bytes:
    """Return a message built by python-osc."""
    builder = OscMessageBuilder(address)
    for arg in args:
        builder.add_arg(arg)
    return builder.build().dgram


def test_messages_of_python_osc_are_read() -> None:
    """Ints, floats, strings (Japanese too), blobs, booleans and nil."""
    found = osc.decode(message("/a/b", 7, 0.5, "腰", b"\1\2\3", True, False, None))
    assert found == [osc.Message("/a/b", "ifsbTFN", (7, 0.5, "腰", b"\1\2\3", True, False, None))]


def test_nested_bundles_unfold_in_order() -> None:
    """A bundle in a bundle gives its messages in order, each with its bundle's time tag."""
    inner = OscBundleBuilder(IMMEDIATELY)
    inner.add_content(OscMessageBuilder("/inner").build())
    data = osc.encode_bundle(
        [osc.encode_message("/first", "i", [1]), inner.build().dgram, osc.encode_message("/last", "", [])], 99
    )
    found = osc.decode(data)
    assert isinstance(found, list)
    assert [(m.address, m.timetag) for m in found] == [("/first", 99), ("/inner", 1), ("/last", 99)]


def test_time_tags_far_away_change_nothing() -> None:
    """A message stamped an hour ahead or long past is read at once."""
    for timetag in (0, 1, 2**64 - 1):
        found = osc.decode(osc.encode_bundle([osc.encode_message("/x", "f", [1.0])], timetag))
        assert found == [osc.Message("/x", "f", (1.0,), timetag)]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("i"), st.integers(-(2**31), 2**31 - 1)),
            st.tuples(st.just("f"), st.floats(width=32, allow_nan=False)),
            st.tuples(st.just("d"), st.floats(allow_nan=False)),
            st.tuples(st.just("h"), st.integers(-(2**63), 2**63 - 1)),
            st.tuples(
                st.just("s"), st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=9)
            ),
            st.tuples(st.just("T"), st.just(True)),
        ),
        max_size=12,
    )
)
def test_what_is_encoded_is_decoded(values: list[tuple[str, object]]) -> None:
    """Round trip of every type, alone and in a bundle."""
    tags = "".join(tag for tag, _ in values)
    args = tuple(value for _, value in values)
    data = osc.encode_message("/x/y", tags, args)  # type: ignore[arg-type]
    assert osc.decode(data) == [osc.Message("/x/y", tags, args)]  # type: ignore[arg-type]
    assert osc.decode(osc.encode_bundle([data, data])) == [osc.Message("/x/y", tags, args)] * 2  # type: ignore[arg-type]


def test_python_osc_reads_what_is_written() -> None:
    """The encoder's messages are understood elsewhere."""
    parsed = OscMessage(osc.encode_message("/VMC/Ext/Bone/Pos", "sfi", ["Hips", 0.25, -3]))
    assert parsed.address == "/VMC/Ext/Bone/Pos"
    assert parsed.params == ["Hips", 0.25, -3]


BUNDLE = osc.encode_bundle([osc.encode_message("/a", "f", [1.0])])
REFUSED = {
    "nothing": (b"", EMPTY),
    "mocopi": (b"#\0\0\0head", MALFORMED),
    "json": (b'{"a":1}', FOREIGN),
    "float cut": (osc.encode_message("/a", "ff", [1.0, 2.0])[:-4], TRUNCATED),
    "float missing": (osc.encode_message("/a", "f", [1.0])[:-4], TRUNCATED),
    "not in fours": (osc.encode_message("/a", "f", [1.0])[:-1], MALFORMED),
    "string open": (b"/abc", TRUNCATED),
    "argument open": (b"/a\0\0,s\0\0abcd", TRUNCATED),
    "no comma": (b"/a\0\0f\0\0\0\0\0\0\0", MALFORMED),
    "unknown type": (b"/a\0\0,Q\0\0\0\0\0\0", MALFORMED),
    "left over": (osc.encode_message("/a", "f", [1.0]) + bytes(4), MALFORMED),
    "blob beyond": (b"/a\0\0,b\0\0" + struct.pack(">i", 400), TRUNCATED),
    "blob negative": (b"/a\0\0,b\0\0" + struct.pack(">i", -4), TRUNCATED),
    "element beyond": (BUNDLE[:16] + struct.pack(">i", 400) + BUNDLE[20:], TRUNCATED),
    "element negative": (BUNDLE[:16] + struct.pack(">i", -8) + BUNDLE[20:], TRUNCATED),
    "bundle cut": (BUNDLE[:12], TRUNCATED),
    "in bundle no slash": (osc.encode_bundle([b"abc\0"]), MALFORMED),
    "too long": (b"/" * 70_000, TOO_LARGE),
    "too many": (osc.encode_bundle([b"/a\0\0"] * 2000), TOO_LARGE),
}


@pytest.mark.parametrize("case", REFUSED)
def test_damage_is_a_refusal_with_its_kind(case: str) -> None:
    """Cut, overrunning and foreign packets are refused whole, with the reason."""
    data, kind = REFUSED[case]
    refusal = osc.decode(data)
    assert isinstance(refusal, Refusal)
    assert refusal.kind == kind


def test_bundles_nested_without_end_are_refused() -> None:
    """Depth is bounded, so no packet can exhaust the stack."""
    data = b"/a\0\0"
    for _ in range(60):
        data = osc.encode_bundle([data])
    refusal = osc.decode(data)
    assert isinstance(refusal, Refusal)
    assert refusal.kind == TOO_LARGE


def test_odd_but_legal_messages_are_read() -> None:
    """No type tags at all, arrays, and bytes that are no UTF-8."""
    assert osc.decode(b"/old\0\0\0\0") == [osc.Message("/old", "", ())]
    assert osc.decode(b"/a\0\0,[ii]\0\0\0" + struct.pack(">ii", 1, 2)) == [osc.Message("/a", "[ii]", (1, 2))]
    found = osc.decode(b"/a\0\0,s\0\0\xff\xfe\0\0")
    assert isinstance(found, list)
    assert found[0].args == ("\ufffd\ufffd",)
    nan = osc.decode(osc.encode_message("/a", "f", [math.nan]))
    assert isinstance(nan, list)
    assert math.isnan(float(nan[0].args[0]))  # type: ignore[arg-type]


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=120), st.sampled_from([b"", b"/a\0\0,", b"#bundle\0", BUNDLE]))
def test_no_bytes_raise(data: bytes, start: bytes) -> None:
    """Arbitrary bytes never raise."""
    osc.decode(start + data)
