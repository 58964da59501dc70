"""What of a control record and of a limb frame goes out over OSC, under which address. Pure: records in, numbers out.

The names are those of `messages/table.py`; where OSC has no such type, a flag is 0 or 1 and the state its number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.motion.skeleton import NAMES
from echelon_bridges.osc.layout import Layout
from echelon_bridges.status import latency_ms
from echelon_engine.memory import FROZEN, HELD, LATENT_STATE_NAMES, MUTED, PRESENT
from echelon_engine.parameters import CURVES, LANES, PARAMETERS, curve_arrays

Getter = Callable[[Any], Any]


def _flag(bit: int) -> Getter:
    return lambda control: int(control["flags"]) & bit != 0


def _field(name: str) -> Getter:
    return lambda control: control[name]


def _latency(control: Any) -> float:
    latency = latency_ms(control)
    return -1.0 if latency is None else latency


# (address below state/, tags, value of a memory.CONTROL record)
STATE: tuple[tuple[str, str, Getter], ...] = (
    ("epoch", "i", _field("epoch")),
    ("frame", "i", _field("frame")),
    ("time_ns", "h", _field("time_ns")),
    ("motion_ns", "h", _field("motion_arrival_ns")),
    ("state", "i", _field("state")),
    ("present", "i", _flag(PRESENT)),
    ("held", "i", _flag(HELD)),
    ("frozen", "i", _flag(FROZEN)),
    ("muted", "i", _flag(MUTED)),
    ("commitment", "f", _field("c")),
    ("energy", "f", _field("energy")),
    ("x", "f" * 6, _field("x")),
    ("x_valid", "i" * 6, lambda control: [int(control["x_valid"]) >> i & 1 for i in range(6)]),
    ("z", "f" * 32, _field("z")),
    ("lr_pan", "f", _field("lr_pan")),
    ("transition_intensity", "f", _field("transition_intensity")),
    ("dell_coherence", "f", _field("dell_coherence")),
    ("freshness", "ff", lambda control: control["freshness"][:2]),
    ("tempo_bpm", "f", _field("tempo_bpm")),
    ("bar", "i", _field("bar")),
    ("beat", "d", _field("beat")),
    ("loudness_db", "f", _field("loudness_db")),
    ("voices", "i", _field("voices")),
    ("latency_ms", "f", _latency),
)


def parameter_values(position: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the 32 parameters in their units at these positions 0..1, both (32,): `Parameter.value` of all at once."""
    p = np.clip(position.astype(np.float64), 0.0, 1.0)
    shaped = np.where(_SQUARE, p * p, p)
    # log: low (high / low)^p; linear and square: low + p (high - low)
    return np.where(_LOG, _LOW * np.exp(p * _LOG_RATIO), _LOW + shaped * (_HIGH - _LOW))


_low, _high, _curve = curve_arrays()
_LOW, _HIGH = (np.array([getattr(row, end) for row in PARAMETERS], np.float64) for end in ("low", "high"))
_LOG, _SQUARE = _curve == CURVES.index("log"), _curve == CURVES.index("square")
_LOG_RATIO = np.log(np.where(_LOG, _HIGH / np.where(_LOG, _LOW, 1.0), 1.0))


class Present:
    """The parameters and the state of one engine as bundles: `bundles(control, stamp)`."""

    def __init__(self, root: str) -> None:
        params = [(f"{root}/params/{row.name}", "ff") for row in PARAMETERS]
        latent = [(f"{root}/state/latent/{name}", "f") for name in LATENT_STATE_NAMES]
        state = [(f"{root}/state/{name}", tags) for name, tags, _ in STATE]
        self._layout = Layout([*params, *state, *latent], f"{root}/stamp")
        self._values = np.zeros(1, self._layout.fields)
        # The leading 64 words are (position, value) of each lane, the trailing ones the latent.
        floats = self._values.view(">f4")
        self._params = floats[: 2 * LANES].reshape(LANES, 2)
        self._latent = floats[-len(LATENT_STATE_NAMES) :]
        self._state = [(self._values[f"m{LANES + i}"][0], get) for i, (_, _, get) in enumerate(STATE)]

    def bundles(self, control: Any, stamp: tuple[int, int, int, float]) -> list[memoryview]:
        """Return the datagrams that say one memory.CONTROL; valid until the next call."""
        self._params[:, 0] = control["position"]
        self._params[:, 1] = parameter_values(control["position"])
        self._latent[:] = control["latent"]
        for slot, get in self._state:
            slot[:] = get(control)
        return self._layout.bundles(self._values, stamp)


class Body:
    """The limb frames of one performer as bundles: a message a limb (position x y z, rotation x y z w) and the root."""

    def __init__(self, root: str, performer: int) -> None:
        here = f"{root}/body/{performer}"
        limbs = [(f"{here}/{name}", "f" * 7) for name in NAMES]
        self._layout = Layout([*limbs, (f"{here}/place", "f" * 4), (f"{here}/time_ns", "h")], f"{root}/stamp")
        self._values = np.zeros(1, self._layout.fields)
        floats = self._values.view(">f4")
        self._limbs = floats[: 7 * len(NAMES)].reshape(len(NAMES), 7)
        self._place = floats[7 * len(NAMES) : 7 * len(NAMES) + 4]  # heading, origin x y z

    def bundles(self, frame: Any, stamp: tuple[int, int, int, float]) -> list[memoryview]:
        """Return the datagrams that say one memory.LIMB_FRAME; valid until the next call."""
        self._limbs[:, :3] = frame["position"]
        self._limbs[:, 3:] = frame["rotation"]
        self._place[0] = frame["heading"]
        self._place[1:] = frame["origin"]
        self._values[f"m{len(NAMES) + 1}"] = frame["time_ns"]
        return self._layout.bundles(self._values, stamp)
