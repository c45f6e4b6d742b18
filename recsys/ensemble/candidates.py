"""Where the entries of a list may come from: the nearest items of each space, then the most played.

Enters: a batch of listeners. Leaves: per source, ranked item rows that the listener may be shown.
A source that knows nothing of a listener, or an item it knows nothing of, is left out rather than
guessed: a zero vector is near nothing. Popularity knows every item and is the last resort.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.interactions import Interactions
from recsys.retrieval import ExactIndex, Index, Selection
from recsys.retrieval.kernels import contains

__all__ = [
    "Eligible",
    "Listeners",
    "Popularity",
    "Space",
    "nothing",
    "played_by",
    "positive",
    "rows_of",
    "unit",
]


@dataclass(frozen=True)
class Listeners:
    """A batch of those for whom lists are made."""

    history: csr_array
    """(m, n_items) float32 positive evidence: what speaks for an item."""
    heard: csr_array
    """(m, n_items) stored entries are never recommended."""
    follows: csr_array
    """(m, n_artists) stored entries are artists followed."""
    points: Mapping[str, NDArray[np.float32]]
    """Per space (m, 2, d): where lately played items lie, where all of them do (collaborative: the
    listener's own vector); zero rows where there are none."""

    def __len__(self) -> int:
        return int(self.heard.shape[0])

    def take(self, rows: NDArray[np.int64]) -> Listeners:
        """Return some of them."""
        points = {space: vectors[rows] for space, vectors in self.points.items()}
        history, heard = rows_of(self.history, rows), rows_of(self.heard, rows)
        return Listeners(history, heard, rows_of(self.follows, rows), points)

    def knowing(self, items: NDArray[np.int64]) -> Listeners:
        """Return the same, each of whom knows the item rows `items` too."""
        more = np.zeros(self.heard.shape[1], np.int8)
        more[items] = 1
        both = csr_array(self.heard + csr_array(np.tile(more, (len(self), 1))))
        return replace(self, heard=both)


class Space:
    """The items of one model, ready for search.

    Parameters
    ----------
    vectors
        (n_items, d) float32; a zero row says that the model knows nothing of the item.
    biases
        (n_items,) float32 added to the inner product.
    above
        Items that do not score above this are not found. 0 suits unit vectors: what lies at a right
        angle to a taste says nothing about it.
    index
        Of these vectors and biases; None searches exactly.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        biases: NDArray[np.float32] | None = None,
        *,
        above: float = -np.inf,
        index: Index | None = None,
    ) -> None:
        self.vectors = vectors
        self.biases = np.zeros(len(vectors), np.float32) if biases is None else biases
        self.above = above
        self.index = ExactIndex(vectors, biases) if index is None else index
        self.known: NDArray[np.bool_] = np.asarray((vectors != 0).any(axis=1))
        self._all_known = self.select(np.ones(len(vectors), bool))

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """(n_items, d) the vectors at unit length."""
        return unit(self.vectors)

    def select(self, allowed: NDArray[np.bool_]) -> Selection | None:
        """Prepare the known items among those `allowed` (n_items,); None where that is all."""
        within = self.known & allowed
        # Without a selection the index reads its vectors in place instead of gathering them.
        return None if within.all() else self.index.select(within)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        exclude: csr_array | None = None,
        within: Selection | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return (m, k) item rows and scores, best first, padded with -1 and -inf.

        A zero query finds nothing.

        Parameters
        ----------
        exclude
            As of `ExactIndex.search`.
        within
            What `select` returned; None for all known items.
        """
        chosen = self._all_known if within is None else within
        rows, scores = self.index.search(queries, k, exclude=exclude, allowed=chosen)
        _lose(queries, self.above, rows, scores)
        return rows, scores


class Popularity:
    """All items, the one with most listeners first.

    Parameters
    ----------
    listeners
        (n_items,) number of listeners of each item.
    """

    def __init__(self, listeners: NDArray[np.int64]) -> None:
        self.listeners = listeners
        self.order = np.argsort(-listeners, kind="stable").astype(np.int32)
        self.place = np.empty(len(listeners), np.int32)
        """(n_items,) place of each item in the order, 0 the most played."""
        self.place[self.order] = np.arange(len(listeners), dtype=np.int32)

    def search(self, k: int, *, exclude: csr_array, within: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return (m, k) int32 item rows for the m rows of `exclude`, padded with -1.

        `within` are the rows that may be returned, in this order.
        """
        found = np.full((exclude.shape[0], k), -1, np.int32)
        _first_unheard(within, exclude.indptr, exclude.indices, found)
        return found


class Eligible:
    """What lists may hold, and what each source makes of that, found out once for many lists.

    Parameters
    ----------
    items
        (n_items,) whether a list may hold an item.
    spaces
        Where nearest items are searched.
    popularity
        All items, the most played first.
    new
        (n_items,) items with hardly a listener.
    """

    def __init__(
        self,
        items: NDArray[np.bool_],
        spaces: Mapping[str, Space],
        popularity: Popularity,
        new: NDArray[np.bool_],
    ) -> None:
        self.items = items
        self._spaces = spaces
        self._popularity = popularity
        self._new = new
        self._selections: dict[tuple[str, bool], Selection | None] = {}

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def by_popularity(self) -> NDArray[np.int32]:
        """Item rows, the most played first."""
        order = self._popularity.order
        return order[self.items[order]]

    def within(self, space: str, *, new: bool = False) -> Selection | None:
        """Return what a search of a space may find, of the new items alone where said so."""
        key = space, new
        if key not in self._selections:
            allowed = self.items & self._new if new else self.items
            self._selections[key] = self._spaces[space].select(allowed)
        return self._selections[key]


@numba.njit(nogil=True, cache=True)
def _lose(
    queries: NDArray[np.float32],
    above: float,
    rows: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> None:
    """Take away what a query found no higher than `above`, and all that a zero query found."""
    for q in range(len(queries)):
        asks = np.any(queries[q] != 0)
        for place in range(rows.shape[1]):
            if not (asks and scores[q, place] > above):
                rows[q, place], scores[q, place] = -1, -np.inf


@numba.njit(nogil=True, cache=True)
def _first_unheard(
    within: NDArray[np.int32],
    indptr: NDArray[np.integer],
    heard: NDArray[np.int32],
    found: NDArray[np.int32],
) -> None:
    """Fill found (m, k) with the first of `within` that each listener has not heard."""
    for u in range(len(found)):
        known = heard[indptr[u] : indptr[u + 1]]
        n = 0
        for item in within:
            if n == found.shape[1]:
                break
            if not contains(known, item):
                found[u, n] = item
                n += 1


def rows_of(matrix: csr_array, rows: NDArray[np.integer]) -> csr_array:
    """Return the rows of a matrix with sorted indices; of a single row nothing is copied."""
    if len(rows) != 1:
        return matrix[rows]
    start, end = matrix.indptr[rows[0]], matrix.indptr[rows[0] + 1]
    # To make a matrix of its parts costs ten times as much: scipy looks at all of them again.
    row = csr_array.__new__(csr_array)
    vars(row).update(
        vars(_template(matrix.shape[1])),
        data=matrix.data[start:end],
        indices=matrix.indices[start:end],
        indptr=np.array([0, end - start], np.int32),
    )
    return row


@lru_cache(16)
def _template(n_columns: int) -> csr_array:
    row = nothing((1, n_columns))
    row.has_sorted_indices = row.has_canonical_format = True
    return row


def nothing(shape: tuple[int, int]) -> csr_array:
    """Return a matrix without entries."""
    indptr = np.zeros(shape[0] + 1, np.int32)
    return csr_array((np.zeros(0, np.int8), np.zeros(0, np.int32), indptr), shape=shape)


def positive(evidence: csr_array) -> csr_array:
    """Return the entries above 0, as a new matrix where there are others."""
    if (evidence.data > 0).all():
        return evidence
    kept = evidence.copy()
    kept.data = np.maximum(kept.data, 0)
    kept.eliminate_zeros()
    return kept


def played_by(interactions: Interactions) -> csr_array:
    """Return (n_items, n_users) int8 ones: who listened to an item and has evidence for it.

    Evidence without listening, as for the songs of a followed artist, does not count.
    """
    listened = positive(interactions.evidence).multiply(interactions.heard)
    turned = csr_array(listened.T.tocsr(), dtype=np.int8)
    turned.data[:] = 1
    turned.sort_indices()
    return turned


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n, d) rows of length 1; zero rows stay zero."""
    scaled: NDArray[np.float32] = np.zeros(vectors.shape, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.divide(vectors, lengths, out=scaled, where=lengths > 0)
    return scaled
