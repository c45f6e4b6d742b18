"""Is one ranker better than another, or was it luck? The paired bootstrap.

Enters: two rankers' figures for the same listeners. Leaves: the mean difference with the interval
that holds 95 % of what other draws of listeners would have given. Efron and Tibshirani, An
Introduction to the Bootstrap, 1993; Smucker, Allan, Carterette, CIKM 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "paired_bootstrap"]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """One ranker's mean minus another's."""

    mean: float
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], *, draws: int = 1000, seed: int = 0
) -> Difference:
    """Compare two rankers.

    Parameters
    ----------
    ours, theirs
        (m,) figures of the same listeners; a listener for whom either is nan is left out.
    draws
        Draws of m listeners with replacement.
    seed
        Of the draws.
    """
    difference = ours - theirs
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        return Difference(np.nan, np.nan, np.nan)
    random = np.random.default_rng(seed)
    n = len(difference)
    # How often each listener is drawn is multinomial: one matrix product for all draws.
    means = np.concatenate(
        [
            random.multinomial(n, np.full(n, 1 / n), min(100, draws - start)) @ difference / n
            for start in range(0, draws, 100)
        ]
    )
    low, high = np.quantile(means, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Difference(float(difference.mean()), float(low), float(high))
