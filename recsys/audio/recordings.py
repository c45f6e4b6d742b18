"""Files -> samples: decode, crop, mix to mono, resample.

Enters: a file that libsndfile reads (wav, flac, ogg, mp3, aiff, ...), or, where ffmpeg is
installed, m4a, aac and the like. Leaves: a `Recording`, or an InputError that states why there is
none. Only the wanted seconds are decoded, block by block and mixed at once, so neither a long file
nor one of many channels costs memory or time.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from recsys.errors import InputError

__all__ = ["SUFFIXES", "Recording", "read_recording", "resample"]

_BY_FFMPEG = (".m4a", ".aac", ".mp4", ".m4b", ".wma", ".ape", ".wv")
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", *_BY_FFMPEG)
"""How the names of audio files end."""
_FFMPEG_S = 60.0
"""Seconds that ffmpeg may take for one file."""

_BLOCK = 65_536
_MIN_DURATION_S = 0.1
_RATES_HZ = (1_000, 768_000)
_SILENCE = 10 ** (-80 / 20)
_CLIPPED = 0.999


@dataclass(frozen=True)
class Recording:
    """What was read of one file."""

    samples: NDArray[np.float32]
    """(n_samples,) mono, or (n_samples, channels) where not mixed; -1 to 1."""
    sample_rate: int
    """Hz of `samples`."""
    duration_s: float
    """Seconds of the whole file."""
    channels: int
    """Channels of the file."""
    clipped: float
    """Share of the samples that stand at full scale, 0 to 1."""


def read_recording(
    source: str | Path | BinaryIO,
    *,
    sample_rate: int | None,
    max_duration_s: float,
    mix: bool = True,
    name: str | None = None,
) -> Recording:
    """Read at most `max_duration_s` from the middle of an audio file.

    Parameters
    ----------
    source
        A path, or a seekable stream of the file's bytes.
    sample_rate
        Hz of the samples returned; None keeps the file's.
    mix
        Mix the channels to one.
    name
        What to call the file in messages; default: `source`.

    Raises
    ------
    InputError
        The file is missing, not audio, empty, too short, silent, or has an absurd sample rate;
        the message begins with its name.
    """
    name = name or str(source)
    try:
        if isinstance(source, str | Path) and not Path(source).exists():
            raise InputError(f"{name}: no such file")
        with _opened(source, max_duration_s, name) as (file, whole_s):
            samples, clipped = _decode(file, max_duration_s, mix, name)
            rate, frames, channels = file.samplerate, file.frames, file.channels
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        reason = str(error).rpartition(": ")[2].rstrip(".") or "damaged"
        raise InputError(f"{name}: no audio that can be read ({reason})") from error
    if len(samples) < _MIN_DURATION_S * rate:
        raise InputError(f"{name}: {len(samples) / rate:.2f} s of audio; want {_MIN_DURATION_S} s")
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: holds samples that are not numbers")
    if np.abs(samples).max() < _SILENCE:
        raise InputError(f"{name}: silent")
    duration_s = whole_s or max(frames, len(samples)) / rate
    wanted = sample_rate or rate
    return Recording(resample(samples, rate, wanted), wanted, duration_s, channels, clipped)


@contextmanager
def _opened(
    source: str | Path | BinaryIO, max_duration_s: float, name: str
) -> Iterator[tuple[soundfile.SoundFile, float | None]]:
    """Open a file; where ffmpeg has to cut the excerpt, with the seconds of the whole."""
    suffix = Path(name).suffix.lower()
    if suffix not in _BY_FFMPEG:
        try:
            file = soundfile.SoundFile(source)
        except soundfile.LibsndfileError:
            # It refuses some files, mp3 above all, that others play.
            if not _has_ffmpeg():
                raise
        else:
            with file:
                yield file, None
            return
    with TemporaryDirectory(prefix="recsys-audio-") as folder:
        path = Path(folder, f"whole{suffix}")
        if isinstance(source, str | Path):
            path = Path(source).absolute()
        else:
            source.seek(0)
            with path.open("wb") as whole:
                shutil.copyfileobj(source, whole)
        excerpt = Path(folder, "excerpt.wav")
        whole_s = _cut(path, excerpt, max_duration_s, name)
        with soundfile.SoundFile(excerpt) as file:
            yield file, whole_s


def _cut(path: Path, excerpt: Path, max_duration_s: float, name: str) -> float:
    """Let ffmpeg write the middle of a file as WAV; return the seconds of the whole."""
    if not _has_ffmpeg():
        raise InputError(
            f"{name}: {path.suffix} is read through ffmpeg, which is not installed; "
            f"install it, or convert the file to flac"
        )
    # Of a file that is a list of addresses, none but local files are opened.
    given = ["-protocol_whitelist", "file", "-i", f"file:{path}"]
    told = _run(["ffprobe", *given, "-show_entries", "format=duration", "-of", "csv=p=0"], name)
    try:
        whole_s = float(told)
    except ValueError:  # a stream without a length: its beginning must do
        whole_s = 0.0
    start = max(0.0, (whole_s - max_duration_s) / 2)
    wanted = ["-map", "0:a:0", "-t", str(max_duration_s), "-c:a", "pcm_f32le", str(excerpt)]
    _run(["ffmpeg", "-nostdin", "-ss", str(start), *given, *wanted], name)
    return whole_s


def _has_ffmpeg() -> bool:
    return bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


def _run(command: list[str], name: str) -> str:
    """Run ffmpeg or ffprobe for a limited time and return what it prints."""
    try:
        done = subprocess.run(
            [command[0], "-v", "error", *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_FFMPEG_S,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{name}: {command[0]} did not finish within {_FFMPEG_S:g} s") from error
    if done.returncode:
        reason = " ".join(done.stderr.split())[-200:] or f"exit code {done.returncode}"
        raise InputError(f"{name}: no audio that can be read ({command[0]}: {reason})")
    return done.stdout


def _decode(
    file: soundfile.SoundFile, max_duration_s: float, mix: bool, name: str
) -> tuple[NDArray[np.float32], float]:
    """Return the middle of `file`, and the share of clipped samples."""
    rate = file.samplerate
    if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise InputError(f"{name}: sample rate {rate} Hz; want {_RATES_HZ[0]} to {_RATES_HZ[1]}")
    wanted = round(max_duration_s * rate)
    # A stream of unknown length claims a huge one: then its beginning must do.
    known = 0 < file.frames < 2**40
    if known and file.frames > wanted and file.seekable():
        file.seek((file.frames - wanted) // 2)
    blocks, n_read, n_clipped = [], 0, 0
    while n_read < wanted:
        block = file.read(min(_BLOCK, wanted - n_read), dtype="float32", always_2d=True)
        if not len(block):
            break
        n_clipped += int(np.count_nonzero(np.abs(block).max(axis=1) >= _CLIPPED))
        blocks.append(block.mean(axis=1) if mix else block)  # (n, channels) -> (n,)
        n_read += len(block)
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return samples, n_clipped / max(n_read, 1)


def resample(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Return `samples` at `wanted` Hz instead of `rate`, along the first axis."""
    if rate == wanted:
        return samples
    common = gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // common, rate // common), np.float32)
