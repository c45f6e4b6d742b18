"""What a half-step shares between its rows, and the exact answer for rows on their own.

Enters: the fixed side's factors and biases. Leaves: the `Rule` and the `Dense` part that kernels
take, or, from a `Folding`, the factors of new rows: the fold-in of a listener, or of an item where
the listeners are the fixed side. The objective stands in als.py.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys.collaborative import kernels, shards
from recsys.collaborative.checks import checked_evidence
from recsys.collaborative.kernels import Dense, HalfStep, Rule, Sparse
from recsys.collaborative.shards import Latent
from recsys.collaborative.solvers import solve_cholesky
from recsys.config import CollaborativeConfig
from recsys.data.arrays import frozen

__all__ = ["Folding", "dense_part", "rule_of"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_MANY = 256
"""Rows from which on a call shares its work among threads."""


class Folding:
    """One side of trained factors, fixed and prepared to solve for whoever comes.

    What all rows share, a few (f, f) arrays, is computed once. A call then reads only the fixed
    rows that its evidence names, so the factors may be memory-mapped and any number.

    Parameters
    ----------
    factors, biases : (n_fixed, f) and (n_fixed,) float32
        The fixed side.
    config
        The objective that they were trained by.
    global_mean
        What stars are counted from, with explicit feedback.
    """

    def __init__(
        self,
        factors: Floats,
        biases: Floats,
        config: CollaborativeConfig,
        *,
        global_mean: float = 0.0,
    ) -> None:
        self._fixed, self._config = Latent(factors, biases), config
        self._rule = rule_of(config, global_mean)
        gram = shards.gram(self._fixed, factors.shape[1], config.num_threads)
        self._dense, rotation = dense_part(gram, self._rule)
        self._turn = rotation.astype(np.float32)

    def warm_up(self) -> None:
        """Load the compiled solver, so that the first call is as quick as the others."""
        nothing = np.zeros((1, len(self._fixed.biases)), np.float32)
        self.solve(sp.csr_array(nothing))

    def solve(
        self,
        evidence: sp.csr_array,
        *,
        prior: Floats | None = None,
        offsets: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """Return the exact minimiser of the objective for each row of `evidence`.

        Parameters
        ----------
        evidence : (m, n_fixed) float32
        prior : (m, f) float32
            Where each row's factors are drawn to, and what a row without evidence gets; default:
            zero.
        offsets : (nnz,) float32
            What each entry's target is lowered by; rows must be sorted. Default: nothing.

        Returns
        -------
        (m, f) and (m,) float32

        Raises
        ------
        InputError
            For NaN or infinite evidence.
        """
        evidence = checked_evidence(evidence)
        m, n_factors = evidence.shape[0], len(self._turn)
        named, places = np.unique(evidence.indices, return_inverse=True)
        rows = Sparse(
            frozen(evidence.indptr.astype(np.int64)),
            frozen(places.astype(np.int32)),
            frozen(evidence.data),
            offsets=frozen(np.zeros(0, np.float32) if offsets is None else offsets),
        )
        fixed = self._read(named)
        means = np.zeros((1, n_factors), np.float32) if prior is None else prior @ self._turn
        means = frozen(shards.pad(Latent(means, fixed.biases)).factors)
        ridges = shards.ridges_of(rows, self._rule, self._config)
        half = HalfStep(self._rule, self._dense, *fixed, *ridges, means, 1.0)
        factors = np.zeros((m, kernels.padded(n_factors)), np.float32)
        biases = np.zeros(m, np.float32)

        def run(first: int, last: int) -> None:
            solve_cholesky(rows, first, last, half, factors, biases)

        # To start threads takes longer than some rows do.
        n_parts = 1 if m < _MANY else 64
        shards.in_threads(
            run, shards.balanced(rows.indptr, n_parts).tolist(), self._config.num_threads
        )
        return factors[:, :n_factors] @ self._turn.T, biases

    def _read(self, rows: NDArray[np.int32]) -> Latent:
        """Return fixed rows in the eigenbasis of `Dense`, padded."""
        n_factors = len(self._turn)
        turned = np.zeros((len(rows), kernels.padded(n_factors)), np.float32)
        # Products this small BLAS does in the calling thread: waking others takes longer.
        step = max(1, (1 << 18) // n_factors**2)
        for a in range(0, len(rows), step):
            some = slice(a, a + step)
            turned[some, :n_factors] = self._fixed.factors[rows[some]] @ self._turn
        return Latent(frozen(turned), frozen(self._fixed.biases[rows]))


def rule_of(config: CollaborativeConfig, mean: float) -> Rule:
    """Return how a value becomes confidence and target; stars are counted from their mean."""
    if config.feedback == "explicit":
        return Rule(1.0, 0.0, 0.0, mean, True, config.bias)
    base = 1.0 if config.confidence == "excess" else 0.0
    return Rule(base, config.alpha, config.unobserved_weight, 0.0, False, config.bias)


def dense_part(gram: Doubles, rule: Rule) -> tuple[Dense, Doubles]:
    """Turn the fixed side's Gram matrix of [y, b, 1] into `Dense` and the rotation it needs."""
    f = gram.shape[0] - 2
    width = kernels.padded(f)
    zeros = np.zeros(width, np.float32)
    if not rule.unobserved:
        ones = frozen(np.full(width, 1e-12, np.float32))
        return Dense(ones, 0.0, frozen(zeros), frozen(zeros), 0.0), np.eye(f)
    n = gram[-1, -1]
    centre = gram[:f, -1] / n if rule.biased and n else np.zeros(f)
    eigenvalues, rotation = np.linalg.eigh(gram[:f, :f] - n * np.outer(centre, centre))
    diagonal = np.ones(width, np.float32)
    diagonal[:f] = rule.unobserved * np.maximum(eigenvalues, 0)
    rhs = zeros.copy()
    rhs[:f] = -rule.unobserved * ((gram[:f, f] - centre * gram[f, -1]) @ rotation)
    turned = zeros.copy()
    turned[:f] = centre @ rotation
    return Dense(
        frozen(diagonal),
        float(rule.unobserved * n),
        frozen(turned),
        frozen(rhs),
        float(-rule.unobserved * gram[f, -1]),
    ), rotation
