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
    varied = diversity > 0 and len(spaces) > 0
    starts = _starts(blend.listener)
    # Nothing below the place that variety can lift is ever seen.
    most = _POOL * k if varied else k
    blend = blend.take(_kept(starts, blend.item, recording, artist, max_per_artist, most))
    if not varied:
        return blend
    vectors = np.concatenate([space[blend.item] for space in spaces], axis=1)
    order = _varied(_starts(blend.listener), blend.scores, vectors, len(spaces), diversity)
    blend = blend.take(order)
    return blend.take(places(blend.listener) < k)


@numba.njit(nogil=True, cache=True)
def _starts(listener: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (n_lists + 1,) where each list begins, and the end of the last."""
    starts = np.empty(len(listener) + 1, np.int64)
    n = 0
    for entry in range(len(listener)):
        if entry == 0 or listener[entry] != listener[entry - 1]:
            starts[n] = entry
            n += 1
    starts[n] = len(listener)
    return starts[: n + 1]


@numba.njit(nogil=True, cache=True)
def _kept(
    starts: NDArray[np.int64],
    item: NDArray[np.int32],
    recording: NDArray[np.int32],
    artist: NDArray[np.int32],
    max_per_artist: int,
    most: int,
) -> NDArray[np.int64]:
    """Return the entries that break no rule, at most so many of each list."""
    kept = np.empty(len(item), np.int64)
    n_kept = 0
    for part in range(len(starts) - 1):
        first_kept = n_kept
        recordings = {np.int32(-1)}
        entries = {np.int32(-1): 0}
        for row in range(starts[part], starts[part + 1]):
            if n_kept - first_kept == most:
                break
            same, who = recording[item[row]], artist[item[row]]
            if same in recordings:
                continue
            recordings.add(same)
            if max_per_artist and who >= 0:
                entries[who] = entries.get(who, 0) + 1
                if entries[who] > max_per_artist:
                    continue
            kept[n_kept] = row
            n_kept += 1
    return kept[:n_kept]


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
