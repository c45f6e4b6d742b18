"""Candidates that no vector finds: more by artists who are liked, and what stands on lists beside.

Enters: what a batch of listeners played and follows. Leaves: ranked item rows, best first.

`Artists` proposes what a listener has not heard by those they follow or play, the artist with the
strongest bond first and of each artist the newest first, so that a release is found on its day.
`Shelves` proposes what stands on editors' lists and listeners' playlists together with what was
played: a list counts by the cosine between it and the history, an item by the lists it is on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.retrieval.kernels import contains

__all__ = ["Artists", "Shelves", "once"]

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Pointers = NDArray[np.integer]
Mask = NDArray[np.bool_]

_PER_ARTIST = 5
"""Items of one artist that are proposed before the next artist's turn."""
_FOLLOWED = 3.0
"""What following an artist adds to the bond; a single play adds log 2."""


@dataclass(frozen=True)
class Artists:
    """Who made what, the newest first.

    Parameters
    ----------
    item_artist
        (n_items,) artist rows, -1 where unknown.
    indptr, items
        Of each artist the item rows, the newest first.
    """

    item_artist: Rows
    indptr: NDArray[np.int64]
    items: Rows

    @classmethod
    def of(cls, item_artist: Rows, released_at: NDArray[np.int64], n_artists: int) -> Artists:
        """Sort the items of each artist by time of release (n_items,), in any unit."""
        order = np.lexsort((-released_at.astype(np.float64), item_artist)).astype(np.int32)
        starts = np.searchsorted(item_artist[order], np.arange(n_artists + 1))
        return cls(item_artist, starts.astype(np.int64), order)

    @property
    def n(self) -> int:
        """Number of artists."""
        return len(self.indptr) - 1

    def propose(
        self,
        history: csr_array,
        follows: csr_array,
        k: int,
        *,
        exclude: csr_array,
        allowed: NDArray[np.bool_],
    ) -> Rows:
        """Return (m, k) item rows, padded with -1."""
        found = np.full((history.shape[0], k), -1, np.int32)
        _by_artists(
            history.indptr, history.indices, history.data, follows.indptr, follows.indices,
            self.item_artist, self.indptr, self.items, exclude.indptr, exclude.indices, allowed,
            found,
        )  # fmt: skip
        return found

    def bonds(
        self,
        history: csr_array,
        follows: csr_array,
        listener: NDArray[np.int64],
        item: Rows,
    ) -> Floats:
        """Return (n, 4) what ties each pair's listener to the item's artist.

        Columns: evidence on the artist's items as log(1 + sum), its share of all evidence, number
        of the artist's items in the history as log(1 + n), 1 where the artist is followed.
        """
        bonds = np.zeros((len(item), 4), np.float32)
        _bonds(
            history.indptr, history.indices, history.data, follows.indptr, follows.indices,
            self.item_artist, self.n, listener, item, bonds,
        )  # fmt: skip
        return bonds


@dataclass(frozen=True)
class Shelves:
    """Lists of items and, for each item, the lists that hold it."""

    lists: csr_array
    """(n_lists, n_items) stored entries: what a list holds."""
    holders: csr_array
    """(n_items, n_lists) the same, turned."""

    @classmethod
    def of(cls, lists: csr_array) -> Shelves:
        """Turn `lists`, too."""
        return cls(lists, csr_array(lists.T.tocsr()))

    def scores(self, history: csr_array, listener: NDArray[np.int64], item: Rows) -> Floats:
        """Return (n,) how much the lists speak for each pair; listeners ascending."""
        scores = np.zeros(len(item), np.float32)
        if self.lists.nnz:
            starts = np.searchsorted(listener, np.arange(history.shape[0] + 1))
            _shelf_scores(
                history.indptr, history.indices, history.data, self.lists.indptr,
                self.lists.indices, self.holders.indptr, self.holders.indices, starts, item, scores,
            )  # fmt: skip
        return scores

    def propose(
        self, history: csr_array, k: int, *, exclude: csr_array, allowed: NDArray[np.bool_]
    ) -> Rows:
        """Return (m, k) item rows, padded with -1."""
        found = np.full((history.shape[0], k), -1, np.int32)
        if self.lists.nnz:
            _from_shelves(
                history.indptr, history.indices, history.data, self.lists.indptr,
                self.lists.indices, self.holders.indptr, self.holders.indices,
                exclude.indptr, exclude.indices, allowed, found,
            )  # fmt: skip
        return found


@numba.njit(nogil=True, cache=True)
def once(found: Rows) -> Rows:
    """Return item rows (m, k), -1 where there is none, each where it comes first; then -1."""
    kept = np.full(found.shape, np.int32(-1))
    for u in range(len(found)):
        seen, n = {np.int32(-1)}, 0
        for item in found[u]:
            if item not in seen:
                seen.add(item)
                kept[u, n] = item
                n += 1
    return kept


@numba.njit(nogil=True, cache=True)
def _artist_evidence(
    items: Rows, weights: Floats, item_artist: Rows, total: Floats, count: Floats
) -> None:
    """Add up evidence and items of each artist in total (n_artists,) and count (n_artists,)."""
    for n in range(len(items)):
        artist = item_artist[items[n]]
        if artist >= 0:
            total[artist] += weights[n]
            count[artist] += np.float32(1)


@numba.njit(nogil=True, cache=True)
def _by_artists(
    indptr: Pointers,
    indices: Rows,
    data: Floats,
    follow_ptr: Pointers,
    follow_ind: Rows,
    item_artist: Rows,
    of_ptr: Pointers,
    of_items: Rows,
    exclude_ptr: Pointers,
    exclude_ind: Rows,
    allowed: Mask,
    found: Rows,
) -> None:
    n_artists = len(of_ptr) - 1
    total, count = np.zeros(n_artists, np.float32), np.zeros(n_artists, np.float32)
    for u in range(len(found)):
        items = indices[indptr[u] : indptr[u + 1]]
        followed = follow_ind[follow_ptr[u] : follow_ptr[u + 1]]
        _artist_evidence(items, data[indptr[u] : indptr[u + 1]], item_artist, total, count)
        touched = [np.int32(a) for a in followed]
        for item in items:
            artist = item_artist[item]
            if artist >= 0 and count[artist] > 0:
                count[artist] = 0
                touched.append(artist)
        for artist in followed:
            total[artist] = np.exp(np.float32(_FOLLOWED)) * (1 + total[artist])
        who = np.unique(np.array(touched, np.int32))
        order = who[np.argsort(-total[who], kind="mergesort")]
        known = exclude_ind[exclude_ptr[u] : exclude_ptr[u + 1]]
        n = 0
        for artist in order:
            mine = 0
            for item in of_items[of_ptr[artist] : of_ptr[artist + 1]]:
                if n == found.shape[1] or mine == _PER_ARTIST:
                    break
                if allowed[item] and not contains(known, item):
                    found[u, n] = item
                    n += 1
                    mine += 1
        total[who] = 0
        count[who] = 0


@numba.njit(nogil=True, cache=True)
def _bonds(
    indptr: Pointers,
    indices: Rows,
    data: Floats,
    follow_ptr: Pointers,
    follow_ind: Rows,
    item_artist: Rows,
    n_artists: int,
    listener: NDArray[np.int64],
    item: Rows,
    bonds: Floats,
) -> None:
    total, count = np.zeros(n_artists, np.float32), np.zeros(n_artists, np.float32)
    n = 0
    while n < len(item):
        u = listener[n]
        items = indices[indptr[u] : indptr[u + 1]]
        weights = data[indptr[u] : indptr[u + 1]]
        followed = follow_ind[follow_ptr[u] : follow_ptr[u + 1]]
        _artist_evidence(items, weights, item_artist, total, count)
        whole = max(np.float32(weights.sum()), np.float32(1e-9))
        while n < len(item) and listener[n] == u:
            artist = item_artist[item[n]]
            if artist >= 0:
                bonds[n, 0] = np.log1p(total[artist])
                bonds[n, 1] = total[artist] / whole
                bonds[n, 2] = np.log1p(count[artist])
                for other in followed:
                    if other == artist:
                        bonds[n, 3] = 1
            n += 1
        for one in items:
            artist = item_artist[one]
            if artist >= 0:
                total[artist] = 0
                count[artist] = 0


@numba.njit(nogil=True, cache=True)
def _fill_shelf(
    items: Rows,
    weights: Floats,
    list_ptr: Pointers,
    list_ind: Rows,
    holder_ptr: Pointers,
    holder_ind: Rows,
    of_list: Floats,
    score: Floats,
    touched: Rows,
) -> int:
    """Add to score (n_items,) what all lists that share an item with the history say.

    of_list (n_lists,) is scratch space of zeros. Fills touched with the items that have a score
    and returns their number.
    """
    shelves = [np.int32(0) for _ in range(0)]
    for n in range(len(items)):
        for one in holder_ind[holder_ptr[items[n]] : holder_ptr[items[n] + 1]]:
            if of_list[one] == 0:
                shelves.append(one)
            of_list[one] += weights[n]
    n_touched = 0
    for one in shelves:
        inside = list_ind[list_ptr[one] : list_ptr[one + 1]]
        # The share of the list that is known, damped so that tiny lists do not rule.
        speaks = of_list[one] / np.sqrt(np.float32(len(inside) + 10))
        for item in inside:
            if score[item] == 0:
                touched[n_touched] = item
                n_touched += 1
            score[item] += speaks * speaks
        of_list[one] = 0
    return int(n_touched)


@numba.njit(nogil=True, cache=True)
def _shelf_scores(
    indptr: Pointers,
    indices: Rows,
    data: Floats,
    list_ptr: Pointers,
    list_ind: Rows,
    holder_ptr: Pointers,
    holder_ind: Rows,
    starts: NDArray[np.int64],
    item: Rows,
    scores: Floats,
) -> None:
    n_items, n_lists = len(holder_ptr) - 1, len(list_ptr) - 1
    score, touched = np.zeros(n_items, np.float32), np.empty(n_items, np.int32)
    of_list = np.zeros(n_lists, np.float32)
    for u in range(len(starts) - 1):
        if starts[u] < starts[u + 1]:
            span = slice(indptr[u], indptr[u + 1])
            n = _fill_shelf(
                indices[span], data[span], list_ptr, list_ind, holder_ptr, holder_ind, of_list,
                score, touched,
            )  # fmt: skip
            for row in range(starts[u], starts[u + 1]):
                scores[row] = np.log1p(score[item[row]])
            score[touched[:n]] = 0


@numba.njit(nogil=True, cache=True)
def _from_shelves(
    indptr: Pointers,
    indices: Rows,
    data: Floats,
    list_ptr: Pointers,
    list_ind: Rows,
    holder_ptr: Pointers,
    holder_ind: Rows,
    exclude_ptr: Pointers,
    exclude_ind: Rows,
    allowed: Mask,
    found: Rows,
) -> None:
    n_items, n_lists = len(holder_ptr) - 1, len(list_ptr) - 1
    score, touched = np.zeros(n_items, np.float32), np.empty(n_items, np.int32)
    of_list = np.zeros(n_lists, np.float32)
    for u in range(len(found)):
        span = slice(indptr[u], indptr[u + 1])
        n = _fill_shelf(
            indices[span], data[span], list_ptr, list_ind, holder_ptr, holder_ind, of_list, score,
            touched,
        )  # fmt: skip
        told = touched[:n].copy()
        # Equal scores follow the item row, whatever the order of the lists was.
        told.sort()
        known = exclude_ind[exclude_ptr[u] : exclude_ptr[u + 1]]
        n_found = 0
        for place in np.argsort(-score[told], kind="mergesort"):
            if n_found == found.shape[1]:
                break
            item = told[place]
            if allowed[item] and not contains(known, item):
                found[u, n_found] = item
                n_found += 1
        score[told] = 0
