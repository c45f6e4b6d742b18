"""Samples -> integrated loudness, after ITU-R BS.1770-4 (2015).

Enters: samples with all their channels at their own rate. Leaves: LUFS. Each channel is weighted
for the ear (a shelf for the head, a high-pass), its power is averaged over blocks of 400 ms that
overlap by three quarters, and blocks below -70 LUFS, then those more than 10 LU below the mean of
the rest, are left out.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

__all__ = ["loudness"]

_BLOCK_S, _STEP_S = 0.4, 0.1
_ABSOLUTE_GATE_LUFS, _RELATIVE_GATE_LU = -70.0, -10.0
_OFFSET_LUFS = -0.691
_SURROUND = 1.41
_CHANNEL_WEIGHTS = {
    5: (1, 1, 1, _SURROUND, _SURROUND),
    6: (1, 1, 1, 0, _SURROUND, _SURROUND),
    8: (1, 1, 1, 0, _SURROUND, _SURROUND, _SURROUND, _SURROUND),
}
"""By number of channels, in the order of WAVE files; the low-frequency channel does not count."""


def loudness(samples: NDArray[np.float32], sample_rate: int) -> float | None:
    """Return the integrated loudness in LUFS of (n_samples,) or (n_samples, channels).

    None where no block is louder than -70 LUFS. What is shorter than a block is one block.
    """
    channels = samples.reshape(len(samples), -1)  # (n,) -> (n, 1)
    heard = sosfilt(_weighting(sample_rate), channels.astype(float), axis=0)
    weights = _CHANNEL_WEIGHTS.get(channels.shape[1], (1,) * channels.shape[1])
    energy = np.concatenate([[0.0], np.cumsum((heard**2) @ np.array(weights, float))])
    block, step = round(_BLOCK_S * sample_rate), _STEP_S * sample_rate
    block = min(block, len(samples))
    starts = np.round(np.arange(0, len(samples) - block + 1, step)).astype(int)
    power = np.maximum(energy[starts + block] - energy[starts], 0) / max(block, 1)
    audible = power[power > _power(_ABSOLUTE_GATE_LUFS)]
    if not len(audible):
        return None
    gate = _power(_lufs(audible.mean()) + _RELATIVE_GATE_LU)
    return _lufs(audible[audible > gate].mean())


def _lufs(power: float) -> float:
    return float(_OFFSET_LUFS + 10 * np.log10(power))


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_LUFS) / 10))


@lru_cache(maxsize=8)
def _weighting(sample_rate: int) -> NDArray[np.float64]:
    """Return (2, 6) second-order sections: the standard's 48 kHz filters at another rate.

    The corner frequencies are below every Nyquist rate that matters; a lower one is kept stable.
    """
    rows = []
    for hertz, quality, is_shelf in (
        (1681.974450955533, 0.7071752369554196, True),
        (38.13547087602444, 0.5003270373238773, False),
    ):
        k = np.tan(np.pi * min(hertz / sample_rate, 0.49))
        norm = 1 + k / quality + k * k
        if is_shelf:
            high = 10 ** (3.999843853973347 / 20)
            band = high**0.4996667741545416
            rise = [high + band * k / quality + k * k, 2 * (k * k - high)]
            rise += [high - band * k / quality + k * k]
        else:
            # The standard states this numerator without dividing it by the norm.
            rise = [norm, -2 * norm, norm]
        fall = [norm, 2 * (k * k - 1), 1 - k / quality + k * k]
        rows.append(np.array([*rise, *fall]) / norm)
    return np.array(rows)
