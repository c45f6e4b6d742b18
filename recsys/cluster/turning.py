"""Interactions that the workers hold -> evidence in both orientations, as the training takes it.

Enters: per worker the events and interactions of its listeners. Leaves: `routes.Sharded`. Each
worker turns its rows round and sends every item's column to the item's owner. With time bins every
entry carries its bin; their edges are quantiles of all times, found by bisection: the workers only
count.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys import progress
from recsys.backend import Backend, Blocks, Parts
from recsys.collaborative.checks import checked_evidence, checked_features
from recsys.collaborative.drift import bins_of
from recsys.collaborative.kernels import Sparse
from recsys.collaborative.routes import Sharded
from recsys.collaborative.shards import balanced
from recsys.config import CollaborativeConfig
from recsys.data.arrays import frozen
from recsys.data.catalogue import NO_TIME, Catalogue
from recsys.data.events import Events
from recsys.data.interactions import Interactions, latest_times

__all__ = ["by_user", "turned"]

_GRID = 4096
"""Places between which ranges of items may be cut."""


def by_user(
    events: Parts,
    interactions: Parts,
    known: Parts,
    config: CollaborativeConfig,
    backend: Backend,
) -> tuple[Parts, NDArray[np.int64]]:
    """Return per worker the `Sparse` evidence of its listeners, and the edges of its time bins.

    Parameters
    ----------
    events, interactions
        Per worker those of its listeners.
    known
        Per worker the catalogue.
    """
    explicit, n_bins = config.feedback == "explicit", config.drift_bins
    if n_bins < 2:
        none = np.zeros(0, np.int64)
        at = backend.scatter([none] * backend.n_workers)
        return backend.map(_rows_of, interactions, at, shared=(explicit, none)), none
    at = backend.map(_times, events, interactions, known, shared=(explicit,))
    edges = _edges(backend.map(_timed, at), n_bins, backend)
    if not edges.any():
        progress.note("collaborative: no event has a time, so that popularity stands still")
    return backend.map(_rows_of, interactions, at, shared=(explicit, edges)), edges


def _times(
    events: Events, interactions: Interactions, catalogue: Catalogue, explicit: bool
) -> NDArray[np.int64]:
    about = events.take(events.of_kind("rating")) if explicit else events
    matrix = interactions.ratings if explicit else interactions.evidence
    return latest_times(about, catalogue, matrix)


def _timed(at: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.sort(at[at != NO_TIME])


def _edges(timed: Parts, n_bins: int, backend: Backend) -> NDArray[np.int64]:
    """Return `recsys.collaborative.drift.bin_edges` of all times; the workers only count theirs."""
    ranges = [span for span in backend.gather(backend.map(_span, timed)) if span[0]]
    if not ranges:
        return np.zeros(n_bins - 1, np.int64)
    counts, firsts, lasts = zip(*ranges, strict=True)
    sought = sum(counts) * np.arange(1, n_bins) // n_bins
    low, high = np.full(n_bins - 1, min(firsts)), np.full(n_bins - 1, max(lasts))
    while (low < high).any():
        middle = low + (high - low) // 2
        before = sum(backend.gather(backend.map(_until, timed, shared=(middle,))))
        low, high = np.where(before > sought, (low, middle), (middle + 1, high))
    return low


def _span(timed: NDArray[np.int64]) -> tuple[int, int, int]:
    """Return how many times there are, the first, and the last."""
    return len(timed), int(timed.min(initial=0)), int(timed.max(initial=0))


def _until(timed: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(timed, until, side="right")


def turned(
    by_listener: Parts,
    edges: NDArray[np.int64],
    user_bounds: NDArray[np.int64],
    catalogue: Catalogue,
    features: Callable[[Catalogue], NDArray[np.float32] | None],
    backend: Backend,
) -> Sharded:
    """Make the item orientation by a shuffle, ranges of items balanced by entries.

    Parameters
    ----------
    by_listener, edges
        As `by_user` returns them.
    user_bounds
        (n_workers + 1,) the first row of each worker's listeners, and the number of all.
    features
        Gives what is known of the items.
    """
    n_items = catalogue.n_items
    grid = np.unique(np.linspace(0, n_items, min(n_items, _GRID) + 1).astype(np.int64))
    curve = sum(backend.gather(backend.map(_entries_before, by_listener, shared=(grid,))))
    item_bounds = grid[balanced(np.asarray(curve), backend.n_workers)]
    first = backend.scatter(user_bounds[:-1].tolist())
    columns = backend.exchange(_columns, by_listener, first, shared=(item_bounds,))
    by_item = backend.map(_stacked, columns)
    sums = backend.gather(backend.map(_total, by_listener))
    total, n_entries = np.sum(sums, axis=0)
    known = checked_features(features(catalogue), n_items)
    return Sharded(
        rows={"users": by_listener, "items": by_item},
        bounds={"users": user_bounds, "items": item_bounds},
        features=backend.scatter(known[a:b] for a, b in pairwise(item_bounds)),
        mean=float(total / max(n_entries, 1)),
        n_entries=int(n_entries),
        drift_edges=edges,
    )


def _rows_of(
    interactions: Interactions, at: NDArray[np.int64], explicit: bool, edges: NDArray[np.int64]
) -> Sparse:
    matrix = checked_evidence(interactions.ratings if explicit else interactions.evidence)
    bins = bins_of(at, edges) if len(edges) else np.zeros(0, np.int8)
    return _sparse(matrix.indptr, matrix.indices, matrix.data, bins)


def _entries_before(rows: Sparse, grid: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many entries lie in columns before each place of the grid."""
    counts = np.bincount(np.searchsorted(grid, rows.indices, side="right"), minlength=len(grid) + 1)
    return np.cumsum(counts)[: len(grid)]


def _columns(rows: Sparse, first: int, bounds: NDArray[np.int64]) -> list[Sparse]:
    """Return each range of columns as rows; their columns are rows of all listeners."""
    shape = (len(rows.indptr) - 1, int(bounds[-1]))

    def turn(of_entries: NDArray[Any]) -> sp.csr_array:
        return sp.csr_array((of_entries, rows.indices, rows.indptr), shape=shape).T.tocsr()

    turned = turn(rows.values)
    bins = turn(rows.bins).data if len(rows.bins) else rows.bins
    pieces = []
    for a, b in pairwise(bounds):
        begin, end = turned.indptr[a], turned.indptr[b]
        indices = turned.indices[begin:end] + np.int32(first)
        indptr = turned.indptr[a : b + 1] - begin
        pieces.append(_sparse(indptr, indices, turned.data[begin:end], bins[begin:end]))
    return pieces


def _stacked(turned: Blocks) -> Sparse:
    """Join rows whose columns come in order of the senders."""
    pieces: list[Sparse] = [turned[sender] for sender in range(len(turned))]
    counts = [np.diff(piece.indptr) for piece in pieces]
    indptr = np.append(0, np.cumsum(np.sum(counts, axis=0)))
    indices = np.empty(indptr[-1], np.int32)
    values = np.empty(indptr[-1], np.float32)
    bins = np.empty(indptr[-1] if any(len(piece.bins) for piece in pieces) else 0, np.int8)
    begin = indptr[:-1].copy()
    for piece, count in zip(pieces, counts, strict=True):
        places = np.repeat(begin - piece.indptr[:-1], count) + np.arange(len(piece.indices))
        indices[places], values[places] = piece.indices, piece.values
        if len(bins):
            bins[places] = piece.bins
        begin += count
    return _sparse(indptr, indices, values, bins)


def _total(rows: Sparse) -> tuple[float, int]:
    return float(rows.values.sum(dtype=np.float64)), len(rows.values)


def _sparse(
    indptr: NDArray[Any], indices: NDArray[Any], values: NDArray[Any], bins: NDArray[np.int8]
) -> Sparse:
    return Sparse(
        frozen(indptr.astype(np.int64)),
        frozen(indices.astype(np.int32, copy=False)),
        frozen(values.astype(np.float32, copy=False)),
        frozen(bins),
    )
