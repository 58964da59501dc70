"""The 81 tokens: the order of the specification, names and ids both ways, notes folded where asked."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echelon_models.music import tokens


def test_table_is_the_specification_in_its_order() -> None:
    """81 tokens: rest, 49 pitches, 8 drums, 6 dynamics, 4 articulations, 5 durations, 5 effects, 3 of structure."""
    names = [token.name for token in tokens.TOKENS]
    assert names[0] == "~"
    assert (names[1], names[2], names[13], names[49]) == ("C2", "C#2", "C3", "C6")
    groups = "bd sd hh oh cp rim tom perc/pp p mp mf f ff/stac legato accent ghost/16th 8th dotted-8th quarter half"
    assert " ".join(names[50:73]) == groups.replace("/", " ")
    assert names[73:] == ["lpf", "hpf", "delay", "reverb", "dist", "repeat", "fill", "break"]
    counts = [sum(token.category == kind for token in tokens.TOKENS) for kind in ("rest", "pitch", "drum", "structure")]
    assert counts == [1, 49, 8, 3]
    assert tokens.MASK == tokens.COUNT == 81
    assert (tokens.name_of(tokens.REPEAT), tokens.name_of(tokens.FILL), tokens.name_of(tokens.BREAK)) == tuple(
        names[78:]
    )


def test_names_and_ids_lead_to_each_other() -> None:
    """Every id has one name and every name its id, in any case, flats too."""
    for token in tokens.TOKENS:
        assert tokens.token_of(tokens.name_of(token.id)) == token.id
        assert tokens.token_of(token.name.upper()) == token.id
    assert tokens.token_of("Db3") == tokens.token_of("C#3") == tokens.pitch_token(49)
    assert tokens.token_of("Bb5") == tokens.token_of("A#5")


@given(st.integers(0, 127))
def test_notes_fold_by_octaves_and_only_where_asked(midi: int) -> None:
    """A folded note has the same pitch class, lies in C2..C6, and moves no octave too many."""
    note = tokens.fold(midi)
    assert 36 <= note <= 84
    assert (note - midi) % 12 == 0
    assert abs(note - midi) < 12 or not 36 <= note - (12 if note > midi else -12) <= 84
    assert tokens.midi_note(tokens.pitch_token(midi, folded=True)) == note
    if 36 <= midi <= 84:
        assert note == midi == tokens.midi_note(tokens.pitch_token(midi))
    else:
        with pytest.raises(tokens.TokenError, match=f"MIDI note {midi}: tokens reach .* to {note}"):
            tokens.pitch_token(midi)


@pytest.mark.parametrize(
    ("call", "argument", "said"),
    [
        (tokens.name_of, 81, "the mask of the diffusion, which is in no grid"),
        (tokens.name_of, 82, r"not one of 0\.\.80"),
        (tokens.token_of, "legatto", "did you mean 'legato'"),
        (tokens.token_of, "C7", "no such token"),
        (tokens.midi_note, 50, "is no pitch"),
    ],
)
def test_what_is_no_token_is_refused(call: object, argument: object, said: str) -> None:
    """Unknown ids and names raise `TokenError` with the nearest name."""
    with pytest.raises(tokens.TokenError, match=said):
        call(argument)  # type: ignore[operator]


def test_importing_music_loads_numpy_at_most() -> None:
    """Tokens need the standard library alone, events NumPy, and no format loads its library before it is used."""
    script = (
        "import sys\nimport echelon_models.music.tokens\nassert 'numpy' not in sys.modules\n"
        "import echelon_models.music.arrange, echelon_models.music.files, echelon_models.music.picture\n"
        "loaded = {'mido', 'matplotlib', 'numba', 'torch', 'scipy', 'socket'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
