"""`midi`: list the ports, show what comes in, learn controllers and forget them."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from echelon_bridges.commands import _options

if TYPE_CHECKING:
    from echelon_bridges.controllers.table import Row
    from echelon_engine.config import Config

DOINGS = ("list", "monitor", "learn", "forget")
POLL_S = 0.05
SETTLE_S = 0.7  # after a controller began to move, until it is clear of which kind it is
MOVES = 2  # of a controller that is meant; one may be a device that greets


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=DOINGS,
        default="list",
        help="list ports and what is learned (default); monitor: show what comes in; learn KEY: the next controller "
        "that moves is to move this setting; forget KEY or a controller",
    )
    parser.add_argument(
        "subject", nargs="?", metavar="KEY", help="live setting, `set --list` shows all; for monitor: a port"
    )
    parser.add_argument(
        "value",
        nargs="?",
        metavar="VALUE",
        help="learn a button that sets just this: `learn style techno`, `learn cue back`",
    )
    parser.add_argument("--port", help="input port instead of midi.input")
    parser.add_argument("--osc", metavar="ADDRESS", help="learn this OSC address instead of waiting for a controller")
    parser.add_argument(
        "--mode", choices=("pickup", "jump", "toggle"), help="how what is learned takes its setting over"
    )
    parser.add_argument("--seconds", type=float, default=None, help="wait so long at most (learn: 60)")
    _options.add_config(parser)
    _options.add_name(parser)


def run(arguments: Namespace) -> int:
    """Do it."""
    config = _options.load_config(arguments)
    doings: dict[str, Callable[[Namespace, Config], int]] = {
        "list": _list,
        "monitor": _monitor,
        "learn": _learn,
        "forget": _forget,
    }
    return doings[arguments.what](arguments, config)


def _list(_: Namespace, config: Config) -> int:
    from echelon_bridges.controllers import table
    from echelon_bridges.midi import ports
    from echelon_engine.errors import UserError

    for direction, key, about in (("out", "output", "plays to"), ("in", "input", "hears")):
        print(f"midi.{key}, what the engine {about}:")
        try:
            with ports.quiet(), ExitStack() as stack:
                made = ports.clients(direction, "echelon-list")  # type: ignore[arg-type]
                for client in made.values():
                    stack.callback(client.delete)
                found = ports.listing(direction, made)  # type: ignore[arg-type]
        except UserError as error:
            print(f"  {error}")
            return error.exit_code
        wanted = getattr(config.midi, key)
        chosen = ports.choose(wanted, found)
        for port in found:
            print(f"{'*' if port == chosen else ' '} {port.name}  ({port.api})")
        if made:
            print(f"{'*' if wanted.partition(':')[0] == ports.VIRTUAL else ' '} virtual  (a port of the engine's own)")
        else:
            print("  none: neither ALSA's sequencer nor a JACK server can be reached")
    path = table.path_of(config)
    rows = table.read(path)
    print(f"controllers ({path}):" if rows else f"controllers: none; `midi learn KEY` writes {path}")
    for row in rows.values():
        way = f"sets {row.value}" if row.value else f"{row.low:g} to {row.high:g}, {row.mode}"
        print(f"  {row.source:<20} {row.key:<24} {way}")
    return 0


@contextmanager
def _input(arguments: Namespace, config: Config) -> Iterator[SimpleQueue[bytes]]:
    """Yield what comes in at the port named, the one configured, or the only one there is."""
    from echelon_bridges.midi import ports
    from echelon_bridges.midi.link import Link
    from echelon_engine.errors import UsageError

    with ports.quiet(), ExitStack() as stack:
        made = ports.clients("in", "echelon-list")
        for client in made.values():
            stack.callback(client.delete)
        found = ports.listing("in", made)
    wanted = arguments.port or config.midi.input
    if not wanted and len(found) == 1:
        wanted = found[0].name
    if not wanted:
        names = ", ".join(port.name for port in found) or "none; plug one in, or use virtual"
        raise UsageError("midi", "which input port?", f"--port NAME; there are: {names}")
    if wanted.partition(":")[0] != ports.VIRTUAL and ports.choose(wanted, found) is None:
        raise ports.problem(wanted, found, "in")
    came: SimpleQueue[bytes] = SimpleQueue()
    link = Link(
        "in", wanted, "echelon-midi", lambda text: print(text, flush=True), heard=lambda message, _: came.put(message)
    )
    try:
        yield came
    finally:
        link.close()


def _events(came: SimpleQueue[bytes], until: Callable[[], bool]) -> Iterator[Any]:
    """Yield what comes in, and None in between."""
    from echelon_bridges.midi.messages import Reader

    reader = Reader()
    while not until():
        try:
            message = came.get(timeout=POLL_S)
        except Empty:
            yield None
        else:
            yield from reader.read(message)


def _monitor(arguments: Namespace, config: Config) -> int:
    from echelon_bridges.controllers import table
    from echelon_bridges.midi.messages import TICKS_PER_BEAT, Move, Note, Pulse, Silence

    arguments.port = arguments.subject or arguments.port
    rows = table.read(table.path_of(config))
    ends = time.monotonic() + (arguments.seconds or float("inf"))
    ticks = 0
    with _input(arguments, config) as came:
        for event in _events(came, lambda: time.monotonic() > ends):
            match event:
                case Note(channel, key, velocity):
                    print(
                        f"note {channel} {key:<12} {'on' if velocity else 'off':<4} velocity {velocity:.2f}", flush=True
                    )
                case Move(source, value) if not source.startswith("note ") or source in rows:
                    row = rows.get(source)
                    print(f"{source:<20} {value:.4f}" + (f"  -> {row.key}" if row else ""), flush=True)
                case Silence(channel):
                    print(f"all notes off, {f'channel {channel}' if channel else 'every channel'}", flush=True)
                case Pulse():
                    ticks += 1
                    if ticks % TICKS_PER_BEAT == 1:
                        print("clock: a beat", flush=True)
    return 0


def _learn(arguments: Namespace, config: Config) -> int:
    from echelon_bridges.controllers import table
    from echelon_engine.errors import UsageError, UserError

    key = arguments.subject
    if not key:
        raise UsageError("midi learn", "needs a live setting", "for example: midi learn lane.filter_cutoff")
    table.span(key)
    path = table.path_of(config)
    rows = table.read(path)
    seconds = 60.0 if arguments.seconds is None else arguments.seconds
    if arguments.osc:
        source = table.check_source(f"osc {arguments.osc}")
    else:
        source = _of_engine(arguments, key, seconds) if not arguments.port else ""
        if not source:
            with _input(arguments, config) as came:
                print(f"move the controller that is to move {key}", flush=True)
                ends = time.monotonic() + seconds
                source = heard(_events(came, lambda: time.monotonic() > ends), key)
    if not source:
        raise UserError("midi learn", f"no controller moved within {seconds:g} s", "see what comes with `midi monitor`")
    mode = {"mode": arguments.mode} if arguments.mode else {}
    value = {"value": arguments.value} if arguments.value else {}
    row: Row = table.make_row(source, {"key": key, **mode, **value})
    before = rows.get(source)
    rows[source] = row
    table.store(path, rows)
    done = f"{source} sets {key} to {row.value}" if row.value else f"{source} moves {key} ({row.mode})"
    print(done + (f"; it moved {before.key}" if before and before.key != key else ""))
    return 0


def _of_engine(arguments: Namespace, key: str, seconds: float) -> str:
    """Return the controller that a running engine heard move, MIDI or OSC; "" where none listens to controllers."""
    from echelon_bridges import lock
    from echelon_bridges.control import request

    name = _options.engine_name(arguments)

    def counts() -> dict[str, int]:
        outlets = request(name, command="status")["status"].get("outlets", {})
        listening = [outlets[each]["heard"] for each in ("midi_in", "osc_in") if each in outlets]
        return {source: entry[0] for found in listening for source, entry in found.items()} if listening else {"": 0}

    if not lock.is_held(name) or (before := counts()) == {"": 0}:
        return ""
    print(f"move the controller that is to move {key}; the engine {name!r} listens", flush=True)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(0.25)
        moved = [source for source, count in counts().items() if count - before.get(source, 0) >= MOVES]
        if moved:
            time.sleep(SETTLE_S)
            return most_telling(
                [source for source, count in counts().items() if count - before.get(source, 0) >= MOVES]
            )
    return ""


def most_telling(sources: list[str]) -> str:
    """Return the source that says most of one gesture: 14 bits rather than the 7 of its halves; controllers first."""
    order = ("nrpn", "cc14", "osc", "cc", "bend", "pressure", "note")
    # A knob that is numbered from 32 to 63 is the fine half of another only where that one moved, too.
    told = [each for each in sources if not each.startswith("cc14 ") or each.replace("cc14", "cc") in sources]
    return min(told, key=lambda source: order.index(source.split(" ")[0]), default="")


def heard(events: Iterator[Any], key: str) -> str:
    """Return the controller that moves first among these events (None: a moment passes), "" when they end.

    A clock is what is meant where nothing but its ticks come for a while and the key is the tempo.
    """
    from echelon_bridges.controllers.table import CLOCK
    from echelon_bridges.midi.messages import TICKS_PER_BEAT, Move, Pulse

    counts: dict[str, int] = {}
    since: float | None = None
    ticks = 0
    for event in events:
        if isinstance(event, Move):
            counts[event.source] = counts.get(event.source, 0) + 1
            if counts[event.source] >= MOVES and since is None:
                since = time.monotonic()
        elif isinstance(event, Pulse):
            ticks += 1
            if key == "tempo" and ticks > 4 * TICKS_PER_BEAT and not counts:
                return CLOCK
        if since is not None and time.monotonic() - since > SETTLE_S:
            break
    return most_telling([source for source, count in counts.items() if count >= MOVES])


def _forget(arguments: Namespace, config: Config) -> int:
    from echelon_bridges.controllers import table
    from echelon_engine.errors import UsageError, nearest

    if not arguments.subject:
        raise UsageError("midi forget", "needs a live setting or a controller", "`midi list` shows both")
    path = table.path_of(config)
    rows = table.read(path)
    gone = [row for row in rows.values() if arguments.subject in (row.key, row.source)]
    if not gone:
        known = [*rows, *(row.key for row in rows.values())]
        raise UsageError(arguments.subject, "no such controller is learned", nearest(arguments.subject, known))
    table.store(path, {source: row for source, row in rows.items() if row not in gone})
    for row in gone:
        print(f"{row.source} no longer moves {row.key}")
    return 0
