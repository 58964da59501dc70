"""Which protocol a datagram speaks, from its first bytes: one port may receive them all."""

from __future__ import annotations

VMC_WITHIN = 256  # bytes at the head of a datagram in which a VMC address shows


def protocol_of(data: bytes) -> str | None:
    """Return "mocopi", "osc", "json" or None for a datagram."""
    if data[4:8] == b"head":
        return "mocopi"
    if data[:1] == b"/" or data[:8] == b"#bundle\0":
        return "osc"
    if data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return "json"
    return None


def is_vmc(data: bytes) -> bool:
    """Return whether an OSC datagram is a VMC performer's: a message of its, alone or early in a bundle."""
    return data.find(b"/VMC/", 0, VMC_WITHIN) >= 0
