"""What would make an evaluation worthless, checked before a figure is believed.

Enters: what a version knows, the events that come later, the truth, the lists. Leaves: nothing, or
a `LeakError` that names every leak. None of these is possible while the code is right; each was
possible in published evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.catalogue import NO_TIME
from recsys.data.collections import Collections
from recsys.data.interactions import Events
from recsys.ensemble.ensemble import Ensemble
from recsys.errors import LeakError

__all__ = ["check_lists", "check_past", "check_truth"]


def check_past(ensemble: Ensemble, collections: Collections, later: Events) -> None:
    """Refuse a version that knows a play, or a place on a playlist, of the time after it.

    Parameters
    ----------
    later
        The events of the test slice.
    """
    leaks = []
    timed = later.at[later.at != NO_TIME]
    last = int(ensemble.interactions.last_played.max(initial=NO_TIME))
    if len(timed) and last > timed.min():
        leaks.append("a play of the version lies after the first event of the test slice")
    owned = np.flatnonzero(collections.owner >= 0)
    lists = collections.items[owned]
    known = lists.multiply(ensemble.interactions.heard[collections.owner[owned]].astype(bool))
    if csr_array(known).count_nonzero() < lists.nnz:
        leaks.append("a playlist holds what its owner had not heard")
    _refuse(leaks)


def check_truth(ensemble: Ensemble, truth: csr_array) -> None:
    """Refuse a truth (n_users, n_items) that repeats what was heard before, by recording."""
    pairs = truth.tocoo()
    again = _known(ensemble, pairs.row, pairs.col)
    _refuse([f"{again.sum():,} pairs of the truth were heard before"] if again.any() else [])


def check_lists(
    ensemble: Ensemble, users: NDArray[np.int64], lists: Mapping[str, NDArray[np.int32]]
) -> None:
    """Refuse lists (m, k) that hold what was heard before, or one recording twice."""
    leaks = []
    recording = ensemble.catalogue.recording
    for name, ranked in lists.items():
        row, place = np.nonzero(ranked >= 0)
        items = ranked[row, place]
        again = _known(ensemble, users[row], items)
        if again.any():
            leaks.append(f"{name}: {again.sum():,} entries were heard before")
        pairs = np.stack([row, recording[items]])
        if len(np.unique(pairs, axis=1).T) < len(items):
            leaks.append(f"{name}: a recording stands twice in a list")
    _refuse(leaks)


def _known(
    ensemble: Ensemble, users: NDArray[np.integer], items: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Return (n,) whether each user had heard some release of each item's recording."""
    recording = ensemble.catalogue.recording
    n = np.int64(recording.max(initial=0)) + 1
    heard = ensemble.interactions.heard.tocoo()
    known = np.unique(heard.row.astype(np.int64) * n + recording[heard.col])
    return np.isin(users.astype(np.int64) * n + recording[items], known)


def _refuse(leaks: list[str]) -> None:
    if leaks:
        raise LeakError(f"evaluation refused: {'; '.join(leaks)}")
