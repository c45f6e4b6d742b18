"""Parts of an evaluation: for whom and for what the figures hold.

Enters: listeners, their truth, and what was known before. Leaves: named parts, each the truth of
some listeners on some items; a mean over all hides that a model fails for those who came last week.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.interactions import Interactions

__all__ = ["parts"]

_NEW_PLAYS = 5
_HEAVY_SHARE = 0.1
_DECILES = 10


def parts(
    truth: csr_array,
    users: NDArray[np.int64],
    interactions: Interactions,
    listeners_of: NDArray[np.int64],
    eligible: NDArray[np.bool_],
    segment: NDArray[np.int32] | None = None,
) -> Iterator[tuple[str, csr_array]]:
    """Yield the name of each part and its truth (m, n_items); rows are empty for who is not in it.

    Parameters
    ----------
    truth
        (m, n_items) stored entries: what the listeners `users` (m,) came to love.
    listeners_of
        (n_items,) listeners of each item before.
    eligible
        (n_items,) what a list may hold.
    segment
        (m,) group of each listener, -1 for none; adds a part for each.
    """
    plays = np.asarray(interactions.plays[users].sum(axis=1)).ravel()
    heavy = np.quantile(plays, 1 - _HEAVY_SHARE) if len(plays) else 0
    nothing = np.zeros(truth.shape[1], bool)
    yield "new listeners (fewer than 5 plays)", _part(truth, plays < _NEW_PLAYS, ~nothing)
    yield "heavy listeners (a tenth)", _part(truth, plays >= heavy, ~nothing)
    yield "cold items (nobody played)", _part(truth, plays >= 0, listeners_of == 0)
    order = np.flatnonzero(eligible)
    order = order[np.argsort(-listeners_of[order], kind="stable")]
    for number, items in enumerate(np.array_split(order, _DECILES), start=1):
        chosen = nothing.copy()
        chosen[items] = True
        yield f"popularity decile {number}", _part(truth, plays >= 0, chosen)
    for group in [] if segment is None else np.unique(segment[segment >= 0]).tolist():
        yield f"group {group}", _part(truth, segment == group, ~nothing)


def _part(truth: csr_array, listeners: NDArray[np.bool_], items: NDArray[np.bool_]) -> csr_array:
    """Return the truth of these listeners on these items."""
    pairs = truth.tocoo()
    kept = listeners[pairs.row] & items[pairs.col]
    ones = np.ones(int(kept.sum()), np.int8)
    return csr_array((ones, (pairs.row[kept], pairs.col[kept])), shape=truth.shape)
