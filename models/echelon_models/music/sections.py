"""The form of the piece: six sections, driven by how hard the body works, with hysteresis and least lengths.

    Intro -> Groove -> Build -> Climax -> Breakdown -> Groove or Build ..      any -> Outro when the body rests
    Outro -> Intro when it moves again

Drive 0..1 is where the energy stands between what this body has lately shown as little and as much, so that a gentle
performer has a climax too. All lengths are bars; sections change on even bars, Outro and Intro on any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from echelon_engine import vocabulary

SECTIONS = tuple(name.capitalize() for name in vocabulary.SECTIONS)
INTRO, GROOVE, BUILD, CLIMAX, BREAKDOWN, OUTRO = range(6)

LEAST_BARS = (4, 4, 2, 4, 2, 2)
QUIET = 0.25  # a drive under it ends what is loud after two bars, whatever its least length
MOST_BARS = (8, 24, 8, 16, 12, 0)  # 0: no limit
QUIET_MPS, WILD_MPS = 0.05, 1.8  # the ends of the energy's logarithmic scale


@dataclass(slots=True)
class Form:
    """Where the piece is: `section`, the bars it has lasted (`age`), and the followers that decide."""

    section: int = INTRO
    age: int = 0
    begun: bool = False
    now: float = 0.0  # drive of the newest bar alone
    drive: float = 0.0
    slow: float = 0.3
    low: float = 0.25
    high: float = 0.70

    def advance(self, bar: int, energy: float, tension: float, c: float, active: bool) -> None:
        """Take what was heard during one bar (energy in m/s, tension and c 0..1) and decide the section of `bar`."""
        place = _place(energy)
        if active:
            self.high += (0.5 if place > self.high else 0.02) * (place - self.high)
            self.low += (0.5 if place < self.low else 0.02) * (place - self.low)
        spread = max(self.high - self.low, 0.3)
        now = min(max((place - self.low) / spread, 0.0), 1.0)
        now = 0.75 * now + 0.15 * _share(tension / 0.6) + 0.10 * _share(c)
        self.now = now
        self.drive += 0.6 * (now - self.drive)
        self.slow += 0.15 * (self.drive - self.slow)
        if not self.begun:  # the piece begins, whether somebody moves or not
            self.begun = True
            return
        if not active:
            wanted = INTRO if self.section == INTRO and self.age + 1 < LEAST_BARS[INTRO] else OUTRO
        elif self.section == OUTRO:
            wanted = INTRO
        else:
            least = 2 if self.drive < QUIET else LEAST_BARS[self.section]
            wanted = self._wanted() if bar % 2 == 0 and self.age + 1 >= least else self.section
        if wanted != self.section:
            self.section, self.age = wanted, 0
        else:
            self.age += 1

    def _wanted(self) -> int:
        d, age = self.drive, self.age + 1
        over = 0 < MOST_BARS[self.section] <= age
        if self.section == INTRO:
            return GROOVE if d > 0.3 or over else INTRO
        if self.section == GROOVE:
            if d > 0.62 or (d > 0.45 and d - self.slow > 0.1) or (over and d > 0.4):
                return BUILD
            return BREAKDOWN if d < QUIET else GROOVE
        if self.section == BUILD:
            if d > 0.78 or (age >= 4 and d > 0.62):
                return CLIMAX
            return BREAKDOWN if d < QUIET else GROOVE if d < 0.42 or over else BUILD
        if self.section == CLIMAX:
            if d < 0.35 or self.now < QUIET or over:
                return BREAKDOWN
            return GROOVE if d < 0.52 else CLIMAX
        if d > 0.75:
            return BUILD
        return GROOVE if d > 0.35 or over else BREAKDOWN


def _share(x: float) -> float:
    """Return x within 0..1, and 0 for what is no number."""
    return min(x, 1.0) if x > 0.0 else 0.0


def _place(energy: float) -> float:
    """Return where an energy in m/s stands on the logarithmic scale from quiet 0 to wild 1."""
    if not energy > QUIET_MPS:
        return 0.0
    return min(math.log(energy / QUIET_MPS) / math.log(WILD_MPS / QUIET_MPS), 1.0)
