"""What callers of `AlternatingLeastSquares` pass, checked once and brought into one shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix, issparse

from recsys.errors import UsageError

__all__ = [
    "Sparse",
    "as_ids",
    "csr",
    "require_known",
    "rows_of",
    "selection",
    "stored",
    "unit",
]

Floats = NDArray[np.float32]
Sparse = csr_array | csr_matrix


def csr(matrix: Sparse) -> csr_array:
    """Return any scipy sparse matrix as a float32 CSR array."""
    if not issparse(matrix):
        raise UsageError(f"user_items: want a scipy CSR matrix, got {type(matrix).__name__}")
    given: Any = matrix
    return csr_array(given.tocsr().astype(np.float32, copy=False))


def rows_of(matrix: Sparse | None, n_rows: int, n_columns: int) -> csr_array:
    """Return the rows that belong to the ids of a call, after checking their shape."""
    if matrix is None:
        raise UsageError("user_items: want the users' rows to filter or recalculate by, got None")
    rows = csr(matrix)
    if rows.shape[0] != n_rows:
        raise UsageError(
            f"user_items: want one row per id ({n_rows}), got {rows.shape[0]}; "
            f"pass user_items[userid]"
        )
    if rows.shape[1] != n_columns:
        raise UsageError(f"user_items: want {n_columns} columns, got {rows.shape[1]}")
    return rows


def as_ids(ids: int | ArrayLike) -> tuple[NDArray[np.int64], bool]:
    """Return ids as an array, and whether it was a single one."""
    return np.atleast_1d(np.asarray(ids, np.int64)), np.ndim(ids) == 0


def require_known(ids: NDArray[np.int64], n: int, name: str) -> None:
    """Refuse ids outside 0 .. n - 1."""
    unknown = ids[(ids < 0) | (ids >= n)]
    if len(unknown):
        raise UsageError(f"{name}: want ids from 0 to {n - 1}, got {unknown[0]}")


def selection(
    only: ArrayLike | None, without: ArrayLike | None, n: int, kind: str
) -> tuple[NDArray[np.bool_] | None, int]:
    """Turn lists of ids to rank or to leave out into a mask, and count what is left."""
    if only is None and without is None:
        return None, n
    if only is not None and without is not None and np.size(without):
        raise UsageError(f"{kind}s and filter_{kind}s: give one of them, not both")
    ids, _ = as_ids(without if only is None else only)  # type: ignore[arg-type]
    if only is not None:
        require_known(ids, n, f"{kind}s")
    allowed = np.full(n, only is None)
    allowed[ids[(ids >= 0) & (ids < n)]] = only is not None
    return allowed, int(allowed.sum())


def stored(array: Floats, rows: NDArray[np.int64], values: Floats) -> Floats:
    """Return a copy with `values` at `rows`, grown with zeros where a row lies beyond."""
    grown = np.zeros((max(len(array), int(rows.max(initial=-1)) + 1), *array.shape[1:]), np.float32)
    grown[: len(array)] = array
    grown[rows] = values
    return grown


def unit(vectors: Floats) -> Floats:
    """Return rows of length one; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)
