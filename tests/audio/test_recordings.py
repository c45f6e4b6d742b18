"""Files in every state of health: what is read, and why not."""

from __future__ import annotations

import io
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recsys.audio.recordings import Recording, read_recording
from recsys.errors import InputError

RATE = 22_050


def tone(seconds: float, rate: int, *, hz: float = 440.0, gain: float = 0.5) -> NDArray[np.float32]:
    times = np.arange(round(seconds * rate)) / rate
    return (gain * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def read(path: Path, *, max_duration_s: float = 30.0) -> Recording:
    return read_recording(path, sample_rate=RATE, max_duration_s=max_duration_s)


def peak_hz(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


@pytest.mark.parametrize(
    ("suffix", "rate"),
    [
        *itertools.product(["wav", "flac", "ogg", "mp3"], [8_000, 22_050, 44_100, 48_000]),
        ("wav", 44_101),
    ],
)
def test_formats_and_rates(tmp_path: Path, suffix: str, rate: int) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(2, rate), rate)
    found = read(path)
    assert found.samples.dtype == np.float32
    assert found.samples.ndim == 1
    assert found.duration_s == pytest.approx(2, abs=0.1)
    assert len(found.samples) == pytest.approx(2 * RATE, rel=0.05)
    assert peak_hz(found.samples) == pytest.approx(440, abs=2)
    middle = found.samples[RATE // 2 : -RATE // 2]
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.06)  # mp3 rings


def test_the_middle_is_read(tmp_path: Path) -> None:
    parts = [tone(4, RATE, hz=hz) for hz in (200, 1000, 3000)]
    soundfile.write(tmp_path / "x.wav", np.concatenate(parts), RATE)
    found = read(tmp_path / "x.wav", max_duration_s=4)
    assert len(found.samples) == 4 * RATE
    assert found.duration_s == 12
    assert peak_hz(found.samples) == pytest.approx(1000, abs=2)


def test_channels_are_mixed(tmp_path: Path) -> None:
    channels = np.zeros((RATE, 8), np.float32)
    channels[:, 3] = tone(1, RATE, gain=0.8)
    soundfile.write(tmp_path / "x.wav", channels, RATE, subtype="FLOAT")
    found = read(tmp_path / "x.wav")
    assert found.channels == 8
    np.testing.assert_allclose(found.samples, channels[:, 3] / 8, atol=1e-6)


def test_clipping_is_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.clip(tone(1, RATE, gain=2.0), -1, 1), RATE)
    assert read(tmp_path / "x.wav").clipped == pytest.approx(2 / 3, abs=0.01)
    soundfile.write(tmp_path / "y.wav", tone(1, RATE), RATE)
    assert read(tmp_path / "y.wav").clipped == 0


def test_a_three_hour_file_costs_as_little_as_its_excerpt(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", samplerate=8_000, channels=1, subtype="PCM_U8") as file:
        minute = tone(60, 8_000)
        for _ in range(180):
            file.write(minute)
    found = read(path, max_duration_s=5)
    assert found.duration_s == 3 * 3600
    assert len(found.samples) == 5 * RATE


def test_streams_are_read_too() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, tone(1, RATE), RATE, format="FLAC")
    stream.seek(0)
    found = read_recording(stream, sample_rate=RATE, max_duration_s=9, name="a stream")
    assert len(found.samples) == RATE


def test_each_failure_says_why(tmp_path: Path) -> None:
    def reason(name: str) -> str:
        with pytest.raises(InputError) as caught:
            read(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)
        return str(caught.value)[len(str(tmp_path / name)) :]

    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.mp3").write_text("this is not audio\n" * 100)
    (tmp_path / "folder.wav").mkdir()
    soundfile.write(tmp_path / "header.wav", np.zeros(0, np.float32), RATE)
    soundfile.write(tmp_path / "short.wav", tone(0.05, RATE), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE, np.float32), RATE)
    soundfile.write(tmp_path / "slow.wav", tone(60, 100), 100)
    nan = tone(1, RATE)
    nan[5] = np.nan
    soundfile.write(tmp_path / "nan.wav", nan, RATE, subtype="FLOAT")

    assert reason("absent.wav") == ": no such file"
    for name in ("zero.wav", "text.mp3", "folder.wav"):
        assert reason(name).startswith(": no audio that can be read (")
    assert reason("header.wav") == ": 0.00 s of audio; want 0.1 s"
    assert reason("short.wav") == ": 0.05 s of audio; want 0.1 s"
    assert reason("silent.wav") == ": silent"
    assert reason("slow.wav") == ": sample rate 100 Hz; want 1000 to 768000"
    assert reason("nan.wav") == ": holds samples that are not numbers"


def test_a_truncated_file_gives_what_is_there(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "whole.wav", tone(4, RATE), RATE)
    content = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])
    assert len(read(tmp_path / "cut.wav").samples) == pytest.approx(2 * RATE, rel=0.01)


def test_real_recordings_are_read() -> None:
    folder = os.environ.get("RECSYS_TEST_DATA")
    if not folder:
        pytest.skip("RECSYS_TEST_DATA does not name the folder of real data")
    files = sorted(p for p in Path(folder, "recordings").iterdir() if p.suffix in (".ogg", ".mp3"))
    for path in files:
        found = read(path, max_duration_s=2)
        assert len(found.samples) == pytest.approx(2 * RATE, abs=RATE), path.name
