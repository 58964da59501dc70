"""What a weights file holds and what it promises, as text for people."""

from __future__ import annotations

from pathlib import Path

from echelon_models.weights import Model, load


def describe(path: str | Path) -> str:
    """Return the description of a weights file; raise WeightsError where it would be refused."""
    return inspect(load(path))


def inspect(model: Model) -> str:
    """Return format, tensors with shapes and bytes, hyper-parameters, notes and certificate figures, one a line."""
    size = sum(values.nbytes for values in model.tensors.values())
    count = sum(values.size for values in model.tensors.values())
    lines = [f"{model.source}: {model.spec.name}", f"  {model.spec.about}", "", "tensors"]
    for tensor in model.spec.tensors:
        values = model.tensors.get(tensor.name)
        shape = " x ".join(map(str, tensor.shape))
        held = f"{values.nbytes:>8,} bytes   largest {abs(values).max():.4g}" if values is not None else "  absent"
        lines.append(f"  {tensor.name:<8} {shape:>10} {held}")
    lines += [f"  {len(model.tensors)} tensors, {count:,} parameters, {size:,} bytes", "", "hyper-parameters"]
    for hyper in model.spec.hypers:
        allowed = f"{hyper.low:g}" if hyper.low == hyper.high else f"{hyper.low:g} to {hyper.high:g}"
        lines.append(f"  {hyper.name:<13} {model.hypers[hyper.name]:<10.6g} {hyper.unit:<10} (allowed {allowed})")
    known = {"format", *(hyper.name for hyper in model.spec.hypers)}
    notes = sorted((name, text) for name, text in model.metadata.items() if name not in known)
    if notes:
        lines += ["", "notes", *(f"  {name}: {text}" for name, text in notes)]
    promised = any(figure.bound is not None for figure in model.figures)
    title = (
        "certificate (exact singular values, float64)"
        if promised
        else "figures (no certificate: this net is bounded by its clip)"
    )
    lines += ["", title]
    for figure in model.figures:
        verdict = f"{figure.rule}: holds; " if figure.rule else ""
        lines.append(f"  {figure.name:<12} {figure.value:<11.6f} {verdict}{figure.about}")
    return "\n".join(lines)
