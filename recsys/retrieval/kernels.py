"""What both indices are made of: products, the order of scored rows, heaps of them.

Two kinds of heap: `sink` and `sort_heap` break ties by the lower row, so that a result is the same
however it was found; `push` and `replace_first` compare scores alone, which suits a walk.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["better", "contains", "dot", "push", "replace_first", "sink", "sort_heap"]

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def dot(a: Floats, b: Floats) -> float:
    total = 0.0
    for d in range(len(a)):
        total += np.float64(a[d]) * np.float64(b[d])
    return total


@numba.njit(nogil=True, cache=True)
def better(score: np.float32, row: int, other_score: np.float32, other_row: int) -> bool:
    """Tell whether (score, row) ranks above the other; row -1 is an empty place, the worst."""
    if other_row < 0:
        return row >= 0
    if row < 0:
        return False
    return bool(score > other_score or (score == other_score and row < other_row))


@numba.njit(nogil=True, cache=True)
def sink(rows: Rows, scores: Floats, size: int) -> None:
    """Restore the heap (worst at the root) after its root was replaced."""
    place = 0
    while True:
        worst, child = place, 2 * place + 1
        for c in (child, child + 1):
            if c < size and better(scores[worst], rows[worst], scores[c], rows[c]):
                worst = c
        if worst == place:
            return
        rows[place], rows[worst] = rows[worst], rows[place]
        scores[place], scores[worst] = scores[worst], scores[place]
        place = worst


@numba.njit(nogil=True, cache=True)
def sort_heap(rows: Rows, scores: Floats) -> None:
    """Turn a heap into a list, best first: move the worst to the end, again and again."""
    for size in range(len(rows) - 1, 0, -1):
        rows[0], rows[size] = rows[size], rows[0]
        scores[0], scores[size] = scores[size], scores[0]
        sink(rows, scores, size)


@numba.njit(nogil=True, cache=True)
def contains(rows: Rows, row: int) -> bool:
    """Tell whether ascending rows hold row."""
    place = np.searchsorted(rows, row)
    return bool(place < len(rows) and rows[place] == row)


@numba.njit(nogil=True, cache=True)
def push(scores: Floats, rows: Rows, size: int, score: np.float32, row: int) -> None:
    """Add to a heap of `size` entries, the least in front."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if scores[parent] <= score:
            break
        scores[place], rows[place] = scores[parent], rows[parent]
        place = parent
    scores[place], rows[place] = score, row


@numba.njit(nogil=True, cache=True)
def replace_first(scores: Floats, rows: Rows, size: int, score: np.float32, row: int) -> None:
    """Put an entry in place of the first of a heap of `size` entries."""
    place = 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and scores[child + 1] < scores[child]:
            child += 1
        if scores[child] >= score:
            break
        scores[place], rows[place] = scores[child], rows[child]
        place = child
    scores[place], rows[place] = score, row
