"""What one worker does with its rows in a half-step: plain functions on parts of arrays.

Enters: a `Part` of the evidence, a `Latent` of factors, blocks of the fixed side (who sends which
is settled in `recsys.collaborative.routes`). Leaves: a renewed `Latent`, or something small to be
summed. A function that renews a `Latent` overwrites it where it is writeable, that is, where the
worker owns the memory; so a training holds each factor once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from recsys.backend import Blocks
from recsys.collaborative import kernels, solvers
from recsys.collaborative.kernels import Dense, HalfStep, Rule, Sparse
from recsys.config import CollaborativeConfig
from recsys.data.arrays import frozen

__all__ = [
    "CHUNK",
    "Latent",
    "Part",
    "Stripe",
    "balanced",
    "fixed_rows",
    "given_start",
    "gram",
    "in_threads",
    "observed",
    "over_rows",
    "pad",
    "penalty",
    "random_start",
    "ridges_of",
    "rotate",
    "solve_part",
    "unseen",
]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
T = TypeVar("T")

CHUNK = 2048
"""Rows that dense passes take at a time, so that their scratch stays in the cache."""


class Latent(NamedTuple):
    """One worker's rows of one side: its vectors, padded with zero columns, and biases."""

    factors: Floats
    biases: Floats


class Stripe(NamedTuple):
    """Rows that are solved together; column j of their evidence is ``places[j]`` of what is read.

    A worker copies the fixed rows of one stripe at a time, so that it never holds all of them.
    """

    first: int
    last: int
    places: NDArray[np.int32]
    """Ascending places in `Part.reads`."""


class Part(NamedTuple):
    """One worker's rows of evidence, and where the fixed rows that they name are found."""

    rows: Sparse
    reads: NDArray[np.int32]
    """Rows in the blocks that come, those of the first sender first."""
    cuts: NDArray[np.int64]
    """(n_senders + 1,) where in `reads` each sender's begin."""
    stripes: tuple[Stripe, ...]
    """Cover all rows, in order."""


def random_start(
    part: Part, bounds: tuple[int, int], n_factors: int, scale: float, seed: int
) -> Latent:
    first, last = bounds
    latent = pad(
        Latent(np.zeros((last - first, n_factors), np.float32), np.zeros(last - first, np.float32))
    )
    # One step of the generator per number: a row's start does not depend on how rows are cut.
    generator = np.random.PCG64(seed)
    generator.advance(first * n_factors)
    random = np.random.Generator(generator).random
    for a in range(0, last - first, CHUNK):
        rows = latent.factors[a : a + CHUNK, :n_factors]
        rows[:] = (random(rows.shape) - 0.5) * (scale * np.sqrt(12))
    latent.factors[unseen(part)] = 0
    return latent


def given_start(part: Part, given: Latent, bias: bool) -> Latent:
    latent = pad(given)
    empty = unseen(part)
    latent.factors[empty] = 0
    latent.biases[empty | (not bias)] = 0
    return latent


def gram(latent: Latent, n_factors: int, num_threads: int = 1, dtype: str = "float32") -> Doubles:
    """Return the Gram matrix of [x, beta, 1], (f + 2, f + 2); products in `dtype`."""

    def of_rows(first: int, last: int) -> Doubles:
        extended = np.ones((last - first, n_factors + 2), dtype)
        extended[:, :n_factors] = latent.factors[first:last, :n_factors]
        extended[:, n_factors] = latent.biases[first:last]
        return (extended.T @ extended).astype(np.float64)

    total: Doubles = np.zeros((n_factors + 2, n_factors + 2))
    for part in in_threads(of_rows, _chunks(latent), num_threads):
        total += part
    return total


def rotate(latent: Latent, rotation: Floats, num_threads: int = 1) -> Latent:
    """Multiply the factors by `rotation`, (f, f)."""
    factors = np.require(latent.factors, requirements=["C", "W"])

    def turn(first: int, last: int) -> None:
        rows = factors[first:last, : rotation.shape[0]]
        rows[:] = rows @ rotation

    in_threads(turn, _chunks(latent), num_threads)
    return Latent(factors, latent.biases)


def solve_part(
    part: Part,
    latent: Latent,
    prior: Floats,
    blocks: Blocks,
    dense: Dense,
    rule: Rule,
    config: CollaborativeConfig,
    relaxation: float,
) -> Latent:
    """Move the part's rows to their minimisers, `relaxation` times the way.

    `prior` is where they are drawn to: (n_rows, width), or one row of zeros for all.
    """
    factors = np.require(latent.factors, requirements=["C", "W"])
    biases = np.require(latent.biases, requirements=["C", "W"])
    ridges, bias_ridges = ridges_of(part.rows, rule, config)
    for stripe in part.stripes:
        fixed = fixed_rows(blocks, part, stripe, config)
        half = HalfStep(rule, dense, *fixed, ridges, bias_ridges, frozen(prior), relaxation)

        def run(first: int, last: int, half: HalfStep = half) -> None:
            if config.solver == "cholesky":
                solvers.solve_cholesky(part.rows, first, last, half, factors, biases)
            else:
                solvers.solve_cg(part.rows, first, last, half, factors, biases, config.cg_steps)

        over_rows(run, part.rows, stripe, config.num_threads)
    return Latent(factors, biases)


def observed(
    part: Part, latent: Latent, blocks: Blocks, rule: Rule, config: CollaborativeConfig
) -> float:
    own = Latent(*map(frozen, latent))
    total = 0.0
    for stripe in part.stripes:
        fixed = fixed_rows(blocks, part, stripe, config)

        def run(first: int, last: int, fixed: Latent = fixed) -> float:
            return kernels.observed_loss(part.rows, first, last, rule, *fixed, *own)

        total += sum(over_rows(run, part.rows, stripe, config.num_threads))
    return float(total)


def penalty(
    part: Part, latent: Latent, prior: Floats, rule: Rule, config: CollaborativeConfig
) -> float:
    ridges, bias_ridges = ridges_of(part.rows, rule, config)
    total = 0.0
    for a in range(0, ridges.size, CHUNK):
        x = latent.factors[a : a + CHUNK].astype(np.float64)
        x -= prior[a : a + CHUNK] if len(prior) > 1 else prior
        b = latent.biases[a : a + CHUNK].astype(np.float64)
        total += float(np.einsum("uk,uk,u->", x, x, ridges[a : a + CHUNK], optimize=False))
        total += float(bias_ridges[a : a + CHUNK] @ b**2)
    return total


def bias_sum(part: Part, latent: Latent) -> tuple[float, int]:
    """Return the sum and the number of the biases of rows with evidence."""
    seen = ~unseen(part)
    return float(latent.biases[seen].sum(dtype=np.float64)), int(seen.sum())


def finished(part: Part, latent: Latent, turn: Floats, shift: float, overwrite: bool) -> Latent:
    """Return unpadded factors times `turn`; biases of rows with evidence moved by `shift`."""
    seen = ~unseen(part)
    n_factors = turn.shape[0]
    if overwrite:
        factors = _unpadded(rotate(latent, turn).factors, n_factors)
    else:
        factors = latent.factors[:, :n_factors] @ turn
    return Latent(factors, latent.biases + np.where(seen, np.float32(shift), np.float32(0)))


def _unpadded(factors: Floats, n_factors: int) -> Floats:
    """Move the rows together within their own memory, which is spent: a copy would be the peak."""
    flat, n = factors.reshape(-1), len(factors)
    for a in range(0, n, CHUNK):
        b = min(a + CHUNK, n)
        flat[a * n_factors : b * n_factors] = factors[a:b, :n_factors].reshape(-1)
    return flat[: n * n_factors].reshape(n, n_factors)


def unseen(part: Part) -> NDArray[np.bool_]:
    """Return (n_rows,) whether a row has no evidence."""
    return np.asarray(np.diff(part.rows.indptr) == 0)


def fixed_rows(blocks: Blocks, part: Part, stripe: Stripe, config: CollaborativeConfig) -> Latent:
    """Read the fixed rows of a stripe, one block at a time."""
    n = stripe.places.size
    if len(blocks) == 1 and n == blocks[0].biases.size:
        return Latent(*map(frozen, blocks[0]))
    factors = np.empty((n, kernels.padded(config.factors)), np.float32)
    biases = np.empty(n, np.float32)
    senders = np.searchsorted(stripe.places, part.cuts).tolist()
    for number, (begin, end) in enumerate(pairwise(senders)):
        if begin == end:
            continue
        block: Latent = blocks[number]

        def copy(first: int, last: int, block: Latent = block) -> None:
            rows = part.reads[stripe.places[first:last]]
            # With another mode numpy would go through a buffer of its own.
            np.take(block.factors, rows, axis=0, out=factors[first:last], mode="clip")
            np.take(block.biases, rows, out=biases[first:last], mode="clip")

        in_threads(copy, [*range(begin, end, CHUNK), end], config.num_threads)
    return Latent(frozen(factors), frozen(biases))


def ridges_of(rows: Sparse, rule: Rule, config: CollaborativeConfig) -> tuple[Floats, Floats]:
    """Return (n_rows,) lambda of each row's factors, and of its bias."""
    counts = np.diff(rows.indptr).astype(np.float32)
    ridges = np.float32(config.regularization) * counts ** np.float32(
        config.regularization_exponent
    )
    return frozen(ridges), frozen(ridges if rule.explicit else np.zeros_like(ridges))


def over_rows(
    run: Callable[[int, int], T], rows: Sparse, stripe: Stripe, num_threads: int
) -> list[T]:
    """Run ``run(first, last)`` over the rows of a stripe in ranges of like cost."""
    bounds = stripe.first + balanced(rows.indptr[stripe.first : stripe.last + 1], 64)
    return in_threads(run, bounds.tolist(), num_threads)


def _chunks(latent: Latent) -> list[int]:
    n = latent.biases.size
    return [*range(0, n, CHUNK), n]


def in_threads(run: Callable[[int, int], T], bounds: list[int], num_threads: int) -> list[T]:
    """Return ``run(first, last)`` for each pair of neighbouring bounds; 0 threads: all cores."""
    # Our own threads also for matrix products: BLAS threads wait for each other at every chunk.
    threads = num_threads or int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    if threads == 1 or len(bounds) == 2:
        return [run(first, last) for first, last in pairwise(bounds)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, bounds[:-1], bounds[1:]))


def balanced(indptr: NDArray[np.integer], n_parts: int) -> NDArray[np.int64]:
    """Cut rows into `n_parts` ranges of about equal cost; return the n_parts + 1 bounds."""
    # A row costs about as much as some entries even where it has few.
    cost = indptr.astype(np.int64) + 8 * np.arange(indptr.size, dtype=np.int64)
    inner = np.searchsorted(cost, np.linspace(cost[0], cost[-1], n_parts + 1)[1:-1])
    return np.concatenate([[0], inner, [indptr.size - 1]]).astype(np.int64)


def pad(latent: Latent) -> Latent:
    """Copy into rows of padded width."""
    n, f = latent.factors.shape
    factors = np.zeros((n, kernels.padded(f)), np.float32)
    factors[:, :f] = latent.factors
    return Latent(factors, np.array(latent.biases, np.float32))
