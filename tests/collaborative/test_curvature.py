"""How much an error in an item's vector costs, beside the objective summed user by user."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.collaborative.curvature import Curvature
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig

N_USERS, N_ITEMS, F = 9, 5, 3


def error_of(item, factors, evidence, config):
    """The weighted squared error of one item's predictions, as a function of its vector."""
    r = evidence.toarray()[:, item]
    p = r if config.feedback == "explicit" else (r > 0).astype(float)

    def error(vector):
        total = 0.0
        for user in range(N_USERS):
            c = config.unobserved_weight
            if r[user]:
                c = config.alpha * abs(r[user]) + (config.confidence == "excess")
            if config.feedback == "explicit":
                c = float(r[user] != 0)
            total += c * (p[user] - factors.user_factors[user].astype(float) @ vector) ** 2
        return total

    return error


@pytest.mark.parametrize(
    "config",
    [
        CollaborativeConfig(alpha=2.0),
        CollaborativeConfig(alpha=2.0, unobserved_weight=0.3),
        CollaborativeConfig(alpha=3.0, confidence="total", unobserved_weight=0.5),
        CollaborativeConfig(feedback="explicit", alpha=2.0, unobserved_weight=0.7),
    ],
)
def test_it_is_half_the_second_derivative_of_the_error(config):
    random = np.random.default_rng(0)
    dense = random.integers(-2, 4, (N_USERS, N_ITEMS)) * (random.random((N_USERS, N_ITEMS)) < 0.5)
    dense[:, 3] = 0  # nobody has heard it
    evidence = csr_array(dense.astype(np.float32))
    factors = Factors(
        random.normal(size=(N_USERS, F)).astype(np.float32),
        np.zeros((N_ITEMS, F), np.float32),
        np.zeros(N_USERS, np.float32),
        np.zeros(N_ITEMS, np.float32),
        0.0,
        replace(config, factors=F),
    )
    items = np.array([4, 0, 3])
    bent = Curvature(factors, evidence)(items)
    assert bent.dtype == np.float32
    axes = np.eye(F)
    for place, item in enumerate(items.tolist()):
        error = error_of(item, factors, evidence, config)
        second = [
            [error(a + b) - error(a) - error(b) + error(np.zeros(F)) for b in axes] for a in axes
        ]
        np.testing.assert_allclose(bent[place], np.array(second) / 2, rtol=1e-4, atol=1e-4)
