"""However the rows are cut and wherever they lie, a training gives the same factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.cluster import RayBackend
from recsys.collaborative.als import alternate, train
from recsys.config import CollaborativeConfig

BASE = CollaborativeConfig(
    factors=5, iterations=3, regularization=1.0, solver="cholesky", num_threads=1
)
CONFIGS = {
    "biased": BASE,
    "plain": replace(BASE, bias=False),
    "explicit": replace(BASE, feedback="explicit"),
    "conjugate gradient": replace(BASE, solver="cg", cg_steps=6),
}
SHARDS = (1, 2, 3, 7)


def evidence(n_users=60, n_items=40):
    """Counts with listeners and items of very different activity, some with nothing at all."""
    rng = np.random.default_rng(3)
    rate = rng.pareto(1.0, n_users)[:, None] * rng.pareto(1.0, n_items)
    counts = rng.poisson(np.minimum(rate, 3)).astype(np.float32)
    counts[[0, n_users // 2], :] = 0
    counts[:, n_items // 3] = 0
    return csr_array(counts)


def features(n_items=40):
    return np.random.default_rng(4).standard_normal((n_items, 6)).astype(np.float32)


def assert_agree(found, wanted):
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(wanted, name), atol=2e-3, err_msg=name
        )
    users = np.arange(len(wanted.user_factors))
    items = np.tile(np.arange(len(wanted.item_factors)), (len(users), 1))
    np.testing.assert_allclose(found.scores(users, items), wanted.scores(users, items), atol=2e-3)


@pytest.mark.parametrize("n_nodes", [1, 7])  # whole blocks travel; or the rows that are needed
@pytest.mark.parametrize("n_shards", SHARDS[1:])
@pytest.mark.parametrize("name", CONFIGS)
def test_shards_agree_with_one_process(name, n_shards, n_nodes):
    backend = LocalBackend(n_shards, n_nodes=n_nodes)
    for given in (None, features()):
        alone = train(evidence(), CONFIGS[name], LocalBackend(), item_features=given)
        sharded = train(evidence(), CONFIGS[name], backend, item_features=given)
        assert_agree(sharded, alone)


@pytest.mark.parametrize(("n_users", "n_items"), [(60, 4), (3, 40), (2, 2)])
def test_fewer_rows_than_shards_leave_some_shards_empty(n_users, n_items):
    matrix, given = evidence(n_users, n_items), features(n_items)
    alone = train(matrix, BASE, LocalBackend(), item_features=given)
    assert_agree(train(matrix, BASE, LocalBackend(7), item_features=given), alone)


@pytest.mark.parametrize("n_shards", SHARDS)
def test_actors_agree_with_one_process(cluster, n_shards):
    few = evidence(60, 4)
    with RayBackend(n_shards) as backend:
        for name, config in CONFIGS.items():
            given = None if name == "plain" else features()
            alone = train(evidence(), config, LocalBackend(), item_features=given)
            assert_agree(train(evidence(), config, backend, item_features=given), alone)
        assert_agree(train(few, BASE, backend), train(few, BASE, LocalBackend()))


@pytest.mark.parametrize("n_shards", SHARDS)
def test_the_loss_of_shards_is_that_of_one_process(n_shards):
    def losses(backend):
        steps = alternate(evidence(), BASE, backend, item_features=features(), losses=True)
        return [step.loss for step in steps]

    np.testing.assert_allclose(losses(LocalBackend(n_shards)), losses(LocalBackend()), rtol=1e-5)
