"""Who holds which rows, and which rows of the fixed side travel to whom.

Enters: evidence, either one matrix of the caller or rows that the workers hold already. Leaves:
each worker's `Part`, ready to be solved, and what each worker sends before a half-step.

Rows are cut into ranges of about equal numbers of non-zeros. A worker that solves rows needs those
fixed rows that its evidence names. Each sender's block travels whole, once to every node, or as
the rows that each reader needs, whichever moves fewer rows (Johnson's half gridify, MLlib's
out-blocks, where choosing pays). A reader copies what it needs for one *stripe* of its rows at a
time, so that it holds at most about half of the fixed side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys.backend import Backend, Blocks, Parts
from recsys.collaborative.drift import bin_edges, bins_of
from recsys.collaborative.kernels import Sparse
from recsys.collaborative.shards import (
    Latent,
    Part,
    Stripe,
    balanced,
)
from recsys.data.arrays import frozen

__all__ = ["Routes", "Sharded", "Side", "outgoing", "route", "shard"]

Side = Literal["users", "items"]
Floats = NDArray[np.float32]
Bounds = NDArray[np.int64]
Wishes = list[NDArray[np.int32]] | None
"""Rows that each reader wants of one sender; None where all get the whole block."""

_MANY_ROWS = 4_000_000
"""Fixed rows that a reader may copy at once (0.8 GB at 40 factors), ..."""
_FEW_ROWS = 1024
"""... and how many are always allowed, whatever share of the fixed side they are."""


@dataclass(frozen=True)
class Sharded:
    """Evidence in both orientations where the workers hold it, rows in order of the workers."""

    rows: dict[Side, Parts]
    """Per worker the `Sparse` rows of a side; columns are rows of the other side."""
    bounds: dict[Side, Bounds]
    """(n_workers + 1,) the first row of each worker, and the number of rows."""
    features: Parts
    """(n, d) float32 per worker, what is known of its items; d = 0 for nothing."""
    mean: float
    """Mean of all stored values."""
    n_entries: int
    """How many they are."""
    drift_edges: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(n_bins - 1,) milliseconds since 1970 at which a time bin begins, where rows have bins."""


@dataclass(frozen=True)
class Routes:
    """What one side's half-steps need."""

    parts: Parts
    """Per worker the rows to solve."""
    wishes: Parts
    """Per worker what it sends of the side that is fixed."""
    rows_moved: int
    """Fixed rows that one half-step moves."""


def shard(
    evidence: sp.csr_array,
    features: Floats,
    backend: Backend,
    *,
    at: NDArray[np.int64] | None = None,
    n_bins: int = 0,
) -> Sharded:
    """Hand out a matrix (n_users, n_items) and item features (n_items, d) of the caller.

    With the entries' times `at` (nnz,) in milliseconds each entry is put into one of `n_bins`.
    """
    rows: dict[Side, Parts] = {}
    bounds: dict[Side, Bounds] = {}
    matrices: dict[Side, sp.csr_array] = {"users": evidence, "items": evidence.T.tocsr()}
    edges = np.zeros(0, np.int64)
    bins: dict[Side, NDArray[np.int8]] = dict.fromkeys(matrices, np.zeros(0, np.int8))
    if at is not None and n_bins > 1:
        edges = bin_edges(at, n_bins)
        bins["users"] = bins_of(at, edges)
        bins["items"] = _turned(bins["users"], evidence)
    for side, matrix in matrices.items():
        bounds[side] = balanced(matrix.indptr, backend.n_workers)
        rows[side] = backend.scatter(
            _sparse_rows(matrix, bins[side], a, b) for a, b in pairwise(bounds[side])
        )
    cut = backend.scatter(features[a:b] for a, b in pairwise(bounds["items"]))
    mean = float(evidence.data.mean(dtype=np.float64)) if evidence.nnz else 0.0
    return Sharded(rows, bounds, cut, mean, int(evidence.nnz), edges)


def _turned(bins: NDArray[np.int8], evidence: sp.csr_array) -> NDArray[np.int8]:
    """Return what belongs to the entries of `evidence` in the order of its transpose."""
    matrix = sp.csr_array((bins, evidence.indices, evidence.indptr), shape=evidence.shape)
    return np.asarray(matrix.T.tocsr().data)


def route(rows: Parts, bounds: Bounds, backend: Backend) -> Routes:
    """Prepare the half-steps that solve `rows`; `bounds` are those of the fixed side."""
    parts = backend.map(_part, rows, shared=(bounds,))
    needed = np.array(backend.gather(backend.map(_counts, parts)))  # (readers, senders)
    selected, whole = needed.sum(axis=0), backend.n_nodes * np.diff(bounds)
    sends_all: NDArray[np.bool_] = whole <= selected
    received = backend.exchange(_wishes, parts, shared=(sends_all,))
    wishes = backend.map(_granted, received, backend.scatter(sends_all.tolist()))
    parts = backend.map(_renumbered, parts, shared=(sends_all,))
    return Routes(parts, wishes, int(np.minimum(whole, selected).sum()))


def outgoing(latent: Latent, wishes: Wishes) -> list[Latent]:
    """Return what a worker sends of its fixed rows, as `Backend.exchange` wants it."""
    if wishes is None:
        return [latent]
    return [Latent(latent.factors[rows], latent.biases[rows]) for rows in wishes]


def _whole_part(rows: Sparse, n_fixed: int) -> Part:
    """Return rows that read the fixed side as one block, as it lies."""
    everything = frozen(np.arange(n_fixed, dtype=np.int32))
    stripe = Stripe(0, rows.indptr.size - 1, everything)
    return Part(rows, everything, np.array([0, n_fixed]), (stripe,))


def _sparse_rows(matrix: sp.csr_array, bins: NDArray[np.int8], first: int, last: int) -> Sparse:
    """Return rows `first` to `last`, which share the matrix's memory where they can."""
    begin, end = matrix.indptr[first], matrix.indptr[last]
    return Sparse(
        frozen(matrix.indptr[first : last + 1].astype(np.int64) - begin),
        frozen(matrix.indices[begin:end].astype(np.int32, copy=False)),
        frozen(matrix.data[begin:end]),
        frozen(bins[begin:end]),
    )


def _part(rows: Sparse, bounds: Bounds) -> Part:
    """Return the rows in stripes, which read every sender's block as it lies."""
    n_fixed = int(bounds[-1])
    if len(bounds) == 2:
        return _whole_part(rows, n_fixed)
    needed = _distinct(rows.indices, n_fixed)
    place = np.empty(n_fixed, np.int32)
    indices = np.empty_like(rows.indices)
    stripes = []
    limit = max(_FEW_ROWS, min(n_fixed // 2, _MANY_ROWS))
    for first, last, columns in _striped(rows, 0, rows.indptr.size - 1, n_fixed, limit):
        entries = slice(rows.indptr[first], rows.indptr[last])
        place[columns] = np.arange(columns.size, dtype=np.int32)
        indices[entries] = place[rows.indices[entries]]
        places = np.searchsorted(needed, columns).astype(np.int32)
        stripes.append(Stripe(first, last, frozen(places)))
    cuts = np.searchsorted(needed, bounds)
    reads = needed - np.repeat(bounds[:-1], np.diff(cuts)).astype(np.int32)
    return Part(rows._replace(indices=frozen(indices)), frozen(reads), cuts, tuple(stripes))


def _striped(
    rows: Sparse, first: int, last: int, n_fixed: int, limit: int
) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
    """Cut rows until each range reads at most `limit` columns, or is a single row."""
    columns = _distinct(rows.indices[rows.indptr[first] : rows.indptr[last]], n_fixed)
    if columns.size <= limit or last - first < 2:
        if last > first:
            yield first, last, columns
        return
    middle = first + int(balanced(rows.indptr[first : last + 1], 2)[1])
    middle = min(max(middle, first + 1), last - 1)
    yield from _striped(rows, first, middle, n_fixed, limit)
    yield from _striped(rows, middle, last, n_fixed, limit)


def _distinct(indices: NDArray[np.int32], n: int) -> NDArray[np.int32]:
    seen = np.zeros(n, bool)
    seen[indices] = True
    return np.flatnonzero(seen).astype(np.int32)


def _counts(part: Part) -> NDArray[np.int64]:
    """Return (n_senders,) how many rows of each this worker needs."""
    return np.diff(part.cuts)


def _wishes(part: Part, sends_all: NDArray[np.bool_]) -> list[NDArray[np.int32]]:
    """Return for each sender the rows wanted of it; none where it sends all anyway."""
    nothing = np.zeros(0, np.int32)
    wanted = zip(sends_all, pairwise(part.cuts), strict=True)
    return [nothing if everything else part.reads[a:b] for everything, (a, b) in wanted]


def _granted(received: Blocks, sends_all: bool) -> Wishes:
    if sends_all:
        return None
    return [np.array(received[reader]) for reader in range(len(received))]


def _renumbered(part: Part, sends_all: NDArray[np.bool_]) -> Part:
    """Read the selected rows of a sender in the order in which they come."""
    reads = part.reads.copy()
    for everything, (a, b) in zip(sends_all, pairwise(part.cuts), strict=True):
        if not everything:
            reads[a:b] = np.arange(b - a)
    return part._replace(reads=frozen(reads))
