"""The audio process: opens the device, hands it the native callback, then sleeps. Nothing else runs here."""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from echelon_bridges.child import answer, begin, is_wanted, requests, say, wait_until_wanted
from echelon_bridges.devices import Device, find_device, import_sounddevice, quiet_stderr
from echelon_engine.block import SharedBlock
from echelon_engine.config import Config
from echelon_engine.errors import UserError

if TYPE_CHECKING:
    from echelon_engine.drivers import Driver

FIRST_BLOCK_S = 2.0
WATCH_S = 0.1


def preload(config: Config) -> Any:
    """Compile or load the callback and the weights, all that takes time; return the weights. Touches nothing shared."""
    from echelon_engine import units
    from echelon_engine._jit import CACHE_DIR, cache_root

    def tell(name: str, number: int, count: int) -> None:
        about = ", once for this version: about half a minute in all" if number == 1 else ""
        say("compiling", what=f"{name} ({number} of {count}){about}")

    if CACHE_DIR.parent != cache_root():
        text = f"cache {cache_root()} cannot be written: compiled code is kept in {CACHE_DIR.parent}"
        say("warning", text=text)
    units.compile_cold(on_progress=tell)
    from echelon_engine.block import new_shared
    from echelon_models.weights import load_all

    weights = load_all(config.models)
    if not is_wanted():  # on standby there is time to load what the first engine loads
        new_engine(config, new_shared(config.audio.rate_hz, config.audio.block), weights)
    return weights


def new_engine(config: Config, shared: Any, weights: Any) -> Any:
    """Return an ENGINE record on `shared` that starts with its newest settings."""
    from echelon_engine import state
    from echelon_engine.rings import newest

    return state.new_engine(
        shared,
        newest(shared["settings"]),
        weights,
        rate_hz=config.audio.rate_hz,
        block_frames=config.audio.block,
        channels=config.audio.channels,
        scripted=bool(shared["header"]["scripted"]),
    )


def change_weights(engine: Any, request: dict[str, Any]) -> None:
    """Give the callback other weights of DELL gated, as the supervisor asks; what is wrong with them is the answer."""
    from echelon_engine.state import change_gated
    from echelon_models import weights

    path = str(request.get("path", ""))
    try:
        model = weights.load(weights.path_of("dell_gated", path))
        if model.key != "dell_gated":
            raise UserError(path, f"holds {model.key}", "name weights of DELL gated")
        if not change_gated(engine, weights.to_record(model)):
            raise UserError(path, "the weights before are still being taken", "try again in a moment")
        answer(request)
    except UserError as error:
        answer(request, error=str(error))


def open_driver(config: Config, device: Device, engine: Any) -> Driver:
    """Return a driver for `device`; raises `UserError` when it refuses rate, block or channels."""
    from echelon_engine.drivers import NullDriver, PortAudioDriver

    if device.index is None:
        return NullDriver(engine)
    sounddevice = import_sounddevice()
    audio = config.audio
    try:
        with quiet_stderr():
            return PortAudioDriver(device.index, engine, audio.rate_hz, audio.block, audio.channels)
    except sounddevice.PortAudioError as error:
        raise UserError(
            f"device {device.name!r}",
            f"refuses {audio.rate_hz} Hz, {audio.channels} channels ({error.args[0]})",
            f"it offers {device.about}, {device.channels} channels: set audio.rate_hz and audio.channels",
        ) from None


def play(name: str, config: Config, ended: Any) -> None:
    """Run the engine `name` until `ended` is set."""
    from echelon_engine.drivers import ask_for_priority

    device = find_device(config.audio.device) if is_wanted() else None  # a wrong name is said before compiling
    weights = preload(config)
    wait_until_wanted()
    device = device or find_device(config.audio.device)
    if device.index is None and config.audio.device != "null":
        say("notice", text="no sound card found: playing to the null device; record with --record FILE.wav to listen")
    block = SharedBlock.attach(name)
    engine = new_engine(config, block.shared, weights)
    counters = block.shared["counters"]
    counters["thread_id"] = 0
    driver = open_driver(config, device, engine)
    gc.collect()
    gc.freeze()
    gc.disable()
    driver.start()
    deadline = time.monotonic() + FIRST_BLOCK_S
    while counters["thread_id"] == 0 and time.monotonic() < deadline:
        time.sleep(0.002)
    if counters["thread_id"] == 0:
        driver.stop()
        raise UserError(f"device {device.name!r}", "never asked for sound", "see `echelon-engine doctor`")
    if refused := ask_for_priority(int(counters["thread_id"]), config.audio.priority):
        say("notice", text=refused)
    say(
        "ready",
        device=device.name,
        host_api=device.host_api,
        rate_hz=config.audio.rate_hz,
        block=config.audio.block,
        latency_ms=round(1000 * driver.latency_s, 2),
    )
    while not ended.wait(WATCH_S):
        for request in requests():
            change_weights(engine, request)
        if not driver.active:
            raise UserError(f"device {device.name!r}", "stopped asking for sound", "the audio process starts again")
    driver.stop()


def main() -> int:
    """Entry point: `python -m echelon_bridges.audio_process --name NAME`, configuration on standard input."""
    config, ended = begin()
    try:
        play(sys.argv[sys.argv.index("--name") + 1], config, ended)
    except UserError as error:
        say("error", text=str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the driver is stopped; nothing of the interpreter's shutdown may touch the audio libraries
