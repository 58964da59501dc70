"""One model alone, frame by frame from the zero state: what a researcher compares with a reference.

The engine's own kernels run, under the array names of the golden files. Imports Numba.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.errors import UserError, nearest
from echelon_models.formats import Key
from echelon_models.weights import Model, kernel_of, load, to_record

Arrays = dict[str, NDArray[Any]]
_PRECISION = 1e-8  # of the fixed point, relative to the first step


class ModelInputError(UserError):
    """Inputs that do not fit the model; the message names array, value, rule and remedy."""


# Per format: the input arrays by name, with the shape of one frame.
INPUTS: dict[Key, dict[str, tuple[int, ...]]] = {
    "dell_gated": {"x": (6,), "c": (), "gate_bias": ()},
    "dell_coupled": {"limbs": (216,), "boundary": ()},
    "lim_rps": {
        "e": (96,), "limbs": (216,), "left": (12,), "right": (12,), "left_fresh": (), "right_fresh": (),
    },
}  # fmt: skip


def run(weights: str | Path, source: str | Path, target: str | Path) -> str:
    """Run the weights over the arrays of `source` (npz), write the outputs to `target` (npz), return one line about it.

    Raises WeightsError or ModelInputError, and writes nothing then.
    """
    model = load(weights)
    outputs = infer(model, _read(Path(source)))
    try:
        with Path(target).open("wb") as file:
            np.savez(file, **dict[str, Any](outputs))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelInputError(
            str(target), f"cannot be written ({reason})", "choose a folder you may write to"
        ) from error
    frames = len(next(iter(outputs.values())))
    shapes = ", ".join(f"{name} {value.shape}" for name, value in outputs.items())
    return f"{model.spec.name}: {frames} frames -> {target}: {shapes}"


def infer(model: Model, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the model's outputs, float32, one row a frame, from the zero state.

    dell_gated    x (T, 6), c (T,), [gate_bias (T,) = 0]                -> y z h_fast h_slow gate y_no_bias
    dell_coupled  limbs (T, 216), [boundary (T,) = after each 24th]     -> z x_fast y_slow h
    lim_rps       e (T, 96), or with encoders limbs (T, 216), left, right (T, 12) [left_fresh, right_fresh (T,) = 1]
                                                                        -> z residual fixed_point [e]

    Raises ModelInputError for a missing or unknown array, a wrong shape or a value that is not finite.
    """
    runs: dict[Key, Callable[[Model, Arrays], Arrays]] = {
        "dell_gated": _gated,
        "dell_coupled": _coupled,
        "lim_rps": _lim_rps,
    }
    return runs[model.key](model, _checked(model.key, inputs))


def _read(path: Path) -> Arrays:
    remedy = "write it with numpy.savez"
    if not path.is_file():
        raise ModelInputError(str(path), "there is no such input file", remedy)
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ModelInputError(str(path), "is one bare array, not an npz of named arrays", remedy)
        with file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ModelInputError(str(path), f"not a whole npz file ({error})", remedy) from error


def _checked(key: Key, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    known = INPUTS[key]
    # Files of golden numbers hold inputs and outputs together: outputs among the inputs are passed over.
    outputs = {"y", "y_no_bias", "z", "h_fast", "h_slow", "gate", "x_fast", "y_slow", "h", "residual", "fixed_point"}
    found: Arrays = {}
    for name, values in inputs.items():
        if name not in known:
            if name in outputs:
                continue
            rule = f"this model takes {', '.join(known)}"
            raise ModelInputError(f"array {name!r}", rule, nearest(name, known) or "rename or remove it")
        found[name] = _frames(name, values, known[name])
    if not found:
        raise ModelInputError("no inputs", f"this model takes {', '.join(known)}", "give one row a frame")
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ModelInputError(f"frames: {text}", "all arrays have one row a frame", "cut them to the same length")
    return found


def _frames(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = np.asarray(values)
    wanted = f"({', '.join(['frames', *map(str, shape)])})"
    if values.dtype.kind not in "fiub":
        raise ModelInputError(f"array {name!r} is {values.dtype}", "numbers are wanted", "save it as float32")
    if values.ndim != 1 + len(shape) or values.shape[1:] != shape or not len(values):
        raise ModelInputError(f"array {name!r} is {values.shape}", f"its shape is {wanted}", "give one row a frame")
    # A float64 beyond the range of float32 becomes infinite here and is refused below.
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(values, np.float32)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        first = [int(i) for i in np.unravel_index(bad[0], numbers.shape)]
        text = f"array {name!r} holds {values[tuple(first)]} at {first} ({bad.size} not finite)"
        raise ModelInputError(text, "every input is a finite float32", "repair or cut these frames")
    return numbers


def _need(inputs: Arrays, *names: str) -> list[NDArray[np.float32]]:
    for name in names:
        if name not in inputs:
            rule = f"this model needs {' and '.join(names)}"
            raise ModelInputError(f"missing array {name!r}", rule, f"have: {', '.join(inputs)}")
    return [inputs[name] for name in names]


def _gated(model: Model, inputs: Arrays) -> Arrays:
    x, c = _need(inputs, "x", "c")
    bias = inputs.get("gate_bias", np.zeros_like(c))
    _in_unit(c, "c")
    _in_unit(bias, "gate_bias")
    outputs = _gated_run(model, x, c, bias)
    outputs["y_no_bias"] = _gated_run(model, x, c, np.zeros_like(c))["y"] if bias.any() else outputs["y"].copy()
    return outputs


def _in_unit(values: NDArray[np.float32], name: str) -> None:
    outside = np.flatnonzero((values < 0) | (values > 1))
    if outside.size:
        value = float(values[outside[0]])
        raise ModelInputError(f"{name}[{outside[0]}] = {value:g}", f"{name} lies within 0..1", "clip or rescale it")


def _gated_run(model: Model, x: Any, c: Any, bias: Any) -> Arrays:
    kernel, weights = kernel_of("dell_gated"), to_record(model)
    state = np.zeros(1, kernel.STATE)[0]
    frames, width = len(x), kernel.WIDTH
    y = np.zeros((frames, kernel.OUTPUTS), np.float32)
    z, fast, slow, gate = (np.zeros((frames, width), np.float32) for _ in range(4))
    for n in range(frames):
        kernel.step(y[n], state, weights, x[n], float(c[n]), float(bias[n]))
        z[n], gate[n] = state["z"], state["gate"]
        fast[n], slow[n] = state["pair"][:width], state["pair"][width:]
    return {"y": y, "z": z, "h_fast": fast, "h_slow": slow, "gate": gate}


def _coupled(model: Model, inputs: Arrays) -> Arrays:
    (limbs,) = _need(inputs, "limbs")
    frames = len(limbs)
    kernel, weights = kernel_of("dell_coupled"), to_record(model)
    every = kernel.BOUNDARY_FRAMES
    boundary = inputs.get("boundary", (np.arange(frames) % every == every - 1))
    state = np.zeros(1, kernel.STATE)[0]
    z, x_fast, y_slow = (np.zeros((frames, kernel.LATENT), np.float32) for _ in range(3))
    h = np.zeros((frames, kernel.HIDDEN), np.float32)
    for n in range(frames):
        kernel.step(z[n], state, weights, limbs[n], bool(boundary[n]))
        x_fast[n], y_slow[n], h[n] = state["x_fast"], state["y_slow"], state["h"]
    return {"z": z, "x_fast": x_fast, "y_slow": y_slow, "h": h}


def _lim_rps(model: Model, inputs: Arrays) -> Arrays:
    kernel, weights = kernel_of("lim_rps"), to_record(model, complete=False)
    outputs: Arrays = {}
    if "e" in inputs:
        if len(inputs) > 1:
            others = ", ".join(name for name in inputs if name != "e")
            raise ModelInputError(f"e and {others}", "encodings or sensors, not both", "remove one of them")
        e = inputs["e"]
    else:
        e = outputs["e"] = _encode(model, kernel, weights, inputs)
    frames = len(e)
    state, settled = np.zeros(1, kernel.STATE)[0], np.zeros(1, kernel.STATE)[0]
    # After k iterations the error is at most q^k / (1 - q) first steps; float32 ends the improvement near 1e-7.
    rate = max(float(weights["rate"]), 1e-3)
    enough = weights.copy()
    enough["iterations"] = min(math.ceil(math.log(_PRECISION * (1 - rate)) / math.log(rate)), 100_000)
    z, fixed_point = (np.zeros((frames, kernel.LATENT), np.float32) for _ in range(2))
    residual = np.zeros(frames, np.float32)
    for n in range(frames):
        kernel.step(z[n], state, weights, e[n], -1.0)
        kernel.step(fixed_point[n], settled, enough, e[n], 0.0)
        residual[n] = state["residual"]
    return {"z": z, "residual": residual, "fixed_point": fixed_point, **outputs}


def _encode(model: Model, kernel: Any, weights: Any, inputs: Arrays) -> NDArray[np.float32]:
    if not model.has("encoders"):
        if inputs:
            rule = "these weights have no encoders, so they take e (frames, 96) alone"
            raise ModelInputError(f"arrays {', '.join(inputs)}", rule, "encode the sensors before, or add encoders")
        _need(inputs, "e")
    limbs, left, right = _need(inputs, "limbs", "left", "right")
    frames = len(limbs)
    present = np.ones(frames, np.float32)
    fresh = [inputs.get("left_fresh", present), inputs.get("right_fresh", present)]
    state = np.zeros(1, kernel.STATE)[0]
    e = np.zeros((frames, kernel.LATENT), np.float32)
    for n in range(frames):
        kernel.encode(e[n], state, weights, limbs[n], left[n], right[n], bool(fresh[0][n]), bool(fresh[1][n]))
    return e
