"""Notes -> samples: drums from noise and falling sines, pitched parts from wavetables.

Enters: parts of `composing.compose`. Leaves: (n_samples,) float32 mono at the loudness asked for.
Loudness follows ITU-R BS.1770-4 (K weighting, 400 ms blocks, absolute and relative gate).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from recsys.data.world.composing import Part, Song

__all__ = ["loudness_lufs", "perform"]

_TABLE = 2048  # samples of one period
_DRUMS = ("kick", "snare", "hat")


def perform(
    song: Song, parts: list[Part], duration_s: float, sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Play the parts, colour the mix, and bring it to the song's loudness."""
    n = round(duration_s * sample_rate)
    mix = np.zeros(n + 3 * sample_rate, np.float32)
    cents = rng.normal(0, 6)  # nobody is perfectly in tune
    slope = 2.2 - 0.45 * song.brightness + rng.normal(0, 0.25)
    hollow = float(rng.random() < 0.35)  # odd harmonics only, as a clarinet: says nothing of taste
    held = song.busyness <= 0.3
    for part in parts:
        if part.instrument in _DRUMS:
            _strike(mix, part, sample_rate, song.brightness)
        else:
            attack = 0.12 if held and part.instrument == "chords" else 0.008
            decay = {"bass": 0.5, "chords": 3.0 if held else 0.35, "melody": 0.6}[part.instrument]
            _bow(mix, part, sample_rate, cents, slope, hollow, attack, decay)
    mix = mix[:n]
    tilt = np.float32(
        0.35 * rng.normal()
    )  # the desk it was recorded on: says nothing of taste either
    mix = mix + tilt * np.diff(mix, prepend=mix[:1])
    drive = np.float32(np.exp(0.7 * song.force) / (np.abs(mix).max() + 1e-9))
    mix = np.tanh(drive * mix)
    mix += np.float32(1e-4) * rng.standard_normal(n, np.float32)
    return _at_loudness(mix, song.loudness_lufs, sample_rate)


def loudness_lufs(samples: NDArray[np.floating], sample_rate: int) -> float:
    """Return the integrated loudness of mono samples in LUFS; -inf where all is below the gate."""
    weighted = lfilter(*_k_weighting(sample_rate), samples.astype(float))
    hop = round(0.1 * sample_rate)
    power = (weighted[: len(weighted) // hop * hop].reshape(-1, hop) ** 2).mean(axis=1)
    blocks = np.convolve(power, np.full(4, 0.25), "valid")  # 400 ms, three quarters overlapping
    gated = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
    if not gated.size:
        return -np.inf
    gated = gated[gated > gated.mean() / 10]
    return float(-0.691 + 10 * np.log10(gated.mean()))


def _at_loudness(
    mix: NDArray[np.float32], target_lufs: float, sample_rate: int
) -> NDArray[np.float32]:
    """Scale to the target; what would clip is rounded off, and the gain found again."""
    shaped = mix
    for _ in range(3):
        gain = 10 ** ((target_lufs - loudness_lufs(shaped, sample_rate)) / 20)
        shaped = shaped * np.float32(gain)
        peak = np.abs(shaped).max()
        if peak < 0.98:
            break
        shaped = np.float32(0.97) * np.tanh(shaped / np.float32(0.97))
    return np.asarray(np.clip(shaped, -1, 1))


@lru_cache(maxsize=4)
def _k_weighting(sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (b, a) of the shelf and the high-pass of BS.1770 in one, for any sample rate."""
    shelf_hz, shelf_gain_db, shelf_q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k, v = np.tan(np.pi * shelf_hz / sample_rate), 10 ** (shelf_gain_db / 20)
    vb, scale = v**0.4996667741545416, 1 + k / shelf_q + k * k
    b = np.array([v + vb * k / shelf_q + k * k, 2 * (k * k - v), v - vb * k / shelf_q + k * k])
    a = np.array([scale, 2 * (k * k - 1), 1 - k / shelf_q + k * k])
    pass_hz, pass_q = 38.13547087602444, 0.5003270373238773
    k = np.tan(np.pi * pass_hz / sample_rate)
    low = 1 + k / pass_q + k * k
    high_a = np.array([1, 2 * (k * k - 1) / low, (1 - k / pass_q + k * k) / low])
    return np.convolve(b / scale, [1.0, -2.0, 1.0]), np.convolve(a / scale, high_a)


def _strike(mix: NDArray[np.float32], part: Part, sample_rate: int, brightness: float) -> None:
    sound = _kit(sample_rate)[part.instrument]
    colour = np.exp(0.3 * brightness) if part.instrument == "hat" else 1.0
    for start, gain in zip(part.start_s, part.gain * colour, strict=True):
        _add(mix, sound * np.float32(gain), round(start * sample_rate))


def _bow(
    mix: NDArray[np.float32],
    part: Part,
    sample_rate: int,
    cents: float,
    slope: float,
    hollow: float,
    attack_s: float,
    decay_s: float,
) -> None:
    """Play pitched notes: a wavetable read at the note's speed, under an envelope."""
    frequency = 440 * 2 ** ((part.pitch - 69 + cents / 100) / 12)
    longest = int(part.length_s.max(initial=0) * sample_rate) + 1
    time = np.arange(longest, dtype=np.float32) / np.float32(sample_rate)
    envelope = np.minimum(time / attack_s, 1) * np.exp(-time / decay_s)
    ramp = np.linspace(1, 0, max(1, round(0.02 * sample_rate)), dtype=np.float32)
    tables: dict[int, NDArray[np.float32]] = {}
    for start, length, hertz, gain in zip(
        part.start_s, part.length_s, frequency, part.gain, strict=True
    ):
        n = int(length * sample_rate)
        if n <= len(ramp):
            continue
        n_harmonics = int(np.clip(0.45 * sample_rate / hertz, 1, 24))
        if n_harmonics not in tables:
            tables[n_harmonics] = _wavetable(n_harmonics, slope, hollow)
        place = (time[:n] * np.float32(hertz * _TABLE)).astype(np.int32) & (_TABLE - 1)
        note = tables[n_harmonics][place] * envelope[:n]
        note[-len(ramp) :] *= ramp
        _add(mix, note * np.float32(gain), round(start * sample_rate))


def _wavetable(n_harmonics: int, slope: float, hollow: float) -> NDArray[np.float32]:
    harmonic = np.arange(1, n_harmonics + 1)
    amplitude = harmonic ** -max(slope, 0.6) * np.where(harmonic % 2 == 0, 1 - hollow, 1)
    spectrum = np.zeros(_TABLE // 2 + 1, complex)
    spectrum[1 : n_harmonics + 1] = -1j * amplitude
    wave = np.fft.irfft(spectrum, _TABLE)
    return np.asarray(wave / np.sqrt((wave**2).mean()) * 0.5, np.float32)


@lru_cache(maxsize=4)
def _kit(sample_rate: int) -> dict[str, NDArray[np.float32]]:
    """Return the sounds of the drums; one kit for the whole world."""
    rng = np.random.default_rng(808)
    time = np.arange(round(0.25 * sample_rate)) / sample_rate
    noise = rng.standard_normal(len(time))
    kick = np.sin(2 * np.pi * (50 * time + 4 * (1 - np.exp(-time / 0.03)))) * np.exp(-time / 0.09)
    snare = (0.5 * noise + 0.5 * np.sin(2 * np.pi * 190 * time)) * np.exp(-time / 0.06)
    hat = np.diff(noise, 2, append=[0.0, 0.0]) * np.exp(-time / 0.02)
    kit = {"kick": kick, "snare": snare, "hat": 0.5 * hat[: round(0.1 * sample_rate)]}
    return {name: sound.astype(np.float32) for name, sound in kit.items()}


def _add(mix: NDArray[np.float32], sound: NDArray[np.float32], start: int) -> None:
    """Add a sound at a sample; what lies outside the mix is cut off."""
    skip = max(0, -start)
    end = min(len(mix), start + len(sound))
    if end > start + skip:
        mix[start + skip : end] += sound[skip : end - start]
