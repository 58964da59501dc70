"""`sensors`: what is heard, who holds what, where the stage's front is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from echelon_bridges.commands import _options

if TYPE_CHECKING:
    from echelon_bridges.fusion.calibration import Shaken

LOOK_S = 0.1
SHAKE_S = 3.0
TRIES = 3
HOME = "\x1b[H\x1b[J"

Ask = Callable[..., dict[str, Any]]

EXAMPLES = """
  sensors                         what is heard: rates, loss, jitter, clock drift, roles
  sensors --watch                 a moving picture of it, until Ctrl-C
  sensors assign DEVICE ROLE      ROLE is left, right, torso, body or none; of another performer: 1.left
  sensors recentre [PERFORMER]    where the performer stands and faces now is the centre and the front
  sensors calibrate [PERFORMER]   find out which phone is in which hand
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    from argparse import RawDescriptionHelpFormatter

    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("action", nargs="?", default="list", choices=("list", *ACTIONS), metavar="ACTION")
    parser.add_argument("words", nargs="*", metavar="WORD", help="what the action is about")
    parser.add_argument("--watch", action="store_true", help="a moving picture of the values, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    _options.add_name(parser)


def run(arguments: Namespace) -> int:
    """Do it."""
    from functools import partial

    from echelon_bridges.control import request
    from echelon_engine.errors import UsageError

    ask = partial(request, _options.engine_name(arguments))
    if arguments.action != "list":
        if arguments.watch or arguments.json:
            raise UsageError(f"sensors {arguments.action}", "takes neither --watch nor --json", "leave them out")
        return ACTIONS[arguments.action](ask, arguments.words)
    if arguments.words:
        raise UsageError(" ".join(arguments.words), "is too much", "see `echelon-engine sensors --help`")
    if arguments.watch:
        return watch(ask)
    found = ask(command="sensors")
    if arguments.json:
        import json

        print(json.dumps(found, indent=2))
    else:
        from echelon_bridges.sensor_view import table

        print(table(found["ports"], found["devices"]))
    return 0


def watch(ask: Ask, looks: int = 0) -> int:
    """Draw the values ten times a second until Ctrl-C, or `looks` times; plain lines where there is no terminal."""
    import shutil
    import sys
    import time

    from echelon_bridges.sensor_view import Picture

    picture, terminal, count = Picture(), sys.stdout.isatty(), 0
    try:
        while not looks or count < looks:
            count += 1
            lines = picture.draw(ask(command="sensors")["devices"])
            if terminal:
                width, height = shutil.get_terminal_size()
                lines = [line[: max(width - 1, 20)] for line in lines[: max(height - 1, 3)]]
                sys.stdout.write(HOME + "\n".join(lines) + "\n")
            else:
                sys.stdout.write("\n".join(lines) + "\n\n")
            sys.stdout.flush()
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        return 0
    return 0


def assign(ask: Ask, words: list[str]) -> int:
    """Give a device a role."""
    from echelon_bridges.fusion.roles import parse_place
    from echelon_engine.errors import UsageError

    if len(words) != 2:
        raise UsageError("sensors assign", "needs a device and a role", "for example: sensors assign zigsim:abc left")
    device, role = words
    performer, role = parse_place(role)
    names = [name for row in ask(command="sensors")["devices"] for name in _names(row)]
    if device not in names:
        from echelon_engine.errors import nearest

        raise UsageError(device, "is not heard", nearest(device, names) or "`echelon-engine sensors` lists what is")
    ask(command="assign", device=device, performer=performer, role=role)
    print(f"{device} = {performer}.{role}")
    return 0


def _names(row: dict[str, Any]) -> list[str]:
    """Return what a device may be called: its name, and its address."""
    name = str(row.get("name", ""))
    return [name, *([name.split("@", 1)[1]] if "@" in name else [])]


def recentre(ask: Ask, words: list[str]) -> int:
    """Take where performers stand and face now for the centre and the front."""
    performer = _performer(words, "sensors recentre")
    ask(command="recentre", **({} if performer is None else {"performer": performer}))
    print("recentred" if performer is None else f"performer {performer} recentred")
    return 0


def _performer(words: list[str], what: str) -> int | None:
    from echelon_engine.errors import UsageError

    if len(words) > 1 or not all(word.isascii() and word.isdigit() for word in words):
        raise UsageError(" ".join(words), f"{what} takes one performer, a number from 0", "leave it out")
    return int(words[0]) if words else None


def calibrate(ask: Ask, words: list[str]) -> int:
    """Ask for the phones to be shaken one after the other and give them their hands."""
    import time

    from echelon_bridges.fusion.calibration import Shaken
    from echelon_engine.errors import UserError

    performer = _performer(words, "sensors calibrate") or 0
    heard = [row["name"] for row in ask(command="sensors")["devices"] if row["kind"] == "phone"]
    if not heard:
        raise UserError("calibration", "no phone is heard", "start its app, and see `echelon-engine sensors`")

    def look() -> Shaken:
        shaken = Shaken()
        until = time.monotonic() + SHAKE_S
        while time.monotonic() < until:
            shaken.take(ask(command="sensors")["devices"])
            time.sleep(LOOK_S)
        return shaken

    found: dict[str, str] = {}
    for role in ("left", "right"):
        rest = [name for name in heard if name not in found.values()]
        if not rest:
            break
        if role == "right" and len(rest) == 1 and len(heard) > 1:
            found[role] = rest[0]
            break
        found[role] = _find(role, look, set(found.values()))
    for role, device in found.items():
        ask(command="assign", device=device, performer=performer, role=role)
        print(f"{device} = {performer}.{role}")
    return 0


def _find(role: str, look: Callable[[], Shaken], taken: set[str]) -> str:
    """Return the phone that is shaken when the one in the hand `role` is asked for; three tries."""
    from echelon_engine.errors import UserError

    for _ in range(TRIES):
        print(f"Hold the {role} phone up and shake it ..", flush=True)
        shaken = look()
        name = shaken.which()
        if name is not None and name not in taken:
            return name
        moved = ", ".join(f"{each} {rms:.1f} m/s²" for each, rms in list(shaken.rms().items())[:3])
        print(f"not clear which one that was ({moved}); keep the others still")
    raise UserError(f"the {role} phone", "was not recognised", "assign it: echelon-engine sensors assign DEVICE ROLE")


ACTIONS: dict[str, Callable[[Ask, list[str]], int]] = {"assign": assign, "recentre": recentre, "calibrate": calibrate}
