"""OSC out: parameters, state, notes, beats and, where switched on, bodies, to every host:port of `osc.targets`.

    /echelon/NAME/stamp           ,ihhd version sequence monotonic_ns wall_s: first in every bundle
    /echelon/NAME/params/LANE     ,ff   position 0..1, value in the lane's unit
    /echelon/NAME/state/FIELD     the fields of the state message, x (6), z (32), latent/NAME (25)
    /echelon/NAME/band/FIELD      its 15 parameters (,f 0..1), grid (,h); bar, step, section, style, mode (,i numbers)
    /echelon/NAME/note/on         ,ifffi key pitch velocity pan source (0 body, 1 others)
    /echelon/NAME/note/off        ,ii   key source
    /echelon/NAME/note/all_off    ,     panic ended everything
    /echelon/NAME/beat, /bar      ,i    on each beat and bar of the musical clock, from 0
    /echelon/NAME/body/N/LIMB     ,fffffff position x y z, rotation x y z w; place (heading, origin), time_ns

Continuous values are sent `osc.rate_hz` times a second at most and only the newest; notes at once.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.messages.table import VERSION
from echelon_bridges.osc.layout import BUNDLE_BYTES, IMMEDIATELY, element
from echelon_bridges.osc.targets import Target, parse
from echelon_bridges.osc.values import Body, Present
from echelon_engine.config import Config
from echelon_engine.memory import ALL_OFF, CONTROL_RATE_HZ, NOTE_OFF, NOTE_ON, PERFORMERS

NOTES_HZ, NOTES_BURST = 500.0, 200.0  # notes begun a second that are sent; ends of notes always are


class OscOut:
    """An outlet. `told(text)` hears of targets that cannot be reached, once each. Raises `UsageError` for targets."""

    name = "osc_out"

    def __init__(self, config: Config, told: Callable[[str], None]) -> None:
        root = f"/echelon/{config.engine.name}"
        self._targets = [Target(host, port, told) for host, port in parse(config.osc.targets)]
        self._present = Present(root)
        self._bodies = [Body(root, performer) for performer in range(config.motion.performers)]
        self._body_wanted = config.osc.body
        self._period_frames = CONTROL_RATE_HZ / config.osc.rate_hz
        self._period_ns = 1e9 / config.osc.rate_hz
        self._epoch, self._due_frame, self._sent_frame = -1, 0.0, 0
        self._performers_due_ns = 0.0
        self._body_due_ns = [0.0] * len(self._bodies)
        self._sequence = 0
        self._beat: tuple[int, int] | None = None  # epoch, whole beats
        self._notes_left, self._filled_ns = NOTES_BURST, 0
        self.notes = self.notes_dropped = self.ticks = self.skipped = 0
        self._note_on = element(f"{root}/note/on", "ifffi")[0]
        self._note_off = element(f"{root}/note/off", "ii")[0]
        self._all_off = element(f"{root}/note/all_off", "")[0]
        self._on_beat = element(f"{root}/beat", "i")[0]
        self._on_bar = element(f"{root}/bar", "i")[0]
        self._stamp = element(f"{root}/stamp", "ihhd")[0]
        self._performer = [element(f"{root}/performer/{i}", "iffffffffff")[0] for i in range(PERFORMERS)]

    def offer(self, controls: NDArray[Any], events: NDArray[Any], now_ns: int) -> None:
        """Send what is due of these records of memory.CONTROL (n,) and memory.EVENT (m,)."""
        elements = self._notes(events, now_ns) if len(events) else []
        if len(controls):
            elements += self._beats(controls)
        if elements:
            self._send(self._packed(elements), now_ns)
        if len(controls) and (control := self._due(controls)) is not None:
            self.ticks += 1
            self._send(self._present.bundles(control, self._next_stamp(now_ns)), now_ns)

    def body(self, performer: int, frames: NDArray[Any]) -> None:
        """Send the newest of these memory.LIMB_FRAME, where bodies are published and one is due."""
        if not self._body_wanted or not len(frames) or performer >= len(self._bodies):
            return
        now_ns = time.monotonic_ns()
        if now_ns < self._body_due_ns[performer]:
            return
        self._body_due_ns[performer] = max(self._body_due_ns[performer] + self._period_ns, now_ns - self._period_ns)
        self._send(self._bodies[performer].bundles(frames[-1], self._next_stamp(now_ns)), now_ns)

    def performers(self, states: NDArray[Any]) -> None:
        """Send what each performer does, performers.PERFORMER (n,): present, c, energy, tempo_bpm, phase, x."""
        now_ns = time.monotonic_ns()
        if now_ns < self._performers_due_ns:
            return
        self._performers_due_ns = max(self._performers_due_ns + self._period_ns, now_ns - self._period_ns)
        elements = []
        numbers = np.column_stack([states[name] for name in ("c", "energy", "tempo_bpm", "phase", "x")])
        present, row_is_finite = states["present"].tolist(), np.isfinite(numbers).all(axis=1).tolist()
        for i, performer in enumerate(states["performer"].tolist()):
            if row_is_finite[i]:
                elements.append(self._performer[performer] + struct.pack(">i10f", present[i], *numbers[i].tolist()))
        if elements:
            self._send(self._packed(elements), now_ns)

    def _due(self, controls: NDArray[Any]) -> Any:
        """Return the newest record when its turn has come, else None; frames of a new epoch count from 0 again."""
        epoch, frame = int(controls["epoch"][-1]), int(controls["frame"][-1])
        if epoch != self._epoch:
            self._epoch, self._due_frame, self._sent_frame = epoch, float(frame), frame
        if frame < math.floor(self._due_frame):
            return None
        self.skipped += max(round((frame - self._sent_frame) / self._period_frames) - 1, 0)
        self._sent_frame = frame
        # Late ones are not made up for: two are never nearer than a period, less the frame they are rounded to.
        self._due_frame = max(self._due_frame + self._period_frames, frame + self._period_frames - 1.0)
        return controls[-1]

    def _notes(self, events: NDArray[Any], now_ns: int) -> list[bytes]:
        elapsed_s = max(now_ns - self._filled_ns, 0) * 1e-9
        self._notes_left = min(self._notes_left + elapsed_s * NOTES_HZ, NOTES_BURST)
        self._filled_ns = now_ns
        elements: list[bytes] = []
        for event in events:
            kind = event["kind"]
            if kind == NOTE_ON:
                if self._notes_left < 1.0:
                    self.notes_dropped += 1
                    continue
                self._notes_left -= 1.0
                self.notes += 1
                arguments = (event["key"], event["pitch"], event["velocity"], event["pan"], event["source"])
                elements.append(self._note_on + struct.pack(">ifffi", *arguments))
            elif kind == NOTE_OFF:
                elements.append(self._note_off + struct.pack(">ii", event["key"], event["source"]))
            elif kind == ALL_OFF:
                elements.append(self._all_off)
        return elements

    def _beats(self, controls: NDArray[Any]) -> list[bytes]:
        newest = controls[-1]
        beat = int(newest["epoch"]), math.floor(newest["beat"])
        before, self._beat = self._beat, beat
        if before is None or before == beat:
            return []
        elements = [self._on_beat + struct.pack(">i", beat[1] & 0x7FFF_FFFF)]
        if before[0] != beat[0] or before[1] // 4 != beat[1] // 4:
            elements.append(self._on_bar + struct.pack(">i", int(newest["bar"]) & 0x7FFF_FFFF))
        return elements

    def _packed(self, elements: list[bytes]) -> list[bytes]:
        """Return bundles of these elements, in order, each within the size and with its stamp."""
        now_ns = time.monotonic_ns()
        bundles, bundle = [], b""
        for each in elements:
            if bundle and len(bundle) + len(each) > BUNDLE_BYTES:
                bundles.append(bundle)
                bundle = b""
            if not bundle:
                bundle = IMMEDIATELY + self._stamp + struct.pack(">iqqd", *self._next_stamp(now_ns))
            bundle += each
        return [*bundles, bundle]

    def _next_stamp(self, now_ns: int) -> tuple[int, int, int, float]:
        self._sequence += 1
        return VERSION, self._sequence, now_ns, time.time()

    def _send(self, datagrams: list[memoryview] | list[bytes], now_ns: int) -> None:
        for target in self._targets:
            target.send(datagrams, now_ns)

    def report(self) -> dict[str, Any]:
        """Return the counts for `status`."""
        return {
            "ticks": self.ticks,
            "skipped": self.skipped,
            "notes": self.notes,
            "notes_dropped": self.notes_dropped,
            "targets": {target.name: target.report() for target in self._targets},
        }

    def close(self) -> None:
        """Close the sockets."""
        for target in self._targets:
            target.close()
