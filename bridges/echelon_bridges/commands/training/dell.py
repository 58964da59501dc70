"""`train dell`: DELL gated learns from a data set, from sessions in which a person moved lanes, or from sound."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echelon_bridges.commands import _options
from echelon_bridges.commands.training import _pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from echelon_models.train.dataset import Recording
    from echelon_models.train.gated import Gated
    from echelon_models.train.loop import Result
    from echelon_models.train.recipes import Recipe

SESSION_EPOCHS, SESSION_BATCHES = 12, 50  # minutes on a laptop: the net already plays, it changes its mind


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    count = _options.whole(1, 100_000)
    parser.add_argument("target", metavar="OUT.safetensors", help="gets the weights; beside it its checkpoint")
    parser.add_argument("data", nargs="?", metavar="DATA.npz", help="a data set made by `train data`")
    parser.add_argument("--sessions", metavar="DIR", help="sessions in which a person moved lanes while dancing")
    _pairs.add_arguments(parser)
    parser.add_argument(
        "--start",
        metavar="WEIGHTS",
        help="go on from these weights (with --sessions or --pairs: the built-in ones), and keep what they play on "
        "lanes that nobody moved or hears; 'none' begins anew",
    )
    parser.add_argument("--hold-out", default="", metavar="A,B", help="sources that validate (default: a few)")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other weights (default: 1)")
    parser.add_argument(
        "--recipe",
        choices=("source", "memory"),
        default="source",
        help="source: the specification's; memory: what the built-in weights were trained by, 24 epochs of a rate "
        "that falls, from a state that remembers (default: source)",
    )
    parser.add_argument(
        "--epochs", type=count, help="at most (default: 100; with --sessions or --pairs 12 of 50 batches)"
    )
    parser.add_argument("--batches", type=count, help="an epoch (default: 100)")
    parser.add_argument("--plots", metavar="FOLDER", help="draw loss, gate, states and parameters there as PNG")
    parser.add_argument("--threads", type=count, help="of the processor (default: all cores)")


def run(arguments: Namespace) -> int:
    """Train, export, draw."""
    from echelon_bridges.commands.train import torch_or_explain
    from echelon_engine.errors import UsageError, UserError

    target = _options.check_output(arguments.target, ".safetensors")
    if not (arguments.data or arguments.sessions or arguments.pairs):
        raise UsageError("train dell", "there is nothing to learn from", "name DATA.npz, --sessions DIR or --pairs DIR")
    plots = Path(arguments.plots) if arguments.plots else None
    if plots is not None and plots.exists() and not plots.is_dir():
        raise UserError(str(plots), "is a file, not a folder", "name a folder for the pictures")
    torch = torch_or_explain("dell")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    from echelon_models.train import loop, starts
    from echelon_models.train.gated import Gated
    from echelon_models.train.pool import Pool

    recordings = _recordings(arguments)
    start = _start(arguments)
    if start is not None:
        recordings = kept(recordings, start)
    training, testing = divided(recordings, [name for name in arguments.hold_out.split(",") if name])
    whole, members = [*training, *testing], len(training)
    recipe = _recipe(arguments)
    checkpoint = target.with_suffix(".checkpoint")
    model = Gated((arguments.seed,))
    if recipe.memory and start is None:
        starts.remember(model)
    training_pool = Pool(whole, [list(range(members))], burn_in=recipe.burn_in, starts=recipe.starts)
    result = loop.train(
        model,
        training_pool,
        Pool(whole, [list(range(members, len(whole)))], burn_in=recipe.burn_in),
        recipe.settings, start=start, path=checkpoint, about=recipe.about(), say=_tell,
    )  # fmt: skip
    _export(target, arguments, result, recordings, training_pool.digest)
    if plots is not None:
        _draw(plots, model, result, testing)
    checkpoint.unlink(missing_ok=True)
    return 0


def _tell(line: str) -> None:
    print(f"train dell: {line}", file=sys.stderr, flush=True)


def _recipe(arguments: Namespace) -> Recipe:
    from echelon_models.train.recipes import RECIPES

    few = not arguments.data
    recipe = RECIPES[arguments.recipe]
    epochs = arguments.epochs or (SESSION_EPOCHS if few else recipe.settings.epochs)
    return recipe.but(epochs=epochs, batches=arguments.batches or (SESSION_BATCHES if few else recipe.settings.batches))


def _recordings(arguments: Namespace) -> list[Recording]:
    from echelon_models.train import dataset

    found = dataset.read(_options.check_input(arguments.data, "data set")) if arguments.data else []
    if arguments.sessions or arguments.pairs:
        from echelon_bridges import recordings as made
        from echelon_models.train.features import Stage

        stage = Stage()
        for path in made.sessions(arguments.sessions) if arguments.sessions else ():
            _tell(f"reading {path.name}")
            found += made.session(path, stage)
        found += _pairs.recordings(arguments, stage, "dell")
    return found


def _start(arguments: Namespace) -> dict[str, NDArray[np.float32]] | None:
    from echelon_engine.errors import UserError
    from echelon_models.weights import initial_path, load

    chosen = arguments.start or (str(initial_path("dell_gated")) if arguments.sessions or arguments.pairs else "none")
    if chosen == "none":
        return None
    model = load(_options.check_input(chosen, "weights file"))
    if model.key != "dell_gated":
        raise UserError(chosen, f"holds {model.spec.name}", "name weights of DELL gated")
    return dict(model.tensors)


def kept(recordings: Sequence[Recording], start: dict[str, NDArray[np.float32]]) -> list[Recording]:
    """Return recordings whose lanes without a target aim at what the weights `start` play: what nobody moved stays."""
    import numpy as np

    from echelon_models.train.gated import Gated

    stack = Gated((0,))
    stack.load(start)
    found = []
    for each in recordings:
        y = stack.play(each.x, each.c, each.bias).y[:, 0, 0].numpy()
        p = np.where(each.p_mask, each.p, 1 / (1 + np.exp(-y))).astype(np.float32)
        found.append(each._replace(p=p, p_mask=np.ones_like(each.p_mask)))
    return found


def divided(recordings: Sequence[Recording], held_out: Sequence[str]) -> tuple[list[Recording], list[Recording]]:
    """Return (training, testing): by source, or where there are fewer than five, the last fifth of each recording."""
    from echelon_models.train import dataset, sweep

    sources = dataset.sources(recordings)
    chosen = list(held_out) or sweep.validation_sources(recordings)
    if chosen and (held_out or len(sources) >= 5):
        training, testing = dataset.split(recordings, chosen)
        plain = [each for each in testing if each.kind != "augmented"]
        return training, plain or testing
    parts: tuple[list[Recording], list[Recording]] = ([], [])
    for each in recordings:
        cut = each.frames * 4 // 5
        for part, rows in zip(parts, (slice(0, cut), slice(cut, None)), strict=True):
            part.append(each._replace(**{name: getattr(each, name)[rows] for name in dataset.ARRAYS}))
    return parts


def _export(target: Path, arguments: Namespace, result: Result, recordings: Sequence[Recording], digest: str) -> None:
    from echelon_models.train import export

    minutes = sum(each.frames for each in recordings) / 3600
    kinds = Counter(each.kind for each in recordings)
    made = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    data = " and ".join(Path(place).name for place in (arguments.data, arguments.sessions, arguments.pairs) if place)
    epoch, loss = int(result.best_epoch[0]), float(result.best_loss[0])
    mse = float(result.history["test_mse"][epoch - 1, 0])
    line = export.origin(f"{data} ({minutes:.1f} minutes: {made})", arguments.seed, epoch, mse)
    notes = {
        "seed": arguments.seed,
        "recipe": arguments.recipe,
        "epoch": epoch,
        "loss": round(loss, 7),
        "data": digest[:16],
    }
    model = export.export(target, result.model(), origin=line, notes=notes)
    print(f"{target}: {line}; largest state {model.metadata['largest_state']} of 10 under the worst input")
    print(f"play it: echelon-engine run --set models.gated={target}, or while it runs: set models.gated {target}")


def _draw(folder: Path, model: Gated, result: Result, testing: Sequence[Recording]) -> None:
    from echelon_engine.parameters import PARAMETERS
    from echelon_models.train import plots

    folder.mkdir(parents=True, exist_ok=True)
    longest = max(testing, key=lambda each: each.frames)
    shown = ("index_1", "filter_cutoff", "body_position", "exciter_attack", "reverb_mix", "pan")
    names = {each.lane: each.name for each in PARAMETERS if each.name in shown}
    plots.loss(folder / "loss.png", result.history, int(result.best_epoch[0]))
    plots.states(folder / "states.png", model, longest)
    plots.parameters(folder / "parameters.png", model, longest, names)
    print(f"{folder}: loss.png, states.png, parameters.png")
