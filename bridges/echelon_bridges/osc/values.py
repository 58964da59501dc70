"""What of a control record and of a limb frame goes out over OSC, under which address. Pure: records in, numbers out.

The names are those of `messages/table.py`; where OSC has no such type, a flag is 0 or 1 and the state its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges import lane_values
from echelon_bridges.messages.fields import Scalars
from echelon_bridges.motion.skeleton import NAMES
from echelon_bridges.osc.layout import SIZES, Layout, turn_words
from echelon_bridges.status import latency_ms
from echelon_engine.band import BAND, BAND_LANES
from echelon_engine.memory import CONTROL, FROZEN, HELD, LATENT_STATE_NAMES, LIMB_FRAME, LIMBS, MUTED, PRESENT
from echelon_engine.parameters import LANES, PARAMETERS

Seen = dict[str, Any]  # a record's scalars by name
Source = str | Callable[[Seen], Any]


def _flag(bit: int) -> Source:
    return lambda seen: seen["flags"] & bit != 0


def _latency(seen: Seen) -> float:
    latency = latency_ms(seen)
    return -1.0 if latency is None else latency


# (address below state/, tags, field of memory.CONTROL or what is made from its scalars)
STATE: tuple[tuple[str, str, Source], ...] = (
    ("epoch", "i", "epoch"),
    ("frame", "i", "frame"),
    ("time_ns", "h", "time_ns"),
    ("motion_ns", "h", "motion_arrival_ns"),
    ("state", "i", "state"),
    ("present", "i", _flag(PRESENT)),
    ("held", "i", _flag(HELD)),
    ("frozen", "i", _flag(FROZEN)),
    ("muted", "i", _flag(MUTED)),
    ("commitment", "f", "c"),
    ("energy", "f", "energy"),
    ("x", "f" * 6, "x"),
    ("x_valid", "i" * 6, lambda seen: [seen["x_valid"] >> i & 1 for i in range(6)]),
    ("z", "f" * 32, "z"),
    ("lr_pan", "f", "lr_pan"),
    ("transition_intensity", "f", "transition_intensity"),
    ("dell_coherence", "f", "dell_coherence"),
    ("freshness", "ff", "freshness"),
    ("tempo_bpm", "f", "tempo_bpm"),
    ("bar", "i", "bar"),
    ("beat", "d", "beat"),
    ("loudness_db", "f", "loudness_db"),
    ("voices", "i", "voices"),
    ("latency_ms", "f", _latency),
)


# The same below band/; what the band's parameters are, is in echelon_engine.band.
BAND_STATE: tuple[tuple[str, str, str], ...] = (
    ("grid", "h", "grid"),
    ("bar", "i", "bar"),
    ("step", "i", "step"),
    ("section", "i", "section"),
    ("style", "i", "style"),
    ("mode", "i", "mode"),
)


def words_of(record: np.dtype[Any], name: str, tags: str) -> NDArray[np.intp]:
    """Return which 32-bit words of a record go out for one of its fields: (tags, words of each), highest first."""
    kind, offset = record.fields[name][:2]  # type: ignore[index]
    words = SIZES[tags[0]] // 4  # of a 64-bit field sent as 32 bits, the lower
    at: NDArray[np.intp] = offset // 4 + kind.base.itemsize // 4 * np.arange(len(tags))
    return at[:, None] + np.arange(words)[::-1]


class Copied:
    """Fields of a record that go out as they are: all their words at once, turned from little to big endian.

    `fields` are (name, tags, word in the message's values at which they begin).
    """

    def __init__(self, record: np.dtype[Any], fields: Iterable[tuple[str, str, int]]) -> None:
        source: list[int] = []
        target: list[int] = []
        for name, tags, begin in fields:
            at = words_of(record, name, tags).ravel().tolist()
            source.extend(at)
            target.extend(range(begin, begin + len(at)))
        self._source, self._target = np.array(source, np.intp), np.array(target, np.intp)

    def copy(self, raw: bytes, words: NDArray[np.uint32]) -> None:
        """Write the fields of one record in bytes to where they belong."""
        turn_words(words, self._target, np.frombuffer(raw, np.uint32), self._source)


class Present:
    """The parameters, the state and the band of one engine as bundles: `bundles(control, stamp)`."""

    def __init__(self, root: str) -> None:
        params = [(f"{root}/params/{row.name}", "ff") for row in PARAMETERS]
        latent = [(f"{root}/state/latent/{name}", "f") for name in LATENT_STATE_NAMES]
        state = [(f"{root}/state/{name}", tags) for name, tags, _ in STATE]
        band = [(f"{root}/band/{name}", tags) for name, tags, _ in BAND_STATE]
        moved = [(f"{root}/band/{row.name}", "f") for row in BAND]
        self._layout = Layout([*params, *state, *band, *latent, *moved], f"{root}/stamp")
        fields = self._layout.fields
        self._values = np.zeros(1, fields)
        self._words = self._values.view(np.uint32)
        # The leading 64 words are (position, value) of each lane, the trailing ones latent and band.
        self._params = self._values.view(">f4")[: 2 * LANES].reshape(LANES, 2)
        tail, latents = len(self._words) - BAND_LANES, len(LATENT_STATE_NAMES)
        copied = [("latent", "f" * latents, tail - latents), ("band", "f" * BAND_LANES, tail)]
        self._made = []
        for i, (_, tags, source) in enumerate((*STATE, *BAND_STATE), LANES):
            if isinstance(source, str):
                copied.append((source, tags, fields.fields[f"m{i}"][1] // 4))  # type: ignore[index]
            else:
                self._made.append((self._values[f"m{i}"][0], source))
        self._copied, self._scalars = Copied(CONTROL, copied), Scalars(CONTROL)

    def bundles(self, control: Any, stamp: tuple[int, int, int, float]) -> list[memoryview]:
        """Return the datagrams that say one memory.CONTROL; valid until the next call."""
        self._params[:] = lane_values.told(control["position"]).T
        raw = control.tobytes()
        self._copied.copy(raw, self._words)
        seen = self._scalars.of(raw)
        for slot, make in self._made:
            slot[:] = make(seen)
        return self._layout.bundles(self._values, stamp)


class Body:
    """The limb frames of one performer as bundles: a message a limb (position x y z, rotation x y z w) and the root."""

    def __init__(self, root: str, performer: int) -> None:
        here = f"{root}/body/{performer}"
        limbs = [(f"{here}/{name}", "f" * 7) for name in NAMES]
        self._layout = Layout([*limbs, (f"{here}/place", "f" * 4), (f"{here}/time_ns", "h")], f"{root}/stamp")
        of_limbs = [
            words_of(LIMB_FRAME, name, "f" * size * LIMBS).reshape(LIMBS, size)
            for name, size in (("position", 3), ("rotation", 4))
        ]
        of_place = [
            words_of(LIMB_FRAME, name, tags).ravel()
            for name, tags in (("heading", "f"), ("origin", "fff"), ("time_ns", "h"))
        ]
        self._source = np.concatenate([np.hstack(of_limbs).ravel(), *of_place])

    def bundles(self, frame: Any, stamp: tuple[int, int, int, float]) -> list[memoryview]:
        """Return the datagrams that say one memory.LIMB_FRAME; valid until the next call."""
        return self._layout.bundles_of(frame.tobytes(), self._source, stamp)
