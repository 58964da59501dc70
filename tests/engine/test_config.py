"""The configuration: one place, everything checked, every refusal says value, rule and remedy."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_engine import config_file
from echelon_engine.config import SCALES, Config
from echelon_engine.config_file import KEYS, load, make, parse_override, read_toml, to_toml
from echelon_engine.errors import UsageError


@pytest.fixture(autouse=True)
def _no_personal_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "default_path", lambda: tmp_path / "none.toml")


def _values(key: config_file.Key) -> st.SearchStrategy[Any]:
    if key.choices:
        return st.sampled_from(key.choices)
    if key.kind is bool:
        return st.booleans()
    if key.kind is int:
        step = int(key.multiple_of or 1)
        return st.integers(int(key.low or 0) // step, int(key.high) // step).map(lambda n: n * step)
    if key.kind is float:
        return st.floats(key.low, key.high)
    if key.pattern:
        return st.from_regex(key.pattern, fullmatch=True)
    if key.name.endswith(".bind"):
        return st.ip_addresses(v=4).map(str)
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_printed_configuration_reads_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """What `config` prints is TOML that gives the same configuration again, whatever the values."""
    values = {name: data.draw(_values(key), name) for name, key in KEYS.items()}
    values["audio.left"], values["audio.right"], values["motion.focus"] = 1, 2, 0
    values["ports.mocopi"], values["ports.vmc"] = values["ports.mocopi"] // 2, 40_000 + values["ports.vmc"] // 3
    values["ports.phones"] = 62_000 + values["ports.phones"] // 20
    config = make(values)
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(to_toml(config), "utf-8")
    assert make(read_toml(path)) == config
    assert config_file.from_json(config_file.to_json(config)) == config


def test_every_key_is_documented_and_its_default_obeys_its_rule() -> None:
    """Each key says what it is, and its own default passes its own check."""
    for key in KEYS.values():
        assert len(key.about) > 8, key.name
        assert key.check(key.default) == key.default
        assert f"# {key.about}" in to_toml(Config())


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("audio.blok=1", ["audio.blok", "no such setting", "'audio.block'"]),
        ("block=128", ["'audio.block'"]),
        ("audio.block=96", ["audio.block = 96", "a multiple of 64", "set audio.block to 128"]),
        ("audio.block=4096", ["from 64 to 2048", "set audio.block to 2048"]),
        ("audio.block=many", ["a whole number"]),
        ("audio.rate_hz=22050", ["one of 44100, 48000, 88200, 96000"]),
        ("instrument.scale=dorain", ["'dorian'"]),
        ("motion.delay_ms=nan", ["a number from 0 to 500"]),
        ("motion.loop=maybe", ["true or false"]),
        ("engine.name=a/b", ["letters, digits"]),
        ("audio.device", ["KEY=VALUE"]),
        ("audio.left=5", ["only 2 channels", "set audio.channels to 5"]),
        ("output.master_db=0.5", ["from -80 to 0"]),
        ("motion.focus=1", ["below motion.performers = 1", "set motion.performers to 2"]),
        ("ports.vmc=12351", ["ports.mocopi = 12351", "1 apart"]),
        ("ports.bind=1.2.3", ["ports.bind = '1.2.3'", "IPv4", "0.0.0.0"]),
        ("ports.bind=1.2.3.256", ["must be an IPv4 address"]),
        ("osc.bind=127.0.0.01", ["osc.bind = '127.0.0.01'", "IPv4"]),  # the system would take it for octal
        ("zzzz.qqqq=1", ["no such setting", "config"]),
    ],
)
def test_wrong_override_is_refused_with_rule_and_remedy(override: str, parts: list[str]) -> None:
    """A wrong `--set` names the value, the rule and what to do."""
    with pytest.raises(UsageError) as caught:
        load(overrides=[override])
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["motion.performers=3", "ports.vmc=65534"], ["up to 65536", "set it to 65533"]),
        (["motion.performers=3", "ports.vmc=12353"], ["ports.vmc = 12353", "3 apart"]),
        (["motion.performers=3", "ports.vmc=12349"], ["ports.mocopi = 12351", "3 apart"]),
        (["motion.performers=3", "ports.vmc=12354"], []),
        (["motion.performers=3", "motion.focus=2", "ports.vmc=65533"], []),
        (["motion.performers=4", "ports.vmc=0", "ports.mocopi=0"], []),
    ],
)
def test_settings_that_contradict_one_another_are_refused(overrides: list[str], parts: list[str]) -> None:
    """Every performer has a port of its own below 65536; what just fits is accepted."""
    if not parts:
        load(overrides=overrides)
        return
    with pytest.raises(UsageError) as caught:
        load(overrides=overrides)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[audio]\nblok = 3\n", ["audio.blok", "'audio.block'"]),
        ("[audoi]\n", ["[audoi]", "'audio'"]),
        ("[audio\n", ["not valid TOML", "line 1"]),
        ("block = 256\n", ["belongs in [audio]"]),
        ("audio = 3\n", ["is a section"]),
        ("[audio]\nblock = '256'\n", ["a whole number"]),
        ("[audio]\nblock = true\n", ["a whole number"]),
        ("[audio]\nblock = 256.0\n", ["a whole number"]),
        ("[audio]\ndevice = 3\n", ["text"]),
        ("[motion]\nloop = 1\n", ["true or false"]),
        (f"[motion]\ndelay_ms = 1{'0' * 400}\n", ["a number from"]),
        ("[audio.block]\nx = 1\n", ["audio.block"]),
        ("[" * 5000, ["c.toml"]),
    ],
)
def test_wrong_file_is_refused_by_name(tmp_path: Path, text: str, parts: list[str]) -> None:
    """A wrong file is refused with its name and the reason, never a stack trace."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(path)
    for part in ["c.toml", *parts]:
        assert part in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    """A configuration that is not there or not text is said so."""
    with pytest.raises(UsageError, match="cannot read"):
        load(tmp_path / "absent.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        load(tmp_path / "b.toml")


def test_later_sources_win_and_chosen_keys_are_remembered(tmp_path: Path) -> None:
    """Defaults yield to the file, the file to options, options to `--set`; only touched keys count as chosen."""
    path = tmp_path / "c.toml"
    path.write_text("[audio]\nblock = 128\nrate_hz = 44100\n[ports]\nmocopi = 12351\n")
    config = load(path, ["audio.block=1024"], {"audio.device": "null", "motion.file": None, "audio.block": 256})
    assert (config.audio.block, config.audio.rate_hz, config.audio.device) == (1024, 44100, "null")
    assert config.is_chosen("ports.mocopi")  # chosen although equal to the default
    assert not config.is_chosen("ports.vmc")
    assert not config.is_chosen("motion.file")


def test_integers_are_accepted_where_a_number_is_wanted() -> None:
    """`delay_ms = 20` is as good as 20.0, and arrives as a float."""
    name, value = parse_override("motion.delay_ms=20")
    assert name == "motion.delay_ms"
    assert isinstance(value, float)
    assert math.isclose(KEYS[name].check(20), 20.0)


def test_scales_hold_their_root() -> None:
    """Every scale contains its root and stays within an octave."""
    for mask in SCALES.values():
        assert mask & 1
        assert mask < 1 << 12
