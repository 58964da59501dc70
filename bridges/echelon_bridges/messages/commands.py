"""What may be asked of an engine by a message: one table. No field of any of them reaches code or a file."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Struct, field

from echelon_bridges.messages.fields import about
from echelon_bridges.messages.table import Message, Snapshot
from echelon_engine import live
from echelon_engine.errors import UsageError, nearest

REQUEST_BYTES = 8192


class Set(Struct, frozen=True, forbid_unknown_fields=True):
    """Change a live setting or take over a lane, as `echelon-engine set KEY VALUE` does."""

    key: Annotated[str, Meta(max_length=64), about("", "a live key, or lane.<name>")]
    value: Annotated[
        Annotated[str, Meta(max_length=64)] | bool | int | float, about("", "as on the command line; off releases")
    ]

    @property
    def text(self) -> str:
        """The value as the command line writes it."""
        if isinstance(self.value, bool):
            return "on" if self.value else "off"
        return self.value if isinstance(self.value, str) else f"{self.value:.9g}"


class Get(Struct, frozen=True, forbid_unknown_fields=True):
    """The live settings that are in force."""

    key: Annotated[str, Meta(max_length=64), about("", "one of them; empty: all")] = ""


class Status(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole status document, as `echelon-engine status --json` prints it."""


class Cue(Struct, frozen=True, forbid_unknown_fields=True):
    """Give a cue of the show, as `echelon-engine cue WHICH` does."""

    which: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | Annotated[int, Meta(ge=1)],
        about("", "next, back, a name or a number from 1"),
    ] = "next"


class Panic(Struct, frozen=True, forbid_unknown_fields=True):
    """All sound off at once."""


class PlayNote(Struct, frozen=True, forbid_unknown_fields=True):
    """Begin or end a note at once."""

    key: Annotated[int, Meta(ge=0, lt=1 << 31), about("", "names the note until its end")]
    on: Annotated[bool, about("", "begin; false: end")] = True
    pitch: Annotated[float, Meta(ge=0.0, le=127.0), about("MIDI note", "fractional")] = 60.0
    velocity: Annotated[float, Meta(ge=0.0, le=1.0), about("", "0..1")] = 0.8
    pan: Annotated[float, Meta(ge=-1.0, le=1.0), about("", "-1 left, 1 right")] = 0.0


class AskSnapshot(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a late joiner needs."""


class Reply(Message, kw_only=True, frozen=True):
    """The answer to a command."""

    ok: Annotated[bool, about("", "whether it was done")]
    error: Annotated[str | None, about("", "what is wrong, the rule, the remedy")] = None
    answer: Annotated[
        dict[str, Any], about("", "what was asked for; set: the key and its effective value; cue: its place and name")
    ] = field(default_factory=dict)


class Command(NamedTuple):
    """One row: the word after `echelon.<engine>.command.`, what is sent there and what comes back."""

    name: str
    request: type[Struct]
    reply: type[Message]


COMMANDS: dict[str, Command] = {
    row.name: row
    for row in (
        Command("set", Set, Reply),
        Command("get", Get, Reply),
        Command("status", Status, Reply),
        Command("cue", Cue, Reply),
        Command("panic", Panic, Reply),
        Command("note", PlayNote, Reply),
        Command("snapshot", AskSnapshot, Snapshot),
    )
}


def control_fields(request: Struct) -> dict[str, Any]:
    """Return what the control socket is asked for a request (not for notes and snapshots, which need no socket).

    Raises `UsageError` for an unknown key, with the nearest.
    """
    match request:
        case Set():
            return {"command": "set", "key": request.key, "value": request.text}
        case Get():
            if request.key and request.key not in live.names():
                hint = nearest(request.key, live.names()) or "leave the key out to get them all"
                raise UsageError(request.key, "no such live setting", hint)
            return {"command": "get"}
        case Cue():
            return {"command": "cue", "which": str(request.which)}
        case Panic():
            return {"command": "set", "key": "panic", "value": "now"}
    return {"command": "status"}
