"""How records cross between processes without locks: SPSC ring, triple buffer, seqlock.

All take records of the dtypes in `memory.py` and are called alike from Python and from the callback. A full ring
counts a drop and never blocks; a triple buffer always has the newest; a seqlock is for onlookers only, because a
reader may have to retry.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import int64, kernel
from echelon_engine.atomics import exchange, fence_acquire, fence_release, load_acquire, store_release
from echelon_engine.records import copy

FRESH = 4  # in a triple buffer's middle word: the slot holds something the reader has not seen
TRIES = 64


@kernel
def push(ring: Any, items: Any) -> bool:
    """Append `items[0]` (a one-element array of the ring's item); False and one drop counted when full.

    One producer only. Source: Lamport 1983; wait-free, one release store.
    """
    capacity = np.uint64(ring.item.shape[0])
    written = ring.written[0]
    if written - load_acquire(ring.read.ctypes.data) >= capacity:
        ring.dropped[0] += np.uint64(1)
        return False
    copy(ring.item[written & (capacity - np.uint64(1))], items[0])
    store_release(ring.written.ctypes.data, written + np.uint64(1))
    return True


@kernel
def pop(items: Any, ring: Any) -> bool:
    """Move the oldest item of the ring to `items[0]`; False when empty. One consumer only."""
    capacity = np.uint64(ring.item.shape[0])
    read = ring.read[0]
    if read == load_acquire(ring.written.ctypes.data):
        return False
    copy(items[0], ring.item[read & (capacity - np.uint64(1))])
    store_release(ring.read.ctypes.data, read + np.uint64(1))
    return True


@kernel
def release(word: Any, value: int) -> None:
    """Store `value` in `word[0]` (uint64) so that whoever reads it there sees all that was written before."""
    store_release(word.ctypes.data, np.uint64(value))


@kernel
def push_sound(ring: Any, sound: Any) -> int:
    """Append sample frames (n, 2) float32; return how many were dropped because the ring was full (none or all)."""
    capacity = np.uint64(ring.item.shape[0])
    n = np.uint64(sound.shape[0])
    written = ring.written[0]
    if written + n - load_acquire(ring.read.ctypes.data) > capacity:
        ring.dropped[0] += n
        return int(sound.shape[0])
    for i in range(sound.shape[0]):
        slot = (written + np.uint64(i)) & (capacity - np.uint64(1))
        ring.item[slot, 0] = sound[i, 0]
        ring.item[slot, 1] = sound[i, 1]
    store_release(ring.written.ctypes.data, written + n)
    return 0


@kernel
def pop_sound(sound: Any, ring: Any) -> int:
    """Move up to len(sound) sample frames from the ring to `sound` (n, 2) float32; return how many."""
    capacity = np.uint64(ring.item.shape[0])
    read = ring.read[0]
    n = min(int64(load_acquire(ring.written.ctypes.data) - read), int64(sound.shape[0]))
    for i in range(n):
        slot = (read + np.uint64(i)) & (capacity - np.uint64(1))
        sound[i, 0] = ring.item[slot, 0]
        sound[i, 1] = ring.item[slot, 1]
    store_release(ring.read.ctypes.data, read + np.uint64(n))
    return int(n)


@kernel
def discard(ring: Any) -> int:
    """Forget everything in the ring, as its consumer; return how many items that were."""
    written = load_acquire(ring.written.ctypes.data)
    n = int64(written - ring.read[0])
    store_release(ring.read.ctypes.data, written)
    return int(n)


@kernel
def publish(triple: Any, items: Any) -> None:
    """Offer `items[0]` as the newest value of a triple buffer; wait-free, one writer."""
    back = triple.back[0]
    copy(triple.slot[back], items[0])
    triple.back[0] = exchange(triple.middle.ctypes.data, back | np.uint64(FRESH)) & np.uint64(3)


@kernel
def take(items: Any, triple: Any) -> bool:
    """Copy the newest value to `items[0]`; False, and `items` untouched, when it was taken before. One reader."""
    if not (load_acquire(triple.middle.ctypes.data) & np.uint64(FRESH)):
        return False
    front = exchange(triple.middle.ctypes.data, triple.front[0]) & np.uint64(3)
    triple.front[0] = front
    copy(items[0], triple.slot[front])
    return True


def newest(triple: Any) -> Any:
    """Return a copy of the newest value of a triple buffer, taken before or not, while its reader is not running."""
    waiting = int(triple["middle"][0])
    found = triple["slot"][waiting & 3 if waiting & FRESH else int(triple["front"][0])]
    return np.frombuffer(bytearray(found.tobytes()), found.dtype)[0]  # bytes: NumPy copies field by field


@kernel
def write_snapshot(lock: Any, items: Any) -> None:
    """Replace the value under a seqlock by `items[0]`; wait-free, one writer.

    Source: Boehm 2012, "Can seqlocks get along with programming language memory models?".
    """
    sequence = lock.sequence[0]
    store_release(lock.sequence.ctypes.data, sequence | np.uint64(1))
    fence_release()
    copy(lock.item[0], items[0])
    store_release(lock.sequence.ctypes.data, (sequence | np.uint64(1)) + np.uint64(1))


@kernel
def read_snapshot(items: Any, lock: Any) -> bool:
    """Copy the value under a seqlock to `items[0]`; False when the writer was busy all the time (try later)."""
    for _ in range(TRIES):
        before = load_acquire(lock.sequence.ctypes.data)
        if before & np.uint64(1):
            continue
        copy(items[0], lock.item[0])
        fence_acquire()
        if load_acquire(lock.sequence.ctypes.data) == before:
            return True
    return False
