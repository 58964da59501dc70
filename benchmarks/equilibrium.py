"""Speed of the equilibrium models, in one run and side by side with what one would use instead.

DELL gated, each kind of frame, against the streaming sum of the bytes it touches (a kernel that adds them up: the floor
the memory sets), ONNX Runtime (one thread, I/O binding, no spinning, the same schedule) and NumPy (`out=` everywhere).
Rounds interleave all candidates, so a busy moment of the machine hits all of them; a kernel's figure is the mean over a
batch of calls inside compiled code, what a library costs is timed call by call as its user would call it.

    python benchmarks/equilibrium.py [--json FILE] [--rounds 300]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels import dell_coupled, dell_gated, lim_rps
from echelon_engine.kernels.dense import aligned_record
from echelon_models.weights import Model, built_in_path, load, to_record

BATCH = 50
ORDINARY, SLOW = "ordinary frame", "slow frame"
# Tensors touched: everything but the slow network, and everything.
BYTES = {ORDINARY: 419_328, SLOW: 689_920}
BARS = {"streaming sum": ("at most", 2.5), "ONNX Runtime": ("at least", 1.6), "NumPy": ("at least", 2.5)}


@kernel
def _gated_batch(n: int, y: Any, state: Any, weights: Any, x: Any, frame: int) -> None:
    for i in range(n):
        state.frame = frame  # 0: the slow network is due, 1: it is not
        dell_gated.step(y, state, weights, x[i], 0.3, 0.0)


@kernel
def _coupled_batch(n: int, z: Any, state: Any, weights: Any, limbs: Any, boundary: bool) -> None:
    for i in range(n):
        dell_coupled.step(z, state, weights, limbs[i], boundary)


@kernel
def _lim_batch(n: int, z: Any, state: Any, weights: Any, e: Any, stop: float) -> None:
    for i in range(n):
        lim_rps.step(z, state, weights, e[i], stop)


@kernel
def _sum(values: NDArray[np.float32]) -> float:
    total = np.float32(0.0)
    for i in range(values.shape[0]):
        total += values[i]
    return total


@kernel
def _sum_batch(n: int, values: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    for i in range(n):
        values[i % 8] = np.float32(i)  # so that no call can be taken for the one before
        out[0] += _sum(values)


class NumPyGated:
    """DELL gated as one would write it with NumPy in a hurry for speed: no allocation, BLAS products."""

    def __init__(self, tensors: Any) -> None:
        self.t = tensors
        self.u = np.zeros(135, np.float32)
        self.hidden, self.pair = np.zeros(256, np.float32), np.zeros(256, np.float32)
        self.target, self.g = np.zeros(128, np.float32), np.zeros(128, np.float32)
        self.read, self.y = np.zeros(129, np.float32), np.zeros(32, np.float32)

    def step(self, x: NDArray[np.float32], slow: bool) -> None:
        t, hidden, pair, g = self.t, self.hidden, self.pair, self.g
        self.u[:6], self.u[6] = x, 0.3
        fast, rest = pair[:128], pair[128:]
        if slow:
            np.dot(self.u, t["W_s1"], out=hidden)
            hidden += t["b_s1"]
            np.maximum(hidden, 0, out=hidden)
            np.dot(hidden, t["W_s2"], out=self.target)
            self.target += t["b_s2"]
        np.dot(self.u, t["W_f1"], out=hidden)
        hidden += t["b_f1"]
        np.maximum(hidden, 0, out=hidden)
        np.dot(hidden, t["W_f2"], out=fast)
        fast += t["b_f2"]
        rest += (self.target - rest) * np.float32(1 / 24)
        np.dot(pair, t["W_g"], out=g)
        g += t["b_g"]
        np.negative(g, out=g)
        np.exp(g, out=g)
        g += 1
        np.reciprocal(g, out=g)
        z = self.u[7:]
        np.subtract(fast, rest, out=z)
        z *= g
        z += rest
        np.clip(z, -10, 10, out=z)
        self.read[:128], self.read[128] = z, 0.3
        np.dot(self.read, t["W_y"], out=self.y)
        self.y += t["b_y"]


class OnnxGated:
    """DELL gated as two graphs (ordinary and slow frame), states bound in place to the buffers of the next call."""

    def __init__(self, tensors: Any) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.x = np.zeros((1, 7), np.float32)
        # Two sets of state buffers, one read while the other is written; no graph both reads and writes the target.
        self.states = [{name: np.zeros((1, 128), np.float32) for name in ("z", "h_slow")} for _ in range(2)]
        target = np.zeros((1, 128), np.float32)
        for state in self.states:
            state["target"] = target
        self.y = np.zeros((1, 32), np.float32)
        self.runs: dict[bool, list[tuple[Any, Any]]] = {}
        for slow in (False, True):
            session = ort.InferenceSession(
                _graph(tensors, slow).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            self.runs[slow] = []
            for before, after in ((0, 1), (1, 0)):
                binding = session.io_binding()
                for name, buffer in (("x", self.x), *self.states[before].items()):
                    if name != "target" or not slow:
                        binding.bind_input(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
                for name, buffer in (("y", self.y), *((f"{n}_next", b) for n, b in self.states[after].items())):
                    if name != "target_next" or slow:
                        binding.bind_output(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
                self.runs[slow].append((session, binding))
        self.turn = 0

    def step(self, x: NDArray[np.float32], slow: bool) -> None:
        self.x[0, :6], self.x[0, 6] = x, 0.3
        session, binding = self.runs[slow][self.turn]
        session.run_with_iobinding(binding)
        self.turn ^= 1


def _graph(tensors: Any, slow: bool) -> Any:
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes: list[Any] = []

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def mlp(path: str, output: str) -> str:
        node("Gemm", ["u", f"W_{path}1", f"b_{path}1"], f"{path}_pre")
        node("Relu", [f"{path}_pre"], f"{path}_hidden")
        return node("Gemm", [f"{path}_hidden", f"W_{path}2", f"b_{path}2"], output)

    node("Concat", ["x", "z"], "u", axis=1)
    target = mlp("s", "target_next") if slow else "target"
    fast = mlp("f", "h_fast")
    node("Sub", [target, "h_slow"], "gap")
    node("Mul", ["gap", "a_slow"], "move")
    node("Add", ["h_slow", "move"], "h_slow_next")
    node("Concat", [fast, "h_slow_next"], "pair", axis=1)
    node("Gemm", ["pair", "W_g", "b_g"], "gate_pre")
    node("Sigmoid", ["gate_pre"], "gate")
    node("Sub", [fast, "h_slow_next"], "difference")
    node("Mul", ["gate", "difference"], "share")
    node("Add", ["share", "h_slow_next"], "mixed")
    node("Clip", ["mixed", "low", "high"], "z_next")
    node("Slice", ["x", "six", "seven", "one"], "commitment")
    node("Concat", ["z_next", "commitment"], "read", axis=1)
    node("Gemm", ["read", "W_y", "b_y"], "y")
    used = [name for name in tensors if slow or "_s" not in name]
    constants = [numpy_helper.from_array(tensors[name], name) for name in used]
    for name, value in (("a_slow", 1 / 24), ("low", -10), ("high", 10)):
        constants.append(numpy_helper.from_array(np.float32(value), name))
    for name, index in (("six", 6), ("seven", 7), ("one", 1)):
        constants.append(numpy_helper.from_array(np.array([index], np.int64), name))

    def values(sizes: dict[str, int]) -> list[Any]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, size]) for n, size in sizes.items()]

    inputs = {"x": 7, "z": 128, "h_slow": 128} | ({} if slow else {"target": 128})
    outputs = {"y": 32, "z_next": 128, "h_slow_next": 128} | ({"target_next": 128} if slow else {})
    graph = helper.make_graph(nodes, "dell_gated", values(inputs), values(outputs), constants)
    # Slice takes its axis from the fourth input; opset 17 is old enough for every supported runtime.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return model


def _largest_difference(model: Model, others: dict[str, Any], x: NDArray[np.float32]) -> float:
    # All candidates compute the same: 48 frames from the zero state, on the real schedule.
    weights, state = to_record(model), aligned_record(dell_gated.STATE)
    y, worst = np.zeros(32, np.float32), 0.0
    for frame in range(48):
        row = x[frame % len(x)]
        dell_gated.step(y, state, weights, row, 0.3, 0.0)
        for other in others.values():
            other.step(row, frame % 24 == 0)
            worst = max(worst, float(np.abs(other.y.ravel() - y).max()))
    return worst


def _percentiles(times_us: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(times_us, [50, 99])
    return {"p50_us": round(float(p50), 3), "p99_us": round(float(p99), 3), "calls": len(times_us)}


def measure(rounds: int = 300) -> dict[str, Any]:
    """Return p50 and p99 in microseconds of every candidate and the ratios the specification asks for."""
    rng = np.random.default_rng(3)
    x = np.tanh(rng.normal(size=(BATCH, 6)) * 0.5).astype(np.float32)
    limbs = rng.normal(scale=0.4, size=(BATCH, 216)).astype(np.float32)
    # A body that moves: encodings wander from frame to frame as they do at 60 Hz.
    e = (np.cumsum(rng.normal(scale=0.02, size=(BATCH, 96)), axis=0) + 0.3).astype(np.float32)
    models = {key: load(built_in_path(key)) for key in ("dell_gated", "dell_coupled", "lim_rps")}
    gated_w, coupled_w, lim_w = (to_record(model) for model in models.values())
    gated, coupled, lim = (aligned_record(module.STATE) for module in (dell_gated, dell_coupled, lim_rps))
    y, z, latent, sink = (np.zeros(size, np.float32) for size in (32, 32, 96, 1))
    batches: dict[str, Callable[[], None]] = {}
    for kind, frame in ((ORDINARY, 1), (SLOW, 0)):
        batches[f"DELL gated, {kind}"] = lambda f=frame: _gated_batch(BATCH, y, gated, gated_w, x, f)
        floor = _aligned(BYTES[kind] // 4)
        batches[f"streaming sum, {kind}"] = lambda v=floor: _sum_batch(BATCH, v, sink)
    batches["DELL coupled, ordinary frame"] = lambda: _coupled_batch(BATCH, z, coupled, coupled_w, limbs, False)
    batches["DELL coupled, boundary"] = lambda: _coupled_batch(BATCH, z, coupled, coupled_w, limbs, True)
    batches["LIM-RPS, 8 iterations"] = lambda: _lim_batch(BATCH, latent, lim, lim_w, e, -1.0)
    batches["LIM-RPS, as the engine runs it"] = lambda: _lim_batch(BATCH, latent, lim, lim_w, e, lim_rps.CONVERGED)
    tensors = models["dell_gated"].tensors
    others = {"NumPy": NumPyGated(tensors), "ONNX Runtime": OnnxGated(tensors)}
    difference = _largest_difference(models["dell_gated"], others, x)
    times: dict[str, list[float]] = {name: [] for name in batches}
    times |= {f"{name}, {kind}": [] for name in others for kind in (ORDINARY, SLOW)}
    for batch in batches.values():
        batch()  # compile, and warm the caches
    clock = time.perf_counter_ns
    for turn in range(rounds + 5):
        found: dict[str, list[float]] = {}
        for name, batch in batches.items():
            batch()  # each finds its weights warm, whatever ran before
            begin = clock()
            batch()
            found[name] = [(clock() - begin) / BATCH / 1e3]
        for name, other in others.items():
            for kind in (ORDINARY, SLOW):
                slow, mine = kind == SLOW, []
                other.step(x[0], slow)
                for row in x[:10]:
                    begin = clock()
                    other.step(row, slow)
                    mine.append((clock() - begin) / 1e3)
                found[f"{name}, {kind}"] = mine
        if turn >= 5:
            for name, values in found.items():
                times[name] += values
    result: dict[str, Any] = {
        "figures": {name: _percentiles(values) for name, values in times.items()},
        "ratios": [],
        "largest_difference": difference,
    }
    for kind in (ORDINARY, SLOW):
        mine = result["figures"][f"DELL gated, {kind}"]["p50_us"]
        for name, (side, bar) in BARS.items():
            its = result["figures"][f"{name}, {kind}"]["p50_us"]
            ratio = mine / its if side == "at most" else its / mine
            what = f"{kind}: DELL gated / {name}" if side == "at most" else f"{kind}: {name} / DELL gated"
            holds = ratio <= bar if side == "at most" else ratio >= bar
            result["ratios"].append({"what": what, "ratio": round(ratio, 2), "bar": f"{side} {bar}", "holds": holds})
    return result


def _aligned(size: int) -> NDArray[np.float32]:
    raw = np.zeros(size * 4 + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * 4].view(np.float32)


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    lines = [f"{'':<34}{'p50 us':>9}{'p99 us':>9}"]
    for name, figure in result["figures"].items():
        lines.append(f"{name:<34}{figure['p50_us']:>9.2f}{figure['p99_us']:>9.2f}")
    lines += ["", f"largest difference of y between the three: {result['largest_difference']:.1e}"]
    for row in result["ratios"]:
        verdict = "holds" if row["holds"] else "MISSED"
        lines.append(f"{row['what']:<50}{row['ratio']:>6.2f}  ({row['bar']}: {verdict})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--rounds", type=int, default=300, help="interleaved rounds (300)")
    arguments = parser.parse_args()
    result = measure(arguments.rounds)
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
