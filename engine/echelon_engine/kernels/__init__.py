"""Pure real-time kernels: arrays and records in, arrays and records out; no clock, no socket, no allocation."""
