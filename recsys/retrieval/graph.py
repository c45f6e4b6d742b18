"""The graph that an approximate index walks: who links to whom, in one plain array.

Enters: (n, d) vectors with biases. Leaves: (n, LINKS) int32 rows, best first, -1 after the last. A
row links to the rows of largest inner product with it, and to those of largest product that link
to it: without these way-backs, nine of ten items of a catalogue are in nobody's list, because
long vectors are everyone's neighbours. Inner products are taken on the raw vectors, the bias as one
column more; bringing them to unit length first loses most of the answers.

The neighbours are found by pynndescent (Dong, Charikar, Li: Efficient k-nearest neighbor graph
construction for generic similarity measures, WWW 2011), of which nothing else is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
from numpy.typing import NDArray

from recsys.retrieval.exact import ExactIndex

if TYPE_CHECKING:
    from recsys.retrieval.approximate import ApproximateIndex

__all__ = ["LINKS", "grown_graph", "neighbour_graph"]

_OUT = 16
"""Links to a row's own neighbours."""
_BACK = 32
"""Links back to those whose neighbour it is."""
LINKS = _OUT + _BACK
"""Links of a row, at most."""
_SOUGHT = 30
"""Neighbours that pynndescent looks for: it finds the first ones surer when it seeks more."""

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]


def neighbour_graph(
    vectors: Floats, biases: Floats | None = None, *, seed: int = 0, num_threads: int = 0
) -> Rows:
    """Link every row that has a vector.

    Parameters
    ----------
    vectors
        (n, d) float32; a zero row gets no links.
    biases
        (n,) float32, part of the product; None for none.
    num_threads
        0 takes all cores.
    """
    known = np.flatnonzero((vectors != 0).any(axis=1))
    graph = np.full((len(vectors), LINKS), -1, np.int32)
    n_sought = min(_SOUGHT, len(known))
    if n_sought < 2:
        return graph
    held = np.ascontiguousarray(vectors[known], np.float32)
    heights = np.zeros(len(known), np.float32) if biases is None else biases[known]
    found = _neighbours(np.column_stack([held, heights]), n_sought, seed, num_threads)
    links = _linked(found.astype(np.int32), held, heights.astype(np.float32))
    graph[known] = np.where(links >= 0, known[links], -1)
    return graph


def grown_graph(
    index: ExactIndex | ApproximateIndex,
    graph: Rows,
    vectors: Floats,
    biases: Floats | None = None,
) -> Rows:
    """Add rows to a graph without building it again.

    Parameters
    ----------
    index
        Over the first rows; finds the new ones' neighbours among them.
    graph
        (n_before, LINKS) of the first rows.
    vectors, biases
        (n, d) and (n,) of all rows, the new ones last.
    """
    n_before, n = len(graph), len(vectors)
    heights = np.zeros(n, np.float32) if biases is None else biases.astype(np.float32)
    fresh = np.ascontiguousarray(vectors[n_before:])
    own = ExactIndex(fresh, heights[n_before:])
    # As a neighbour a row weighs its product with the bias; an order by that is near enough.
    found = [index.search(fresh, _SOUGHT), own.search(fresh, _SOUGHT)]
    rows = np.hstack([found[0][0], np.where(found[1][0] >= 0, found[1][0] + n_before, -1)])
    best = np.argsort(-np.hstack([scores for _, scores in found]), axis=1, kind="stable")
    near = np.take_along_axis(rows, best, axis=1).astype(np.int32)
    near[~(fresh != 0).any(axis=1)] = -1
    whole = np.full((n, LINKS), -1, np.int32)
    whole[:n_before] = graph
    _link(whole, n_before, near, np.ascontiguousarray(vectors), heights)
    return whole


def _neighbours(extended: Floats, k: int, seed: int, num_threads: int) -> Rows:
    """Return (n, k) rows of largest inner product, nearly; a row may be among its own."""
    n = len(extended)
    if n <= 2_000:  # too few for random projection trees to be worth their compilation
        return ExactIndex(extended, num_threads=num_threads).search(extended, k)[0]
    from pynndescent import NNDescent

    index = NNDescent(
        np.ascontiguousarray(extended, np.float32),
        metric="inner_product",
        n_neighbors=k,
        random_state=seed,
        n_jobs=num_threads or numba.get_num_threads(),
    )
    rows: Rows = index.neighbor_graph[0]
    return rows


def _linked(near: Rows, vectors: Floats, biases: Floats) -> Rows:
    graph = np.full((len(vectors), LINKS), -1, np.int32)
    _link(graph, 0, near, vectors, biases)
    return graph


@numba.njit(cache=True)
def _link(graph: Rows, first: int, near: Rows, vectors: Floats, biases: Floats) -> None:
    """Give rows from `first` on their links, and link back from where those lead."""
    for place in range(len(near)):
        row = first + place
        n_links = 0
        for other in near[place]:
            if other >= 0 and other != row and n_links < _OUT:
                graph[row, n_links] = other
                n_links += 1
    for place in range(len(near)):
        row = first + place
        for slot in range(_OUT):
            other = graph[row, slot]
            if other >= 0:
                _link_back(graph, other, row, vectors, biases)


@numba.njit(cache=True)
def _link_back(graph: Rows, row: int, other: int, vectors: Floats, biases: Floats) -> None:
    """Put `other` among the links back of `row`, in place of the worst where all are taken."""
    worst, worst_score = -1, _product(row, other, vectors, biases)
    for slot in range(LINKS):
        linked = graph[row, slot]
        if linked == other:
            return
        if slot < _OUT:
            continue
        if linked < 0:
            graph[row, slot] = other
            return
        score = _product(row, linked, vectors, biases)
        if score < worst_score:
            worst, worst_score = slot, score
    if worst >= 0:
        graph[row, worst] = other


@numba.njit(cache=True, fastmath=True)
def _product(row: int, other: int, vectors: Floats, biases: Floats) -> np.float32:
    total = biases[row] * biases[other]
    for d in range(vectors.shape[1]):
        total += vectors[row, d] * vectors[other, d]
    return np.float32(total)
