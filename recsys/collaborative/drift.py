"""Popularity that moves: a bias per item and time bin beside the factors.

Enters: the time of each entry of the evidence, factors in parts. Leaves: the bin of each entry, and
the biases d, which minimise, with all else fixed,

    sum_obs c (t - x_u.y_i - beta_u - beta_i - d_i,bin(u,i))^2
        + w0 sum_unobserved (1/T) sum_b (x_u.y_i + beta_u + beta_i + d_ib)^2
        + lambda_d sum_ib d_ib^2        where sum_b d_ib = 0 for each item

An entry lies in the bin of its latest event; one whose time is unknown meets no d. A pair that was
not observed was observed in none of the T bins: it counts w0 / T in each. The edges are quantiles,
so that each bin holds as many entries, and nobody's listening weighs more for its date. As an
item's d add up to zero, of its n unobserved pairs only w0 n / T |d_i|^2 is left: factors and beta
never see d but in the targets of what was observed. With explicit feedback w0 is 0.

The bins are those of Koren: Collaborative filtering with temporal dynamics, KDD 2009 (b_i,Bin(t)).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.backend import Backend, Blocks, Parts
from recsys.collaborative import kernels, shards
from recsys.collaborative.kernels import Rule
from recsys.collaborative.shards import Latent, Part
from recsys.config import CollaborativeConfig
from recsys.data.arrays import frozen
from recsys.data.catalogue import NO_TIME

__all__ = ["Drift", "bin_edges", "bins_of", "from_latest", "with_latest"]

Side = Literal["users", "items"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def bin_edges(at: NDArray[np.int64], n_bins: int) -> NDArray[np.int64]:
    """Return (n_bins - 1,) the times at which a new bin begins; all bins hold as many of `at`."""
    timed = np.sort(at[at != NO_TIME])
    if not len(timed):
        return np.zeros(n_bins - 1, np.int64)
    return timed[len(timed) * np.arange(1, n_bins) // n_bins]


def bins_of(at: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the bin of each time, from 0; -1 where there is none."""
    bins = np.searchsorted(edges, at, side="right").astype(np.int8)
    bins[at == NO_TIME] = -1
    return bins


class Drift:
    """The bins' biases of all items, renewed after each half-step of the items.

    Parameters
    ----------
    items
        Per worker the items' `Part`, with bins.
    n_users
        Listeners, those without evidence included.
    """

    def __init__(
        self, items: Parts, n_users: int, rule: Rule, config: CollaborativeConfig, backend: Backend
    ) -> None:
        self._shared = (n_users, rule, config)
        self._backend = backend
        self.biases: Parts = backend.map(no_biases, items, shared=(config.drift_bins,))
        """Per worker a `Latent` whose vectors are d, (n, padded T), and which has no biases."""

    def fit(self, item_parts: Parts, items: Parts, users: Parts) -> None:
        """Take the exact step, `users` being what every worker was sent."""
        parts = (item_parts, items, users)
        self.biases = self._backend.map(least_biases, *parts, shared=self._shared)

    def seen(self, parts: dict[Side, Parts], sent: Parts) -> dict[Side, Parts]:
        """Return the evidence with the d of each entry; `sent` are those that listeners met."""
        backend, shared = self._backend, self._shared[-1:]
        return {
            "users": backend.map(with_offsets_of_columns, parts["users"], sent, shared=shared),
            "items": backend.map(with_offsets_of_rows, parts["items"], self.biases),
        }

    def loss(self, items: Parts) -> float:
        """Return w0 n / T |d_i|^2 + lambda_d |d_i|^2, summed over the items."""
        parts = self._backend.map(penalty, items, self.biases, shared=self._shared)
        return float(sum(self._backend.gather(parts)))


def with_latest(items: Latent, own: Latent, n_bins: int) -> Latent:
    """Return items with the biases of their latest bin."""
    return Latent(items.factors, items.biases + own.factors[:, n_bins - 1])


def from_latest(own: Latent, n_bins: int) -> Latent:
    """Return d counted from the latest bin's, (n, T)."""
    latest = own.factors[:, n_bins - 1 : n_bins]
    return Latent(own.factors[:, :n_bins] - latest, own.biases)


def no_biases(part: Part, n_bins: int) -> Latent:
    """Return zeros."""
    n = part.rows.indptr.size - 1
    return Latent(np.zeros((n, kernels.padded(n_bins)), np.float32), np.zeros(n, np.float32))


def least_biases(
    part: Part,
    latent: Latent,
    blocks: Blocks,
    n_users: int,
    rule: Rule,
    config: CollaborativeConfig,
) -> Latent:
    """Return the minimising d of each item; see the objective above."""
    own = Latent(*map(frozen, latent))
    errors, weights = np.zeros((2, len(own.biases), config.drift_bins))
    for stripe in part.stripes:
        fixed = shards.fixed_rows(blocks, part, stripe, config)

        def run(first: int, last: int, fixed: Latent = fixed) -> None:
            kernels.bin_sums(part.rows, first, last, rule, *fixed, *own, errors, weights)

        shards.over_rows(run, part.rows, stripe, config.num_threads)
    # Each bin by itself is a ratio; the multiplier makes an item's add up to zero.
    curvature = np.maximum(weights + _ridges(part, n_users, rule, config)[:, None], 1e-9)
    multiplier = (errors / curvature).sum(axis=1) / (1 / curvature).sum(axis=1)
    biases = (errors - multiplier[:, None]) / curvature
    padded = no_biases(part, config.drift_bins)
    padded.factors[:, : config.drift_bins] = biases
    return padded


def with_offsets_of_rows(part: Part, own: Latent) -> Part:
    """Return the items' evidence with the d of each entry."""
    offsets = np.empty(part.rows.values.size, np.float32)
    n = part.rows.indptr.size - 1
    kernels.bin_offsets(part.rows, 0, n, frozen(own.factors), True, offsets)
    return part._replace(rows=part.rows._replace(offsets=frozen(offsets)))


def with_offsets_of_columns(part: Part, blocks: Blocks, config: CollaborativeConfig) -> Part:
    """Return the listeners' evidence with the d of each entry."""
    offsets = np.empty(part.rows.values.size, np.float32)
    as_wide = replace(config, factors=config.drift_bins)
    for stripe in part.stripes:
        table = shards.fixed_rows(blocks, part, stripe, as_wide).factors
        kernels.bin_offsets(part.rows, stripe.first, stripe.last, table, False, offsets)
    return part._replace(rows=part.rows._replace(offsets=frozen(offsets)))


def penalty(
    part: Part, own: Latent, n_users: int, rule: Rule, config: CollaborativeConfig
) -> float:
    """Return what d itself costs."""
    squares = np.einsum("it,it->i", own.factors, own.factors, dtype=np.float64)
    return float(squares @ _ridges(part, n_users, rule, config))


def _ridges(part: Part, n_users: int, rule: Rule, config: CollaborativeConfig) -> Doubles:
    """Return (n_items,) the weight of the square of each d."""
    unobserved = n_users - np.diff(part.rows.indptr).astype(np.float64)
    return rule.unobserved * unobserved / config.drift_bins + config.drift_regularization
