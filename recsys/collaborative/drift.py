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

import numpy as np
from numpy.typing import NDArray

from recsys.backend import Backend, Blocks, Parts
from recsys.collaborative import kernels, shards
from recsys.collaborative.kernels import Rule
from recsys.collaborative.shards import Latent, Part, frozen
from recsys.config import CollaborativeConfig
from recsys.data.catalogue import NO_TIME

__all__ = ["Drift", "bin_edges", "bins_of"]

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
        """Per worker a `Latent` whose vectors are d, (n, T)."""

    def fit(
        self, user_parts: Parts, item_parts: Parts, users: Parts, items: Parts
    ) -> tuple[Parts, Parts]:
        """Take the exact step; return the evidence with what the new d take from its targets."""
        backend = self._backend
        shared = (backend.publish(users), *self._shared)
        self.biases = backend.map(least_biases, item_parts, items, shared=shared)
        users_shared = (backend.publish(self.biases),)
        return (
            backend.map(with_offsets_of_columns, user_parts, shared=users_shared),
            backend.map(with_offsets_of_rows, item_parts, self.biases),
        )

    def loss(self, items: Parts) -> float:
        """Return w0 n / T |d_i|^2 + lambda_d |d_i|^2, summed over the items."""
        parts = self._backend.map(penalty, items, self.biases, shared=self._shared)
        return float(sum(self._backend.gather(parts)))


def no_biases(part: Part, n_bins: int) -> Latent:
    """Return zeros."""
    n = part.rows.indptr.size - 1
    return Latent(np.zeros((n, n_bins), np.float32), np.zeros(n, np.float32))


def least_biases(
    part: Part,
    latent: Latent,
    blocks: Blocks,
    n_users: int,
    rule: Rule,
    config: CollaborativeConfig,
) -> Latent:
    """Return the minimising d of each item; see the objective above."""
    fixed = shards.needed(blocks, part.columns)
    own = Latent(*map(frozen, latent))
    errors, weights = np.zeros((2, len(own.biases), config.drift_bins))

    def run(first: int, last: int) -> None:
        kernels.bin_sums(part.rows, first, last, rule, *fixed, *own, errors, weights)

    shards.over_rows(run, part.rows, config.num_threads)
    # Each bin by itself is a ratio; the multiplier makes an item's add up to zero.
    curvature = np.maximum(weights + _ridges(part, n_users, rule, config)[:, None], 1e-9)
    multiplier = (errors / curvature).sum(axis=1) / (1 / curvature).sum(axis=1)
    biases = (errors - multiplier[:, None]) / curvature
    return Latent(biases.astype(np.float32), latent.biases)


def with_offsets_of_rows(part: Part, own: Latent) -> Part:
    """Return the items' evidence with the d of each entry."""
    offsets = np.empty(part.rows.values.size, np.float32)
    kernels.bin_offsets(part.rows, frozen(own.factors), True, offsets)
    return part._replace(rows=part.rows._replace(offsets=frozen(offsets)))


def with_offsets_of_columns(part: Part, blocks: Blocks) -> Part:
    """Return the listeners' evidence with the d of each entry."""
    biases = shards.needed(blocks, part.columns).factors
    offsets = np.empty(part.rows.values.size, np.float32)
    kernels.bin_offsets(part.rows, biases, False, offsets)
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
