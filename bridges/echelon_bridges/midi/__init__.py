"""MIDI: notes, the 32 parameters and the clock out; notes and controllers in."""
