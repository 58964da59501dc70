"""MIDI ports as people name them, through python-rtmidi: ALSA or JACK on Linux, Core MIDI on macOS."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from echelon_engine.errors import UserError, nearest

VIRTUAL = "virtual"
Direction = Literal["in", "out"]
_NUMBERS = re.compile(r" \d+:\d+$")  # ALSA's numbers of a port: other ones after each plugging in


@dataclass(frozen=True, slots=True)
class Port:
    """A port of another program or device: one that we play to (out), or that plays to us (in)."""

    direction: Direction
    api: str  # "alsa", "jack", "core"
    index: int
    name: str


def load() -> Any:
    """Return the module `rtmidi`, or raise `UserError` saying how to get it."""
    try:
        import rtmidi
    except ImportError:
        raise UserError("MIDI", "needs python-rtmidi", "pip install 'echelon-engine[midi]'") from None
    return rtmidi


def _apis(rtmidi: Any) -> dict[str, int]:
    """Return the interfaces of the operating system that may work here, the usual one first."""
    if sys.platform == "darwin":
        found = {"core": rtmidi.API_MACOSX_CORE, "jack": rtmidi.API_UNIX_JACK}
    else:
        found = {"alsa": rtmidi.API_LINUX_ALSA, "jack": rtmidi.API_UNIX_JACK}
        if not os.access("/dev/snd/seq", os.R_OK | os.W_OK):
            del found["alsa"]
    compiled = rtmidi.get_compiled_api()
    return {name: api for name, api in found.items() if api in compiled}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what the C libraries write to stderr meanwhile: JACK complains aloud that no server runs."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def clients(direction: Direction, client: str) -> dict[str, Any]:
    """Return a client of every interface that works now, by its name."""
    rtmidi = load()
    kind = rtmidi.MidiOut if direction == "out" else rtmidi.MidiIn
    made: dict[str, Any] = {}
    for name, api in _apis(rtmidi).items():
        with contextlib.suppress(rtmidi.RtMidiError, RuntimeError):
            made[name] = kind(api, name=client)
    return made


def listing(direction: Direction, made: dict[str, Any]) -> list[Port]:
    """Return the ports that these clients see."""
    return [
        Port(direction, api, index, str(name))
        for api, client in made.items()
        for index, name in enumerate(client.get_ports())
    ]


def choose(wanted: str, ports: list[Port]) -> Port | None:
    """Return the port a person means: by its whole name, without ALSA's numbers, or by a part only one port has."""
    low = wanted.strip().lower()
    for same in (lambda name: name == low, lambda name: _NUMBERS.sub("", name) == low):
        for port in ports:
            if same(port.name.lower()):
                return port
    having = [port for port in ports if low and low in port.name.lower()]
    return having[0] if len(having) == 1 else None


def problem(wanted: str, ports: list[Port], direction: Direction) -> UserError:
    """Return what to tell about a name that `choose` found nothing for."""
    having = [port.name for port in ports if wanted.strip() and wanted.strip().lower() in port.name.lower()]
    what = "output" if direction == "out" else "input"
    if having:
        return UserError(f"MIDI {what} {wanted!r}", "is a part of several names", f"choose one of {', '.join(having)}")
    names = [port.name for port in ports]
    hint = nearest(wanted, [name.lower() for name in names])
    here = f"there are {', '.join(names)}" if names else "there is none; 'virtual' makes one"
    return UserError(f"MIDI {what} {wanted!r}", "no such port", hint or here)


def open_port(direction: Direction, wanted: str, made: dict[str, Any]) -> tuple[Any, str]:
    """Open a port by name, or make our own for 'virtual' ('virtual:jack' on JACK); return (client, name).

    Raises `UserError`. The other clients stay the caller's.
    """
    if wanted.partition(":")[0] == VIRTUAL:
        api = wanted.partition(":")[2]
        if not made or (api and api not in made):
            ways = "ALSA's sequencer (modprobe snd-seq) or a JACK server" if sys.platform != "darwin" else "Core MIDI"
            raise UserError(f"MIDI {wanted!r}", f"no {api or 'MIDI system'} runs here", f"start {ways}")
        client = made[api or next(iter(made))]
        client.open_virtual_port("midi")
        return client, VIRTUAL
    port = choose(wanted, ports := listing(direction, made))
    if port is None:
        raise problem(wanted, ports, direction)
    client = made[port.api]
    client.open_port(port.index, name="midi")
    return client, port.name
