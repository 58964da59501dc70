"""Recordings from disk for analysis: WAV, FLAC, OGG or MP3 as stereo float32 at the rate that is asked for.

Files are decoded by `soundfile` (libsndfile), part of the extra `train`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.errors import UserError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
SHORTEST_S, LONGEST_S = 0.05, 1800.0
QUIETEST = 1e-4  # peak, -80 dBFS
RATES_HZ = (4000, 384_000)


def read(path: str | Path, rate_hz: int) -> NDArray[np.float32]:
    """Return the first two channels of a recording at `rate_hz`, float32 (n, 2); one channel is heard on both sides.

    Raises `UserError` for what is no sound: another suffix, a damaged or empty file, one of less than 50 ms or more
    than half an hour, numbers that are not finite, silence.
    """
    name = str(path)
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(name, "is not a recording that can be read", f"name a file that ends in {', '.join(SUFFIXES)}")
    try:
        reader = importlib.import_module("soundfile")
    except (ImportError, OSError) as error:
        raise UserError(
            name, f"soundfile cannot be imported ({error})", "install it: pip install 'echelon-engine[train]'"
        ) from None
    try:
        with reader.SoundFile(name) as file:
            had_hz = int(file.samplerate)
            if file.frames > LONGEST_S * had_hz:
                raise UserError(name, f"lasts {file.frames / had_hz:.0f} s", f"cut it to {LONGEST_S:.0f} s or less")
            samples = file.read(dtype="float32", always_2d=True)
    except (reader.SoundFileError, RuntimeError, EOFError) as error:
        raise UserError(name, f"cannot be decoded ({error})", "convert it to WAV") from None
    if not RATES_HZ[0] <= had_hz <= RATES_HZ[1]:
        raise UserError(name, f"has a rate of {had_hz} Hz", f"convert it to {rate_hz} Hz")
    return resampled(checked(samples, had_hz, name), had_hz, rate_hz)


def checked(samples: Any, rate_hz: float, name: str = "sound") -> NDArray[np.float32]:
    """Return samples (n,) or (n, channels) as float32 (n, 2), or raise `UserError` for what cannot be analysed."""
    sound = np.asarray(samples, np.float32)
    sound = sound[:, None] if sound.ndim == 1 else sound
    if sound.ndim != 2 or not 1 <= sound.shape[1] <= 64:
        raise UserError(name, f"has the shape {np.shape(samples)}", "give (samples,) or (samples, channels)")
    if len(sound) < SHORTEST_S * rate_hz:
        raise UserError(
            name, f"lasts {1e3 * len(sound) / rate_hz:.0f} ms", f"give at least {1e3 * SHORTEST_S:.0f} ms of sound"
        )
    bad = np.count_nonzero(~np.isfinite(sound).all(1))
    if bad:
        raise UserError(name, f"{bad} samples are not finite", "mend the recording, or export it again")
    stereo = sound[:, :2] if sound.shape[1] > 1 else np.repeat(sound, 2, axis=1)
    if float(np.abs(stereo).max()) < QUIETEST:
        raise UserError(name, "is silent (nothing above -80 dBFS)", "give a recording that can be heard")
    return np.ascontiguousarray(stereo)


def resampled(sound: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Return sound (n, 2) at another rate, by its spectrum: nothing is lost below half of the lower rate."""
    if from_hz == to_hz:
        return sound
    edge = from_hz // 20  # 50 ms of silence at both ends, so that the end does not ring into the beginning
    padded = np.pad(sound.astype(np.float64), ((edge, edge), (0, 0)))
    # a length that both rates divide into whole samples
    step = from_hz // int(np.gcd(from_hz, to_hz))
    padded = np.pad(padded, ((0, -len(padded) % step), (0, 0)))
    size = len(padded) * to_hz // from_hz
    spectrum = np.fft.rfft(padded, axis=0)
    kept = np.zeros((size // 2 + 1, 2), complex)
    bins = min(len(kept), len(spectrum))
    kept[:bins] = spectrum[:bins]
    out = np.fft.irfft(kept, size, axis=0) * (size / len(padded))
    first = round(edge * to_hz / from_hz)
    length = round(len(sound) * to_hz / from_hz)
    return np.ascontiguousarray(out[first : first + length], np.float32)
