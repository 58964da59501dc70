"""The drum voice: pitch, decay, timbre by velocity, silence, strokes over one another."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measures import measures
from numpy.typing import NDArray

from echelon_engine.kernels import drum_sounds, drums

quality = measures("quality_voices")
RATE_HZ = 48000
Stroke = tuple[int, int, float, float, float]  # frame, sound, tune, velocity, gain


def fresh(rate_hz: float = RATE_HZ, seed: int = 0) -> Any:
    """Return a silent voice."""
    drum = np.zeros(1, drums.DRUM)[0]
    drums.init(drum, float(rate_hz), seed)
    return drum


def play(drum: Any, strokes: list[Stroke], frames: int, cut: int = 64) -> NDArray[np.float32]:
    """Return `frames` samples with strokes at their frames (sorted), cut at these and every `cut` samples."""
    out = np.zeros(frames, np.float32)
    waiting = list(strokes)
    at = 0
    while at < frames:
        while waiting and waiting[0][0] <= at:
            _, sound, tune, velocity, gain = waiting.pop(0)
            drums.strike(drum, sound, tune, velocity, gain)
        end = min(frames, at + cut, waiting[0][0] if waiting else frames)
        drums.render(out[at:end], drum)
        at = end
    return out


def one(name: str, tune: float = 0.0, velocity: float = 0.8, frames: int = 2 * RATE_HZ) -> NDArray[np.float32]:
    """Return one stroke of a fresh voice."""
    return play(fresh(), [(0, drum_sounds.DRUMS.index(name), tune, velocity, 1.0)], frames)


def sine_row(hz: float, decay_s: float) -> NDArray[np.float64]:
    """Return a drum of one mode without noise, glide or drive."""
    silent = drum_sounds.Band()
    return drum_sounds.row(drum_sounds.Sound(hz, 1.0, (1.0,), (1.0,), (decay_s,), noise=silent, click=silent))


@pytest.mark.parametrize("name", ["bd", "tom", "perc"])
@pytest.mark.parametrize("tune", [-5.0, 0.0, 7.0])
def test_tune_is_in_semitones(name: str, tune: float) -> None:
    """Once the glide has settled a drum sounds where `pitch` and its tune say, within 10 cents."""
    number = drum_sounds.DRUMS.index(name)
    hz = 440.0 * 2.0 ** ((drums.pitch(number) + tune - 69.0) / 12.0)
    settled = int(8 * drum_sounds.SOUNDS[name].glide_s * RATE_HZ)
    cents, _ = quality.pitch_and_decay(one(name, tune)[settled : settled + int(8 * RATE_HZ / hz)], hz, RATE_HZ)
    assert abs(cents) < 10.0


@pytest.mark.parametrize("decay_s", [0.1, 0.5])
@pytest.mark.parametrize("rate_hz", [44100, 96000])
def test_a_mode_decays_as_the_table_says(decay_s: float, rate_hz: int) -> None:
    """A drum of one mode falls by 60 dB in its decay, at any rate, within 2 %."""
    drum = fresh(rate_hz)
    drums.excite(drum, sine_row(300.0, decay_s), 0.0, 0.8, 1.0)
    sound = play(drum, [], int(0.5 * decay_s * rate_hz))
    cents, decay = quality.pitch_and_decay(sound[rate_hz // 100 :], 300.0, rate_hz)
    assert abs(cents) < 1.0
    assert abs(decay / decay_s - 1.0) < 0.02


@pytest.mark.parametrize("name", drum_sounds.DRUMS)
def test_harder_is_brighter_and_louder(name: str) -> None:
    """A harder stroke has its spectrum higher and more power."""
    centroids, levels = [], []
    for velocity in (0.4, 0.7, 1.0):
        power = np.abs(np.fft.rfft(one(name, velocity=velocity).astype(np.float64)[: RATE_HZ // 2])) ** 2
        centroids.append(np.sum(power * np.arange(power.size)) / power.sum())
        levels.append(power.sum())
    assert centroids[0] < centroids[1] < centroids[2]
    assert levels[0] < levels[1] < levels[2]


@pytest.mark.parametrize("name", drum_sounds.DRUMS)
def test_every_stroke_ends_in_exact_silence(name: str) -> None:
    """Each drum rings out to nothing without a step, makes its voice idle and has no offset."""
    drum = fresh()
    sound = play(drum, [(0, drum_sounds.DRUMS.index(name), 0.0, 1.0, 1.25)], 3 * RATE_HZ)
    assert drum["active"] == 0
    last = int(np.flatnonzero(sound)[-1])
    assert last < 2.5 * RATE_HZ
    assert 0.2 < np.abs(sound).max() < 2.0
    assert np.abs(sound[last - RATE_HZ // 200 :]).max() < 1e-4
    assert abs(float(np.sum(sound, dtype=np.float64))) < 1e-3 * np.abs(sound).sum(dtype=np.float64)
    out = np.full(64, 0.25, np.float32)
    drums.render(out, drum)
    assert (out == 0.25).all()


def test_cutting_does_not_change_a_sample() -> None:
    """Strokes of all drums, some over one another, are the same bytes however the stretch is cut."""
    random = np.random.default_rng(3)
    frames = np.sort(random.integers(0, RATE_HZ, 24))
    strokes = [(int(f), i % 8, float(i % 5 - 2), 0.3 + 0.02 * i, 1.0) for i, f in enumerate(frames)]
    whole = play(fresh(), strokes, RATE_HZ)
    for cut in (1, 7, 48):
        assert play(fresh(), strokes, RATE_HZ, cut).tobytes() == whole.tobytes()


def test_noise_belongs_to_the_seed_and_the_stroke() -> None:
    """Equal seeds give equal bytes; other seeds and later strokes other noise."""
    strokes = [(0, 1, 0.0, 0.8, 1.0), (RATE_HZ, 1, 0.0, 0.8, 1.0)]
    sound = play(fresh(), strokes, 2 * RATE_HZ)
    assert play(fresh(), strokes, 2 * RATE_HZ).tobytes() == sound.tobytes()
    assert play(fresh(seed=1), strokes, 2 * RATE_HZ).tobytes() != sound.tobytes()
    assert sound[:RATE_HZ].tobytes() != sound[RATE_HZ:].tobytes()


@pytest.mark.parametrize("gaps", [[1111], [40, 40], [0, 0, 0], [1200, 100, 17, 3, 1, 0, 250], [7] * 30])
def test_strokes_over_one_another_do_not_click(gaps: list[int]) -> None:
    """A low sine struck anew at its loudest, also many times within the overlap, never steps."""
    row = sine_row(60.0, 1.0)
    drum = fresh()
    pieces = []
    for gap in [0, *gaps]:
        pieces.append(play(drum, [], gap))
        drums.excite(drum, row, 0.0, 0.8, 1.0)
    pieces.append(play(drum, [], 4000))
    steepest = 2.0 * np.pi * 60.0 / RATE_HZ  # of one stroke of full level; a fade over 6 ms and the rest add to it
    assert np.abs(np.diff(np.concatenate(pieces))).max() < 4.0 * steepest


def test_choke_damps_without_a_step() -> None:
    """A choked open hat is silent 30 ms later; a choked sine never steps."""
    drum = fresh()
    play(drum, [(0, 3, 0.0, 0.8, 1.0)], 2000)
    drums.choke(drum)
    assert np.abs(play(drum, [], 720)).max() > 1e-3
    play(drum, [], 800)
    assert drum["active"] == 0
    drums.excite(drum, sine_row(60.0, 1.0), 0.0, 0.8, 1.0)
    before = play(drum, [], 1000)
    drums.choke(drum)
    after = play(drum, [], 2000)
    assert np.abs(np.diff(np.concatenate([before, after]))).max() < 2.0 * 2.0 * np.pi * 60.0 / RATE_HZ


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.integers(-3, 12), st.floats(width=32), st.floats(width=32), st.floats(width=32), st.integers(0, 300)
        ),
        max_size=12,
    ),
    st.sampled_from([22050.0, 44100.0, 192000.0]),
)
def test_any_stroke_is_finite_and_dies(strokes: list[tuple[int, float, float, float, int]], rate_hz: float) -> None:
    """Whatever numbers strike it, the voice stays finite and falls silent; NaN and infinity strike nothing."""
    drum = fresh(rate_hz)
    for sound, tune, velocity, gain, frames in strokes:
        drums.strike(drum, sound, tune, velocity, float(np.clip(gain, -4.0, 4.0)))
        assert np.isfinite(play(drum, [], frames)).all()
    rest = play(drum, [], int(2.5 * rate_hz))
    assert np.isfinite(rest).all()
    assert np.abs(rest).max(initial=0.0) < 40.0
    assert drum["active"] == 0
