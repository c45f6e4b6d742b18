"""The half-steps of an alternation on evidence that the workers hold, and the loss between them.

Enters: `routes.Sharded` evidence, factors of both sides in parts. Leaves: renewed parts, the loss.
The objective, and what a half-step does, stand in `recsys.collaborative.als`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.backend import Backend, Parts
from recsys.collaborative import kernels, routes, shards
from recsys.collaborative.checkpoints import Checkpoint
from recsys.collaborative.drift import Drift
from recsys.collaborative.factors import Factors
from recsys.collaborative.folding import dense_part
from recsys.collaborative.kernels import Rule
from recsys.collaborative.prior import ItemPrior
from recsys.collaborative.routes import Routes, Sharded, Side
from recsys.collaborative.shards import Latent
from recsys.config import CollaborativeConfig
from recsys.errors import InputError

__all__ = ["Problem"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

OTHER: dict[Side, Side] = {"users": "items", "items": "users"}


class Problem:
    """Evidence in both orientations, routed, and the half-step on it."""

    def __init__(
        self, evidence: Sharded, rule: Rule, config: CollaborativeConfig, backend: Backend
    ) -> None:
        self.rule, self.config, self.backend = rule, config, backend
        self.bounds = evidence.bounds
        self.routes: dict[Side, Routes] = {
            side: routes.route(evidence.rows[side], self.bounds[OTHER[side]], backend)
            for side in OTHER
        }
        self.parts = {side: route.parts for side, route in self.routes.items()}
        self.prior = ItemPrior(evidence.features, self.parts["items"], rule, config, backend)
        self.drift = None
        if len(evidence.drift_edges):
            n_users = int(self.bounds["users"][-1])
            self.drift = Drift(self.parts["items"], n_users, rule, config, backend)
        zeros = np.zeros((1, kernels.padded(config.factors)), np.float32)
        self.no_prior = backend.scatter([zeros] * backend.n_workers)

    def start(self, initial: Factors | None, checkpoint: Checkpoint | None) -> tuple[Parts, Parts]:
        """Return the users' and items' first factors, and fit the prior to them."""
        if checkpoint is not None:
            self.prior.matrix = checkpoint.state.feature_map
            users, items = (
                checkpoint.read(side, self.bounds[side].tolist(), self.config.factors, self.backend)
                for side in OTHER
            )
            if self.drift and "drift" in checkpoint.rows:
                bounds, n_bins = self.bounds["items"].tolist(), self.config.drift_bins
                self.drift.biases = checkpoint.read("drift", bounds, n_bins, self.backend)
                self._see_drift(self.drift)
            return users, items
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
        blocks = self._sent(side, fixed)
        shared = (dense, self.rule, self.config, relaxation)
        moving = backend.map(
            shards.solve_part, self.parts[side], moving, prior, blocks, shared=shared
        )
        if side == "items":
            self.prior.fit(moving)
            if self.drift:
                self.drift.fit(self.parts["items"], moving, blocks)
                self._see_drift(self.drift)
        return fixed, moving, rotation

    def loss(self, users: Parts, items: Parts) -> float:
        """Return the objective, in float64."""
        backend, rule, f = self.backend, self.rule, self.config.factors

        def total(function: Callable[..., Any], *parts: Parts, shared: tuple[Any, ...]) -> Any:
            return sum(backend.gather(backend.map(function, *parts, shared=shared)))

        shared = (rule, self.config)
        blocks = self._sent("users", items)
        loss = total(shards.observed, self.parts["users"], users, blocks, shared=shared)
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

    def _see_drift(self, drift: Drift) -> None:
        """Let the entries of the evidence meet the biases of their bins."""
        self.parts = drift.seen(self.parts, self._sent("users", drift.biases))

    def _sent(self, side: Side, fixed: Parts) -> Parts:
        """Bring the fixed rows to the workers that solve `side`."""
        return self.backend.exchange(routes.outgoing, fixed, self.routes[side].wishes)

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
        wanted = tuple((int(self.bounds[side][-1]), self.config.factors) for side in OTHER)
        if found != wanted:
            raise InputError(f"initial factors: want shapes {wanted}, got {found}")
        return (
            of("users", initial.user_factors, initial.user_biases),
            of("items", initial.item_factors, initial.mean_item_biases),
        )
