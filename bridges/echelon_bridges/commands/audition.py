"""`audition`: the voices of the ensemble, one by one, as sound files, figures and pictures."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "voices", nargs="*", metavar="VOICE", help="a track (KICK .. AMB), a drum (bd .. perc) or band; without: all"
    )
    parser.add_argument("--out", type=Path, default=Path("audition"), metavar="DIR", help="folder (default: audition)")
    parser.add_argument("--picture", action="store_true", help="draw waveform and spectrogram, too (PNG)")


def run(arguments: Namespace) -> int:
    """Render the voices and print what they measure."""
    from echelon_bridges import audition
    from echelon_engine.errors import UsageError, UserError, nearest
    from echelon_models.music.tokens import DRUMS, TRACKS

    known = (*TRACKS, *DRUMS, audition.BAND)
    chosen = list(arguments.voices or known)
    for word in chosen:
        if word not in known:
            raise UsageError(word, "no such voice", nearest(word, known) or f"voices: {', '.join(known)}")
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(str(arguments.out), f"no folder ({error.strerror})", "choose another with --out") from None

    rate_hz = 48000
    for voice in chosen:
        sound = audition.render(voice, rate_hz)
        peak_db, rms_db, centre_hz = audition.figures(sound, rate_hz)
        # HH and hh are one name on some disks
        path = arguments.out / (f"drum-{voice}.wav" if voice in DRUMS else f"{voice}.wav")
        audition.save(path, sound, rate_hz)
        line = f"{voice:6s} peak {peak_db:6.1f} dBFS  rms {rms_db:6.1f} dBFS  centroid {centre_hz:6.0f} Hz"
        print(f"{line}  {path}", flush=True)
        if arguments.picture:
            audition.draw(path.with_suffix(".png"), sound, rate_hz, line)
    return 0
