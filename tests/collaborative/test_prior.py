"""Item features: the prior that they are, the map that is learned, and items that nobody heard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.collaborative.als import alternate, gather, train
from recsys.collaborative.folding import Folding
from recsys.config import CollaborativeConfig
from recsys.errors import ConfigError, InputError, UsageError

N_USERS, N_ITEMS, N_TOPICS = 60, 40, 4
COLD = [5, 17, 39]
BASE = CollaborativeConfig(
    factors=6,
    iterations=5,
    solver="cholesky",
    relaxation=1.0,
    regularization=4.0,
    alpha=4.0,
    feature_regularization=2.0,
    num_threads=1,
)
CONFIGS = {
    "biased": BASE,
    "plain": replace(BASE, bias=False),
    "scaled": replace(BASE, regularization=0.5, regularization_exponent=0.8),
    "explicit": replace(BASE, feedback="explicit", regularization=0.5),
    "explicit plain": replace(BASE, feedback="explicit", bias=False, regularization=0.5),
}


def planted(seed=0, *, explicit=False):
    """Evidence of listeners who love some topics, features that tell topics, and the taste."""
    rng = np.random.default_rng(seed)
    love = rng.dirichlet(np.full(N_TOPICS, 0.3), N_USERS)
    topics = rng.dirichlet(np.full(N_TOPICS, 0.3), N_ITEMS)
    taste = love @ topics.T
    plays = rng.poisson(3 * taste).astype(np.float32)
    if explicit:
        plays = np.where(plays > 0, 1 + np.round(4 * taste), 0).astype(np.float32)
    plays[:, COLD] = 0
    mixed = topics @ rng.standard_normal((N_TOPICS, 7))
    features = (mixed + 0.05 * rng.standard_normal(mixed.shape)).astype(np.float32)
    return csr_array(plays), features, taste


def data_of(config):
    return planted(explicit=config.feedback == "explicit")[:2]


def objective(evidence, features, config, factors):
    """The objective as als.py states it, over all pairs, float64; cold items stand at zero."""
    r = evidence.toarray().astype(np.float64)
    x, y = (np.array(a, np.float64) for a in (factors.user_factors, factors.item_factors))
    y[COLD] = 0
    explicit = config.feedback == "explicit"
    prediction = x @ y.T + factors.user_biases[:, None] + factors.item_biases
    observed = r != 0
    c = np.where(observed, 1 + config.alpha * np.abs(r), config.unobserved_weight)
    t = (r > 0).astype(np.float64)
    if explicit:
        c, t = observed.astype(np.float64), r - factors.global_mean
    loss = (c * (t - prediction) ** 2).sum()
    b = np.zeros((features.shape[1], config.factors))
    if factors.feature_map is not None:
        b = factors.feature_map.astype(np.float64)
    drawn = features @ b
    drawn[COLD] = 0
    nu = config.regularization_exponent
    for rows, means, biases, axis in (
        (x, 0, factors.user_biases, 1),
        (y, drawn, factors.item_biases, 0),
    ):
        ridges = config.regularization * observed.sum(axis).astype(np.float64) ** nu
        loss += (ridges * ((rows - means) ** 2).sum(1)).sum()
        loss += explicit * (ridges * biases.astype(np.float64) ** 2).sum()
    return loss + config.feature_regularization * (b**2).sum()


@pytest.mark.parametrize("relaxation", [1.0, 1.5])
@pytest.mark.parametrize("solver", ["cholesky", "cg"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_half_step_lowers_the_loss(name, solver, relaxation):
    config = replace(CONFIGS[name], solver=solver, relaxation=relaxation, iterations=8)
    evidence, features = data_of(config)
    steps = alternate(evidence, config, LocalBackend(), item_features=features, losses=True)
    losses = np.array([step.loss for step in steps])
    assert (np.diff(losses) < 1e-5 * losses[:-1]).all(), losses
    assert losses[-1] < 0.99 * losses[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_loss_is_the_stated_objective(name):
    config = CONFIGS[name]
    evidence, features = data_of(config)
    backend = LocalBackend(2)
    for step in alternate(evidence, config, backend, item_features=features, losses=True):
        factors = gather(step, config, backend)
        if config.bias and config.feedback == "implicit":
            # Centring took this from all users and gave it to all items but the cold ones.
            factors.item_biases[COLD] = np.mean([b for part in step.users for b in part.biases])
        want = objective(evidence, features, config, factors)
        assert step.loss == pytest.approx(want, rel=2e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_small_change_of_the_map_or_of_items_helps(name):
    config = replace(CONFIGS[name], iterations=60)
    evidence, features = data_of(config)
    factors = train(evidence, config, LocalBackend(), item_features=features)
    least = objective(evidence, features, config, factors)
    rng = np.random.default_rng(0)
    for field in ("feature_map", "item_factors", "user_factors"):
        for _ in range(5):
            held = getattr(factors, field)
            moved = replace(factors, **{field: held + rng.normal(0, 0.02, held.shape)})
            assert objective(evidence, features, config, moved) > least


@pytest.mark.parametrize("name", CONFIGS)
def test_the_map_is_the_ridge_regression_of_the_items(name):
    config = CONFIGS[name]
    evidence, features = data_of(config)
    factors = train(evidence, config, LocalBackend(3), item_features=features)
    counts = (evidence.toarray() != 0).sum(0)
    ridges = config.regularization * counts.astype(float) ** config.regularization_exponent
    ridges[COLD] = 0
    g = features.astype(float)
    normal = (g.T * ridges) @ g + config.feature_regularization * np.eye(g.shape[1])
    want = np.linalg.solve(normal, (g.T * ridges) @ factors.item_factors)
    np.testing.assert_allclose(factors.feature_map, want, atol=2e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_an_item_that_nobody_heard_is_what_its_features_say(name):
    config = CONFIGS[name]
    evidence, features = data_of(config)
    factors = train(evidence, config, LocalBackend(), item_features=features)
    want = features[COLD] @ factors.feature_map
    np.testing.assert_allclose(factors.item_factors[COLD], want, atol=1e-5)
    assert np.linalg.norm(want, axis=1).min() > 0.05
    assert not factors.item_biases[COLD].any()


def test_items_that_nobody_heard_are_ranked_as_they_will_be_loved():
    places = []
    for seed in range(5):
        evidence, features, taste = planted(seed)
        config = replace(BASE, iterations=10)
        factors = train(evidence, config, LocalBackend(), item_features=features)
        scores = factors.user_factors @ factors.item_factors[COLD].T
        agree = np.sign(scores[:, [0, 0, 1]] - scores[:, [1, 2, 2]])
        truth = taste[:, COLD]
        margin = truth[:, [0, 0, 1]] - truth[:, [1, 2, 2]]
        clear = np.abs(margin) > 0.1
        places.append((agree == np.sign(margin))[clear].mean())
    assert np.mean(places) > 0.85, places


def test_plays_move_an_item_from_what_it_sounds_like_to_who_plays_it():
    evidence, features, taste = planted()
    factors = train(evidence, BASE, LocalBackend(), item_features=features)
    # It sounds like item 5, and is played by those who love item 0.
    content = features[[5]]
    prior = content @ factors.feature_map
    fans = np.argsort(-taste[:, 0])
    shares = []
    for n in (0, 1, 5, 50):
        row = np.zeros((1, N_USERS), np.float32)
        row[0, fans[:n]] = 1
        vector, _ = factors.fold_in_items(csr_array(row), features=content)
        plays, _ = factors.fold_in_items(csr_array(row))
        to_plays, to_content = (np.linalg.norm(vector - end) for end in (plays, prior))
        shares.append(to_plays / (to_plays + to_content))
    assert shares[0] == pytest.approx(1, abs=1e-6)
    assert (np.diff(shares) < 0).all(), shares
    assert 0.01 < shares[-1] < 0.35, "after 50 plays content still counts, but less"


@pytest.mark.parametrize("name", CONFIGS)
def test_solve_agrees_with_dense_normal_equations(name):
    config = CONFIGS[name]
    evidence, _ = data_of(config)
    rng = np.random.default_rng(0)
    fixed = rng.normal(0.2, 0.3, (N_USERS, 6)).astype(np.float32)
    prior = rng.normal(0, 0.5, (N_ITEMS, 6)).astype(np.float32)
    columns = np.hstack([fixed, np.full((N_USERS, 1), float(config.bias))]).astype(float)
    rows = csr_array(evidence.T)
    no_biases = np.zeros(N_USERS, np.float32)
    folding = Folding(fixed, no_biases, config, global_mean=1.5)
    found, biases = folding.solve(rows, prior=prior)
    explicit = config.feedback == "explicit"
    for i in range(N_ITEMS):
        r = rows[[i]].toarray()[0].astype(float)
        c, t = np.where(r != 0, 1 + config.alpha * r, config.unobserved_weight), (r > 0) * 1.0
        if explicit:
            c, t = (r != 0) * 1.0, r - 1.5
        ridge = config.regularization * np.count_nonzero(r) ** config.regularization_exponent
        normal = columns.T @ (c[:, None] * columns)
        normal += np.diag(np.append(np.full(6, ridge), ridge * explicit))
        right = columns.T @ (c * t) + ridge * np.append(prior[i], 0)
        want = np.linalg.lstsq(normal, right, rcond=None)[0]
        if not r.any():
            want = np.append(prior[i], 0)
        np.testing.assert_allclose(np.append(found[i], biases[i]), want, atol=2e-3)


@pytest.mark.parametrize("name", CONFIGS)
def test_fold_in_of_a_trained_item_is_the_item(name):
    config = replace(CONFIGS[name], iterations=80)
    evidence, features = data_of(config)
    factors = train(evidence, config, LocalBackend(), item_features=features)
    vectors, biases = factors.fold_in_items(csr_array(evidence.T), features=features)
    np.testing.assert_allclose(vectors, factors.item_factors, atol=5e-3)
    np.testing.assert_allclose(biases, factors.item_biases, atol=5e-3)


class ReadOnlyBackend(LocalBackend):
    """Hands out every array read-only, as a store of shared memory does."""

    def gather(self, parts):
        for part in parts:
            for array in part if isinstance(part, tuple) else [part]:
                if isinstance(array, np.ndarray):
                    array.flags.writeable = False
        return list(parts)

    def exchange(self, function, *parts, shared=()):
        return [self.gather(blocks) for blocks in super().exchange(function, *parts, shared=shared)]


@pytest.mark.parametrize("name", CONFIGS)
def test_workers_agree(name):
    config = CONFIGS[name]
    evidence, features = data_of(config)
    one, *others = (
        train(evidence, config, backend, item_features=features)
        for backend in (LocalBackend(1), LocalBackend(3), LocalBackend(50), ReadOnlyBackend(1))
    )
    for other in others:
        for field in ("user_factors", "item_factors", "item_biases", "feature_map"):
            np.testing.assert_allclose(getattr(other, field), getattr(one, field), atol=5e-4)


def test_features_that_say_nothing_change_nothing():
    evidence, features = data_of(BASE)
    without = train(evidence, BASE, LocalBackend())
    assert without.feature_map is None
    zeros = train(evidence, BASE, LocalBackend(), item_features=0 * features)
    np.testing.assert_allclose(zeros.item_factors, without.item_factors, atol=1e-6)
    assert not zeros.feature_map.any()


def test_a_column_given_twice_is_no_trouble_without_regularisation():
    evidence, features = data_of(BASE)
    config = replace(BASE, feature_regularization=0.0)
    twice = np.hstack([features, features])
    once, again = (
        train(evidence, config, LocalBackend(), item_features=g) for g in (features, twice)
    )
    np.testing.assert_allclose(again.item_factors, once.item_factors, atol=1e-3)


def test_training_goes_on_from_given_factors():
    config = replace(BASE, bias=False, iterations=6)
    evidence, features = data_of(config)
    whole = train(evidence, config, LocalBackend(), item_features=features)
    config = replace(config, iterations=3)
    half = train(evidence, config, LocalBackend(), item_features=features)
    rest = train(evidence, config, LocalBackend(), initial=half, item_features=features)
    for field in ("user_factors", "item_factors", "feature_map"):
        np.testing.assert_allclose(getattr(rest, field), getattr(whole, field), atol=5e-4)


def test_gathering_leaves_a_training_undisturbed():
    evidence, features = data_of(BASE)
    for step in alternate(evidence, BASE, LocalBackend(), item_features=features):
        factors = gather(step, BASE, LocalBackend())
    want = train(evidence, BASE, LocalBackend(), item_features=features)
    np.testing.assert_allclose(factors.item_factors, want.item_factors, atol=1e-5)


def test_a_version_holds_the_map_and_an_alignment_turns_it(tmp_path):
    evidence, features = data_of(BASE)
    factors = train(evidence, BASE, LocalBackend(), item_features=features)
    writer = Models(tmp_path).write()
    factors.write(writer)
    writer.commit()
    again = type(factors).read(Models(tmp_path).open())
    np.testing.assert_array_equal(again.feature_map, factors.feature_map)
    for n_items in (0, 3):  # as training solves for them, or by their features alone
        rows = csr_array(evidence.T[:n_items] if n_items else np.zeros((5, N_USERS), np.float32))
        g = features[: rows.shape[0]]
        found = again.fold_in_items(rows, features=g)
        for array, wanted in zip(found, factors.fold_in_items(rows, features=g), strict=True):
            np.testing.assert_array_equal(array, wanted)
        if not n_items:
            np.testing.assert_allclose(found[0], g @ factors.feature_map, atol=1e-5)

    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0].astype(np.float32)
    former = replace(
        again, item_factors=again.item_factors @ turn, feature_map=again.feature_map @ turn
    )
    aligned = again.aligned_to(former, np.arange(N_ITEMS))
    np.testing.assert_allclose(aligned.feature_map, former.feature_map, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g[:-1], r"want \(40, at most 512\), got \(39, 7\)"),
        (lambda g: g[:, 0], r"want \(40, at most 512\), got \(40,\)"),
        (lambda g: np.tile(g, 80), r"want \(40, at most 512\), got \(40, 560\)"),
        (lambda g: np.where(g == g[3, 2], np.nan, g), r"row 3, column 2 is nan; want finite"),
        (lambda g: np.where(g == g[3, 2], 1e300, g.astype(float)), "row 3, column 2 is inf"),
    ],
)
def test_wrong_features_are_refused_by_name(change, said):
    evidence, features = data_of(BASE)
    with pytest.raises(InputError, match=said):
        train(evidence, BASE, LocalBackend(), item_features=change(features))


def test_wrong_features_of_new_items_are_refused():
    evidence, features = data_of(BASE)
    row = csr_array(evidence.T[[0]])
    with pytest.raises(UsageError, match="trained without item features"):
        train(evidence, BASE, LocalBackend()).fold_in_items(row, features=features[:1])
    factors = train(evidence, BASE, LocalBackend(), item_features=features)
    with pytest.raises(UsageError, match=r"want shape \(1, 7\), got \(1, 6\)"):
        factors.fold_in_items(row, features=features[:1, :6])


def test_a_regularisation_below_zero_is_refused():
    evidence, features = data_of(BASE)
    config = replace(BASE, feature_regularization=-1.0)
    with pytest.raises(ConfigError, match=r"collaborative.feature_regularization: want .* got -1"):
        train(evidence, config, LocalBackend(), item_features=features)
