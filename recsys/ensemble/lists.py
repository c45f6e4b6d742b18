"""Candidates -> blend -> rerank: how a list is made for a batch of listeners.

Enters: listeners, the sources that a version has, their weights. Leaves: a `Blend` of up to k items
for each listener. Everybody gets k while that many exist that the rules allow: whom the first
candidates leave short, for them every item is ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from recsys.config import EnsembleConfig
from recsys.ensemble.blend import Blend, fuse
from recsys.ensemble.candidates import Listeners, Popularity, Space
from recsys.ensemble.rerank import rerank
from recsys.errors import UsageError, nearest

__all__ = ["SOURCES", "ListMaker", "choose_weights"]

SOURCES = ("collaborative", "text", "audio", "popularity")
"""Where candidates come from; a version has some of the first three and always the last."""

_BATCH_CELLS = 500_000
"""Candidates that one batch may hold per source; bounds memory."""


def choose_weights(
    spaces: Mapping[str, Space], settings: EnsembleConfig, given: Mapping[str, float] | None
) -> dict[str, float]:
    """Return the weight of every source that a version has, in the order of `SOURCES`.

    Raises
    ------
    UsageError
        For a source that does not exist, and for a weight that is negative or not finite.
    """
    for name, weight in (given or {}).items():
        if name not in SOURCES:
            close = nearest(name, SOURCES)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(SOURCES)}"
            raise UsageError(f"weights: no source {name!r}; {hint}")
        if not (isfinite(weight) and weight >= 0):
            raise UsageError(f"weights: {name}: want 0 or more, got {weight}")
    has = [name for name in SOURCES if name in spaces or name == "popularity"]
    configured = {name: float(getattr(settings, name)) for name in has}
    return configured | {n: float(w) for n, w in (given or {}).items() if n in configured}


@dataclass(frozen=True, kw_only=True)
class ListMaker:
    """What is the same for all lists of one request."""

    spaces: Mapping[str, Space]
    popularity: Popularity
    weights: Mapping[str, float]
    """Per source, in the order of the signals."""
    eligible: NDArray[np.bool_]
    """(n_items,) what a list may hold."""
    recording: NDArray[np.int32]
    """(n_items,) items of equal number are one recording."""
    artist: NDArray[np.int32]
    """(n_items,) artist rows, -1 where unknown."""
    candidates_per_source: int
    rank_offset: float
    max_per_artist: int
    """0 never caps."""

    def __call__(self, listeners: Listeners, k: int) -> Blend:
        """Return up to `k` items for each listener."""
        n_items, depth = len(self.eligible), self._depth(k)
        lists = self._ranked(listeners, k, depth)
        n_found = np.bincount(lists.listener, minlength=len(listeners))
        known = self.eligible.astype(np.int64)
        n_unheard = known.sum() - listeners.heard.astype(np.int64) @ known
        short = np.flatnonzero((n_found < k) & (n_unheard > depth))
        if not len(short):
            return lists
        parts = [lists.take(~np.isin(lists.listener, short))]
        for row in short:
            full = self._ranked(listeners.take(np.array([row])), k, n_items)
            parts.append(replace(full, listener=full.listener + row))
        return Blend.join(parts)

    def batch_size(self, k: int) -> int:
        """Return how many listeners' lists of `k` to make at once."""
        return max(1, _BATCH_CELLS // max(1, self._depth(k)))

    def _depth(self, k: int) -> int:
        """Return how many candidates of each source a list of `k` is made from at first."""
        return min(len(self.eligible), max(self.candidates_per_source, 2 * k))

    def _ranked(self, listeners: Listeners, k: int, depth: int) -> Blend:
        """Fuse the first `depth` candidates of every source and take out repeats."""
        blend = fuse(
            {name: self._candidates(name, listeners, depth) for name in self.weights},
            self.weights,
            rank_offset=self.rank_offset,
            tie_break=self.popularity.place,
        )
        return rerank(
            blend,
            k,
            recording=self.recording,
            artist=self.artist,
            max_per_artist=self.max_per_artist,
        )

    def _candidates(self, name: str, listeners: Listeners, depth: int) -> NDArray[np.int32]:
        """Return (m, depth) item rows of one source, or (m, 0) where it has no say."""
        heard, eligible = listeners.heard, self.eligible
        if name == "popularity":
            # Even at weight 0 it fills the list, after everything that has a score.
            return self.popularity.search(depth, exclude=heard, allowed=eligible)
        if not self.weights[name] or name not in listeners.queries:
            return np.full((len(listeners), 0), -1, np.int32)
        queries = listeners.queries[name]
        return self.spaces[name].search(queries, depth, exclude=heard, allowed=eligible)[0]
