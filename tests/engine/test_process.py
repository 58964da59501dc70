"""One process(): the same bytes whatever the block, notes on their sample, nothing allocated, nothing non-finite."""

import re

import numba
import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from echelon_engine import _jit, callback, offline, process, rings, units
from echelon_engine.block import new_shared
from echelon_engine.drivers import address_of
from echelon_engine.memory import COMMAND, LIMB_FRAME, NOTE_ON, SHARED
from echelon_engine.native import pointer
from echelon_engine.state import ENGINE, new_engine

ALLOCATORS = ("NRT_MemInfo_alloc", "NRT_MemInfo_new", "NRT_Allocate", "NRT_Reallocate", "malloc", "calloc", "realloc")


def digest(rendering: offline.Rendering) -> bytes:
    """Return all bytes of a rendering."""
    return rendering.sound.tobytes() + rendering.records["y"].tobytes() + rendering.records["latent"].tobytes()


def test_output_is_bit_identical_for_every_block_size(dance, settings, weights) -> None:
    """Blocks of 64, 512 and 2048 frames give the same samples and the same control records."""
    renderings = [offline.render(dance, 6.0, settings[0], weights, block_frames=block) for block in (64, 512, 2048)]
    assert np.abs(renderings[0].sound).max() > 0.01
    assert digest(renderings[0]) == digest(renderings[1]) == digest(renderings[2])


@pytest.mark.parametrize("rate_hz", [44100, 96000])
def test_other_rates_are_block_independent_too(dance, settings, weights, rate_hz) -> None:
    """At 44.1 and 96 kHz, where control frames fall between the cuts, blocks of 64 and 1024 agree."""
    first = offline.render(dance, 2.0, settings[0], weights, rate_hz=rate_hz, block_frames=64)
    second = offline.render(dance, 2.0, settings[0], weights, rate_hz=rate_hz, block_frames=1024)
    assert digest(first) == digest(second)


def test_two_renders_are_byte_identical(dance, settings, weights) -> None:
    """Rendering again gives the same bytes."""
    assert digest(offline.render(dance, 3.0, settings[0], weights)) == digest(
        offline.render(dance, 3.0, settings[0], weights)
    )


def test_a_note_starts_on_its_sample(settings, weights) -> None:
    """A note stamped between control frames changes nothing before its sample and sounds right after it."""
    settings["notes_from_motion"] = 0
    sample = 12_345
    commands = np.zeros(2, COMMAND)
    commands["kind"], commands["key"] = NOTE_ON, (98, 99)
    commands["value"] = ((48.0, 0.1, 0.0, 0.0), (60.0, 0.9, 0.0, 0.0))
    commands["time_ns"] = (50_000_000, round(sample * 1e9 / 48000))  # the first opens a stage that was at rest
    heard = {}
    for block in (64, 512):
        for count in (1, 2):
            heard[block, count] = offline.render(
                np.zeros(0, LIMB_FRAME), 0.6, settings[0], weights, block_frames=block, commands=commands[:count]
            ).sound
    onset = int(np.flatnonzero((heard[64, 2] != heard[64, 1]).any(axis=1))[0])
    look_ahead = 72  # of the limiter, 1.5 ms
    assert sample <= onset <= sample + look_ahead + 64
    assert np.array_equal(heard[64, 2], heard[512, 2])


def test_the_clock_counts_frames_beats_and_bars(dance, settings, weights) -> None:
    """Control frames come 60 a second at floor(k rate / 60); at 120 bpm a bar lasts two seconds."""
    settings["tempo_bpm"] = 120.0
    records = offline.render(dance, 5.0, settings[0], weights, rate_hz=44100).records
    assert (records["frame"] == np.arange(len(records))).all()
    assert (records["sample"] == records["frame"] * 44100 // 60).all()
    assert np.allclose(records["beat"], records["frame"] / 30.0)
    assert (records["bar"] == (records["beat"] // 4)).all()


COMPILED = {
    **{name: (units.SIGNATURE, function) for name, function in units.UNITS.items()},
    "portaudio": (callback.PORTAUDIO_SIGNATURE, callback._portaudio_callback),
    "null": (callback.THREAD_SIGNATURE, callback._null_thread),
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_code_reaches_no_allocator(name: str) -> None:
    """The optimised code of every unit and both shells, callees included, reaches no allocator."""
    units.link()
    signature, function = COMPILED[name]
    compiled = numba.cfunc(signature, nopython=True, error_model="numpy", fastmath=_jit.FAST_MATH)(function)
    code = compiled._library.get_llvm_str()
    assert "define" in code
    called = set(re.findall(r"call [^@\n]*@([\w.$\"]+)\(", code))
    assert not {name for name in called if name.startswith(ALLOCATORS)}


def test_blocks_allocate_nothing(dance, settings, weights) -> None:
    """The allocation counter stands still over 1 and over 1000 blocks, run from compiled code."""

    @numba.njit(nogil=True, error_model="numpy")
    def many(out, engine, shared, blocks):
        for _ in range(blocks):
            process.process(
                numba.carray(pointer(out), (512, 2), np.float32),
                numba.carray(pointer(engine), (1,), ENGINE)[0],
                numba.carray(pointer(shared), (1,), SHARED)[0],
            )

    shared = new_shared(48000, 512)
    engine = new_engine(shared, settings[0], weights, rate_hz=48000)
    out = np.zeros((512, 2), np.float32)
    places = (np.uintp(out.ctypes.data), np.uintp(address_of(engine)), np.uintp(address_of(shared)))
    for i in range(len(dance)):
        rings.push(shared["frames"][0], dance[i : i + 1])
    many(*places, 1)
    _nrt_python.memsys_enable_stats()
    for blocks in (1, 1000):
        before = rtsys.get_allocation_stats()
        many(*places, blocks)
        after = rtsys.get_allocation_stats()
        assert (after.alloc, after.mi_alloc) == (before.alloc, before.mi_alloc)


def test_stalled_consumers_lose_nothing_for_four_seconds(settings, weights) -> None:
    """Records and sound of 4 s wait in their rings; the drop counters stay at zero."""
    shared = new_shared(48000, 512)
    settings["record"] = 1
    engine = new_engine(shared, settings[0], weights, rate_hz=48000)
    out = np.zeros((512, 2), np.float32)
    for _ in range(4 * 48000 // 512):
        process.process(out, engine, shared)
    assert shared["counters"]["dropped_records"] == 0
    assert shared["sound"]["dropped"][0] == 0
    assert int(shared["records"]["written"][0]) == 240
