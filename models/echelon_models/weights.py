"""Weights files: loading with every check, saving, and packing into the records that the kernels read.

A file that would misbehave on stage is refused here, by name: the value, the rule, the remedy.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file

from echelon_engine.config import BUILT_IN, Models
from echelon_engine.errors import UserError, nearest
from echelon_models.certificates import Figure, figures
from echelon_models.formats import BY_NAME, FORMATS, Format, Hyper, Key, Tensor

if TYPE_CHECKING:
    from echelon_engine.state import Weights

INITIAL = Path(__file__).parent / "weights"
INITIAL_NAME = "initial"  # in place of a path: the weights that were designed, not trained
# What plays without a setting: what was learned, where it is better than what was designed (TRAINING.md).
BUILT_IN_FILES: dict[Key, str] = {
    "dell_gated": "dell_gated_trained", "dell_coupled": "dell_coupled_trained", "lim_rps": "lim_rps_trained",
}  # fmt: skip


class WeightsError(UserError):
    """A weights file that is not what the specification wants; the message names file, value, rule and remedy."""


@dataclass(frozen=True, slots=True)
class Model:
    """Checked weights: float32 tensors named as in the format, hyper-parameters as numbers, certificate figures."""

    spec: Format
    tensors: Mapping[str, NDArray[np.float32]]
    hypers: Mapping[str, float]
    figures: tuple[Figure, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    source: str = "weights"

    @property
    def key(self) -> Key:
        """Return the short name of the format: dell_gated, dell_coupled or lim_rps."""
        return self.spec.key

    def has(self, group: str) -> bool:
        """Tell whether the optional tensors of a group ("encoders", "P") are there."""
        return all(tensor.name in self.tensors for tensor in self.spec.tensors if tensor.group == group)


def initial_path(key: Key) -> Path:
    """Return the path of the initial weights: in the package, or made from their seed into the cache folder."""
    path = INITIAL / f"{key}.safetensors"
    if path.is_file():
        return path
    from echelon_engine._jit import writable_root
    from echelon_models import initial

    version = hashlib.sha256(Path(initial.__file__).read_bytes()).hexdigest()[:16]
    path = writable_root() / f"initial-{version}" / f"{key}.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{key}.{os.getpid()}.safetensors")
        initial.make(key, partial)
        partial.replace(path)
    return path


def built_in_path(key: Key) -> Path:
    """Return the path of the weights that play without a setting."""
    path = INITIAL / f"{BUILT_IN_FILES[key]}.safetensors"
    return path if BUILT_IN_FILES[key] != key else initial_path(key)


def path_of(key: Key, chosen: str) -> Path:
    """Return the file that an entry of the configuration names: a path, "built-in" or "initial"."""
    if chosen == BUILT_IN:
        return built_in_path(key)
    return initial_path(key) if chosen == INITIAL_NAME else Path(chosen)


def load(path: str | Path) -> Model:
    """Load and check a safetensors file; raise WeightsError where it is not what its format wants."""
    path = Path(path)
    if not path.is_file():
        rule = "is a directory, not a file" if path.is_dir() else "there is no such weights file"
        raise WeightsError(str(path), rule, "give the path of a .safetensors file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            names = list(file.keys())
            kinds = {name: file.get_slice(name).get_dtype() for name in names}
            for name, kind in kinds.items():
                if kind != "F32":
                    raise WeightsError(
                        f"{path}: tensor {name!r} is {kind}", "every tensor is float32 (F32)", "export it as float32"
                    )
            tensors = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        rule = f"not a whole safetensors file ({error})"
        raise WeightsError(str(path), rule, "copy or export it again; it may be truncated") from error
    return check(tensors, metadata, str(path))


def check(tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str], source: str = "weights") -> Model:
    """Return the model that tensors and metadata describe; raise WeightsError at the first rule they break."""
    name = metadata.get("format")
    if name is None:
        known = ", ".join(sorted(BY_NAME))
        raise WeightsError(f"{source}: no 'format' in the metadata", f"it must be one of {known}", "export it again")
    spec = BY_NAME.get(name)
    if spec is None:
        hint = nearest(name, BY_NAME) or "known: " + ", ".join(sorted(BY_NAME))
        raise WeightsError(f"{source}: format {name!r}", "this engine does not know it", hint)
    _check_tensors(spec, tensors, source)
    hypers = {hyper.name: _number(hyper, metadata, source) for hyper in spec.hypers}
    if spec.key == "dell_gated":
        expected = round(hypers["frame_rate"] * hypers["tau_slow"])
        if hypers["slow_every"] != expected:
            raise WeightsError(
                f"{source}: slow_every = {hypers['slow_every']:g} with tau_slow = {hypers['tau_slow']:g} s",
                f"slow_every is round(60 tau_slow) = {expected}",
                "export both from one setting",
            )
    found = figures(spec.key, tensors, hypers)
    for figure in found:
        if not figure.holds:
            raise WeightsError(
                f"{source}: certificate {figure.name} = {figure.value:.6g}",
                f"{figure.rule} ({figure.about})",
                "train with the constraint, or project the weights before exporting",
            )
    return Model(spec, dict(tensors), hypers, found, dict(metadata), source)


def _check_tensors(spec: Format, tensors: Mapping[str, NDArray[np.float32]], source: str) -> None:
    wanted = {tensor.name: tensor for tensor in spec.tensors}
    for name in tensors:
        if name not in wanted:
            hint = nearest(name, wanted) or "remove it, or export for the right format"
            raise WeightsError(f"{source}: extra tensor {name!r}", f"{spec.name} has no such tensor", hint)
    present_groups = {wanted[name].group for name in tensors}
    for tensor in spec.tensors:
        if tensor.name not in tensors:
            if tensor.group and tensor.group not in present_groups:
                continue
            rule = f"{spec.name} needs it"
            if tensor.group:
                rule += f" together with the other {tensor.group}"
            raise WeightsError(
                f"{source}: missing tensor {tensor.name!r} {tensor.shape}", rule, "export the whole model"
            )
        _check_tensor(tensor, tensors[tensor.name], source)


def _check_tensor(tensor: Tensor, values: NDArray[np.float32], source: str) -> None:
    where = f"{source}: tensor {tensor.name!r}"
    if values.dtype != np.float32:
        raise WeightsError(f"{where} is {values.dtype}", "every tensor is float32", "export it as float32")
    if values.shape != tensor.shape:
        turned = values.shape == tensor.shape[::-1] and len(tensor.shape) == 2
        remedy = "transpose it before exporting" if turned else "export it with the shapes of the format"
        raise WeightsError(f"{where} is {values.shape}", f"its shape is {tensor.shape}", remedy)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        first = tuple(int(i) for i in np.unravel_index(bad[0], values.shape))
        raise WeightsError(
            f"{where} holds {values[first]} at {list(first)} ({bad.size} not finite)",
            "every weight is a finite number",
            "go back to a checkpoint from before the training diverged",
        )


def _number(hyper: Hyper, metadata: Mapping[str, str], source: str) -> float:
    unit = f" {hyper.unit}" if hyper.unit else ""
    rule = f"{'a whole number' if hyper.whole else 'a number'} {hyper.low:g} to {hyper.high:g}{unit}"
    text = metadata.get(hyper.name)
    if text is None:
        raise WeightsError(f"{source}: no {hyper.name!r} in the metadata", f"it must be {rule}", "export it again")
    remedy = "correct the metadata and export again"
    try:
        value = float(text)
    except ValueError:
        raise WeightsError(f"{source}: {hyper.name} = {text!r}", f"must be {rule}", remedy) from None
    if not hyper.low <= value <= hyper.high or (hyper.whole and value != int(value)):
        raise WeightsError(f"{source}: {hyper.name} = {text}", f"must be {rule}", remedy)
    return value


def save(
    path: str | Path, key: Key, tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, object]
) -> Model:
    """Check a model, write it as safetensors (the same bytes for the same model) and return it.

    `metadata` holds the hyper-parameters and free notes such as `origin`; numbers read back exactly.
    """
    text = {name: value if isinstance(value, str) else repr(value) for name, value in metadata.items()}
    text["format"] = FORMATS[key].name
    model = check(tensors, text, str(path))
    try:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path, metadata=text)
        _order_header(Path(path))
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(str(path), f"cannot be written ({error})", "choose a folder you may write to") from error
    return model


def _order_header(path: Path) -> None:
    # The library writes metadata in the order of a hash table, another one in every process: sort it.
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])


def load_all(models: Models) -> Weights:
    """Return the three records that the engine runs on, from the `models` section of the configuration.

    Each entry is a path, "built-in" or "initial"; raises WeightsError, also for a file that holds another model than
    its entry wants. Imports Numba.
    """
    from echelon_engine.state import Weights

    chosen: dict[Key, str] = {
        "dell_gated": models.gated,
        "dell_coupled": models.coupled,
        "lim_rps": models.lim_rps,
    }
    records = []
    for key, path in chosen.items():
        model = load(path_of(key, path))
        if model.key != key:
            entry = f"models.{key.removeprefix('dell_')}"
            raise WeightsError(
                f"{path}: holds {model.spec.name}", f"{entry} wants {FORMATS[key].name}", "swap the files in the config"
            )
        records.append(to_record(model))
    return Weights(*records)


def kernel_of(key: Key) -> ModuleType:
    """Return the engine's kernel module of a format; imports Numba."""
    from echelon_engine.kernels import dell_coupled, dell_gated, lim_rps

    return {"dell_gated": dell_gated, "dell_coupled": dell_coupled, "lim_rps": lim_rps}[key]


def to_record(model: Model, *, complete: bool = True) -> Any:
    """Return the kernel's WEIGHTS record, aligned to cache lines, filled from a model; imports Numba.

    `complete`: refuse a model that lacks optional tensors (the engine needs the encoders and P of LIM-RPS); otherwise
    they stay zero.
    """
    from echelon_engine.kernels.dense import aligned_record, pack

    record = aligned_record(kernel_of(model.key).WEIGHTS)
    for tensor in model.spec.tensors:
        values = model.tensors.get(tensor.name)
        if values is None:
            if complete:
                raise WeightsError(
                    f"{model.source}: missing tensor {tensor.name!r} {tensor.shape}",
                    "the engine needs the complete model",
                    "export it with its encoders and P, or use it with infer and inspect only",
                )
            continue
        target = record[tensor.name]
        if target.ndim == 3:
            pack(target, values.T if tensor.transposed else values)
        else:
            target[:] = values
    hypers = model.hypers
    if model.key == "dell_gated":
        record["a_fast"] = min(1.0, 1 / (hypers["frame_rate"] * hypers["tau_fast"]))
        record["a_slow"] = min(1.0, 1 / (hypers["frame_rate"] * hypers["tau_slow"]))
        record["slow_every"] = hypers["slow_every"]
    else:
        for hyper in model.spec.hypers:
            if hyper.name in (record.dtype.names or ()):
                record[hyper.name] = hypers[hyper.name]
    if model.key == "lim_rps":
        record["rate"] = next(figure.value for figure in model.figures if figure.name == "q")
    return record
