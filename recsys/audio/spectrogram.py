"""Samples -> spectrogram: computed once, shared by everything that listens.

Enters: mono samples. Leaves: a power spectrogram and its log-mel form. Mel bands are Slaney's
(Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above, triangles of unit area.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.signal import get_window

__all__ = ["log_mel", "mel_filters", "power_spectrogram"]

_FRAMES_AT_ONCE = 1024
_FLOOR = 1e-10


def power_spectrogram(
    samples: NDArray[np.float32], *, n_fft: int = 2048, hop: int = 512
) -> NDArray[np.float32]:
    """Return (n_frames, n_fft // 2 + 1) float32 power; frame t is centred on sample t * hop.

    A sine of amplitude 1 has power 1 in its bin.
    """
    padded = np.pad(samples, n_fft // 2, mode="constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    window = get_window("hann", n_fft).astype(np.float32)
    window *= 2 / window.sum()
    power = np.empty((len(frames), n_fft // 2 + 1), np.float32)
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        spectrum = rfft(frames[start : start + _FRAMES_AT_ONCE] * window, axis=1)
        power[start : start + _FRAMES_AT_ONCE] = spectrum.real**2 + spectrum.imag**2
    return power


def log_mel(power: NDArray[np.float32], *, sample_rate: int, n_mels: int) -> NDArray[np.float32]:
    """Return (n_frames, n_mels) float32 decibels, not below -100."""
    n_fft = 2 * (power.shape[1] - 1)
    bands = power @ mel_filters(sample_rate, n_fft, n_mels).T
    return np.asarray(10 * np.log10(np.maximum(bands, _FLOOR)), np.float32)


@lru_cache(maxsize=8)
def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> NDArray[np.float32]:
    """Return (n_mels, n_fft // 2 + 1) float32 triangular filters from 0 Hz to the Nyquist rate."""
    bins_hz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    edges_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(sample_rate / 2), n_mels + 2))
    rising = (bins_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / np.diff(edges_hz)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    area = 2 / (edges_hz[2:] - edges_hz[:-2])
    filters = (triangles * area[:, None]).astype(np.float32)
    filters.flags.writeable = False
    return filters


_LINEAR_HZ = 200 / 3
"""Hz of one mel below 1 kHz."""
_CORNER_HZ, _CORNER_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _CORNER_HZ:
        return hz / _LINEAR_HZ
    return float(_CORNER_MEL + np.log(hz / _CORNER_HZ) / _LOG_STEP)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _CORNER_HZ * np.exp(_LOG_STEP * (mel - _CORNER_MEL))
    return np.where(mel < _CORNER_MEL, mel * _LINEAR_HZ, above)
