"""One voice: what it holds, how it starts, and the sample loop in which exciter and body act on each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import kernel
from echelon_engine.kernels import envelope, modal, operators, string
from echelon_engine.kernels.envelope import ENVELOPE
from echelon_engine.kernels.modal import MODAL, MODES
from echelon_engine.kernels.operators import OPERATORS, SEGMENT
from echelon_engine.kernels.sine import sine
from echelon_engine.kernels.string import STRING
from echelon_engine.kernels.svf import SVF
from echelon_engine.parameters import LANE

FREE, SOUNDING, FADING = 0, 1, 2

# What a note asks for, kept while the voice it takes over fades.
NOTE = np.dtype(
    [
        ("key", np.int64),
        ("pitch", np.float64),
        ("velocity", np.float64),
        ("pan", np.float64),
        ("waiting", np.int64),
        ("released", np.int64),  # its note-off came before it could begin
    ],
    align=True,
)

VOICE = np.dtype(
    [
        ("note", NOTE),  # waiting for this voice
        ("state", np.int64),
        ("key", np.int64),
        ("gate", np.int64),
        ("fade_left", np.int64),
        ("fundamental_hz", np.float64),
        ("loudness", np.float64),  # of the body, and once more behind the filter; 1 is mezzo forte
        ("left", np.float64),  # pan gains
        ("right", np.float64),
        ("level", np.float64),  # the same three, smoothed
        ("left_now", np.float64),
        ("right_now", np.float64),
        ("octave", np.float64),  # how far the filter follows the key
        ("bow", np.float64),
        ("bow_end", np.float64),
        ("bow_step", np.float64),
        ("bow_left", np.int64),
        ("bow_phase", np.float64),
        ("bow_low", np.float64),
        ("noise", np.int64),  # state of the noise generator
        ("strike_left", np.int64),
        ("strike_frames", np.int64),
        ("strike_gain", np.float64),
        ("strike_noise", np.float64),
        ("power", np.float64),  # of the body, smoothed: what limits bow and operators
        ("dc_in", np.float64),
        ("dc_out", np.float64),
        ("string_gain", np.float64),  # morph: string and modal shares
        ("string_step", np.float64),
        ("modal_gain", np.float64),
        ("modal_step", np.float64),
        ("string_end", np.float64),
        ("modal_end", np.float64),
        ("morph_left", np.int64),
        ("heard", np.float64),  # smoothed power at the output, for stealing
        ("amp", ENVELOPE),
        ("exciter", ENVELOPE),
        ("shape", np.float32, (MODES,)),  # modal input weights of this strike position
        ("operators", OPERATORS),
        ("filter", SVF),
        ("modal", MODAL),
        ("string", STRING),
    ],
    align=True,
)

_LINE = (np.float32, (SEGMENT,))
LINES = np.dtype(
    [
        ("pm", *_LINE),
        ("exciter", *_LINE),
        ("amp", *_LINE),
        ("strike", *_LINE),
        ("bow", *_LINE),
        ("body", *_LINE),
        ("octave", *_LINE),
        ("bowed", *_LINE),
        ("swell", *_LINE),
        ("post", *_LINE),
    ],
    align=True,
)

LOWEST_HZ = 24.0
REFERENCE_HZ = 261.6256  # middle C
FOLLOW = 0.75  # octaves the filter moves per octave of pitch
RISE_SECONDS = 0.03  # how fast bow and operators set a body in motion

_AMP = LANE["amp_attack"]
_EXCITER = LANE["exciter_attack"]
_STRUCTURE = LANE["body_structure"]
_BRIGHTNESS = LANE["body_brightness"]
_DAMPING = LANE["body_damping"]
_POSITION = LANE["body_position"]


@kernel
def tune(voice: Any, values: Any, rate_hz: float, frames: int) -> None:
    """Head for the body of the lanes `values` (float32 (32,), physical units) within `frames` samples, 0: at once.

    The first partial decays by 60 dB in 12 s (damping 0) to 0.09 s (damping 1) at middle C, as pitch^-1/2.
    Structure below 0.2 is all string, above 0.8 all modal bank.
    """
    hz = voice.fundamental_hz
    structure = float(values[_STRUCTURE])
    brightness = float(values[_BRIGHTNESS])
    t60_s = 12.0 * math.exp(-4.9 * float(values[_DAMPING])) * math.sqrt(REFERENCE_HZ / hz)
    modal.tune(voice.modal, voice.shape, hz, structure, t60_s, brightness, rate_hz, frames)
    string.tune(voice.string, hz, t60_s, brightness, rate_hz, frames)
    # very short strings cannot be tuned: the bank takes over
    share = min(max((structure - 0.2) / 0.6, 0.0), 1.0)
    share = max(share, min(max(hz * 8.0 / rate_hz, 0.0), 1.0) if hz * 12.0 > rate_hz else 0.0)
    # the string takes a unit blow as a wave of height 2 / period for each partial
    voice.string_end = math.cos(0.5 * math.pi * share)
    voice.modal_end = math.sin(0.5 * math.pi * share)
    if frames > 0:
        voice.string_step = (voice.string_end - voice.string_gain) / frames
        voice.modal_step = (voice.modal_end - voice.modal_gain) / frames
    else:
        voice.string_gain = voice.string_end
        voice.modal_gain = voice.modal_end
    voice.morph_left = frames


@kernel
def begin(voice: Any, values: Any, rate_hz: float, born: int) -> None:
    """Start the waiting note: from silence, or as a new blow to the body that still sounds with the same key.

    The blow is a raised cosine of 0.2 to 4 ms (shorter when harder, and when the note is higher) with some noise, its
    area set so that the body's energy does not depend on pitch, position or hardness.
    """
    note = voice.note
    again = voice.state == SOUNDING
    hz = 440.0 * 2.0 ** ((min(max(note.pitch, -12.0), 135.0) - 69.0) / 12.0)
    while hz < LOWEST_HZ:
        hz *= 2.0
    velocity = min(max(note.velocity, 0.0), 1.0)
    voice.key = note.key
    voice.gate = 1
    voice.loudness = (2.0 * velocity) ** 0.65
    angle = 0.25 * math.pi * (min(max(note.pan, -1.0), 1.0) + 1.0)
    voice.left = math.cos(angle)
    voice.right = math.sin(angle)

    # contact time; hardness makes it short
    contact_s = (0.0012 - 0.0009 * velocity) * math.sqrt(REFERENCE_HZ / hz) + 0.0001
    contact_s = min(max(contact_s, 0.0002), 0.004)
    place = 0.03 + 0.47 * min(max(float(values[_POSITION]), 0.0), 1.0)
    energy = 0.0
    for k in range(MODES):
        swing = 2.0 * math.sin(math.pi * place * (k + 1.0))
        voice.shape[k] = swing
        # what a raised cosine of that length leaves of a partial, near enough
        x = (k + 1.0) * hz * contact_s
        energy += 0.5 * swing * swing * math.exp(-2.0 * x * x) * (1.0 if (k + 1.0) * hz < 0.45 * rate_hz else 0.0)
    voice.string.comb = int(place * rate_hz / hz)
    frames = max(int(contact_s * rate_hz), 4)
    if voice.strike_left == 0:
        voice.strike_frames = frames
        voice.strike_left = frames
        voice.strike_gain = 2.0 / frames * voice.loudness / math.sqrt(2.0 * energy + 1e-9)
        voice.strike_noise = 0.3 + 0.5 * velocity

    if not again:
        voice.fundamental_hz = hz
        voice.octave = FOLLOW * math.log2(hz / REFERENCE_HZ)
        voice.level = voice.loudness
        voice.left_now = voice.left
        voice.right_now = voice.right
        voice.noise = 12345 + 7919 * (born + 1)
        voice.bow = 0.0
        voice.bow_end = 0.0
        voice.bow_left = 0
        voice.bow_phase = 0.0
        voice.bow_low = 0.0
        voice.power = 0.0
        voice.heard = 0.0
        voice.dc_in = 0.0
        voice.dc_out = 0.0
        voice.amp.level = 0.0
        voice.exciter.level = 0.0
        voice.filter.band = 0.0
        voice.filter.low = 0.0
        voice.filter.last = 0.0
        voice.filter.root = 1.0
        operators.clear(voice.operators)
        modal.clear(voice.modal)
        string.clear(voice.string)
        at_once = np.int64(0)  # typed: a literal would compile it all a second time
        tune(voice, values, rate_hz, at_once)  # type: ignore[arg-type]
    v = values
    envelope.start(voice.amp, v[_AMP], v[_AMP + 1], v[_AMP + 2], v[_AMP + 3], rate_hz)
    envelope.start(voice.exciter, v[_EXCITER], v[_EXCITER + 1], v[_EXCITER + 2], v[_EXCITER + 3], rate_hz)
    voice.state = SOUNDING
    note.waiting = 0
    if note.released:
        let_go(voice, rate_hz)


@kernel
def let_go(voice: Any, rate_hz: float) -> None:
    """End the hold of a voice: envelopes release, the bow leaves within 20 ms."""
    voice.gate = 0
    envelope.release(voice.amp)
    envelope.release(voice.exciter)
    head_for_bow(voice, 0.0, int(0.02 * rate_hz))


@kernel
def head_for_bow(voice: Any, force: float, frames: int) -> None:
    """Ramp the bow to `force` 0..1 within `frames` samples."""
    voice.bow_end = min(max(force, 0.0), 1.0)
    voice.bow_left = max(frames, 1)
    voice.bow_step = (voice.bow_end - voice.bow) / voice.bow_left


@kernel
def vibrate(lines: Any, voice: Any, rate_hz: float, frames: int) -> None:
    """Write `frames` samples of the driven body to `lines.body`, and how far the filter moves to `lines.octave`.

    Blow, bow and `lines.pm` drive it. The bow pushes with a saw-like wave at the pitch plus noise, the operators with
    what they play, scaled by the square of their envelope. Both push less the closer the body comes to the level they
    aim at (power p, target P: times max(0, 1 - p / P)), as a real bow does, so a body that resonates with them is no
    louder than one that does not.
    """
    turn = voice.fundamental_hz / rate_hz
    # a wave of amplitude 1 at resonance raises a mode by rate / 2 per second
    push = 2.0 / (RISE_SECONDS * rate_hz)
    follow = 1.0 - math.exp(-1.0 / (0.01 * rate_hz))
    smooth = 1.0 - math.exp(-1.0 / (0.004 * rate_hz))
    muffle = 1.0 - math.exp(-2.0 * math.pi * min(6.0 * voice.fundamental_hz + 800.0, 0.4 * rate_hz) / rate_hz)
    bend = np.float32(min(1.6, 0.08 * rate_hz / voice.fundamental_hz) / (2.0 * math.pi))
    half_period = 0.5 * rate_hz / voice.fundamental_hz
    block = math.exp(-2.0 * math.pi * 8.0 / rate_hz)
    for i in range(frames):
        # noise: a linear congruential generator, its upper bits as -1..1
        voice.noise = (voice.noise * 1664525 + 1013904223) & 0xFFFFFFFF
        noise = voice.noise * (2.0 / 4294967296.0) - 1.0

        x = 0.0
        if voice.strike_left > 0:
            voice.strike_left -= 1
            phase = voice.strike_left / voice.strike_frames
            window = phase * (1.0 - phase)
            window = 15.0 * window * window
            x = voice.strike_gain * window * (1.0 + voice.strike_noise * noise)

        if voice.bow_left > 0:
            voice.bow_left -= 1
            voice.bow = voice.bow_end if voice.bow_left == 0 else voice.bow + voice.bow_step
        voice.level += smooth * (voice.loudness - voice.level)
        bow = voice.bow
        if bow > 0.0:
            voice.bow_phase += turn
            voice.bow_phase -= math.floor(voice.bow_phase)
            turned = np.float32(voice.bow_phase)
            wave = sine(turned + bend * sine(turned))
            voice.bow_low += muffle * (noise - voice.bow_low)
            aim = 1.2 * bow
            room = max(1.0 - voice.power / (0.3 * aim * aim), 0.0)
            x += push * aim * room * (0.9 * wave + 0.5 * voice.bow_low)

        # the operators, free of a constant
        aim = voice.level * float(lines.exciter[i]) * float(lines.exciter[i])
        pm = float(lines.pm[i]) * aim
        voice.dc_out = block * (voice.dc_out + pm - voice.dc_in)
        voice.dc_in = pm
        room = max(1.0 - voice.power / (0.3 * aim * aim + 1e-12), 0.0)
        x += push * room * voice.dc_out

        # the morph weighs what enters a body and what is heard of it: the shares at the common pitch add up to one
        ring = float(modal.step(voice.modal, np.float32(x * voice.modal_gain)))
        swing = string.step(voice.string, x * half_period * voice.string_gain)
        if voice.morph_left > 0:
            voice.morph_left -= 1
            voice.string_gain += voice.string_step
            voice.modal_gain += voice.modal_step
            if voice.morph_left == 0:
                voice.string_gain = voice.string_end
                voice.modal_gain = voice.modal_end
        y = voice.string_gain * swing + voice.modal_gain * ring
        voice.power += follow * (y * y - voice.power)
        lines.body[i] = y + 0.35 * voice.dc_out
        lines.bowed[i] = bow
        lines.post[i] = max(voice.level, 1.2 * bow)
        lines.octave[i] = voice.octave + 1.6 * (voice.level - 1.0)  # a harder blow opens the filter
