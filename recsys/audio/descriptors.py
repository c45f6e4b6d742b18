"""Samples -> what a musician would say of them: tempo, key, mode, metre, loudness.

Enters: samples of any rate and number of channels. Leaves: `Descriptors`, and the log-mel bands
that the vectors and the network are made from: the spectrogram behind rhythm and bands is computed
once (tonality needs one of finer pitch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.audio.loudness import loudness
from recsys.audio.recordings import resample
from recsys.audio.rhythm import HOP, N_FFT, Rhythm, describe_rhythm
from recsys.audio.spectrogram import log_mel, power_spectrogram
from recsys.audio.tonality import Tonality, describe_tonality

__all__ = ["FRAME_S", "SAMPLE_RATE", "Descriptors", "describe_recording", "listen"]

SAMPLE_RATE = 22_050
"""Hz at which everything but loudness is heard."""
_JOINED = 4
"""Frames of the spectrogram in one frame of the bands."""
FRAME_S = _JOINED * HOP / SAMPLE_RATE


@dataclass(frozen=True)
class Descriptors:
    """The descriptors of one recording."""

    rhythm: Rhythm | None
    """None where nothing repeats."""
    tonality: Tonality | None
    """None where nothing has a pitch."""
    loudness_lufs: float | None
    """None where nothing can be heard."""

    def to_dict(self) -> dict[str, Any]:
        """Return the columns of the descriptors table, all but the ids; None where unknown."""
        rhythm, tonality = self.rhythm, self.tonality
        return {
            "tempo_bpm": round(rhythm.tempo_bpm, 2) if rhythm else None,
            "runner_up_bpm": round(rhythm.runner_up_bpm, 2) if rhythm else None,
            "beats_s": [round(at, 3) for at in rhythm.beats_s.tolist()] if rhythm else None,
            "key": tonality.key if tonality else None,
            "mode": tonality.mode if tonality else None,
            "time_signature": rhythm.time_signature if rhythm else None,
            "loudness_lufs": None if self.loudness_lufs is None else round(self.loudness_lufs, 2),
            "confidences": {
                "tempo": round(rhythm.tempo_confidence, 3) if rhythm else None,
                "key": round(tonality.confidence, 3) if tonality else None,
                "time_signature": round(rhythm.time_signature_confidence, 3) if rhythm else None,
            },
        }


def describe_recording(samples: NDArray[np.float32], sample_rate: int) -> Descriptors:
    """Describe (n_samples,) or (n_samples, channels) at `sample_rate` Hz, -1 to 1."""
    return listen(samples, sample_rate, n_mels=1)[0]


def listen(
    samples: NDArray[np.float32], sample_rate: int, *, n_mels: int
) -> tuple[Descriptors, NDArray[np.float32]]:
    """Return the descriptors, and (n_frames, n_mels) log-mel bands in dB, of one spectrogram.

    A frame of bands is the mean power of `FRAME_S` seconds. Samples as in `describe_recording`.
    """
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    mono = resample(np.asarray(mono, np.float32), sample_rate, SAMPLE_RATE)
    power = power_spectrogram(mono, n_fft=N_FFT, hop=HOP)
    described = Descriptors(
        rhythm=describe_rhythm(mono, SAMPLE_RATE, power=power),
        tonality=describe_tonality(mono, SAMPLE_RATE),
        loudness_lufs=loudness(samples, sample_rate),
    )
    joined = min(_JOINED, len(power))
    n_frames = len(power) // joined
    power = power[: n_frames * joined].reshape(n_frames, joined, -1).mean(axis=1)
    return described, log_mel(power, sample_rate=SAMPLE_RATE, n_mels=n_mels)
