"""Samples -> key and mode.

Enters: mono samples. Leaves: a `Tonality`. Spectral peaks, tuned to the recording's own pitch, are
summed over the fundamentals that they could be overtones of (as in the harmonic pitch class
profile, Gomez 2006): a sound's fifth and third overtones no longer pass for notes of their own.
The profile of the twelve pitch classes is correlated with 24 rotations of the `bgate` key profiles
(Faraldo et al., Key Estimation in Electronic Dance Music, 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.audio.spectrogram import power_spectrogram

__all__ = ["PITCH_CLASSES", "Tonality", "chroma", "describe_tonality"]

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_N_FFT, _HOP = 8192, 2048
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 2700.0
_A4_HZ, _A4 = 440.0, 69
_LOUDEST_DB = 50.0
_OVERTONES = 8
_OVERTONE_DECAY = 0.9
_SHARPNESS = 12.0
_PROFILES = {
    "major": (1, 0, 0.42, 0, 0.53, 0.37, 0, 0.77, 0, 0.38, 0.21, 0.30),
    "minor": (1, 0, 0.36, 0.39, 0, 0.38, 0, 0.74, 0.27, 0, 0.42, 0.23),
}


@dataclass(frozen=True)
class Tonality:
    """Where home is."""

    key: str
    """Tonic: C, C#, D, ... B."""
    mode: str
    """major or minor."""
    confidence: float
    """Softmax share of this key among all 24, 0 to 1."""
    tuning_cents: float
    """How far the recording's A lies from 440 Hz, -50 to 50."""


def describe_tonality(samples: NDArray[np.float32], sample_rate: int) -> Tonality | None:
    """Return the tonality of (n_samples,) mono samples; None where nothing has a pitch."""
    profile, tuning_cents = chroma(samples, sample_rate)
    if not profile.any():
        return None
    likeness = _likeness(profile)  # (2, 12)
    odds = np.exp(_SHARPNESS * (likeness - likeness.max()))
    mode, tonic = np.unravel_index(likeness.argmax(), likeness.shape)
    return Tonality(
        key=PITCH_CLASSES[int(tonic)],
        mode=tuple(_PROFILES)[int(mode)],
        confidence=float(odds.max() / odds.sum()),
        tuning_cents=tuning_cents,
    )


def chroma(samples: NDArray[np.float32], sample_rate: int) -> tuple[NDArray[np.float64], float]:
    """Return (12,) how much each pitch class sounds, at most 1, and the tuning in cents."""
    amplitude = np.sqrt(power_spectrogram(samples, n_fft=_N_FFT, hop=_HOP))
    frame, hertz, height = _peaks(amplitude, sample_rate)
    if not len(frame):
        return np.zeros(12), 0.0
    pitch = _A4 + 12 * np.log2(hertz / _A4_HZ)  # semitones
    # The mean direction of all deviations, weighted by height; a full turn is a semitone.
    tuning = float(np.angle((height * np.exp(2j * np.pi * pitch)).sum()) / (2 * np.pi))
    pitch = pitch - tuning
    n_frames = len(amplitude)
    classes = np.zeros((n_frames, 12))
    in_tune = np.cos(np.pi * (pitch - np.round(pitch))) ** 2
    for overtone in range(1, _OVERTONES + 1):
        fundamental = pitch - 12 * np.log2(overtone)
        weight = height * in_tune * _OVERTONE_DECAY ** (overtone - 1)
        place = frame * 12 + np.round(fundamental).astype(int) % 12
        classes += np.bincount(place, weight, n_frames * 12).reshape(n_frames, 12)
    # Every frame counts by the root of its loudness: a soft passage is heard, too.
    loudest = np.zeros(n_frames)
    np.maximum.at(loudest, frame, height)
    sounding = loudest > 0
    shape = classes[sounding] / classes[sounding].max(axis=1, keepdims=True)
    profile = (shape * np.sqrt(loudest[sounding, None])).sum(axis=0)
    return profile / profile.max(), 100 * tuning


def _peaks(
    amplitude: NDArray[np.float32], sample_rate: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return frame, frequency in Hz and height of every spectral peak, interpolated."""
    to_hz = sample_rate / _N_FFT
    first, last = int(_LOWEST_HZ / to_hz), int(min(_HIGHEST_HZ, sample_rate / 2 * 0.95) / to_hz)
    level = np.log(amplitude[:, first - 1 : last + 2] + 1e-9)
    here = level[:, 1:-1]
    audible = here > here.max(axis=1, keepdims=True) - _LOUDEST_DB * np.log(10) / 20
    audible &= here > np.log(1e-6)
    frame, place = np.nonzero(audible & (here > level[:, :-2]) & (here >= level[:, 2:]))
    left, middle, right = (level[frame, place + n].astype(float) for n in range(3))
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    height = np.exp(middle - 0.25 * (left - right) * offset)
    return frame, (place + first + offset) * to_hz, height


def _likeness(profile: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (2, 12) the correlation with each mode's profile on each tonic."""
    heard = (profile - profile.mean()) / (profile.std() + 1e-12)
    rows = []
    for wanted in _PROFILES.values():
        shape = np.array(wanted)
        shape = (shape - shape.mean()) / shape.std()
        rows.append([np.mean(heard * np.roll(shape, tonic)) for tonic in range(12)])
    return np.array(rows)
