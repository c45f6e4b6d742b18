"""Blends that were learned: a logistic model of z-scores, and boosted trees.

Enters: the features of (listener, candidate) pairs. Leaves: one share per signal; they add up to
the score, which is the log-odds that the listener will love the item, but for a constant. That
constant, found after the ranking was learned (Platt 1999), turns a score into a probability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import tanh

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle, BundleWriter
from recsys.ensemble.blend import Blend, Blender
from recsys.ensemble.features import FEATURES, SIGNALS
from recsys.ensemble.trees import Trees
from recsys.errors import BundleError

__all__ = ["GROUP", "Logistic", "TreeBlend", "read_blender", "write_blender"]

Floats = NDArray[np.float32]

GROUP = np.array([SIGNALS.index(name.split(".")[0]) for name in FEATURES])
"""(n_features,) the signal of each feature."""


@dataclass(frozen=True)
class Logistic:
    """A linear score of standardised features."""

    weights: NDArray[np.float64]
    """(n_features,) of the features as they are: weight of the z-score / standard deviation."""
    centre: NDArray[np.float64]
    """(n_features,) mean in training."""
    offset: float
    """Log-odds of a candidate of score 0."""

    kind = "logistic"
    signals = SIGNALS

    def shares(self, union: Blend, features: Callable[[], Floats]) -> NDArray[np.float64]:
        by_signal = np.zeros((len(FEATURES), len(SIGNALS)))
        by_signal[np.arange(len(FEATURES)), GROUP] = self.weights
        return np.asarray((features() - self.centre) @ by_signal)

    def probability(self, score: float) -> float | None:
        return _odds(score + self.offset)

    def write(self, writer: BundleWriter) -> None:
        writer.add("blend/weights", self.weights)
        writer.add("blend/centre", self.centre)

    @classmethod
    def read(cls, bundle: Bundle, offset: float) -> Logistic:
        return cls(bundle.array("blend/weights"), bundle.array("blend/centre"), offset)


@dataclass(frozen=True)
class TreeBlend:
    """Boosted trees, each leaf of one signal."""

    trees: Trees
    offset: float
    """Log-odds of a candidate of score 0."""

    kind = "trees"
    signals = SIGNALS

    def shares(self, union: Blend, features: Callable[[], Floats]) -> NDArray[np.float64]:
        return self.trees.shares(features(), len(SIGNALS))

    def probability(self, score: float) -> float | None:
        return _odds(score + self.offset)

    def write(self, writer: BundleWriter) -> None:
        self.trees.write(writer, "blend")

    @classmethod
    def read(cls, bundle: Bundle, offset: float) -> TreeBlend:
        return cls(Trees.read(bundle, "blend"), offset)


def write_blender(blender: Logistic | TreeBlend, writer: BundleWriter) -> None:
    """Store a learned blend, and by which features."""
    blender.write(writer)
    writer.note(blend={"kind": blender.kind, "offset": blender.offset, "features": FEATURES})


def read_blender(bundle: Bundle) -> Blender | None:
    """Read what `write_blender` stored; None where the version has no learned blend."""
    facts = bundle.facts.get("blend")
    if facts is None:
        return None
    # The columns are part of the model: another program may make others.
    if tuple(facts["features"]) != FEATURES:
        return None
    kinds = {kind.kind: kind for kind in (Logistic, TreeBlend)}
    if facts["kind"] not in kinds:
        raise BundleError(f"version {bundle.version}: no blend of kind {facts['kind']!r}")
    return kinds[facts["kind"]].read(bundle, float(facts["offset"]))


def _odds(logit: float) -> float:
    return (1 + tanh(logit / 2)) / 2  # the logistic function, without overflow
