"""Grids to test with: arbitrary ones of all 81 tokens, crowded and sparse, and the real music."""

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from paths import SHARED

from echelon_models.music import tokens

GRIDS = SHARED / "data" / "music" / "grids"
needs_music = pytest.mark.skipif(not GRIDS.is_dir(), reason="the music data (../shared/data/music) is absent")


def real(name: str) -> NDArray[np.uint8]:
    """Return the grids of one set, uint8 (N, 12, 32)."""
    with np.load(GRIDS / f"{name}.npz") as file:
        return np.asarray(file["grid"])


@st.composite
def grids(draw: Any) -> NDArray[np.uint8]:
    """Return a grid: tokens drawn by category with drawn weights, so that every mixture comes up."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = [[token.id for token in tokens.TOKENS if token.category == kind] for kind in KINDS]
    first, size = np.array([group[0] for group in groups]), np.array([len(group) for group in groups])
    weights = np.array(draw(st.lists(st.integers(0, 8), min_size=len(KINDS), max_size=len(KINDS)))) + 0.05
    kinds = random.choice(len(KINDS), size=(12, 32), p=weights / weights.sum())
    few = draw(st.booleans())  # few different sounds make repeats and runs of the same articulation likelier
    range_of = np.minimum(size, 2) if few else size
    return np.asarray(first[kinds] + random.integers(1000, size=kinds.shape) % range_of[kinds], np.uint8)


KINDS = ("rest", "pitch", "drum", "dynamics", "articulation", "duration", "effect", "structure")
