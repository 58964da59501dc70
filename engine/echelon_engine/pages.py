"""The page of all settings, derived from the tables: `python -m echelon_engine.pages > engine/SETTINGS.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from echelon_engine import config_file, live, live_table
from echelon_engine.config import Config
from echelon_engine.config_file import KEYS
from echelon_engine.parameters import PARAMETERS


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines]


def settings_page() -> str:
    """Return the page as Markdown: configuration keys, live keys, parameters."""
    sections: list[str] = []
    for section in config_file.SECTIONS:
        about = (type(getattr(Config(), section)).__doc__ or "").strip()
        rows = [
            (f"`{key.name}`", f"`{config_file.written(key.default)}`", key.rule, key.about)
            for key in KEYS.values()
            if key.name.startswith(f"{section}.")
        ]
        sections += [f"### [{section}]", "", about, "", *_table(("key", "default", "allowed", "meaning"), rows), ""]
    live_rows = [(f"`{row.key}`", row.rule, row.about) for row in live_table.LIVE.values()]
    lanes = [
        (str(p.lane), f"`{p.name}`", f"{p.low:g} to {p.high:g}", p.unit, p.curve, "yes" if p.latched else "", p.about)
        for p in PARAMETERS
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "From `config.py`, `live.py` and `parameters.py`, by `python -m echelon_engine.pages`; a test compares.",
            "",
            "## Configuration",
            "",
            "One TOML file (`echelon-engine config` prints it), overridden by options, then by `--set KEY=VALUE`.",
            "",
            *sections,
            "## Live",
            "",
            "`echelon-engine set KEY VALUE` while it plays.",
            "",
            *_table(
                ("key", "allowed", "meaning"),
                [*live_rows, ("`lane.NAME`, `lane.NUMBER`", "see below", live.LANE_ABOUT)],
            ),
            "",
            "## The 32 parameters",
            "",
            "A voice latches the marked ones at its note-on; the others move sounding voices.",
            "",
            *_table(("lane", "name", "range", "unit", "curve", "latched", "meaning"), lanes),
            "",
        ]
    )


if __name__ == "__main__":
    print(settings_page(), end="")
