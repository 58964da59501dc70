"""The mixing desk of the ensemble as tables: tracks, parameters, levels, sends, and which lane of the glide is what."""

from __future__ import annotations

import numpy as np

from echelon_engine.band import BAND_LANE, BAND_NEUTRAL
from echelon_engine.vocabulary import TRACK_NAMES, TRACKS

KICK, BASS, PAD, VOX, AMB = (TRACK_NAMES.index(name) for name in ("kick", "bass", "pad", "vox", "amb"))
DRUM_TRACKS = 4  # the first ones
PITCHES = TRACKS - DRUM_TRACKS
SD, HAT, OPEN_HAT, CP = 1, 2, 3, 4  # drums 0..7: bd sd hh oh cp rim tom perc
LPF, HPF, DELAY, REVERB_BIT, DIST = 1, 2, 4, 8, 16  # bits of `effects`

# The band's parameters that move the sound
BASS_WEIGHT, PAD_LEVEL, INTENSITY, BRIGHTNESS = (
    BAND_LANE[name] for name in ("bass_weight", "pad_level", "intensity", "brightness")
)
REVERB_SEND, DELAY_SEND, WIDTH = (BAND_LANE[name] for name in ("reverb", "delay", "width"))
NEUTRAL = BAND_NEUTRAL.astype(np.float32)
NEUTRAL[INTENSITY] = 0.7  # at which voices were balanced: a blow is as hard as its velocity says

# The mix: level of each pitched voice and of each drum at gain 1, and what a track sends without an effect token
BALANCE = np.array([1.0, 1.0, 1.0, 1.0, 0.76, 0.8, 0.67, 0.9, 0.4, 0.85, 0.95, 0.33], np.float64)
DRUM_BALANCE = np.array([2.0, 1.55, 0.42, 0.4, 1.0, 1.0, 1.3, 1.1], np.float64)
TO_ROOM = np.array([0.0, 0.16, 0.05, 0.2, 0.02, 0.3, 0.22, 0.25, 0.2, 0.35, 0.3, 0.45], np.float64)
TO_ECHO = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.16, 0.08, 0.2, 0.12, 0.08, 0.0], np.float64)
TOKEN_SEND = 1.0  # with the token
DRUM_OF_TRACK = np.array([0, SD, HAT, CP], np.int64)
MASTER = 0.64
CEILING = np.float32(0.58)  # where the bus saturates: -4.7 dBFS
TOGGLE_S = 0.012  # an effect comes and goes
PLACE_S = 0.004  # a sounding track is put elsewhere: soon enough for the attack that is to sound so
HOLD_S = 0.1  # a track's filters ring out
BLOCK_HZ = 12.0
ROOM_DECAY_S = 1.1  # at reverb 0, and what 1 adds
ROOM_MORE_S = 2.2
HUSH_S = 0.012

# lanes of the glide
LEFT, RIGHT, ECHO_SEND, ROOM_SEND, LPF_LANE = 0, TRACKS, 2 * TRACKS, 3 * TRACKS, 4 * TRACKS
GLOBAL = 7 * TRACKS
CUT, SIDE, DRIVEN, STAGE = GLOBAL, GLOBAL + 1, GLOBAL + 2, GLOBAL + 3
