"""`doctor`: what works on this machine, what does not, and what to do."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from echelon_bridges.commands import _options


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    _options.add_config(parser)
    _options.add_name(parser)


def run(arguments: Namespace) -> int:
    """Print one row a finding; exit code 1 when something fails."""
    import json
    from dataclasses import asdict

    from echelon_bridges.doctor import examine

    rows = []
    for row in examine(_options.load_config(arguments, engine__name=arguments.name)):
        rows.append(row)
        if not arguments.json:
            print(f"{row.verdict:<5} {row.subject:<14} {row.text}", flush=True)
            if row.verdict != "ok" and row.remedy:
                print(f"{'':<20} -> {row.remedy}", flush=True)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    return int(any(row.verdict == "fail" for row in rows))
