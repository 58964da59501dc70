"""Parameters from sound: known settings are found again, and what is no sound is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("soundfile")

import torch

from echelon_bridges import cli
from echelon_engine.errors import UserError
from echelon_engine.parameters import LANE, LANES, PARAMETERS
from echelon_engine.wav import WavWriter
from echelon_models.train import (
    evolution,
    extract,
    gauss_newton,
    inverse,
    inverse_training,
    listening,
    pairs,
    ratio_judge,
    ratio_judge_training,
    refine,
    settings,
    sound_file,
)
from echelon_models.train.phrase import RATE_HZ, Note, Phrase, render

BLOW = Phrase((Note(0.01, 0.12, 57.0, 0.8),), 0.25)


def write(path: Path, sound: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    """Write a WAV file of any samples, bad ones too, and return its path."""
    with WavWriter(path, rate_hz) as writer:
        writer.write(np.asarray(sound, np.float32))
    return path


def test_render_is_the_same_each_time_and_hears_its_lanes() -> None:
    """Equal positions give equal samples; pan moves the sound to a side; no sample passes the ceiling."""
    middle = np.full(LANES, 0.5)
    left = middle.copy()
    left[LANE["pan"]] = 0.1
    first, second, sided = render(middle, BLOW), render(middle, BLOW), render(left, BLOW)
    assert np.array_equal(first, second)
    power = (sided.astype(np.float64) ** 2).sum(0)
    assert power[0] > 4 * power[1]
    loud = middle.copy()
    loud[[LANE["gain"], LANE["ceiling"]]] = 1.0, 0.0
    assert 0.1 < np.abs(render(loud, settings.PROBE)).max() <= 10 ** (-12 / 20) + 1e-6


def test_exchanged_operator_pairs_sound_alike() -> None:
    """One order of the pairs stands for both: an exchange is heard as rounding only."""
    setting = settings.draw(np.random.default_rng(3))
    exchanged = setting[[2, 3, 0, 1, 6, 7, 4, 5, *range(8, LANES)]]
    assert np.allclose(render(setting, BLOW), render(exchanged, BLOW), atol=1e-4)
    assert np.array_equal(settings.ordered(exchanged), setting)


def test_rows_move_the_lanes_over_time() -> None:
    """Positions of each control frame are played in turn: a gain that falls is heard falling."""
    rows = np.full((15, LANES), 0.5)
    rows[:, LANE["reverb_mix"]] = 0.0
    rows[:, LANE["gain"]] = np.linspace(1.0, 0.0, 15)
    held = render(rows[0], BLOW)
    falling = render(rows, BLOW)
    assert np.abs(falling[-2400:]).max() < 0.6 * np.abs(held[-2400:]).max()


def test_positions_of_another_shape_are_refused() -> None:
    """Anything but 32 lanes is an error that says so."""
    with pytest.raises(ValueError, match="32 lanes"):
        render(np.zeros(31), BLOW)


def test_evolution_finds_a_bent_valley() -> None:
    """The strategy reaches the minimum of a narrow, rotated quadratic in 8 dimensions, and repeats itself."""
    rng = np.random.default_rng(5)
    turn, _ = np.linalg.qr(rng.standard_normal((8, 8)))
    goal = rng.uniform(0.2, 0.8, 8)

    def cost(x: np.ndarray) -> float:
        return float((np.geomspace(1, 100, 8) * (turn @ (x - goal)) ** 2).sum())

    found = evolution.search(cost, np.full(8, 0.5), 0.2, 3000, np.random.default_rng(1))
    again = evolution.search(cost, np.full(8, 0.5), 0.2, 3000, np.random.default_rng(1))
    assert np.abs(found.position - goal).max() < 1e-3
    assert np.array_equal(found.position, again.position)


def test_distance_counts_decibels() -> None:
    """Half the amplitude is 6 dB away in the cells above the floor, a sound is 0 away from itself."""
    noise = (0.1 * np.random.default_rng(0).standard_normal((9600, 2))).astype(np.float32)
    assert listening.log_mel_distance(noise, noise, RATE_HZ) == 0.0
    assert listening.log_mel_distance(noise / 2, noise, RATE_HZ) == pytest.approx(6.02, abs=0.3)


def test_search_comes_nearer_than_the_default() -> None:
    """A note of a known setting is matched at less than half the default's distance; its pan is found."""
    setting = np.full(LANES, 0.5)
    for name, position in (("pan", 0.8), ("filter_cutoff", 0.8), ("amp_sustain", 0.2), ("body_damping", 0.7)):
        setting[LANE[name]] = position
    sound = render(setting, BLOW)
    start = np.full(LANES, 0.5)
    found = extract.extract(sound, RATE_HZ, phrase=BLOW, start=start, evaluations=350)
    assert found.distance < 0.5 * found.default_distance
    assert abs(found.position[LANE["pan"]] - 0.8) < 0.2
    assert found.heard[LANE["pan"]]
    assert found.rendered.shape == found.sound.shape
    assert found.evaluations <= 370


def test_learned_inverse_finds_lanes_of_the_probe() -> None:
    """Over a few renders of the probe phrase, pan, room decay, damping and cutoff come out near what was played."""
    rng = np.random.default_rng(11)
    truths = np.array([settings.draw(rng) for _ in range(7)])
    found = np.array([inverse.estimate(render(each, settings.PROBE)).position for each in truths])
    errors = np.median(np.abs(found - truths), axis=0)
    for name in ("pan", "reverb_decay", "reverb_mix", "body_damping"):
        assert errors[LANE[name]] < 0.15, name
    assert (found[:, 1] <= found[:, 3]).all()


def test_inverse_takes_the_median_of_its_distribution() -> None:
    """A quantile lies where the summed probability of the parts reaches it, between their edges too."""
    logits = torch.full((1, 4), -30.0)
    logits[0, 1], logits[0, 2] = 0.0, 0.0
    assert inverse.quantile(logits, 0.5).item() == pytest.approx(0.5, abs=1e-6)
    assert inverse.quantile(logits, 0.25).item() == pytest.approx(0.375, abs=1e-6)


def test_training_makes_a_network_that_can_be_kept() -> None:
    """A few renders and epochs give a network and finite errors; the same seed gives the same network."""
    rng = torch.Generator().manual_seed(3)
    heard = inverse.pictures(0.1 * torch.randn(34, round(settings.PROBE.length_s * RATE_HZ), 2, generator=rng))
    positions = torch.rand(34, LANES, generator=rng)
    (first, errors), (again, _) = (inverse_training.train(positions, heard, epochs=1) for _ in range(2))
    assert errors.shape == (2, LANES)
    assert bool(errors.isfinite().all())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def played(truth: np.ndarray) -> list[ratio_judge.Pair]:
    """Return the two pairs of operators of a setting as a judge that is sure of them would."""
    return [ratio_judge.Pair(25.0, tuple(truth[k : k + 2]), tuple(truth[4 + k : 6 + k])) for k in (0, 2)]


def test_judge_reads_the_pairs_off_the_lines() -> None:
    """Of a million pairs of ratios the two that played come first, and their indices are read off, too."""
    truth = settings.draw(np.random.default_rng(31))
    sound = render(truth, settings.PROBE)
    found = ratio_judge.likely_pairs(sound, inverse.estimate(sound))
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    for pair in played(truth):
        near = min(found[:2], key=lambda each: abs(each.ratios[1] - pair.ratios[1]))
        assert np.abs(np.subtract(near.ratios, pair.ratios)).max() < 0.002
        assert np.abs(np.subtract(near.indices, pair.indices)).max() < 0.1


def test_places_of_partials_are_multiples_of_the_ratios() -> None:
    """A candidate sees a line where a multiple of its carrier, with so many of its modulator, meets one."""
    seen = torch.zeros(1, 6, ratio_judge.BINS)
    modulator, carrier = 2.0, 3.0
    seen[0, 0, round((carrier + 2 * modulator) * ratio_judge.PER_PLACE)] = 1.0
    candidates = torch.tensor([[[PARAMETERS[0].position(modulator), PARAMETERS[0].position(carrier)], [0.2, 0.2]]])
    found = ratio_judge.gathered(seen, candidates.float()).reshape(2, 6, -1)
    places = ratio_judge.MULTIPLES[found[0, 0] > 0].tolist()
    assert [1, 2] in places
    assert all(abs(carrier * k + modulator * n) == carrier + 2 * modulator for k, n in places)
    assert not found[1].any()


def test_wrong_pairs_are_not_those_that_played(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training the judge ranks what played above what it is offered, and one seed gives one judge."""
    for name, size in (("BATCH", 8), ("MINED_OF", 64), ("MINED", 8), ("OTHERS", 8)):
        monkeypatch.setattr(ratio_judge_training, name, size)
    rng = torch.Generator().manual_seed(3)
    truth, seen = torch.rand(16, LANES, generator=rng), torch.randn(16, 4, ratio_judge.BINS, generator=rng)
    offered = ratio_judge_training.wrong(truth, 500)
    barred = ratio_judge_training._barred(offered, truth)
    assert offered.shape == (16, 500, 2)
    assert 0.5 < (~barred).float().mean() < 1.0
    right = truth[:, :4].reshape(16, 2, 2)
    assert ratio_judge_training._barred(right, truth).all()

    told = ratio_judge_training.told(torch.randn(16, LANES, inverse.PARTS, generator=rng))
    first, again = (ratio_judge_training.train(truth, seen, told, steps=60) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    with torch.inference_mode():
        picture = ratio_judge.smeared(seen)
        true_scores = first(picture, *told, right)[0]
        others = first(picture, *told, offered.clamp(0.0, 1.0))[0].masked_fill(barred, float("nan"))
    assert true_scores.median() > others.nanquantile(0.9)


def test_a_dry_render_has_no_room() -> None:
    """Without the output stage a short note leaves no reverberation behind, and is heard at once."""
    setting = np.full(LANES, 0.5)
    setting[LANE["reverb_mix"]] = 1.0
    setting[LANE["amp_release"]] = 0.0
    phrase = Phrase((Note(0.0, 0.1, 57.0, 1.0),), 0.6)
    wet, dry = (np.abs(render(setting, phrase, dry=each)[-RATE_HZ // 5 :]).max() for each in (False, True))
    assert wet > 1e-3
    assert dry < 1e-4


def test_gauss_newton_finds_a_bent_valley_beside_outliers() -> None:
    """Residuals that bend reach their minimum inside the cube; one that nothing explains does not pull; 0 stays."""
    goal, evaluated = np.array([0.3, 0.7, 0.5]), []

    def residuals(positions: np.ndarray) -> np.ndarray:
        evaluated.extend(positions)
        off = 30.0 * (positions - goal)
        bent = np.stack((off[:, 0] + 0.1 * off[:, 1] ** 2, 3.0 * off[:, 1], off[:, 0] - off[:, 1]), 1)
        return np.concatenate((bent, bent, np.full((len(positions), 1), 200.0)), 1)

    found = gauss_newton.descend(residuals, np.array([0.6, 0.5, 0.9]), np.array([0.005, 0.005, 0.0]), 30)
    assert np.abs(found.position[:2] - goal[:2]).max() < 0.01
    assert found.position[2] == 0.9
    assert found.evaluations == len(evaluated)


def test_refining_comes_nearer() -> None:
    """Among pairs that are offered those that played are found, and the whole phrase comes nearer."""
    rng = np.random.default_rng(3)
    truth = settings.draw(rng)
    sound = render(truth, settings.PROBE)
    guess = np.clip(truth + 0.03 * rng.choice([-1.0, 1.0], LANES), 0.0, 1.0)
    guess[LANE["body_structure"]] = truth[LANE["body_structure"]]
    estimate = inverse.Estimate(guess, np.full(LANES, 0.03), np.full((LANES, inverse.PARTS), 1 / inverse.PARTS))
    decoys = [ratio_judge.Pair(26.0, tuple(rng.random(2)), (0.5, 0.5)) for _ in range(3)]
    told: list[tuple[int, int, float]] = []
    found, made = refine.refined(
        sound, estimate, [*decoys, *played(truth)], effort=0.25, tell=lambda *each: told.append(each)
    )
    assert np.abs(found[:4] - truth[:4]).max() < 0.005
    before, after = (
        listening.log_mel_distance(render(each, settings.PROBE), sound, RATE_HZ) for each in (guess, found)
    )
    assert after < 0.7 * before
    assert told[-1][0] == told[-1][1] == made
    assert all(done <= of for done, of, _ in told)


def test_refining_without_two_pairs_leaves_the_guess() -> None:
    """A sound of which the judge has nothing to say gets the inverse's answer."""
    guess = inverse.Estimate(np.full(LANES, 0.4), np.full(LANES, 0.1), np.full((LANES, inverse.PARTS), 1.0))
    sound = np.full((round(settings.PROBE.length_s * RATE_HZ), 2), 0.1, np.float32)
    told: list[tuple[int, int, float]] = []
    alone = [ratio_judge.Pair(1.0, (0.3, 0.4), (0.5, 0.5))] * 3
    found, made = refine.refined(sound, guess, alone, tell=lambda *each: told.append(each))
    assert np.array_equal(found, guess.position)
    assert made == 0
    assert told == [(0, 1, np.inf)]


def test_pitch_of_a_note_is_estimated() -> None:
    """A saw at A3 is heard as A3, and noise as having hardly any pitch."""
    t = np.arange(RATE_HZ // 2) / RATE_HZ
    saw = np.repeat((2 * ((220 * t) % 1) - 1)[:, None], 2, axis=1).astype(np.float32)
    midi, strength = extract.pitch_of(saw)
    assert midi == pytest.approx(57.0, abs=0.2)
    assert strength > 0.9
    noise = np.random.default_rng(0).standard_normal((RATE_HZ // 2, 2)).astype(np.float32)
    assert extract.pitch_of(noise)[1] < 0.3


def test_other_rates_are_resampled(tmp_path: Path) -> None:
    """A tone of 440 Hz recorded at 22050 Hz in one channel stays 440 Hz, at its level and length."""
    t = np.arange(11025) / 22050
    sound_file_path = tmp_path / "tone.wav"
    with WavWriter(sound_file_path, 22050, channels=1) as writer:
        writer.write((0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[:, None])
    sound = sound_file.read(sound_file_path, RATE_HZ)
    assert sound.shape == (24000, 2)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24000) / RATE_HZ)
    assert np.abs(sound[1000:-1000, 0] - expected[1000:-1000]).max() < 0.01


@pytest.mark.parametrize(
    ("sound", "rule"),
    [
        (np.zeros((0, 2)), "lasts 0 ms"),
        (np.ones((480, 2)), "lasts 10 ms"),
        (np.zeros((9600, 2)), "is silent"),
        (np.full((9600, 2), np.nan), "9600 samples are not finite"),
    ],
)
def test_what_is_no_sound_is_refused(tmp_path: Path, sound: np.ndarray, rule: str) -> None:
    """Empty, too short, silent and broken recordings are refused with the value, the rule and the remedy."""
    with pytest.raises(UserError, match=rule):
        sound_file.read(write(tmp_path / "bad.wav", sound), RATE_HZ)


def test_what_is_no_file_of_sound_is_refused(tmp_path: Path) -> None:
    """Another suffix, and bytes that no decoder knows, are refused."""
    text = tmp_path / "notes.txt"
    text.write_text("A3")
    with pytest.raises(UserError, match="not a recording"):
        sound_file.read(text, RATE_HZ)
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(b"RIFFnothing")
    with pytest.raises(UserError, match="cannot be decoded"):
        sound_file.read(damaged, RATE_HZ)


def test_following_gives_rows_for_training_pairs() -> None:
    """A recording becomes a row for each control frame; windows without sound have no targets."""
    sound = np.concatenate((render(np.full(LANES, 0.5), BLOW), np.zeros((RATE_HZ // 4, 2), np.float32)))
    position, mask = pairs.follow(sound, RATE_HZ, window_s=0.25, evaluations=20, first=40)
    assert position.shape == mask.shape == (30, LANES)
    assert mask[:15].any()
    assert not mask[15:].any()
    assert np.array_equal(position[0], position[29])
    assert (position >= 0).all()
    assert (position <= 1).all()


def test_command_writes_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`train extract` prints the lanes and writes parameters and render."""
    source = write(tmp_path / "blow.wav", render(np.full(LANES, 0.4), BLOW))
    out, wav = tmp_path / "found.npz", tmp_path / "found.wav"
    command = ["train", "extract", str(source), "--out", str(out), "--render", str(wav), "--note", "A3"]
    assert cli.main([*command, "--evaluations", "40"]) == 0
    assert "log-mel distance" in capsys.readouterr().out
    with np.load(out) as found:
        assert found["position"].shape == (LANES,)
        assert found["notes"][0, 2] == 57.0
    assert sound_file.read(wav, RATE_HZ).shape[1] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "params.txt"], "must end in .npz"),
        (["--note", "H9"], "must be a note"),
        (["--evaluations", "0"], "whole number"),
    ],
)
def test_command_refuses_wrong_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    """A wrong suffix, note or count ends with the usage exit code before anything is computed."""
    source = write(tmp_path / "blow.wav", np.ones((9600, 2)))
    try:
        code = cli.main(["train", "extract", str(source), *options])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    assert said in capsys.readouterr().err
