"""How DELL gated is trained: the source's recipe, and one that gives its state a memory to begin with.

Both have the source's losses, windows of 300 frames, batches of 32, AdamW and gradient clip. Source: spec/seeds/1,
"Training Procedure"; what `memory` changes and why: TRAINING.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from echelon_models.train.loop import Settings


class Recipe(NamedTuple):
    """The procedure's numbers; whether DELL gated starts with a memory (starts.py); what windows show (pool.Pool)."""

    settings: Settings
    memory: bool = False
    burn_in: int = 0
    starts: float = 0.0

    def but(self, **changed: Any) -> Recipe:
        """Return the recipe with some settings changed; cooling is never stopped early, it gains most at its end."""
        settings = replace(self.settings, **changed)
        return self._replace(settings=replace(settings, patience=settings.epochs) if settings.cooling else settings)

    def about(self) -> dict[str, Any]:
        """Return what belongs to a training besides its settings, JSON-ready."""
        return {"memory": self.memory, "burn_in": self.burn_in, "starts": self.starts}


RECIPES = {
    "source": Recipe(Settings()),
    "memory": Recipe(
        Settings(
            epochs=24, patience=24, rate=4e-3, cooling=True, warming=100, outlier=4.0, diverge_epochs=8
        ),
        memory=True, burn_in=24, starts=0.2,
    ),
}  # fmt: skip
