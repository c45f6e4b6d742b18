"""Where items are drawn to: the prior mean B g_i of an item with features g_i.

Enters: item features in parts beside the evidence, items' factors. Leaves: prior means in parts,
and the map B, which minimises, with the items fixed,

    sum_i lambda_i |y_i - B g_i|^2 + lambda_B |B|^2       (items with evidence)

that is B' = (G'RG + lambda_B I)^-1 G'RY with R = diag(lambda_i). A ridge step of this kind is in
irspack's iALS. Rows are vectors here, so the (d, f) array held is B': a mean is ``g_i @ matrix``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.backend import Backend, Parts
from recsys.collaborative import shards
from recsys.collaborative.kernels import Rule, padded
from recsys.collaborative.shards import Latent, Part
from recsys.config import CollaborativeConfig

__all__ = ["ItemPrior", "with_cold_items"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_NEGLIGIBLE = 1e-10
"""Share of the largest eigenvalue below which features are one and the same direction."""


class ItemPrior:
    """The map from features to prior means, kept in the basis in which the factors are.

    Parameters
    ----------
    features
        Per worker its items' rows, (n, d) float32; with d = 0 every mean is zero.
    evidence
        Per worker the items' `Part`.
    """

    def __init__(
        self,
        features: Parts,
        evidence: Parts,
        rule: Rule,
        config: CollaborativeConfig,
        backend: Backend,
    ) -> None:
        self.features, self.evidence, self.rule = features, evidence, rule
        self.config, self.backend = config, backend
        grams = backend.map(feature_gram, evidence, features, shared=(rule, config))
        gram: Doubles = sum(backend.gather(grams))
        normal = gram + config.feature_regularization * np.eye(len(gram))
        self._inverse = np.linalg.pinv(normal, rcond=_NEGLIGIBLE, hermitian=True)
        self.matrix: Doubles = np.zeros((len(gram), config.factors))
        """(d, f)."""

    def rotate(self, rotation: Doubles) -> None:
        """Follow the factors into another basis, (f, f)."""
        self.matrix = self.matrix @ rotation

    def fit(self, items: Parts) -> None:
        """Take the ridge step: the best map for these items."""
        if len(self.matrix):
            shared = (self.rule, self.config)
            parts = self.backend.map(
                feature_products, self.evidence, items, self.features, shared=shared
            )
            self.matrix = self._inverse @ sum(self.backend.gather(parts))

    def means(self) -> Parts:
        """Return each worker's prior means as `prior_means` gives them."""
        return self.backend.map(
            prior_means, self.evidence, self.features, shared=(self.matrix.astype(np.float32),)
        )

    def penalty(self) -> float:
        """Return lambda_B |B|^2."""
        return float(self.config.feature_regularization * np.sum(self.matrix**2))


def prior_means(part: Part, features: Floats, matrix: Floats) -> Floats:
    """Return (n, padded f) means; zeros for items without evidence, or one row where d = 0.

    An item without evidence stands at zero while others are trained: it is no news that nobody
    heard what nobody could hear. It gets its mean afterwards (`with_cold_items`).
    """
    d, f = matrix.shape
    means = np.zeros((len(features) if d else 1, padded(f)), np.float32)
    if d:
        means[:, :f] = features @ matrix
        means[shards.unseen(part)] = 0
    return means


def with_cold_items(part: Part, latent: Latent, features: Floats, matrix: Floats) -> Latent:
    """Return a copy in which items without evidence have their prior mean."""
    factors, cold = latent.factors.copy(), shards.unseen(part)
    factors[cold, : matrix.shape[1]] = features[cold] @ matrix
    return Latent(factors, latent.biases)


def feature_gram(part: Part, features: Floats, rule: Rule, config: CollaborativeConfig) -> Doubles:
    """Return G'RG, (d, d)."""
    return _weighted(part, features, features, rule, config)


def feature_products(
    part: Part, latent: Latent, features: Floats, rule: Rule, config: CollaborativeConfig
) -> Doubles:
    """Return G'RY, (d, f)."""
    return _weighted(part, features, latent.factors[:, : config.factors], rule, config)


def _weighted(
    part: Part, left: Floats, right: Floats, rule: Rule, config: CollaborativeConfig
) -> Doubles:
    ridges = shards.ridges_of(part.rows, rule, config)[0] * ~shards.unseen(part)
    total: Doubles = np.zeros((left.shape[1], right.shape[1]))
    for a in range(0, len(ridges), shards.CHUNK):
        rows = slice(a, a + shards.CHUNK)
        weighted = left[rows] * ridges[rows, None].astype(np.float64)
        total += weighted.T @ right[rows].astype(np.float64)
    return total
