"""Train the choice of tempo octave and metre on songs that the project composes itself.

    python -m scripts.train_rhythm [--songs 800] [--out recsys/audio/weights/rhythm.npz]

Composes songs by scripts/compose.py, renders 30 s of each with FluidSynth, and fits two linear
models: which of the simple multiples of the strongest period is the beat (a softmax over the
multiples), and the metre (a softmax over 4, 3 and 6, each class weighing the same). The last fifth
of the songs is only measured; it also chooses the ridge penalty. No recording and no score of
others enters.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.synthesiser import Synthesiser
from recsys.audio.rhythm import HOP, features, hypotheses, onset_envelopes, periodicity
from scripts.compose import METRES, compose

DURATION_S = 30.0
PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


@dataclass(frozen=True)
class Example:
    """What is heard of one song, and the truth."""

    candidates: NDArray[np.float64]
    """(n_candidates,) bpm"""
    heard: NDArray[np.float64]
    """(n_candidates, n_features)"""
    heard_at_truth: NDArray[np.float64]
    """(n_features,) with the true tempo as the beat"""
    tempo_bpm: float
    metre: int

    @property
    def right(self) -> int:
        """The candidate that is the true tempo, -1 where none is."""
        error = np.abs(self.candidates / self.tempo_bpm - 1)
        return int(error.argmin()) if len(error) and error.min() < 0.04 else -1


def make_example(seed: int, synthesiser: Synthesiser) -> Example:
    """Compose, render and hear song number `seed`."""
    song = compose(seed, DURATION_S + 2)
    samples = synthesiser.render(song.notes, song.programs, DURATION_S + 1)
    samples = samples[-round(DURATION_S * synthesiser.sample_rate) :]
    samples *= 0.5 / max(float(np.abs(samples).max()), 1e-6)
    envelopes = onset_envelopes(samples, synthesiser.sample_rate)
    repeats, frame_rate = periodicity(envelopes), synthesiser.sample_rate / HOP
    candidates = hypotheses(repeats, frame_rate)
    truth = np.array([song.tempo_bpm])
    return Example(
        candidates,
        features(envelopes, repeats, candidates, frame_rate),
        features(envelopes, repeats, truth, frame_rate)[0],
        song.tempo_bpm,
        song.metre,
    )


def fit_tempo(examples: list[Example], mean, spread, penalty: float) -> NDArray[np.float64]:
    """Return (n_features,) weights of a softmax over each song's candidates."""
    songs = [((e.heard - mean) / spread, e.right) for e in examples if e.right >= 0]

    def loss(weights):
        total, slope = 0.0, np.zeros_like(weights)
        for heard, right in songs:
            scores = heard @ weights
            likely = np.exp(scores - scores.max())
            likely /= likely.sum()
            total -= np.log(likely[right] + 1e-300)
            slope += likely @ heard - heard[right]
        return (
            total / len(songs) + penalty * weights @ weights,
            slope / len(songs) + 2 * penalty * weights,
        )

    return minimize(loss, np.zeros(len(mean)), jac=True, method="L-BFGS-B").x


def fit_metre(examples: list[Example], mean, spread, penalty: float) -> NDArray[np.float64]:
    """Return (n_features + 1, 3) weights of a softmax over metres; the last row is the bias."""
    heard = np.array([np.append((e.heard_at_truth - mean) / spread, 1) for e in examples])
    metre = np.array([METRES.index(e.metre) for e in examples])
    share = (len(metre) / 3 / np.bincount(metre, minlength=3))[metre]
    rows = np.arange(len(metre))

    def loss(flat):
        weights = flat.reshape(-1, 3)
        scores = heard @ weights
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        total = -(share * np.log(likely[rows, metre] + 1e-300)).mean()
        likely[rows, metre] -= 1
        slope = heard.T @ (likely * share[:, None]) / len(metre) + 2 * penalty * weights
        return total + penalty * flat @ flat, slope.ravel()

    start = np.zeros(heard.shape[1] * 3)
    return minimize(loss, start, jac=True, method="L-BFGS-B").x.reshape(-1, 3)


def accuracy(examples: list[Example], mean, spread, tempo, metre) -> tuple[float, float]:
    """Return the share of right tempi, and the balanced accuracy of the metre."""
    right, named = [], {m: [] for m in METRES}
    for example in examples:
        if not len(example.candidates):
            right.append(False)
            continue
        heard = (example.heard - mean) / spread
        best = int((heard @ tempo).argmax())
        right.append(best == example.right)
        guess = METRES[int((np.append(heard[best], 1) @ metre).argmax())]
        named[example.metre].append(guess == example.metre)
    return float(np.mean(right)), float(np.mean([np.mean(v) for v in named.values() if v]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", type=int, default=800)
    parser.add_argument("--out", type=Path, default=Path("recsys/audio/weights/rhythm.npz"))
    arguments = parser.parse_args()
    synthesiser = Synthesiser()
    examples = []
    for seed in range(arguments.songs):
        examples.append(make_example(seed, synthesiser))
        if seed % 50 == 49:
            print(f"{seed + 1} songs", flush=True)
    heard = np.concatenate([e.heard for e in examples if len(e.candidates)])
    mean, spread = heard.mean(axis=0), heard.std(axis=0) + 1e-6
    kept = len(examples) * 4 // 5
    fitted, held = examples[:kept], examples[kept:]
    found = {}
    for penalty in PENALTIES:
        tempo = fit_tempo(fitted, mean, spread, penalty)
        metre = fit_metre(fitted, mean, spread, penalty)
        found[penalty] = accuracy(held, mean, spread, tempo, metre)
        print(f"penalty {penalty}: tempo {found[penalty][0]:.3f}, metre {found[penalty][1]:.3f}")
    for_tempo = max(PENALTIES, key=lambda p: (found[p][0], p))
    for_metre = max(PENALTIES, key=lambda p: (found[p][1], p))
    print(f"chosen: {for_tempo} for tempo, {for_metre} for metre; fitting on all songs")
    metre = fit_metre(examples, mean, spread, for_metre)
    weights = {
        "mean": mean,
        "spread": spread,
        "tempo": fit_tempo(examples, mean, spread, for_tempo),
        "metre": metre[:-1],
        "metre_bias": metre[-1],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(arguments.out, **weights)


if __name__ == "__main__":
    main()
