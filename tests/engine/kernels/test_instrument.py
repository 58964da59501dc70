"""The instrument as a whole: voices come, go and are taken without a click, and nothing breaks it."""

from typing import Any

import numpy as np
import pytest
from measures import measures
from scipy.signal import butter, sosfilt

from echelon_engine._jit import OPTIONS
from echelon_engine.kernels import instrument
from echelon_engine.parameters import PARAMETERS

quality = measures("quality_voices")
OPEN = {"amp_attack": 0.0, "amp_sustain": 1.0}


def _high_db(y: Any) -> Any:
    """Return the power above 5 kHz in windows of 5 ms, dB."""
    high = sosfilt(butter(6, 5000.0, "highpass", fs=48000.0, output="sos"), y.astype(np.float64))
    return 10 * np.log10(np.convolve(high**2, np.ones(240) / 240, "valid") + 1e-16)


@pytest.mark.parametrize("pitch", [24, 48, 72, 96, 108])
@pytest.mark.parametrize("structure", [0.0, 0.5, 1.0])
def test_mezzo_forte_peaks_near_minus_18_dbfs(pitch: int, structure: float) -> None:
    """One voice of velocity 0.5 is about as loud at every pitch and for every body."""
    inst = quality.fresh()
    y = quality.play(inst, 24000, quality.lanes(body_structure=structure, **OPEN), [(0, quality.note(inst, 1, pitch))])
    assert -23.0 < 20 * np.log10(np.abs(y).max()) < -13.0


@pytest.mark.parametrize("pitch", [33, 57, 81])
def test_struck_body_sounds_at_its_pitch(pitch: int) -> None:
    """The strongest low partial of a struck string lies within 2 cents of the key while its operators rest."""
    inst = quality.fresh()
    values = quality.lanes(body_structure=0.0, body_damping=0.2, exciter_sustain=0.0, filter_cutoff=1.0, **OPEN)
    y = quality.play(inst, 48000, values, [(0, quality.note(inst, 1, pitch))])[:, 0]
    cents, _ = quality.pitch_and_decay(y[16000:], 440.0 * 2.0 ** ((pitch - 69) / 12), 48000.0)
    assert abs(cents) < 2.0


def test_harder_is_louder_and_brighter() -> None:
    """Velocity raises both the level and the share of high partials."""
    found = []
    for velocity in (0.2, 0.9):
        inst = quality.fresh()
        y = quality.play(inst, 12000, quality.lanes(**OPEN), [(0, quality.note(inst, 1, 57, velocity))])[:, 0]
        spectrum = np.abs(np.fft.rfft(y * np.hanning(y.size))) ** 2
        found.append((np.abs(y).max(), spectrum[500:].sum() / spectrum.sum()))
    assert found[1][0] > 2 * found[0][0]
    assert found[1][1] > 1.5 * found[0][1]


def test_bow_sustains_and_stillness_lets_it_fade() -> None:
    """A bowed body keeps its level; after the bow has left it rings out, and its release ends the voice."""
    inst = quality.fresh()
    values = quality.lanes(exciter_sustain=0.0, **OPEN)
    events = [(0, quality.note(inst, 1, 57)), (2000, quality.bowed(inst, 1, 0.8)), (72000, quality.bowed(inst, 1, 0.0))]
    events.append((120000, lambda: instrument.note_off(inst, 1)))
    y = quality.play(inst, 144000, values, events)[:, 0]
    level = [np.sqrt(np.mean(y[a : a + 12000] ** 2)) for a in (24000, 60000, 108000)]
    assert level[1] == pytest.approx(level[0], rel=0.25)
    assert level[1] > 0.02
    assert level[2] < 0.1 * level[1]
    assert instrument.active(inst) == 0


@pytest.mark.parametrize("lane", [p.name for p in PARAMETERS[:24]])
def test_no_lane_clicks(lane: str) -> None:
    """A jump over the whole lane on a held tone adds at most 6 dB above 5 kHz to the louder steady state."""
    assert quality.click_db(lane, 0.0, 1.0) <= 6.0
    assert quality.click_db(lane, 1.0, 0.0) <= 6.0


def test_stealing_and_panic_do_not_click() -> None:
    """With 16 dark tones sounding, four more notes and a panic leave the band above 5 kHz 60 dB below the tones."""
    inst = quality.fresh()
    dark = quality.lanes(index_1=0, index_2=0, index_3=0, index_4=0, amp_attack=0.6, exciter_attack=0.6, filter_drive=0)
    events = [(0, quality.note(inst, k, 40 + k)) for k in range(16)]
    events += [(24007, quality.note(inst, 100 + k, 41.5 + k)) for k in range(4)]
    events += [(36000, lambda: instrument.all_off(inst))]
    y = quality.play(inst, 40000, dark, events)[:, 0]
    assert np.abs(y[20000:24000]).max() > 0.05
    assert _high_db(y)[23800:37000].max() < 20 * np.log10(np.abs(y).max()) - 60
    assert np.abs(y[36000 + 300 :]).max() == 0.0
    assert instrument.active(inst) == 0


def test_quietest_released_voice_is_taken_first() -> None:
    """The seventeenth note takes a released voice and leaves the held ones alone."""
    inst = quality.fresh()
    for k in range(16):
        instrument.note_on(inst, k, 50.0 + k, 0.5, 0.0)
    quality.play(inst, 4800, quality.lanes())
    instrument.note_off(inst, 5)
    quality.play(inst, 480, quality.lanes())
    instrument.note_on(inst, 99, 70.0, 0.5, 0.0)
    quality.play(inst, 480, quality.lanes())
    assert sorted(inst["voice"]["key"]) == sorted([*range(5), *range(6, 16), 99])


def test_note_spam_leaves_nothing_behind() -> None:
    """Hundreds of notes on and off, even before they could begin, end in silence with every voice free."""
    inst = quality.fresh()
    rng = np.random.default_rng(2)
    for _ in range(300):
        key = int(rng.integers(30))
        instrument.note_on(inst, key, float(rng.uniform(20, 110)), float(rng.random()), 0.0)
        if rng.random() < 0.7:
            instrument.note_off(inst, key)
        quality.play(inst, 64, quality.lanes(amp_release=0.2))
    for key in range(30):
        instrument.note_off(inst, key)
    y = quality.play(inst, 48000, quality.lanes(amp_release=0.2))
    assert instrument.active(inst) == 0
    assert np.abs(y[-480:]).max() == 0.0
    assert inst["resets"] == 0


def test_half_a_minute_of_random_jumps_stays_finite() -> None:
    """All lanes jump at random at every control frame while notes come and go: finite, bounded, no reset."""
    finite, peak, heard, resets = quality.storm(30.0)
    assert finite
    assert peak < 4.0
    assert 0.1 < heard <= 1.0
    assert resets == 0


def test_voice_that_is_not_finite_is_silenced_and_counted() -> None:
    """A poisoned string costs its voice, not the others, and the voice plays again."""
    inst = quality.fresh()
    values = quality.lanes(**OPEN)
    instrument.note_on(inst, 1, 60.0, 0.5, 0.0)
    instrument.note_on(inst, 2, 67.0, 0.5, 0.0)
    quality.play(inst, 1600, values)
    inst["voice"][0]["string"]["line"][:] = np.nan
    y = quality.play(inst, 1600, values)
    assert np.isfinite(y).all()
    assert np.abs(y[-64:]).max() > 0
    assert inst["resets"] == 1
    assert instrument.active(inst) == 1
    instrument.note_on(inst, 3, 60.0, 0.5, 0.0)
    assert np.isfinite(quality.play(inst, 1600, values)).all()
    assert inst["resets"] == 1


def test_lane_that_is_not_finite_keeps_its_value() -> None:
    """NaN and infinity in a control frame change nothing."""
    outs = []
    for bad in (False, True):
        inst = quality.fresh()
        first, then = quality.lanes(ratio_1=0.6), quality.lanes(ratio_1=0.6)
        if bad:
            then[:] = np.nan
            then[3] = np.inf
        instrument.note_on(inst, 1, 60.0, 0.5, 0.0)
        outs.append(quality.play(inst, 4000, lambda at, first=first, then=then: first if at == 0 else then))
    assert np.array_equal(outs[0], outs[1])
    instrument.note_on(inst, 2, np.nan, 0.5, 0.0)
    assert instrument.active(inst) == 1


def test_pan_is_equal_power() -> None:
    """Left, middle and right differ in place, not in power."""
    found = []
    for pan in (-1.0, 0.0, 1.0):
        inst = quality.fresh()
        found.append(quality.play(inst, 9600, quality.lanes(), [(0, quality.note(inst, 1, 60, 0.5, pan))]))
    assert np.abs(found[0][:, 1]).max() < 1e-6
    assert np.abs(found[2][:, 0]).max() < 1e-6
    power = [float(np.sum(y.astype(np.float64) ** 2)) for y in found]
    assert power[1] == pytest.approx(power[0], rel=1e-3)
    assert power[2] == pytest.approx(power[0], rel=1e-3)


@pytest.mark.parametrize("grid", [16, 48])
def test_sound_does_not_depend_on_how_it_is_cut(grid: int) -> None:
    """Shorter segments give the same samples, to the rounding of the last bits."""
    outs = []
    for cut in (64, grid):
        inst = quality.fresh()
        values = [quality.lanes(), quality.lanes(body_structure=0.7, filter_cutoff=0.8, index_1=0.9)]
        events = [(0, quality.note(inst, 1, 45)), (900, quality.note(inst, 2, 64)), (1000, quality.bowed(inst, 1, 0.6))]
        moves = lambda at, values=values: values[at // 800 % 2]  # noqa: E731
        outs.append(quality.play(inst, 9600, moves, events, cut))
    assert np.abs(outs[0] - outs[1]).max() < 1e-5


def test_same_events_give_the_same_bytes() -> None:
    """Two runs are equal bit by bit."""
    outs = []
    for _ in range(2):
        inst = quality.fresh()
        outs.append(
            quality.play(inst, 9600, quality.lanes(), [(7, quality.note(inst, 1, 50)), (99, quality.bowed(inst, 1, 1))])
        )
    assert outs[0].tobytes() == outs[1].tobytes()


def test_callback_path_never_allocates() -> None:
    """The machine code of control, notes, bow and render contains no call to Numba's allocator."""
    import numba

    options = {**OPTIONS, "cache": False}
    inst = quality.fresh()
    bus = np.zeros((64, 2), np.float32)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (instrument.control, (inst, inst["values"].copy(), 800)),
        (instrument.note_on, (inst, 1, 60.0, 0.5, 0.0)),
        (instrument.note_off, (inst, 1)),
        (instrument.bow, (inst, 1, 0.5)),
        (instrument.all_off, (inst,)),
        (instrument.render, (bus, inst)),
    ]
    for function, arguments in calls:
        bare = numba.njit(**options)(function.py_func)
        bare(*arguments)
        for text in bare.inspect_llvm().values():
            assert "NRT_MemInfo_alloc" not in text
            assert "NRT_Allocate" not in text
