"""What a grid means: `events(grid)` gives its onsets, `grid(events)` writes onsets as a grid."""

from __future__ import annotations

import numpy as np

# One onset. 20 bytes; sorted by step, then track.
EVENT = np.dtype(
    [
        ("track", np.uint8),  # 0..11, of tokens.TRACKS
        ("step", np.uint8),  # 0..31, sixteenths from the grid's start
        ("kind", np.uint8),  # PITCH 0 or DRUM 1
        ("sound", np.uint8),  # MIDI note 36..84, or 0..7 of tokens.DRUMS
        ("count", np.uint8),  # 1, or 2: struck at the step and half a step later
        ("articulation", np.uint8),  # 0 none, 1 stac, 2 legato, 3 accent, 4 ghost
        ("duration", np.uint8),  # sixteenths as written: 1 2 3 4 8
        ("effects", np.uint8),  # bit 0 lpf, 1 hpf, 2 delay, 3 reverb, 4 dist
        ("velocity", np.float32),  # as written: .2 .35 .5 .65 .8 1
        ("gain", np.float32),  # velocity after the articulation, .08..1.25: how loud it is to be played
        ("gate", np.float32),  # sixteenths that the (last) strike sounds; infinite for drums, which ring out
    ],
    align=True,
)
PITCH, DRUM = 0, 1
