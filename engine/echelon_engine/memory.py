"""The one block of memory that the processes share, and every record that travels through it.

The supervisor owns the block; audio, bridges and whoever looks on map the same file. Who writes what:

    frames[performer]   bridges -> audio    SPSC ring of stamped limb frames
    devices             bridges -> audio    triple buffer, latest device latents
    grids               bridges -> audio    triple buffer, the grid that the band plays next
    settings            supervisor -> audio triple buffer, latest live settings
    commands[producer]  one producer -> audio, SPSC rings of notes: 0 bridges, 1 the offline renderer
    records             audio -> bridges    SPSC ring of control records, 60 a second
    events              audio -> bridges    SPSC ring of the notes that were begun and ended
    inputs              audio -> bridges    SPSC ring of everything the callback took, for sessions that can be replayed
    script              bridges -> audio    SPSC ring of the same, for the callback to take once more
    sound               audio -> bridges    SPSC ring of stereo samples, for recording
    snapshot            audio -> anybody    seqlock, the newest control record
    counters            audio -> anybody    plain counters, one writer

Times are nanoseconds of CLOCK_MONOTONIC when live, of sample time when offline.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine.vocabulary import STEPS, TRACKS

LIMBS = 27
PERFORMERS = 4
PRODUCERS = 2
CONTROL_RATE_HZ = 60

MAGIC = 0x4E4F4C4548434501  # "\x01ECHELON", little-endian
SCHEMA = 4

# A body at one instant. `rotation` local to the parent, x y z w, the root's with its heading removed;
# `position` relative to the root, heading removed, metres; `heading` radians about +Y; `origin` the root in the world.
LIMB_FRAME = np.dtype(
    [
        ("time_ns", np.int64),  # when the body was so, on the engine's clock
        ("arrival_ns", np.int64),  # when its datagram arrived (live); equal to time_ns for files
        ("number", np.int64),  # rises by one a frame; the sender's number where it has one
        ("valid", np.uint32),  # bit i: limb i is measured
        ("flags", np.uint32),  # SYNTHETIC, BREAK
        ("heading", np.float32),
        ("origin", np.float32, (3,)),
        ("rotation", np.float32, (LIMBS, 4)),
        ("position", np.float32, (LIMBS, 3)),
    ],
    align=True,
)
SYNTHETIC = 1  # made up (relaxing after a gap, a test pose): never counts as motion
BREAK = 2  # first frame after a gap or restart: no velocity across it

# Latents of the devices in the left hand, the right hand and on the torso (upright, its screen to the front): user
# acceleration m/s^2, angular rate rad/s, gravity direction, velocity m/s.
DEVICE_SLOTS = 3
DEVICES = np.dtype(
    [
        ("time_ns", np.int64, (DEVICE_SLOTS,)),
        ("present", np.uint8, (DEVICE_SLOTS,)),
        ("latent", np.float32, (DEVICE_SLOTS, 12)),
    ],
    align=True,
)

# Twelve tracks by 32 sixteenths, two bars of 4/4: what the band plays, and in which harmony.
GRID = np.dtype(
    [
        ("number", np.int64),  # rises by one a grid, from 1
        ("bar", np.int64),  # of the musical clock, for which it was made
        ("section", np.int32),  # index into SECTIONS
        ("style", np.int32),  # index into the styles known at the start
        ("root", np.int32),  # pitch class of the scale's first degree, 0 = C
        ("scale", np.uint32),  # bit i: i semitones above the root are in the scale; 0: it says nothing
        ("chord", np.uint32, (4,)),  # of each half bar: bit i: pitch class i, 0 = C; 0: none
        ("swing", np.float32),  # where the second of two sixteenths falls, 0.5 straight .. 0.75
        ("tempo_bpm", np.float32),  # the style's own tempo ..
        ("tempo_low", np.float32),  # .. and the range in which it may follow a performer
        ("tempo_high", np.float32),
        ("level_db", np.float32, (TRACKS,)),  # the style's levels ..
        ("pan", np.float32, (TRACKS,)),  # .. and places, -1 left .. 1 right
        ("cell", np.uint8, (TRACKS, STEPS)),  # tokens 0..80
    ],
    align=True,
)
BAND_PARAMETERS = 15  # of band.py

# What people set while it plays. The one place that says their defaults is config.py.
SETTINGS = np.dtype(
    [
        ("master_db", np.float32),
        ("mute", np.uint8),
        ("freeze", np.uint8),  # hold the body as it is
        ("low_latency", np.uint8),  # newest frame, extrapolated, instead of the de-jitter delay
        ("test_tone", np.uint8),
        ("record", np.uint8),  # copy what is heard to the sound ring
        ("log", np.uint8),  # copy what the callback takes to the ring of inputs
        ("snap_ratios", np.uint8),  # operator ratios snap to small integer ratios
        ("notes_from_motion", np.uint8),  # strikes and held motion play notes
        ("focus", np.int32),  # which performer is heard
        ("panic", np.uint32),  # a change means: all sound off at once
        ("fade", np.uint32),  # 1: fade out and stay silent (shutting down)
        ("motion_delay_ms", np.float32),
        ("velocity_scale", np.float32, (PERFORMERS,)),  # m/s that count as a strong gesture of each performer
        ("energy_scale", np.float32, (PERFORMERS,)),  # the band hears the energy of each performer so many times
        ("idle_seconds", np.float32),
        ("tempo_bpm", np.float32),
        ("tempo_source", np.int32),  # kernels/tempo.py: fixed, style, performer, midi
        ("boundary_at_beats", np.uint8),  # DELL coupled's slow solver runs at beats instead of every 24 frames
        ("root_note", np.int32),  # MIDI note of the scale's first degree
        ("scale", np.uint32),  # bit i: semitone i is in the scale
        ("harmony", np.uint8),  # the performer's notes keep to the band's key and chords
        ("band", np.uint8),  # the band plays
        ("band_db", np.float32),
        ("mode", np.int32),  # of the conductor: index into MODES
        ("style", np.int32),  # index into the styles known at the start
        ("swing", np.float32),  # 0: the style's own
        ("track_db", np.float32, (TRACKS,)),
        ("track_pan", np.float32, (TRACKS,)),  # added to the style's place, -1 left .. 1 right
        ("track_mute", np.uint8, (TRACKS,)),
        ("track_solo", np.uint8, (TRACKS,)),
        ("route", np.int32, (2,)),  # output channel of left and right
        ("override_on", np.uint8, (32,)),
        ("override", np.float32, (32,)),  # positions 0..1
    ],
    align=True,
)

# One thing to do at once. `time_ns` 0 means now.
COMMAND = np.dtype(
    [("time_ns", np.int64), ("kind", np.int32), ("key", np.int32), ("value", np.float32, (4,))], align=True
)
NOTE_ON, NOTE_OFF = 1, 2
ALL_OFF = 3  # an event only: panic ended everything
TEMPO = 4  # a command only: an external clock, value[0] beats a minute, value[1] its phase 0..1 at that time

# A note that began or ended, or all of them at once. `source` 0: the performer's body, 1: somebody else's command.
EVENT = np.dtype(
    [
        ("epoch", np.int64),
        ("frame", np.int64),  # control frame
        ("sample", np.int64),
        ("time_ns", np.int64),
        ("kind", np.int32),  # NOTE_ON, NOTE_OFF, ALL_OFF
        ("key", np.int32),
        ("pitch", np.float32),  # MIDI note
        ("velocity", np.float32),  # 0..1
        ("pan", np.float32),  # -1 left .. 1 right
        ("source", np.int32),
    ],
    align=True,
)

# One thing that the callback took: what it needs, with CONTROL's sample and time, to play the same again.
INPUT = np.dtype(
    [
        ("epoch", np.int64),
        ("frame", np.int64),  # control frame that took it, or the last one before a command was taken
        ("sample", np.int64),  # when it was taken
        ("time_ns", np.int64),  # of TOOK_CLOCK: engine time of that sample
        ("kind", np.int64),  # which of the fields below is meant
        ("motion", LIMB_FRAME),
        ("settings", SETTINGS),
        ("devices", DEVICES),
        ("command", COMMAND),  # its `time_ns` is the sample at which it is done
        ("grid", GRID),
    ],
    align=True,
)
TOOK_MOTION, TOOK_SETTINGS, TOOK_DEVICES, TOOK_COMMAND, TOOK_CLOCK, TOOK_GRID = 1, 2, 3, 4, 5, 6

LATENT_STATE_NAMES = (
    "position_x", "position_y", "velocity_x", "velocity_y", "acceleration_x", "acceleration_y",
    "norm", "micro_tension", "rotational_energy", "kinetic_energy", "curvature", "curvature_rate",
    "periodicity", "internal_tempo", "phase", "grounding", "verticality", "tension", "coherence",
    "predicted_x", "predicted_y", "prediction_confidence", "residual", "converged", "iterations",
)  # fmt: skip

ENGINE_STATES = ("idle", "warmup", "active", "transitioning")
# What `flags` of a control record say.
FROZEN, HELD, MUTED, PRESENT = 1, 2, 4, 8

# One control frame, 60 a second: what the engine heard, decided and how late it was.
CONTROL = np.dtype(
    [
        ("epoch", np.int64),  # of the engine when this audio process began
        ("frame", np.int64),
        ("sample", np.int64),  # sample time of the control frame
        ("time_ns", np.int64),  # engine time of that sample
        ("motion_arrival_ns", np.int64),  # arrival of the newest motion used
        ("block_begin_ns", np.int64),
        ("dac_ns", np.int64),  # when this frame's first sample is expected at the converter
        ("bar", np.int64),
        ("grid", np.int64),  # number of the one that the band plays, 0 without one
        ("state", np.int32),  # index into ENGINE_STATES
        ("flags", np.uint32),  # FROZEN, HELD, MUTED, PRESENT
        ("beat", np.float64),  # beats since the start
        ("tempo_bpm", np.float32),
        ("c", np.float32),  # commitment
        ("energy", np.float32),  # m/s
        ("gate_bias", np.float32),
        ("lr_pan", np.float32),
        ("transition_intensity", np.float32),
        ("dell_coherence", np.float32),  # cosine between the fast and slow parts of DELL coupled
        ("gate_mean", np.float32),
        ("lim_rate", np.float32),  # certified contraction factor q
        ("freshness", np.float32, (2,)),  # of the left and right device, 1 present .. 0 gone
        ("loudness_db", np.float32),  # RMS of the last control period, dBFS
        ("voices", np.int32),
        ("onsets", np.int32),  # notes begun since the start, whoever played them
        ("x", np.float32, (6,)),
        ("x_valid", np.uint32),  # bit i: component i has a source
        ("y", np.float32, (32,)),
        ("position", np.float32, (32,)),  # parameters after overrides and slew, 0..1
        ("z", np.float32, (32,)),  # DELL coupled
        ("latent", np.float32, (len(LATENT_STATE_NAMES),)),
        ("step", np.int32),  # of the grid, 0..31
        ("section", np.int32),  # index into SECTIONS
        ("style", np.int32),  # index into the styles known at the start, -1 without a grid
        ("mode", np.int32),  # index into MODES
        ("tempo_source", np.int32),  # of kernels/tempo.py
        ("band", np.float32, (BAND_PARAMETERS,)),  # positions 0..1, of band.py
        ("track", np.float32, (TRACKS,)),  # how loud each is: RMS of the last control period
    ],
    align=True,
)

CONTROL_BINS, CONTROL_BIN_NS = 512, 500
LOAD_BINS, LOAD_BINS_PER_PERIOD = 256, 128

# Single writer: the audio callback. Anybody reads; each field is whole by itself.
COUNTERS = np.dtype(
    [
        ("blocks", np.int64),
        ("frames", np.int64),
        ("expected_blocks", np.int64),  # by the wall clock
        ("underruns", np.int64),  # reported by the device
        ("late_blocks", np.int64),  # finished after their deadline
        ("overload_blocks", np.int64),  # took longer than their period to compute
        ("resets", np.int64),  # non-finite state that was reset
        ("refused_values", np.int64),  # numbers that were not finite or not possible, replaced by the last good ones
        ("clipped_frames", np.int64),  # control frames in which a state of DELL gated sat on its clip
        ("motion_frames", np.int64),
        ("dropped_records", np.int64),
        ("dropped_sound", np.int64),  # sample frames
        ("dropped_events", np.int64),
        ("dropped_inputs", np.int64),
        ("control_frames", np.int64),
        ("strikes", np.int64),  # of the performer's hands
        ("start_ns", np.int64),
        ("thread_id", np.int64),  # 0 until the first block
        ("block_ns_max", np.int64),
        ("control_ns_max", np.int64),  # the longest control frame; measured when live only
        ("control_histogram", np.int64, (CONTROL_BINS,)),  # control frames by CONTROL_BIN_NS; the last bin is "more"
        ("block_histogram", np.int64, (LOAD_BINS,)),  # blocks by 1/LOAD_BINS_PER_PERIOD of their period; last: "more"
    ],
    align=True,
)


def ring(item: Any, capacity: int) -> np.dtype[Any]:
    """Return the dtype of an SPSC ring of `capacity` (a power of two) items; each counter has its own cache line."""
    if capacity & (capacity - 1):
        raise ValueError(f"ring of {capacity}: capacity must be a power of two")
    return np.dtype(
        [
            ("written", np.uint64, (8,)),  # [0] total pushed, by the producer
            ("read", np.uint64, (8,)),  # [0] total popped, by the consumer
            ("dropped", np.uint64, (8,)),  # [0] refused because full, by the producer
            ("item", item, (capacity,)),
        ],
        align=True,
    )


def triple(item: Any) -> np.dtype[Any]:
    """Return the dtype of a triple buffer: three slots and one exchanged word (slot index | FRESH)."""
    return np.dtype(
        [
            ("middle", np.uint64, (8,)),  # [0] slot waiting in the middle, plus FRESH
            ("back", np.uint64, (8,)),  # [0] slot the writer fills
            ("front", np.uint64, (8,)),  # [0] slot the reader reads
            ("slot", item, (3,)),
        ],
        align=True,
    )


def seqlock(item: Any) -> np.dtype[Any]:
    """Return the dtype of a seqlock: an odd sequence means a write is going on."""
    return np.dtype([("sequence", np.uint64, (8,)), ("item", item, (1,))], align=True)


HEADER = np.dtype(
    [
        ("magic", np.uint64),
        ("schema", np.uint64),
        ("epoch", np.uint64),  # grows when a process is replaced
        ("rate_hz", np.int64),
        ("block_frames", np.int64),
        ("focus", np.int64),  # the settings' performer in focus, by the supervisor: where bridges play the dancer
        ("scripted", np.int64),  # 1 while a session is to be played again: by the supervisor, taken back by bridges
        ("live_seen", np.int64),  # 1 once a real body was heard, by bridges: the dancer and the file never come back
    ],
    align=True,
)

SOUND_FRAMES = 1 << 19  # 4 s even at 96 kHz
SHARED = np.dtype(
    [
        ("header", HEADER),
        ("frames", ring(LIMB_FRAME, 1024), (PERFORMERS,)),
        ("devices", triple(DEVICES)),
        ("grids", triple(GRID)),
        ("settings", triple(SETTINGS)),
        ("commands", ring(COMMAND, 256), (PRODUCERS,)),
        ("records", ring(CONTROL, 512)),
        ("events", ring(EVENT, 512)),
        ("inputs", ring(INPUT, 1024)),
        ("script", ring(INPUT, 1024)),
        ("sound", ring(np.dtype((np.float32, (2,))), SOUND_FRAMES)),
        ("snapshot", seqlock(CONTROL)),
        ("counters", COUNTERS),
    ],
    align=True,
)
