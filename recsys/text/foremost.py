"""Which terms say most: of one, and of two together.

Enters: weights by the columns of a vocabulary, whose entries are ``kind<tab>term``. Leaves: terms
with weights, best first. A term of several types counts once, where it weighs most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numba
import numpy as np
from numpy.typing import NDArray

from recsys.data.identity import Ids

__all__ = ["each_once", "foremost", "most_shared"]


def foremost(
    terms: Ids, found: Iterable[tuple[int, float]], k: int, kinds: Sequence[str]
) -> list[tuple[str, float]]:
    """Return the `k` weightiest of (column, weight) that are of `kinds`, each term once."""
    heaviest_first = sorted(found, key=lambda pair: (-pair[1], pair[0]))
    return list(islice(each_once(terms, heaviest_first, kinds), k))


def each_once(
    terms: Ids, found: Iterable[tuple[int, float]], kinds: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """Yield the terms of (column, weight) that are of `kinds`, each where it comes first."""
    told: set[str] = set()
    for column, weight in found:
        kind, term = terms[column].split("\t", 1)
        if kind in kinds and term not in told:
            told.add(term)
            yield term, weight


@numba.njit(nogil=True, cache=True)
def most_shared(
    indptr: NDArray[np.integer],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    row: int,
    other: int,
    spans: NDArray[np.int64],
    columns: NDArray[np.int32],
    shares: NDArray[np.float32],
) -> int:
    """Fill columns and shares (k,) with the largest products of two rows; return how many.

    The largest first, equal ones by column; only columns of `spans` (n, 2) count.
    """
    n, at, end = 0, indptr[other], indptr[other + 1]
    for here in range(indptr[row], indptr[row + 1]):
        column = indices[here]
        while at < end and indices[at] < column:
            at += 1
        if at == end:
            break
        share = weights[here] * weights[at]
        if indices[at] != column or (n == len(columns) and share <= shares[n - 1]):
            continue
        counts = False
        for span in spans:
            counts |= span[0] <= column < span[1]
        if not counts:
            continue
        n, place = min(n + 1, len(columns)), min(n, len(columns) - 1)
        while place > 0 and shares[place - 1] < share:
            columns[place], shares[place] = columns[place - 1], shares[place - 1]
            place -= 1
        columns[place], shares[place] = column, share
    return n
