"""WAV files: right for other programs, readable after a kill, clear about what cannot be done."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from echelon_engine import wav
from echelon_engine.wav import OutputError, WavWriter

RATE_HZ = 48_000


def noise(frames: int, channels: int = 2) -> np.ndarray:
    """Return white noise -1..1."""
    return (np.random.default_rng(5).uniform(-1, 1, (frames, channels))).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_float_files_are_read_unchanged_by_another_program(tmp_path: Path, channels: int) -> None:
    """scipy reads back every bit of a float32 file and its rate."""
    sound = noise(1001, channels)
    with WavWriter(tmp_path / "a.wav", RATE_HZ, channels) as writer:
        writer.write(sound[:400])
        writer.write(sound[400:])
    rate_hz, heard = wavfile.read(tmp_path / "a.wav")
    assert rate_hz == RATE_HZ
    assert heard.dtype == np.float32
    assert np.array_equal(heard.reshape(-1, channels), sound)
    assert np.array_equal(wav.read(tmp_path / "a.wav")[0], sound)


@pytest.mark.parametrize("frames", [1000, 1001])
def test_24_bit_files_are_right_to_half_a_step(tmp_path: Path, frames: int) -> None:
    """24-bit PCM rounds to the nearest step, also with an odd number of bytes."""
    sound = noise(frames, 1)
    with WavWriter(tmp_path / "a.wav", RATE_HZ, 1, "pcm24") as writer:
        writer.write(sound)
    rate_hz, heard = wavfile.read(tmp_path / "a.wav")
    assert rate_hz == RATE_HZ
    assert np.abs(heard / 256 / 8388607.0 - sound[:, 0]).max() <= 0.51 / 8388607.0
    assert np.abs(wav.read(tmp_path / "a.wav")[0] - sound).max() <= 1.0 / 8388607.0
    assert (tmp_path / "a.wav").stat().st_size % 2 == 0


def test_24_bit_files_clip_and_silence_what_is_not_a_number(tmp_path: Path) -> None:
    """Beyond full scale stays at full scale; NaN becomes silence."""
    with WavWriter(tmp_path / "a.wav", RATE_HZ, 1, "pcm24") as writer:
        writer.write(np.array([2.0, -2.0, np.nan, np.inf], np.float32))
    assert wav.read(tmp_path / "a.wav")[0][:, 0].tolist() == [1.0, -1.0, 0.0, 1.0]


def test_sixteen_bit_files_of_others_can_be_read(tmp_path: Path) -> None:
    """A 16-bit file comes back at full scale 1."""
    wavfile.write(tmp_path / "a.wav", 44_100, np.array([[32767, -32767], [0, 16384]], np.int16))
    samples, rate_hz = wav.read(tmp_path / "a.wav")
    assert rate_hz == 44_100
    np.testing.assert_allclose(samples, [[1.0, -1.0], [0.0, 0.5]], atol=1e-4)


def test_a_killed_writer_leaves_a_readable_file(tmp_path: Path) -> None:
    """Without `close`, everything up to the last full second of sound can be read by others."""
    path = tmp_path / "a.wav"
    sound = noise(RATE_HZ * 5 // 2)
    writer = WavWriter(path, RATE_HZ)
    for begin in range(0, len(sound), 1000):
        writer.write(sound[begin : begin + 1000])
    left_behind = tmp_path / "left.wav"
    shutil.copy(path, left_behind)  # what a kill would leave
    writer.close()
    heard, _ = wav.read(left_behind)
    assert len(heard) >= 2 * RATE_HZ
    assert np.array_equal(heard, sound[: len(heard)])


@pytest.mark.skipif(shutil.which("soxi") is None, reason="sox is not installed")
@pytest.mark.parametrize(("encoding", "bits"), [("float32", "25"), ("pcm24", "24")])
def test_sox_agrees(tmp_path: Path, encoding: wav.Encoding, bits: str) -> None:
    """soxi states the rate, the channels and the number of frames, without a warning."""
    with WavWriter(tmp_path / "a.wav", RATE_HZ, 2, encoding) as writer:
        writer.write(noise(777))
    told = {
        option: subprocess.run(["soxi", option, str(tmp_path / "a.wav")], capture_output=True, text=True, check=True)
        for option in ("-s", "-r", "-c", "-p")
    }
    assert [told[o].stdout.strip() for o in ("-s", "-r", "-c", "-p")] == ["777", str(RATE_HZ), "2", bits]
    assert all(t.stderr == "" for t in told.values())


def test_the_same_sound_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two files of one sound are equal to the byte, whatever the sizes of the blocks."""
    sound = noise(100_000)
    for name, step in (("a.wav", 512), ("b.wav", 777)):
        with WavWriter(tmp_path / name, RATE_HZ) as writer:
            for begin in range(0, len(sound), step):
                writer.write(sound[begin : begin + step])
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize("where", ["missing/a.wav", "."])
def test_a_path_that_cannot_be_written_says_so(tmp_path: Path, where: str) -> None:
    """A missing folder and a folder in the file's place name the path, the reason and the remedy."""
    with pytest.raises(OutputError, match=r"cannot be written .*; choose a folder"):
        WavWriter(tmp_path / where, RATE_HZ)


def test_a_full_file_stops_and_stays_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of the format the writer keeps what fits, and says what to do."""
    monkeypatch.setattr(wav, "MOST_BYTES", 10_000)
    sound = noise(3000)
    writer = WavWriter(tmp_path / "a.wav", RATE_HZ)
    with pytest.raises(OutputError, match="second file"):
        writer.write(sound)
    writer.close()
    heard, _ = wav.read(tmp_path / "a.wav")
    assert len(heard) == writer.max_frames
    assert np.array_equal(heard, sound[: len(heard)])


def test_a_full_disk_says_so() -> None:
    """A device without room is reported as such."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(OutputError, match="refused more"):
        WavWriter("/dev/full", RATE_HZ)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A file that is no WAV is named in the error."""
    (tmp_path / "a.wav").write_bytes(b"hello, this is text")
    with pytest.raises(OutputError, match=r"a\.wav: is no WAV"):
        wav.read(tmp_path / "a.wav")


@pytest.mark.parametrize("encoding", ["float32", "pcm24"])
def test_a_cut_off_recording_is_mended(tmp_path: Path, encoding: wav.Encoding) -> None:
    """What a killed writer had written past its header is found again; a whole file stays as it is, byte for byte."""
    path = tmp_path / "cut.wav"
    sound = np.linspace(-0.5, 0.5, 2 * 5001, dtype=np.float32).reshape(-1, 2)
    with wav.WavWriter(path, 48000, encoding=encoding) as writer:
        writer.write(sound)
    whole = path.read_bytes()
    wav.mend(path)
    assert path.read_bytes() == whole
    at = whole.index(b"data") + 4
    path.write_bytes(whole[:at] + (600).to_bytes(4, "little") + whole[at + 4 :])
    wav.mend(path)
    mended, rate_hz = wav.read(path)
    assert rate_hz == 48000
    assert np.allclose(mended, sound, atol=1e-6)


def test_only_recordings_are_mended(tmp_path: Path) -> None:
    """A file that is no WAV, and one that is not there, are left alone."""
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFFdata" * 40)
    wav.mend(path)
    assert path.read_bytes() == b"RIFFdata" * 40
    wav.mend(tmp_path / "none.wav")
    assert not (tmp_path / "none.wav").exists()
