"""Knobs, faders and pads of any kind onto live settings: the map, and how a controller takes a setting over."""
