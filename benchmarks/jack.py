"""JACK for the benchmarks: a private server on the dummy driver, and a native client that records a port.

`server` starts and ends jackd; `Listener` is a JACK client whose process callback is compiled, so that the interpreter
never disturbs it: it keeps what it hears and when each cycle began on CLOCK_MONOTONIC.
As a program: `python benchmarks/jack.py SECONDS OUT.npz PATTERN` connects to the ports that match and records them.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PATIENCE_S = 10.0
PORTS = 2
OUTPUT, INPUT = 2, 1  # JackPortFlags
AUDIO = b"32 bit float mono audio"


def available() -> str:
    """Return why JACK cannot be used here, or ""."""
    if shutil.which("jackd") is None:
        return "jackd is not installed (apt-get install jackd2)"
    return "" if ctypes.util.find_library("jack") else "libjack is not installed (apt-get install libjack-jackd2-0)"


@contextlib.contextmanager
def server(rate_hz: int = 48000, block_frames: int = 512) -> Iterator[dict[str, Any]]:
    """Run jackd on its dummy driver under a private name; give {"environment", "log"} for its clients."""
    name = f"echelon-bench-{os.getpid()}"
    environment = {
        **os.environ,
        "JACK_DEFAULT_SERVER": name,
        "JACK_NO_START_SERVER": "1",
        "JACK_NO_AUDIO_RESERVATION": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "jackd.log"
        command = ["jackd", "-n", name, "-d", "dummy", "-r", str(rate_hz), "-p", str(block_frames)]
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        try:
            subprocess.run(
                ["jack_wait", "-s", name, "-w", "-t", "10"], check=True, capture_output=True, env=environment
            )
            yield {"environment": environment, "log": log}
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def xruns(log: Path) -> int:
    """Return how many xruns the server has logged."""
    return len(re.findall("XRun", log.read_text("utf-8", "replace")))


class Listener:
    """A JACK client that records up to PORTS ports for `seconds`; `sound` (samples, PORTS), `cycles` (n, 2) int64.

    A row of `cycles`: the first sample of a cycle, and the nanosecond of CLOCK_MONOTONIC at which the cycle began.
    """

    def __init__(self, seconds: float) -> None:
        from llvmlite import binding
        from numba import carray, cfunc, types

        library = ctypes.util.find_library("jack")
        assert library is not None
        binding.load_library_permanently(library)
        self._jack = jack = ctypes.CDLL(library)
        for function in (jack.jack_client_open, jack.jack_port_register, jack.jack_port_by_name):
            function.restype = ctypes.c_void_p
        jack.jack_get_ports.restype = ctypes.POINTER(ctypes.c_char_p)
        jack.jack_port_name.restype = ctypes.c_char_p
        status = ctypes.c_int()
        self._client = ctypes.c_void_p(
            jack.jack_client_open(b"bench-listener", 1, ctypes.byref(status))
        )  # no server start
        if not self._client:
            raise OSError(f"JACK refuses a client (status {status.value:#x})")
        self.rate_hz = int(jack.jack_get_sample_rate(self._client))
        self.block_frames = int(jack.jack_get_buffer_size(self._client))
        samples = round(seconds * self.rate_hz)
        self.sound = np.zeros((PORTS, samples), np.float32)
        self.sound.fill(0)  # touch the pages
        self.cycles = np.zeros((samples // self.block_frames + 1, 2), np.int64)
        self.cycles.fill(0)
        self._ports = [
            ctypes.c_void_p(jack.jack_port_register(self._client, f"in_{i}".encode(), AUDIO, INPUT, 0))
            for i in range(PORTS)
        ]
        # client, ports, addresses, capacity, samples heard, cycles heard, four words of scratch
        self._state = np.zeros(16, np.int64)
        self._state[:6] = (
            self._client.value or 0, self._ports[0].value or 0, self._ports[1].value or 0,
            self.sound.ctypes.data, self.cycles.ctypes.data, samples,
        )  # fmt: skip
        buffer_of = types.ExternalFunction("jack_port_get_buffer", types.voidptr(types.voidptr, types.uint32))
        cycle_times = types.ExternalFunction(
            "jack_get_cycle_times",
            types.int32(types.voidptr, types.voidptr, types.voidptr, types.voidptr, types.voidptr),
        )
        jack_time = types.ExternalFunction("jack_get_time", types.uint64())
        from echelon_engine.native import clock_ns, pointer

        rows = len(self.cycles)

        @cfunc(types.int32(types.uint32, types.voidptr), error_model="numpy")  # type: ignore[untyped-decorator]
        def hear(frames: Any, data: Any) -> int:
            state = carray(data, (16,), np.int64)
            n, capacity, at, cycle = np.int64(frames), state[5], state[6], state[7]
            sound = carray(pointer(np.uintp(state[3])), (PORTS, capacity), np.float32)
            cycles = carray(pointer(np.uintp(state[4])), (rows, 2), np.int64)
            if at + n > capacity or cycle >= rows:
                return 0
            scratch = np.uintp(state.ctypes.data) + np.uintp(8 * 10)
            cycle_times(
                pointer(np.uintp(state[0])), pointer(scratch), pointer(scratch + np.uintp(8)),
                pointer(scratch + np.uintp(16)), pointer(scratch + np.uintp(24)),
            )  # fmt: skip
            cycles[cycle, 0] = at
            # JACK's microseconds may be of another clock than CLOCK_MONOTONIC: both are read now
            cycles[cycle, 1] = state[11] * 1000 + (clock_ns() - np.int64(jack_time()) * 1000)  # current_usecs
            for port in range(PORTS):
                heard = carray(buffer_of(pointer(np.uintp(state[1 + port])), frames), (n,), np.float32)
                for i in range(n):
                    sound[port, at + i] = heard[i]
            state[6] = at + n
            state[7] = cycle + 1
            return 0

        self._hear = hear
        jack.jack_set_process_callback(
            self._client, ctypes.c_void_p(hear.address), ctypes.c_void_p(self._state.ctypes.data)
        )
        jack.jack_activate(self._client)

    def connect(self, pattern: str) -> list[str]:
        """Connect the output ports whose names match; return their names."""
        found = self._jack.jack_get_ports(self._client, pattern.encode(), AUDIO, OUTPUT)
        names: list[bytes] = []
        while found and found[len(names)] and len(names) < PORTS:
            names.append(found[len(names)])
        for name, port in zip(names, self._ports, strict=False):
            self._jack.jack_connect(self._client, name, self._jack.jack_port_name(port))
        return [name.decode() for name in names]

    def playback_latency_frames(self, port_name: str) -> int:
        """Return what the driver adds between a port and the converter, sample frames."""

        class Range(ctypes.Structure):
            _fields_ = [("min", ctypes.c_uint32), ("max", ctypes.c_uint32)]

        port = ctypes.c_void_p(self._jack.jack_port_by_name(self._client, port_name.encode()))
        found = Range()
        if port:
            self._jack.jack_port_get_latency_range(port, 1, ctypes.byref(found))
        return int(found.max)

    def close(self) -> tuple[Any, Any]:
        """Leave JACK; return (sound (PORTS, samples), cycles (n, 2)) heard."""
        self._jack.jack_deactivate(self._client)
        self._jack.jack_client_close(self._client)
        return self.sound[:, : self._state[6]], self.cycles[: self._state[7]]


def main() -> int:
    """Record until the time is over or standard input closes."""
    seconds, target, pattern = float(sys.argv[1]), sys.argv[2], sys.argv[3]
    listener = Listener(seconds)
    deadline = time.monotonic() + PATIENCE_S
    names: list[str] = []
    while not names and time.monotonic() < deadline:
        names = listener.connect(pattern)
        time.sleep(0.05)
    print("listening" if names else "nothing to hear", *names, flush=True)
    if names:
        sys.stdin.read()
    latency = listener.playback_latency_frames("system:playback_1")
    sound, cycles = listener.close()
    np.savez(target, sound=sound, cycles=cycles, rate_hz=listener.rate_hz, block=listener.block_frames, latency=latency)
    return 0 if names else 1


if __name__ == "__main__":
    sys.exit(main())
