"""Checkpoints: one file that is whole or not there, and that knows which training it belongs to."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

MAGIC = b"echelon.checkpoint.v1\n"
_DIGEST = hashlib.sha256().digest_size


class TrainingError(ValueError):
    """A training that cannot begin or go on; the message has value, rule and remedy."""

    def __init__(self, value: str, rule: str, remedy: str) -> None:
        super().__init__(f"{value}: {rule}; {remedy}")


def write(path: str | Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint in place of the last one; raise TrainingError, the last one untouched, if that fails."""
    path = Path(path)
    buffer = io.BytesIO()
    torch.save({"identity": json.dumps(identity), "state": dict(state)}, buffer)
    payload = buffer.getbuffer()
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(MAGIC + hashlib.sha256(payload).digest())
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise TrainingError(
            f"checkpoint {path}",
            f"cannot be written ({error.strerror or error})",
            "free some space or choose another place and start again: it goes on from the last checkpoint",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def read(path: str | Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a checkpoint; raise TrainingError for a file that is not whole or of another training."""
    where = f"checkpoint {path}"
    remedy = "move it away to begin anew, or name another"
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise TrainingError(where, f"cannot be read ({error.strerror or error})", remedy) from error
    payload = memoryview(raw)[len(MAGIC) + _DIGEST :]
    if not raw.startswith(MAGIC):
        raise TrainingError(where, "is no checkpoint of this program", remedy)
    if hashlib.sha256(payload).digest() != raw[len(MAGIC) : len(MAGIC) + _DIGEST]:
        raise TrainingError(where, "is not whole: its checksum does not fit", remedy)
    try:
        found = torch.load(io.BytesIO(payload), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise TrainingError(where, f"cannot be understood ({error})", remedy) from error
    own, other = json.loads(json.dumps(identity)), json.loads(found["identity"])
    for name in sorted({*own, *other}):
        if own.get(name) != other.get(name):
            short = [str(each.get(name))[:60] for each in (other, own)]
            raise TrainingError(where, f"was made with {name} = {short[0]}, this training has {short[1]}", remedy)
    state: dict[str, Any] = found["state"]
    return state
