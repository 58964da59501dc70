"""Motion of any kind as recordings of a data set: motion files, with sound or without, sessions, the dancer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.motion import files
from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.motion.errors import MotionFileError
from echelon_bridges.session.folder import is_session
from echelon_bridges.session.folder import sessions as session_folders
from echelon_engine.errors import UserError
from echelon_models.train import augment, teacher
from echelon_models.train.dataset import FRAME_RATE_HZ, LANES, TOGETHER, Recording
from echelon_models.train.features import SHORTEST_S, FeatureError, Features, Stage, check

if TYPE_CHECKING:
    from echelon_bridges.session.reader import Life

SUFFIXES = (".bvh", ".txt", ".json", ".smfstream", ".mocopipackets", ".vmcpackets")
DANCE_MINUTES = 2.0  # of one seed and tempo
TEMPO_BPM = (72.0, 144.0)
TOGETHER_TAKES = 3  # real takes in a mixture
SHORTEST_PAIR_FRAMES = 60
FIRST_RENDERS = 4  # times as many for the first second of a sound, of which nothing is known


@dataclass(frozen=True)
class Take:
    """Limb frames (memory.LIMB_FRAME, from time 0) with the name they go by; `kind` and `source` as in Recording."""

    name: str
    kind: str
    frames: NDArray[Any]
    source: str


def find(places: Sequence[str | Path]) -> list[Path]:
    """Return the motion files in folders (searched through) and those named outright; raises `UserError`.

    In a folder a `.txt` or `.json` counts only if it begins as a DeepMimic clip does: licences lie there, too.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir() and not is_session(place):
            inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            inside = [path for path in inside if path.suffix.lower() not in (".txt", ".json") or _is_clip(path)]
            if not inside:
                raise UserError(str(place), "holds no motion", f"name a folder with files of {', '.join(SUFFIXES)}")
            found += inside
        elif place.exists():
            found.append(place)
        else:
            raise UserError(str(place), "there is no such file or folder", "check the path")
    return found


def _is_clip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def gather(places: Sequence[str | Path]) -> tuple[list[Take], list[str]]:
    """Return the recordings of folders and files, and notices about those that a folder holds and nobody can use.

    Raises `UserError` for a file named outright that cannot be trained with, and for a folder in which there is none
    that can.
    """
    takes: list[Take] = []
    notices: list[str] = []
    for place in places:
        found = find([place])
        refused: list[UserError] = []
        before = len(takes)
        for path in found:
            try:
                takes += load([path], {take.name for take in takes})
            except UserError as error:
                if found == [Path(place)]:
                    raise
                refused.append(error)
                notices.append(f"{error.value}: {error.rule}; it is left out")
        if len(takes) == before:
            rule = f"none of its {len(found)} files can be used, the first because: {refused[0]}"
            raise UserError(str(place), rule)
    return takes, notices


def load(paths: Sequence[str | Path], taken: Collection[str] = ()) -> list[Take]:
    """Return real recordings, one a file, by names that are distinct and not `taken`.

    Raises `UserError` for one that cannot be trained with.
    """
    takes: list[Take] = []
    names = set(taken)
    for path in map(Path, paths):
        try:
            clip = files.load(path)
            check(clip.frames, str(path))
        except MotionFileError as error:
            raise UserError(str(path), str(error).removeprefix(f"{path}: "), "leave it out or repair it") from None
        except FeatureError as error:
            rule, _, remedy = str(error).removeprefix(f"{path}: ").partition(": ")
            raise UserError(str(path), rule, remedy) from None
        name = clip.name.replace("+", "-")
        while name in names:
            name += "'"
        names.add(name)
        takes.append(Take(name, "real", clip.frames, name))
    return takes


def plan(takes: Sequence[Take], dancer_minutes: float, variants: int, seed: int) -> list[Callable[[], Take]]:
    """Return jobs that make every take of a data set; each is deterministic by `seed`, whichever else are done.

    The real takes themselves; dances of two minutes, each of another seed and tempo; `variants` of each real take
    (augment.py), and as many mixtures of three real takes as there are variants of one, times a third of their number.
    """
    jobs: list[Callable[[], Take]] = [partial(_itself, take) for take in takes]
    left_s, n = 60.0 * dancer_minutes, 0
    while left_s >= SHORTEST_S:
        jobs.append(partial(dance, min(left_s, 60.0 * DANCE_MINUTES), seed, n))
        left_s -= 60.0 * DANCE_MINUTES
        n += 1
    for n in range(variants):
        jobs += [partial(_variant, (take,), seed, n) for take in takes]
        rng = np.random.default_rng([seed, 2, n])
        if len(takes) >= TOGETHER_TAKES:
            for _ in range(max(1, len(takes) // TOGETHER_TAKES)):
                chosen = rng.choice(len(takes), TOGETHER_TAKES, replace=False)
                jobs.append(partial(_variant, tuple(takes[i] for i in sorted(chosen)), seed, n))
    return jobs


def _itself(take: Take) -> Take:
    return take


def dance(seconds: float, seed: int, number: int) -> Take:
    """Return the built-in dancer, its seed and tempo drawn from `seed` and `number`."""
    rng = np.random.default_rng([seed, 1, number])
    tempo_bpm = round(float(rng.uniform(*TEMPO_BPM)), 1)
    dancer = Dancer(int(rng.integers(1 << 31)), tempo_bpm)
    name = f"dancer-{dancer.seed}-{tempo_bpm:g}bpm"
    return Take(name, "dancer", dancer.frames(0, round(seconds * dancer.rate_hz)), name)


def _variant(takes: tuple[Take, ...], seed: int, number: int) -> Take:
    source = TOGETHER.join(take.source for take in takes)
    rng = np.random.default_rng([seed, 3, number, *source.encode()])
    frames = augment.variant([take.frames for take in takes], rng)
    return Take(f"{source}~{number}", "augmented", frames, source)


def record(take: Take, stage: Stage) -> Recording:
    """Return a take as a recording: features as on stage, targets by the teacher."""
    return with_teacher(take.name, take.kind, take.source, stage.of(take.frames))


def with_teacher(name: str, kind: str, source: str, found: Features) -> Recording:
    """Return features with the teacher's targets; they count where the networks run."""
    p = teacher.positions(found.x, found.c)
    return _recording(name, kind, source, found, p, np.repeat(found.running[:, None], LANES, axis=1))


def _recording(
    name: str, kind: str, source: str, found: Features, p: NDArray[np.float32], mask: NDArray[np.bool_]
) -> Recording:
    return Recording(
        name, kind, found.x, found.c, p, mask, found.limbs, found.energy, found.bias, found.tempo_bpm, found.phase,
        found.present, source,
    )  # fmt: skip


def sessions(place: str | Path) -> list[Path]:
    """Return the sessions in a folder, or the one that it is; raises `UserError` where there is none."""
    root = Path(place).expanduser()
    if not root.is_dir():
        raise UserError(str(place), "no such folder", "name the folder that `run --log DIR` was given")
    found = [root] if is_session(root) else sorted(session_folders(root))
    if not found:
        raise UserError(str(place), "holds no sessions", "name the folder that `run --log DIR` was given")
    return found


def session(path: str | Path, stage: Stage) -> list[Recording]:
    """Return the lives of a recorded session with the positions of the lanes that a person held while moving.

    Targets count where a lane was overridden, somebody moved and the networks ran. A life in which no lane was moved
    is left out; raises `UserError` when none is left.
    """
    from echelon_bridges.session.reader import Session

    opened = Session.open(path)
    found = [each for life in opened.lives() if (each := _life(opened.name, life, stage)) is not None]
    if not found:
        raise UserError(
            str(path), "nobody moved a lane in it while dancing", "play with a controller, or `set lane.NAME`, and log"
        )
    return found


def _life(name: str, life: Life, stage: Stage) -> Recording | None:
    if life.plays < 30:
        return None
    controls = life.controls[: life.plays]
    held = overrides(controls["frame"], life.inputs)
    found = stage.of_life(controls, life.inputs)
    mask = held & (found.present & found.running)[:, None]
    if not mask.any():
        return None
    title = f"{name}-life{life.epoch}".replace("+", "-")
    source = name.replace("+", "-")
    p = np.clip(controls["position"], np.float32(0.0), np.float32(1.0))
    return _recording(title, "session", source, found, p, mask)


def overrides(numbers: NDArray[np.int64], inputs: NDArray[Any]) -> NDArray[np.bool_]:
    """Return, bool (n, 32), in which control frames a person held which lane; `inputs` memory.INPUT of one life."""
    from echelon_engine.memory import TOOK_SETTINGS

    result = np.zeros((len(numbers), LANES), np.bool_)
    for each in inputs[inputs["kind"] == TOOK_SETTINGS]:
        result[int(np.searchsorted(numbers, each["frame"])) :] = each["settings"]["override_on"] != 0
    return result


def pairs(place: str | Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return (motion, sound) of the same name in a folder (searched through), and notices about files without one.

    Both began at the same moment. Raises `UserError` where there is no pair.
    """
    from echelon_models.train.sound_file import SUFFIXES as SOUNDS

    root = Path(place).expanduser()
    remedy = "lay motion and sound of one performance side by side: dance.bvh and dance.wav, begun at the same moment"
    if not root.is_dir():
        raise UserError(str(place), "no such folder", remedy)
    heard = {path.with_suffix(""): path for path in sorted(root.rglob("*")) if path.suffix.lower() in SOUNDS}
    moved = {path.with_suffix(""): path for path in find([root])} if heard else {}
    found = [(motion, heard[name]) for name, motion in moved.items() if name in heard]
    if not found:
        raise UserError(str(place), "holds no motion with a sound of the same name", remedy)
    alone = sorted(
        path for path in [*moved.values(), *heard.values()] if path.with_suffix("") not in heard.keys() & moved
    )
    notices = [f"{path}: has no counterpart of the same name; it is left out" for path in alone]
    return found, notices


def pair(
    motion: Path, sound: Path, stage: Stage, *, renders: int, tell: Callable[[int, int, float], None] | None = None
) -> Recording:
    """Return motion with the positions whose instrument sounds like what was recorded with it (train/pairs.py).

    `renders` are made for each second; `tell(done, rows, distance_db)` is called after each. Targets count where a
    lane can be heard, somebody moved and the networks ran. What is longer is cut. Raises `UserError` for a file that
    cannot be used.
    """
    from echelon_models.train.pairs import follow
    from echelon_models.train.phrase import RATE_HZ
    from echelon_models.train.sound_file import read

    take = load([motion])[0]
    heard = read(sound, RATE_HZ)
    found = stage.of(take.frames)
    late = round(FRAME_RATE_HZ * stage.delay_s)  # the models see a body that much later
    rows = min(len(found.c) - late, len(heard) * FRAME_RATE_HZ // RATE_HZ)
    if rows < SHORTEST_PAIR_FRAMES:
        common_s = max(rows, 0) / FRAME_RATE_HZ
        raise UserError(str(sound), f"has {common_s:.2f} s in common with {motion.name}", "give a second at least")
    found = found.cut(late, late + rows)
    common = heard[: rows * RATE_HZ // FRAME_RATE_HZ]
    p, audible = follow(common, RATE_HZ, evaluations=renders, first=FIRST_RENDERS * renders, tell=tell)
    mask = audible & (found.present & found.running)[:, None]
    if not mask.any():
        raise UserError(str(sound), "nothing is heard in it while somebody moves", "leave it out")
    return _recording(take.name, "pair", take.source, found, p, mask)
