"""One order out of several: candidates whose score is a sum of signals, and how it is made.

Enters: each source's candidates as ranked item rows. Leaves: the union of them, where an item's
score is the sum of one signal per source. The first way to blend, which needs no
learning, is reciprocal-rank fusion:

    score_ui = sum_s signal_uis,    signal_uis = weight_s / (rank_offset + rank_uis)

Ranks count from 1. Sources need not agree on what a score means, only on an order. Because the
score is a sum, a signal says what share of it a source is responsible for. Cormack, Clarke and
Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
SIGIR 2009. What is learned instead lies in learned.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Blend", "Blender", "ReciprocalRank", "fuse"]


@dataclass(frozen=True)
class Blend:
    """Scored candidates of a batch of listeners, grouped by listener."""

    listener: NDArray[np.int64]
    """(n,) place of the listener in the batch, ascending."""
    item: NDArray[np.int32]
    """(n,) item row."""
    signals: NDArray[np.float64]
    """(n, n_sources) the parts of the score, one column per source."""

    def __len__(self) -> int:
        return len(self.item)

    @staticmethod
    def join(parts: Sequence[Blend]) -> Blend:
        """Return the candidates of blends of different listeners as one blend."""
        listener = np.concatenate([part.listener for part in parts])
        whole = Blend(
            listener,
            np.concatenate([part.item for part in parts]),
            np.concatenate([part.signals for part in parts]),
        )
        return whole.take(np.argsort(listener, kind="stable"))

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(n,) the sum of the signals."""
        return np.asarray(self.signals.sum(axis=1))

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Blend:
        """Return the chosen candidates, in the order of `rows`."""
        return Blend(self.listener[rows], self.item[rows], self.signals[rows])

    def sorted(self, tie_break: NDArray[np.int32]) -> Blend:
        """Return each listener's candidates best first; of equal scores the lower `tie_break`."""
        order = np.lexsort((tie_break[self.item], -self.scores, self.listener))
        return self.take(order)

    def padded(self, n_listeners: int, k: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return each listener's first `k` item rows and scores, padded with -1 and -inf.

        Both are (n_listeners, k), best first.
        """
        items = np.full((n_listeners, k), -1, np.int32)
        scores = np.full((n_listeners, k), -np.inf)
        place = places(self.listener)
        shown = place < k
        where = self.listener[shown], place[shown]
        items[where] = self.item[shown]
        scores[where] = self.scores[shown]
        return items, scores


class Blender(Protocol):
    """Turns places in sources, and features, into signals that add up to the score."""

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals."""

    def shares(
        self, union: Blend, features: Callable[[], NDArray[np.float32]]
    ) -> NDArray[np.float64]:
        """Return (n, n_signals) the parts of each pair's score.

        Parameters
        ----------
        union
            Candidates; their signals are the reciprocal places ``1 / (rank_offset + rank)``.
        features
            Makes the features of the pairs, for who wants them.
        """

    def probability(self, score: float) -> float | None:
        """Return the chance that a candidate of this score is loved; None where it is unknown."""


@dataclass(frozen=True)
class ReciprocalRank:
    """Blends by places alone."""

    weights: Mapping[str, float]
    """Per source, in the order of the union's signals."""

    @property
    def signals(self) -> tuple[str, ...]:
        return tuple(self.weights)

    def shares(
        self, union: Blend, features: Callable[[], NDArray[np.float32]]
    ) -> NDArray[np.float64]:
        return np.asarray(union.signals * np.array(list(self.weights.values())))

    def probability(self, score: float) -> float | None:
        return None


def fuse(
    candidates: Mapping[str, NDArray[np.int32]],
    weights: Mapping[str, float],
    *,
    rank_offset: float,
) -> Blend:
    """Fuse the candidates of all sources into their union, not yet sorted.

    Parameters
    ----------
    candidates
        Per source (m, depth) int32 item rows, best first, -1 where a list has ended. The order of
        the sources is the order of the signals' columns.
    weights
        Weight of each source, at least 0.
    rank_offset
        The larger, the less the first places stand out.
    """
    rows = np.concatenate(list(candidates.values()), axis=1)  # (m, n_places)
    depths = np.array([found.shape[1] for found in candidates.values()])
    weighed = np.array([weights[source] for source in candidates], np.float64)
    listener, item = np.empty(rows.size, np.int64), np.empty(rows.size, np.int32)
    signals = np.zeros((rows.size, len(depths)))
    n = _unite(rows, depths, weighed, float(rank_offset), listener, item, signals)
    return Blend(listener[:n], item[:n], signals[:n])


@numba.njit(nogil=True, cache=True)
def _unite(
    rows: NDArray[np.int32],
    depths: NDArray[np.int64],
    weights: NDArray[np.float64],
    rank_offset: float,
    listener: NDArray[np.int64],
    item: NDArray[np.int32],
    signals: NDArray[np.float64],
) -> int:
    """Fill listener, item and signals (zeros) with the distinct pairs; return how many."""
    size = 64
    while size < 2 * rows.shape[1]:
        size *= 2
    entry_of = np.empty(size, np.int64)  # of one listener: open addressing by item
    n = 0
    for u in range(len(rows)):
        entry_of[:] = -1
        first = 0
        for column in range(len(depths)):
            for place in range(depths[column]):
                one = rows[u, first + place]
                if one < 0:
                    continue
                slot = (np.int64(one) * 0x9E3779B1 >> 15) & (size - 1)
                while entry_of[slot] >= 0 and item[entry_of[slot]] != one:
                    slot = (slot + 1) & (size - 1)
                if entry_of[slot] < 0:
                    entry_of[slot] = n
                    listener[n], item[n] = u, one
                    n += 1
                signals[entry_of[slot], column] = weights[column] / (rank_offset + 1 + place)
            first += depths[column]
    return n


def places(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (n,) how many earlier entries have the same number, for ascending `groups`."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
