"""A session's sound once more: every life through the replay, and what could make its bytes differ from those heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from echelon_bridges.session.folder import MODELS, digest, product, weights_files
from echelon_bridges.session.reader import Session
from echelon_engine.config import Config, Models
from echelon_engine.errors import UserError


@dataclass(frozen=True)
class Played:
    """One life as it was played again: `sound` float32 (samples, 2), `records` of memory.CONTROL, what was missing."""

    epoch: int
    sound: NDArray[np.float32]
    records: NDArray[Any]
    missing: tuple[str, ...]


def models_of(session: Session, config: Config) -> Models:
    """Return the models to play with: those that a person chose now, else those of the session."""
    try:
        logged = msgspec.convert(session.header.get("config", {}).get("models", {}), Models)
    except (msgspec.ValidationError, AttributeError):
        logged = Models()
    chosen = {
        name: getattr(config.models, name) for name in Models.__struct_fields__ if config.is_chosen(f"models.{name}")
    }
    return msgspec.structs.replace(logged, **chosen)


def check_weights(session: Session, models: Models) -> None:
    """Raise `UserError` where the weights are not those that the session was played with."""
    for key, path in weights_files(models).items():
        logged = session.header.get("weights", {}).get(key, {})
        remedy = f"name its file with --set models.{MODELS[key]}=FILE, or render with --anyway: the sound then differs"
        if not path.is_file():
            raise UserError(str(path), f"there are no such weights; the session was played with them ({key})", remedy)
        found = digest(path)
        if found != logged.get("sha256"):
            rule = f"sha256 {found[:12]}, and the session was played with {str(logged.get('sha256'))[:12]}"
            raise UserError(str(path), rule, remedy)


def differences(session: Session) -> str:
    """Return what is another product now than when it was logged, "" for nothing: bytes may then differ."""
    here, then = product(), session.header.get("product", {})
    return ", ".join(f"{name} {then.get(name)} then, {here[name]} now" for name in here if then.get(name) != here[name])


def play(
    session: Session,
    weights: Any,
    *,
    most_frames: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Played]:
    """Play one life after the other, each as far as it can be; `most_frames` control frames in all.

    Raises `UserError` when not one of them can be played.
    """
    from echelon_engine.replay import replay

    left = most_frames if most_frames is not None else 1 << 62
    refused: UserError | None = None
    played = False
    for life in session.lives():
        if left <= 0:
            break
        try:
            controls, inputs, end = life.playable(left)
        except UserError as error:
            refused = refused or error
            continue
        played = True
        frames = len(controls) - 1
        left -= frames
        replayed = replay(controls, inputs, weights, rate_hz=session.rate_hz, progress=progress)
        yield Played(life.epoch, replayed.sound[:end], replayed.records[:frames], life.missing)
    if not played:
        raise refused or UserError(str(Path(session.path).parent), "holds no control frame", "there is nothing to play")
