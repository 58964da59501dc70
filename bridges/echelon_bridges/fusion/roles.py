"""Who holds what: devices to (performer, role), by what people assigned, else in the order in which they come.

Unassigned phones become the right hand, then the left hand, then the torso of the performer whose port they send to.
"""

from __future__ import annotations

from collections.abc import Callable

from echelon_engine.errors import UsageError, nearest
from echelon_engine.memory import PERFORMERS

BODY, LEFT, RIGHT, TORSO, NONE = "body", "left", "right", "torso", "none"
ROLES = (BODY, LEFT, RIGHT, TORSO, NONE)  # none: heard, but it plays nothing
BY_DEFAULT = (RIGHT, LEFT, TORSO)
SLOTS = {LEFT: 0, RIGHT: 1, TORSO: 2}  # in memory.DEVICES
MOST_ASSIGNED = 64
NAME_CHARACTERS = 80

Place = tuple[int, str]


def parse_place(text: str) -> Place:
    """Return (performer, role) of `ROLE` or `PERFORMER.ROLE`, performers from 0; raises `UsageError`."""
    first, dot, second = text.strip().lower().rpartition(".")
    performer = first if dot else "0"
    if second not in ROLES:
        raise UsageError(f"role {second!r}", "is none", nearest(second, ROLES) or f"one of {', '.join(ROLES)}")
    if not (performer.isascii() and performer.isdigit() and int(performer) < PERFORMERS):
        raise UsageError(f"performer {performer!r}", f"is none of 0 to {PERFORMERS - 1}", "for example 0.left")
    return int(performer), second


def parse_roles(text: str) -> dict[str, Place]:
    """Return device -> (performer, role) of `0.left=zigsim:abc, 0.right=192.168.1.7`; raises `UsageError`."""
    found: dict[str, Place] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        place, equals, device = (part.strip() for part in entry.partition("="))
        if not equals or not device or len(device) > NAME_CHARACTERS:
            value = f"sensors.roles: {entry[:NAME_CHARACTERS]!r}"
            raise UsageError(
                value, "is no assignment", "write PERFORMER.ROLE=DEVICE, .. for example 0.left=192.168.1.7"
            )
        where = parse_place(place)
        if where[1] != NONE and where in found.values():
            raise UsageError(entry, f"{place} is given twice in sensors.roles", "one device a role")
        found[device] = where
    if len(found) > MOST_ASSIGNED:
        raise UsageError(f"{len(found)} assignments", f"at most {MOST_ASSIGNED}", "remove some from sensors.roles")
    return found


class Roles:
    """Assignments and defaults; a device goes by its name, an assignment may also name its address."""

    def __init__(self, assigned: dict[str, Place]) -> None:
        self.assigned = dict(assigned)
        self._defaults: dict[str, Place] = {}

    def of(self, name: str, host: str) -> Place | None:
        """Return where a device belongs, or None for one that was neither assigned nor admitted."""
        return self.assigned.get(name) or self.assigned.get(host) or self._defaults.get(name)

    def admit(self, name: str, performer: int, silent: Callable[[str], bool]) -> Place:
        """Give a new phone the first role of the performer that nobody has, and return it.

        A role given like this to a phone that is `silent` by now is free again; an assigned one is not.
        """
        for role in BY_DEFAULT:
            place = (performer, role)
            if place in self.assigned.values():
                continue
            holders = [each for each, where in self._defaults.items() if where == place]
            if all(silent(each) for each in holders):
                for each in holders:
                    del self._defaults[each]
                self._defaults[name] = place
                return place
        self._defaults[name] = (performer, NONE)
        return performer, NONE

    def forget(self, name: str) -> None:
        """Free the role that a device had by default."""
        self._defaults.pop(name, None)

    def assign(self, device: str, place: Place) -> None:
        """Assign; whoever had this role has none afterwards."""
        if not device or len(device) > NAME_CHARACTERS:
            raise UsageError(device[:NAME_CHARACTERS], "is no device", "`echelon-engine sensors` lists them")
        if device not in self.assigned and len(self.assigned) >= MOST_ASSIGNED:
            raise UsageError(f"{MOST_ASSIGNED} assignments", "are all there can be", "restart the engine")
        if place[1] != NONE:
            for table in (self.assigned, self._defaults):
                for each in [each for each, where in table.items() if where == place]:
                    table[each] = (place[0], NONE)
        self._defaults.pop(device, None)
        self.assigned[device] = place
