"""Dense layers of the equilibrium models: affine maps of one vector, and smooth activations without libm.

A control frame multiplies each weight once, so a layer costs what it costs to stream its matrix from the cache.
Matrices lie in panels of 32 outputs: for each input 32 weights side by side, multiplied by that input onto 32 sums that
stay in registers. Memory is read front to back and written once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel
from echelon_engine.simd import PANEL, UNROLL, panel_product

Vector = NDArray[np.float32]


def panels(outputs: int, inputs: int) -> tuple[int, int, int]:
    """Return the shape of a matrix as panels: (outputs / 32, inputs rounded up to even, 32)."""
    return outputs // PANEL, padded(inputs), PANEL


def padded(inputs: int) -> int:
    """Return the length of a layer's input vector: rounded up to even."""
    return (inputs + UNROLL - 1) // UNROLL * UNROLL


def pack(panels: NDArray[np.float32], matrix: NDArray[np.float32]) -> None:
    """Write a matrix (outputs, inputs) into its panels (outputs / 32, inputs padded with zeros, 32)."""
    outputs, inputs = matrix.shape
    panels[:] = 0.0
    panels[:, :inputs, :] = matrix.reshape(outputs // PANEL, PANEL, inputs).transpose(0, 2, 1)


def aligned_record(dtype: np.dtype[Any]) -> Any:
    """Return a zeroed record of `dtype` that starts on a cache line (64 bytes), which streams faster."""
    raw = np.zeros(dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + dtype.itemsize].view(dtype)[0]


@kernel
def affine(out: Vector, panels: Vector, x: Vector, bias: Vector) -> None:
    """Write `out = W x + bias`; float32 (32 P,), W as panels (P, K, 32), x (K,), bias (32 P,).

    out may be bias, never x. Pass views (`state.h[:]`): every record field has a type of its own, and this would be
    compiled for each.
    """
    panel_product(out, panels, x, bias)


@inlined
def clip(x: np.float32, limit: np.float32) -> np.float32:
    """Return x within +-limit; NaN stays NaN, so that the guard behind can see it."""
    if x > limit:
        return limit
    if x < -limit:
        return -limit
    return x


@inlined
def tanh(x: np.float32) -> np.float32:
    """Return tanh(x) within 4e-7; float32, vectorises where the C library's does not.

    x P(x^2) / Q(x^2) on |x| <= 9 (tanh(9) is 1 in float32), fitted for the least relative error (2e-8 in exact
    arithmetic) by reweighted least squares.
    """
    v = clip(x, np.float32(9.0))
    s = v * v
    p = np.float32(1.3354525523713798e-08)
    p = p * s + np.float32(2.0608987221699974e-05)
    p = p * s + np.float32(0.00349558243503997)
    p = p * s + np.float32(0.1338102086015719)
    p = p * s + np.float32(0.9999999794486497)
    q = np.float32(7.776503621661049e-07)
    q = q * s + np.float32(0.0003285625457659388)
    q = q * s + np.float32(0.025876960594422547)
    q = q * s + np.float32(0.4671433645055811)
    q = q * s + np.float32(1.0)
    return v * p / q


@inlined
def sigmoid(x: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-x)) within 3e-7, as 1/2 + tanh(x/2) / 2."""
    return np.float32(0.5) + np.float32(0.5) * tanh(np.float32(0.5) * x)


@kernel
def finite(x: Vector) -> bool:
    """Tell whether every element of a float32 vector is finite: x - x is 0 for finite x alone."""
    total = np.float32(0.0)
    for i in range(x.shape[0]):
        total += np.float32(0.0) * x[i]
    return bool(total == np.float32(0.0))
