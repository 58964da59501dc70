"""What `train coupled` and `train lim-rps` share: options, the data's split, export, and what is said at the end."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from echelon_bridges.commands import _options
from echelon_bridges.commands.train import torch_or_explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from echelon_models.train.limbs import Trained


def add_arguments(parser: ArgumentParser, epochs: int) -> None:
    """Declare the options."""
    count = _options.whole(1, 1_000_000)
    parser.add_argument("data", metavar="DATA.npz", help="a data set with limbs, made by `train data`")
    parser.add_argument(
        "target", metavar="OUT.safetensors", help="gets the weights; read-outs and report lie beside it"
    )
    parser.add_argument("--epochs", type=count, default=epochs, metavar="N", help=f"at most (default: {epochs})")
    parser.add_argument("--batches", type=count, default=100, metavar="N", help="an epoch (default: 100)")
    parser.add_argument("--seed", type=count, default=1, help="one seed, one result (default: 1)")
    parser.add_argument("--threads", type=count, default=2, help="CPU cores to use (default: 2)")
    parser.add_argument(
        "--hold-out",
        default="",
        metavar="A,B",
        help="sources to judge by (default: three real ones and a tenth of the dancer's)",
    )


def run(arguments: Namespace, action: str, key: Any, job: str) -> int:
    """Train, or go on where the checkpoint beside the target ends; export, and say how good it is."""
    source = _options.check_input(arguments.data, "data set")
    target = _options.check_output(arguments.target, ".safetensors")
    torch_or_explain(action).set_num_threads(arguments.threads)

    from echelon_engine.errors import UserError
    from echelon_models.train import dataset, limbs
    from echelon_models.train.export_limbs import export
    from echelon_models.train.fit import Settings
    from echelon_models.train.sweep import validation_sources
    from echelon_models.weights import initial_path, load

    work: Callable[..., Trained] = getattr(limbs, f"train_{job}")
    recordings = dataset.read(source)
    held_out = arguments.hold_out.split(",") if arguments.hold_out else validation_sources(recordings)
    known = dataset.sources(recordings)
    for name in held_out:
        if name not in known:
            raise UserError(f"--hold-out {name}", "is not in this data set", f"it has {', '.join(known)}")
    settings = Settings(arguments.epochs, arguments.batches, seed=arguments.seed)
    trained = work(recordings, held_out, settings, target, initial=load(initial_path(key)).tensors, say=_say)
    tensors, history, figures = trained
    origin = (
        f"trained on {source.name}, seed {arguments.seed}, best of epoch {history.best_epoch}, "
        f"held-out loss {history.best_loss:.5f}"
    )
    model = export(target, key, tensors, origin=origin, seed=arguments.seed)
    limbs.write(target, trained, settings, held_out, data=source.name)
    for name, interval in figures.items():
        print(f"  {name}: {interval}")
    for figure in model.figures:
        print(f"  certificate {figure.name}: {figure.value:.4f} {figure.rule}")
    print(f"{target}: {origin}; beside it the read-outs (.heads.safetensors) and the report (.json)")
    return 0


def _say(line: str) -> None:
    print(f"train: {line}", file=sys.stderr, flush=True)
