"""What a listener likes, as points in a space: one point a taste.

Enters: what listeners played and the unit vectors of items. Leaves: unit vectors, the foremost
taste first. Somebody who loves choral music and techno likes nothing that lies halfway; so plays
are parted into a few groups by spherical k-means (Dhillon and Modha, Machine Learning 2001), which
starts at the most played item and then, each time, at what lies farthest from all chosen so far.
Several centres per listener: PinnerSage, Pal et al., KDD 2020.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["dot", "profiles", "tastes"]

Floats = NDArray[np.float32]

_SWEEPS = 3
_PLAYS_READ = 150
"""Plays of a listener that are parted, those with most evidence first."""
_PLAYS_PER_TASTE = 4
"""A listener with fewer plays than this a taste has fewer tastes."""


def tastes(history: csr_array, vectors: Floats, n_tastes: int) -> Floats:
    """Return (m, n_tastes, d) float32 unit vectors, the taste with most evidence first.

    Zero rows follow where a listener has fewer tastes, as with few plays.

    Parameters
    ----------
    history
        (m, n_items) evidence above 0.
    vectors
        (n_items, d) float32 unit rows; zero rows, of which nothing is known, count for nothing.
    """
    m = int(history.shape[0])
    found: Floats = np.zeros((m, n_tastes, vectors.shape[1]), np.float32)
    data = np.asarray(history.data, np.float32)
    _part(history.indptr, history.indices, data, vectors, found)
    return found


def profiles(history: csr_array, vectors: Floats) -> Floats:
    """Return (m, d) unit vectors: the mean of what each listener played, weighted by `history`.

    A zero row where nothing that was played has a vector. Reads only the vectors of played items.
    """
    found: Floats = np.zeros((history.shape[0], vectors.shape[1]), np.float32)
    data = np.asarray(history.data, np.float32)
    _average(history.indptr, history.indices, data, vectors, found)
    return found


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def dot(a: Floats, b: Floats) -> np.float32:
    """Return the inner product of two vectors (d,)."""
    total = np.float32(0)
    for d in range(len(a)):
        total += a[d] * b[d]
    return total


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _average(
    indptr: NDArray[np.integer],
    indices: NDArray[np.int32],
    weights: Floats,
    vectors: Floats,
    found: Floats,
) -> None:
    """Fill found (m, d)."""
    for u in range(len(found)):
        mean = found[u]
        for n in range(indptr[u], indptr[u + 1]):
            vector, weight = vectors[indices[n]], weights[n]
            for d in range(len(mean)):
                mean[d] += weight * vector[d]
        length = np.sqrt(dot(mean, mean))
        if length > 0:
            for d in range(len(mean)):
                mean[d] /= length


@numba.njit(nogil=True, cache=True)
def _part(
    indptr: NDArray[np.integer],
    indices: NDArray[np.int32],
    weights: Floats,
    vectors: Floats,
    found: Floats,
) -> None:
    """Fill found (m, n_tastes, d)."""
    for u in range(len(found)):
        span = weights[indptr[u] : indptr[u + 1]]
        order = np.argsort(-span, kind="mergesort")[:_PLAYS_READ]
        items = indices[indptr[u] : indptr[u + 1]][order]
        known = np.array([np.any(vectors[i] != 0) for i in items], np.bool_)
        items, heavy = items[known], span[order][known]
        if len(items):
            n_tastes = max(1, min(found.shape[1], len(items) // _PLAYS_PER_TASTE))
            _k_means(items, heavy, vectors, found[u, :n_tastes])


@numba.njit(nogil=True, cache=True)
def _k_means(items: NDArray[np.int32], weights: Floats, vectors: Floats, centres: Floats) -> None:
    """Fill centres (k, d), the heaviest first; items in descending order of weight."""
    k = len(centres)
    nearest = np.full(len(items), -np.float32(2))
    group = np.zeros(len(items), np.int64)
    centres[0] = vectors[items[0]]
    for c in range(1, k):
        for n in range(len(items)):
            nearest[n] = max(nearest[n], dot(vectors[items[n]], centres[c - 1]))
        centres[c] = vectors[items[np.argmin(nearest)]]
    mass = np.zeros(k, np.float32)
    for _ in range(_SWEEPS):
        for n in range(len(items)):
            best = np.float32(-2)
            for c in range(k):
                near = dot(vectors[items[n]], centres[c])
                if near > best:
                    best, group[n] = near, c
        centres[:] = 0
        mass[:] = 0
        for n in range(len(items)):
            centres[group[n]] += weights[n] * vectors[items[n]]
            mass[group[n]] += weights[n]
        for c in range(k):
            length = np.sqrt(dot(centres[c], centres[c]))
            if length > 0:
                centres[c] /= length
    centres[:] = centres[np.argsort(-mass, kind="mergesort")]
