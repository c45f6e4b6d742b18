"""What may change a list after the score: one entry a recording, few entries an artist.

Enters: a `Blend`, best first. Leaves: the same order with entries taken out and cut at k. The rules
are greedy from the top, so what stays is what a reader of the list would have kept. What a listener
has heard never comes this far: retrieval leaves it out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.ensemble.blend import Blend, places

__all__ = ["rerank"]


def rerank(
    blend: Blend,
    k: int,
    *,
    recording: NDArray[np.int32],
    artist: NDArray[np.int32],
    max_per_artist: int,
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
    """
    blend = blend.take(_earlier(blend.listener, recording[blend.item]) == 0)
    if max_per_artist:
        who = artist[blend.item]
        blend = blend.take((who < 0) | (_earlier(blend.listener, who) < max_per_artist))
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
