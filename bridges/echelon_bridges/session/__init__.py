"""Sessions: what a performance was made of, logged so that it can be looked at, aligned with video and played again."""
