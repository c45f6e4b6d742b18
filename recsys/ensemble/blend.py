"""One order out of several: candidates whose score is a sum of signals, and how it is made.

Enters: each source's candidates as ranked item rows. Leaves: the union of them, best first, where
an item's score is the sum of one signal per source. The first way to blend, which needs no
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
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Blend", "Blender", "ReciprocalRank", "fuse"]


@dataclass(frozen=True)
class Blend:
    """Scored candidates of a batch of listeners, grouped by listener, best first."""

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

    @property
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
    tie_break: NDArray[np.int32],
) -> Blend:
    """Fuse the candidates of all sources.

    Parameters
    ----------
    candidates
        Per source (m, depth) int32 item rows, best first, -1 where a list has ended. The order of
        the sources is the order of the signals' columns.
    weights
        Weight of each source, at least 0.
    rank_offset
        The larger, the less the first places stand out.
    tie_break
        (n_items,) distinct numbers; of equal scores the item with the lower one comes first.
    """
    n_items = len(tie_break)
    pairs, shares, sources = [], [], []
    for column, (source, rows) in enumerate(candidates.items()):
        listener, place = np.nonzero(rows >= 0)
        pairs.append(listener * n_items + rows[listener, place])
        shares.append(weights[source] / (rank_offset + 1 + place))
        sources.append(np.full(len(place), column))
    distinct, where = np.unique(np.concatenate(pairs), return_inverse=True)
    signals = np.zeros((len(distinct), len(candidates)))
    signals[where, np.concatenate(sources)] = np.concatenate(shares)
    listener, item = np.divmod(distinct, max(n_items, 1))
    order = np.lexsort((tie_break[item], -signals.sum(axis=1), listener))
    return Blend(listener[order], item[order].astype(np.int32), signals[order])


def places(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (n,) how many earlier entries have the same number, for ascending `groups`."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
