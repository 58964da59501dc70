"""Messages as bytes and back: JSON for people, MessagePack for rate. What is read is checked against its Struct."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from echelon_engine.errors import UserError

Name = Literal["json", "msgpack"]
T = TypeVar("T")

_ENCODE = {"json": msgspec.json.Encoder().encode, "msgpack": msgspec.msgpack.Encoder().encode}


def encode(message: Any, encoding: Name) -> bytes:
    """Return a message as bytes."""
    return _ENCODE[encoding](message)


def encoding_of(data: bytes) -> Name | None:
    """Return how an object is written, by its first byte; None when it is neither JSON's nor MessagePack's object."""
    if not data:
        return None
    first = data[0]
    if first in b"{ \t\r\n":
        return "json"
    return "msgpack" if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF) else None


def decode(data: bytes, message: type[T], what: str) -> T:
    """Return the message that `data` is, in either encoding; nothing at all is an empty object.

    Raises `UserError` (what, the rule, the remedy) when it is not one; `what` names it there.
    """
    data = data or b"{}"
    encoding = encoding_of(data)
    if encoding is None:
        raise UserError(what, "must be one JSON or MessagePack object", 'such as {"key": "master", "value": "-6"}')
    read = msgspec.json.decode if encoding == "json" else msgspec.msgpack.decode
    try:
        return read(data, type=message)
    except msgspec.ValidationError as error:
        fields = ", ".join(field.encode_name for field in msgspec.structs.fields(message))  # type: ignore[arg-type]
        raise UserError(what, str(error), f"its fields are {fields}" if fields else "it has no fields") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UserError(what, f"is not {encoding} ({error})", "send one whole object") from None
