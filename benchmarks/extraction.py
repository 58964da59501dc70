"""Parameters from sound: how well known settings are found again, and how near real one-shots can be matched.

    python benchmarks/extraction.py renders [--count 24] [--seed 7] [--effort 1.0]
    python benchmarks/extraction.py one-shots [--effort 1.0] [--part 0/2]

`renders` draws settings (`settings.draw`), renders the probe phrase and extracts: the median error of each lane in %
of its range over all renders, its bar of 10 %, what the best constant guess would err, in how many renders the lane can
be heard at all, and the median error over these. Effort 0 is the learned answer alone, at once.
`one-shots` matches 24 recordings of ../shared/data/music/audio, spread evenly over the sorted names of every folder of
single sounds (loops left out): log-mel distance of the default setting and of what was extracted; the bar is half.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from echelon_engine.parameters import LANES, PARAMETERS
from echelon_models.train import extract, inverse, ratio_judge, refine, settings, sound_file
from echelon_models.train.phrase import RATE_HZ, render

AUDIO = Path(__file__).resolve().parents[1].parent / "shared/data/music/audio"
FOLDERS = {
    "hydrogen-Audiophob": 3,
    "oramics-CR-78": 3,
    "oramics-MRK-2": 3,
    "oramics-TR-505": 3,
    "smpldsnds-drum-machines": 4,
    "sonic-pi": 5,
    "uzu-drumkit": 3,
}


def one_shots() -> list[Path]:
    """Return the 24 recordings: of m from a folder of n, number floor((k + 1/2) n / m) of the sorted names."""
    chosen = []
    for folder, count in FOLDERS.items():
        names = sorted(each for each in (AUDIO / folder).iterdir() if not each.name.startswith("loop"))
        chosen += [names[int((k + 0.5) * len(names) / count)] for k in range(count)]
    return chosen


def measure_one_shots(effort: float, part: str) -> None:
    number, parts = (int(each) for each in part.split("/"))
    ratios = []
    print(f"{'one-shot':<58}{'s':>6}{'default':>9}{'levelled':>9}{'found':>7}{'ratio':>7}{'renders':>9}{'time':>6}")
    for path in one_shots()[number::parts]:
        began = time.perf_counter()
        sound = sound_file.read(path, RATE_HZ)
        length_s = len(extract.begun(sound)) / RATE_HZ
        found = extract.extract(sound, RATE_HZ, evaluations=int(effort * extract.usual_evaluations(length_s)))
        ratios.append(found.distance / found.default_distance)
        print(
            f"{path.parent.name + '/' + path.name:<58}{length_s:6.2f}{found.default_distance:9.2f}"
            f"{found.levelled_distance:9.2f}{found.distance:7.2f}{ratios[-1]:7.2f}{found.evaluations:9d}"
            f"{time.perf_counter() - began:6.0f}",
            flush=True,
        )
    halved = sum(each <= 0.5 for each in ratios)
    print(f"median ratio {np.median(ratios):.3f}, halved in {halved} of {len(ratios)}; bar 0.5")


def measure_renders(count: int, seed: int, effort: float) -> None:
    rng = np.random.default_rng(seed)
    low, high = settings.limits()
    truths, found, heard = [], [], []
    for number in range(count):
        truth = settings.draw(rng)
        sound = render(truth, settings.PROBE)
        truths.append(truth)
        guess = inverse.estimate(sound)
        if effort > 0:
            pairs = ratio_judge.likely_pairs(sound, guess)
            position, _ = refine.refined(sound, guess, pairs, effort=effort)
        found.append(guess.position if effort == 0 else position)
        heard.append(extract.audible(truth, settings.PROBE, sound))
        if effort > 0:
            error = 100 * np.abs(position - truth)
            print(f"{number + 1}: operators {np.round(error[:8], 1)}, others {error[8:].mean():.1f} %", flush=True)
    errors = 100 * np.abs(np.array(found) - truths)
    guesses = np.array([settings.ordered(rng.uniform(low, high)) for _ in range(2000)])
    blind = 100 * np.median(np.abs(guesses - np.median(guesses, axis=0)), axis=0)
    medians = np.median(errors, axis=0)
    print(f"{'lane':<18}{'median error %':>15}{'blind guess %':>15}{'heard in %':>12}{'error there %':>15}  bar 10 %")
    for lane, parameter in enumerate(PARAMETERS):
        where = np.array(heard)[:, lane]
        there = np.median(errors[where, lane]) if where.any() else np.nan
        verdict = "holds" if medians[lane] <= 10.0 else "MISSED"
        print(
            f"{parameter.name:<18}{medians[lane]:15.1f}{blind[lane]:15.1f}{100 * where.mean():12.0f}{there:15.1f}"
            f"  {verdict}"
        )
    holding = np.sum(medians <= 10.0)
    print(f"{holding} of {LANES} lanes hold the bar; mean of medians {medians.mean():.1f} %, {count} renders")


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("renders", "one-shots"))
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--part", default="0/1")
    chosen = parser.parse_args()
    if chosen.what == "renders":
        measure_renders(chosen.count, chosen.seed, chosen.effort)
    else:
        measure_one_shots(chosen.effort, chosen.part)
