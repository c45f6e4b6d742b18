"""Samples -> what a musician would say of them: tempo, key, mode, metre, loudness.

Enters: samples of any rate and number of channels. Leaves: `Descriptors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.audio.loudness import loudness
from recsys.audio.recordings import resample
from recsys.audio.rhythm import Rhythm, describe_rhythm
from recsys.audio.tonality import Tonality, describe_tonality

__all__ = ["Descriptors", "describe_recording"]

_SAMPLE_RATE = 22_050


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
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    mono = resample(np.asarray(mono, np.float32), sample_rate, _SAMPLE_RATE)
    return Descriptors(
        rhythm=describe_rhythm(mono, _SAMPLE_RATE),
        tonality=describe_tonality(mono, _SAMPLE_RATE),
        loudness_lufs=loudness(samples, sample_rate),
    )
