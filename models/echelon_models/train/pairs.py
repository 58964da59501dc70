"""Motion and audio recordings become training pairs: positions of the lanes over a recording, 60 rows a second."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.parameters import LANES
from echelon_models.train import extract
from echelon_models.train.phrase import RATE_HZ
from echelon_models.train.sound_file import checked, resampled


def follow(
    sound: Any,
    rate_hz: float,
    *,
    window_s: float = 1.0,
    evaluations: int = 300,
    first: int | None = None,
    seed: int = 1,
    tell: extract.Tell | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return targets for motion that was recorded with a sound: float32 and bool (control frames, 32) at 60 Hz.

    The sound is cut into windows of `window_s`; each is matched by one note, beginning with the setting of the window
    before, and its positions are held over it. The mask is False for lanes that cannot be heard there, and in windows
    without sound, where the positions stay what they were. `first` renders are made for the first window, `evaluations`
    for each of the others; `tell(done, rows, distance_db)` is called as rows are done. Fits `dataset.Recording.p` and
    `p_mask`.
    """
    whole = resampled(checked(sound, rate_hz), round(rate_hz), RATE_HZ)
    rows = max(round(len(whole) / RATE_HZ * 60.0), 1)
    position, mask = np.full((rows, LANES), extract.MIDDLE, np.float32), np.zeros((rows, LANES), np.bool_)
    before: NDArray[np.float64] | None = None
    for number, (begin, last, part) in enumerate(_windows(whole, window_s, rows)):
        if part is not None:
            renders = first if before is None else evaluations
            within = None if tell is None else partial(_within, tell, begin, last, rows)
            found = extract.extract(part, RATE_HZ, start=before, evaluations=renders, seed=seed + number, tell=within)
            before = found.position
            mask[begin:last] = found.heard
        if before is not None:
            position[begin:last] = before
    return position, mask


def _within(tell: extract.Tell, begin: int, last: int, rows: int, made: int, of: int, distance: float) -> None:
    tell(begin + (last - begin) * made // of, rows, distance)


def _windows(
    sound: NDArray[np.float32], window_s: float, rows: int
) -> Iterator[tuple[int, int, NDArray[np.float32] | None]]:
    step = max(round(window_s * 60.0), 3)
    for first in range(0, rows, step):
        last = min(first + step, rows)
        part = sound[first * RATE_HZ // 60 : last * RATE_HZ // 60]
        loud = len(part) >= 0.05 * RATE_HZ and float(np.abs(part).max()) > 1e-3
        yield first, last, part if loud else None
