"""How tracks and sounds stand in a MIDI file: General MIDI drums, programs, channels, velocities, controllers."""

from __future__ import annotations

from echelon_models.music import tokens
from echelon_models.music.tokens import TRACKS

DRUM_CHANNEL = 9  # counted from 0
# Pitched sounds of each track; KICK..CLAP have one too, since a grid may put any sound on any track.
CHANNELS = {name: number for number, name in enumerate(TRACKS[4:])} | {TRACKS[n]: 10 + n for n in range(4)}
PROGRAMS = {  # counted from 0
    "KICK": 117,  # melodic tom
    "SNARE": 115,  # woodblock
    "HH": 113,  # agogo
    "CLAP": 115,
    "BASS": 38,  # synth bass 1
    "PAD": 89,  # warm pad
    "LEAD": 81,  # sawtooth lead
    "STAB": 62,  # synth brass 1
    "ARP": 87,  # bass and lead
    "FX": 98,  # crystal
    "VOX": 53,  # voice oohs
    "AMB": 95,  # sweep pad
}
DRUM_NOTES = (36, 38, 42, 46, 39, 37, 45, 56)  # of tokens.DRUMS, as they are written
# As they are read: the sound and the lane of each General MIDI drum, 27..87.
DRUM_SOUNDS: dict[int, tuple[str, str]] = {
    **dict.fromkeys((35, 36), ("bd", "KICK")),
    **dict.fromkeys((38, 40), ("sd", "SNARE")),
    **dict.fromkeys((31, 37), ("rim", "SNARE")),
    **dict.fromkeys((42, 44), ("hh", "HH")),
    **dict.fromkeys((46, 49, 52, 55, 57), ("oh", "HH")),  # crashes among them: they are as open
    **dict.fromkeys((51, 53, 59), ("perc", "HH")),  # rides
    **dict.fromkeys((28, 39), ("cp", "CLAP")),
    **dict.fromkeys((41, 43, 45, 47, 48, 50), ("tom", "CLAP")),
}
OTHER_DRUM = ("perc", "CLAP")

# Controller and its value for each of tokens.EFFECTS, on and off. Synthesizers know brightness, delay and reverb.
EFFECT_CONTROLS = ((74, 40), (16, 100), (94, 60), (91, 90), (17, 100))
EFFECT_OFF = (64, 0, 0, 0, 0)

# MIDI velocity = 100 gain, pp..ff by a row for plain (none, stac, legato), accent and ghost. Two of the eighteen are
# moved by 1, so that a velocity tells its word: an f accent is as loud as ff, an mp ghost as pp.
VELOCITIES = ((20, 35, 50, 65, 80, 100), (25, 44, 63, 81, 101, 125), (8, 14, 19, 26, 32, 40))
ROW = (0, 0, 0, 1, 2)  # of VELOCITIES, by articulation


def velocity(level: int, articulation: int) -> int:
    """Return the MIDI velocity 1..127 of a dynamics level 0..5 under an articulation 0..4."""
    return VELOCITIES[ROW[articulation]][level]


def level_of(midi_velocity: int) -> tuple[int, int]:
    """Return the dynamics level 0..5 and the row (0 plain, 1 accent, 2 ghost) nearest to a velocity written here."""
    _, row, level = min(
        (abs(known - midi_velocity), row, level)
        for row, levels in enumerate(VELOCITIES)
        for level, known in enumerate(levels)
    )
    return level, row


def release(articulation: int, duration: int) -> int:
    """Return the release velocity 1..25 that keeps the words articulation 0..4 and duration 0..4 of a note.

    Its length cannot: a half note that the next one ends is as short as an 8th.
    """
    return 1 + articulation * len(tokens.DURATIONS) + duration


def words_of(release_velocity: int) -> tuple[int, int] | None:
    """Return the articulation 0..4 and duration 0..4 that a release velocity keeps, None where it keeps nothing."""
    articulation, duration = divmod(release_velocity - 1, len(tokens.DURATIONS))
    return (articulation, duration) if 0 <= articulation <= len(tokens.ARTICULATIONS) else None
