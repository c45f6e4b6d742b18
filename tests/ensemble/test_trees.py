"""Trees as LightGBM grew them, share by share."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from recsys.ensemble.trees import Trees

GROUPS = [0, 0, 1, 1, 2]  # the last feature is context
CONTEXT = 2


def grown(*, constrained: bool = True) -> tuple[lightgbm.Booster, np.ndarray]:
    random = np.random.default_rng(0)
    features = random.normal(size=(600, 5)).astype(np.float32)
    # Groups multiply each other, so that free trees would mix them.
    target = features[:, 0] * features[:, 2] + features[:, 1] * features[:, 4] + features[:, 3]
    rules = {"interaction_constraints": [[0, 1, 4], [2, 3, 4]]} if constrained else {}
    booster = lightgbm.train(
        {"num_leaves": 12, "use_missing": False, "num_threads": 1, "verbosity": -1, **rules},
        lightgbm.Dataset(features, target),
        num_boost_round=25,
    )
    return booster, features


def test_shares_add_up_to_what_lightgbm_predicts():
    booster, features = grown()
    trees = Trees.of(booster.dump_model(), GROUPS, context=CONTEXT)
    shares = trees.shares(features, 3)
    assert shares.sum(axis=1) == pytest.approx(booster.predict(features), abs=1e-9)
    assert (np.abs(shares).sum(axis=0)[:2] > 0).all()


def test_a_share_heeds_its_own_features_and_context_only():
    booster, features = grown()
    trees = Trees.of(booster.dump_model(), GROUPS, context=CONTEXT)
    other = features.copy()
    other[:, :2] = np.random.default_rng(1).normal(size=(600, 2))
    before, after = trees.shares(features, 3), trees.shares(other, 3)
    assert np.array_equal(before[:, 1], after[:, 1])
    assert not np.array_equal(before[:, 0], after[:, 0])


def test_trees_that_mix_two_signals_are_refused():
    booster, _ = grown(constrained=False)
    with pytest.raises(AssertionError, match="two signals"):
        Trees.of(booster.dump_model(), GROUPS, context=CONTEXT)


def test_a_tree_that_is_one_leaf():
    dump = {"tree_info": [{"tree_structure": {"leaf_value": 0.25}}]}
    trees = Trees.of(dump, GROUPS, context=CONTEXT, scale=2.0)
    assert trees.shares(np.zeros((3, 5), np.float32), 3).tolist() == [[0, 0, 0.5]] * 3
