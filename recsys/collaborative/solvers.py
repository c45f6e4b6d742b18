"""The two row solvers of an ALS half-step: conjugate gradient and Cholesky.

Enters: rows of evidence and a `HalfStep`; see `recsys.collaborative.kernels` for the system that
they solve. Leaves: factors and biases, overwritten. Conjugate gradient as in Takács, Pilászy, Tikk:
Applications of the conjugate gradient method for implicit feedback collaborative filtering, 2011,
but preconditioned by the Gram matrix, which costs nothing in its eigenbasis.

For developers: numba's cache sees edits of this file, not of kernels.py; save both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.collaborative.kernels import (
    LANES,
    Floats,
    HalfStep,
    Sparse,
    accumulate,
    collect,
    compiled,
)

__all__ = ["ROOM", "solve_cg", "solve_cholesky"]

ROOM = 1 << 20
"""Numbers of the fixed side that `solve_cg` keeps gathered over all its steps. A row with more is
gathered anew for each step: to hold all of a popular item would cost memory."""


@compiled
def solve_cg(
    rows: Sparse,
    first: int,
    last: int,
    half: HalfStep,
    factors: Floats,
    biases: Floats,
    steps: int,
) -> None:
    """Move rows `first` to `last` towards their minimisers by `steps` conjugate gradient steps.

    Starts at the given `factors` and `biases`; arguments otherwise as in `solve_cholesky`. The
    diagonal of `dense` is the preconditioner: what is left to the steps is the row's own evidence.
    """
    # One function on purpose: to hand a row's arrays to another for its steps was measured to take
    # a tenth more time, and half more where rows are short.
    rule, dense, fixed, _, ridges, bias_ridges, prior, relaxation = half
    width = fixed.shape[1]
    room = max(LANES, ROOM // width)  # memory that no row needs is never touched
    y = np.empty((room, width), np.float32)
    weights = np.empty(room, np.float32)
    targets = np.empty(room, np.float32)
    scale = np.empty(width, np.float32)
    inverse = np.empty(width, np.float32)
    shift = np.empty(width, np.float32)
    rhs = np.empty(width, np.float32)
    x = np.empty(width, np.float32)
    residual = np.empty(width, np.float32)
    p = np.empty(width, np.float32)
    change = np.empty(width, np.float32)
    ridge = np.float32(-1.0)
    goes = np.float32(relaxation)
    for u in range(first, last):
        own_prior = prior[u if prior.shape[0] > 1 else 0]
        row = factors[u]
        begin, end = rows.indptr[u], rows.indptr[u + 1]
        if begin == end:
            row[:] = own_prior
            biases[u] = 0.0
            continue
        if ridge != ridges[u]:
            ridge = ridges[u]
            for k in range(width):
                inverse[k] = np.sqrt(dense.diagonal[k] + ridge)
                scale[k] = 1 / inverse[k]
                shift[k] = dense.centre[k] * scale[k]
                rhs[k] = dense.rhs[k] * scale[k]
        own = np.float32(dense.bias_diagonal + bias_ridges[u])
        one = np.float32(1.0 / np.sqrt(max(own, np.float32(1.0)))) if rule.biased else np.float32(0)
        own *= one * one

        # Short loops over few arrays: only such ones become vector instructions.
        for k in range(width):
            x[k] = row[k] * inverse[k]
        for k in range(width):
            residual[k] = rhs[k] - x[k]
        for k in range(width):
            residual[k] += ridge * own_prior[k] * scale[k]
        x_bias = residual_bias = np.float32(0)
        if rule.biased:
            x_bias = (biases[u] + _dot(x, shift)) / one
            residual_bias = np.float32(dense.bias_rhs) * one - own * x_bias
        for start in range(begin, end, room):
            n = min(room, end - start)
            collect(rows, start, n, half, scale, shift, y, weights, targets)
            residual_bias += accumulate(
                y, weights, targets, np.float32(1), n, x, x_bias, one, residual
            )
        p[:] = residual
        p_bias = residual_bias
        square = _dot(residual, residual) + residual_bias * residual_bias
        for _ in range(steps):
            if square < np.float32(1e-12):
                break
            for k in range(width):
                change[k] = -p[k]
            change_bias = -own * p_bias
            for start in range(begin, end, room):
                n = min(room, end - start)
                if end - begin > room:
                    collect(rows, start, n, half, scale, shift, y, weights, targets)
                change_bias += accumulate(
                    y, weights, targets, np.float32(0), n, p, p_bias, one, change
                )
            length = -square / (_dot(p, change) + p_bias * change_bias)
            _add(x, length, p)
            x_bias += length * p_bias
            _add(residual, length, change)
            residual_bias += length * change_bias
            before = square
            square = _dot(residual, residual) + residual_bias * residual_bias
            for k in range(width):
                p[k] = residual[k] + (square / before) * p[k]
            p_bias = residual_bias + (square / before) * p_bias

        if rule.biased:
            biases[u] += goes * (x_bias * one - _dot(x, shift) - biases[u])
        for k in range(width):
            row[k] += goes * (x[k] * scale[k] - row[k])


@compiled
def solve_cholesky(
    rows: Sparse,
    first: int,
    last: int,
    half: HalfStep,
    factors: Floats,
    biases: Floats,
) -> None:
    """Move rows `first` to `last` to their exact minimisers (or beyond: see `HalfStep`).

    `factors` (n_rows, width) and `biases` (n_rows,) are overwritten. A row without evidence gets
    its prior and no bias.
    """
    rule, dense, fixed, _, ridges, bias_ridges, prior, relaxation = half
    width = fixed.shape[1]
    room = 256
    y = np.empty((room, width), np.float32)
    weights = np.empty(room, np.float32)
    targets = np.empty(room, np.float32)
    normal = np.empty((width, width), np.float32)
    scale = np.empty(width, np.float32)
    shift = np.empty(width, np.float32)
    x = np.empty(width, np.float32)
    coupling = np.empty(width, np.float32)
    nothing = np.zeros(width, np.float32)
    none, one, goes = np.float32(0), np.float32(1), np.float32(relaxation)
    for u in range(first, last):
        own_prior = prior[u if prior.shape[0] > 1 else 0]
        row = factors[u]
        begin, end = rows.indptr[u], rows.indptr[u + 1]
        if begin == end:
            row[:] = own_prior
            biases[u] = 0.0
            continue
        for k in range(width):
            scale[k] = 1 / np.sqrt(dense.diagonal[k] + ridges[u])
            shift[k] = dense.centre[k] * scale[k]
            x[k] = (dense.rhs[k] + ridges[u] * own_prior[k]) * scale[k]
        coupling[:] = 0
        normal[:] = 0
        for k in range(width):
            normal[k, k] = 1
        bias_normal = np.float32(dense.bias_diagonal + bias_ridges[u])
        bias_rhs = np.float32(dense.bias_rhs)
        floor = np.float32(1)
        for start in range(begin, end, room):
            n = min(room, end - start)
            collect(rows, start, n, half, scale, shift, y, weights, targets)
            if weights[:n].max() > 0:  # below what is unobserved: the bound of one is lost
                floor = np.float32(1e-6)
            _add_outer(y, weights, n, normal)
            bias_rhs += accumulate(y, weights, targets, one, n, nothing, none, one, x)
            if rule.biased:
                bias_normal += accumulate(
                    y, weights, weights, -one, n, nothing, none, one, coupling
                )
        _factorise(normal, floor)
        _forward(normal, x)
        beta = none
        if rule.biased:  # eliminate the factors, then solve for the bias
            _forward(normal, coupling)
            rest = bias_normal - _dot(coupling, coupling)
            beta = (bias_rhs - _dot(coupling, x)) / max(rest, np.float32(1e-6) * bias_normal)
            _add(x, -beta, coupling)
        _backward(normal, x)
        if rule.biased:
            biases[u] += goes * (beta - _dot(x, shift) - biases[u])
        for k in range(width):
            row[k] += goes * (x[k] * scale[k] - row[k])


@compiled
def _add_outer(y: Floats, weights: Floats, n: int, normal: Floats) -> None:
    """Take sum_j weights_j y_j y_j' from the lower triangle of `normal`."""
    j = 0
    while j + 4 <= n:
        y0, y1, y2, y3 = y[j], y[j + 1], y[j + 2], y[j + 3]
        for k in range(normal.shape[0]):
            row = normal[k]
            t0, t1 = weights[j] * y0[k], weights[j + 1] * y1[k]
            t2, t3 = weights[j + 2] * y2[k], weights[j + 3] * y3[k]
            # Whole vectors: what lies right of the diagonal is not read.
            for h in range((k // LANES + 1) * LANES):
                row[h] -= t0 * y0[h] + t1 * y1[h] + t2 * y2[h] + t3 * y3[h]
        j += 4
    while j < n:
        y0 = y[j]
        for k in range(normal.shape[0]):
            _add(normal[k, : k + 1], -weights[j] * y0[k], y0[: k + 1])
        j += 1


@compiled
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


@compiled
def _forward(lower: Floats, x: Floats) -> None:
    for k in range(x.size):
        value = x[k]
        for j in range(k):
            value -= lower[k, j] * x[j]
        x[k] = value / lower[k, k]


@compiled
def _backward(lower: Floats, x: Floats) -> None:
    for k in range(x.size - 1, -1, -1):
        x[k] /= lower[k, k]
        for j in range(k):
            x[j] -= lower[k, j] * x[k]


@compiled
def _dot(a: Floats, b: Floats) -> Any:
    total = np.float32(0)
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@compiled
def _add(a: Floats, factor: Any, b: Floats) -> None:
    for k in range(a.size):
        a[k] += factor * b[k]
