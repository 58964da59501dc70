"""A whole engine of tiny processes instead of audio and bridges: `fake_engine.py NAME SECONDS AUDIO BRIDGES [K=V]`."""

import os
import sys
import time
from pathlib import Path

from echelon_bridges.child import begin, say
from echelon_bridges.part import Plan
from echelon_bridges.supervisor import supervise
from echelon_engine import config_file
from echelon_engine.block import SharedBlock

DEPTH = 20


def part(role: str, kind: str, name: str) -> int:
    """One process: `plain` runs, `stubborn` ignores SIGTERM, `refuse` says why it cannot, `crash` ends at once."""
    _, ended = begin()
    if kind == "refuse":
        say("error", text="port 12351: in use; set ports.mocopi")
        return 2
    if kind == "crash":
        print("something odd on stdout", flush=True)
        return 1
    block = SharedBlock.attach(name)
    say("ready", device="fake", latency_ms=1.5)
    say("sensors", sensors=[{"name": "mocopi", "port": 12351, "frames": 3, "lost": 1, "rate_hz": 60}])
    if kind == "noisy":
        os.set_blocking(1, True)
        os.write(1, b"x" * 300_000 + b"\n{not json\n[1]\n" + b'{"event": 3}\n')
        say("notice", text="still here")
    while not ended.wait(0.02) or kind == "stubborn":
        if role == "audio" and (kind != "hung" or block.shared["counters"]["blocks"] < DEPTH):
            block.shared["counters"]["blocks"] += 1
    fade = max(int(fade) for fade in block.shared["settings"]["slot"]["fade"])
    with Path(os.environ["ECHELON_TEST_LOG"]).open("a") as log:
        log.write(f"{role} {time.monotonic()} fade={fade}\n")
    return 0


def main() -> int:
    """Play the part that the command line names."""
    if sys.argv[1] == "part":
        return part(sys.argv[2], sys.argv[3], sys.argv[5])
    name, seconds, audio, bridges = sys.argv[1:5]

    def make(engine: str) -> list[Plan]:
        command = (sys.executable, __file__, "part")
        return [
            Plan("audio", (*command, "audio", audio, "--name", engine), (0.0, 0.1, 0.2), 3),
            Plan("bridges", (*command, "bridges", bridges, "--name", engine), (0.1, 0.2), 0),
        ]

    more = dict(pair.split("=", 1) for pair in sys.argv[5:])
    config = config_file.make({"engine.name": name, "audio.device": "null", "motion.performers": 2, **more})
    return supervise(config, float(seconds) or None, make)


if __name__ == "__main__":
    from echelon_engine.errors import UserError

    try:
        sys.exit(main())
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
