"""Vectors to neighbours: arrays only, no model.

Two indices with one contract: `ExactIndex`, and for large catalogues `ApproximateIndex`, which
walks a graph. A training makes one (`catalogue_index`) and stores its arrays; who serves maps them
into memory, so that several processes have them once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.retrieval.approximate import ApproximateIndex
from recsys.retrieval.exact import ExactIndex, Selection
from recsys.retrieval.graph import grown_graph, neighbour_graph

__all__ = [
    "APPROXIMATE_FROM",
    "ApproximateIndex",
    "ExactIndex",
    "Index",
    "Selection",
    "catalogue_index",
    "grown_graph",
    "neighbour_graph",
]

APPROXIMATE_FROM = 50_000
"""Rows from which a walk beats the exact search clearly: docs/results/retrieval.md."""

_SAMPLE = 200
_K = 100
_LEAST_RECALL = 0.9

Index = ExactIndex | ApproximateIndex


def catalogue_index(
    vectors: NDArray[np.float32], biases: NDArray[np.float32] | None = None, *, seed: int = 0
) -> tuple[ApproximateIndex | None, float]:
    """Return the index of a catalogue that is large enough for one, and its recall.

    None where the exact search serves better: below `APPROXIMATE_FROM` rows, and where a walk
    finds too few of the exact answers to queries made of the rows themselves (vectors of which
    very many are equal). The recall counts scores, so that equal rows may stand for each other.
    """
    known = np.flatnonzero((vectors != 0).any(axis=1))
    if len(known) < APPROXIMATE_FROM:
        return None, 1.0
    graph = neighbour_graph(vectors, biases, seed=seed)
    index = ApproximateIndex(vectors, biases, graph=graph)
    chosen = np.random.default_rng(seed).choice(known, min(_SAMPLE, len(known)), replace=False)
    queries = np.ascontiguousarray(vectors[chosen])
    worst = index.exact.search(queries, _K)[1][:, -1:]
    recall = float((index.search(queries, _K)[1] >= worst).mean())
    return (index if recall >= _LEAST_RECALL else None), recall
