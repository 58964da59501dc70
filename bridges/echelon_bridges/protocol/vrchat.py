"""VRChat's OSC trackers: `/tracking/trackers/1..8|head/position|rotation`, three numbers each.

Which tracker is where on the body is not said. Source: docs.vrchat.com/docs/osc-trackers.
"""

from __future__ import annotations

from echelon_bridges.protocol.osc import Message
from echelon_bridges.protocol.reading import Readings

PREFIX = "/tracking/trackers/"
PARTS = frozenset({"1", "2", "3", "4", "5", "6", "7", "8", "head"})
SENSORS = {"position": "position", "rotation": "euler"}


def take(message: Message, found: Readings) -> None:
    """Add what one message below PREFIX says."""
    part, _, name = message.address[len(PREFIX) :].partition("/")
    quantity = SENSORS.get(name)
    if quantity is None or part not in PARTS:
        found.unknown += 1
    else:
        found.add("vrchat", "", quantity, message.args, part=part)
