"""The real-time core: motion and weights in, sound and records out. Importing it imports no Numba."""

__version__ = "0.1.0"
