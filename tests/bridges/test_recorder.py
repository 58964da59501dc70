"""The recorder: everything from the ring reaches the disk, over full files, and a failure is kept, not raised."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import wait_for

from echelon_bridges.recorder import Recorder, unused
from echelon_engine import rings, wav
from echelon_engine.block import new_shared
from echelon_engine.wav import WavWriter


@pytest.fixture
def ring() -> Any:
    """The sound ring of a block of its own."""
    return new_shared(48000, 512)["sound"]


def ramp(count: int, start: int = 0) -> np.ndarray:
    """Sound whose every sample is another."""
    left = np.arange(start, start + count, dtype=np.float32) / 1e6
    return np.stack([left, -left], 1)


class Full:
    """A disk that takes so many bytes and then no more."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        """Write what fits; the beginning of the file has its place already."""
        if self._file.tell() + len(data) > self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self._file.write(data))


def test_all_that_was_heard_is_in_the_file(ring: Any, tmp_path: Path) -> None:
    """What was pushed before and while recording is in the file after `close`, sample by sample."""
    sound = ramp(30_000)
    rings.push_sound(ring, sound[:20_000])
    recorder = Recorder(ring, WavWriter(tmp_path / "a.wav", 48000), lambda: pytest.fail("no second file"))
    wait_for(lambda: recorder.frames == 20_000, "the first part")
    rings.push_sound(ring, sound[20_000:])
    recorder.close()
    assert (recorder.error, recorder.path.name) == ("", "a.wav")
    np.testing.assert_array_equal(wav.read(tmp_path / "a.wav")[0], sound)


def test_a_full_file_is_followed_by_the_next_without_a_lost_sample(ring: Any, tmp_path: Path) -> None:
    """At the format's limit the recording goes on in name-2.wav, name-3.wav ..; together they hold every sample."""
    first = tmp_path / "show.wav"
    (tmp_path / "show-3.wav").write_bytes(b"somebody's")
    opened = []

    def writer(path: Path) -> WavWriter:
        made = WavWriter(path, 48000)
        made.max_frames = 7000  # instead of 4 GiB
        opened.append(path)
        return made

    recorder = Recorder(ring, writer(first), lambda: writer(unused(first)))
    sound = ramp(28_000)
    rings.push_sound(ring, sound)
    wait_for(lambda: recorder.frames == 28_000, "all of it")
    assert recorder.path.name == "show-5.wav"
    recorder.close()
    assert recorder.error == ""
    assert [path.name for path in opened] == ["show.wav", "show-2.wav", "show-4.wav", "show-5.wav"]
    parts = [wav.read(path)[0] for path in opened]
    assert [len(part) for part in parts] == [7000] * 4
    np.testing.assert_array_equal(np.concatenate(parts), sound)
    assert (tmp_path / "show-3.wav").read_bytes() == b"somebody's"


def test_a_full_disk_ends_the_recording_and_keeps_what_there_is(ring: Any, tmp_path: Path) -> None:
    """When the disk refuses, the reason is kept at once, and the file opens with everything up to then."""
    writer = WavWriter(tmp_path / "a.wav", 48000)
    writer._file = Full(writer._file, 100_000)  # type: ignore[assignment]
    recorder = Recorder(ring, writer, lambda: pytest.fail("no second file"))
    rings.push_sound(ring, ramp(8192))
    wait_for(lambda: recorder.frames == 8192, "the first chunk")
    rings.push_sound(ring, ramp(8192, 8192))
    wait_for(lambda: recorder.error, "the failure")
    assert "No space left" in recorder.error
    assert "free some space" in recorder.error
    np.testing.assert_array_equal(wav.read(tmp_path / "a.wav")[0], ramp(8192))
    recorder.close()
