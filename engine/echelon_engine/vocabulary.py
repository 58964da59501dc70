"""The words and the measure of the band's music: tracks, sections, modes, and a grid of two bars of 4/4.

Source: spec/music.md, "Vocabulary" and "The conductor".
"""

from __future__ import annotations

TRACK_NAMES = ("kick", "snare", "hh", "clap", "bass", "pad", "lead", "stab", "arp", "fx", "vox", "amb")
TRACKS = len(TRACK_NAMES)
STEPS = 32  # sixteenths of a grid
STEPS_PER_BAR, BEATS_PER_BAR = 16, 4
STEPS_PER_BEAT = STEPS_PER_BAR // BEATS_PER_BAR
DRUM_SOUND = 128  # the sound of an onset is a MIDI note, or from here on a drum

SECTIONS = ("intro", "groove", "build", "climax", "breakdown", "outro")
MODES = ("rules", "continuous", "diffusion", "coupled")
INSTALLED_MODES = MODES[:2]  # the others need models that do not come with this version
