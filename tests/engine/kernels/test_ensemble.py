"""The ensemble as a mixer: levels, effects and parameters move without a click, and silence is silent."""

from typing import Any

import numpy as np
import pytest
from measures import measures

from echelon_bridges import audition
from echelon_bridges.audition import Mix, Onset
from echelon_engine._jit import OPTIONS
from echelon_engine.kernels import console, ensemble
from echelon_engine.vocabulary import DRUM_SOUND
from echelon_models.music.tokens import TRACKS

quality = measures("quality_ensemble")
RATE = 48000


def _song(rate_hz: int = RATE, bars: int = 1) -> Any:
    return [audition.strike(note, rate_hz) for note in audition.arrangement(bars)]


def _everything(rate_hz: int) -> Any:
    toggles = [(5000 + 997 * t, lambda band, t=t: ensemble.effects(band, t, 31)) for t in range(12)]
    toggles += [(20000 + 1009 * t, lambda band, t=t: ensemble.effects(band, t, 0)) for t in range(12)]
    return _song(rate_hz) + toggles


@pytest.mark.parametrize("rate_hz", [44100, 96000])
def test_cuts_do_not_matter(rate_hz: int) -> None:
    """Everything at once, effects on and off: bit-identical when played again, and however it is cut to 1e-6."""
    frames = 40000
    heard = [
        audition.play(audition.new_ensemble(rate_hz), frames, _everything(rate_hz), segment=segment)
        for segment in (64, 64, 16)
    ]
    assert np.abs(heard[0]).max() > 0.1
    assert np.array_equal(heard[0], heard[1])
    assert np.abs(heard[0] - heard[2]).max() < 1e-6


def test_blocks_of_any_size_are_bit_identical() -> None:
    """Cut as the callback cuts blocks of 64 and of 512 (control frames, onsets, multiples of 64), no bit differs."""
    heard = []
    for block in (64, 512):
        band, still = audition.new_ensemble(), audition.neutral()
        actions, out, at, done = sorted(_everything(RATE), key=lambda a: a[0]), np.zeros((24064, 2), np.float32), 0, 0
        while at < len(out):
            end = min(at + block, len(out))
            while at < end:
                if at % 800 == 0:
                    ensemble.control(band, still.gain, still.pan, still.parameter, 24000.0, 800)
                while actions[done][0] <= at:
                    actions[done][1](band)
                    done += 1
                cut = min(end, at + 64 - at % 64, at + 800 - at % 800, actions[done][0])
                ensemble.render(out[at:cut], band)
                at = cut
        heard.append(out)
    assert np.array_equal(heard[0], heard[1])


def test_a_drum_token_sounds_on_any_track() -> None:
    """A kick on the lead's track is the kick, as loud as on its own."""
    heard = []
    for track in (TRACKS.index("KICK"), TRACKS.index("LEAD")):
        still = quality.mix(**quality.DRY)
        actions = [audition.strike(Onset(0.0, track, 128, 0.8), RATE)]
        heard.append(audition.play(audition.new_ensemble(), 12000, actions, lambda _, still=still: still))
    assert np.abs(heard[1]).max() == pytest.approx(np.abs(heard[0]).max(), rel=0.12)
    assert np.corrcoef(heard[0][:, 0], heard[1][:, 0])[0, 1] > 0.95


def test_a_pitch_tunes_the_drum_of_its_track() -> None:
    """A pitch on the kick's track moves the kick there: an octave more is an octave higher."""
    hz = []
    for pitch in (36, 48):
        actions = [audition.strike(Onset(0.0, 0, pitch, 0.8), RATE)]
        sound = audition.play(audition.new_ensemble(), 24000, actions)[2400:, 0]
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 17))
        hz.append(np.argmax(spectrum) * RATE / (1 << 17))
    assert hz[1] / hz[0] == pytest.approx(2.0, rel=0.1)


def test_a_closed_hat_closes_the_open_one() -> None:
    """Open hat, then a closed one on another track: what is left of the open hat is gone within 60 ms."""
    left = []
    for sound in (None, 130):
        actions = [audition.strike(Onset(0.0, 2, 131), RATE)]
        if sound:
            actions.append(audition.strike(Onset(0.05, 3, sound, 0.65, 1e-6), RATE))
        x = audition.play(audition.new_ensemble(), 12000, actions, lambda _: quality.mix(**quality.DRY))
        left.append(float((x[5500:9000].astype(np.float64) ** 2).mean()))
    assert left[1] < 1e-3 * left[0]


def test_faders_pans_and_mutes() -> None:
    """A muted track is silent, a panned one is on its side, and gain is linear before the bus saturates."""
    note = [audition.strike(Onset(0.0, 4, 45, 0.3, 0.2, 1.0), RATE)]

    def heard(gain: float, pan: float) -> Any:
        still = quality.mix(gain, **quality.DRY)
        still.pan[:] = pan
        return audition.play(audition.new_ensemble(), 24000, note, lambda _: still)

    plain = heard(1.0, 0.0)
    assert np.abs(heard(0.0, 0.0)).max() < 1e-9
    assert np.abs(heard(0.5, 0.0)).max() == pytest.approx(0.5 * np.abs(plain).max(), rel=0.02)
    left = heard(1.0, -1.0)
    assert np.abs(left[:, 1]).max() < 1e-3 * np.abs(left[:, 0]).max()


@pytest.mark.parametrize("voice", ["BASS", "LEAD"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 13])
def test_effects_come_and_go_without_a_click(voice: str, bits: int) -> None:
    """Each effect, switched on within a held note, adds at most 6 dB above 5 kHz to the louder of both states."""
    track = TRACKS.index(voice)
    assert quality.click_db(voice, quality.toggle(track, bits), 57, {"REVERB_SEND": 0.3, "DELAY_SEND": 0.3}) <= 6.0


@pytest.mark.parametrize("name", ["BASS_WEIGHT", "PAD_LEVEL", "INTENSITY", "BRIGHTNESS", "WIDTH"])
def test_parameters_jump_without_a_click(name: str) -> None:
    """A jump over the whole range of a parameter, and a mute, are as quiet above 5 kHz."""
    voice = "PAD" if name in ("PAD_LEVEL", "WIDTH") else "BASS"
    which = getattr(console, name)
    for a in (0.0, 1.0):
        assert quality.click_db(voice, quality.set_parameter(which, 1.0 - a), 45, {name: a}) <= 6.0
    assert quality.click_db(voice, quality.set_gain(TRACKS.index(voice), 0.0), 45) <= 6.0


def test_effects_do_what_they_say() -> None:
    """Low-pass darkens, high-pass thins, distortion adds partials, delay repeats, reverb rings on."""
    track = TRACKS.index("STAB")

    def heard(bits: int) -> Any:
        band = audition.new_ensemble()
        ensemble.effects(band, track, bits)
        actions = [audition.strike(Onset(0.0, track, 57, 0.8, 1.0, 0.1), RATE)]
        return audition.play(band, RATE, actions, tempo_bpm=120.0)

    def level(sound: Any, begin: float, end: float) -> float:
        return float((sound[int(begin * RATE) : int(end * RATE)].astype(np.float64) ** 2).mean())

    dry = heard(0)
    spectrum = [np.abs(np.fft.rfft(heard(bits)[:24000, 0])) ** 2 for bits in (0, 1, 2, 16)]
    high, low = [s[1500:].sum() for s in spectrum], [s[:200].sum() for s in spectrum]
    assert high[1] < 0.1 * high[0]
    assert low[2] < 0.2 * low[0]
    assert high[3] / low[3] > 1.5 * high[0] / low[0]
    # dotted eighths at 120 bpm: 375 ms
    assert level(heard(4), 0.38, 0.48) > 10 * level(dry, 0.38, 0.48)
    assert level(heard(8), 0.6, 1.0) > 5 * level(dry, 0.6, 1.0)


def test_level_peak_and_width_of_the_band() -> None:
    """A full arrangement at mf, intensity 0.7: near -16 LUFS, peak near -6 dBFS; width 0 is mono."""
    peak, lufs, _, width = quality.band_figures(4)
    assert -7.5 < peak < -4.5
    assert -17.0 < lufs < -15.0
    assert -22.0 < width < -6.0
    assert quality.band_figures(1, WIDTH=0.0)[3] < -100.0


def test_storm_stays_finite_and_under_the_ceiling() -> None:
    """Random onsets, effects and jumps of everything leave the mix finite and below the ceiling, without a reset."""
    finite, peak, resets = quality.storm(4.0)
    assert finite
    assert peak < 0.581
    assert resets == 0


def test_what_is_not_finite_is_ignored() -> None:
    """Gains, pans, parameters, tempo and velocities that are not finite change nothing."""
    band, bad = audition.new_ensemble(), np.full(15, np.nan, np.float32)
    still = audition.neutral()
    ensemble.control(band, still.gain, still.pan, still.parameter, 24000.0, 800)
    ensemble.control(band, bad[:12], bad[:12], bad, float("nan"), 800)
    ensemble.onset(band, 4, 45, float("nan"), 1.0, 1000)
    ensemble.onset(band, 4, 45, 0.5, float("inf"), 1000)
    ensemble.onset(band, 12, 45, 0.5, 1.0, 1000)
    ensemble.onset(band, -1, 45, 0.5, 1.0, 1000)
    assert ensemble.active(band) == 0
    ensemble.onset(band, 4, 45, 0.5, 1.0, 1000)
    out = np.zeros((64, 2), np.float32)
    for _ in range(20):
        ensemble.render(out, band)
    assert np.isfinite(out).all()
    assert np.abs(out).max() > 0.001


def test_broken_sound_is_cleared() -> None:
    """State that turns non-finite is cleared and counted, and the band plays on."""
    band = audition.new_ensemble()
    actions = [audition.strike(Onset(0.0, 5, 57, 0.65, 1.0, 1.0), RATE)]
    actions.append((4800, lambda band: band["echo"]["line"].fill(np.nan)))
    actions.append(audition.strike(Onset(0.2, 5, 57, 0.65, 1.0, 1.0), RATE))
    sound = audition.play(band, RATE, actions)
    assert np.isfinite(sound).all()
    assert band["resets"] == 1
    assert np.abs(sound[30000:]).max() > 0.01


def test_silence_is_silent_and_all_off_is_quick() -> None:
    """Without onsets every sample is 0; after `all_off` too, within 30 ms, echoes and room included."""
    band = audition.new_ensemble()
    assert not audition.play(band, 4800).any()
    assert ensemble.active(band) == 0
    actions = [*_song(), (60000, ensemble.all_off)]
    actions = [action for action in actions if action[0] <= 60000]
    sound = audition.play(band, 80000, actions)
    assert np.abs(sound[59000:60000]).max() > 0.05
    assert not sound[61500:].any()
    assert ensemble.active(band) == 0
    later = audition.play(band, 24000, [audition.strike(Onset(0.1, 4, 45), RATE)])
    assert np.abs(later).max() > 0.01


def test_activity_tells_who_plays() -> None:
    """`activity` is the level of each track in the last control period, and 0 for those that rest."""
    band = audition.new_ensemble()
    audition.play(
        band, 4801, [audition.strike(Onset(0.01, t, 60 if t > 3 else 128, 0.65, 1.0, 1.0), RATE) for t in (0, 6)]
    )
    playing = np.flatnonzero(band["activity"] > 1e-4)
    assert list(playing) == [0, 6]


def test_drum_on_a_pitched_track_releases_its_note() -> None:
    """A rim shot on the bass track lets a long note go."""
    band = audition.new_ensemble()
    actions = [
        audition.strike(Onset(0.0, 4, 45, 0.65, 1.0, 60.0), RATE),
        audition.strike(Onset(0.25, 4, DRUM_SOUND + 5, 0.65, 1.0, 1.0), RATE),
    ]
    audition.play(band, 30000, actions, lambda _: quality.mix(**quality.DRY))
    assert ensemble.active(band) == 0


def test_callback_path_never_allocates() -> None:
    """The machine code of everything the callback calls contains no call to Numba's allocator."""
    import numba

    options = {**OPTIONS, "cache": False}
    band, still = audition.new_ensemble(), audition.neutral()
    bus = np.zeros((64, 2), np.float32)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (ensemble.control, (band, still.gain, still.pan, still.parameter, 24000.0, 800)),
        (ensemble.onset, (band, 4, 45, 0.5, 1.0, 1000)),
        (ensemble.effects, (band, 4, 31)),
        (ensemble.chord, (band, 145)),
        (ensemble.all_off, (band,)),
        (ensemble.render, (bus, band)),
    ]
    for function, arguments in calls:
        compiled = numba.njit(**options)(function.py_func)
        compiled(*arguments)
        for text in compiled.inspect_llvm().values():
            assert "NRT_MemInfo_alloc" not in text
            assert "NRT_Allocate" not in text


def test_bad_mix_of_types_is_none() -> None:
    """The neutral mix has the shapes and types that `control` is compiled for."""
    still = audition.neutral()
    assert isinstance(still, Mix)
    assert (still.gain.dtype, still.pan.shape, still.parameter.shape) == (np.float32, (12,), (15,))
