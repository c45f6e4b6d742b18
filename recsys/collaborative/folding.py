"""What a half-step shares between its rows, and the exact answer for rows on their own.

Enters: the fixed side's factors and biases. Leaves: the `Rule` and the `Dense` part that kernels
take, or, from `solve`, the factors of new rows: the fold-in. The objective stands in als.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys.collaborative import kernels, shards
from recsys.collaborative.checks import checked_evidence
from recsys.collaborative.kernels import Dense, Rule
from recsys.collaborative.shards import Latent
from recsys.config import CollaborativeConfig

__all__ = ["dense_part", "rule_of", "solve"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def solve(
    evidence: sp.csr_array,
    factors: Floats,
    biases: Floats,
    config: CollaborativeConfig,
    *,
    global_mean: float = 0.0,
    prior: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Return the exact minimiser for each row of `evidence`, the other side being fixed.

    This is the fold-in of new listeners (or, with transposed evidence, of new items).

    Parameters
    ----------
    evidence : (m, n_fixed) float32
    factors, biases : (n_fixed, f) and (n_fixed,) float32
        The fixed side.
    prior : (m, f) float32
        Where each row's factors are drawn to, and what a row without evidence gets; default: zero.

    Returns
    -------
    (m, f) and (m,) float32
    """
    evidence = checked_evidence(evidence)
    rule = rule_of(config, global_mean)
    fixed = shards.pad(Latent(factors, biases))
    n_factors = factors.shape[1]
    dense, rotation = dense_part(shards.gram(fixed, n_factors), rule)
    turn = rotation.astype(np.float32)
    fixed = shards.rotate(fixed, turn)
    part = shards.whole_part(shards.sparse_rows(evidence, 0, evidence.shape[0]), len(factors))
    rows = Latent(
        np.zeros((evidence.shape[0], fixed.factors.shape[1]), np.float32),
        np.zeros(evidence.shape[0], np.float32),
    )
    means = np.zeros((1, n_factors), np.float32) if prior is None else prior @ turn
    means = shards.pad(Latent(means, rows.biases)).factors
    exact = replace(config, solver="cholesky")
    rows = shards.solve_part(part, rows, means, [fixed], dense, rule, exact, 1.0)
    return np.ascontiguousarray(rows.factors[:, :n_factors] @ turn.T), rows.biases


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
        ones = shards.frozen(np.full(width, 1e-12, np.float32))
        return Dense(ones, 0.0, shards.frozen(zeros), shards.frozen(zeros), 0.0), np.eye(f)
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
        shards.frozen(diagonal),
        float(rule.unobserved * n),
        shards.frozen(turned),
        shards.frozen(rhs),
        float(-rule.unobserved * gram[f, -1]),
    ), rotation
