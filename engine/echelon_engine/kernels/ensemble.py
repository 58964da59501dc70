"""The twelve-track ensemble: drums and pitched voices, a mixer with effects, echoes, a room, and headroom.

    track: drum + pitched pair -> lpf, hpf, dist -> gain, pan -> bus, delay send, reverb send
    pitched buses -> brightness;  all -> + echoes + room -> width -> intensity, soft saturation -> out

Tracks, tokens and the 15 parameters: spec/music.md. Every value glides (`glide`), everything else moves per sample, so
results do not depend on how a stretch is cut. What is silent is not computed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, int64, kernel
from echelon_engine.band import BAND_LANES
from echelon_engine.kernels import console, drums, echo, glide, master, pitched, reverb, strip, svf
from echelon_engine.kernels.drums import DRUM
from echelon_engine.kernels.echo import ECHO
from echelon_engine.kernels.finite import finite_number
from echelon_engine.kernels.glide import GLIDE
from echelon_engine.kernels.pitched import PITCHED
from echelon_engine.kernels.reverb import REVERB
from echelon_engine.kernels.strip import STRIP
from echelon_engine.vocabulary import DRUM_SOUND, TRACKS

SEGMENT = 64  # samples rendered at a time, at most
_BUS = (np.float32, (6, SEGMENT))  # dry, to the echo, to the room; left and right of each
ENSEMBLE = np.dtype(
    [
        ("rate_hz", np.float64),
        ("fresh", np.int64),  # the next `control` is there at once
        ("bits", np.int64, (TRACKS,)),  # effects that are on
        ("chord", np.int64),  # pitch classes that voices with chords may use, bit 0: C; 0: unknown
        ("drum_sound", np.int64, (TRACKS,)),  # last struck
        ("gain", np.float64, (TRACKS,)),  # newest finite values
        ("pan", np.float64, (TRACKS,)),
        ("trim", np.float64, (TRACKS,)),  # of each track's level: balance, bass weight, pad level
        ("parameter", np.float64, (BAND_LANES,)),
        ("hold", np.int64, (TRACKS,)),  # samples for which a track is still computed
        ("echo_hold", np.int64),
        ("room_hold", np.int64),
        ("hush", np.int64),  # samples until everything is cleared; 0: nothing to do
        ("resets", np.int64),  # times that non-finite sound was cleared
        ("heard", np.float64, (TRACKS,)),  # sum of squares since the last control frame
        ("metered", np.int64),
        ("activity", np.float32, (TRACKS,)),  # RMS of each track in the last control period
        ("band", np.float32, (6,)),  # brightness
        ("low", np.float32, (6,)),
        ("blocked_in", np.float32, (2,)),
        ("blocked", np.float32, (2,)),
        ("glide", GLIDE),
        ("strip", STRIP, (TRACKS,)),
        ("line", np.float32, (TRACKS, 2, SEGMENT)),  # each track
        ("bus", *_BUS),  # pitched tracks
        ("direct", *_BUS),  # drum tracks, then everything
        ("wet", np.float32, (2, SEGMENT)),
        ("work", pitched.WORK),
        ("drum", DRUM, (TRACKS,)),
        ("pitched", PITCHED, (console.PITCHES,)),
        ("echo", ECHO),
        ("room", REVERB),
    ],
    align=True,
)

_ZERO = np.float32(0.0)


@kernel
def init(ensemble: Any, rate_hz: float) -> None:
    """Prepare a zeroed ENSEMBLE record for a sample rate of 44100 to 96000 Hz: silent, all gains 1."""
    ensemble.rate_hz = rate_hz
    ensemble.fresh = 1
    for k in range(BAND_LANES):
        ensemble.parameter[k] = console.NEUTRAL[k]
    glide.init(ensemble.glide, rate_hz)
    for t in range(TRACKS):
        ensemble.gain[t] = 1.0
        drums.init(ensemble.drum[t], rate_hz, int64(t))
        if t >= console.DRUM_TRACKS:
            pitched.init(ensemble.pitched[t - console.DRUM_TRACKS], int64(t - console.DRUM_TRACKS))
    svf.fill_table(ensemble.work.table, rate_hz)
    echo.init(ensemble.echo, rate_hz)
    reverb.init(ensemble.room, rate_hz)
    glide.head(ensemble.glide, int64(console.STAGE), 1.0, int64(0))


@kernel
def onset(ensemble: Any, track: int, sound: int, velocity: float, gain: float, samples: int) -> None:
    """Sound on a track from the next rendered sample on; what the track played before ends.

    `track` 0..11; `sound` a MIDI pitch 36..84, or 128 + drum 0..7, which sounds as that drum on any track; `velocity`
    0..1; `gain` linear (accent 1.25, ghost 0.4, else 1); `samples` to the release of a pitch (drums ring out). A pitch
    on the first four tracks tunes bd, sd, hh or cp to it. What is out of range or not finite is ignored.
    """
    if not (0 <= track < TRACKS and finite_number(velocity) and finite_number(gain)):
        return
    # a higher intensity strikes harder; 0.7 is neutral
    velocity = min(max(velocity, 0.0), 1.0) * (0.86 + 0.2 * ensemble.parameter[console.INTENSITY])
    which = int64(-1)
    tune = 0.0
    if sound >= DRUM_SOUND:
        which = min(sound - DRUM_SOUND, int64(7))
    elif track < console.DRUM_TRACKS:
        which = console.DRUM_OF_TRACK[track]
        tune = min(max(float(sound) - drums.pitch(which), -12.0), 24.0)
    if track >= console.DRUM_TRACKS:
        pair = ensemble.pitched[track - console.DRUM_TRACKS]
        if which < 0:
            pitched.onset(pair, float(sound), velocity, float(gain), samples, ensemble.chord)
            return
        pitched.end(pair)
    if which == console.HAT:  # closing one hat closes the open one
        for t in range(TRACKS):
            if ensemble.drum_sound[t] == console.OPEN_HAT and t != track:
                drums.choke(ensemble.drum[t])
    ensemble.drum_sound[track] = which
    # as loud on any track
    level = float(gain) * console.DRUM_BALANCE[which] / console.BALANCE[track]
    drums.strike(ensemble.drum[track], which, tune, velocity, level)


@kernel
def chord(ensemble: Any, mask: int) -> None:
    """Tell which pitch classes belong to the chord (bit 0: C; 0: unknown): pad, stab and amb build on them."""
    ensemble.chord = mask & 0xFFF


@kernel
def _sends(ensemble: Any, track: int, frames: int) -> None:
    """Let the sends of a track go where its tokens and the parameters want them."""
    bits, parameter = ensemble.bits[track], ensemble.parameter
    to_echo = console.TOKEN_SEND if bits & console.DELAY else console.TO_ECHO[track]
    to_room = console.TOKEN_SEND if bits & console.REVERB_BIT else console.TO_ROOM[track]
    glide.head(ensemble.glide, int64(console.ECHO_SEND + track), 1.6 * parameter[console.DELAY_SEND] * to_echo, frames)
    glide.head(ensemble.glide, int64(console.ROOM_SEND + track), 1.6 * parameter[console.REVERB_SEND] * to_room, frames)


@inlined
def _sounds(ensemble: Any, track: int) -> bool:
    drum = ensemble.drum[track].active != 0
    return drum or (
        track >= console.DRUM_TRACKS and pitched.sounding(ensemble.pitched[max(track - console.DRUM_TRACKS, 0)])
    )


@kernel
def effects(ensemble: Any, track: int, bits: int) -> None:
    """Set the effects of a track from the next sample on: bit 0 lpf, 1 hpf, 2 delay, 3 reverb, 4 dist."""
    if not 0 <= track < TRACKS or ensemble.bits[track] == bits:
        return
    ensemble.bits[track] = bits
    # a track at rest has nothing to click with: its next note begins as it should sound
    at_rest = ensemble.hold[track] <= 0 and not _sounds(ensemble, track)
    frames = int64(0) if at_rest else int64(console.TOGGLE_S * ensemble.rate_hz)
    _sends(ensemble, track, frames)
    for e in range(strip.EFFECTS):
        bit = console.LPF if e == strip.LPF else (console.HPF if e == strip.HPF else console.DIST)
        wanted = 1.0 if bits & bit else 0.0
        if wanted > 0.0:
            strip.start(ensemble.strip[track], int64(e))
        glide.head(ensemble.glide, int64(console.LPF_LANE + e * TRACKS + track), wanted, frames)


@kernel
def _level(ensemble: Any, track: int, gain: float, pan: float, frames: int) -> None:
    """Let a track's gain and place go to finite values within `frames` samples."""
    if finite_number(gain):
        ensemble.gain[track] = min(max(float(gain), 0.0), 8.0)
    if finite_number(pan):
        ensemble.pan[track] = min(max(float(pan), -1.0), 1.0)
    level = ensemble.trim[track] * ensemble.gain[track]
    angle = 0.25 * math.pi * (ensemble.pan[track] + 1.0)
    glide.head(ensemble.glide, int64(console.LEFT + track), level * math.sqrt(2.0) * math.cos(angle), frames)
    glide.head(ensemble.glide, int64(console.RIGHT + track), level * math.sqrt(2.0) * math.sin(angle), frames)


@kernel
def place(ensemble: Any, track: int, gain: float, pan: float) -> None:
    """Put a track at another gain and place between two control frames: at once at rest, else without a click."""
    if gain == ensemble.gain[track] and pan == ensemble.pan[track]:
        return
    at_rest = ensemble.hold[track] <= 0 and not _sounds(ensemble, track)
    _level(ensemble, track, gain, pan, int64(0) if at_rest else int64(console.PLACE_S * ensemble.rate_hz))


@kernel
def control(
    ensemble: Any,
    gain: NDArray[np.float32],
    pan: NDArray[np.float32],
    parameter: NDArray[np.float32],
    beat_samples: float,
    frames: int,
) -> None:
    """Head for a new mix within `frames` samples, at every control frame.

    `gain` float32 (12,) linear, mute and solo included; `pan` float32 (12,) -1..1; `parameter` float32 (15,) 0..1, of
    which 8..14 matter here (`console.NEUTRAL`); `beat_samples` samples of a beat. What is not finite keeps its value.
    """
    for k in range(BAND_LANES):
        if finite_number(parameter[k]):
            ensemble.parameter[k] = min(max(float(parameter[k]), 0.0), 1.0)
    now = ensemble.parameter
    ramp = int64(0) if ensemble.fresh != 0 else max(frames, int64(1))
    ensemble.fresh = 0
    # spec/music.md: bass weight -6 .. 0 .. +4 dB, pad level -12 .. +3 dB, intensity -15 .. +3 dB
    weight = now[console.BASS_WEIGHT] - 0.5
    bass = 10.0 ** ((12.0 if weight < 0.0 else 8.0) * weight / 20.0)
    pad = 10.0 ** ((15.0 * now[console.PAD_LEVEL] - 12.0) / 20.0)
    lanes = ensemble.glide
    for t in range(TRACKS):
        trim = console.BALANCE[t]
        if t in (console.KICK, console.BASS):
            trim *= bass
        if t in (console.PAD, console.VOX, console.AMB):
            trim *= pad
        ensemble.trim[t] = trim
        _level(ensemble, int64(t), gain[t], pan[t], ramp)
        _sends(ensemble, int64(t), ramp)
        ensemble.activity[t] = math.sqrt(ensemble.heard[t] / max(2 * ensemble.metered, 1))
        ensemble.heard[t] = 0.0
    ensemble.metered = 0
    glide.head(
        lanes, int64(console.CUT), math.log2(400.0 / svf.LOWEST_HZ) + now[console.BRIGHTNESS] * math.log2(40.0), ramp
    )
    glide.head(lanes, int64(console.SIDE), now[console.WIDTH], ramp)
    glide.head(
        lanes, int64(console.DRIVEN), console.MASTER * 10.0 ** ((18.0 * now[console.INTENSITY] - 15.0) / 20.0), ramp
    )
    echo.control(ensemble.echo, float(beat_samples))
    reverb.control(
        ensemble.room,
        0.55,
        console.ROOM_DECAY_S + console.ROOM_MORE_S * now[console.REVERB_SEND],
        12.0,
        max(frames, int64(1)),
    )


@kernel
def all_off(ensemble: Any) -> None:
    """Silence everything within 12 ms, without a click: notes, drums, echoes and the room."""
    ensemble.hush = int64(2.0 * console.HUSH_S * ensemble.rate_hz)
    glide.head(ensemble.glide, int64(console.STAGE), 0.0, int64(0.5 * console.HUSH_S * ensemble.rate_hz))


@kernel
def active(ensemble: Any) -> int:
    """Return how many tracks sound, or are about to."""
    count = 0
    for t in range(TRACKS):
        if _sounds(ensemble, t):
            count += 1
    return count


@kernel
def _clear(ensemble: Any) -> None:
    """Forget all sound, and open the stage again."""
    for t in range(TRACKS):
        drums.init(ensemble.drum[t], ensemble.rate_hz, int64(t))
        strip.clear(ensemble.strip[t])
        ensemble.hold[t] = 0
    for t in range(console.PITCHES):
        pitched.clear(ensemble.pitched[t])
    master.clear(ensemble)
    echo.clear(ensemble.echo)
    reverb.clear(ensemble.room)
    ensemble.echo_hold = 0
    ensemble.room_hold = 0
    glide.head(ensemble.glide, int64(console.STAGE), 1.0, int64(console.HUSH_S * ensemble.rate_hz))


@kernel
def drum_lines(ensemble: Any, frames: int) -> None:
    """Begin the next `frames` samples: see which tracks sound, and write their drums to their lines."""
    hold = int64(console.HOLD_S * ensemble.rate_hz)
    for t in range(TRACKS):
        if _sounds(ensemble, t):
            ensemble.hold[t] = hold
            ensemble.echo_hold = int64(16.0 * ensemble.echo.tap[1]) + hold
            longest_s = console.ROOM_DECAY_S + console.ROOM_MORE_S
            ensemble.room_hold = int64(1.5 * longest_s * ensemble.rate_hz) + ensemble.echo_hold
        if ensemble.hold[t] > 0:
            line = ensemble.line[t]
            for i in range(frames):
                line[0, i] = _ZERO
            drums.render(line[0, :frames], ensemble.drum[t])
            for i in range(frames):  # a drum is mono: the right side is a copy
                line[1, i] = line[0, i]


@kernel
def pitched_lines(ensemble: Any, frames: int) -> None:
    """Add the pitched notes of the next `frames` samples to the lines of their tracks."""
    for t in range(console.DRUM_TRACKS, TRACKS):
        if ensemble.hold[t] > 0:
            line, pair = ensemble.line[t], ensemble.pitched[t - console.DRUM_TRACKS]
            pitched.render(line[0], line[1], pair, ensemble.work, ensemble.rate_hz, frames)


@kernel
def _track(ensemble: Any, track: int, levels: NDArray[np.float32], frames: int) -> None:
    """Add the line of one track to its bus."""
    line = ensemble.line[track]
    lane = console.LPF_LANE + track
    strip.render(line, ensemble.strip[track], levels, lane, int64(TRACKS), ensemble.rate_hz, frames)
    bus = ensemble.direct if track < console.DRUM_TRACKS else ensemble.bus
    power = _ZERO
    for c in range(2):
        gain = (console.LEFT if c == 0 else console.RIGHT) + track
        for i in range(frames):
            x = line[c, i] * levels[i, gain]
            power += x * x
            bus[c, i] += x
            bus[2 + c, i] += x * levels[i, console.ECHO_SEND + track]
            bus[4 + c, i] += x * levels[i, console.ROOM_SEND + track]
    ensemble.heard[track] += power


@kernel
def render(out: NDArray[np.float32], ensemble: Any) -> None:
    """Write the mix of the next samples to `out`, float32 (n, 2), n <= 64; it stays below 0.58 (-4.7 dBFS).

    The callback takes its three steps one by one: they are compiled side by side.
    """
    frames = int64(out.shape[0])
    drum_lines(ensemble, frames)
    pitched_lines(ensemble, frames)
    mix(out, ensemble)


@kernel
def mix(out: NDArray[np.float32], ensemble: Any) -> None:
    """Write what the lines of all tracks add up to to `out`, float32 (n, 2)."""
    frames = out.shape[0]
    direct, bus, wet = ensemble.direct, ensemble.bus, ensemble.wet
    ensemble.metered += frames
    busy = ensemble.hush != 0
    for t in range(TRACKS):
        busy = busy or ensemble.hold[t] > 0
    if not busy and ensemble.room_hold <= 0:
        glide.settle(ensemble.glide)
        for i in range(frames):
            out[i, 0] = _ZERO
            out[i, 1] = _ZERO
        return

    glide.render(ensemble.glide, frames)
    levels = ensemble.glide.now
    for b in range(6):
        for i in range(frames):
            direct[b, i] = _ZERO
            bus[b, i] = _ZERO
    for t in range(TRACKS):
        if ensemble.hold[t] > 0:
            _track(ensemble, int64(t), levels, frames)
            ensemble.hold[t] -= frames
    master.brighten(ensemble, levels, frames)
    if ensemble.echo_hold > 0:
        ensemble.echo_hold -= frames
        echo.render(wet, direct[2:4], ensemble.echo, frames)
        for c in range(2):
            for i in range(frames):
                direct[c, i] += wet[c, i]
                direct[4 + c, i] += np.float32(0.25) * wet[c, i]
    if ensemble.room_hold > 0:
        ensemble.room_hold -= frames
        reverb.render(wet, direct[4:6], ensemble.room, frames)
        for c in range(2):
            for i in range(frames):
                direct[c, i] += wet[c, i]

    power = master.finish(out, ensemble, levels)

    for t in range(TRACKS):
        for e in range(strip.EFFECTS):
            lane = console.LPF_LANE + e * TRACKS + t
            if ensemble.glide.aim[lane] == _ZERO and ensemble.glide.second[lane] < np.float32(1e-7):
                ensemble.strip[t].on[e] = 0
    if not power < np.float32(1e6):
        ensemble.resets += 1
        glide.head(ensemble.glide, int64(console.STAGE), 0.0, int64(0))
        _clear(ensemble)
        for i in range(frames):
            out[i, 0] = _ZERO
            out[i, 1] = _ZERO
    if ensemble.hush > 0:
        ensemble.hush = max(ensemble.hush - frames, 0)
        if ensemble.hush == 0:
            _clear(ensemble)
