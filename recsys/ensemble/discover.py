"""How a Discover Weekly is made: never heard, not shown lately, mostly sure, partly adventurous.

Enters: listeners and a week. Leaves: their `WeeklyList`s, not yet kept. One code serves the
listener who asks and the run over everybody (`recsys.ensemble.bulk`). Of the longer list that the
ensemble ranks, the first entries are the sure ones; the adventurous ones are by artists whom the
listener does not know, those with the fewest listeners first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.catalogue import NO_TIME, Catalogue
from recsys.ensemble.blend import Blend, places
from recsys.ensemble.candidates import Listeners
from recsys.ensemble.weekly import Shelf, WeeklyList, weeks_before

if TYPE_CHECKING:
    from recsys.ensemble.recommender import HybridRecommender

__all__ = ["make_weekly", "mixed", "still_there"]

_K = 30
_DEPTH = 3
"""Times as many ranked entries as a list has are chosen from."""
_WEEKS_REMEMBERED = 4


def make_weekly(
    recommender: HybridRecommender,
    shelf: Shelf,
    ids: Sequence[str],
    listeners: Listeners,
    week: str,
) -> list[WeeklyList]:
    """Make the lists of `listeners`, whose ids are `ids`, anew, in their order."""
    catalogue = recommender.catalogue
    shown = shown_before(catalogue, shelf, ids, week)
    if shown.nnz:
        listeners = replace(listeners, heard=csr_array(listeners.heard + shown))
    ranked = recommender.ranked(listeners, _DEPTH * _K)
    chosen = mixed(
        ranked,
        _K,
        adventurous=recommender.config.weekly.adventurous,
        known_artists=artists_in(listeners.heard, catalogue),
        item_artist=catalogue.item_artist,
        listeners_of=recommender.listeners_of,
    )
    lists = recommender.told(listeners, chosen)
    return [
        WeeklyList(id, week, recommender.version, [entry._asdict() for entry in entries])
        for id, entries in zip(ids, lists, strict=True)
    ]


def mixed(
    ranked: Blend,
    k: int,
    *,
    adventurous: float,
    known_artists: csr_array,
    item_artist: NDArray[np.int32],
    listeners_of: NDArray[np.int64],
) -> Blend:
    """Choose each listener's `k` entries; their order stays.

    Parameters
    ----------
    ranked
        More than `k` entries a listener, where there are.
    adventurous
        Share of the list that is of unknown artists, 0 to 1.
    known_artists
        (m, n_artists) stored entries: whom the listener knows.
    item_artist, listeners_of
        (n_items,) artist rows and numbers of listeners.
    """
    place = places(ranked.listener)
    artist = item_artist[ranked.item]
    known = np.asarray(known_artists[ranked.listener, np.maximum(artist, 0)]).ravel() > 0
    sure = place < k - round(adventurous * k)
    tier = np.where(sure, 0, np.where((artist >= 0) & ~known, 1, 2))
    key = np.where(tier == 1, listeners_of[ranked.item], place)
    order = np.lexsort((place, key, tier, ranked.listener))
    chosen = order[places(ranked.listener[order]) < k]
    return ranked.take(np.sort(chosen))


def artists_in(items: csr_array, catalogue: Catalogue) -> csr_array:
    """Return (m, n_artists) how many of each artist's items each row of `items` stores."""
    rows = np.repeat(np.arange(items.shape[0]), np.diff(items.indptr))
    artists = catalogue.item_artist[items.indices]
    of_someone = artists >= 0
    ones = np.ones(int(of_someone.sum()), np.int32)
    shape = (items.shape[0], max(catalogue.n_artists, 1))
    return csr_array((ones, (rows[of_someone], artists[of_someone])), shape=shape)


def shown_before(catalogue: Catalogue, shelf: Shelf, ids: Sequence[str], week: str) -> csr_array:
    """Return (m, n_items) int8 ones on every recording that the four weeks' lists held."""
    rows, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for before in weeks_before(week, _WEEKS_REMEMBERED):
        kept = shelf.find_all(ids, before)
        pairs = [
            (r, i["item_id"]) for r, id in enumerate(ids) if id in kept for i in kept[id].items
        ]
        if pairs:
            known = catalogue.items.rows([item for _, item in pairs])
            rows.append(np.array([row for row, _ in pairs])[known >= 0])
            items.append(known[known >= 0].astype(np.int64))
    # By recording: whatever is the same one as what was shown.
    row, item = np.concatenate(rows), np.concatenate(items)
    shape = (len(ids), catalogue.n_items)
    if not len(item):
        return csr_array((np.zeros(0, np.int8), (row, item)), shape=shape)
    recording = catalogue.recording
    n_recordings = int(recording.max()) + 1
    ones = np.ones(len(item), np.int32)
    recordings = csr_array((ones, (row, recording[item])), shape=(len(ids), n_recordings))
    holds = csr_array(
        (np.ones(catalogue.n_items, np.int32), (recording, np.arange(catalogue.n_items))),
        shape=(n_recordings, catalogue.n_items),
    )
    shown = csr_array(recordings @ holds)
    shown.data = np.ones(shown.nnz, np.int8)
    return shown


def still_there(lists: Sequence[WeeklyList], catalogue: Catalogue, now_ms: int) -> list[WeeklyList]:
    """Return kept lists without items that the version lacks or that may not be played now."""
    rows = catalogue.items.rows([item["item_id"] for one in lists for item in one.items])
    begins, ends = catalogue.available_from[rows], catalogue.available_until[rows]
    there = (rows >= 0) & (begins <= now_ms) & ((ends == NO_TIME) | (ends > now_ms))
    left = iter(there.tolist())
    return [replace(one, items=[item for item in one.items if next(left)]) for one in lists]
