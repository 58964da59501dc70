"""What a control frame promises people: tone and keys are heard while nobody moves, freeze holds, panic forgets."""

import numpy as np

from echelon_engine import offline, process, rings, units
from echelon_engine.block import new_shared
from echelon_engine.kernels import machine
from echelon_engine.memory import COMMAND, LIMB_FRAME, NOTE_OFF, NOTE_ON
from echelon_engine.state import new_engine

NOBODY = np.zeros(0, LIMB_FRAME)


def notes(times_s, *, kind=NOTE_ON, pitch=60.0, key=40) -> np.ndarray:
    """Return note commands at these times, each on a key of its own."""
    commands = np.zeros(len(times_s), COMMAND)
    commands["kind"], commands["time_ns"] = kind, np.maximum(np.rint(np.asarray(times_s) * 1e9), 1)
    commands["key"] = key + np.arange(len(times_s))
    commands["value"][:, 0], commands["value"][:, 1] = pitch, 0.8
    return commands


def level_db(sound: np.ndarray) -> float:
    """Return the RMS of both channels, dBFS."""
    return float(10 * np.log10(max(float(np.mean(np.square(sound, dtype=np.float64))), 1e-20)))


class Live:
    """An engine with its shared block, block by block."""

    def __init__(self, settings, weights) -> None:
        units.link()
        self.shared = new_shared(48000, 512)
        self.engine = new_engine(self.shared, settings[0], weights, rate_hz=48000)
        self.out = np.zeros((512, 2), np.float32)

    def play(self, seconds: float) -> np.ndarray:
        """Return what is heard in the next seconds."""
        heard = []
        for _ in range(round(seconds * 48000 / 512)):
            process.process(self.out, self.engine, self.shared)
            heard.append(self.out.copy())
        return np.concatenate(heard)

    def set(self, settings) -> None:
        """Publish settings as the supervisor does."""
        rings.publish(self.shared["settings"], settings)


def test_the_test_tone_is_heard_while_nobody_moves(settings, weights) -> None:
    """A sound check needs no performer: -20 dBFS peak in one channel at a time, less the master volume."""
    settings["test_tone"], settings["master_db"] = 1, 0.0
    sound = offline.render(NOBODY, 4.0, settings[0], weights).sound
    peaks = np.abs(sound[96000 + 4800 : 96000 + 43200]).max(axis=0)
    assert abs(peaks.max() - 0.1) < 0.005
    assert peaks.min() < 1e-4


def test_keys_are_heard_while_nobody_moves_and_fade_when_let_go(settings, weights) -> None:
    """A held key keeps the stage open; after the last key and the idle time the engine is silent again."""
    settings["idle_seconds"] = 1.0
    commands = np.concatenate([notes([0.5]), notes([3.0], kind=NOTE_OFF)])
    sound = offline.render(NOBODY, 16.0, settings[0], weights, commands=commands).sound
    assert level_db(sound[24000:48000]) > -50.0
    assert level_db(sound[15 * 48000 :]) < -90.0


def test_freeze_holds_the_engine_state(dance, settings, weights) -> None:
    """A frozen body does not send the engine to Idle, however long it lasts."""
    settings["idle_seconds"] = 1.0
    live = Live(settings, weights)
    for i in range(120):
        rings.push(live.shared["frames"][0], dance[i : i + 1])
    live.play(2.0)
    settings["freeze"] = 1
    live.set(settings)
    live.play(4.0)
    assert live.engine["machine"]["state"] in (machine.ACTIVE, machine.TRANSITIONING)
    settings["freeze"] = 0
    live.set(settings)
    live.play(2.5)
    assert live.engine["machine"]["state"] == machine.IDLE


def test_panic_forgets_scheduled_notes(settings, weights) -> None:
    """A note that waits for its time is not heard after a panic."""
    live = Live(settings, weights)
    rings.push(live.shared["commands"][1], notes([1.0]))
    live.play(0.5)
    settings["panic"] += 1
    live.set(settings)
    live.play(0.1)
    assert np.abs(live.play(2.0)).max() == 0.0


def test_more_notes_than_the_ring_holds_are_all_played(settings, weights) -> None:
    """Offline, 400 notes with their times all begin."""
    settings["notes_from_motion"] = 0
    commands = notes(np.linspace(0.1, 7.9, 400), key=0)
    records = offline.render(NOBODY, 8.2, settings[0], weights, commands=commands).records
    assert records["onsets"][-1] == 400


def test_pitches_out_of_range_fold_into_their_scale(settings, weights) -> None:
    """A note above the range is played octaves lower, not at the top."""
    live = Live(settings, weights)
    rings.push(live.shared["commands"][1], notes([0.0], pitch=133.0))
    live.play(0.1)
    sounding = live.engine["instrument"]["voice"]["fundamental_hz"]
    assert np.isclose(sounding, 440.0 * 2.0 ** ((109 - 69) / 12), rtol=1e-3).any()


def test_poisoned_bones_are_counted(dance, settings, weights) -> None:
    """Numbers that are not finite are refused, counted, and leave the sound finite."""
    frames = dance[:240].copy()
    frames["rotation"][60:120, 14] = np.nan
    frames["position"][90] = np.inf
    rendering = offline.render(frames, 4.0, settings[0], weights)
    assert np.isfinite(rendering.sound).all()
    assert rendering.counters["refused_values"] >= 60


def test_sound_that_nobody_records_is_counted(settings, weights) -> None:
    """When the recorder stalls longer than the ring lasts, the lost sample frames are counted."""
    settings["record"] = 1
    live = Live(settings, weights)
    ring = live.shared["sound"]
    ring["written"][0] = len(ring["item"]) - 512
    live.play(0.1)
    assert live.shared["counters"]["dropped_sound"] > 0


def test_boundaries_follow_the_beat_when_asked(dance, settings, weights) -> None:
    """At 120 bpm the slow solver runs every 30 control frames instead of every 24."""
    settings["tempo_bpm"] = 120.0
    changes = []
    for at_beats in (0, 1):
        settings["boundary_at_beats"] = at_beats
        live = Live(settings, weights)
        for i in range(360):
            rings.push(live.shared["frames"][0], dance[i : i + 1])
        seen, before = [], None
        for frame in range(300):
            live.play(1 / 60)
            slow = live.engine["coupled"]["y_slow"].copy()
            if before is not None and not np.array_equal(slow, before):
                seen.append(frame)
            before = slow
        changes.append(float(np.median(np.diff(seen))))
    assert changes[0] < changes[1]
