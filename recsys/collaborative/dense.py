"""Small dense systems on one thread: what the reasons of a list are solved from.

Enters: a listener's rows and weights, targets. Leaves: a Gram matrix, solutions. All of it takes
less time than a BLAS with several threads needs to wake them: a list then waited for milliseconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.collaborative.kernels import Doubles, compiled

__all__ = ["solve", "weighted_gram"]


@compiled
def weighted_gram(y: Doubles, weights: Doubles) -> Doubles:
    """Return (f, f) ``y' diag(weights) y`` for y (n, f)."""
    n, f = y.shape
    gram = np.zeros((f, f))
    for i in range(n):
        for row in range(f):
            weighted = weights[i] * y[i, row]
            for column in range(row + 1):
                gram[row, column] += weighted * y[i, column]
    for row in range(f):
        for column in range(row):
            gram[column, row] = gram[row, column]
    return gram


def solve(normal: Doubles, targets: NDArray[np.floating]) -> Doubles:
    """Return (m, f) `targets` (m, f) times the inverse of a symmetric matrix (f, f).

    Raises
    ------
    numpy.linalg.LinAlgError
        For a singular matrix.
    """
    x = np.array(targets.T, np.float64, order="C")
    if not _solve_positive(normal.copy(), x):  # as without a ridge: twice the work
        x = np.linalg.solve(normal, targets.T)
    return np.asarray(x.T)


@compiled
def _solve_positive(normal: Doubles, x: Doubles) -> bool:
    """Overwrite x (f, m) by its solution; False where `normal` is not positive definite.

    Of `normal` the lower triangle is overwritten by its Cholesky factor.
    """
    f = len(normal)
    for row in range(f):
        for column in range(row + 1):
            left = normal[row, column]
            for j in range(column):
                left -= normal[row, j] * normal[column, j]
            if column < row:
                normal[row, column] = left / normal[column, column]
            elif left > 0:
                normal[row, row] = np.sqrt(left)
            else:
                return False
    for row in range(f):  # all targets beside each other, so that a step is one vector's
        for j in range(row):
            for target in range(x.shape[1]):
                x[row, target] -= normal[row, j] * x[j, target]
        for target in range(x.shape[1]):
            x[row, target] /= normal[row, row]
    for row in range(f - 1, -1, -1):
        for target in range(x.shape[1]):
            x[row, target] /= normal[row, row]
        for j in range(row):
            for target in range(x.shape[1]):
                x[j, target] -= normal[row, j] * x[row, target]
    return True
