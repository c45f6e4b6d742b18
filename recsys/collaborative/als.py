"""Alternating least squares with biases, for implicit feedback and for star ratings.

Enters: a users x items matrix of signed evidence r. Leaves: factors and biases of both sides.
The objective, the one place where it is written:

    implicit   p = 1 where r > 0, else 0;  c = 1 + alpha |r| where observed, else c = w0
               min  sum_ui c (p - x_u.y_i - beta_u - beta_i)^2
                    + sum_u lambda_u |x_u|^2 + sum_i lambda_i |y_i|^2
    explicit   min  sum over observed of (r - mu - x_u.y_i - beta_u - beta_i)^2
                    + sum_u lambda_u (|x_u|^2 + beta_u^2) + the same for items

with w0 = ``unobserved_weight``, lambda_u = ``regularization`` n_u ^ ``regularization_exponent`` for
the n_u stored entries of row u, and mu the mean rating. Hu, Koren, Volinsky: Collaborative
filtering for implicit feedback datasets, 2008; biases as in Koren's SVD, solved as in benanne/wmf.

With one side fixed the other splits into rows. A *half-step* sums the fixed side's Gram matrix over
the workers, rotates both sides into its eigenbasis (predictions and norms do not change; see
`recsys.collaborative.kernels` for what it saves), publishes the fixed side, and solves each
worker's rows where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys import progress
from recsys.backend import Backend, Parts
from recsys.collaborative import kernels, shards
from recsys.collaborative.factors import Factors
from recsys.collaborative.kernels import Dense, Rule
from recsys.collaborative.shards import Latent
from recsys.config import CollaborativeConfig
from recsys.errors import ConfigError, InputError

__all__ = ["Step", "alternate", "gather", "solve", "train"]

Side = Literal["users", "items"]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """The state after one half-step; its handles hold until the generator is resumed."""

    iteration: int
    """From 1."""
    side: Side
    """Which side was solved."""
    loss: float | None
    """The objective, summed in float64, where it was asked for."""
    users: Parts
    items: Parts
    """One `Latent` per worker, in the rotated basis."""
    basis: Doubles
    """(f, f) orthogonal: stored factors @ basis.T are the factors in the basis of the start."""
    user_evidence: Parts
    item_evidence: Parts
    """One `Part` per worker."""
    global_mean: float


def train(
    evidence: sp.csr_array,
    config: CollaborativeConfig,
    backend: Backend,
    *,
    initial: Factors | None = None,
) -> Factors:
    """Minimise the objective and gather the factors; arguments and errors as in `alternate`."""
    step = None
    for step in alternate(evidence, config, backend, initial=initial):
        detail = "" if step.loss is None else f"loss {step.loss:.6g}"
        if step.side == "items":
            progress.step("factors", step.iteration, config.iterations, detail)
    assert step is not None, "alternate yields the start where there are no iterations"
    if 0 < step.iteration < config.iterations:
        progress.step("factors", config.iterations, config.iterations, "stopped at tolerance")
    return gather(step, config, backend)


def alternate(
    evidence: sp.csr_array,
    config: CollaborativeConfig,
    backend: Backend,
    *,
    initial: Factors | None = None,
    losses: bool = False,
) -> Iterator[Step]:
    """Solve users, then items, ``config.iterations`` times, and yield after each half-step.

    Parameters
    ----------
    evidence : (n_users, n_items) float32
        Signed evidence, or stars with ``feedback="explicit"``.
    initial
        Factors to start from; default: small random item factors by ``config.seed``.
    losses
        Compute the loss after every half-step (else only where ``tolerance`` needs it).

    Raises
    ------
    InputError
        For evidence that is NaN or infinite, and for `initial` of another shape.
    ConfigError
        For a configuration value out of range.
    """
    _check_config(config)
    evidence = _checked(evidence)
    rule = _rule(evidence, config)
    problem = _Problem(evidence, rule, config, backend)
    users, items = problem.start(initial)
    basis: Doubles = np.eye(config.factors)

    def step(iteration: int, side: Side, *, measured: bool) -> Step:
        loss = problem.loss(users, items) if measured else None
        evidence = problem.parts["users"], problem.parts["items"]
        return Step(iteration, side, loss, users, items, basis, *evidence, rule.mean)

    if config.iterations == 0:
        yield step(0, "items", measured=losses)
    before = np.inf
    for iteration in range(1, config.iterations + 1):
        relaxation = config.relaxation if 1 < iteration < config.iterations else 1.0
        items, users, rotation = problem.half_step("users", items, users, relaxation)
        basis = basis @ rotation
        yield step(iteration, "users", measured=losses)
        users, items, rotation = problem.half_step("items", users, items, relaxation)
        basis = basis @ rotation
        swept = step(iteration, "items", measured=losses or config.tolerance > 0)
        yield swept
        if swept.loss is not None:
            if before - swept.loss < config.tolerance * before:
                return
            before = swept.loss


def gather(step: Step, config: CollaborativeConfig, backend: Backend) -> Factors:
    """Bring all factors to the caller, in the basis of the start, biases centred.

    Adding a constant to all user biases and taking it from all item biases changes no prediction
    of the implicit model. Users' biases get mean zero, so that zero, which rows without evidence
    have, is the best bias of such an item.
    """
    level = 0.0
    if config.bias and config.feedback == "implicit":
        sums = backend.gather(backend.map(shards.bias_sum, step.user_evidence, step.users))
        total, count = np.sum(sums, axis=0)
        level = total / max(count, 1)

    def finished(evidence: Parts, parts: Parts, shift: float) -> tuple[Floats, Floats]:
        done = backend.map(shards.finished, evidence, parts, shared=(step.basis.T, shift))
        factors, biases = zip(*backend.gather(done), strict=True)
        return np.concatenate(factors), np.concatenate(biases)

    user_factors, user_biases = finished(step.user_evidence, step.users, -level)
    item_factors, item_biases = finished(step.item_evidence, step.items, level)
    return Factors(
        user_factors=user_factors,
        item_factors=item_factors,
        user_biases=user_biases,
        item_biases=item_biases,
        global_mean=step.global_mean,
        config=config,
    )


def solve(
    evidence: sp.csr_array,
    factors: Floats,
    biases: Floats,
    config: CollaborativeConfig,
    *,
    global_mean: float = 0.0,
) -> tuple[Floats, Floats]:
    """Return the exact minimiser for each row of `evidence`, the other side being fixed.

    This is the fold-in of new listeners (or, with transposed evidence, of new items).

    Parameters
    ----------
    evidence : (m, n_fixed) float32
    factors, biases : (n_fixed, f) and (n_fixed,) float32
        The fixed side.

    Returns
    -------
    (m, f) and (m,) float32
    """
    evidence = _checked(evidence)
    rule = _rule(evidence, config)._replace(mean=global_mean)
    fixed = shards.pad(Latent(factors, biases))
    n_factors = factors.shape[1]
    dense, rotation = _dense(shards.gram(fixed, n_factors), rule)
    turn = rotation.astype(np.float32)
    fixed = shards.rotate(fixed, turn)
    part = shards.cut(evidence, 0, evidence.shape[0], whole=True)
    rows = Latent(
        np.zeros((evidence.shape[0], fixed.factors.shape[1]), np.float32),
        np.zeros(evidence.shape[0], np.float32),
    )
    exact = replace(config, solver="cholesky")
    rows = shards.solve_part(part, rows, [fixed], dense, rule, exact, 1.0)
    return np.ascontiguousarray(rows.factors[:, :n_factors] @ turn.T), rows.biases


class _Problem:
    """Evidence in both orientations, scattered, and the half-step on it."""

    def __init__(
        self, evidence: sp.csr_array, rule: Rule, config: CollaborativeConfig, backend: Backend
    ) -> None:
        self.rule, self.config, self.backend = rule, config, backend
        self.shape = evidence.shape
        self.parts: dict[Side, Parts] = {}
        self.bounds: dict[Side, NDArray[np.int64]] = {}
        matrices: dict[Side, sp.csr_array] = {"users": evidence, "items": evidence.T.tocsr()}
        for side, matrix in matrices.items():
            bounds = shards.balanced(matrix.indptr, backend.n_workers)
            whole = backend.n_workers == 1
            self.bounds[side] = bounds
            self.parts[side] = backend.scatter(
                shards.cut(matrix, first, last, whole=whole) for first, last in pairwise(bounds)
            )

    def start(self, initial: Factors | None) -> tuple[Parts, Parts]:
        """Return the users' and items' first factors."""
        if initial is None:
            scale = 0.1 / np.sqrt(self.config.factors)
            return self._random("users", 0.0), self._random("items", scale)
        found = (initial.user_factors.shape, initial.item_factors.shape)
        wanted = tuple((n, self.config.factors) for n in self.shape)
        if found != wanted:
            raise InputError(f"initial factors: want shapes {wanted}, got {found}")
        return (
            self._given("users", initial.user_factors, initial.user_biases),
            self._given("items", initial.item_factors, initial.item_biases),
        )

    def half_step(
        self, side: Side, fixed: Parts, moving: Parts, relaxation: float
    ) -> tuple[Parts, Parts, Doubles]:
        """Solve `side` with the other side fixed; return fixed, moving, and the rotation."""
        f = self.config.factors
        backend = self.backend
        gram = sum(backend.gather(backend.map(shards.gram, fixed, shared=(f,))))
        dense, rotation = _dense(gram, self.rule)
        turn = rotation.astype(np.float32)
        fixed = backend.map(shards.rotate, fixed, shared=(turn,))
        moving = backend.map(shards.rotate, moving, shared=(turn,))
        shared = (backend.publish(fixed), dense, self.rule, self.config, relaxation)
        moving = backend.map(shards.solve_part, self.parts[side], moving, shared=shared)
        return fixed, moving, rotation

    def loss(self, users: Parts, items: Parts) -> float:
        """Return the objective, in float64."""
        backend, rule, f = self.backend, self.rule, self.config.factors

        def total(function: Callable[..., Any], *parts: Parts, shared: tuple[Any, ...]) -> Any:
            return sum(backend.gather(backend.map(function, *parts, shared=shared)))

        shared = (rule, self.config)
        loss = total(
            shards.observed, self.parts["users"], users, shared=(backend.publish(items), *shared)
        )
        loss += total(shards.penalty, self.parts["users"], users, shared=shared)
        loss += total(shards.penalty, self.parts["items"], items, shared=shared)
        if rule.unobserved:
            gram_u = total(shards.gram, users, shared=(f, "float64"))
            gram_i = total(shards.gram, items, shared=(f, "float64"))
            # [x, beta, 1] meets [y, 1, b]: the last two columns of one side change places.
            order = [*range(f), f + 1, f]
            loss += rule.unobserved * np.sum(gram_u * gram_i[np.ix_(order, order)])
        return float(loss)

    def _random(self, side: Side, scale: float) -> Parts:
        ranges = self.backend.scatter(pairwise(self.bounds[side].tolist()))
        shared = (self.config.factors, scale, self.config.seed)
        return self.backend.map(shards.random_start, self.parts[side], ranges, shared=shared)

    def _given(self, side: Side, factors: Floats, biases: Floats) -> Parts:
        given = self.backend.scatter(
            Latent(factors[first:last], biases[first:last])
            for first, last in pairwise(self.bounds[side])
        )
        return self.backend.map(
            shards.given_start, self.parts[side], given, shared=(self.config.bias,)
        )


def _dense(gram: Doubles, rule: Rule) -> tuple[Dense, Doubles]:
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


def _rule(evidence: sp.csr_array, config: CollaborativeConfig) -> Rule:
    if config.feedback == "explicit":
        mean = float(evidence.data.mean(dtype=np.float64)) if evidence.nnz else 0.0
        return Rule(1.0, 0.0, 0.0, mean, True, config.bias)
    base = 1.0 if config.confidence == "excess" else 0.0
    return Rule(base, config.alpha, config.unobserved_weight, 0.0, False, config.bias)


def _checked(evidence: sp.csr_array) -> sp.csr_array:
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


def _check_config(config: CollaborativeConfig) -> None:
    least = {"factors": 1, "iterations": 0, "regularization": 0, "alpha": 0, "cg_steps": 1}
    least |= {"unobserved_weight": 0, "tolerance": 0, "num_threads": 0}
    for key, bound in least.items():
        value = getattr(config, key)
        if not bound <= value < np.inf:
            raise ConfigError(f"collaborative.{key}: want a number from {bound} up, got {value}")
