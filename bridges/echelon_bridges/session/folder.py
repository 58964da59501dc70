"""The folder of a session: how it is named, what its header says, which one goes on after a restart."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from echelon_bridges.session import format as form
from echelon_engine import __version__, live_table
from echelon_engine.config import Config, Models
from echelon_engine.config_file import to_json
from echelon_engine.errors import UserError

FRAMES, BARS = "frames", "bars.jsonl"
RECENT = 8  # newest folders that are looked at for the one to go on with
MODELS = {"dell_gated": "gated", "dell_coupled": "coupled", "lim_rps": "lim_rps"}
SECRET = ("credentials", "nkey", "tls_key")


def is_session(path: str | Path) -> bool:
    """Return whether a path is a session: its folder, or the file `frames` in it."""
    try:
        path = Path(path)
        with (path / FRAMES if path.is_dir() else path).open("rb") as file:
            return file.read(len(form.MAGIC)) == form.MAGIC
    except OSError:
        return False


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def weights_files(models: Models) -> dict[str, Path]:
    """Return the weights file of each model."""
    from echelon_models.weights import path_of

    chosen = {key: str(getattr(models, name)) for key, name in MODELS.items()}
    return {key: path_of(key, path) for key, path in chosen.items()}  # type: ignore[arg-type]


def product() -> dict[str, str]:
    """Return what the bytes of the sound depend on besides the log: versions, sources, machine."""
    from echelon_engine._jit import source_hash

    def of(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return ""

    return {
        "version": __version__,
        "sources": source_hash(),
        "numba": of("numba"),
        "llvmlite": of("llvmlite"),
        "machine": f"{platform.system()} {platform.machine()} {_processor()}".strip(),
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        return platform.processor()
    return found[1].strip() if found else platform.processor()


def public(config: Config) -> dict[str, Any]:
    """Return the configuration without secrets: no passwords in addresses, no names of key files."""
    plain: dict[str, Any] = json.loads(to_json(config))
    nats = plain["nats"]
    nats["url"] = re.sub(r"://[^,\s]*@", "://***@", nats["url"])
    for name in SECRET:
        nats[name] = "(set)" if nats[name] else ""
    return plain


def stamps(sample: int) -> dict[str, Any]:
    """Return this moment on every clock: what aligns a session with a video."""
    wall_s = time.time()
    local = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(wall_s))
    return {"monotonic_ns": time.monotonic_ns(), "wall_s": wall_s, "local": local, "sample": sample}


def this_run() -> str:
    """Return what tells this run of the engine from others: the boot of the machine and the supervisor's process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        boot = str(round((time.time() - time.monotonic()) / 60))
    return f"{boot}-{os.getppid()}"


def about(config: Config, folder: Path, run: str, sample: int) -> dict[str, Any]:
    """Return the header of a new session (without the layout of its records)."""
    weights = {key: {"file": str(path), "sha256": digest(path)} for key, path in weights_files(config.models).items()}
    return {
        "session": folder.name,
        "engine": config.engine.name,
        "run": run,
        "rate_hz": config.audio.rate_hz,
        "block_frames": config.audio.block,
        "product": product(),
        "weights": weights,
        "styles": list(live_table.styles(config.band.styles)),
        "started": stamps(sample),
        "config": public(config),
    }


def make(root: str | Path, engine: str) -> Path:
    """Make and return a folder `DATE_TIME_ENGINE`, private (mode 0700); raises `UserError`."""
    root = Path(root).expanduser()
    name = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{engine}"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in range(1, 1000):
            folder = root / (name if part == 1 else f"{name}-{part}")
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                if not root.is_dir():
                    raise
                continue
            return folder
    except OSError as error:
        remedy = "choose a folder that you may write to, with session.log"
        raise UserError(str(root), f"no session can be kept there ({error.strerror})", remedy) from None
    raise UserError(str(root), f"a thousand sessions are called {name}", "choose another folder with session.log")


def header_of(folder: Path) -> form.Scan:
    """Return the header of a session; raises OSError."""
    with (folder / FRAMES).open("rb") as file:
        return form.read_header(file.read(form.START.size + form.MOST_BYTES + form.CRC.size))


def sessions(root: Path) -> Iterator[Path]:
    """Yield the sessions in a folder, newest first."""
    try:
        names = sorted((entry.name for entry in os.scandir(root) if entry.is_dir()), reverse=True)
    except OSError:
        return
    yield from (root / name for name in names if (root / name / FRAMES).is_file())


def unfinished(root: str | Path, engine: str, run: str) -> Path | None:
    """Return the session that this run of the engine began and that can go on, or None."""
    checked = 0
    for folder in sessions(Path(root).expanduser()):
        try:
            scan = header_of(folder)
        except OSError:
            continue
        if scan.header.get("engine") != engine:
            continue
        if scan.header.get("run") == run and not scan.foreign and not scan.stopped:
            started = scan.header.get("started", {}).get("monotonic_ns", 0)
            return folder if started <= time.monotonic_ns() else None
        if (checked := checked + 1) >= RECENT:
            break
    return None
