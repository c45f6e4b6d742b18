"""The k best inner products, exactly: the index that every other index is measured against.

Enters: (n, d) vectors with optional biases, (m, d) queries. Leaves: rows and scores, best first.

The score of a pair is the float64 dot product plus the bias, rounded to float32. A blocked float32
matrix product only *proposes*: whatever could still be among the k best, its rounding error allowed
for, is scored again, so a result depends neither on the block, nor the batch, nor the threads, and
equal vectors tie exactly. Vectors lie in descending order of norm. By Cauchy and Schwarz nothing
after position p scores above ``|q| max |v| + max b`` over the rest; once that is below the k-th
best, a query is done. (The idea of LEMP: Teflioudi, Gemulla, Mykytiuk, SIGMOD 2015.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.arrays import frozen
from recsys.errors import UsageError
from recsys.retrieval.kernels import better, contains, dot, sink, sort_heap

__all__ = ["ExactIndex", "Selection", "sorted_rows"]

_QUERIES = 64
"""Queries per tile."""
_TILE = 4096
"""Numbers per tile of vectors: 64 vectors at d = 64. Products this small stay in the first-level
cache, and BLAS computes them in the calling thread, so our threads do not fight with its own."""

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows that searches of one index may return, prepared once for all of them."""

    held: Mask
    """(n,) whether each row may be returned, in the order in which the index holds the rows."""

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """(n_selected,) where the index holds them, ascending."""
        return np.flatnonzero(self.held)

    @cached_property
    def n(self) -> int:
        """How many they are."""
        return int(np.count_nonzero(self.held))


class ExactIndex:
    """Vectors to search by inner product.

    Parameters
    ----------
    vectors
        (n, d) float32, finite.
    biases
        (n,) float32, finite, added to the scores; None for none.
    num_threads
        Threads that share the queries; 0 takes as many as numba does: all cores, or what
        ``NUMBA_NUM_THREADS`` says.
    order
        Turns the rows (n,) int32, the longest first, into the order in which they are held; by
        default that very one, which lets a search end early.

    Raises
    ------
    UsageError
        Where shapes disagree or a value is not finite.
    """

    def __init__(
        self,
        vectors: Floats,
        biases: Floats | None = None,
        *,
        num_threads: int = 0,
        order: Callable[[Rows], Rows] | None = None,
    ) -> None:
        biases = _fitting(vectors, biases)
        norms = _lengths(vectors)
        rows = _longest_first(norms, biases)
        if order is not None:
            rows = order(rows)
        lifts = np.ascontiguousarray(biases[rows], np.float32)
        held: dict[str, NDArray[Any]] = {
            "order": rows,
            "vectors": np.ascontiguousarray(vectors[rows], np.float32),
            "biases": lifts,
            "norms_after": _maximum_after(norms[rows]),
            "biases_after": _maximum_after(lifts),
        }
        self._hold(held, num_threads)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], *, num_threads: int = 0) -> ExactIndex:
        """Return the index that had these `arrays`; not copied, they may be mapped files."""
        index = cls.__new__(cls)
        index._hold(arrays, num_threads)
        return index

    def _hold(self, arrays: Mapping[str, NDArray[Any]], num_threads: int) -> None:
        self.num_threads = num_threads or numba.get_num_threads()
        self.order: Rows = frozen(arrays["order"])
        """(n,) the rows in the order in which they are held."""
        self.vectors: Floats = frozen(arrays["vectors"])
        """(n, d) in that order."""
        self.biases: Floats = frozen(arrays["biases"])
        self._norms_after: Doubles = frozen(arrays["norms_after"])
        self._biases_after: Doubles = frozen(arrays["biases_after"])

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` makes the index of."""
        return {
            "order": self.order,
            "vectors": self.vectors,
            "biases": self.biases,
            "norms_after": self._norms_after,
            "biases_after": self._biases_after,
        }

    def __len__(self) -> int:
        return len(self.vectors)

    def select(self, rows: Mask) -> Selection:
        """Prepare a mask (n,) of what may be returned, for many searches.

        Raises
        ------
        UsageError
            For another shape or type.
        """
        if rows.shape != (len(self),) or rows.dtype != np.bool_:
            raise UsageError(f"allowed: want bool ({len(self)},), got {rows.dtype} {rows.shape}")
        return Selection(rows[self.order])

    def search(
        self,
        queries: Floats,
        k: int,
        *,
        exclude: csr_array | None = None,
        allowed: Mask | Selection | None = None,
    ) -> tuple[Rows, Floats]:
        """Return the `k` best rows for each query.

        Parameters
        ----------
        queries
            (m, d) float32, finite.
        k
            Rows wanted, from 0 up.
        exclude
            (m, n) sparse; the stored entries of row q, whatever their value, are not returned
            for query q. Of fewer rows, each holds for m / rows queries, one after the other.
        allowed
            (n,) bool, or what `select` made of it; only these rows are returned. None allows all.

        Returns
        -------
        rows : (m, k) int32
            Best first, ties by the lower row; -1 after the last row that exists.
        scores : (m, k) float32
            Descending; -inf where the row is -1.

        Raises
        ------
        UsageError
            Where a shape does not fit the index, `k` is negative, or a query is not finite.
        """
        self.check(queries, k, exclude)
        if isinstance(allowed, np.ndarray):
            allowed = self.select(allowed)
        m, n = len(queries), len(self)
        rows = np.full((m, k), -1, np.int32)
        scores = np.full((m, k), -np.inf, np.float32)
        if not (m and n and k):
            return rows, scores
        queries = np.ascontiguousarray(queries, np.float32)
        positions = np.zeros(0, np.int64) if allowed is None else allowed.positions
        excluded = sorted_rows(exclude, m)

        reach = _lengths(queries)
        # |float32 dot - exact dot| <= rounding * |q||v|, plus the addition of the bias.
        rounding = (queries.shape[1] + 4) * float(np.finfo(np.float32).eps)
        tile = max(1, min(64, _TILE // max(1, queries.shape[1]), n))

        def run(start: int) -> None:
            _search_block(
                start,
                queries[start : start + _QUERIES],
                reach[start : start + _QUERIES],
                rounding,
                tile,
                self.vectors,
                self.biases,
                self.order,
                self._norms_after,
                self._biases_after,
                positions,
                allowed is not None,
                *excluded,
                rows[start : start + _QUERIES],
                scores[start : start + _QUERIES],
                min(k, n),
            )

        starts = range(0, m, _QUERIES)
        if len(starts) == 1 or self.num_threads == 1:
            for start in starts:
                run(start)
        else:
            with ThreadPoolExecutor(self.num_threads) as threads:
                list(threads.map(run, starts))
        return rows, scores

    def check(self, queries: Floats, k: int, exclude: csr_array | None) -> None:
        """Raise what `search` raises, but for `allowed`."""
        n, d = self.vectors.shape
        if queries.ndim != 2 or queries.shape[1] != d:
            raise UsageError(f"queries: want shape (m, {d}), got {queries.shape}")
        if k < 0:
            raise UsageError(f"k: want 0 or more, got {k}")
        if exclude is not None and (
            exclude.shape[1] != n or _shared_by(exclude, len(queries)) is None
        ):
            raise UsageError(f"exclude: want shape {(len(queries), n)}, got {exclude.shape}")
        _require_finite("queries", queries)


def _fitting(vectors: Floats, biases: Floats | None) -> Floats:
    """Return the biases (n,), zeros where there are none; UsageError for what cannot be held."""
    if vectors.ndim != 2:
        raise UsageError(f"vectors: want shape (n, d), got {vectors.shape}")
    n = len(vectors)
    if biases is None:
        biases = np.zeros(n, np.float32)
    if biases.shape != (n,):
        raise UsageError(f"biases: want shape ({n},) like the vectors, got {biases.shape}")
    _require_finite("vectors", vectors)
    _require_finite("biases", biases)
    return biases


def _lengths(vectors: Floats) -> Doubles:
    """Return (n,) the length of each row."""
    return np.asarray(np.linalg.norm(vectors.astype(np.float64), axis=1))


def _longest_first(norms: Doubles, biases: Floats) -> Rows:
    """Return (n,) the rows by what bounds their scores, so that good thresholds come early."""
    lift = biases - biases.min(initial=np.inf)
    return np.argsort(-np.hypot(norms, lift), kind="stable").astype(np.int32)


def _require_finite(name: str, array: Floats) -> None:
    if not _finite(array.ravel()):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise UsageError(f"{name}: want finite numbers, got {array[place]} at {place}")


@numba.njit(nogil=True, cache=True, fastmath={"reassoc"})
def _finite(numbers: Floats) -> bool:
    total = np.float32(0)
    for number in numbers:
        total += number * np.float32(0)  # which is NaN for what is not finite
    return bool(total == 0)


def _maximum_after(values: Floats | Doubles) -> NDArray[np.float64]:
    """Return max(values[p:]) for every p."""
    return np.ascontiguousarray(np.maximum.accumulate(values[::-1].astype(np.float64))[::-1])


def _shared_by(exclude: csr_array, m: int) -> int | None:
    """Return how many of m queries each row of `exclude` holds for; None where it does not."""
    n_rows = exclude.shape[0]
    if n_rows == m:
        return 1
    return m // n_rows if n_rows and m % n_rows == 0 else None


def sorted_rows(exclude: csr_array | None, m: int) -> tuple[int, NDArray[np.int64], Rows]:
    """Return how many queries have the same exclusions, where those lie, and them, ascending."""
    if exclude is None:
        return m, np.zeros(2, np.int64), np.zeros(0, np.int32)
    if not exclude.has_sorted_indices:
        exclude = exclude.sorted_indices()
    times = _shared_by(exclude, m)
    assert times is not None, (exclude.shape, m)
    bounds = exclude.indptr.astype(np.int64, copy=False)
    return times, bounds, exclude.indices.astype(np.int32, copy=False)


@numba.njit(nogil=True, cache=True)
def _search_block(
    first_query: int,
    queries: Floats,
    lengths: Doubles,
    rounding: float,
    tile: int,
    vectors: Floats,
    biases: Floats,
    names: Rows,
    norms_after: Doubles,
    biases_after: Doubles,
    positions: NDArray[np.int64],
    restricted: bool,
    sharing: int,
    bounds: NDArray[np.int64],
    indices: Rows,
    rows: Rows,
    scores: Floats,
    k: int,
) -> None:
    """Fill rows and scores (b, at least k) for queries (b, d), the first of which is first_query.

    vectors (n, d), biases and names (n,) in descending order of bound; if restricted, only
    `positions` of them count. Meanwhile each row of the result is a heap, the worst in column 0.
    """
    heap_rows, heap_scores = rows[:, :k], scores[:, :k]
    active = np.arange(len(queries))
    limits = np.empty(len(queries), np.float32)
    panel = queries.copy()
    products = np.empty(len(queries) * tile, np.float32)
    picked = np.empty((tile, vectors.shape[1]), np.float32)
    n_active = len(queries)
    n = len(positions) if restricted else len(vectors)
    for start in range(0, n, tile):
        stop = min(start + tile, n)
        first = positions[start] if restricted else start
        alive = 0
        for a in range(n_active):
            query = active[a]
            reach = lengths[query] * norms_after[first]
            slack = rounding * (reach + abs(biases_after[first])) + 1e-30
            # A heap that is not full yet has -inf at its root: it prunes nothing.
            worst = heap_scores[query, 0]
            if reach + biases_after[first] + slack >= worst:
                active[alive] = query
                limits[alive] = worst - slack
                panel[alive] = queries[query]
                alive += 1
        n_active = alive
        if n_active == 0:
            break
        if restricted:
            for v in range(start, stop):
                picked[v - start] = vectors[positions[v]]
            chosen = picked[: stop - start]
            heights, labels = biases[positions[start:stop]], names[positions[start:stop]]
        else:
            chosen, heights, labels = vectors[start:stop], biases[start:stop], names[start:stop]
        proposed = products[: n_active * len(chosen)].reshape(n_active, len(chosen))
        np.dot(panel[:n_active], chosen.T, proposed)
        for a in range(n_active):
            if _reaching(proposed[a], heights, limits[a]):
                query = active[a]
                owner = (first_query + query) // sharing
                low, high = bounds[owner], bounds[owner + 1]
                _offer(
                    proposed[a], limits[a], queries[query], chosen, heights, labels,
                    indices[low:high], heap_rows[query], heap_scores[query],
                )  # fmt: skip
    for q in range(len(queries)):
        sort_heap(heap_rows[q], heap_scores[q])


@numba.njit(nogil=True, cache=True)
def _offer(
    proposed: Floats,
    limit: float,
    query: Floats,
    vectors: Floats,
    biases: Floats,
    names: Rows,
    excluded: Rows,
    heap_rows: Rows,
    heap_scores: Floats,
) -> None:
    """Score again what float32 products propose for one query and keep the best in its heap."""
    for c in range(len(proposed)):
        if proposed[c] + biases[c] < limit:
            continue
        score = np.float32(dot(query, vectors[c]) + biases[c])
        if better(score, names[c], heap_scores[0], heap_rows[0]):
            if contains(excluded, names[c]):
                continue
            heap_rows[0] = names[c]
            heap_scores[0] = score
            sink(heap_rows, heap_scores, len(heap_rows))


@numba.njit(nogil=True, cache=True)
def _reaching(products: Floats, biases: Floats, limit: float) -> int:
    """Count the sums that reach limit; NaN, from products beyond float32, does."""
    hits = np.int32(0)
    for c in range(len(products)):
        # 32-bit lanes beside 32-bit floats: with a Python int LLVM leaves this loop scalar.
        hits += np.int32(0) if products[c] + biases[c] < limit else np.int32(1)
    return int(hits)
