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
from echelon_engine.kernels import drums, echo, glide, master, pitched, reverb, strip, svf
from echelon_engine.kernels.console import (
    AMB,
    BALANCE,
    BASS,
    BASS_WEIGHT,
    BRIGHTNESS,
    CUT,
    DELAY,
    DELAY_SEND,
    DIST,
    DRIVEN,
    DRUM_BALANCE,
    DRUM_OF_TRACK,
    DRUM_SOUND,
    DRUM_TRACKS,
    ECHO_SEND,
    HAT,
    HOLD_S,
    HPF,
    HUSH_S,
    INTENSITY,
    KICK,
    LEFT,
    LPF,
    LPF_LANE,
    MASTER,
    NEUTRAL,
    OPEN_HAT,
    PAD,
    PAD_LEVEL,
    PARAMETERS,
    PITCHES,
    REVERB_BIT,
    REVERB_SEND,
    RIGHT,
    ROOM_DECAY_S,
    ROOM_MORE_S,
    ROOM_SEND,
    SIDE,
    STAGE,
    TO_ECHO,
    TO_ROOM,
    TOGGLE_S,
    TOKEN_SEND,
    TRACKS,
    VOX,
    WIDTH,
)  # fmt: skip
from echelon_engine.kernels.drums import DRUM
from echelon_engine.kernels.echo import ECHO
from echelon_engine.kernels.finite import finite_number
from echelon_engine.kernels.glide import GLIDE
from echelon_engine.kernels.pitched import PITCHED
from echelon_engine.kernels.reverb import REVERB
from echelon_engine.kernels.strip import STRIP

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
        ("parameter", np.float64, (PARAMETERS,)),
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
        ("line", np.float32, (2, SEGMENT)),  # one track
        ("bus", *_BUS),  # pitched tracks
        ("direct", *_BUS),  # drum tracks, then everything
        ("wet", np.float32, (2, SEGMENT)),
        ("work", pitched.WORK),
        ("drum", DRUM, (TRACKS,)),
        ("pitched", PITCHED, (PITCHES,)),
        ("echo", ECHO),
        ("room", REVERB),
    ],
    align=True,
)

_ONE, _TWO, _ZERO = np.float32(1.0), np.float32(2.0), np.float32(0.0)


@kernel
def init(ensemble: Any, rate_hz: float) -> None:
    """Prepare a zeroed ENSEMBLE record for a sample rate of 44100 to 96000 Hz: silent, all gains 1."""
    ensemble.rate_hz = rate_hz
    ensemble.fresh = 1
    for k in range(PARAMETERS):
        ensemble.parameter[k] = NEUTRAL[k]
    glide.init(ensemble.glide, rate_hz)
    for t in range(TRACKS):
        ensemble.gain[t] = 1.0
        drums.init(ensemble.drum[t], rate_hz, int64(t))
        if t >= DRUM_TRACKS:
            pitched.init(ensemble.pitched[t - DRUM_TRACKS], int64(t - DRUM_TRACKS))
    svf.fill_table(ensemble.work.table, rate_hz)
    echo.init(ensemble.echo, rate_hz)
    reverb.init(ensemble.room, rate_hz)
    glide.head(ensemble.glide, int64(STAGE), 1.0, int64(0))


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
    velocity = min(max(velocity, 0.0), 1.0) * (0.86 + 0.2 * ensemble.parameter[INTENSITY])
    which = int64(-1)
    tune = 0.0
    if sound >= DRUM_SOUND:
        which = min(sound - DRUM_SOUND, int64(7))
    elif track < DRUM_TRACKS:
        which = DRUM_OF_TRACK[track]
        tune = min(max(float(sound) - drums.pitch(which), -12.0), 24.0)
    if track >= DRUM_TRACKS:
        pair = ensemble.pitched[track - DRUM_TRACKS]
        if which < 0:
            pitched.onset(pair, float(sound), velocity, float(gain), samples, ensemble.chord)
            return
        pitched.end(pair)
    if which == HAT:  # closing one hat closes the open one
        for t in range(TRACKS):
            if ensemble.drum_sound[t] == OPEN_HAT and t != track:
                drums.choke(ensemble.drum[t])
    ensemble.drum_sound[track] = which
    # as loud on any track
    level = float(gain) * DRUM_BALANCE[which] / BALANCE[track]
    drums.strike(ensemble.drum[track], which, tune, velocity, level)


@kernel
def note_end(ensemble: Any, track: int) -> None:
    """Release the pitched note of a track, if it holds one."""
    if DRUM_TRACKS <= track < TRACKS:
        pitched.end(ensemble.pitched[track - DRUM_TRACKS])


@kernel
def chord(ensemble: Any, mask: int) -> None:
    """Tell which pitch classes belong to the chord (bit 0: C; 0: unknown): pad, stab and amb build on them."""
    ensemble.chord = mask & 0xFFF


@kernel
def _sends(ensemble: Any, track: int, frames: int) -> None:
    """Let the sends of a track go where its tokens and the parameters want them."""
    bits, parameter = ensemble.bits[track], ensemble.parameter
    to_echo = TOKEN_SEND if bits & DELAY else TO_ECHO[track]
    to_room = TOKEN_SEND if bits & REVERB_BIT else TO_ROOM[track]
    glide.head(ensemble.glide, int64(ECHO_SEND + track), 1.6 * parameter[DELAY_SEND] * to_echo, frames)
    glide.head(ensemble.glide, int64(ROOM_SEND + track), 1.6 * parameter[REVERB_SEND] * to_room, frames)


@inlined
def _sounds(ensemble: Any, track: int) -> bool:
    drum = ensemble.drum[track].active != 0
    return drum or (track >= DRUM_TRACKS and pitched.sounding(ensemble.pitched[max(track - DRUM_TRACKS, 0)]))


@kernel
def effects(ensemble: Any, track: int, bits: int) -> None:
    """Set the effects of a track from the next sample on: bit 0 lpf, 1 hpf, 2 delay, 3 reverb, 4 dist."""
    if not 0 <= track < TRACKS or ensemble.bits[track] == bits:
        return
    ensemble.bits[track] = bits
    # a track at rest has nothing to click with: its next note begins as it should sound
    at_rest = ensemble.hold[track] <= 0 and not _sounds(ensemble, track)
    frames = int64(0) if at_rest else int64(TOGGLE_S * ensemble.rate_hz)
    _sends(ensemble, track, frames)
    for e in range(strip.EFFECTS):
        bit = LPF if e == strip.LPF else (HPF if e == strip.HPF else DIST)
        wanted = 1.0 if bits & bit else 0.0
        if wanted > 0.0:
            strip.start(ensemble.strip[track], int64(e))
        glide.head(ensemble.glide, int64(LPF_LANE + e * TRACKS + track), wanted, frames)


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
    which 8..14 matter here (neutral: NEUTRAL); `beat_samples` samples of a beat. What is not finite keeps its value.
    """
    for k in range(PARAMETERS):
        if finite_number(parameter[k]):
            ensemble.parameter[k] = min(max(float(parameter[k]), 0.0), 1.0)
    now = ensemble.parameter
    ramp = int64(0) if ensemble.fresh != 0 else max(frames, int64(1))
    ensemble.fresh = 0
    # spec/music.md: bass weight -6 .. 0 .. +4 dB, pad level -12 .. +3 dB, intensity -15 .. +3 dB
    weight = now[BASS_WEIGHT] - 0.5
    bass = 10.0 ** ((12.0 if weight < 0.0 else 8.0) * weight / 20.0)
    pad = 10.0 ** ((15.0 * now[PAD_LEVEL] - 12.0) / 20.0)
    lanes = ensemble.glide
    for t in range(TRACKS):
        if finite_number(gain[t]):
            ensemble.gain[t] = min(max(float(gain[t]), 0.0), 8.0)
        if finite_number(pan[t]):
            ensemble.pan[t] = min(max(float(pan[t]), -1.0), 1.0)
        level = BALANCE[t] * ensemble.gain[t]
        if t in (KICK, BASS):
            level *= bass
        if t in (PAD, VOX, AMB):
            level *= pad
        angle = 0.25 * math.pi * (ensemble.pan[t] + 1.0)
        glide.head(lanes, int64(LEFT + t), level * math.sqrt(2.0) * math.cos(angle), ramp)
        glide.head(lanes, int64(RIGHT + t), level * math.sqrt(2.0) * math.sin(angle), ramp)
        _sends(ensemble, int64(t), ramp)
        ensemble.activity[t] = math.sqrt(ensemble.heard[t] / max(2 * ensemble.metered, 1))
        ensemble.heard[t] = 0.0
    ensemble.metered = 0
    glide.head(lanes, int64(CUT), math.log2(400.0 / svf.LOWEST_HZ) + now[BRIGHTNESS] * math.log2(40.0), ramp)
    glide.head(lanes, int64(SIDE), now[WIDTH], ramp)
    glide.head(lanes, int64(DRIVEN), MASTER * 10.0 ** ((18.0 * now[INTENSITY] - 15.0) / 20.0), ramp)
    echo.control(ensemble.echo, float(beat_samples))
    reverb.control(ensemble.room, 0.55, ROOM_DECAY_S + ROOM_MORE_S * now[REVERB_SEND], 12.0, max(frames, int64(1)))


@kernel
def all_off(ensemble: Any) -> None:
    """Silence everything within 12 ms, without a click: notes, drums, echoes and the room."""
    ensemble.hush = int64(2.0 * HUSH_S * ensemble.rate_hz)
    glide.head(ensemble.glide, int64(STAGE), 0.0, int64(0.5 * HUSH_S * ensemble.rate_hz))


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
        ensemble.hold[t] = 0
        if t >= DRUM_TRACKS:
            pair = ensemble.pitched[t - DRUM_TRACKS]
            pitched.init(pair, int64(t - DRUM_TRACKS))
            for c in range(2):
                for i in range(pitched.TAIL):
                    pair.tail[c, i] = _ZERO
        for c in range(2):
            for e in range(2):
                ensemble.strip[t].band[e, c] = _ZERO
                ensemble.strip[t].low[e, c] = _ZERO
            ensemble.strip[t].last[c] = _ZERO
            ensemble.strip[t].root[c] = _ONE
    for k in range(6):
        ensemble.band[k] = _ZERO
        ensemble.low[k] = _ZERO
    for c in range(2):
        ensemble.blocked[c] = _ZERO
        ensemble.blocked_in[c] = _ZERO
    echo.clear(ensemble.echo)
    reverb.clear(ensemble.room)
    ensemble.echo_hold = 0
    ensemble.room_hold = 0
    glide.head(ensemble.glide, int64(STAGE), 1.0, int64(HUSH_S * ensemble.rate_hz))


@kernel
def _track(ensemble: Any, track: int, levels: NDArray[np.float32], frames: int) -> None:
    """Add one track to its bus."""
    line = ensemble.line
    for c in range(2):
        for i in range(frames):
            line[c, i] = _ZERO
    # a drum is mono: the right side is a copy
    drums.render(line[0, :frames], ensemble.drum[track])
    for i in range(frames):
        line[1, i] = line[0, i]
    if track >= DRUM_TRACKS:
        pair = ensemble.pitched[track - DRUM_TRACKS]
        pitched.render(line[0], line[1], pair, ensemble.work, ensemble.rate_hz, frames)
    strip.render(line, ensemble.strip[track], levels, LPF_LANE + track, int64(TRACKS), ensemble.rate_hz, frames)
    bus = ensemble.direct if track < DRUM_TRACKS else ensemble.bus
    power = _ZERO
    for c in range(2):
        gain = (LEFT if c == 0 else RIGHT) + track
        for i in range(frames):
            x = line[c, i] * levels[i, gain]
            power += x * x
            bus[c, i] += x
            bus[2 + c, i] += x * levels[i, ECHO_SEND + track]
            bus[4 + c, i] += x * levels[i, ROOM_SEND + track]
    ensemble.heard[track] += power


@kernel
def render(out: NDArray[np.float32], ensemble: Any) -> None:
    """Write the mix of the next samples to `out`, float32 (n, 2), n <= 64; it stays below 0.58 (-4.7 dBFS)."""
    frames = out.shape[0]
    direct, bus, wet = ensemble.direct, ensemble.bus, ensemble.wet
    hold = int64(HOLD_S * ensemble.rate_hz)
    busy = ensemble.hush != 0
    for t in range(TRACKS):
        if _sounds(ensemble, t):
            ensemble.hold[t] = hold
            ensemble.echo_hold = int64(16.0 * ensemble.echo.tap[1]) + hold
            ensemble.room_hold = int64(1.5 * (ROOM_DECAY_S + ROOM_MORE_S) * ensemble.rate_hz) + ensemble.echo_hold
        busy = busy or ensemble.hold[t] > 0
    ensemble.metered += frames
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
            lane = LPF_LANE + e * TRACKS + t
            if ensemble.glide.aim[lane] == _ZERO and ensemble.glide.second[lane] < np.float32(1e-7):
                ensemble.strip[t].on[e] = 0
    if not power < np.float32(1e6):
        ensemble.resets += 1
        glide.head(ensemble.glide, int64(STAGE), 0.0, int64(0))
        _clear(ensemble)
        for i in range(frames):
            out[i, 0] = _ZERO
            out[i, 1] = _ZERO
    if ensemble.hush > 0:
        ensemble.hush = max(ensemble.hush - frames, 0)
        if ensemble.hush == 0:
            _clear(ensemble)
