"""Audio devices as people name them; works, with the null device alone, where PortAudio is missing."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from echelon_engine.errors import UserError, nearest

NULL, DEFAULT = "null", "default"


@dataclass(frozen=True, slots=True)
class Device:
    """One output device; `index` is PortAudio's, None for the null device."""

    index: int | None
    name: str
    host_api: str
    channels: int
    rate_hz: float
    default: bool
    about: str


NULL_DEVICE = Device(None, NULL, "built-in", 32, 0.0, False, "no sound card: keeps time and plays to nobody")


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Silence what audio libraries print to file descriptor 2 when there is no server or card."""
    sys.stderr.flush()
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


def import_sounddevice() -> Any:
    """Return the `sounddevice` module, or raise `UserError` with the way to install PortAudio.

    The import initialises PortAudio, so a missing library or a broken ALSA configuration shows here.
    """
    os.environ.setdefault("JACK_NO_START_SERVER", "1")  # asking for devices must not start a server
    try:
        with quiet_stderr():
            import sounddevice
    except OSError:
        install = "brew install portaudio" if sys.platform == "darwin" else "apt-get install libportaudio2"
        raise UserError("PortAudio", "is not installed, so no sound card can be used", install) from None
    except Exception as error:  # PortAudioError is known only after a successful import
        raise UserError("PortAudio", f"cannot start ({error})", "look at ~/.asoundrc and /etc/asound.conf") from None
    return sounddevice


def portaudio_problem() -> str:
    """Return why PortAudio cannot be used, or "" when it can."""
    try:
        import_sounddevice()
    except UserError as error:
        return str(error)
    return ""


def list_devices() -> list[Device]:
    """Return all output devices PortAudio sees, then the null device; the default is marked."""
    devices: list[Device] = []
    with contextlib.suppress(UserError):
        sounddevice = import_sounddevice()
        hosts = sounddevice.query_hostapis()
        chosen = sounddevice.default.device[1]
        if chosen is None or chosen < 0:
            chosen = next((h["default_output_device"] for h in hosts if h["default_output_device"] >= 0), -1)
        for index, row in enumerate(sounddevice.query_devices()):
            if row["max_output_channels"] < 1:
                continue
            rate, latency = float(row["default_samplerate"]), 1000 * float(row["default_low_output_latency"])
            devices.append(
                Device(
                    index,
                    str(row["name"]),
                    str(hosts[row["hostapi"]]["name"]),
                    int(row["max_output_channels"]),
                    rate,
                    index == chosen,
                    f"{rate:.0f} Hz, {latency:.1f} ms",
                )
            )
    if not any(device.default for device in devices):
        return [*devices, Device(**{**_fields(NULL_DEVICE), "default": True})]
    return [*devices, NULL_DEVICE]


def _fields(device: Device) -> dict[str, Any]:
    return {name: getattr(device, name) for name in Device.__slots__}


def find_device(text: str) -> Device:
    """Return the device a person means by index, name, part of a name, `default` or `null`.

    `host: name` picks among equal names. Raises `UserError` with the nearest name, or with the candidates when the
    text fits several.
    """
    devices = list_devices()
    if text == NULL:
        return NULL_DEVICE
    if text in ("", DEFAULT):
        return next(device for device in devices if device.default)
    if text.isascii() and text.isdigit():
        for device in devices:
            if device.index == int(text):
                return device
        raise UserError(f"device {text}", "no output device has this index", "see `echelon-engine devices`")
    wanted = text.lower()
    names = {f"{d.host_api}: {d.name}".lower(): d for d in devices}
    exact = [d for full, d in names.items() if wanted in (full, d.name.lower())]
    found = exact or [d for full, d in names.items() if wanted in full]
    if not found:
        hint = nearest(text, [d.name for d in devices]) or "see `echelon-engine devices`"
        problem = portaudio_problem()
        raise UserError(f"device {text!r}", "no such audio device" + (f" ({problem})" if problem else ""), hint)
    if len(found) > 1 and not exact:
        some = ", ".join(f"{d.index} ({d.host_api}: {d.name})" for d in found[:5])
        raise UserError(f"device {text!r}", f"fits {len(found)} devices", f"choose one by index: {some}")
    return found[0]
