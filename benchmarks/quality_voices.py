"""Quality of the instrument's voices: each figure beside its bar.

    python benchmarks/quality_voices.py

`measure()` returns a list of (name, figure, bar, unit); a figure is good when it does not exceed its bar.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

from echelon_engine.kernels import instrument, modal, operators, output, string
from echelon_engine.parameters import LANE, PARAMETERS

Row = tuple[str, float, float, str]
Event = tuple[int, Callable[[], None]]


def lanes(**positions: float) -> NDArray[np.float32]:
    """Return the 32 physical values with every lane in its middle but those named, given as positions 0..1."""
    values = np.array([p.value(0.5) for p in PARAMETERS], np.float32)
    for name, position in positions.items():
        values[LANE[name]] = PARAMETERS[LANE[name]].value(position)
    return values


def fresh(rate_hz: float = 48000.0) -> Any:
    inst = np.zeros(1, instrument.INSTRUMENT)[0]
    instrument.init(inst, rate_hz)
    return inst


def play(
    inst: Any,
    frames: int,
    values: NDArray[np.float32] | Callable[[int], NDArray[np.float32]],
    events: Sequence[Event] = (),
    grid: int = 64,
) -> NDArray[np.float32]:
    """Render `frames` samples with a control frame 60 times a second, cut on a grid, at control frames and events."""
    rate_hz = float(inst["rate_hz"])
    period = int(rate_hz / 60.0)
    out = np.zeros((frames, 2), np.float32)
    waiting = sorted(events, key=lambda event: event[0])
    at = 0
    while at < frames:
        if at % period == 0:
            instrument.control(inst, values(at) if callable(values) else values, period)
        while waiting and waiting[0][0] <= at:
            waiting.pop(0)[1]()
        end = min(frames, at + grid - at % grid, at + period - at % period)
        if waiting:
            end = min(end, waiting[0][0])
        instrument.render(out[at:end], inst)
        at = end
    return out


def note(inst: Any, key: int, pitch: float, velocity: float = 0.5, pan: float = 0.0) -> Callable[[], None]:
    return lambda: instrument.note_on(inst, key, float(pitch), float(velocity), float(pan))


def bowed(inst: Any, key: int, force: float) -> Callable[[], None]:
    return lambda: instrument.bow(inst, key, float(force))


def pitch_and_decay(y: NDArray[np.float32], hz: float, rate_hz: float) -> tuple[float, float]:
    """Return (cents off `hz`, T60 in s) of the partial at `hz`: phase and log magnitude of a windowed demodulation."""
    t = np.arange(y.size) / rate_hz
    window = np.hanning(int(max(6 * rate_hz / hz, 256)))
    z = fftconvolve(y * np.exp(-2j * np.pi * hz * t), window / window.sum(), "valid")
    t = t[: z.size]
    off_hz = np.polyfit(t, np.unwrap(np.angle(z)), 1, w=np.abs(z))[0] / (2 * np.pi)
    fall = np.polyfit(t, np.log(np.abs(z) + 1e-30), 1, w=np.abs(z))[0]
    return float(1200 * np.log2(1 + off_hz / hz)), float(-np.log(1000) / fall)


def _impulse(hz: float, t60_s: float, rate_hz: float) -> NDArray[np.float32]:
    x = np.zeros(int(min(max(0.5 * t60_s * rate_hz, 8 * rate_hz / hz + 2000), 1.5 * rate_hz)), np.float32)
    x[0] = 1.0
    return x


def string_errors(midi: float, t60_s: float, brightness: float, rate_hz: float = 48000.0) -> tuple[float, float]:
    """Return (cents, relative error of T60) of the plucked string."""
    hz = 440.0 * 2.0 ** ((midi - 69.0) / 12.0)
    x = _impulse(hz, t60_s, rate_hz)
    y = np.zeros_like(x)
    state = np.zeros(1, string.STRING)[0]
    string.tune(state, hz, t60_s, brightness, rate_hz, 0)
    state["comb"] = int(0.3 * rate_hz / hz)
    string.render(y, state, x)
    cents, t60 = pitch_and_decay(y[int(3 * rate_hz / hz) :], hz, rate_hz)
    return cents, t60 / t60_s - 1.0


def modal_errors(
    midi: float, t60_s: float, structure: float, mode: int, rate_hz: float = 48000.0
) -> tuple[float, float]:
    """Return (cents, relative error of T60) of one mode against the formula of a stiff string, brightness 0.5."""
    first = 440.0 * 2.0 ** ((midi - 69.0) / 12.0)
    stiff = modal.stiffness.py_func(structure)
    ratio = mode * np.sqrt((1 + stiff * mode**2) / (1 + stiff))
    shape = np.zeros(modal.MODES, np.float32)
    shape[mode - 1] = 1.0
    state = np.zeros(1, modal.MODAL)[0]
    modal.tune(state, shape, first, structure, t60_s, 0.5, rate_hz, 0)
    wanted = t60_s / ratio ** modal.decay_slope.py_func(0.5)
    x = _impulse(first * ratio, wanted, rate_hz)
    y = np.zeros_like(x)
    modal.render(y, state, x)
    cents, t60 = pitch_and_decay(y, first * ratio, rate_hz)
    return cents, t60 / wanted - 1.0


def alias_db(ratio: float, index: float, hz: float = 1046.5, rate_hz: float = 48000.0) -> float:
    """Return the loudest line of one pair that is no partial of f_c + n f_m, in dB below the loudest partial."""
    frames = 1 << 15
    hz = round(hz * frames / rate_hz) * rate_hz / frames  # every partial on a bin
    ratio = round(ratio * hz * frames / rate_hz) / (hz * frames / rate_hz)
    work = np.zeros(1, operators.WORK)[0]
    ops = np.zeros(1, operators.OPERATORS)[0]
    work["ratio"][:] = np.array([ratio, 1.0, ratio, 1.0], np.float32)[:, None]
    work["index"][:] = np.array([index, 0.0, index, 0.0], np.float32)[:, None]
    y = np.zeros(frames + 1024, np.float32)
    for at in range(0, y.size, 64):
        operators.render(y[at : at + 64], work, ops, np.ones(64, np.float32), hz, rate_hz, 64)
    spectrum = np.abs(np.fft.rfft(y[1024:] * np.blackman(frames)))
    partial = np.zeros(spectrum.size, bool)
    unit = hz * frames / rate_hz
    for n in range(-80, 81):
        place = round(abs(1.0 + n * ratio) * unit)
        partial[max(place - 4, 0) : place + 5] = True
    return float(20 * np.log10(np.max(spectrum[~partial]) / np.max(spectrum)))


def click_db(lane: str, start: float, end: float, pitch: float = 60.0) -> float:
    """Return by how much the loudest 5 ms above 5 kHz near a jump of a lane exceed the louder steady state, in dB."""
    inst = fresh()
    jump = 36000
    held = {"amp_sustain": 0.8, "exciter_sustain": 0.8}
    before, after = lanes(**{**held, lane: start}), lanes(**{**held, lane: end})
    y = play(
        inst, 72000, lambda at: before if at < jump else after, [(0, note(inst, 1, pitch)), (64, bowed(inst, 1, 0.7))]
    )
    high = sosfilt(butter(6, 5000.0, "highpass", fs=48000.0, output="sos"), y.sum(axis=1).astype(np.float64))
    window = 240
    power = np.convolve(high**2, np.ones(window) / window, "valid")
    steady = max(np.mean(power[jump - 12000 : jump - 480]), np.mean(power[-12000:]), 1e-11)
    return float(10 * np.log10(np.max(power[jump - 240 : jump + 1200]) / steady))


def storm(seconds: float, seed: int = 1) -> tuple[bool, float, float, int]:
    """Jump all lanes at random at every control frame while notes come and go, through the output stage, too.

    Returns whether all was finite, the peak before and behind the output, and how often a state was reset.
    """
    rng = np.random.default_rng(seed)
    inst, stage = fresh(), np.zeros(1, output.OUTPUT)[0]
    output.init(stage, 48000.0)
    output.set_master(stage, 1.0, 1.0, 0, 0, 0, 0)
    peak, heard, finite = 0.0, 0.0, True
    for _ in range(max(int(seconds / 2), 1)):
        events: list[Event] = []
        for _ in range(24):
            key, at = int(rng.integers(40)), int(rng.integers(96000))
            events.append((at, note(inst, key, rng.uniform(15, 115), rng.random(), rng.uniform(-1, 1))))
            events.append((at + 500, bowed(inst, key, rng.random())))
            events.append((int(rng.integers(96000)), lambda key=key: instrument.note_off(inst, key)))
        jumps = rng.random((120, len(PARAMETERS)))
        jumps = np.where(rng.random(jumps.shape) < 0.5, np.round(jumps), jumps)
        values = np.array([[p.value(x) for p, x in zip(PARAMETERS, row, strict=True)] for row in jumps], np.float32)
        bus = play(inst, 96000, lambda at, values=values: values[at // 800], events)
        out, silence = np.zeros_like(bus), np.zeros((50, 2), np.float32)
        for frame in range(120):
            output.control(stage, values[frame], 800)
            for at in range(800 * frame, 800 * (frame + 1), 50):
                output.render(out[at : at + 50], bus[at : at + 50], silence, stage)
        finite = finite and bool(np.isfinite(bus).all() and np.isfinite(out).all())
        peak, heard = max(peak, float(np.abs(bus).max())), max(heard, float(np.abs(out).max()))
    return finite, peak, heard, int(inst["resets"] + stage["resets"])


def milliseconds_per_block(voices: int = 16, blocks: int = 400) -> NDArray[np.float64]:
    """Return the times of blocks of 512 samples in ms, bodies moving at every control frame."""
    inst = fresh()
    values = [lanes(), lanes(body_structure=0.52, body_brightness=0.48, ratio_1=0.51)]
    for k in range(voices):
        instrument.note_on(inst, k, 36.0 + 3.0 * k, 0.5, 0.0)
        instrument.bow(inst, k, 0.5)
    out = np.zeros((64, 2), np.float32)
    times = np.zeros(blocks)
    segment = 0
    for b in range(blocks):
        begin = time.perf_counter()
        for _ in range(8):
            if segment % 12 == 0:
                instrument.control(inst, values[segment // 12 % 2], 768)
            instrument.render(out, inst)
            segment += 1
        times[b] = (time.perf_counter() - begin) * 1e3
    return times


def measure(minutes: float = 10.0) -> list[Row]:
    rows: list[Row] = []
    strings = [
        string_errors(m, t, b, rate)
        for rate in (44100.0, 48000.0, 96000.0)
        for m in (21, 33, 45, 57, 69, 81, 90, 96)
        for t in (20.0 / (440.0 * 2.0 ** ((m - 69.0) / 12.0)), 1.0, 6.0)
        for b in (0.0, 0.5, 1.0)
        if t * 440.0 * 2.0 ** ((m - 69.0) / 12.0) >= 19.9
    ]
    rows.append(("string tuning A0..C7", max(abs(c) for c, _ in strings), 1.0, "cent"))
    rows.append(("string decay", 100 * max(abs(e) for _, e in strings), 5.0, "%"))
    modes = [
        modal_errors(m, t, s, k, rate)
        for rate in (44100.0, 96000.0)
        for m, k in ((21, 1), (21, 30), (45, 5), (69, 1), (69, 3), (96, 1), (96, 2))
        for t in (0.5, 8.0)
        for s in (0.0, 0.6)
    ]
    rows.append(("modal tuning", max(abs(c) for c, _ in modes), 0.1, "cent"))
    rows.append(("modal decay", 100 * max(abs(e) for _, e in modes), 2.0, "%"))
    rows.extend(
        (f"aliasing C6 index 4 ratio {ratio}", alias_db(ratio, 4.0), -60.0, "dB")
        for ratio in (0.5, 1.0, 1.41, 2.0, 3.5, 7.0, 16.0)
    )
    rows.extend(
        (f"click {p.name} {start:.0f}->{1 - start:.0f}", click_db(p.name, start, 1.0 - start), 6.0, "dB")
        for p in PARAMETERS[:24]
        for start in (0.0, 1.0)
    )
    finite, peak, heard, resets = storm(60.0 * minutes)
    rows.append((f"storm of {minutes:g} minutes: not finite", float(not finite), 0.0, ""))
    rows.append(("storm: states reset", float(resets), 0.0, ""))
    rows.append(("storm: peak before the limiter", peak, 4.0, ""))
    rows.append(("storm: peak of what is heard", heard, 1.0, ""))
    times = milliseconds_per_block()
    rows.append(("16 voices, 512 samples, p50", float(np.percentile(times, 50)), 1.5, "ms"))
    return rows


if __name__ == "__main__":
    for name, figure, bar, unit in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0):
        print(f"{name:40s} {figure:10.3f} {unit:5s} bar {bar:8.2f}  {'ok' if figure <= bar else 'MISSED'}")
