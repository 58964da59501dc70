"""Who calls the callback: a PortAudio stream, or the null driver where there is no device."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Protocol

from echelon_engine import units
from echelon_engine.callback import null_thread, portaudio_callback


class Driver(Protocol):
    """Starts and stops the calls; `latency_s` is what the device adds after the callback."""

    latency_s: float

    @property
    def active(self) -> bool:
        """Whether the callback is still called."""

    def start(self) -> None:
        """Begin calling; returns at once."""

    def stop(self) -> None:
        """End the calls; none is running when this returns."""


class PortAudioDriver:
    """An output stream of PortAudio whose callback is the compiled one."""

    def __init__(self, device_index: int, engine: Any, rate_hz: int, block_frames: int, channels: int) -> None:
        """Open the stream; raises `sounddevice.PortAudioError` when the device refuses rate, block or channels."""
        import sounddevice as sd  # imported late: it starts PortAudio

        # _StreamBase is documented for library authors; with wrap_callback=None it takes a C function pointer.
        units.link()
        native = portaudio_callback()
        self._keep = (engine, native)
        self._stream = sd._StreamBase(
            kind="output",
            samplerate=rate_hz,
            blocksize=block_frames,
            device=device_index,
            channels=channels,
            dtype="float32",
            latency="low",
            callback=sd._ffi.cast("PaStreamCallback*", native.address),
            userdata=sd._ffi.cast("void*", address_of(engine)),
        )
        self.latency_s = float(self._stream.latency)

    def start(self) -> None:
        """Begin calling."""
        self._stream.start()

    def stop(self) -> None:
        """Stop, then close: no callback runs after that."""
        self._stream.stop()
        self._stream.close()

    @property
    def active(self) -> bool:
        """Whether the device still calls."""
        return bool(self._stream.active)


class NullDriver:
    """A native thread on absolute deadlines; it has no Python thread state at all."""

    latency_s = 0.0

    def __init__(self, engine: Any) -> None:
        units.link()
        self._engine = engine
        self._native = null_thread()
        self._libc = ctypes.CDLL(None)
        self._thread = ctypes.c_void_p()
        self._running = False

    def start(self) -> None:
        """Begin calling."""
        self._engine["stop"][0] = 0
        code = self._libc.pthread_create(
            ctypes.byref(self._thread),
            None,
            ctypes.c_void_p(self._native.address),
            ctypes.c_void_p(address_of(self._engine)),
        )
        if code != 0:
            raise OSError(code, f"the system refused a thread for the null driver ({os.strerror(code)})")
        self._running = True

    def stop(self) -> None:
        """Ask the thread to end and wait for it."""
        if self._running:
            self._engine["stop"][0] = 1
            self._libc.pthread_join(self._thread, None)
            self._running = False

    @property
    def active(self) -> bool:
        """Whether the thread runs."""
        return self._running


def address_of(record: Any) -> int:
    """Return the address of a NumPy record that views an array."""
    return int(record.__array_interface__["data"][0])


def ask_for_priority(thread_id: int, priority: int) -> str:
    """Give a thread SCHED_FIFO `priority`; return "" when granted or not asked, else one line with the remedy.

    The device's own thread may already have it (JACK gives it); that is left alone.
    """
    if priority <= 0:
        return ""
    if not sys.platform.startswith("linux"):
        return ""  # macOS raises the thread itself
    try:
        if os.sched_getscheduler(thread_id) == os.SCHED_FIFO:
            return ""
        os.sched_setscheduler(thread_id, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return (
            f"real-time priority {priority} refused: sound may drop out under load; "
            "allow it with '@audio - rtprio 95' in /etc/security/limits.d/95-echelon.conf (see: echelon-engine doctor)"
        )
    except (ProcessLookupError, OSError) as error:
        return f"real-time priority not set ({error})"
    return ""
