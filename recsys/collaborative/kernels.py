"""The rows of an ALS half-step: what they share, what their solvers do in the innermost loops.

Enters: rows of sparse evidence, the fixed side's factors, the dense part of the objective.
Leaves: gathered rows, matrix products, the loss; the solvers are in `recsys.collaborative.solvers`.

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
from llvmlite import ir  # type: ignore[import-untyped]
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = [
    "LANES",
    "Dense",
    "HalfStep",
    "Rule",
    "Sparse",
    "accumulate",
    "bin_offsets",
    "bin_sums",
    "collect",
    "compiled",
    "observed_loss",
    "padded",
]

F = TypeVar("F", bound=Callable[..., Any])

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

LANES = 16
"""Rows are padded to whole cache lines of float32: unpadded, f = 40 is slower than f = 64."""
_AHEAD = 16
"""How many rows ahead the gather asks for: without, most of its time is waiting for memory."""


def compiled(function: F) -> F:
    """Compile for one thread without the GIL, once: the result is cached on disk."""
    # No nnan and ninf: a NaN must stay visible.
    fast = {"reassoc", "contract", "nsz", "arcp"}
    return cast(
        "F", numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fast)(function)
    )


def _nothing(dtype: type) -> NDArray[Any]:
    empty: NDArray[Any] = np.empty(0, dtype)
    empty.flags.writeable = False
    return empty


class Sparse(NamedTuple):
    """Rows of evidence: row u holds ``values[indptr[u]:indptr[u + 1]]``."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Floats
    bins: NDArray[np.int8] = _nothing(np.int8)
    """Time bin of each value, -1 for unknown; empty where there are no bins."""
    offsets: Floats = _nothing(np.float32)
    """What each target is lowered by; empty for nothing."""


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


class HalfStep(NamedTuple):
    """What all rows that are solved together share; the fixed side has rows (n_fixed, width)."""

    rule: Rule
    dense: Dense
    fixed: Floats
    fixed_biases: Floats
    ridges: Floats
    """(n_rows,) lambda of each row."""
    bias_ridges: Floats
    """(n_rows,) lambda of each row's bias."""
    prior: Floats
    """(n_rows, width) where each row's factors are drawn to; one row of zeros serves for none."""
    relaxation: float
    """1 ends at the minimiser; a multiple of the way between 0 and 2 lowers the objective too."""


def padded(n_factors: int) -> int:
    """Return the width of a stored row of `n_factors` factors."""
    return -(-n_factors // LANES) * LANES


@compiled
def _weigh(value: float, rule: Rule) -> tuple[Any, Any]:
    confidence = np.float32(rule.base + rule.alpha * abs(value))
    if rule.explicit:
        return confidence, np.float32(value - rule.mean)
    return confidence, np.float32(1.0) if value > 0 else np.float32(0.0)


@intrinsic
def _prefetch(typing: Any, array: Any, row: Any, column: Any) -> Any:
    """Ask the cache for the line at ``array[row, column]``; nothing waits for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        width = builder.extract_value(view.shape, 1)
        place = builder.gep(
            view.data, [builder.add(builder.mul(arguments[1], width), arguments[2])]
        )
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        call = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        read, keep, data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(call, [builder.bitcast(place, byte), read, keep, data])
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.intp, numba.types.intp), generate


@compiled
def collect(
    rows: Sparse,
    start: int,
    n: int,
    half: HalfStep,
    scale: Floats,
    shift: Floats,
    y: Floats,
    weights: Floats,
    targets: Floats,
) -> None:
    """Gather `n` fixed rows, centred and scaled, with -s and c t - s b_i of their evidence."""
    rule, fixed, fixed_biases = half.rule, half.fixed, half.fixed_biases
    final = rows.indices.size - 1
    for j in range(n):
        coming = rows.indices[min(start + j + _AHEAD, final)]
        for k in range(0, scale.size, LANES):
            _prefetch(fixed, coming, k)  # type: ignore[call-arg]
        i = rows.indices[start + j]
        c, t = _weigh(rows.values[start + j], rule)
        if rows.offsets.size:
            t -= rows.offsets[start + j]
        s = np.float32(c - np.float32(rule.unobserved))
        weights[j] = -s
        targets[j] = c * t - s * fixed_biases[i]
        row = y[j]
        for k in range(scale.size):
            row[k] = fixed[i, k] * scale[k] - shift[k]


@compiled
def accumulate(
    y: Floats,
    weights: Floats,
    targets: Floats,
    share: Any,
    n: int,
    p: Floats,
    p_bias: Any,
    one: Any,
    out: Floats,
) -> Any:
    """Add Y' (share targets + weights (Y p)) to `out`; return what belongs to the bias.

    The bias is one more column of `y`, constantly `one`.
    """
    width = p.size
    bias = np.float32(0)
    j = 0
    while j + 4 <= n:  # four at a time: one pass over p and out serves four rows
        y0, y1, y2, y3 = y[j], y[j + 1], y[j + 2], y[j + 3]
        t0 = t1 = t2 = t3 = np.float32(0)
        for k in range(width):
            t0 += y0[k] * p[k]
            t1 += y1[k] * p[k]
            t2 += y2[k] * p[k]
            t3 += y3[k] * p[k]
        t0 = share * targets[j] + weights[j] * (t0 + one * p_bias)
        t1 = share * targets[j + 1] + weights[j + 1] * (t1 + one * p_bias)
        t2 = share * targets[j + 2] + weights[j + 2] * (t2 + one * p_bias)
        t3 = share * targets[j + 3] + weights[j + 3] * (t3 + one * p_bias)
        for k in range(width):
            out[k] += t0 * y0[k] + t1 * y1[k] + t2 * y2[k] + t3 * y3[k]
        bias += one * (t0 + t1 + t2 + t3)
        j += 4
    while j < n:
        y0 = y[j]
        t0 = np.float32(0)
        for k in range(width):
            t0 += y0[k] * p[k]
        t0 = share * targets[j] + weights[j] * (t0 + one * p_bias)
        for k in range(width):
            out[k] += t0 * y0[k]
        bias += one * t0
        j += 1
    return bias


@compiled
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
            if rows.offsets.size:
                t -= rows.offsets[j]
            prediction = np.float64(biases[u]) + np.float64(fixed_biases[i])
            for k in range(fixed.shape[1]):
                prediction += np.float64(factors[u, k]) * np.float64(fixed[i, k])
            total += c * (t - prediction) ** 2 - rule.unobserved * prediction**2
    return total


@compiled
def bin_sums(
    rows: Sparse,
    first: int,
    last: int,
    rule: Rule,
    fixed: Floats,
    fixed_biases: Floats,
    factors: Floats,
    biases: Floats,
    errors: Doubles,
    weights: Doubles,
) -> None:
    """Add c (t - prediction) and c to the bin of each entry, (n_rows, n_bins)."""
    for u in range(first, last):
        for j in range(rows.indptr[u], rows.indptr[u + 1]):
            if rows.bins[j] < 0:
                continue
            i = rows.indices[j]
            c, t = _weigh(rows.values[j], rule)
            prediction = np.float64(biases[u]) + np.float64(fixed_biases[i])
            for k in range(fixed.shape[1]):
                prediction += np.float64(factors[u, k]) * np.float64(fixed[i, k])
            errors[u, rows.bins[j]] += c * (t - prediction)
            weights[u, rows.bins[j]] += c


@compiled
def bin_offsets(
    rows: Sparse, first: int, last: int, table: Floats, of_rows: bool, offsets: Floats
) -> None:
    """Fill in each entry's number in `table` (n, n_bins), by its row or by its column."""
    for u in range(first, last):
        for j in range(rows.indptr[u], rows.indptr[u + 1]):
            place = u if of_rows else rows.indices[j]
            offsets[j] = table[place, rows.bins[j]] if rows.bins[j] >= 0 else np.float32(0)
