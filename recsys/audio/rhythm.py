"""Samples -> tempo, metre, beats.

Enters: mono samples. Leaves: a `Rhythm`. Onset strength in four frequency regions is correlated
with itself; the strongest period under a broad prior gives a first tempo, which is right but for
small whole factors. A learned linear model then hears each of its simple multiples as *the* beat,
by how the four regions repeat after fractions and multiples of it, and chooses; a second one
names the metre. Both are trained by scripts/train_rhythm.py on songs that the project composes.
Beats are the best path through the onsets at that tempo (Ellis, Beat Tracking by Dynamic
Programming, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from recsys.audio.spectrogram import mel_filters, power_spectrogram

__all__ = [
    "HOP",
    "METRES",
    "N_FFT",
    "Rhythm",
    "describe_rhythm",
    "features",
    "hypotheses",
    "onset_envelopes",
    "periodicity",
    "track_beats",
]

METRES = ("4/4", "3/4", "6/8")
"""What a metre may be called; 2/4 and 2/2 are heard as 4/4."""

MIN_BPM, MAX_BPM = 40.0, 240.0
N_FFT = 1024
HOP = 256
"""Samples from one frame of onset strength to the next."""
_N_MELS = 40
_REGIONS = ((0, 40), (0, 4), (4, 20), (20, 40))
"""Mel bands of all, low, middle and high; at 22,050 Hz up to about 520 Hz, 3 kHz and 11 kHz."""
_COMPRESSION = 1e4
_PRIOR_BPM, _PRIOR_OCTAVES = 120.0, 1.0
_FACTORS = (1.0, 2.0, 0.5, 1.5, 2 / 3, 3.0, 1 / 3)
_SPANS = (0.25, 1 / 3, 0.5, 2 / 3, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""In beats: where a hypothesis looks for repetition."""
_TOLERANCE = 0.02
_TIGHTNESS = 100.0
_SAME_TEMPO = 0.04


@dataclass(frozen=True)
class Rhythm:
    """When the foot taps."""

    tempo_bpm: float
    tempo_confidence: float
    """Probability of the tempo among its multiples, 0 to 1."""
    runner_up_bpm: float
    """The next likely tempo."""
    beats_s: NDArray[np.float32]
    """Times of the beats in the samples, seconds."""
    time_signature: str
    time_signature_confidence: float
    """Probability of the time signature, 0 to 1."""


def describe_rhythm(
    samples: NDArray[np.float32], sample_rate: int, *, power: NDArray[np.float32] | None = None
) -> Rhythm | None:
    """Return the rhythm of (n_samples,) mono samples; None where nothing repeats.

    `power` is their power spectrogram of `N_FFT` and `HOP`, where the caller has it already.
    """
    envelopes = onset_envelopes(samples, sample_rate, power=power)
    frame_rate = sample_rate / HOP
    repeats = periodicity(envelopes)
    candidates = hypotheses(repeats, frame_rate)
    if not len(candidates):
        return None
    model = _model()
    heard = features(envelopes, repeats, candidates, frame_rate)
    heard = (heard - model["mean"]) / model["spread"]
    likely = _softmax(heard @ model["tempo"])
    order = np.argsort(-likely, kind="stable")
    tempo_bpm = float(candidates[order[0]])
    # The metre is named by every tempo that might be the beat, each by its probability.
    named = [_softmax(row @ model["metre"] + model["metre_bias"]) for row in heard]
    metre = likely @ np.array(named)
    return Rhythm(
        tempo_bpm=tempo_bpm,
        tempo_confidence=float(likely[order[0]]),
        runner_up_bpm=float(candidates[order[1]]) if len(order) > 1 else tempo_bpm,
        beats_s=track_beats(envelopes[0], tempo_bpm, frame_rate),
        time_signature=METRES[int(metre.argmax())],
        time_signature_confidence=float(metre.max()),
    )


def onset_envelopes(
    samples: NDArray[np.float32], sample_rate: int, *, power: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return (4, n_frames) how much begins to sound: everywhere, low, middle, high."""
    if power is None:
        power = power_spectrogram(samples, n_fft=N_FFT, hop=HOP)
    bands = np.log1p(_COMPRESSION * (power @ mel_filters(sample_rate, N_FFT, _N_MELS).T))
    rise = np.maximum(bands[2:] - bands[:-2], 0)
    rise = np.pad(rise, ((2, 0), (0, 0)))[: len(bands)]
    return np.stack([rise[:, low:high].mean(axis=1) for low, high in _REGIONS])


def periodicity(envelopes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (4, n_frames) autocorrelations of the envelopes, 1 at lag 0 (0 for no onsets)."""
    n = envelopes.shape[1]
    local = uniform_filter1d(envelopes.astype(float), min(n, 87), axis=1)
    sharp = np.maximum(envelopes - local, 0)
    sharp -= sharp.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(sharp, 2 * n, axis=1)) ** 2
    repeats = np.fft.irfft(power, axis=1)[:, :n] / np.arange(n, 0, -1)
    start = repeats[:, :1].copy()
    scaled = np.zeros(repeats.shape)
    np.divide(repeats, start, out=scaled, where=start > 1e-12)
    return scaled


def hypotheses(repeats: NDArray[np.float64], frame_rate: float) -> NDArray[np.float64]:
    """Return the tempi that could be meant, the first the strongest period; empty for none."""
    tempi = np.exp(np.arange(np.log(30), np.log(320), 0.004))
    strength = np.maximum(_at(repeats[0], 60 * frame_rate / tempi), 0)
    strength *= np.exp(-0.5 * (np.log2(tempi / _PRIOR_BPM) / _PRIOR_OCTAVES) ** 2)
    if strength.max() <= 0.01:
        return np.zeros(0)
    found = _refine(repeats, tempi[strength.argmax()], frame_rate) * np.array(_FACTORS)
    return np.asarray(found[(found >= MIN_BPM) & (found <= MAX_BPM)], float)


def features(
    envelopes: NDArray[np.float32],
    repeats: NDArray[np.float64],
    candidates: NDArray[np.float64],
    frame_rate: float,
) -> NDArray[np.float64]:
    """Return (n_candidates, 48): what each tempo would be like as the beat."""
    onsets = envelopes[0]
    peaks = (onsets[1:-1] > onsets[:-2]) & (onsets[1:-1] >= onsets[2:])
    peaks &= onsets[1:-1] > onsets.mean() + 0.5 * onsets.std()
    per_minute = 60 * frame_rate * (np.count_nonzero(peaks) + 1) / len(onsets)
    rows = []
    for bpm in candidates:
        beat = 60 * frame_rate / bpm  # frames
        lags = np.array(_SPANS)[:, None] * beat * (1 + np.linspace(-1, 1, 5) * _TOLERANCE)
        repeated = [_at(row, lags).max(axis=1) for row in repeats]  # 4 x (11,)
        octaves = np.log2(bpm / 110)
        density = np.log2(per_minute / bpm)
        rows.append(np.concatenate([*repeated, [octaves, octaves**2, density, density**2]]))
    return np.array(rows)


def track_beats(
    onsets: NDArray[np.float32], tempo_bpm: float, frame_rate: float
) -> NDArray[np.float32]:
    """Return the times in seconds of the beats that best meet the onsets at this tempo."""
    beat = 60 * frame_rate / tempo_bpm
    strength = np.asarray(onsets / (onsets.std() + 1e-9), float)
    back = np.arange(round(beat / 2), round(beat * 2) + 1)
    best, before = _best_paths(strength, back, -_TIGHTNESS * np.log(back / beat) ** 2)
    last = len(best) - int(min(round(beat), len(best)))
    beats = [last + int(best[last:].argmax())]
    while before[beats[-1]] >= 0:
        beats.append(int(before[beats[-1]]))
    return np.array(beats[::-1], np.float32) / np.float32(frame_rate)


@numba.njit(nogil=True, cache=True)
def _best_paths(
    strength: NDArray[np.float64], back: NDArray[np.int64], cost: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return for each frame the score of the best beats that end there, and the beat before."""
    best = strength.copy()
    before = np.full(len(best), -1)
    for frame in range(back[0], len(best)):
        score, winner = 0.0, -1
        for place in range(len(back)):
            if back[place] > frame:
                break
            found = best[frame - back[place]] + cost[place]
            if found > score:
                score, winner = found, frame - back[place]
        best[frame] += score
        before[frame] = winner
    return best, before


def _refine(repeats: NDArray[np.float64], bpm: float, frame_rate: float) -> float:
    """Return the tempo near `bpm` whose multiples up to 16 beats repeat best."""
    near = bpm * (1 + np.linspace(-1, 1, 81) * _TOLERANCE)
    beat = 60 * frame_rate / near
    reach = [n for n in (1, 2, 4, 8, 16) if n * beat[0] < repeats.shape[1] / 2]
    together = np.sum([_at(repeats[0], n * beat) for n in reach or [1]], axis=0)
    return float(near[together.argmax()])


def _at(row: NDArray[np.float64], lags: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(lags, np.arange(len(row)), row, right=0.0)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = np.exp(scores - scores.max())
    return np.asarray(odds / odds.sum())


@cache
def _model() -> dict[str, NDArray[np.float64]]:
    """Return the trained weights: mean, spread, tempo (48,), metre (48, 3), metre_bias (3,)."""
    place = resources.files("recsys.audio").joinpath("weights/rhythm.npz")
    with place.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
