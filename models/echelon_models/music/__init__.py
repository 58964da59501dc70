"""Music as data: 81 tokens, grids of 12 tracks by 32 steps, and what they mean. NumPy alone; see README.md."""
