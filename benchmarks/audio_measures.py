"""How sound is judged: pitch, decay, clicks, aliasing, loudness, and whether it follows a body.

Plain NumPy and SciPy in float64, on samples of shape (n,) or (n, channels) at full scale 1; levels in dB. The tests of
the engine and the benchmarks share these, so that a figure means the same thing everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal, stats

Array = NDArray[np.float64]
FLOOR = 1e-20  # power below which everything is silence: -200 dB


def mono(samples: ArrayLike) -> Array:
    """Return the mean of the channels, float64 (n,)."""
    x = np.asarray(samples, np.float64)
    return x if x.ndim == 1 else x.mean(axis=1)


def db(power: ArrayLike) -> Array:
    """Return 10 log10 of a power, at least -200."""
    return 10.0 * np.log10(np.maximum(np.asarray(power, np.float64), FLOOR))


# --- pitch ------------------------------------------------------------------------------------------------------------


def partial_hz(samples: ArrayLike, rate_hz: float, near_hz: float, span_cents: float = 80.0) -> float:
    """Return the frequency of the strongest partial within `span_cents` of `near_hz`.

    A Blackman-Harris spectrum finds it; then the phase advance between the two halves of the sound refines it, which
    for one steady or exponentially decaying partial is exact to well below 0.01 cent.
    """
    x = mono(samples)
    ratio = 2.0 ** (span_cents / 1200.0)
    size = 1 << (2 * len(x) - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(x * signal.windows.blackmanharris(len(x)), size))
    low, high = int(near_hz / ratio / rate_hz * size), int(np.ceil(near_hz * ratio / rate_hz * size)) + 1
    k = low + int(np.argmax(spectrum[low:high]))
    a, b, c = np.log(spectrum[k - 1 : k + 2] + 1e-300)
    coarse = (k + 0.5 * (a - c) / (a - 2 * b + c)) * rate_hz / size
    for hop in (len(x) // 8, len(x) // 2):  # a short hop first: its phase cannot be a turn off
        n = len(x) - hop
        w = signal.windows.blackmanharris(n) * np.exp(-2j * np.pi * coarse / rate_hz * np.arange(n))
        turn = np.angle(
            np.vdot(np.conj(w), x[hop:]) / np.vdot(np.conj(w), x[:n]) * np.exp(-2j * np.pi * coarse / rate_hz * hop)
        )
        coarse += turn / (2 * np.pi) * rate_hz / hop
    return float(coarse)


def cents(samples: ArrayLike, rate_hz: float, expected_hz: float, span_cents: float = 80.0) -> float:
    """Return how far the partial nearest `expected_hz` is off, in cents (positive: sharp)."""
    return float(1200.0 * np.log2(partial_hz(samples, rate_hz, expected_hz, span_cents) / expected_hz))


# --- levels and decay -------------------------------------------------------------------------------------------------


def rms_windows(samples: ArrayLike, rate_hz: float, window_s: float = 0.4, hop_s: float | None = None) -> Array:
    """Return the RMS (linear, all channels together) of each full window, (windows,); without `hop_s` side by side."""
    x = np.asarray(samples, np.float64)
    power = x**2 if x.ndim == 1 else (x**2).mean(axis=1)
    size = max(round(window_s * rate_hz), 1)
    starts = np.round(np.arange(0, len(power) - size + 1e-9, (hop_s or window_s) * rate_hz)).astype(np.int64)
    total = np.concatenate(([0.0], np.cumsum(power)))
    return np.sqrt(np.maximum(total[starts + size] - total[starts], 0.0) / size)


def t60_s(samples: ArrayLike, rate_hz: float, from_db: float = -5.0, to_db: float = -35.0) -> float:
    """Return the time of a 60 dB decay: a line fitted to Schroeder's backward integral between two levels.

    The sound begins with the decay and ends in it (or in silence). M. R. Schroeder, JASA 37, 1965; ISO 3382.
    """
    x = np.asarray(samples, np.float64)
    power = x**2 if x.ndim == 1 else (x**2).sum(axis=1)
    left = np.cumsum(power[::-1])[::-1]
    level = db(left / left[0])
    begin, end = np.searchsorted(-level, [-from_db, -to_db])
    if end - begin < 8:
        return 0.0
    slope, _ = np.polyfit(np.arange(begin, end) / rate_hz, level[begin:end], 1)
    return float(-60.0 / slope)


def band(samples: ArrayLike, rate_hz: float, low_hz: float, high_hz: float) -> Array:
    """Return the sound between two frequencies (zero-phase Butterworth of order 8)."""
    high_hz = min(high_hz, 0.49 * rate_hz)
    sos = signal.butter(4, [low_hz, high_hz], "bandpass", fs=rate_hz, output="sos")
    return np.asarray(signal.sosfiltfilt(sos, np.asarray(samples, np.float64), axis=0))


def is_silent(samples: ArrayLike, rate_hz: float, below_db: float = -60.0, window_s: float = 0.1) -> bool:
    """Return whether no window's RMS reaches `below_db` dBFS."""
    return bool(np.all(db(rms_windows(samples, rate_hz, window_s) ** 2) < below_db))


def loudness_lufs(samples: ArrayLike, rate_hz: float) -> float:
    """Return the integrated loudness of one or two channels (ITU-R BS.1770-4: K weighting, gates at -70 and -10 LU)."""
    x = np.atleast_2d(np.asarray(samples, np.float64).T).T
    # The shelf and the high-pass as analogue prototypes, so that they fit any rate; at 48 kHz those of the standard.
    gain = 10.0 ** (3.999843853973347 / 20.0)
    k, q, band_gain = np.tan(np.pi * 1681.974450955533 / rate_hz), 0.7071752369554196, gain**0.4996667741545416
    top = np.array([gain + band_gain * k / q + k * k, 2 * (k * k - gain), gain - band_gain * k / q + k * k])
    low = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    x = signal.lfilter(top / low[0], low / low[0], x, axis=0)
    k, q = np.tan(np.pi * 38.13547087602444 / rate_hz), 0.5003270373238773
    low = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    x = signal.lfilter([1.0, -2.0, 1.0], low / low[0], x, axis=0)
    blocks = x.shape[1] * rms_windows(x, rate_hz, 0.4, 0.1) ** 2
    gated = blocks[db(blocks) - 0.691 > -70.0]
    if not len(gated):
        return -np.inf
    gated = gated[db(gated) > db(gated.mean()) - 10.0]
    return float(db(gated.mean()) - 0.691)


# --- spectrum ---------------------------------------------------------------------------------------------------------


def centroid_hz(samples: ArrayLike, rate_hz: float) -> float:
    """Return the centre of gravity of the magnitude spectrum, Hz; 0 for silence."""
    x = mono(samples)
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))))
    total = spectrum.sum()
    return float((np.fft.rfftfreq(len(x), 1 / rate_hz) * spectrum).sum() / total) if total > 0 else 0.0


def aliasing_db(samples: ArrayLike, rate_hz: float, fundamental_hz: float, guard_bins: int = 6) -> float:
    """Return the strongest component that is no harmonic of `fundamental_hz`, in dB under the strongest harmonic.

    For a steady sound whose every true component is a multiple of the fundamental; at least a second of it.
    """
    x = mono(samples)
    spectrum = np.abs(np.fft.rfft(x * signal.windows.blackmanharris(len(x))))
    bins = np.arange(len(spectrum)) * rate_hz / len(x) / fundamental_hz
    width = guard_bins * rate_hz / len(x) / fundamental_hz
    harmonic = (np.abs(bins - np.round(bins)) <= width) & (np.round(bins) >= 1)
    alias = ~harmonic & (bins > 0.5 * width)
    alias[: guard_bins + 1] = False
    return float(db(spectrum[alias].max() ** 2) - db(spectrum[harmonic].max() ** 2))


# --- clicks -----------------------------------------------------------------------------------------------------------


def high_power(samples: ArrayLike, rate_hz: float, above_hz: float = 5000.0) -> Array:
    """Return the power above a frequency at each sample, channels added, (n,); linear phase, 100 dB stop band."""
    taps, beta = signal.kaiserord(100.0, 1000.0 / (rate_hz / 2))
    kernel = signal.firwin(taps | 1, above_hz, window=("kaiser", beta), pass_zero=False, fs=rate_hz)
    x = np.atleast_2d(np.asarray(samples, np.float64).T).T
    return np.asarray((signal.fftconvolve(x, kernel[:, None], mode="same", axes=0) ** 2).sum(axis=1))


def click_db(
    samples: ArrayLike, rate_hz: float, at_s: float, before_s: tuple[float, float], after_s: tuple[float, float]
) -> float:
    """Return by how much a jump at `at_s` sticks out: the bar of spec/engine.md asks for at most 6 dB.

    Energy above 5 kHz in the 5 ms around the jump (the loudest such window up to 20 ms after it, because a ramp may
    click at its end), over the louder of the two steady states, each the mean over its interval (begin, end) seconds.
    Steady states below -120 dBFS count as -120 dBFS.
    """
    power = high_power(samples, rate_hz)
    size = round(0.005 * rate_hz)
    smooth = np.convolve(power, np.ones(size) / size, mode="same")
    steady = max(power[round(a * rate_hz) : round(b * rate_hz)].mean() for a, b in (before_s, after_s))
    begin = max(round((at_s - 0.0025) * rate_hz), 0)
    around = smooth[begin : round((at_s + 0.0225) * rate_hz) + 1].max()
    return float(db(around) - db(max(steady, 1e-12)))


def clicks(samples: ArrayLike, rate_hz: float, threshold: float = 4.0) -> Array:
    """Return the times (s) of clicks in a whole file: jumps that nothing around them explains.

    The second difference of the sound in cells of 2 ms, against the fourth sharpest cell within 40 ms on either side:
    a click (or both ends of a gap) stands alone, where a struck note goes on shaking and a low one pulses on. Found
    when `threshold` times sharper and over -72 dBFS; what follows within 5 ms counts as the same.
    """
    x = np.atleast_2d(np.asarray(samples, np.float64).T).T
    sharp = np.abs(np.diff(x, n=2, axis=0)).max(axis=1)
    size, reach, own = max(round(0.002 * rate_hz), 4), 20, 1
    cells = np.pad(sharp, (0, -len(sharp) % size)).reshape(-1, size)
    peak = cells.max(axis=1)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(peak, reach), 2 * reach + 1).copy()
    around[:, reach - own : reach + own + 1] = 0.0
    usual = np.partition(around, -4, axis=1)[:, -4]
    found = np.flatnonzero(peak > threshold * np.maximum(usual, 2.5e-4 / threshold))
    at_s = (found * size + cells[found].argmax(axis=1) + 1) / rate_hz
    return at_s[np.diff(at_s, prepend=-1.0) > 0.005]


# --- following a body -------------------------------------------------------------------------------------------------


def rank_correlation(a: ArrayLike, b: ArrayLike, step_s: float, lag_s: float = 0.5) -> tuple[float, float]:
    """Return (best Spearman correlation, lag of `b` behind `a` in seconds) of two envelopes on one grid."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    n = min(len(x), len(y))
    best, best_lag = -1.0, 0.0
    for lag in range(int(lag_s / step_s + 1e-9) + 1):
        if n - lag < 5:
            break
        r = stats.spearmanr(x[: n - lag], y[lag:n]).statistic
        if r > best:
            best, best_lag = float(r), lag * step_s
    return best, best_lag


def follows(
    samples: ArrayLike, rate_hz: float, energy: ArrayLike, energy_rate_hz: float = 60.0, hop_s: float = 0.05
) -> tuple[float, float]:
    """Return (correlation, lag) of motion energy and loudness: 400 ms windows, best lag up to 0.5 s."""
    loud = rms_windows(samples, rate_hz, 0.4, hop_s)
    moving = rms_windows(energy, energy_rate_hz, 0.4, hop_s)
    return rank_correlation(moving, loud, hop_s)


# --- looking ----------------------------------------------------------------------------------------------------------


def spectrogram_png(
    path: str | Path,
    samples: ArrayLike,
    rate_hz: float,
    envelope: ArrayLike | None = None,
    envelope_rate_hz: float = 60.0,
) -> None:
    """Draw waveform and spectrogram over one time axis, and under them a curve such as motion energy (needs `plot`)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    x = mono(samples)
    rows = 2 if envelope is None else 3
    heights = [1, 3, 1][:rows]
    figure, axes = plt.subplots(
        rows, 1, sharex=True, figsize=(14, 3 * rows), height_ratios=heights, layout="constrained"
    )
    step = max(len(x) // 8000, 1)
    framed = x[: len(x) // step * step].reshape(-1, step)
    time_s = np.arange(len(framed)) * step / rate_hz
    axes[0].fill_between(time_s, framed.min(axis=1), framed.max(axis=1), linewidth=0)
    axes[0].set(ylim=(-1, 1), ylabel="sound")
    size = min(2048, len(x))
    f, t, s = signal.spectrogram(x, rate_hz, nperseg=size, noverlap=size * 3 // 4, scaling="spectrum")
    axes[1].pcolormesh(t, f[1:], db(s[1:]), vmin=-110, vmax=-10, cmap="magma", rasterized=True)
    axes[1].set(yscale="log", ylim=(40, rate_hz / 2), ylabel="Hz")
    if envelope is not None:
        curve = np.asarray(envelope, np.float64)
        axes[2].plot(np.arange(len(curve)) / envelope_rate_hz, curve, linewidth=0.8)
        axes[2].set(ylabel="motion energy")
    axes[-1].set(xlabel="s", xlim=(0, len(x) / rate_hz))
    figure.savefig(path, dpi=80)
    plt.close(figure)
