"""The features of pairs against a slow twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.ensemble.features import FEATURES
from recsys.ensemble.learned import Logistic
from recsys.ensemble.recommender import HybridRecommender
from recsys.ensemble.tastes import tastes

USERS = np.array([0, 2, 3])


@pytest.fixture(scope="module")
def pairs(recommender: HybridRecommender):
    """Return some listeners, the union of their candidates, and what is told of each pair."""
    ensemble = recommender.ensemble
    listeners = ensemble.listeners(USERS)
    union = ensemble.union(listeners, 20, eligible=ensemble.eligible(recommender.eligible()))
    told = ensemble.features(listeners, union)
    return listeners, union, {name: told[:, at] for at, name in enumerate(FEATURES)}


@pytest.mark.parametrize("space", ["collaborative", "text", "audio"])
def test_nearness_agrees_with_numpy(recommender: HybridRecommender, pairs, space: str):
    listeners, union, told = pairs
    held = recommender.ensemble.spaces[space]
    points = listeners.points[space][union.listener]
    products = np.einsum("nqd,nd->nq", points, held.vectors[union.item])
    near = products[:, 1] + held.biases[union.item]
    if space != "collaborative":
        centres = tastes(listeners.history, held.vectors, recommender.config.ensemble.tastes)
        own = centres[union.listener]
        near = np.einsum("nqd,nd->nq", own, held.vectors[union.item]).max(axis=1)
        assert told[f"{space}.mean"] == pytest.approx(products[:, 1], abs=1e-5)
    assert told[f"{space}.near"] == pytest.approx(near, abs=1e-5)
    assert told[f"{space}.lately"] == pytest.approx(products[:, 0], abs=1e-5)


@pytest.mark.parametrize("name", ["collaborative.{}", "text.{}", "audio.{}"])
def test_standardised_within_each_listener(pairs, name: str):
    _, union, told = pairs
    for listener in range(len(USERS)):
        own = union.listener == listener
        values, z = told[name.format("near")][own].astype(float), told[name.format("z")][own]
        expected = (values - values.mean()) / max(values.std(), 1e-6)
        assert z == pytest.approx(expected, abs=1e-3)


def test_what_is_told_of_items_and_listeners(recommender: HybridRecommender, pairs):
    listeners, union, told = pairs
    known = np.log1p(recommender.listeners_of)
    assert told["popularity.listeners"] == pytest.approx(known[union.item])
    assert told["context.sources"].tolist() == (union.signals > 0).sum(axis=1).tolist()
    mean = [known[listeners.history[[u]].indices].mean() for u in range(len(USERS))]
    assert told["context.mainstream"] == pytest.approx(np.array(mean)[union.listener])


@pytest.mark.parametrize("diversity", [0.0, 0.4])
def test_learned_lists_are_the_same_alone_and_in_a_batch(
    recommender: HybridRecommender, diversity: float
):
    random = np.random.default_rng(0)
    n = len(FEATURES)
    blender = Logistic(random.normal(size=n), random.normal(size=n), 0.0)
    users = np.arange(recommender.catalogue.n_users, dtype=np.int32)
    options = {"blender": blender, "diversity": diversity}
    items, scores = recommender.rank(users, 9, **options)
    for user in users.tolist():
        alone = recommender.rank(users[[user]], 9, **options)
        assert alone[0][0].tolist() == items[user].tolist()
        assert alone[1][0] == pytest.approx(scores[user])
    assert (items >= 0).any(axis=1).sum() > 3


def test_a_version_of_fewer_models_has_zeros_for_the_rest(make):
    recommender = make(models=("text",))
    ensemble = recommender.ensemble
    listeners = ensemble.listeners(USERS)
    union = ensemble.union(listeners, 20, eligible=ensemble.eligible(recommender.eligible()))
    told = ensemble.features(listeners, union)
    without = [at for at, name in enumerate(FEATURES) if name.startswith(("collab", "audio"))]
    assert not told[:, without].any()
    assert np.isfinite(told).all()
    assert len(ensemble.features(listeners, replace(union).take(np.zeros(0, np.int64)))) == 0
