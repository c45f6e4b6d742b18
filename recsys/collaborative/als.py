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

Items with features g_i are drawn to B g_i instead of zero: lambda_i |y_i - B g_i|^2 stands for
lambda_i |y_i|^2, lambda_B |B|^2 is added (lambda_B = ``feature_regularization``), and B is solved
after each half-step of the items (`recsys.collaborative.prior`). Rows without evidence stand at
zero; such an item gets B g_i when the training is over. With ``drift_bins`` an item has a bias for
each time bin besides (`recsys.collaborative.drift` states what is added then).

With one side fixed the other splits into rows. A *half-step* sums the fixed side's Gram matrix over
the workers, rotates both sides into its eigenbasis (predictions and norms do not change; see
`recsys.collaborative.kernels` for what it saves), publishes the fixed side, and solves each
worker's rows where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys import progress
from recsys.backend import Backend, Parts
from recsys.collaborative import kernels, shards
from recsys.collaborative.checks import (
    check_config,
    checked_evidence,
    checked_features,
    checked_times,
)
from recsys.collaborative.drift import Drift, bin_edges, bins_of
from recsys.collaborative.factors import Factors
from recsys.collaborative.folding import dense_part, rule_of
from recsys.collaborative.kernels import Rule
from recsys.collaborative.prior import ItemPrior, with_cold_items
from recsys.collaborative.shards import Latent
from recsys.config import CollaborativeConfig
from recsys.errors import InputError

__all__ = ["Step", "alternate", "gather", "train"]

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
    item_features: Parts
    """(n, d) float32 per worker."""
    feature_map: Doubles
    """(d, f) B' in the rotated basis; d = 0 where items have no features."""
    drift: Parts | None
    """Per worker the biases of the items' time bins, where there are any."""
    drift_edges: NDArray[np.int64]
    """(n_bins - 1,) milliseconds since 1970 at which a new bin begins."""


def train(
    evidence: sp.csr_array,
    config: CollaborativeConfig,
    backend: Backend,
    *,
    initial: Factors | None = None,
    item_features: Floats | None = None,
    at: NDArray[np.int64] | None = None,
) -> Factors:
    """Minimise the objective and gather the factors; arguments and errors as in `alternate`."""
    step = None
    given: dict[str, Any] = {"initial": initial, "item_features": item_features, "at": at}
    for step in alternate(evidence, config, backend, **given):
        detail = "" if step.loss is None else f"loss {step.loss:.6g}"
        if step.side == "items":
            progress.step("factors", step.iteration, config.iterations, detail)
    assert step is not None, "alternate yields the start where there are no iterations"
    if 0 < step.iteration < config.iterations:
        progress.step("factors", config.iterations, config.iterations, "stopped at tolerance")
    return gather(step, config, backend, last=True)


def alternate(
    evidence: sp.csr_array,
    config: CollaborativeConfig,
    backend: Backend,
    *,
    initial: Factors | None = None,
    item_features: Floats | None = None,
    at: NDArray[np.int64] | None = None,
    losses: bool = False,
) -> Iterator[Step]:
    """Solve users, then items, ``config.iterations`` times, and yield after each half-step.

    Parameters
    ----------
    evidence : (n_users, n_items) float32
        Signed evidence, or stars with ``feedback="explicit"``.
    initial
        Factors to start from; default: small random item factors by ``config.seed``.
    item_features : (n_items, d) float32
        What is known of the items, d up to 512; a zero row where nothing is.
    at : (nnz,) int64
        Milliseconds since 1970 of each entry, NO_TIME where unknown; only ``drift_bins`` asks.
    losses
        Compute the loss after every half-step (else only where ``tolerance`` needs it).

    Raises
    ------
    InputError
        For evidence or features that are NaN or infinite, and for `initial`, features or times
        of another shape.
    ConfigError
        For a configuration value out of range.
    """
    check_config(config)
    checked_times(at, evidence)
    evidence = checked_evidence(evidence)
    mean = float(evidence.data.mean(dtype=np.float64)) if evidence.nnz else 0.0
    rule = rule_of(config, mean)
    features = checked_features(item_features, evidence.shape[1])
    problem = _Problem(evidence, features, at, rule, config, backend)
    users, items = problem.start(initial)
    del initial, evidence, features, item_features, at  # may be large, and the generator lives long
    basis: Doubles = np.eye(config.factors)

    def step(iteration: int, side: Side, *, measured: bool) -> Step:
        loss = problem.loss(users, items) if measured else None
        evidence = problem.parts["users"], problem.parts["items"]
        features = problem.prior.features, problem.prior.matrix
        drift = problem.drift.biases if problem.drift else None, problem.edges
        return Step(
            iteration, side, loss, users, items, basis, *evidence, rule.mean, *features, *drift
        )

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


def gather(
    step: Step, config: CollaborativeConfig, backend: Backend, *, last: bool = False
) -> Factors:
    """Bring all factors to the caller, in the basis of the start, biases centred.

    Adding a constant to all user biases and taking it from all item biases changes no prediction
    of the implicit model. Users' biases get mean zero, so that zero, which rows without evidence
    have, is the best bias of such an item.

    With `last` the step's own memory is overwritten: the training must not be resumed.
    """
    level = 0.0
    if config.bias and config.feedback == "implicit":
        sums = backend.gather(backend.map(shards.bias_sum, step.user_evidence, step.users))
        total, count = np.sum(sums, axis=0)
        level = total / max(count, 1)

    turn = step.basis.T.astype(np.float32)
    items = step.items
    if len(step.feature_map):
        shared = (step.feature_map.astype(np.float32),)
        parts = (step.item_evidence, items, step.item_features)
        items = backend.map(with_cold_items, *parts, shared=shared)

    def finished(evidence: Parts, parts: Parts, shift: float) -> tuple[Floats, Floats]:
        shared = (turn, shift, last)
        done = backend.gather(backend.map(shards.finished, evidence, parts, shared=shared))
        if len(done) == 1:  # no second copy where one worker holds all
            return done[0].factors, done[0].biases
        factors, biases = zip(*done, strict=True)
        return np.concatenate(factors), np.concatenate(biases)

    user_factors, user_biases = finished(step.user_evidence, step.users, -level)
    item_factors, item_biases = finished(step.item_evidence, items, level)
    drift = None
    if step.drift is not None:
        drift = np.concatenate([latent.factors for latent in backend.gather(step.drift)])
        item_biases = item_biases + drift[:, -1]
        drift = drift - drift[:, -1:]
    return Factors(
        user_factors=user_factors,
        item_factors=item_factors,
        user_biases=user_biases,
        item_biases=item_biases,
        global_mean=step.global_mean,
        config=config,
        feature_map=(step.feature_map @ step.basis.T).astype(np.float32)
        if len(step.feature_map)
        else None,
        item_drift=drift,
        drift_edges=step.drift_edges if drift is not None else None,
    )


class _Problem:
    """Evidence in both orientations, scattered, and the half-step on it."""

    def __init__(
        self,
        evidence: sp.csr_array,
        features: Floats,
        at: NDArray[np.int64] | None,
        rule: Rule,
        config: CollaborativeConfig,
        backend: Backend,
    ) -> None:
        self.rule, self.config, self.backend = rule, config, backend
        self.shape = evidence.shape
        self.parts: dict[Side, Parts] = {}
        self.bounds: dict[Side, NDArray[np.int64]] = {}
        matrices: dict[Side, sp.csr_array] = {"users": evidence, "items": evidence.T.tocsr()}
        self.edges = np.zeros(0, np.int64)
        bins: dict[Side, NDArray[np.int8]] = dict.fromkeys(matrices, np.zeros(0, np.int8))
        if at is not None and config.drift_bins > 1:
            self.edges = bin_edges(at, config.drift_bins)
            bins["users"] = bins_of(at, self.edges)
            bins["items"] = _turned(bins["users"], evidence)
        for side, matrix in matrices.items():
            bounds = shards.balanced(matrix.indptr, backend.n_workers)
            whole = backend.n_workers == 1
            self.bounds[side] = bounds
            self.parts[side] = backend.scatter(
                shards.cut(matrix, bins[side], first, last, whole=whole)
                for first, last in pairwise(bounds)
            )
        cut = backend.scatter(
            features[first:last] for first, last in pairwise(self.bounds["items"])
        )
        self.prior = ItemPrior(cut, self.parts["items"], rule, config, backend)
        self.drift = None
        if len(self.edges):
            n_users = evidence.shape[0]
            self.drift = Drift(self.parts["items"], n_users, rule, config, backend)
        zeros = np.zeros((1, kernels.padded(config.factors)), np.float32)
        self.no_prior = backend.scatter([zeros] * backend.n_workers)

    def start(self, initial: Factors | None) -> tuple[Parts, Parts]:
        """Return the users' and items' first factors, and fit the prior to them."""
        users, items = self._random() if initial is None else self._given(initial)
        self.prior.fit(items)
        return users, items

    def half_step(
        self, side: Side, fixed: Parts, moving: Parts, relaxation: float
    ) -> tuple[Parts, Parts, Doubles]:
        """Solve `side` with the other side fixed; return fixed, moving, and the rotation."""
        f = self.config.factors
        backend = self.backend
        threads = self.config.num_threads
        gram = sum(backend.gather(backend.map(shards.gram, fixed, shared=(f, threads))))
        dense, rotation = dense_part(gram, self.rule)
        turn = rotation.astype(np.float32)
        fixed = backend.map(shards.rotate, fixed, shared=(turn, threads))
        moving = backend.map(shards.rotate, moving, shared=(turn, threads))
        self.prior.rotate(rotation)
        prior = self.prior.means() if side == "items" else self.no_prior
        shared = (backend.publish(fixed), dense, self.rule, self.config, relaxation)
        moving = backend.map(shards.solve_part, self.parts[side], moving, prior, shared=shared)
        if side == "items":
            self.prior.fit(moving)
            if self.drift:
                parts = self.drift.fit(self.parts["users"], self.parts["items"], fixed, moving)
                self.parts = dict(zip(self.parts, parts, strict=True))
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
        loss += total(shards.penalty, self.parts["users"], users, self.no_prior, shared=shared)
        means = self.prior.means()
        loss += total(shards.penalty, self.parts["items"], items, means, shared=shared)
        loss += self.prior.penalty()
        if self.drift:
            loss += self.drift.loss(self.parts["items"])
        if rule.unobserved:
            gram_u = total(shards.gram, users, shared=(f, self.config.num_threads, "float64"))
            gram_i = total(shards.gram, items, shared=(f, self.config.num_threads, "float64"))
            # [x, beta, 1] meets [y, 1, b]: the last two columns of one side change places.
            order = [*range(f), f + 1, f]
            loss += rule.unobserved * np.sum(gram_u * gram_i[np.ix_(order, order)])
        return float(loss)

    def _random(self) -> tuple[Parts, Parts]:
        def of(side: Side, scale: float) -> Parts:
            ranges = self.backend.scatter(pairwise(self.bounds[side].tolist()))
            shared = (self.config.factors, scale, self.config.seed)
            return self.backend.map(shards.random_start, self.parts[side], ranges, shared=shared)

        return of("users", 0.0), of("items", 0.1 / np.sqrt(self.config.factors))

    def _given(self, initial: Factors) -> tuple[Parts, Parts]:
        def of(side: Side, factors: Floats, biases: Floats) -> Parts:
            given = self.backend.scatter(
                Latent(factors[first:last], biases[first:last])
                for first, last in pairwise(self.bounds[side])
            )
            shared = (self.config.bias,)
            return self.backend.map(shards.given_start, self.parts[side], given, shared=shared)

        found = (initial.user_factors.shape, initial.item_factors.shape)
        wanted = tuple((n, self.config.factors) for n in self.shape)
        if found != wanted:
            raise InputError(f"initial factors: want shapes {wanted}, got {found}")
        return (
            of("users", initial.user_factors, initial.user_biases),
            of("items", initial.item_factors, initial.mean_item_biases),
        )


def _turned(bins: NDArray[np.int8], evidence: sp.csr_array) -> NDArray[np.int8]:
    """Return what belongs to the entries of `evidence` in the order of its transpose."""
    matrix = sp.csr_array((bins, evidence.indices, evidence.indptr), shape=evidence.shape)
    return np.asarray(matrix.T.tocsr().data)
