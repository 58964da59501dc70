"""What the system does for a socket: drops what flooding addresses send, stamps arrivals, counts drops.

What floods is dropped before it takes the place of others in the socket.

A classic BPF program on the socket, which needs no rights (Linux; socket(7), SO_ATTACH_FILTER). Where that is not to be
had nothing happens: the flood is then refused one datagram at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Collection

LINUX = sys.platform.startswith("linux")
SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_MEMINFO = 26, 27, 55
SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
IP_SOURCE = 0xFFF00000 + 12  # SKF_NET_OFF: in the IPv4 header
ALL = 0xFFFFFFFF
DROPS = 8  # index in what SO_MEMINFO returns


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _code(hosts: Collection[str]) -> bytes:
    """Return: load the source address; if it is one of `hosts`, 0 bytes of the datagram are kept, else all."""
    count = len(hosts)
    lines = [(LOAD_WORD, 0, 0, IP_SOURCE)]
    for i, host in enumerate(hosts):
        lines.append((JUMP_IF_EQUAL, count - i, 0, int.from_bytes(socket.inet_aton(host), "big")))
    lines += [(RETURN, 0, 0, ALL), (RETURN, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def refuse(port: socket.socket, hosts: Collection[str]) -> bool:
    """Drop everything that these IPv4 addresses (at most 64) send to a bound UDP socket, from now on only theirs.

    None of them means: take everybody's again. Returns whether the system does it.
    """
    if not LINUX:
        return False
    with contextlib.suppress(OSError):
        if not hosts:
            port.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            return True
        code = ctypes.create_string_buffer(_code(hosts))
        program = _Program(len(hosts) + 3, ctypes.addressof(code))
        port.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))
        return True
    return False


def tell_more(port: socket.socket) -> bool:
    """Let every datagram come with the system's wall-clock stamp of its arrival and the count of those it dropped.

    Returns whether the system does it (Linux; socket(7): SO_TIMESTAMPNS, SO_RXQ_OVFL).
    """
    if not LINUX:
        return False
    with contextlib.suppress(OSError):
        port.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        port.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        return True
    return False


def dropped(port: socket.socket) -> int:
    """Return how many datagrams the system dropped on this socket, refused or because it was full; 0 if unknown."""
    if not LINUX:
        return 0
    with contextlib.suppress(OSError):
        figures = port.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 9 * 4)
        if len(figures) == 9 * 4:
            return int(struct.unpack("=9I", figures)[DROPS])
    return 0
