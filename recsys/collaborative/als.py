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
`recsys.collaborative.kernels` for what it saves), sends the fixed rows to those who need them
(`recsys.collaborative.routes`), and solves each worker's rows where they lie. No process holds all
factors, unless the caller asks for them (`gather`).

Workers may be lost at any moment. `minimise` then renews the backend, hands the evidence out again
and goes on from the last checkpoint; how many workers there are now does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys import progress
from recsys.backend import Backend, Parts, peak_bytes
from recsys.collaborative import routes, shards
from recsys.collaborative.checkpoints import Checkpoint, Checkpoints, State
from recsys.collaborative.checks import (
    checked_evidence,
    checked_features,
    checked_times,
)
from recsys.collaborative.drift import from_latest, with_latest
from recsys.collaborative.factors import Factors
from recsys.collaborative.folding import rule_of
from recsys.collaborative.halfsteps import Problem
from recsys.collaborative.prior import with_cold_items
from recsys.collaborative.routes import Sharded, Side
from recsys.collaborative.trained import Trained
from recsys.config import CollaborativeConfig, check_stage
from recsys.errors import WorkersLostError

__all__ = ["Step", "alternate", "finish", "gather", "minimise", "train"]

T = TypeVar("T")
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


_PATIENCE = 8
"""Losses of workers in a row, without a half-step between them, after which a training ends."""


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
    n_entries: int
    """Entries of the evidence."""
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
    checkpoints: Checkpoints | None = None,
) -> Factors:
    """Minimise the objective and gather the factors.

    Arguments and errors as in `alternate` and `minimise`.
    """
    check_stage(config, "collaborative")
    checked_times(at, evidence)
    matrix = checked_evidence(evidence)
    features = checked_features(item_features, matrix.shape[1])
    return minimise(
        lambda workers: routes.shard(matrix, features, workers, at=at, n_bins=config.drift_bins),
        config,
        backend,
        lambda step: gather(step, config, backend, last=True),
        initial=initial,
        checkpoints=checkpoints,
    )


def minimise(
    load: Callable[[Backend], Sharded],
    config: CollaborativeConfig,
    backend: Backend,
    finish: Callable[[Step], T],
    *,
    initial: Factors | None = None,
    checkpoints: Checkpoints | None = None,
) -> T:
    """Alternate to the end, whatever happens to workers, and return ``finish(last step)``.

    Parameters
    ----------
    load
        Hands the evidence to the workers of a backend; called again when they were lost.
    initial
        As in `alternate`.
    checkpoints
        Where to keep the state every so many sweeps, and to go on from.

    Raises
    ------
    WorkersLostError
        Where workers are lost again and again without a half-step between.
    """
    start = checkpoints.latest() if checkpoints else None
    if start is not None:
        progress.note(f"going on after sweep {start.state.iteration} of {config.iterations}")
    losses = 0
    while True:
        try:
            # No name for the evidence: the workers drop what they have made routes of.
            steps = alternate(load(backend), config, backend, initial=initial, start=start)
            step, watch = None, _Watch(config, backend)
            for step in steps:
                losses = 0
                watch.see(step)
                if checkpoints and _due(step, config, checkpoints):
                    state = State(step.iteration, step.loss, step.basis, step.feature_map)
                    rows = {"users": step.users, "items": step.items}
                    checkpoints.save(state, rows | _drift(step), backend)
            assert step is not None, "alternate yields the start where there are no iterations"
            watch.end(step)
            return finish(step)
        except WorkersLostError as error:
            losses += 1
            if losses > _PATIENCE:
                raise
            start = checkpoints.latest() if checkpoints else None
            after = f"sweep {start.state.iteration}" if start else "the start"
            progress.note(f"workers lost: {error}; renewing them and going on after {after}")
            backend.renew()
            progress.note(f"{backend.n_workers} workers are at work again")


def _drift(step: Step) -> dict[str, Parts]:
    return {} if step.drift is None else {"drift": step.drift}


def _due(step: Step, config: CollaborativeConfig, checkpoints: Checkpoints) -> bool:
    swept = step.side == "items" and 0 < step.iteration < config.iterations
    return swept and checkpoints.every > 0 and step.iteration % checkpoints.every == 0


class _Watch:
    """Says after each sweep how far the training is and what it costs."""

    def __init__(self, config: CollaborativeConfig, backend: Backend) -> None:
        self._config, self._backend = config, backend
        self._began = time.perf_counter()
        self._moved = backend.usage().bytes_moved

    def see(self, step: Step) -> None:
        if step.side == "users" or not step.iteration:
            return
        now, used = time.perf_counter(), self._backend.usage()
        seconds, moved = now - self._began, used.bytes_moved - self._moved
        self._began, self._moved = now, used.bytes_moved
        rate = 2 * step.n_entries / seconds
        left = (self._config.iterations - step.iteration) * seconds
        said = [f"{rate / 1e6:.1f}M entries/s"]
        if step.loss is not None:
            said.insert(0, f"loss {step.loss:.6g}")
        if moved:
            said.append(f"{moved / 1e6:.1f} MB moved")
        progress.step("factors", step.iteration, self._config.iterations, ", ".join(said))
        figures = {"loss": step.loss} if step.loss is not None else {}
        progress.measure(
            "factors",
            iteration=step.iteration,
            iterations=self._config.iterations,
            seconds=seconds,
            entries_per_s=rate,
            bytes_moved=moved,
            peak_bytes=used.peak_bytes,
            driver_peak_bytes=peak_bytes(),
            eta_s=left,
            **figures,
        )

    def end(self, step: Step) -> None:
        if 0 < step.iteration < self._config.iterations:
            total = self._config.iterations
            progress.step("factors", total, total, "stopped at tolerance")


def alternate(
    evidence: sp.csr_array | Sharded,
    config: CollaborativeConfig,
    backend: Backend,
    *,
    initial: Factors | None = None,
    item_features: Floats | None = None,
    at: NDArray[np.int64] | None = None,
    start: Checkpoint | None = None,
    losses: bool = False,
) -> Iterator[Step]:
    """Solve users, then items, ``config.iterations`` times, and yield after each half-step.

    Parameters
    ----------
    evidence : (n_users, n_items) float32
        Signed evidence, or stars with ``feedback="explicit"``; or what the workers hold of it.
    initial
        Factors to start from; default: small random item factors by ``config.seed``.
    item_features : (n_items, d) float32
        What is known of the items, d up to 512; a zero row where nothing is. Only beside a matrix.
    at : (nnz,) int64
        Milliseconds since 1970 of each entry of a matrix, NO_TIME where unknown; only
        ``drift_bins`` asks.
    start
        Go on after this checkpoint of the same evidence and configuration.
    losses
        Compute the loss after every half-step (else only where the configuration asks for it).

    Raises
    ------
    InputError
        For evidence or features that are NaN or infinite, and for `initial` or features of
        another shape.
    ConfigError
        For a configuration value out of range.
    """
    check_stage(config, "collaborative")
    if not isinstance(evidence, Sharded):
        checked_times(at, evidence)
        matrix = checked_evidence(evidence)
        features = checked_features(item_features, matrix.shape[1])
        evidence = routes.shard(matrix, features, backend, at=at, n_bins=config.drift_bins)
        del matrix, features, item_features, at  # may be large, and the generator lives long
    rule = rule_of(config, evidence.mean)
    problem = Problem(evidence, rule, config, backend)
    n_entries, edges = evidence.n_entries, evidence.drift_edges
    del evidence
    users, items = problem.start(initial, start)
    del initial
    done, before = 0, np.inf
    basis: Doubles = np.eye(config.factors)
    if start is not None:
        done, basis = start.state.iteration, start.state.basis
        before = np.inf if start.state.loss is None else start.state.loss

    def step(iteration: int, side: Side, *, measured: bool) -> Step:
        loss = problem.loss(users, items) if measured else None
        return Step(
            iteration=iteration,
            side=side,
            loss=loss,
            users=users,
            items=items,
            basis=basis,
            user_evidence=problem.parts["users"],
            item_evidence=problem.parts["items"],
            global_mean=rule.mean,
            item_features=problem.prior.features,
            feature_map=problem.prior.matrix,
            n_entries=n_entries,
            drift=problem.drift.biases if problem.drift else None,
            drift_edges=edges,
        )

    if config.iterations == done:
        yield step(done, "items", measured=losses)
    for iteration in range(done + 1, config.iterations + 1):
        relaxation = config.relaxation if 1 < iteration < config.iterations else 1.0
        items, users, rotation = problem.half_step("users", items, users, relaxation)
        basis = basis @ rotation
        yield step(iteration, "users", measured=losses)
        users, items, rotation = problem.half_step("items", users, items, relaxation)
        basis = basis @ rotation
        wanted = config.loss_every and iteration % config.loss_every == 0
        measured = losses or config.tolerance > 0 or bool(wanted)
        swept = step(iteration, "items", measured=measured)
        yield swept
        if swept.loss is not None and config.tolerance > 0:
            if before - swept.loss < config.tolerance * before:
                return
            before = swept.loss


def gather(
    step: Step, config: CollaborativeConfig, backend: Backend, *, last: bool = False
) -> Factors:
    """Bring all factors to the caller, as `finish` leaves them."""
    return finish(step, config, backend, last=last).gather(backend)


def finish(
    step: Step, config: CollaborativeConfig, backend: Backend, *, last: bool = True
) -> Trained:
    """Return the factors in the basis of the start, biases centred.

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
    feature_map = None
    if len(step.feature_map):
        shared = (step.feature_map.astype(np.float32),)
        parts = (step.item_evidence, items, step.item_features)
        items = backend.map(with_cold_items, *parts, shared=shared)
        feature_map = (step.feature_map @ step.basis.T).astype(np.float32)

    def finished(evidence: Parts, parts: Parts, shift: float) -> Parts:
        return backend.map(shards.finished, evidence, parts, shared=(turn, shift, last))

    items, drift = finished(step.item_evidence, items, level), None
    if step.drift is not None:
        n_bins = config.drift_bins
        items = backend.map(with_latest, items, step.drift, shared=(n_bins,))
        drift = backend.map(from_latest, step.drift, shared=(n_bins,))
    return Trained(
        users=finished(step.user_evidence, step.users, -level),
        items=items,
        drift=drift,
        drift_edges=None if drift is None else step.drift_edges,
        global_mean=step.global_mean,
        feature_map=feature_map,
        config=config,
    )
