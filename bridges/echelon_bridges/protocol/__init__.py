"""Wire formats, pure: bytes in, typed values out."""
