"""The k best inner products of a large catalogue, nearly all of them, at a fraction of the work.

Enters: vectors with optional biases, and their graph (`recsys.retrieval.graph`). Leaves: what
`ExactIndex` leaves; a row that is found has the same score there and here. A search begins at rows
from which all others are a few links away, so that no scene of the catalogue is an island, and
walks the graph from the best row seen to its links until nothing better comes (the search of
Malkov, Yashunin 2018, on one level). A row that may not be returned is still walked through. Where
few rows may be returned, where many are wanted, and where a walk has found too few, the exact index
answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.arrays import frozen
from recsys.errors import UsageError
from recsys.retrieval.exact import ExactIndex, Selection, sorted_rows
from recsys.retrieval.graph import LINKS
from recsys.retrieval.kernels import (
    better,
    dot,
    push,
    replace_first,
    sink,
    sort_heap,
)
from recsys.retrieval.layout import entries, side_by_side

__all__ = ["ApproximateIndex"]

_SPARE = 16
"""Rows that a search keeps in view beyond those that are wanted."""
_QUERIES = 16
"""Queries that a thread takes at a time."""
_MOST_SHARE = 50
"""Beyond one row in this many the exact index is as quick."""
_ALLOWED_SHARE = 8
"""Where fewer than one row in this many is allowed, scoring those is quicker than a walk."""

_LAST_MARK = np.iinfo(np.uint32).max - 2 * _QUERIES - 1
"""After so many searches marks begin again."""

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]


class ApproximateIndex:
    """Vectors to search by inner product, by walking a graph.

    Parameters
    ----------
    vectors, biases, num_threads
        As of `ExactIndex`.
    graph
        (n, LINKS) int32 of `neighbour_graph` or `grown_graph`.
    spare
        Rows in view beyond those wanted, the more the surer.

    Raises
    ------
    UsageError
        As of `ExactIndex`, and for a graph of another shape.
    """

    def __init__(
        self,
        vectors: Floats,
        biases: Floats | None = None,
        *,
        graph: Rows,
        spare: int = _SPARE,
        num_threads: int = 0,
    ) -> None:
        n = len(vectors)
        if graph.shape != (n, LINKS) or graph.dtype != np.int32:
            raise UsageError(f"graph: want int32 ({n}, {LINKS}), got {graph.dtype} {graph.shape}")
        if graph.size and not (graph.min() >= -1 and graph.max() < n):
            raise UsageError(f"graph: want rows below {n}, got {graph.min()} to {graph.max()}")
        first = np.zeros(0, np.int32)

        def laid_out(longest: Rows) -> Rows:
            nonlocal first
            first = entries(graph, longest)
            return side_by_side(graph, first, longest)

        exact = ExactIndex(vectors, biases, num_threads=num_threads, order=laid_out)
        places = np.empty(n, np.int32)
        places[exact.order] = np.arange(n, dtype=np.int32)
        links = graph[exact.order]
        held = {
            "places": places,
            "links": np.where(links >= 0, places[links], np.int32(-1)),
            "n_entries": np.array([len(first)]),
        }
        self._hold(exact, held, spare)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], *, spare: int = _SPARE, num_threads: int = 0
    ) -> ApproximateIndex:
        """Return the index that had these `arrays`, as `ExactIndex.from_arrays`."""
        index = cls.__new__(cls)
        index._hold(ExactIndex.from_arrays(arrays, num_threads=num_threads), arrays, spare)
        return index

    def _hold(self, exact: ExactIndex, arrays: Mapping[str, NDArray[Any]], spare: int) -> None:
        self.exact = exact
        self._places: Rows = frozen(arrays["places"])  # (n,) where each row is held
        self._links: Rows = frozen(arrays["links"])  # (n, LINKS) the graph, of places
        self._n_entries = int(arrays["n_entries"][0])
        self._spare = spare
        self._marks = local()

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` makes the index of."""
        walked = {"places": self._places, "links": self._links}
        return self.exact.arrays | walked | {"n_entries": np.array([self._n_entries])}

    @property
    def graph(self) -> Rows:
        """(n, LINKS) the graph that it walks, as it was given."""
        links = self._links[self._places]
        return np.where(links >= 0, self.exact.order[links], np.int32(-1))

    def __len__(self) -> int:
        return len(self.exact)

    def select(self, rows: NDArray[np.bool_]) -> Selection:
        """Prepare a mask of what may be returned, as `ExactIndex.select`."""
        return self.exact.select(rows)

    def search(
        self,
        queries: Floats,
        k: int,
        *,
        exclude: csr_array | None = None,
        allowed: NDArray[np.bool_] | Selection | None = None,
    ) -> tuple[Rows, Floats]:
        """Return nearly the `k` best rows for each query; otherwise as `ExactIndex.search`.

        There are never fewer than `k` while `k` may be returned.
        """
        self.exact.check(queries, k, exclude)
        if isinstance(allowed, np.ndarray):
            allowed = self.select(allowed)
        m, n = len(queries), len(self)
        n_allowed = n if allowed is None else allowed.n
        if k * _MOST_SHARE > n_allowed or n_allowed * _ALLOWED_SHARE < n:
            return self.exact.search(queries, k, exclude=exclude, allowed=allowed)
        rows = np.full((m, k), -1, np.int32)
        scores = np.full((m, k), -np.inf, np.float32)
        if not (m and k):
            return rows, scores
        queries = np.ascontiguousarray(queries, np.float32)
        excluded = sorted_rows(exclude, m)
        within = np.zeros(0, np.bool_) if allowed is None else allowed.held

        def run(start: int) -> None:
            part = slice(start, start + _QUERIES)
            marks = self._own_marks()
            _walk_block(
                start,
                queries[part],
                self.exact.vectors,
                self.exact.biases,
                self.exact.order,
                self._places,
                self._links,
                self._n_entries,
                within,
                *excluded,
                k + self._spare,
                marks,
                rows[part],
                scores[part],
            )

        starts = range(0, m, _QUERIES)
        if len(starts) == 1 or self.exact.num_threads == 1:
            for start in starts:
                run(start)
        else:
            with ThreadPoolExecutor(self.exact.num_threads) as threads:
                list(threads.map(run, starts))
        self._complete(rows, scores, queries, exclude, allowed)
        return rows, scores

    def _complete(
        self,
        rows: Rows,
        scores: Floats,
        queries: Floats,
        exclude: csr_array | None,
        allowed: Selection | None,
    ) -> None:
        """Let the exact index answer where a walk found too few."""
        short = np.flatnonzero(rows[:, -1] < 0)
        if len(short):
            without = None
            if exclude is not None:
                without = exclude[short // (len(queries) // exclude.shape[0])]
            rows[short], scores[short] = self.exact.search(
                queries[short], rows.shape[1], exclude=without, allowed=allowed
            )

    def _own_marks(self) -> NDArray[np.uint32]:
        """Return this thread's (n + 1,) marks of what was seen; the last is the search's mark."""
        if not hasattr(self._marks, "seen"):
            self._marks.seen = np.zeros(len(self) + 1, np.uint32)
        seen: NDArray[np.uint32] = self._marks.seen
        if seen[-1] > _LAST_MARK:
            seen[:] = 0
        return seen


@numba.njit(nogil=True, cache=True)
def _walk_block(
    first_query: int,
    queries: Floats,
    vectors: Floats,
    biases: Floats,
    names: Rows,
    places: Rows,
    graph: Rows,
    n_entries: int,
    within: NDArray[np.bool_],
    sharing: int,
    bounds: NDArray[np.int64],
    indices: Rows,
    breadth: int,
    marks: NDArray[np.uint32],
    rows: Rows,
    scores: Floats,
) -> None:
    """Fill rows and scores (b, k) for queries (b, d), the first of which is first_query."""
    found = np.empty(breadth, np.int32)
    found_scores = np.empty(breadth, np.float32)
    for q in range(len(queries)):
        owner = (first_query + q) // sharing
        excluded = indices[bounds[owner] : bounds[owner + 1]]
        marks[-1] += np.uint32(2)
        for row in excluded:
            marks[places[row]] = marks[-1] - np.uint32(1)
        n_found = _walk(
            queries[q], vectors, biases, graph, n_entries, within, marks, found, found_scores
        )
        least, k = -np.float32(np.inf), rows.shape[1]
        if n_found > k:
            least = np.partition(found_scores[:n_found], n_found - k)[n_found - k]
        # Scored again as the exact index does, so that both agree to the last bit.
        for f in range(n_found):
            if found_scores[f] < least:
                continue
            position = found[f]
            score = np.float32(dot(queries[q], vectors[position]) + biases[position])
            if better(score, names[position], scores[q, 0], rows[q, 0]):
                rows[q, 0], scores[q, 0] = names[position], score
                sink(rows[q], scores[q], k)
        sort_heap(rows[q], scores[q])


@numba.njit(nogil=True, cache=True)
def _walk(
    query: Floats,
    vectors: Floats,
    biases: Floats,
    graph: Rows,
    n_entries: int,
    within: NDArray[np.bool_],
    marks: NDArray[np.uint32],
    found: Rows,
    found_scores: Floats,
) -> int:
    """Fill found, a heap with the worst in front, with positions; return how many there are.

    marks (n + 1,): the last is this search's mark; what bears one less may not be found.
    """
    breadth, n_found, n_open = len(found), 0, 0
    now = marks[-1]
    excluded = now - np.uint32(1)
    capacity = n_entries + 8 * breadth
    # Scores are negated, so that this heap has the best in front.
    open_scores = np.empty(capacity, np.float32)
    open_rows = np.empty(capacity, np.int32)
    room = max(n_entries, graph.shape[1] + 1)
    fresh = np.empty(room, np.int32)
    barred = np.empty(room, np.bool_)
    fresh_scores = np.empty(room, np.float32)
    # The entries, which come first in memory, are the links of an imagined row.
    n_fresh = n_entries
    for f in range(n_fresh):
        fresh[f] = f
        fresh_scores[f] = _near_dot(query, vectors[f]) + biases[f]
        barred[f] = marks[f] == excluded
        marks[f] = now
    while True:
        for f in range(n_fresh):
            other, score = fresh[f], fresh_scores[f]
            if n_found == breadth and score <= found_scores[0]:
                continue
            if n_open < capacity:
                push(open_scores, open_rows, n_open, -score, other)
                n_open += 1
            if barred[f] or (len(within) and not within[other]):
                continue
            if n_found < breadth:
                push(found_scores, found, n_found, score, other)
                n_found += 1
            else:
                replace_first(found_scores, found, n_found, score, other)
        if n_open == 0 or (n_found == breadth and -open_scores[0] < found_scores[0]):
            return n_found
        position = open_rows[0]
        n_open -= 1
        replace_first(open_scores, open_rows, n_open, open_scores[n_open], open_rows[n_open])
        n_fresh = 0
        # Nothing to decide here either: which links are new no processor can foretell. A missing
        # one, -1, reads the last mark, this search's own, and so was seen.
        for other in graph[position]:
            mark = marks[other]
            marks[other] = now
            fresh[n_fresh] = other
            barred[n_fresh] = mark == excluded
            n_fresh += mark != now
        # A loop without decisions lets the processor fetch several rows at once.
        for f in range(n_fresh):
            fresh_scores[f] = _near_dot(query, vectors[fresh[f]]) + biases[fresh[f]]


@numba.njit(nogil=True, cache=True, fastmath=True)
def _near_dot(a: Floats, b: Floats) -> np.float32:
    total = np.float32(0)
    for d in range(len(a)):
        total += a[d] * b[d]
    return total
