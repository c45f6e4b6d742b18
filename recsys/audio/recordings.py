"""Files -> samples: decode, crop, mix to mono, resample.

Enters: a file that libsndfile reads (wav, flac, ogg, mp3, aiff, ...). Leaves: a `Recording`, or an
InputError that states why there is none. Only the wanted seconds are decoded, block by block and
mixed at once, so neither a long file nor one of many channels costs memory or time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from recsys.errors import InputError

__all__ = ["Recording", "read_recording", "resample"]

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
        with soundfile.SoundFile(source) as file:
            samples, clipped = _decode(file, max_duration_s, mix, name)
            rate, frames, channels = file.samplerate, file.frames, file.channels
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise InputError(f"{name}: no audio that can be read ({reason})") from error
    if len(samples) < _MIN_DURATION_S * rate:
        raise InputError(f"{name}: {len(samples) / rate:.2f} s of audio; want {_MIN_DURATION_S} s")
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: holds samples that are not numbers")
    if np.abs(samples).max() < _SILENCE:
        raise InputError(f"{name}: silent")
    duration_s = max(frames, len(samples)) / rate
    wanted = sample_rate or rate
    return Recording(resample(samples, rate, wanted), wanted, duration_s, channels, clipped)


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
