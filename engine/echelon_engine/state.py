"""Everything the callback remembers between blocks: one record, made of the records its kernels define."""

from __future__ import annotations

import contextlib
import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np

from echelon_engine.clock import CLOCK, SEGMENT_FRAMES
from echelon_engine.kernels import tempo
from echelon_engine.kernels.commitment import COMMITMENT
from echelon_engine.kernels.dell_coupled import STATE as COUPLED_STATE
from echelon_engine.kernels.dell_coupled import WEIGHTS as COUPLED_WEIGHTS
from echelon_engine.kernels.dell_gated import STATE as GATED_STATE
from echelon_engine.kernels.dell_gated import WEIGHTS as GATED_WEIGHTS
from echelon_engine.kernels.ensemble import ENSEMBLE
from echelon_engine.kernels.instrument import INSTRUMENT
from echelon_engine.kernels.latent import LATENT
from echelon_engine.kernels.lim_rps import STATE as LIM_STATE
from echelon_engine.kernels.lim_rps import WEIGHTS as LIM_WEIGHTS
from echelon_engine.kernels.machine import MACHINE
from echelon_engine.kernels.motion import MOTION
from echelon_engine.kernels.notes import NOTES
from echelon_engine.kernels.output import OUTPUT
from echelon_engine.memory import COMMAND, CONTROL, DEVICES, EVENT, INPUT, LATENT_STATE_NAMES, LIMB_FRAME, SETTINGS
from echelon_engine.parameters import LANES
from echelon_engine.rings import release
from echelon_engine.schedule import PENDING, PENDING_NOTES
from echelon_engine.script import LIVE, WAITING
from echelon_engine.sequence import SEQUENCE

MAX_BLOCK = 2048
MAX_CHANNELS = 32

CACHE_LINE, HUGE_PAGE = 64, 1 << 21


def on_cache_lines(fields: list[Any], names: tuple[str, ...]) -> list[Any]:
    """Return the fields of a dtype with padding, so that those called `names` begin on a cache line (64 bytes).

    A 64-byte load that crosses a line costs two: models stream half as fast from any other address.
    """
    placed: list[Any] = []
    for field in fields:
        end = np.dtype(placed, align=True).itemsize
        if field[0] in names and end % CACHE_LINE:
            placed.append((f"before_{field[0]}", np.uint8, (-end % CACHE_LINE,)))
        placed.append(field)
    return placed


_FIELDS: list[Any] = [
    # set once, before the first block
    ("shared_address", np.uintp),
    ("channels", np.int64),
    ("block_frames", np.int64),
    ("stop", np.uint64, (8,)),  # [0] 1 asks the null driver to end
    # the two shells around process()
    ("started", np.int64),
    ("block_begin_ns", np.int64),
    ("dac_offset_ns", np.int64),
    ("epoch", np.int64),
    ("script", np.int64),  # LIVE, WAITING or PLAYING of script.py
    # control path
    ("clock", CLOCK),
    ("motion", MOTION),
    ("commitment", COMMITMENT),
    ("machine", MACHINE),
    ("lim_rps", LIM_STATE),
    ("coupled", COUPLED_STATE),
    ("gated", GATED_STATE),
    ("latent", LATENT),
    ("notes", NOTES),
    ("performer", np.int64),  # whose ring is being read
    ("e", np.float32, (96,)),
    ("z_lim", np.float32, (96,)),
    ("z", np.float32, (32,)),
    ("boundary_beat", np.int64),  # the beat at DELL coupled's last boundary
    ("y", np.float32, (LANES,)),
    ("last_y", np.float32, (LANES,)),
    ("gated_wanted", np.uint64, (8,)),  # [0] which of its two sets of weights: by the process, while it plays
    ("gated_used", np.uint64),
    ("gated_fade", np.int64),  # control frames until only the new weights are heard
    ("gated_before", np.float32, (LANES,)),  # y when they were taken
    ("latent25", np.float32, (len(LATENT_STATE_NAMES),)),
    ("position", np.float32, (LANES,)),
    ("values", np.float32, (LANES,)),
    ("pending", PENDING, (PENDING_NOTES,)),
    ("next_note", np.int64),  # sample of the earliest pending note, -1 without one
    ("panic", np.uint32),
    ("onsets", np.int64),
    ("refused_lanes", np.int64),
    ("external", np.float64),  # 1 while somebody else than the body plays notes, then falls to 0
    ("held_keys", np.int64),  # of theirs
    # one record of each kind that travels
    ("settings", SETTINGS, (1,)),
    ("asked", SETTINGS, (1,)),  # while a script plays: what is set now
    ("told", SETTINGS, (1,)),  # and what was set then
    ("command", COMMAND, (1,)),
    ("frame", LIMB_FRAME, (1,)),
    ("devices", DEVICES, (1,)),
    ("control", CONTROL, (1,)),
    ("event", EVENT, (1,)),
    ("input", INPUT, (1,)),
    ("sequence", SEQUENCE),
    # audio path
    ("instrument", INSTRUMENT),
    ("ensemble", ENSEMBLE),
    ("output", OUTPUT),
    ("band", np.float32, (SEGMENT_FRAMES, 2)),
    ("bus", np.float32, (SEGMENT_FRAMES, 2)),
    ("segment", np.float32, (SEGMENT_FRAMES, 2)),
    ("null_out", np.float32, (MAX_BLOCK * MAX_CHANNELS,)),
    # models: read only while playing
    ("lim_rps_weights", LIM_WEIGHTS),
    ("coupled_weights", COUPLED_WEIGHTS),
    ("gated_weights", GATED_WEIGHTS),
    ("gated_spare", GATED_WEIGHTS),  # the other of the two that change places
]
STREAMED = (
    "lim_rps",
    "coupled",
    "gated",
    "instrument",
    "ensemble",
    "output",
    "lim_rps_weights",
    "coupled_weights",
    "gated_weights",
    "gated_spare",
)
ENGINE = np.dtype(on_cache_lines(_FIELDS, STREAMED), align=True)


def aligned_zeros(dtype: np.dtype[Any]) -> Any:
    """Return one zeroed record in memory of its own, from the start of a huge page on; its pages are touched.

    On huge pages, where the system has them, the weights lie side by side in the cache and do not evict each other.
    """
    mapping = mmap.mmap(-1, (dtype.itemsize // HUGE_PAGE + 2) * HUGE_PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            mapping.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(mapping, np.uint8)
    start = -raw.ctypes.data % HUGE_PAGE
    raw = raw[start : start + dtype.itemsize]
    raw.fill(0)  # touch the pages now, not in the first block
    return raw.view(dtype)


@dataclass(frozen=True, slots=True)
class Weights:
    """The three models as records of their kernels' WEIGHTS dtypes."""

    gated: Any
    coupled: Any
    lim_rps: Any


def new_engine(
    shared: Any,
    settings: Any,
    weights: Weights,
    *,
    rate_hz: int,
    block_frames: int = 512,
    channels: int = 2,
    scripted: bool = False,
) -> Any:
    """Return a ready ENGINE record: weights copied in, settings taken, first control frame due at sample 0.

    `settings` is a memory.SETTINGS record; live ones replace it as they arrive in `shared`. A `scripted` engine waits
    for the script and plays it first. The caller keeps both records alive while anything calls `process`.
    """
    from echelon_engine import units  # they need ENGINE

    engine = aligned_zeros(ENGINE)[0]
    engine["shared_address"] = shared.__array_interface__["data"][0]
    engine["channels"] = channels
    engine["block_frames"] = block_frames
    engine["epoch"] = shared["header"]["epoch"]
    engine["script"] = WAITING if scripted else LIVE
    engine["asked"][0] = engine["told"][0] = settings
    engine["next_note"] = -1
    engine["clock"]["rate_hz"] = rate_hz
    engine["settings"][0] = settings
    engine["panic"] = int(settings["panic"])
    engine["gated_weights"] = weights.gated
    engine["coupled_weights"] = weights.coupled
    engine["lim_rps_weights"] = weights.lim_rps
    engine["position"] = 0.5
    engine["sequence"]["mode"] = settings["mode"]
    tempo.init(engine["sequence"]["tempo"], float(settings["tempo_bpm"]))
    units.compiled("prepare").ctypes(engine.__array_interface__["data"][0], rate_hz, 0)
    return engine


def change_gated(engine: Any, weights: Any) -> bool:
    """Hand other weights of DELL gated (a WEIGHTS record of its kernel) to an engine that plays.

    The callback takes them at its next control frame; the net's state goes on, and y glides from one to the other over
    250 ms. False, and nothing changed, while it has not yet taken those handed over before. One caller.
    """
    used = int(engine["gated_used"])
    if int(engine["gated_wanted"][0]) != used:
        return False
    engine["gated_weights" if used else "gated_spare"] = weights
    release(engine["gated_wanted"], 1 - used)
    return True
