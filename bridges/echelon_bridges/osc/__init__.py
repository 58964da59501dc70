"""Open Sound Control: what the engine says to other programs, and what it takes from them."""
