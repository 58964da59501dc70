"""The file `frames` of a session: a header, then framed records, each whole or not there. Pure: bytes in, bytes out.

    header   "ECHELON\\x1a" | version u32 | length u32 | JSON | crc32 of all before
    record   kind u16 | length u32 | payload | crc32 of all before, little-endian

The payload of a control record or note event is its record of `memory` as it is; of something the callback took, its
epoch, frame and sample (i8 each) and the one field that is meant; of the other kinds, JSON. The header describes every
record by the type and place of its fields, so a reader made for others refuses the file instead of misreading it.
Behind damage, reading goes on at the next record that is whole.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.memory import (
    COMMAND,
    CONTROL,
    DEVICES,
    EVENT,
    GRID,
    INPUT,
    LIMB_FRAME,
    SETTINGS,
    TOOK_COMMAND,
    TOOK_DEVICES,
    TOOK_GRID,
    TOOK_MOTION,
    TOOK_SETTINGS,
)

MAGIC = b"ECHELON\x1a"
VERSION = 1
TAKEN = {
    TOOK_MOTION: "motion",
    TOOK_SETTINGS: "settings",
    TOOK_DEVICES: "devices",
    TOOK_COMMAND: "command",
    TOOK_GRID: "grid",
}
CONTROLS, EVENTS = 16, 17
OPENED, MARK, GAP, CLOSED = 32, 33, 34, 35  # JSON

START = struct.Struct("<8sII")
HEAD = struct.Struct("<HI")
CRC = struct.Struct("<I")
AROUND = HEAD.size + CRC.size
STAMP = 24  # bytes of epoch, frame and sample, which begin an INPUT
MOST_BYTES = 1 << 20  # of one payload, or of the header

RECORDS: dict[str, np.dtype[Any]] = {
    "CONTROL": CONTROL,
    "EVENT": EVENT,
    "LIMB_FRAME": LIMB_FRAME,
    "SETTINGS": SETTINGS,
    "DEVICES": DEVICES,
    "COMMAND": COMMAND,
    "GRID": GRID,
}


def _fields(record: np.dtype[Any]) -> dict[str, tuple[np.dtype[Any], int]]:
    """Return a record's fields: name to type and offset in bytes."""
    return {name: (entry[0], entry[1]) for name, entry in (record.fields or {}).items()}


_FIELD = {kind: _fields(INPUT)[name] for kind, name in TAKEN.items()}
SIZES = {CONTROLS: CONTROL.itemsize, EVENTS: EVENT.itemsize} | {
    kind: STAMP + type_.itemsize for kind, (type_, _) in _FIELD.items()
}


# What a record begins with: a kind and the size it always has, or that of JSON and a brace. Where reading goes on.
_HEADS = [re.escape(HEAD.pack(kind, size)) for kind, size in SIZES.items()]
_BEGINS = re.compile(b"|".join([*_HEADS, rb"[%c-%c]\0..\0\0(?=\{)" % (OPENED, CLOSED)]), re.DOTALL)


def _meaningful(record: np.dtype[Any]) -> NDArray[np.uint8]:
    """Return a mask of a record's bytes, 0 where it is padding: that is whatever the memory held before."""
    mask = np.zeros(record.itemsize, np.uint8)
    for type_, offset in _fields(record).values():
        inner = np.tile(_meaningful(type_.base), int(np.prod(type_.shape))) if type_.base.fields else 0xFF
        mask[offset : offset + type_.itemsize] = inner
    return mask


_MASKS = {CONTROLS: _meaningful(CONTROL), EVENTS: _meaningful(EVENT), 0: _meaningful(INPUT)}


def _bytes(kind: int, records: NDArray[Any]) -> bytes:
    """Return records one after the other, their padding zero: the same records are always the same bytes."""
    mask = _MASKS[kind]
    raw = np.ascontiguousarray(records).view(np.uint8).reshape(-1, len(mask))
    return (raw & mask).tobytes()


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return a copy of records of one type, one part after the other; bytes, as NumPy goes field by field."""
    return np.frombuffer(bytearray().join([part.tobytes() for part in parts]), parts[0].dtype)


def layout() -> dict[str, Any]:
    """Return, for the header, the bytes of each record and its fields as [type, shape, offset]."""
    return {
        name: {
            "bytes": record.itemsize,
            "fields": {
                key: [type_.base.str, list(type_.shape), offset] for key, (type_, offset) in _fields(record).items()
            },
        }
        for name, record in RECORDS.items()
    }


def pack_header(about: dict[str, Any]) -> bytes:
    """Return the header of a file: what `about` says and the layout of the records, as JSON."""
    text = json.dumps({**about, "records": layout()}, separators=(",", ":")).encode()
    start = START.pack(MAGIC, VERSION, len(text)) + text
    return start + CRC.pack(zlib.crc32(start))


def pack(kind: int, payload: bytes) -> bytes:
    """Return one framed record."""
    data = HEAD.pack(kind, len(payload)) + payload
    return data + CRC.pack(zlib.crc32(data))


def pack_note(kind: int, fields: dict[str, Any]) -> bytes:
    """Return a framed record of JSON: OPENED, MARK, GAP or CLOSED."""
    return pack(kind, json.dumps(fields, separators=(",", ":")).encode())


def pack_rows(kind: int, records: NDArray[Any]) -> list[bytes]:
    """Return the framed records of memory.CONTROL or memory.EVENT (n,)."""
    size = records.dtype.itemsize
    raw = _bytes(kind, records)
    return [pack(kind, raw[at : at + size]) for at in range(0, len(raw), size)]


def pack_inputs(inputs: NDArray[Any]) -> list[bytes]:
    """Return the framed records of memory.INPUT (n,), each with only the field that is meant."""
    size = inputs.dtype.itemsize
    raw = _bytes(0, inputs)
    packed = []
    for at, kind in zip(range(0, len(raw), size), inputs["kind"].tolist(), strict=True):
        if kind in _FIELD:
            type_, offset = _FIELD[kind]
            packed.append(pack(kind, raw[at : at + STAMP] + raw[at + offset : at + offset + type_.itemsize]))
    return packed


@dataclass(slots=True)
class Scan:
    """Where a file's whole records are. `stopped` says why reading ended before the file did; "" where it did not.

    `damage` are (begin, end) of what lies between whole records and is none.
    """

    header: dict[str, Any] = field(default_factory=dict)
    begin: int = 0  # of the first record
    end: int = 0  # of the last whole one
    size: int = 0
    stopped: str = ""
    foreign: str = ""  # why nothing here can be read: another program's, or another version's
    places: dict[int, list[int]] = field(default_factory=dict)  # of the payloads, by kind
    damage: list[tuple[int, int]] = field(default_factory=list)

    @property
    def lost_bytes(self) -> int:
        """Bytes that are in no whole record."""
        return self.size - self.end + sum(end - begin for begin, end in self.damage)

    @property
    def lost(self) -> str:
        """What is lost and why, as a sentence; "" where nothing is."""
        places = len(self.damage)
        damaged = (
            f"{places} damaged place{'s' if places > 1 else ''} from byte {self.damage[0][0]} on" if places else ""
        )
        why = " and ".join(part for part in (damaged, self.stopped) if part)
        return f"{why}: {self.lost_bytes} of {self.size} bytes are lost" if why else ""

    @property
    def only_cut(self) -> bool:
        """Whether what is lost is at most one record, at the end, which nobody finished writing."""
        return not self.foreign and not self.damage and self.lost_bytes < AROUND + max(SIZES.values())


def read_header(data: Any) -> Scan:
    """Return header and place of the first record of a file's first bytes. Never raises."""
    scan = Scan(size=len(data))
    if len(data) < START.size:
        scan.stopped = "it ends within its header"
        if bytes(data[:8]) != MAGIC[: len(data)]:
            scan.foreign = "is not the log of a session"
        return scan
    magic, version, length = START.unpack_from(data)
    if magic != MAGIC:
        scan.foreign = "is not the log of a session"
    elif version != VERSION:
        scan.foreign = f"is version {version} of the format, this program reads version {VERSION}"
    elif length > MOST_BYTES:
        scan.stopped = f"its header says {length} bytes"
    elif len(data) < START.size + length + CRC.size:
        scan.stopped = "it ends within its header"
    else:
        end = START.size + length
        if CRC.unpack_from(data, end)[0] != zlib.crc32(data[:end]):
            scan.stopped = "its header is damaged"
            return scan
        try:
            header = json.loads(bytes(data[START.size : end]))
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict):
            scan.stopped = "its header is damaged"
            return scan
        scan.header, scan.begin, scan.end = header, end + CRC.size, end + CRC.size
        scan.foreign = _difference(header.get("records"))
    return scan


def _difference(described: Any) -> str:
    """Return in what a file's records differ from this version's, "" where they are the same."""
    if not isinstance(described, dict):
        return "does not describe its records"
    for name, ours in layout().items():
        theirs = described.get(name)
        if theirs != ours:
            bytes_ = theirs.get("bytes") if isinstance(theirs, dict) else "no"
            return (
                f"was written by another version: its {name} has {bytes_} bytes, here {ours['bytes']}, or other fields"
            )
    return ""


def _whole(data: Any, at: int, size: int) -> tuple[int, int, str]:
    """Return kind and end of the record that begins at a byte, or why there is none."""
    if at + HEAD.size > size:
        return 0, 0, "its last record is cut"
    kind, length = HEAD.unpack_from(data, at)
    if length > MOST_BYTES or SIZES.get(kind, length) != length:
        return 0, 0, f"the record at byte {at} is damaged (kind {kind}, {length} bytes)"
    end = at + AROUND + length
    if end > size:
        return 0, 0, "its last record is cut"
    if zlib.crc32(data[at : end - CRC.size]) != CRC.unpack_from(data, end - CRC.size)[0]:
        return 0, 0, f"the record at byte {at} is damaged"
    return kind, end, ""


def _next_whole(data: Any, after: int, size: int) -> int | None:
    """Return where the first whole record behind a byte begins."""
    at = after + 1
    while found := _BEGINS.search(data, at):
        if not _whole(data, found.start(), size)[2]:
            return found.start()
        at = found.start() + 1
    return None


def scan(data: Any) -> Scan:
    """Find every whole record of a file's bytes (bytes or mmap), also behind damaged ones. Never raises."""
    found = read_header(data)
    if found.stopped or found.foreign:
        return found
    at, size, places = found.begin, found.size, found.places
    while at < size:
        kind, end, wrong = _whole(data, at, size)
        if wrong:
            further = _next_whole(data, at, size)
            if further is None:
                found.stopped = wrong
                break
            found.damage.append((at, further))
            at = further
            continue
        places.setdefault(kind, []).append(at + HEAD.size)
        at = end
    found.end = at
    return found


def gather(data: Any, places: Sequence[int], size: int) -> NDArray[np.uint8]:
    """Return payloads of one size as uint8 (n, size)."""
    joined = b"".join([data[at : at + size] for at in places])
    return np.frombuffer(joined, np.uint8).reshape(len(places), size)


def unpack_rows(data: Any, places: Sequence[int], record: np.dtype[Any]) -> NDArray[Any]:
    """Return the records of memory.CONTROL or memory.EVENT at these places, in their order."""
    return gather(data, places, record.itemsize).copy().view(record).reshape(len(places))


def unpack_inputs(data: Any, places: dict[int, list[int]]) -> NDArray[Any]:
    """Return everything the callback took as memory.INPUT (n,), in the order of the file."""
    order = np.argsort(np.array([at for kind in TAKEN for at in places.get(kind, [])], np.int64))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    inputs = np.zeros(len(order), INPUT)
    raw = inputs.view(np.uint8).reshape(len(order), INPUT.itemsize)
    done = 0
    for kind, (type_, offset) in _FIELD.items():
        here = places.get(kind, [])
        rows = gather(data, here, SIZES[kind])
        where = rank[done : done + len(here)]
        raw[where, :STAMP] = rows[:, :STAMP]
        raw[where, offset : offset + type_.itemsize] = rows[:, STAMP:]
        inputs["kind"][where] = kind
        done += len(here)
    return inputs


def unpack_notes(data: Any, places: Sequence[int]) -> list[dict[str, Any]]:
    """Return JSON records; one that is none is left out."""
    notes = []
    for at in places:
        length = HEAD.unpack_from(data, at - HEAD.size)[1]
        try:
            value = json.loads(bytes(data[at : at + length]))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            notes.append(value)
    return notes
