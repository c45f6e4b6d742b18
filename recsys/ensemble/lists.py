"""Candidates -> blend -> rerank: how a list is made for a batch of listeners.

Enters: listeners, what a version knows, how it blends, the rules. Leaves: a `Blend` of up to k
items for each listener. Everybody gets k while that many exist that the rules allow: whom the first
candidates leave short, for them every item is ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from recsys.ensemble.blend import Blend, Blender
from recsys.ensemble.candidates import Eligible, Listeners
from recsys.ensemble.ensemble import SOURCES, Ensemble
from recsys.ensemble.rerank import rerank
from recsys.errors import UsageError, nearest

__all__ = ["ListMaker", "choose_weights"]

_BATCH_CELLS = 500_000
"""Candidates that one batch may hold per source; bounds memory."""


def choose_weights(signals: tuple[str, ...], given: Mapping[str, float] | None) -> dict[str, float]:
    """Return by how much each signal's share is multiplied: 1 unless `given` says otherwise.

    Raises
    ------
    UsageError
        For a name of neither a source nor a signal, and a weight that is negative or not finite.
    """
    known = tuple(dict.fromkeys((*SOURCES, *signals)))
    for name, weight in (given or {}).items():
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise UsageError(f"weights: no source {name!r}; {hint}")
        if not (isfinite(weight) and weight >= 0):
            raise UsageError(f"weights: {name}: want 0 or more, got {weight}")
    return {name: float((given or {}).get(name, 1.0)) for name in signals}


@dataclass(frozen=True, kw_only=True)
class ListMaker:
    """What is the same for all lists of one request."""

    ensemble: Ensemble
    blender: Blender
    weights: Mapping[str, float]
    """What multiplies each signal's share, in the order of the blender's signals."""
    eligible: Eligible
    """What a list may hold."""
    max_per_artist: int
    """0 never caps."""
    diversity: float = 0.0
    """0 ranks by score alone, 1 by how little an item is like those above it."""

    @classmethod
    def of(
        cls,
        ensemble: Ensemble,
        blender: Blender,
        eligible: Eligible,
        *,
        weights: Mapping[str, float] | None = None,
        rerank: bool = True,
        diversity: float | None = None,
    ) -> ListMaker:
        """Take what is not said from the ensemble's settings.

        Without `rerank` no artist is capped and nothing is moved for variety.

        Raises
        ------
        UsageError
            For unusable weights, and for a diversity outside 0 to 1.
        """
        variety = ensemble.config.diversity if diversity is None else diversity
        if not 0 <= variety <= 1:
            raise UsageError(f"diversity: want 0 to 1, got {variety}")
        return cls(
            ensemble=ensemble,
            blender=blender,
            weights=choose_weights(blender.signals, weights),
            eligible=eligible,
            max_per_artist=ensemble.config.max_per_artist if rerank else 0,
            diversity=variety if rerank else 0.0,
        )

    def __call__(self, listeners: Listeners, k: int) -> Blend:
        """Return up to `k` items for each listener."""
        size = self.batch_size(k)
        if len(listeners) <= size:
            return self._batch(listeners, k)
        parts = []
        for start in range(0, len(listeners), size):
            rows = np.arange(start, min(start + size, len(listeners)))
            part = self._batch(listeners.take(rows), k)
            parts.append(replace(part, listener=part.listener + start))
        return Blend.join(parts)

    def batch_size(self, k: int) -> int:
        """Return how many listeners' lists of `k` are made at once."""
        return max(1, _BATCH_CELLS // max(1, self._depth(k)))

    def _batch(self, listeners: Listeners, k: int) -> Blend:
        n_items, depth = len(self.eligible), self._depth(k)
        lists = self._ranked(listeners, k, depth)
        n_found = np.bincount(lists.listener, minlength=len(listeners))
        if n_found.min(initial=k) >= k:
            return lists
        known = self.eligible.items.astype(np.int64)
        n_unheard = known.sum() - listeners.heard.astype(np.int64) @ known
        more = n_unheard > self.ensemble.last_resort(depth)
        short = np.flatnonzero((n_found < k) & more)
        if not len(short):
            return lists
        parts = [lists.take(~np.isin(lists.listener, short))]
        for row in short:
            full = self._ranked(listeners.take(np.array([row])), k, n_items)
            parts.append(replace(full, listener=full.listener + row))
        return Blend.join(parts)

    def _depth(self, k: int) -> int:
        """Return how many candidates of each source a list of `k` is made from at first."""
        return min(len(self.eligible), max(self.ensemble.config.candidates_per_source, 2 * k))

    def _ranked(self, listeners: Listeners, k: int, depth: int) -> Blend:
        """Blend the first `depth` candidates of every source and take out repeats."""
        silent = {name for name, weight in self.weights.items() if not weight}
        union = self.ensemble.union(listeners, depth, eligible=self.eligible, silent=silent)
        shares = self.blender.shares(union, lambda: self.ensemble.features(listeners, union))
        shares *= np.array(list(self.weights.values()))
        catalogue = self.ensemble.catalogue
        return rerank(
            replace(union, signals=shares).sorted(self.ensemble.popularity.place),
            k,
            recording=catalogue.recording,
            artist=catalogue.item_artist,
            max_per_artist=self.max_per_artist,
            spaces=[s.directions for s in self.ensemble.spaces.values()] if self.diversity else (),
            diversity=self.diversity,
        )
