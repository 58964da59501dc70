"""Where the tests find the real motion and the golden numbers, and the skip for machines without them."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
GOLDEN = SHARED / "golden"
MOTION = SHARED / "data" / "motion"

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the reference data (../shared) is not beside the repository"
)
