"""What a weights file may hold: for each format its tensors, their shapes, and its hyper-parameters with their ranges.

One table, from which loading, saving, packing for the kernels and `inspect` are derived. Names and shapes are those of
spec/equilibrium.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Key = Literal["dell_gated", "dell_coupled", "lim_rps"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One float32 tensor of a file; `group` names the tensors that may be absent together ("" must be there).

    `transposed`: the file holds (inputs, outputs), the kernel wants (outputs, inputs).
    """

    name: str
    shape: tuple[int, ...]
    group: str = ""
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Hyper:
    """One hyper-parameter of the metadata: a finite number low..high, both ends allowed, an integer if `whole`."""

    name: str
    low: float
    high: float
    whole: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of weights file."""

    key: Key
    name: str  # the `format` of its metadata
    about: str
    tensors: tuple[Tensor, ...]
    hypers: tuple[Hyper, ...]


# The engine runs control frames at 60 Hz; weights trained for another rate would behave otherwise, so they are refused.
_FRAME_RATE = Hyper("frame_rate", 60, 60, unit="Hz")


def _in_out(name: str, inputs: int, outputs: int) -> Tensor:
    return Tensor(name, (inputs, outputs), transposed=True)


FORMATS: dict[Key, Format] = {
    "dell_gated": Format(
        "dell_gated",
        "echelon.dell.gated.v1",
        "DELL gated: motion state (6) and commitment to 32 synth parameters",
        (
            _in_out("W_f1", 135, 256), Tensor("b_f1", (256,)), _in_out("W_f2", 256, 128), Tensor("b_f2", (128,)),
            _in_out("W_s1", 135, 256), Tensor("b_s1", (256,)), _in_out("W_s2", 256, 128), Tensor("b_s2", (128,)),
            _in_out("W_g", 256, 128), Tensor("b_g", (128,)), _in_out("W_y", 129, 32), Tensor("b_y", (32,)),
        ),
        (
            _FRAME_RATE,
            Hyper("tau_fast", 1 / 60 - 1e-9, 1.0, unit="s"),
            Hyper("tau_slow", 1 / 60 - 1e-9, 60.0, unit="s"),
            Hyper("slow_every", 1, 3600, whole=True, unit="frames"),
        ),
    ),
    "dell_coupled": Format(
        "dell_coupled",
        "echelon.dell.coupled.v1",
        "DELL coupled: 27 limbs x 8 to the latent z (32)",
        (
            Tensor("W_in", (128, 216)), Tensor("W_rec", (128, 128)), Tensor("b_fast", (128,)),
            Tensor("W_out", (32, 128)), Tensor("W_lift", (128, 32)), Tensor("W_slow", (32, 32)),
            Tensor("U_slow", (32, 32)), Tensor("b_slow", (32,)),
        ),
        (
            _FRAME_RATE,
            Hyper("k_fast", 1, 16, whole=True, unit="iterations"),
            Hyper("k_slow", 1, 24, whole=True, unit="iterations"),
            Hyper("slow_to_fast", 0.0, 1.0),
            Hyper("fast_to_slow", 0.0, 1.0),
            Hyper("mix", 0.0, 1.0),
        ),
    ),
    "lim_rps": Format(
        "lim_rps",
        "echelon.lim_rps.v1",
        "LIM-RPS: three sensors to the one latent (96) on which they agree",
        (
            Tensor("W_1", (128, 96)), Tensor("b_1", (128,)), Tensor("W_2", (128, 128)), Tensor("b_2", (128,)),
            Tensor("W_3", (96, 128)),
            Tensor("E_body", (32, 216), "encoders"), Tensor("E_left", (32, 12), "encoders"),
            Tensor("E_right", (32, 12), "encoders"), Tensor("P", (2, 96), "P"),
        ),
        (
            Hyper("gamma", 0.0, 10.0),
            Hyper("tau", 0.0, 1.0),
            Hyper("iterations", 1, 16, whole=True),
        ),
    ),
}  # fmt: skip

BY_NAME: dict[str, Format] = {spec.name: spec for spec in FORMATS.values()}
