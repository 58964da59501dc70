"""`devices`: every audio device, with the default marked; `null` is always there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: Namespace) -> int:
    """List them."""
    import json
    from dataclasses import asdict

    from echelon_bridges.devices import list_devices, portaudio_problem

    devices = list_devices()
    if arguments.json:
        print(json.dumps([asdict(device) for device in devices], indent=2))
        return 0
    width = max(len(device.name) for device in devices)
    for device in devices:
        mark = "*" if device.default else " "
        index = "-" if device.index is None else str(device.index)
        print(
            f"{mark} {index:>3}  {device.name:<{width}}  {device.host_api:<12} {device.channels:>3} out  {device.about}"
        )
    if problem := portaudio_problem():
        print(f"\n{problem}")
    return 0
