"""Solve a block of rows of an ALS half-step, on one thread; nothing else.

Enters: rows of sparse evidence, the fixed side's factors, the dense part of the objective.
Leaves: the minimising factor row and bias of each, written into arrays of the caller.

One row of the solved side minimises, over x (f,) and a bias beta,

    sum_obs c (t - x.y_i - beta - b_i)^2 + w0 sum_unobserved (x.y_i + beta + b_i)^2
        + lambda |x - m|^2   (+ lambda beta^2 where biases are regularised)

Of the unobserved only the Gram matrix of the fixed side counts (Hu, Koren, Volinsky 2008). `Dense`
holds it in coordinates where it is diagonal: the caller has rotated the factors into its
eigenbasis, and with a bias the rows are centred (y_i - centre), which uncouples the bias. A row's
system is then a diagonal plus one outer product per observation, whatever its lambda:

    (D + sum_obs s y_i y_i') x = sum_obs (c t - s b_i) y_i + rhs + lambda m,      s = c - w0

Scaled by D^-1/2 the matrix is I plus something positive, so that float32 suffices: no pivot can
fall below one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Dense", "Rule", "Sparse", "observed_loss", "padded", "solve_cholesky"]

F = TypeVar("F", bound=Callable[..., Any])

Floats = NDArray[np.float32]

_LANES = 16
"""Rows are padded to whole AVX-512 vectors of float32: unpadded, f = 40 is slower than f = 64."""


def _compiled(function: F) -> F:
    # No nnan and ninf: a NaN must stay visible.
    fast = {"reassoc", "contract", "nsz", "arcp"}
    return cast(
        "F", numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fast)(function)
    )


class Sparse(NamedTuple):
    """Rows of evidence: row u holds ``values[indptr[u]:indptr[u + 1]]``."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Floats


class Rule(NamedTuple):
    """How a value r becomes confidence c = base + alpha |r| and target t."""

    base: float
    alpha: float
    unobserved: float
    """w0, the confidence of an unobserved pair with target 0."""
    mean: float
    explicit: bool
    """t = r - mean; else t = 1 where r > 0, else 0."""
    biased: bool


class Dense(NamedTuple):
    """The part of the normal equations that all rows of a half-step share."""

    diagonal: Floats
    """(width,) w0 times the eigenvalues of the fixed side's Gram matrix."""
    bias_diagonal: float
    centre: Floats
    """(width,) subtracted from each fixed row."""
    rhs: Floats
    """(width,) minus w0 times the sum of (y_i - centre) b_i."""
    bias_rhs: float


def padded(n_factors: int) -> int:
    """Return the width of a stored row of `n_factors` factors."""
    return -(-n_factors // _LANES) * _LANES


@_compiled
def _weigh(value: float, rule: Rule) -> tuple[Any, Any]:
    confidence = np.float32(rule.base + rule.alpha * abs(value))
    if rule.explicit:
        return confidence, np.float32(value - rule.mean)
    return confidence, np.float32(1.0) if value > 0 else np.float32(0.0)


@_compiled
def solve_cholesky(
    rows: Sparse,
    first: int,
    last: int,
    rule: Rule,
    dense: Dense,
    fixed: Floats,
    fixed_biases: Floats,
    ridges: Floats,
    bias_ridges: Floats,
    prior: Floats,
    factors: Floats,
    biases: Floats,
) -> None:
    """Write the exact minimisers of rows `first` to `last` into `factors` and `biases`.

    Parameters
    ----------
    fixed, fixed_biases : (n_fixed, width), (n_fixed,)
    ridges, bias_ridges : (n_rows,)
        lambda of each row and of its bias.
    prior : (n_rows, width) or (1, width)
        Where a row's factors are drawn to; a single row of zeros serves for none.
    factors, biases : (n_rows, width), (n_rows,)
        Overwritten. A row without evidence gets its prior and no bias.
    """
    width = fixed.shape[1]
    normal = np.empty((width, width), np.float32)
    scale = np.empty(width, np.float32)
    y = np.empty(width, np.float32)
    x = np.empty(width, np.float32)
    a = np.empty(width, np.float32)
    for u in range(first, last):
        own_prior = prior[u if prior.shape[0] > 1 else 0]
        if rows.indptr[u] == rows.indptr[u + 1]:
            factors[u] = own_prior
            biases[u] = 0.0
            continue
        for k in range(width):
            scale[k] = 1.0 / np.sqrt(dense.diagonal[k] + ridges[u])
            x[k] = (dense.rhs[k] + ridges[u] * own_prior[k]) * scale[k]
            a[k] = 0.0
            normal[k] = 0.0
            normal[k, k] = 1.0
        a_bias = np.float32(dense.bias_diagonal + bias_ridges[u])
        x_bias = np.float32(dense.bias_rhs)
        floor = np.float32(1.0)
        for j in range(rows.indptr[u], rows.indptr[u + 1]):
            i = rows.indices[j]
            c, t = _weigh(rows.values[j], rule)
            s = np.float32(c - rule.unobserved)
            d = np.float32(c * t - s * (fixed_biases[i] + 0.0))
            if s < 0:
                floor = np.float32(1e-6)
            for k in range(width):
                y[k] = (fixed[i, k] - dense.centre[k]) * scale[k]
                x[k] += d * y[k]
                a[k] += s * y[k]
            for k in range(width):
                weighted = s * y[k]
                row = normal[k]
                for h in range(k + 1):
                    row[h] += weighted * y[h]
            a_bias += s
            x_bias += d
        _factorise(normal, floor)
        _forward(normal, x)
        if rule.biased:
            _forward(normal, a)
            inner, square = np.float32(0.0), np.float32(0.0)
            for k in range(width):
                inner += a[k] * x[k]
                square += a[k] * a[k]
            beta = (x_bias - inner) / max(a_bias - square, np.float32(1e-6) * a_bias)
            for k in range(width):
                x[k] -= beta * a[k]
        else:
            beta = np.float32(0.0)
        _backward(normal, x)
        for k in range(width):
            x[k] *= scale[k]
            factors[u, k] = x[k]
            beta -= x[k] * dense.centre[k]
        biases[u] = beta if rule.biased else 0.0


@_compiled
def _factorise(normal: Floats, floor: Any) -> None:
    """Overwrite the lower triangle by its Cholesky factor, row by row."""
    n = normal.shape[0]
    for k in range(n):
        for h in range(k):
            dot = np.float32(0.0)
            for j in range(h):
                dot += normal[k, j] * normal[h, j]
            normal[k, h] = (normal[k, h] - dot) / normal[h, h]
        pivot = normal[k, k]
        for j in range(k):
            pivot -= normal[k, j] * normal[k, j]
        normal[k, k] = np.sqrt(max(pivot, floor))


@_compiled
def _forward(lower: Floats, x: Floats) -> None:
    for k in range(x.size):
        value = x[k]
        for j in range(k):
            value -= lower[k, j] * x[j]
        x[k] = value / lower[k, k]


@_compiled
def _backward(lower: Floats, x: Floats) -> None:
    for k in range(x.size - 1, -1, -1):
        x[k] /= lower[k, k]
        for j in range(k):
            x[j] -= lower[k, j] * x[k]


@_compiled
def observed_loss(
    rows: Sparse,
    first: int,
    last: int,
    rule: Rule,
    fixed: Floats,
    fixed_biases: Floats,
    factors: Floats,
    biases: Floats,
) -> float:
    """Return the sum of c (t - prediction)^2 - w0 prediction^2 over observed pairs, in float64."""
    total = 0.0
    for u in range(first, last):
        for j in range(rows.indptr[u], rows.indptr[u + 1]):
            i = rows.indices[j]
            c, t = _weigh(rows.values[j], rule)
            prediction = np.float64(biases[u]) + np.float64(fixed_biases[i])
            for k in range(fixed.shape[1]):
                prediction += np.float64(factors[u, k]) * np.float64(fixed[i, k])
            total += c * (t - prediction) ** 2 - rule.unobserved * prediction**2
    return total
