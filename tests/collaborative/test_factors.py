"""Factors: ranking, likeness, fold-in, shares, and staying where they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.collaborative.als import train
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig
from recsys.errors import UsageError

N_USERS, N_ITEMS = 50, 30


def evidence_of(seed, *, explicit=False):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.4, (N_USERS, N_ITEMS)).astype(np.float32)
    if explicit:
        return csr_array(np.where(counts > 0, rng.integers(1, 6, counts.shape), 0.0))
    dislikes = (rng.random(counts.shape) < 0.05) & (counts == 0)
    return csr_array(counts - dislikes).astype(np.float32)


CONFIGS = {
    "plain": CollaborativeConfig(bias=False),
    "biased": CollaborativeConfig(bias=True),
    "total": CollaborativeConfig(bias=False, confidence="total", alpha=3.0),
    "scaled": CollaborativeConfig(
        bias=True, regularization=0.3, regularization_exponent=0.7, unobserved_weight=0.4
    ),
    "explicit": CollaborativeConfig(bias=True, feedback="explicit", regularization=0.5),
    "explicit plain": CollaborativeConfig(bias=False, feedback="explicit", regularization=0.5),
}


def trained(config, seed=0):
    evidence = evidence_of(seed, explicit=config.feedback == "explicit").astype(np.float32)
    config = replace(config, factors=6, iterations=8, solver="cholesky", num_threads=1)
    return train(evidence, config, LocalBackend()), evidence


@pytest.fixture(scope="module", params=CONFIGS)
def case(request):
    return trained(CONFIGS[request.param])


def predictions(factors):
    users = np.arange(N_USERS)
    return factors.scores(users, np.tile(np.arange(N_ITEMS), (N_USERS, 1)))


def test_scores_are_the_prediction(case):
    factors, _ = case
    want = factors.user_factors @ factors.item_factors.T + factors.global_mean
    want += factors.user_biases[:, None] + factors.item_biases
    np.testing.assert_allclose(predictions(factors), want, atol=1e-5)


def test_recommend_ranks_by_the_prediction(case):
    factors, evidence = case
    users = np.array([3, 0, 3])
    allowed = np.arange(N_ITEMS) % 5 != 0
    rows, scores = factors.recommend(users, N_ITEMS, exclude=evidence[users], allowed=allowed)
    for place, user in enumerate(users):
        left = np.setdiff1d(np.flatnonzero(allowed), evidence[[user]].indices)
        all_scores = predictions(factors)[user]
        got = rows[place][rows[place] >= 0]
        assert set(got) == set(left)
        np.testing.assert_allclose(scores[place, : len(got)], all_scores[got], atol=1e-5)
        assert (np.diff(scores[place, : len(got)]) <= 0).all()
        assert np.isneginf(scores[place, len(got) :]).all()


def test_similar_is_the_cosine_without_itself(case):
    factors, _ = case
    for method, vectors in (
        (factors.similar_items, factors.item_factors),
        (factors.similar_users, factors.user_factors),
    ):
        rows, scores = method(np.array([2, 7]), 4)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for place, row in enumerate([2, 7]):
            cosines = unit @ unit[row]
            cosines[row] = -np.inf
            np.testing.assert_allclose(scores[place], np.sort(cosines)[::-1][:4], atol=1e-6)
            assert row not in rows[place]


def test_a_row_without_factors_is_like_nothing():
    factors, _ = trained(CONFIGS["plain"])
    factors.item_factors[4] = 0
    rows, scores = factors.similar_items(np.array([4, 5]), N_ITEMS)
    assert (rows[0] == -1).all() and np.isneginf(scores[0]).all()
    assert 4 not in rows[1] and (rows[1] >= 0).sum() == N_ITEMS - 2


def objective(factors, evidence, x, b):
    """The loss of one row, written out over every pair in float64."""
    config = factors.config
    r = evidence.toarray()[0].astype(np.float64)
    seen = np.isin(np.arange(N_ITEMS), evidence.indices)
    prediction = factors.item_factors.astype(np.float64) @ x + factors.item_biases + b
    ridge = config.regularization * max(seen.sum(), 1) ** config.regularization_exponent
    if config.feedback == "explicit":
        loss = ((r - factors.global_mean - prediction)[seen] ** 2).sum()
        return loss + ridge * (x @ x + b * b)
    c = (config.confidence == "excess") + config.alpha * np.abs(r)
    c = np.where(seen, c, config.unobserved_weight)
    return (c * ((r > 0) - prediction) ** 2).sum() + ridge * x @ x


def test_fold_in_minimises_the_objective(case):
    factors, evidence = case
    vectors, biases = factors.fold_in(evidence[:5])
    rng = np.random.default_rng(0)
    for user in range(5):
        x, b = vectors[user].astype(np.float64), float(biases[user])
        least = objective(factors, evidence[[user]], x, b)
        for _ in range(20):
            step = 0.01 * rng.standard_normal(len(x))
            b_step = 0.01 * rng.standard_normal() * factors.config.bias
            assert objective(factors, evidence[[user]], x + step, b + b_step) > least


def test_a_fold_in_without_regularisation_is_finite():
    """Six factors fill up to sixteen columns: what stands in the others is divided by nothing."""
    factors, evidence = trained(CollaborativeConfig(bias=True, regularization=0.0))
    vectors, biases = factors.fold_in(evidence[:5])
    assert np.isfinite(vectors).all() and np.isfinite(biases).all() and vectors.any()


def test_fold_in_of_items_is_the_last_half_step(case):
    factors, evidence = case
    vectors, biases = factors.fold_in_items(csr_array(evidence.T))
    users = np.arange(N_USERS)
    again = replace(factors, item_factors=vectors, item_biases=biases)
    seen = np.diff(csr_array(evidence.T).indptr) > 0
    items = np.tile(np.flatnonzero(seen), (N_USERS, 1))
    np.testing.assert_allclose(again.scores(users, items), factors.scores(users, items), atol=2e-3)


def test_shares_add_up_to_the_score_of_the_fold_in(case):
    factors, evidence = case
    for user in range(8):
        own = evidence[[user]]
        vectors, biases = factors.fold_in(own)
        why = factors.explain(own, 9, k=N_ITEMS)
        score = vectors[0] @ factors.item_factors[9] + biases[0] + factors.item_biases[9]
        assert why.score == pytest.approx(score + factors.global_mean, abs=2e-3)
        assert why.baseline + why.shares.sum() == pytest.approx(why.score, abs=1e-9)
        assert set(why.rows) == set(own.indices)
        assert (np.diff(why.shares) <= 0).all()
        np.testing.assert_array_equal(factors.explain(own, 9, k=2).rows, why.rows[:2])


def test_without_biases_the_baseline_is_nothing():
    factors, evidence = trained(CONFIGS["plain"])
    assert factors.explain(evidence[[0]], 3).baseline == 0


def test_fold_in_wants_a_column_per_item(case):
    factors, _ = case
    with pytest.raises(UsageError, match="want 30 columns, one per item, got 29"):
        factors.fold_in(csr_array((1, 29), dtype=np.float32))


def test_a_version_holds_them(case, tmp_path):
    factors, _ = case
    models = Models(tmp_path)
    writer = models.write()
    factors.write(writer)
    writer.commit()
    again = Factors.read(models.open())
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        np.testing.assert_array_equal(getattr(again, name), getattr(factors, name))
    assert (again.config, again.global_mean) == (factors.config, factors.global_mean)
    np.testing.assert_array_equal(
        again.recommend(np.array([1]), 5)[0], factors.recommend(np.array([1]), 5)[0]
    )


def test_alignment_turns_factors_back_and_keeps_predictions():
    factors, _ = trained(CONFIGS["biased"])
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0].astype(np.float32)
    turned = replace(
        factors, user_factors=factors.user_factors @ turn, item_factors=factors.item_factors @ turn
    )
    back = turned.aligned_to(factors, np.arange(N_ITEMS))
    np.testing.assert_allclose(back.item_factors, factors.item_factors, atol=1e-5)
    np.testing.assert_allclose(predictions(back), predictions(turned), atol=1e-5)


def test_alignment_keeps_neighbours_where_a_retraining_moved_them():
    former, evidence = trained(CONFIGS["biased"])
    # Three new items in front and another seed: every row number and the whole basis changes.
    wider = csr_array(np.hstack([evidence.toarray()[:, :3], evidence.toarray()]))
    rows = np.concatenate([[-1, -1, -1], np.arange(N_ITEMS)])
    config = replace(former.config, seed=9, iterations=30)
    fresh = train(wider, config, LocalBackend())
    aligned = fresh.aligned_to(former, rows)

    def moved(factors):
        return np.linalg.norm(factors.item_factors[3:] - former.item_factors)

    assert moved(aligned) < 0.5 * moved(fresh)


def test_a_warm_start_begins_where_the_former_version_ended():
    former, evidence = trained(CONFIGS["biased"])
    order = np.random.default_rng(0).permutation(N_ITEMS)
    start = former.renumbered(np.arange(N_USERS), order)
    shuffled = csr_array(evidence[:, order])
    warm = train(shuffled, replace(former.config, iterations=1), LocalBackend(), initial=start)
    cold = train(shuffled, replace(former.config, iterations=1), LocalBackend())
    target = predictions(former)[:, order]
    assert (
        np.abs(predictions(warm) - target).mean() < 0.2 * np.abs(predictions(cold) - target).mean()
    )


def test_renumbered_gives_new_rows_zeros():
    former, _ = trained(CONFIGS["biased"])
    start = former.renumbered(np.array([2, -1]), np.array([-1, 0, 1]))
    assert start.user_factors.shape == (2, 6) and start.item_biases.shape == (3,)
    np.testing.assert_array_equal(start.user_factors[0], former.user_factors[2])
    assert not start.user_factors[1].any() and start.item_biases[0] == 0


def test_alignment_wants_equal_factor_counts():
    factors, _ = trained(CONFIGS["plain"])
    narrow = replace(factors, item_factors=factors.item_factors[:, :3])
    with pytest.raises(UsageError, match="want 6 a row, got 3"):
        factors.aligned_to(narrow, np.arange(N_ITEMS))


def test_folding_is_prepared_once_and_reads_only_what_is_named(monkeypatch):
    factors, evidence = trained(CONFIGS["biased"])
    factors.warm_up()
    wanted = factors.fold_in(evidence[:3])[0]

    def again(*_arguments):
        raise AssertionError("the Gram matrix of all items was summed again")

    monkeypatch.setattr("recsys.collaborative.shards.gram", again)
    np.testing.assert_array_equal(factors.fold_in(evidence[:3])[0], wanted)
    # What the evidence does not name is not read.
    named = np.unique(evidence[:3].indices)
    factors.item_factors[np.setdiff1d(np.arange(N_ITEMS), named)] = np.nan
    np.testing.assert_array_equal(factors.fold_in(evidence[:3])[0], wanted)


def test_many_listeners_are_folded_in_as_one_is():
    factors, evidence = trained(CONFIGS["scaled"])
    many = csr_array(np.tile(evidence.toarray(), (8, 1)))
    factors = replace(factors, config=replace(factors.config, num_threads=3))
    vectors, biases = factors.fold_in(many)
    for place in (0, 49, 399):
        alone, bias = factors.fold_in(many[[place]])
        np.testing.assert_allclose(vectors[place], alone[0], atol=1e-6)
        assert biases[place] == pytest.approx(bias[0], abs=1e-6)
