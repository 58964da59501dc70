"""Why a datagram was not taken: a value, never an exception, so that no sender can stop a receiver."""

from __future__ import annotations

from dataclasses import dataclass

EMPTY = "empty"
FOREIGN = "foreign"  # some other protocol
TRUNCATED = "truncated"  # announces more bytes than there are
MALFORMED = "malformed"  # breaks the grammar
TOO_LARGE = "too large"  # more bytes, boxes, messages or depth than any real sender makes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused datagram: `kind` is one of this module's constants, `detail` says value and rule."""

    kind: str
    detail: str
