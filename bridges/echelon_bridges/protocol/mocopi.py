"""Sony mocopi's native datagrams: boxes of `u32 length, 4 bytes tag, payload`, little-endian, to values and back.

`decode` is pure and driven by tags: unknown boxes are skipped and counted, lengths are bounded by what is there, and
whatever cannot be read comes back as a Refusal.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echelon_bridges.motion.skeleton import ALL_VALID, LIMBS, PARENTS
from echelon_bridges.protocol import mocopi_bones
from echelon_bridges.protocol.refusal import EMPTY, FOREIGN, MALFORMED, TOO_LARGE, TRUNCATED, Refusal

Floats = NDArray[np.float64]

FORMAT = b"sony motion format"
DEFAULT_PORT = 12351
MAX_BYTES = 65536
MAX_BOXES = 1024  # in one container; a real packet has 27 at most
MAX_OFFSET_M = 3.0  # a bone longer than this is no body's
MAX_PLACE_M = 1e5

# One bone as every known sender writes it: bnid and tran in this order. Anything else goes the long way round.
_BONE = np.dtype(
    [
        ("size", "<u4"), ("tag", "S4"), ("id_size", "<u4"), ("id_tag", "S4"), ("id", "<u2"),
        ("tran_size", "<u4"), ("tran_tag", "S4"), ("tran", "<f4", (7,)),
    ]
)  # fmt: skip
_REST = np.dtype(
    [
        ("size", "<u4"), ("tag", "S4"), ("id_size", "<u4"), ("id_tag", "S4"), ("id", "<u2"),
        ("parent_size", "<u4"), ("parent_tag", "S4"), ("parent", "<i2"),
        ("tran_size", "<u4"), ("tran_tag", "S4"), ("tran", "<f4", (7,)),
    ]
)  # fmt: skip
_IDENTITIES = np.tile([0.0, 0.0, 0.0, 1.0], (LIMBS, 1))


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The sender's body: `offsets` (27, 3) m from the parent, `parents` (-1 root), `present` bit i: bone i was sent."""

    offsets: Floats
    parents: tuple[int, ...]
    present: int
    unknown_boxes: int
    refused_bones: int


class Frame(NamedTuple):
    """One pose: `rotations` (27, 4) local x y z w as sent, `root` (3,) m; bones without their bit in `present` are
    identity.

    `number` counts since the app started, `time_s` since the stream started; `unix_s` is the sender's wall clock.
    """

    number: int
    time_s: float
    unix_s: float | None
    timecode: bytes | None
    rotations: Floats
    root: Floats
    present: int
    unknown_boxes: int
    refused_bones: int


class _Bad(Exception):
    def __init__(self, kind: str, detail: str) -> None:
        self.refusal = Refusal(kind, detail)


def _headers(layout: np.dtype[Any], tag: bytes) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Return which bytes of a bone are headers, and what they are in a bone laid out as `layout`."""
    table = np.zeros(1, layout)
    table["size"], table["tag"] = layout.itemsize - 8, tag
    table["id_size"], table["id_tag"] = 2, b"bnid"
    table["tran_size"], table["tran_tag"] = 28, b"tran"
    values = ["id", "tran"]
    if layout is _REST:
        table["parent_size"], table["parent_tag"] = 2, b"pbid"
        values.append("parent")
    is_header = np.ones(layout.itemsize, dtype=bool)
    for name in values:
        kind, begin = dict(layout.fields or {})[name][:2]
        is_header[begin : begin + kind.itemsize] = False
    at = np.flatnonzero(is_header)
    return at, np.frombuffer(table.tobytes(), np.uint8)[at]


_HEADERS = {b"btdt": _headers(_BONE, b"btdt"), b"bndt": _headers(_REST, b"bndt")}


def boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield (tag, payload) of the boxes side by side in `data`; raises _Bad where one overruns it."""
    at, end = 0, len(data)
    for _ in range(MAX_BOXES):
        if at == end:
            return
        if end - at < 8:
            raise _Bad(TRUNCATED, f"{end - at} bytes where a box needs a header of 8")
        size, tag = struct.unpack_from("<I4s", data, at)
        if size > end - at - 8:
            raise _Bad(TRUNCATED, f"box {tag!r} announces {size} bytes, {end - at - 8} are left")
        yield tag, data[at + 8 : at + 8 + size]
        at += 8 + size
    if at != end:
        raise _Bad(TOO_LARGE, f"more than {MAX_BOXES} boxes side by side")


def _field(form: str, tag: bytes, payload: memoryview) -> Any:
    if len(payload) != struct.calcsize(form):
        raise _Bad(MALFORMED, f"box {tag!r} of {len(payload)} bytes; {struct.calcsize(form)} expected")
    return struct.unpack(form, payload)[0]


def decode(data: bytes) -> Frame | Skeleton | Refusal:
    """Return what a datagram says, or why it was refused. No exception leaves this function."""
    layout = _LAYOUTS.get(len(data))
    if layout is not None and (frame := layout.read(data)) is not None:
        return frame
    return _decode_or_refuse(data)


def _decode_or_refuse(data: bytes) -> Frame | Skeleton | Refusal:
    if not data:
        return Refusal(EMPTY, "0 bytes")
    if data[4:8] != b"head":
        return Refusal(FOREIGN, f"begins with {bytes(data[:8])!r}, not with a head box")
    if len(data) > MAX_BYTES:
        return Refusal(TOO_LARGE, f"{len(data)} bytes; a packet has about 1800")
    try:
        return _decode(memoryview(data))
    except _Bad as bad:
        return bad.refusal


def _decode(data: memoryview) -> Frame | Skeleton | Refusal:
    unknown = 0
    known = False
    body: tuple[bytes, memoryview] | None = None
    for tag, payload in boxes(data):
        if tag == b"head":
            for inner, value in boxes(payload):
                if inner == b"ftyp":
                    known = bytes(value) == FORMAT
                    if not known:
                        return Refusal(FOREIGN, f"format {bytes(value[:32])!r}; only {FORMAT!r} is known")
                elif inner != b"vrsn":
                    unknown += 1
        elif tag == b"sndf":
            for inner, _ in boxes(payload):
                unknown += inner not in (b"ipad", b"rcvp")
        elif tag in (b"fram", b"skdf"):
            if body is not None:
                return Refusal(MALFORMED, "two bodies in one packet; one datagram is one packet")
            body = tag, payload
        else:
            unknown += 1
    if not known:
        return Refusal(FOREIGN, "head without ftyp")
    if body is None:
        return Refusal(MALFORMED, "neither fram nor skdf in the packet")
    return _decode_frame(body[1], unknown) if body[0] == b"fram" else _decode_skeleton(body[1], unknown)


def _decode_frame(payload: memoryview, unknown: int) -> Frame | Refusal:
    number = time_s = unix_s = timecode = bones = None
    for tag, value in boxes(payload):
        if tag == b"fnum":
            number = _field("<I", tag, value)
        elif tag == b"time":
            time_s = _field("<f", tag, value)
        elif tag == b"uttm":
            unix_s = _field("<d", tag, value)
        elif tag == b"tmcd":
            timecode = bytes(value[:64])
        elif tag == b"btrs":
            bones = value
        else:
            unknown += 1
    if number is None or time_s is None or bones is None:
        return Refusal(MALFORMED, "a frame needs fnum, time and btrs")
    if not (math.isfinite(time_s) and -1.0 <= time_s < 1e7):
        return Refusal(MALFORMED, f"time of {time_s} s")
    if unix_s is not None and not abs(unix_s) < 1e11:
        unix_s = None
    ids, _, trans = _bones(bones, _BONE, b"btdt")
    rotations = _IDENTITIES.copy()
    q = trans[:, :4]
    squared = np.einsum("ij,ij->i", q, q)
    good = (squared > 0.25) & (squared < 4.0) & (np.abs(trans[:, 4:]) < MAX_PLACE_M).all(axis=1) & (ids < LIMBS)
    refused = int(len(ids) - np.count_nonzero(good))
    if refused:
        ids, trans = ids[good], trans[good]
    rotations[ids] = trans[:, :4]
    present = 0
    for bone in ids.tolist():
        present |= 1 << bone
    root = trans[np.flatnonzero(ids == 0)[-1], 4:].copy() if present & 1 else np.full(3, np.nan)
    return Frame(number, time_s, unix_s, timecode, rotations, root, present, unknown, refused)


def _decode_skeleton(payload: memoryview, unknown: int) -> Skeleton | Refusal:
    bones = None
    for tag, value in boxes(payload):
        if tag == b"bons":
            bones = value
        else:
            unknown += 1
    if bones is None:
        return Refusal(MALFORMED, "a skeleton needs bons")
    ids, parent_ids, trans = _bones(bones, _REST, b"bndt")
    good = (ids < LIMBS) & (np.abs(trans[:, 4:]) < MAX_OFFSET_M).all(axis=1)
    refused = int(len(ids) - np.count_nonzero(good))
    offsets = np.zeros((LIMBS, 3))
    parents = list(PARENTS)
    present = 0
    for bone, parent, tran in zip(ids[good].tolist(), parent_ids[good].tolist(), trans[good], strict=True):
        offsets[bone], parents[bone] = tran[4:], parent
        present |= 1 << bone
    if tuple(parents) != PARENTS:
        return Refusal(MALFORMED, "bones hang together otherwise than in mocopi's tree of 27")
    return Skeleton(offsets, tuple(parents), present, unknown, refused)


def _bones(data: memoryview, layout: np.dtype[Any], tag: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return ids (n,), parents (n,) (-1 where not said) and trans (n, 7) of the bones in a btrs or bons payload."""
    if len(data) % layout.itemsize == 0 and len(data) // layout.itemsize <= MAX_BOXES:
        table = np.frombuffer(data, layout)
        size = layout.itemsize
        headers, pattern = _HEADERS[tag]
        if (np.frombuffer(data, np.uint8).reshape(-1, size)[:, headers] == pattern).all():
            ids = table["id"].astype(np.int64)
            parents = table["parent"].astype(np.int64) if layout is _REST else np.full(len(ids), -1)
            with np.errstate(invalid="ignore"):  # signalling NaNs
                return ids, parents, table["tran"].astype(np.float64)
    rows = []
    for box, payload in boxes(data):
        if box != tag:
            continue
        bone = tran = None
        parent = -1
        for inner, value in boxes(payload):
            if inner == b"bnid":
                bone = _field("<H", inner, value)
            elif inner == b"pbid":
                parent = _field("<h", inner, value)
            elif inner == b"tran":
                if len(value) != 28:
                    raise _Bad(MALFORMED, f"tran of {len(value)} bytes; 28 expected")
                tran = struct.unpack("<7f", value)
        if bone is None or tran is None:
            raise _Bad(MALFORMED, f"{tag!r} without bnid or tran")
        rows.append((bone, parent, tran))
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    parents = np.array([row[1] for row in rows], dtype=np.int64)
    return ids, parents, np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 7)


def _box(tag: bytes, *payload: bytes) -> bytes:
    joined = b"".join(payload)
    return struct.pack("<I4s", len(joined), tag) + joined


def _head(port: int) -> bytes:
    return _box(b"head", _box(b"ftyp", FORMAT), _box(b"vrsn", b"\x01")) + _box(
        b"sndf", _box(b"ipad", bytes(8)), _box(b"rcvp", struct.pack("<H", port))
    )


def encode_skeleton(offsets: ArrayLike, port: int = DEFAULT_PORT) -> bytes:
    """Return a skeleton datagram (1821 bytes) of bone offsets `(27, 3)` in metres."""
    table = np.zeros(LIMBS, _REST)
    table["size"], table["tag"] = _REST.itemsize - 8, b"bndt"
    table["id_size"], table["id_tag"], table["id"] = 2, b"bnid", np.arange(LIMBS)
    table["parent_size"], table["parent_tag"], table["parent"] = 2, b"pbid", PARENTS
    table["tran_size"], table["tran_tag"] = 28, b"tran"
    table["tran"][:, 3] = 1.0
    table["tran"][:, 4:] = offsets
    return _head(port) + _box(b"skdf", _box(b"bons", table.tobytes()))


def encode_frame(
    number: int,
    time_s: float,
    rotations: ArrayLike,
    root: ArrayLike,
    offsets: ArrayLike,
    *,
    unix_s: float | None = None,
    timecode: bytes | None = bytes(6),
    port: int = DEFAULT_PORT,
) -> bytes:
    """Return a frame datagram (1605 bytes with `unix_s` and `timecode`) of local rotations `(27, 4)` x y z w.

    `root` `(3,)` metres is where the root is; the other bones restate `offsets` `(27, 3)`, as the app does.
    """
    table = np.zeros(LIMBS, _BONE)
    table["size"], table["tag"] = _BONE.itemsize - 8, b"btdt"
    table["id_size"], table["id_tag"], table["id"] = 2, b"bnid", np.arange(LIMBS)
    table["tran_size"], table["tran_tag"] = 28, b"tran"
    table["tran"][:, :4] = rotations
    table["tran"][:, 4:] = offsets
    table["tran"][0, 4:] = root
    fields = [_box(b"fnum", struct.pack("<I", number & 0xFFFFFFFF)), _box(b"time", struct.pack("<f", time_s))]
    if unix_s is not None:
        fields.append(_box(b"uttm", struct.pack("<d", unix_s)))
    if timecode is not None:
        fields.append(_box(b"tmcd", timecode))
    return _head(port) + _box(b"fram", *fields, _box(b"btrs", table.tobytes()))


class _Layout:
    """Where everything is in a frame as the app itself writes it: a reader without a search, for nearly all of them.

    `read` returns what the long way round would, or None for whatever else a packet of this size may be: other headers,
    bones in another order, and numbers that are not clearly within their limits.
    """

    def __init__(self, unix_s: float | None, timecode: bytes | None) -> None:
        still = np.tile([0.0, 0.0, 0.0, 1.0], (LIMBS, 1))
        packet = encode_frame(0, 0.0, still, np.zeros(3), np.zeros((LIMBS, 3)), unix_s=unix_s, timecode=timecode)
        self.size = len(packet)
        self._trans = self.size - LIMBS * _BONE.itemsize + _BONE.fields["tran"][1]  # type: ignore[index]
        self._number, self._time = (packet.index(tag) + 4 for tag in (b"fnum", b"time"))
        self._unix = packet.index(b"uttm") + 4 if unix_s is not None else 0
        self._timecode = packet.index(b"tmcd") + 4 if timecode is not None else 0
        self._packet = np.frombuffer(packet, np.uint8)
        self._fixed = np.full(self.size, 0xFF, np.uint8)  # the bits that are headers
        values = [(self._number, 4), (self._time, 4), (self._unix, 8 * (unix_s is not None))]
        values += [(self._timecode, len(timecode or b"")), (packet.index(b"vrsn") + 4, 1)]
        values += [(packet.index(b"ipad") + 4, 8), (packet.index(b"rcvp") + 4, 2)]
        values += [(self._trans + bone * _BONE.itemsize, 28) for bone in range(LIMBS)]
        for begin, size in values:
            self._fixed[begin : begin + size] = 0

    def read(self, data: bytes) -> Frame | None:
        """Return the frame, or None."""
        rotations, root = np.empty((LIMBS, 4)), np.empty(3)
        raw = np.frombuffer(data, np.uint8)
        if not mocopi_bones.read(rotations, root, raw, self._packet, self._fixed, self._trans, _BONE.itemsize):
            return None
        number, time_s = _U32.unpack_from(data, self._number)[0], _F32.unpack_from(data, self._time)[0]
        if not -1.0 <= time_s < 1e7:
            return None
        unix_s = timecode = None
        if self._unix and not abs(unix_s := _F64.unpack_from(data, self._unix)[0]) < 1e11:
            unix_s = None
        if self._timecode:
            timecode = data[self._timecode : self._timecode + 6]
        return Frame(number, time_s, unix_s, timecode, rotations, root, ALL_VALID, 0, 0)


_U32, _F32, _F64 = struct.Struct("<I"), struct.Struct("<f"), struct.Struct("<d")
_LAYOUTS = {
    layout.size: layout
    for layout in (_Layout(unix_s, timecode) for unix_s in (None, 0.0) for timecode in (None, bytes(6)))
}


def load() -> None:
    """Compile or load what frames are read with, so that no frame waits for it."""
    still = np.tile([0.0, 0.0, 0.0, 1.0], (LIMBS, 1))
    decode(encode_frame(0, 0.0, still, np.zeros(3), np.zeros((LIMBS, 3))))
