"""What may change a list after the score: no recording twice, few entries an artist, variety.

Enters: a `Blend`, best first. Leaves: entries taken out, others moved, the list cut at k. The rules
are greedy from the top, so what stays is what a reader of the list would have kept. What a listener
has heard never comes this far: retrieval leaves it out.

Variety is maximal marginal relevance: the next entry is the one with the largest

    (1 - diversity) * score - diversity * (largest cosine with an entry above it)

scores brought to 0 .. 1. Carbonell and Goldstein, "The use of MMR, diversity-based reranking",
SIGIR 1998.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from recsys.ensemble.blend import Blend, places

__all__ = ["rerank"]

_POOL = 4
"""Entries per place of the list among which variety may choose."""


def rerank(
    blend: Blend,
    k: int,
    *,
    recording: NDArray[np.int32],
    artist: NDArray[np.int32],
    max_per_artist: int,
    spaces: Sequence[NDArray[np.float32]] = (),
    diversity: float = 0.0,
) -> Blend:
    """Keep each listener's first `k` entries that repeat nothing.

    Parameters
    ----------
    blend
        Candidates, grouped by listener, best first.
    recording
        (n_items,) items of equal number are one recording; the best placed of them stays.
    artist
        (n_items,) artist rows; -1, an unknown artist, is never capped.
    max_per_artist
        Entries of one artist in a list; 0 never caps.
    spaces
        (n_items, d) unit rows of each model; two items are as alike as their mean cosine.
    diversity
        0 keeps the order, 1 heeds only how little an entry is like those above it.
    """
    # Nothing below the place that any rule can lift is ever seen.
    blend = blend.take(_earlier(blend.listener, recording[blend.item]) == 0)
    if max_per_artist:
        who = artist[blend.item]
        blend = blend.take((who < 0) | (_earlier(blend.listener, who) < max_per_artist))
    if diversity and spaces:
        blend = blend.take(places(blend.listener) < _POOL * k)
        vectors = np.concatenate([space[blend.item] for space in spaces], axis=1)
        starts = np.append(np.flatnonzero(places(blend.listener) == 0), len(blend))
        blend = blend.take(_varied(starts, blend.scores, vectors, len(spaces), diversity))
    return blend.take(places(blend.listener) < k)


def _earlier(listener: NDArray[np.int64], group: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return (n,) how many entries of the same listener and group stand before each entry."""
    order = np.lexsort((group, listener))  # stable: within a group the list's order stays
    group_of = group[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (group_of[1:] != group_of[:-1]) | (np.diff(listener[order]) != 0)
    earlier = np.empty(len(order), np.int64)
    earlier[order] = places(np.cumsum(begins))
    return earlier


@numba.njit(nogil=True, cache=True)
def _varied(
    starts: NDArray[np.int64],
    scores: NDArray[np.float64],
    vectors: NDArray[np.float32],
    n_spaces: int,
    diversity: float,
) -> NDArray[np.int64]:
    """Return the new order of entries; those of list j stand at starts[j] to starts[j + 1]."""
    order = np.arange(len(scores))
    for part in range(len(starts) - 1):
        first, end = starts[part], starts[part + 1]
        low, high = scores[end - 1], scores[first]
        scale = 1 / (high - low) if high > low else 0.0
        alike = np.full(end - first, -1.0)
        for place in range(first, end):
            best, chosen = -np.inf, place
            for at in range(place, end):
                row = order[at]
                near = max(alike[row - first], 0.0)
                value = (1 - diversity) * (scores[row] - low) * scale - diversity * near
                if value > best:
                    best, chosen = value, at
            row = order[chosen]
            # Those in between move down by one, so that equal values keep their order.
            for at in range(chosen, place, -1):
                order[at] = order[at - 1]
            order[place] = row
            for at in range(place + 1, end):
                other = order[at]
                cosine = 0.0
                for d in range(vectors.shape[1]):
                    cosine += vectors[row, d] * vectors[other, d]
                alike[other - first] = max(alike[other - first], cosine / n_spaces)
    return order
