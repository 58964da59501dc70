"""Limb frames that came as messages: a `table.Body` in either encoding to a LIMB_FRAME record. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.messages import encoding
from echelon_bridges.messages.table import Body
from echelon_engine.errors import UserError
from echelon_engine.memory import BREAK, LIMB_FRAME, SYNTHETIC

SHORTEST, LONGEST = 0.5, 2.0  # length of a quaternion that is taken for one (spec/motion.md)


def is_frame(data: bytes) -> bool:
    """Return whether a payload looks like a limb frame message, not like a datagram of some sensor."""
    kind = encoding.encoding_of(data)
    return kind == "msgpack" or (kind == "json" and b'"rotation"' in data and b'"position"' in data)


def frame(data: bytes, arrival_ns: int) -> NDArray[Any]:
    """Return the frame, memory.LIMB_FRAME, shape (1,), rotations of unit length with w >= 0, limb by limb.

    A limb with a number that is not finite or a quaternion shorter than 0.5 or longer than 2 is not valid and gets the
    identity. A time of 0 becomes `arrival_ns`. Raises `UserError` when it is no limb frame.
    """
    message = encoding.decode(data, Body, "limb frame")
    rotation = np.array(message.rotation, np.float64)  # 27 x 4
    position = np.array(message.position, np.float64)  # 27 x 3
    place = np.array([message.heading, *message.origin], np.float64)
    if not np.isfinite(place).all() or np.abs(place).max() > 1e6 or not -(2**62) < message.time_ns < 2**62:
        raise UserError("limb frame", "heading, origin and time must be finite numbers", "leave them out")
    length = np.sqrt((rotation**2).sum(axis=1)) if np.abs(np.nan_to_num(rotation)).max() < 1e3 else np.zeros(27)
    good = (length >= SHORTEST) & (length <= LONGEST) & (np.abs(position) < 1e3).all(axis=1)
    good &= (message.valid >> np.arange(len(good)) & 1).astype(bool)
    if not good.any():
        raise UserError("limb frame", "none of its limbs is valid", "send numbers, and quaternions of unit length")
    made = np.zeros(1, LIMB_FRAME)
    made["rotation"][0] = (0.0, 0.0, 0.0, 1.0)
    turned = rotation[good] / length[good, None]
    made["rotation"][0, good] = np.where(turned[:, 3:] < 0.0, -turned, turned)
    made["position"][0, good] = position[good]
    made["valid"] = int((good * (1 << np.arange(len(good)))).sum())
    made["flags"] = SYNTHETIC * message.synthetic | BREAK * message.broken
    made["heading"], made["origin"] = message.heading, message.origin
    made["number"] = message.number & 0x7FFF_FFFF_FFFF_FFFF
    made["time_ns"], made["arrival_ns"] = message.time_ns or arrival_ns, arrival_ns
    return made
