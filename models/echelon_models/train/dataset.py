"""A data set: recordings as one npz file, their split by source, and windows for training.

Needs NumPy alone, so that the file and this module can be taken to any machine that trains.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FORMAT = "echelon.dataset.v1"
FRAME_RATE_HZ = 60
KINDS = ("real", "dancer", "augmented", "session", "pair")
LANES, LIMB_NUMBERS = 32, 216
TOGETHER = "+"  # between the sources of a recording made of several


class DatasetError(ValueError):
    """A data set that cannot be written, read or trained with; the message has value, rule and remedy."""


class Recording(NamedTuple):
    """One stretch of motion with its targets: one row a control frame, 60 a second.

    `kind` is one of KINDS, `source` the recording it was made from (several joined by `+`): the split goes by it.
    Float32: `x` (n, 6), `c` (n,), `p` (n, 32) target positions 0..1, `limbs` (n, 216) or (n, 0) where they were left
    out, `energy` (n,) m/s, `bias` (n,) gate pull of the state machine, `tempo_bpm`, `phase` (n,). Bool: `p_mask`
    (n, 32) which targets count, `present` (n,) a real body was measured.
    """

    name: str
    kind: str
    x: NDArray[np.float32]
    c: NDArray[np.float32]
    p: NDArray[np.float32]
    p_mask: NDArray[np.bool_]
    limbs: NDArray[np.float32]
    energy: NDArray[np.float32]
    bias: NDArray[np.float32]
    tempo_bpm: NDArray[np.float32]
    phase: NDArray[np.float32]
    present: NDArray[np.bool_]
    source: str

    @property
    def frames(self) -> int:
        """How many control frames it has."""
        return len(self.c)

    @property
    def sources(self) -> frozenset[str]:
        """The recordings it was made from."""
        return frozenset(self.source.split(TOGETHER))


# The arrays of a recording: the shape of one row, and the dtype.
ARRAYS: dict[str, tuple[tuple[int, ...], type]] = {
    "x": ((6,), np.float32), "c": ((), np.float32), "p": ((LANES,), np.float32), "p_mask": ((LANES,), np.bool_),
    "limbs": ((LIMB_NUMBERS,), np.float32), "energy": ((), np.float32), "bias": ((), np.float32),
    "tempo_bpm": ((), np.float32), "phase": ((), np.float32), "present": ((), np.bool_),
}  # fmt: skip
STEPS, STEP_COUNT = "p_steps", 65535  # p in the compact form
_UNIT = ("c", "p", "bias")  # within 0..1


def check(recording: Recording) -> None:
    """Raise `DatasetError` where a recording is not what it says it is."""
    name = f"recording {recording.name!r}"
    if recording.kind not in KINDS:
        raise DatasetError(f"{name}: kind {recording.kind!r}; one of {', '.join(KINDS)}")
    if not recording.frames:
        raise DatasetError(f"{name}: has no frames; leave it out")
    for key, (row, dtype) in ARRAYS.items():
        array = getattr(recording, key)
        shapes = [(recording.frames, *row)] + ([(recording.frames, 0)] if key == "limbs" else [])
        if array.dtype != dtype or array.shape not in shapes:
            wanted = f"{np.dtype(dtype).name} {shapes[0]}"
            raise DatasetError(f"{name}: {key} is {array.dtype} {array.shape}; {wanted} is wanted: make it again")
        if dtype is np.float32 and not np.isfinite(array).all():
            row_number = int(np.argmin(np.isfinite(array).reshape(len(array), -1).all(axis=1)))
            raise DatasetError(f"{name}: {key} is not finite in frame {row_number}; cut it out")
        if key in _UNIT and (array.min(initial=0.0) < 0.0 or array.max(initial=0.0) > 1.0):
            raise DatasetError(f"{name}: {key} leaves 0..1 ({array.min():g} to {array.max():g}); make it again")


def write(path: str | Path, recordings: Sequence[Recording], *, limbs: bool = True) -> int:
    """Write recordings as one npz file and return its size in bytes.

    With `limbs` every number is kept, 225 MB an hour. Without it is the compact form to take along, 16 MB an hour:
    deflated, and p rounded to 1/65535 of the range. The file appears whole or not at all: it is written beside its
    place first. Raises `DatasetError`.
    """
    path = Path(path)
    if not recordings:
        raise DatasetError(f"{path}: there is no recording to write; name folders with motion, or --dancer MINUTES")
    for recording in recordings:
        check(recording)
        if limbs and recording.limbs.shape[1] != LIMB_NUMBERS:
            raise DatasetError(f"recording {recording.name!r}: has no limbs; write the data set without limbs")
    heads: dict[str, Any] = {
        "format": np.array(FORMAT),
        "frame_rate": np.array(FRAME_RATE_HZ),
        "length": np.array([each.frames for each in recordings], np.int64),
        **{key: np.array([getattr(each, key) for each in recordings]) for key in ("name", "kind", "source")},
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for key, array in heads.items():
                    _put(archive, key, [array], array.shape, array.dtype)
                total = int(heads["length"].sum())
                for key, (row, dtype) in ARRAYS.items():
                    if not limbs and key == "limbs":
                        _put(archive, key, [], (total, 0), np.dtype(dtype))
                    elif not limbs and key == "p":
                        steps = _steps(np.concatenate([each.p for each in recordings]))
                        _put(archive, STEPS, [steps], steps.shape, steps.dtype, deflate=True)
                    else:
                        parts = [getattr(each, key) for each in recordings]
                        _put(archive, key, parts, (total, *row), np.dtype(dtype), deflate=not limbs or key == "p_mask")
            file.flush()
            os.fsync(file.fileno())
        size = partial.stat().st_size
        partial.replace(path)
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or choose another place; "
            "nothing was left there"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return size


def _steps(p: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return positions (n, 32) as steps from row to row, uint16 (32, n) modulo 2^16: small numbers deflate well."""
    whole = np.rint(p.T.astype(np.float64) * STEP_COUNT).astype(np.uint16)
    return np.diff(whole, axis=1, prepend=np.zeros((len(whole), 1), np.uint16))


def _from_steps(steps: NDArray[np.uint16]) -> NDArray[np.float32]:
    whole = np.cumsum(steps, axis=1, dtype=np.uint16)
    return np.ascontiguousarray(whole.T / np.float64(STEP_COUNT), np.float32)


def _put(
    archive: zipfile.ZipFile,
    key: str,
    parts: Sequence[NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    deflate: bool = False,
) -> None:
    """Write one array of the npz file from its parts, one after the other: no copy of the whole is made."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    file: IO[bytes]
    info = zipfile.ZipInfo(f"{key}.npy")
    info.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with archive.open(info, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_2_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).tobytes())


def read(path: str | Path) -> list[Recording]:
    """Return the recordings of a data set; raises `DatasetError` for a file that is none, or not a whole one."""
    path = Path(path)
    remedy = "make it with `echelon-engine train data`"
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such data set; {remedy}")
    try:
        with path.open("rb") as opened:
            found = np.load(opened, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise DatasetError(f"{path}: is one bare array, no data set; {remedy}")
            kept = [STEPS if key == "p" and STEPS in found.files else key for key in ARRAYS]
            wanted = ("format", "frame_rate", "length", "name", "kind", "source", *kept)
            missing = [key for key in wanted if key not in found.files]
            if "format" in missing or str(found["format"]) != FORMAT:
                raise DatasetError(f"{path}: is no data set of format {FORMAT}; {remedy}")
            if missing:
                raise DatasetError(f"{path}: lacks {', '.join(missing)}; {remedy}")
            if (rate := float(found["frame_rate"])) != FRAME_RATE_HZ:
                raise DatasetError(f"{path}: has {rate:g} rows a second; the models run at {FRAME_RATE_HZ}: {remedy}")
            length = found["length"]
            heads = [found[key].tolist() for key in ("name", "kind", "source")]
            arrays: dict[str, NDArray[Any]] = {
                key: found[name] if key == name else _from_steps(found[name])
                for key, name in zip(ARRAYS, kept, strict=True)
            }
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: not a whole npz file ({error}); {remedy}") from error
    total = int(length.sum())
    if any(len(array) != total for array in arrays.values()) or any(len(head) != len(length) for head in heads):
        raise DatasetError(f"{path}: its arrays have not the {total} rows of its recordings; {remedy}")
    recordings = []
    for end, count, name, kind, source in zip(np.cumsum(length), length, *heads, strict=True):
        rows = {key: array[end - count : end] for key, array in arrays.items()}
        recordings.append(Recording(name=name, kind=kind, source=source, **rows))
        check(recordings[-1])
    return recordings


def sources(recordings: Sequence[Recording]) -> list[str]:
    """Return the names of all sources, sorted."""
    return sorted(frozenset[str]().union(*(each.sources for each in recordings)))


def split(recordings: Sequence[Recording], held_out: Collection[str]) -> tuple[list[Recording], list[Recording]]:
    """Return (train, test): test is made of held-out sources alone, train of none of them; mixtures are left out.

    Raises `DatasetError` for a source that is not there, or when nothing is left to train with.
    """
    known = sources(recordings)
    for name in held_out:
        if name not in known:
            raise DatasetError(f"source {name!r}: is not in this data set; it has {', '.join(known)}")
    out = frozenset(held_out)
    train = [each for each in recordings if not each.sources & out]
    test = [each for each in recordings if each.sources <= out]
    if not train:
        raise DatasetError(f"{len(out)} sources held out: nothing is left to train with; hold out fewer")
    return train, test


class Windows:
    """Random windows of recordings, every frame of every recording about equally often.

    A recording shorter than the window is drawn from its beginning; its last frame is then repeated, and no target of
    the repetition counts.
    """

    KEYS = ("x", "c", "p", "p_mask", "bias", "limbs", "energy", "present")

    def __init__(self, recordings: Sequence[Recording]) -> None:
        if not recordings:
            raise DatasetError("no recordings: there is nothing to draw windows from; widen the split")
        self.recordings = list(recordings)
        self._length = np.array([each.frames for each in recordings])

    @property
    def frames(self) -> int:
        """How many control frames there are in all."""
        return int(self._length.sum())

    def batch(
        self,
        rng: np.random.Generator,
        count: int = 32,
        length: int = 300,
        keys: Sequence[str] = KEYS,
    ) -> dict[str, NDArray[Any]]:
        """Return `count` windows of `length` frames: for each key an array (count, length, ...), as in Recording.

        The same generator state gives the same windows. `start` (count,) and `recording` (count,) int64 say where
        they lie.
        """
        if count < 1 or length < 1:
            raise DatasetError(f"{count} windows of {length} frames: both are 1 at least")
        which = rng.choice(len(self._length), size=count, p=self._length / self._length.sum())
        # Windows may begin so that each frame of a recording is as likely as any other to be in one.
        room = np.maximum(self._length[which] - length, 0)
        start = np.minimum((rng.random(count) * (room + 1)).astype(np.int64), room)
        rows = start[:, None] + np.arange(length)
        last = self._length[which][:, None] - 1
        beyond = rows > last
        rows = np.minimum(rows, last)
        found: dict[str, NDArray[Any]] = {
            key: np.stack([getattr(self.recordings[i], key)[rows[n]] for n, i in enumerate(which)]) for key in keys
        }
        if "p_mask" in found:
            found["p_mask"][beyond] = False
        return {**found, "start": start, "recording": which}
