"""What may enter a training, checked once at its door.

Enters: evidence and item features, as a caller gives them. Leaves: the same in the form that the
solvers take, or an error that names the first wrong entry.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys.errors import InputError

__all__ = [
    "MAX_FEATURES",
    "checked_evidence",
    "checked_features",
    "checked_times",
]

MAX_FEATURES = 512
"""Columns of item features: the ridge step holds a square matrix of them."""


def checked_times(at: NDArray[np.int64] | None, evidence: sp.csr_array) -> None:
    """Raise InputError where there is not one time for each entry, in the order of the entries."""
    if at is None:
        return
    if len(at) != evidence.nnz or not evidence.has_canonical_format:
        raise InputError(
            f"times: want one for each of {evidence.nnz} entries of sorted rows, got {len(at)}"
        )


def checked_evidence(evidence: sp.csr_array) -> sp.csr_array:
    """Return canonical float32 evidence; InputError for a number that is NaN or infinite."""
    with np.errstate(over="ignore"):
        matrix: sp.csr_array = sp.csr_array(evidence).astype(np.float32, copy=False)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    bad = np.flatnonzero(~np.isfinite(matrix.data))
    if bad.size:
        row = int(np.searchsorted(matrix.indptr, bad[0], side="right")) - 1
        raise InputError(
            f"evidence: row {row}, column {matrix.indices[bad[0]]} is {matrix.data[bad[0]]}; "
            f"want finite float32 numbers ({bad.size} are not); drop or mend those entries"
        )
    return matrix


def checked_features(features: NDArray[Any] | None, n_items: int) -> NDArray[np.float32]:
    """Return (n_items, d) float32; d = 0 where there are no features.

    Raises
    ------
    InputError
        For another shape, more than `MAX_FEATURES` columns, and values that are NaN or infinite.
    """
    if features is None:
        return np.zeros((n_items, 0), np.float32)
    if features.ndim != 2 or len(features) != n_items or features.shape[1] > MAX_FEATURES:
        raise InputError(
            f"item features: want ({n_items}, at most {MAX_FEATURES}), got {features.shape}; "
            f"give one row per item, and project wider ones"
        )
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(features, np.float32)
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = bad[0].tolist()
        raise InputError(
            f"item features: row {row}, column {column} is {rows[row, column]}; "
            f"want finite float32 numbers ({len(bad)} are not)"
        )
    return rows
