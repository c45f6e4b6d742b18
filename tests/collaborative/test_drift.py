"""Time-binned item biases: the objective that they enter, and what they are good for."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.cli import main
from recsys.collaborative.als import alternate, gather, train
from recsys.collaborative.drift import bin_edges, bins_of
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig
from recsys.data.catalogue import NO_TIME
from recsys.data.dataset import Dataset
from recsys.ensemble.recommender import SOURCES, HybridRecommender
from recsys.errors import ConfigError, InputError

LOCAL = LocalBackend()
DAY = 86_400_000
BASE = CollaborativeConfig(
    factors=5,
    iterations=4,
    solver="cholesky",
    relaxation=1.0,
    regularization=2.0,
    alpha=3.0,
    drift_bins=3,
    drift_regularization=0.7,
    num_threads=1,
)
CONFIGS = {
    "biased": BASE,
    "plain": replace(BASE, bias=False),
    "light zeros": replace(BASE, unobserved_weight=0.3, confidence="total"),
    "scaled": replace(BASE, regularization=0.3, regularization_exponent=0.8),
    "relaxed": replace(BASE, relaxation=1.5, solver="cg", iterations=8),
    "explicit": replace(BASE, feedback="explicit"),
    "explicit plain": replace(BASE, feedback="explicit", bias=False),
}


def data_of(config, seed=0, n_users=40, n_items=25):
    """Evidence, and a time for most of its entries."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.35, (n_users, n_items)).astype(np.float32)
    if config.feedback == "explicit":
        counts = np.where(counts > 0, rng.integers(1, 6, counts.shape), 0)
    elif n_users:
        counts -= (rng.random(counts.shape) < 0.04) & (counts == 0)
    evidence = csr_array(counts).astype(np.float32)
    at = rng.integers(0, 300 * DAY, evidence.nnz)
    at[rng.random(evidence.nnz) < 0.1] = NO_TIME
    return evidence, at


def dense_loss(evidence, at, config, factors):
    """The objective as drift.py states it: loops over all pairs and bins, float64."""
    x, y = factors.user_factors.astype(float), factors.item_factors.astype(float)
    bu, bi = factors.user_biases.astype(float), factors.mean_item_biases.astype(float)
    now = factors.item_biases.astype(float)
    d = factors.item_drift.astype(float) + (now - bi)[:, None]
    np.testing.assert_allclose(d.sum(axis=1), 0, atol=1e-5)
    n_bins = config.drift_bins
    edges = np.sort(at[at != NO_TIME])[np.sum(at != NO_TIME) * np.arange(1, n_bins) // n_bins]
    pairs = evidence.tocoo()
    observed = {(u, i): place for place, (u, i) in enumerate(zip(*pairs.coords, strict=True))}
    explicit = config.feedback == "explicit"
    mean = evidence.data.mean(dtype=float) if explicit else 0.0
    loss = config.drift_regularization * (d**2).sum()
    for u in range(len(x)):
        for i in range(len(y)):
            prediction = x[u] @ y[i] + bu[u] + bi[i]
            if (u, i) not in observed:
                if not explicit:
                    loss += config.unobserved_weight * np.mean((prediction + d[i]) ** 2)
                continue
            r, when = float(pairs.data[observed[u, i]]), at[observed[u, i]]
            if when != NO_TIME:
                prediction += d[i, np.sum(when >= edges)]
            base = 1.0 if config.confidence == "excess" else 0.0
            c = 1.0 if explicit else base + config.alpha * abs(r)
            loss += c * ((r - mean if explicit else float(r > 0)) - prediction) ** 2
    for rows, biases, axis in ((x, bu, 0), (y, bi, 1)):
        counts = np.bincount(pairs.coords[axis], minlength=len(rows)).astype(float)
        ridges = config.regularization * counts**config.regularization_exponent
        loss += ridges @ ((rows**2).sum(axis=1) + explicit * biases**2)
    return loss


@pytest.mark.parametrize("name", CONFIGS)
def test_the_loss_is_the_stated_objective_and_falls(name):
    config = CONFIGS[name]
    evidence, at = data_of(config)
    losses = []
    for step in alternate(evidence, config, LOCAL, at=at, losses=True):
        factors = gather(step, config, LOCAL)
        assert step.loss == pytest.approx(dense_loss(evidence, at, config, factors), rel=2e-5)
        losses.append(step.loss)
    assert (np.diff(losses) < 1e-5 * np.array(losses[:-1])).all(), losses
    assert factors.item_drift[:, :-1].all()


@pytest.mark.parametrize("name", ["biased", "light zeros", "explicit"])
def test_no_small_change_of_the_bins_helps(name):
    config = replace(CONFIGS[name], iterations=1)
    evidence, at = data_of(config)
    factors = train(evidence, config, LOCAL, at=at)
    least = dense_loss(evidence, at, config, factors)
    rng = np.random.default_rng(0)
    for _ in range(10):
        move = 0.02 * rng.standard_normal(factors.item_drift.shape).astype(np.float32)
        move -= move.mean(axis=1, keepdims=True)
        moved = replace(
            factors,
            item_drift=factors.item_drift + move - move[:, -1:],
            item_biases=factors.item_biases + move[:, -1],
        )
        assert dense_loss(evidence, at, config, moved) > least


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 10),
    st.integers(4, 10),
    st.integers(2, 9),
    st.sampled_from(sorted(CONFIGS)),
    st.sampled_from([0.0, 1e-3, 100.0]),
    st.integers(0, 1000),
)
def test_the_loss_falls_for_any_shape(n_users, n_items, n_bins, name, ridge, seed):
    config = replace(
        CONFIGS[name],
        drift_bins=n_bins,
        drift_regularization=ridge,
        iterations=3,
        solver="cholesky",
    )
    evidence, at = data_of(config, seed, n_users, n_items)
    steps = alternate(evidence, config, LocalBackend(2), at=at, losses=True)
    losses = np.array([step.loss for step in steps])
    assert np.isfinite(losses).all()
    scale = losses[0] + (1 + config.alpha * np.abs(evidence.data)).sum()
    assert (np.diff(losses) <= 1e-5 * scale).all(), losses


@pytest.mark.parametrize("name", CONFIGS)
def test_workers_agree(name):
    config = CONFIGS[name]
    evidence, at = data_of(config)
    one, three = (train(evidence, config, LocalBackend(n), at=at) for n in (1, 3))
    for field in ("user_factors", "item_factors", "item_biases", "item_drift"):
        np.testing.assert_allclose(getattr(three, field), getattr(one, field), atol=5e-4)


@pytest.mark.parametrize("name", ["biased", "light zeros", "scaled", "explicit"])
def test_fold_in_gives_a_trained_listener_her_own_factors(name):
    config = replace(CONFIGS[name], iterations=80)
    evidence, at = data_of(config)
    factors = train(evidence, config, LOCAL, at=at)
    vectors, biases = factors.fold_in(evidence, at=at)
    np.testing.assert_allclose(vectors, factors.user_factors, atol=2e-2)
    np.testing.assert_allclose(biases, factors.user_biases, atol=2e-2)
    untimed, _ = factors.fold_in(evidence)
    unknown, _ = factors.fold_in(evidence, at=np.full(evidence.nnz, NO_TIME))
    np.testing.assert_allclose(untimed, unknown, atol=1e-6)
    assert np.abs(untimed - vectors).max() > 0.05


def test_shares_add_up_to_the_score_now():
    config = replace(BASE, iterations=8)
    evidence, at = data_of(config)
    factors = train(evidence, config, LOCAL, at=at)
    vectors, biases = factors.fold_in(evidence[[5]])
    why = factors.explain(evidence[[5]], 9)
    score = vectors[0] @ factors.item_factors[9] + biases[0] + factors.item_biases[9]
    assert why.score == pytest.approx(score, abs=2e-3)


def test_without_times_or_bins_nothing_changes():
    evidence, at = data_of(BASE)
    still = train(evidence, replace(BASE, drift_bins=0), LOCAL)
    for found in (
        train(evidence, BASE, LOCAL),
        train(evidence, replace(BASE, drift_bins=1), LOCAL, at=at),
    ):
        assert found.item_drift is None
        np.testing.assert_array_equal(found.item_factors, still.item_factors)
    unknown = train(evidence, BASE, LOCAL, at=np.full(evidence.nnz, NO_TIME))
    np.testing.assert_array_equal(unknown.item_factors, still.item_factors)
    assert not unknown.item_drift.any()


def test_an_item_without_evidence_has_no_drift():
    evidence, at = data_of(BASE)
    wider = csr_array(np.hstack([evidence.toarray(), np.zeros((40, 2), np.float32)]))
    for n_workers in (1, 2):
        factors = train(wider, BASE, LocalBackend(n_workers), at=at)
        assert not factors.item_drift[25:].any() and not factors.item_biases[25:].any()


def test_bins_hold_equally_many_entries():
    at = np.random.default_rng(0).exponential(1e9, 1000).astype(np.int64)
    edges = bin_edges(np.append(at, NO_TIME), 8)
    np.testing.assert_array_equal(np.bincount(bins_of(at, edges)), np.full(8, 125))
    assert bins_of(np.array([NO_TIME, at.min(), at.max(), edges[0]]), edges).tolist() == [
        -1,
        0,
        7,
        1,
    ]


def test_a_version_holds_the_drift_and_a_training_starts_from_it(tmp_path):
    evidence, at = data_of(BASE)
    factors = train(evidence, BASE, LOCAL, at=at)
    writer = Models(tmp_path).write()
    factors.write(writer)
    writer.commit()
    again = Factors.read(Models(tmp_path).open())
    for field in ("item_biases", "item_drift", "drift_edges"):
        np.testing.assert_array_equal(getattr(again, field), getattr(factors, field))
    np.testing.assert_array_equal(
        again.fold_in(evidence[:2], at=at[: evidence[:2].nnz])[0],
        factors.fold_in(evidence[:2], at=at[: evidence[:2].nnz])[0],
    )
    start = again.renumbered(np.arange(40), np.append(np.arange(25), -1))
    assert start.item_drift.shape == (26, 3)
    config = replace(BASE, iterations=1)
    *_, warm = alternate(evidence, config, LOCAL, at=at, initial=again, losses=True)
    *_, cold = alternate(evidence, config, LOCAL, at=at, losses=True)
    assert warm.loss < cold.loss


@pytest.mark.parametrize("change", [lambda at: at[:-1], lambda at: np.append(at, 0)])
def test_another_number_of_times_is_refused(change):
    evidence, at = data_of(BASE)
    with pytest.raises(InputError, match=f"times: want one for each of {evidence.nnz} entries"):
        train(evidence, BASE, LOCAL, at=change(at))


@pytest.mark.parametrize("n_bins", [-1, 128])
def test_a_number_of_bins_out_of_range_is_refused(n_bins):
    evidence, at = data_of(BASE)
    with pytest.raises(ConfigError, match=r"collaborative.drift_bins: want .* got"):
        train(evidence, replace(BASE, drift_bins=n_bins), LOCAL, at=at)


def trending(seed=0, n_users=300, n_items=120, n_plays=12_000):
    """Plays in order of time, by listeners of four tastes; half of the items rise, half fall."""
    rng = np.random.default_rng(seed)
    tastes, genres = rng.integers(0, 4, n_users), rng.integers(0, 4, n_items)
    rises = rng.random(n_items) < 0.5
    when = np.sort(rng.random(n_plays))
    users = rng.integers(0, n_users, n_plays)
    weight = np.where(tastes[:, None] == genres, 8.0, 1.0)
    trend = np.exp(4 * np.where(rises, when[:, None] - 1, -when[:, None]))
    chances = np.cumsum(weight[users] * trend, axis=1)
    items = (rng.random((n_plays, 1)) * chances[:, -1:] > chances).sum(axis=1)
    return users, items, (when * 365 * DAY).astype(np.int64), (n_users, n_items)


def test_the_command_line_takes_bins_and_its_lists_follow(tmp_path, monkeypatch, capsys):
    users, items, when, (n_users, _) = trending()
    table = pa.table(
        {
            "user_id": [f"u{user:03}" for user in users],
            "item_id": [f"i{item:03}" for item in items],
            "kind": ["stream"] * len(users),
            "at": pa.array(when, pa.timestamp("ms", "UTC")),
        }
    )
    dataset = Dataset(tmp_path / "dataset")
    with dataset.transaction() as transaction:
        transaction.append("events", [table], source="test", fingerprint="1")

    def age_of_lists(n_bins):
        models = tmp_path / f"models{n_bins}"
        arguments = ["recsys", "train", dataset.folder.path, models, "--only=collaborative"]
        arguments += [f"--set=collaborative.drift_bins={n_bins}"]
        arguments += ["--set=collaborative.drift_regularization=1.0"]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
        with pytest.raises(SystemExit) as done:
            main()
        assert not done.value.code, capsys.readouterr().err
        recommender = HybridRecommender.load(Models(models).open())
        assert (recommender.factors.item_drift is None) == (not n_bins)
        weights = {name: float(name == "collaborative") for name in SOURCES}
        ranked, _ = recommender.rank(np.arange(n_users), 5, weights=weights)
        played = np.array([when[items == item].mean() for item in range(ranked.max() + 1)])
        return (when.max() - played[ranked]).mean()

    assert age_of_lists(6) < 0.9 * age_of_lists(0)


def test_lists_follow_what_rises():
    """What listeners newly play in the last fifth of the time is ranked higher with drift."""
    users, items, when, shape = trending()
    past = np.arange(len(users)) < 0.8 * len(users)
    plays = np.zeros(shape, np.float32)
    np.add.at(plays, (users[past], items[past]), 1)
    latest = np.zeros(shape, np.int64)
    np.maximum.at(latest, (users[past], items[past]), when[past])
    evidence = csr_array(plays)
    later = np.zeros(shape, bool)
    later[users[~past], items[~past]] = True
    later &= plays == 0
    config = CollaborativeConfig(factors=8, iterations=10, num_threads=1, alpha=2.0)

    def recall(**changes):
        factors = train(evidence, replace(config, **changes), LOCAL, at=latest[plays > 0])
        rows, _ = factors.recommend(np.arange(shape[0]), 10, exclude=evidence)
        return np.mean(
            [later[u, r].sum() / min(10, later[u].sum() or 1) for u, r in enumerate(rows)]
        )

    assert recall(drift_bins=6, drift_regularization=1.0) > 1.2 * recall()
