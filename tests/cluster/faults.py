"""A training small enough to be killed often, its loss, and those who kill."""

from __future__ import annotations

import os
import signal

import numpy as np
from scipy.sparse import csr_array

from recsys.cluster import RayBackend
from recsys.config import CollaborativeConfig

CONFIG = CollaborativeConfig(
    factors=6, iterations=8, regularization=2.0, checkpoint_every=2, num_threads=1
)


def evidence(n_users=300, n_items=200):
    rng = np.random.default_rng(5)
    taste = rng.dirichlet(np.full(4, 0.3), n_users) @ rng.dirichlet(np.full(4, 0.3), n_items).T
    return csr_array(rng.poisson(60 * taste / n_items**0.5).astype(np.float32))


def loss(matrix, factors, config=CONFIG):
    """The implicit objective with biases over all pairs, in float64."""
    r = matrix.toarray().astype(np.float64)
    x, y = factors.user_factors.astype(np.float64), factors.item_factors.astype(np.float64)
    predictions = x @ y.T + factors.user_biases[:, None] + factors.item_biases
    error = (1 + config.alpha * np.abs(r)) * ((r > 0) - predictions) ** 2
    return error.sum() + config.regularization * ((x**2).sum() + (y**2).sum())


class Lines:
    """Keeps what is said, and hears every sweep."""

    def __init__(self, on_sweep=lambda sweep: None):
        self.said, self.figures, self._on_sweep = [], [], on_sweep

    def note(self, line):
        self.said.append(line)

    def step(self, task, done, total, detail):
        self._on_sweep(done)

    def measure(self, task, figures):
        self.figures.append(figures)


class Dangerous(RayBackend):
    """Kills a worker each time that a function of the list, in its order, has been handed out."""

    def __init__(self, n_workers, functions, **options):
        super().__init__(n_workers, **options)
        self.left = list(functions)
        self._all_live = True

    def renew(self):
        super().renew()
        self._all_live = True

    def scatter(self, parts):
        handle = super().scatter(parts)
        self._kill_at("scatter")
        return handle

    def map(self, function, *parts, shared=()):
        handle = super().map(function, *parts, shared=shared)
        self._kill_at(function.__name__)
        return handle

    def _finish(self, tasks, what):
        self._kill_at(what)
        return super()._finish(tasks, what)

    def _kill_at(self, what):
        # One at a time: calls go on for a moment until the last kill is noticed.
        if self._all_live and self.left and what == self.left[0] and len(self.workers) > 1:
            del self.left[0]
            self._all_live = False
            os.kill(self.workers[-1].pid, signal.SIGKILL)
