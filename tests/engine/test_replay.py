"""Sessions: what the callback logs is enough to play the same bytes again."""

from typing import Any

import numpy as np
import pytest

from echelon_engine import rings, units
from echelon_engine.block import new_shared
from echelon_engine.callback import run_block
from echelon_engine.errors import UserError
from echelon_engine.memory import ALL_OFF, COMMAND, CONTROL, DEVICES, EVENT, INPUT, NOTE_OFF, NOTE_ON
from echelon_engine.replay import replay
from echelon_engine.state import new_engine

RATE = 48000
BLOCK = 512


def drained(ring: Any, dtype: Any) -> Any:
    """Return everything that waits in a ring."""
    items, item = [], np.zeros(1, dtype)
    while rings.pop(item, ring):
        items.append(item.copy())
    return np.concatenate(items) if items else np.zeros(0, dtype)


@pytest.fixture
def performance(dance, settings, weights) -> Any:
    """Six seconds as if live (a clock that trembles, late motion, settings, devices, notes, panic): what was heard and
    logged."""
    units.link()
    settings["log"] = 1
    settings["idle_seconds"] = 2.0
    shared = new_shared(RATE, BLOCK)
    engine = new_engine(shared, settings[0], weights, rate_hz=RATE, block_frames=BLOCK)
    rng = np.random.default_rng(5)
    origin_ns, fed = 7_000_000_000, 0
    live, command, devices = settings.copy(), np.zeros(1, COMMAND), np.zeros(1, DEVICES)
    sound, controls, inputs, events = [], [], [], []
    for block in range(6 * RATE // BLOCK):
        due_ns = origin_ns + block * BLOCK * 1_000_000_000 // RATE + int(rng.integers(0, 3_000_000))
        while fed < len(dance) and origin_ns + int(dance["time_ns"][fed]) + rng.integers(0, 30_000_000) < due_ns:
            frame = dance[fed : fed + 1].copy()
            frame["time_ns"] += origin_ns
            if fed % 17:  # one in seventeen is lost
                rings.push(shared["frames"][0], frame)
            fed += 1
        if block % 40 == 7:
            live["override_on"][0, 16], live["override"][0, 16] = block % 80 == 7, rng.random()
            live["low_latency"] = block % 160 > 80
            live["panic"] += block == 287
            rings.publish(shared["settings"], live)
        if block % 9 == 0:
            devices["time_ns"], devices["present"] = due_ns, block % 90 != 0
            devices["latent"] = rng.normal(0.0, 3.0, devices["latent"].shape)
            rings.publish(shared["devices"], devices)
        if block % 23 == 5 or block == 287:
            command["kind"] = NOTE_OFF if block % 46 == 5 else NOTE_ON
            command["key"], command["value"] = 70_000 + block % 3, (50 + block % 20, 0.7, 0.2, 0.0)
            command["time_ns"] = 0 if block % 2 else due_ns + 20_000_000
            rings.push(shared["commands"][0], command)
        out = np.zeros((BLOCK, 2), np.float32)
        run_block(out, engine, shared, due_ns, due_ns + 10_000_000, 0)
        sound.append(out)
        controls.append(drained(shared["records"], CONTROL))
        inputs.append(drained(shared["inputs"], INPUT))
        events.append(drained(shared["events"], EVENT))
    return tuple(np.concatenate(each) for each in (sound, controls, inputs, events))


def test_a_session_plays_the_same_bytes_again(performance, weights) -> None:
    """A replay from what was logged equals what was heard, sample by sample, and thinks the same."""
    sound, controls, inputs, _ = performance
    again = replay(controls, inputs, weights, rate_hz=RATE)
    heard = min(len(sound), len(again.sound))
    assert heard > 5.9 * RATE
    assert np.abs(sound).max() > 0.01
    assert again.sound[:heard].tobytes() == sound[:heard].tobytes()
    for field in ("sample", "x", "y", "z", "position", "latent", "state", "c", "energy"):
        assert again.records[field].tobytes() == controls[field].tobytes(), field


def test_a_changed_input_changes_the_sound(performance, weights) -> None:
    """The replay does play what was logged: without one override, it sounds different."""
    sound, controls, inputs, _ = performance
    inputs["settings"]["override_on"] = 0
    again = replay(controls, inputs, weights, rate_hz=RATE)
    heard = min(len(sound), len(again.sound))
    assert again.sound[:heard].tobytes() != sound[:heard].tobytes()


def test_every_note_is_reported_when_it_sounds(performance) -> None:
    """Events tell the body's notes and those of others with their sample, and the panic."""
    _, controls, _, events = performance
    assert {0, 1} == set(events["source"])
    assert {NOTE_ON, NOTE_OFF, ALL_OFF} == set(events["kind"])
    assert (np.diff(events["sample"]) >= 0).all()
    assert (events["kind"] == NOTE_ON).sum() == controls["onsets"][-1]
    begun = events[events["kind"] == NOTE_ON]
    assert ((begun["velocity"] > 0) & (begun["velocity"] <= 1)).all()


def test_a_session_with_a_hole_is_refused(performance, weights) -> None:
    """A missing control frame, or no settings at the beginning, is said instead of a wrong sound."""
    _, controls, inputs, _ = performance
    with pytest.raises(UserError, match="follow each other"):
        replay(np.delete(controls, 30), inputs, weights, rate_hz=RATE)
    with pytest.raises(UserError, match="settings"):
        replay(controls, inputs[1:], weights, rate_hz=RATE)
