"""What works on this machine, what does not, and what to do: one check a subject, each a list of rows."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from echelon_bridges import lock, udp
from echelon_bridges.sensors import name_of
from echelon_engine.config import SENSOR_KINDS, Config
from echelon_engine.errors import UserError

Verdict = Literal["ok", "warn", "fail"]
LIMITS = (
    "as root: printf '@audio - rtprio 95\\n@audio - memlock unlimited\\n' > /etc/security/limits.d/95-echelon.conf "
    "&& usermod -aG audio $USER, then log in again; or install rtkit and a sound server that uses it"
)
FREE_BYTES = 64 << 20
PYTHONS = ((3, 11), (3, 13))


@dataclass(frozen=True, slots=True)
class Row:
    """One finding; `remedy` says what to do unless the verdict is ok."""

    subject: str
    verdict: Verdict
    text: str
    remedy: str = ""


def python(_: Config) -> Iterator[Row]:
    """Python and Numba."""
    from importlib.metadata import version as installed

    version = sys.version_info[:2]
    fits = PYTHONS[0] <= version <= PYTHONS[1]
    text = f"Python {sys.version.split()[0]}, Numba {installed('numba')}, NumPy {installed('numpy')}"
    yield Row("python", "ok" if fits else "warn", text, "" if fits else "3.11 to 3.13 are tested")


def cache(_: Config) -> Iterator[Row]:
    """The folder of compiled code: whether the next start is warm, whether it can be kept."""
    from echelon_engine._jit import CACHE_DIR, cache_root

    files = list(CACHE_DIR.rglob("*.nbc")) if CACHE_DIR.is_dir() else []
    size = sum(path.stat().st_size for path in files) / 1e6
    if CACHE_DIR.parent != cache_root():
        text = f"{cache_root()} cannot be written: compiled code is kept in {CACHE_DIR.parent}"
        yield Row("cache", "warn", text, "set ECHELON_CACHE_DIR to a folder that lasts")
    elif files:
        yield Row("cache", "ok", f"{len(files)} compiled functions, {size:.1f} MB, in {CACHE_DIR}")
    else:
        yield Row("cache", "ok", f"empty: the next start compiles first (about half a minute), into {CACHE_DIR}")


def audio(config: Config) -> Iterator[Row]:
    """PortAudio, its devices, and the configured one."""
    from echelon_bridges.devices import find_device, list_devices, portaudio_problem

    if problem := portaudio_problem():
        value, _, remedy = problem.partition("; ")
        yield Row("audio", "warn", f"{value}; the null device plays to nobody", remedy)
    else:
        real = [device for device in list_devices() if device.index is not None]
        if real:
            yield Row("audio", "ok", f"PortAudio sees {len(real)} output device{'s' * (len(real) != 1)}")
        else:
            yield Row("audio", "warn", "PortAudio sees no output device", "plug one in, or start JACK or PipeWire")
    try:
        device = find_device(config.audio.device)
        yield Row("device", "ok", f"{config.audio.device!r} is {device.host_api}: {device.name} ({device.about})")
    except UserError as error:
        yield Row("device", "fail", f"{error.value}: {error.rule}", error.remedy)


def priority(config: Config) -> Iterator[Row]:
    """Real-time scheduling, tried in a thread of its own, and locked memory."""
    if not sys.platform.startswith("linux"):
        yield Row("priority", "ok", "the operating system raises audio threads by itself (untested here)")
        return
    import resource

    wanted = config.audio.priority
    answers: list[str] = []

    def ask() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(max(wanted, 1)))  # 0: this thread alone
            answers.append("")
        except OSError as error:
            answers.append(error.strerror or str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    if wanted == 0:
        yield Row("priority", "warn", "audio.priority = 0 asks for none", "set audio.priority to 70")
    elif answers == [""]:
        yield Row("priority", "ok", f"SCHED_FIFO {wanted} is granted")
    else:
        text = f"SCHED_FIFO {wanted} is refused ({answers[0]}; RLIMIT_RTPRIO is {limit}): drop-outs under load"
        yield Row("priority", "warn", text, LIMITS)
    throttle = Path("/proc/sys/kernel/sched_rt_runtime_us")
    with contextlib.suppress(OSError, ValueError):
        share = int(throttle.read_text()) / 1e4
        if 0 <= share < 50:
            yield Row("throttle", "warn", f"real-time threads get only {share:.0f} %", f"raise {throttle}")


def cpu(_: Config) -> Iterator[Row]:
    """Cores, and whether they run at full speed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    enough = cores >= 2
    yield Row(
        "cpu",
        "ok" if enough else "warn",
        f"{cores} cores",
        "" if enough else "audio wants a core beside everything else",
    )
    governors = set()
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with contextlib.suppress(OSError):
            governors.add(path.read_text().strip())
    if governors and not governors <= {"performance", "schedutil"}:
        yield Row(
            "governor", "warn", f"CPU governor {', '.join(sorted(governors))}", "cpupower frequency-set -g performance"
        )
    elif governors:
        yield Row("governor", "ok", f"CPU governor {', '.join(sorted(governors))}")


def memory(_: Config) -> Iterator[Row]:
    """Room for the shared block, and for sockets."""
    from echelon_bridges.control import runtime_folder
    from echelon_engine import block
    from echelon_engine.memory import SHARED

    folder = block.folder()
    free = shutil.disk_usage(folder).free
    need = f"the shared block takes {SHARED.itemsize / 1e6:.1f} MB, {folder} has {free / 1e6:.0f} MB free"
    if free < SHARED.itemsize:
        yield Row("memory", "fail", need, f"free {folder}")
    elif free < FREE_BYTES:
        yield Row("memory", "warn", need, f"free {folder}")
    else:
        yield Row("memory", "ok", need)
    try:
        sockets = runtime_folder()
        yield Row("sockets", "ok", f"in {sockets}")
        with contextlib.suppress(OSError):
            sockets.rmdir()  # only when this check made it
    except UserError as error:
        yield Row("sockets", "fail", f"{error.value}: {error.rule}", error.remedy)


def ports(config: Config) -> Iterator[Row]:
    """The sensors' ports: free, used by a running engine, or taken."""
    engines = lock.running()
    for kind in SENSOR_KINDS:
        first = getattr(config.ports, kind)
        if first == 0:
            yield Row(f"port {kind}", "ok", "closed by the configuration")
            continue
        for performer in range(config.motion.performers):
            port, subject = first + performer, f"port {name_of(kind, performer)}"
            try:
                udp.bind(config.ports.bind, port).close()
                yield Row(subject, "ok", f"UDP {config.ports.bind}:{port} is free")
            except UserError as error:
                if engines:
                    yield Row(subject, "ok", f"UDP {port} is in use; running here: {', '.join(engines)}")
                else:
                    chosen = config.is_chosen(f"ports.{kind}") or config.is_chosen("ports.bind")
                    yield Row(
                        subject, "fail" if chosen else "warn", f"{error.value}: {error.rule}", f"set ports.{kind}"
                    )


def models(config: Config) -> Iterator[Row]:
    """The weights load and their certificates hold."""
    from echelon_models import weights

    for name, key in (("gated", "dell_gated"), ("coupled", "dell_coupled"), ("lim_rps", "lim_rps")):
        chosen = getattr(config.models, name)
        path = weights.path_of(key, chosen)  # type: ignore[arg-type]
        try:
            model = weights.load(path)
        except UserError as error:
            yield Row(f"model {name}", "fail", f"{error.value}: {error.rule}", error.remedy)
            continue
        if model.key != key:
            yield Row(f"model {name}", "fail", f"{path} holds {model.key}", f"models.{name} wants {key}")
            continue
        figures = ", ".join(f"{figure.name} {figure.value:.3g}" for figure in model.figures)
        if model.key == "dell_gated":
            yield Row(f"model {name}", "ok", f"{chosen}: bounded by its clip, no certificate ({figures})")
        else:
            yield Row(f"model {name}", "ok", f"{chosen}: certificate holds ({figures})")


def styles(config: Config) -> Iterator[Row]:
    """The chosen style, and every file in the folder of a person's own."""
    from echelon_engine import live_table
    from echelon_engine.errors import nearest
    from echelon_models.music import styles as files

    folder = Path(config.band.styles).expanduser() if config.band.styles else None
    chosen, known = config.band.style.lower(), live_table.styles(config.band.styles)
    if chosen not in known:
        yield Row("style", "fail", f"{chosen!r}: no such style", nearest(chosen, known) or f"known: {', '.join(known)}")
    else:
        try:
            style = files.load(chosen, folder)
            yield Row("style", "ok", f"{chosen}: {style.about}, {style.tempo[0]:g} to {style.tempo[2]:g} bpm")
        except UserError as error:
            yield Row("style", "fail", f"{error.value}: {error.rule}", error.remedy)
    if folder is None:
        return
    if not folder.is_dir():
        yield Row("styles", "fail", f"{folder}: no such folder", "make it, or correct band.styles")
        return
    bad = 0
    for path in sorted(folder.glob("*.toml")):
        try:
            files.load(str(path))
            if path.stem != path.stem.lower():
                raise UserError(str(path), "a style is chosen in lower case", f"call it {path.stem.lower()}.toml")
        except UserError as error:
            bad += 1
            yield Row("styles", "warn", f"{error.value}: {error.rule}", error.remedy)
    if not bad:
        yield Row("styles", "ok", f"{len(list(folder.glob('*.toml')))} of your own in {folder}")


def nats(config: Config) -> Iterator[Row]:
    """The extra, and whether the configured server answers."""
    from echelon_bridges.nats_link import connection, server

    if not config.nats.url:
        yield Row("nats", "ok", "no server is configured; `run --nats embedded` starts one")
        return
    try:
        connection.check(config)
    except UserError as error:
        yield Row("nats", "fail", f"{error.value}: {error.rule}", error.remedy)
        return
    if config.nats.url == connection.EMBEDDED:
        found = server.greeting(config.nats.port) if config.nats.port else None
        if found is None:
            yield Row("nats", "ok", f"`run` starts a server on loopback, port {config.nats.port or 'any'}")
        elif found:
            yield Row("nats", "ok", f"a NATS server runs on port {config.nats.port} already: `run` joins it")
        else:
            yield Row("nats", "fail", f"port {config.nats.port} is in use by another program", "set nats.port")
        return
    for each in connection.servers_of(config.nats.url):
        parts = urlsplit(each.shown)
        found = server.greeting(parts.port or 4222, host=parts.hostname or "")
        if found:
            yield Row("nats", "ok", f"{each.shown} answers, version {found.get('version', '?')}")
        else:
            text = "nobody answers" if found is None else "what answers is no NATS server"
            yield Row("nats", "warn", f"{each.shown}: {text}; `run` keeps trying", "start it, or correct nats.url")


def midi(config: Config) -> Iterator[Row]:
    """The extra, and the configured ports."""
    from echelon_bridges.midi import ports as midi_ports

    chosen: tuple[tuple[midi_ports.Direction, str], ...] = (("out", config.midi.output), ("in", config.midi.input))
    try:
        midi_ports.load()
    except UserError as error:
        wanted = any(name for _, name in chosen)
        yield Row("midi", "fail" if wanted else "ok", f"{error.value}: {error.rule}", error.remedy)
        return
    for direction, name in chosen:
        subject = "midi output" if direction == "out" else "midi input"
        with midi_ports.quiet():
            seen = midi_ports.listing(direction, midi_ports.clients(direction, "echelon-doctor"))
        names = ", ".join(port.name for port in seen) or "none"
        if not name or name.startswith("virtual"):
            yield Row(subject, "ok", f"{'an own port' if name else 'not configured'}; ports here: {names}")
        elif port := midi_ports.choose(name, seen):
            yield Row(subject, "ok", port.name)
        else:
            missing = midi_ports.problem(name, seen, direction)
            yield Row(subject, "warn", f"{missing.value}: {missing.rule}; `run` waits for it", missing.remedy)


def engines(config: Config) -> Iterator[Row]:
    """Engines that run now, and whether the configured one is among them."""
    running, name = lock.running(), config.engine.name
    text = f"running: {', '.join(running)}" if running else "none is running"
    yield Row("engines", "ok", f"{text}; {name} can be started" if running and name not in running else text)


CHECKS: tuple[Callable[[Config], Iterator[Row]], ...] = (
    python,
    cache,
    audio,
    priority,
    cpu,
    memory,
    ports,
    models,
    styles,
    nats,
    midi,
    engines,
)


def examine(config: Config) -> Iterator[Row]:
    """Yield the rows of every check; one that breaks is itself a finding, and the others go on."""
    for check in CHECKS:
        try:
            yield from check(config)
        except Exception as error:
            yield Row(
                check.__name__, "fail", f"the check itself failed: {type(error).__name__}: {error}", "report this"
            )
