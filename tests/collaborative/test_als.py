"""The objective, the alternation, and both backends' agreement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.backend import LocalBackend
from recsys.collaborative import als
from recsys.collaborative.factors import Factors
from recsys.collaborative.folding import Folding
from recsys.config import CollaborativeConfig
from recsys.errors import ConfigError, InputError

LOCAL = LocalBackend(1)
BASE = CollaborativeConfig(
    factors=8, iterations=4, solver="cholesky", relaxation=1.0, num_threads=1
)

CONFIGS = [
    {},
    {"bias": False},
    {"feedback": "explicit"},
    {"feedback": "explicit", "bias": False},
    {"unobserved_weight": 0.2},
    {"unobserved_weight": 0.0},
    {"regularization": 0.3, "regularization_exponent": 1.0},
    {"feedback": "explicit", "regularization": 0.1, "regularization_exponent": 1.0},
    {"confidence": "total", "alpha": 4.0},
    {"alpha": 0.0},
]


def random_evidence(seed=0, n_users=40, n_items=30, density=0.2):
    rng = np.random.default_rng(seed)
    matrix = sp.random_array(
        (n_users, n_items), density=density, format="csr", dtype=np.float32, rng=rng
    )
    matrix.data = np.round(8 * matrix.data - 2).astype(np.float32)
    matrix.data[matrix.data == 0] = 1
    return matrix


def dense_loss(evidence, config, factors):
    """The objective as als.py states it: loops over all pairs, float64."""
    x, y = factors.user_factors.astype(float), factors.item_factors.astype(float)
    bu, bi = factors.user_biases.astype(float), factors.item_biases.astype(float)
    stored = sp.coo_array(evidence)
    r = {(int(u), int(i)): float(v) for u, i, v in zip(*stored.coords, stored.data, strict=True)}
    explicit = config.feedback == "explicit"
    mean = np.mean(list(r.values())) if explicit else 0.0
    loss = 0.0
    for u in range(len(x)):
        for i in range(len(y)):
            prediction = x[u] @ y[i] + bu[u] + bi[i]
            if (u, i) in r:
                base = 1.0 if config.confidence == "excess" else 0.0
                c = 1.0 if explicit else base + config.alpha * abs(r[u, i])
                t = r[u, i] - mean if explicit else float(r[u, i] > 0)
            elif explicit:
                continue
            else:
                c, t = config.unobserved_weight, 0.0
            loss += c * (t - prediction) ** 2
    nu = config.regularization_exponent
    for rows, biases, axis in ((x, bu, 0), (y, bi, 1)):
        for row in range(len(rows)):
            count = sum(key[axis] == row for key in r)
            ridge = config.regularization * float(count) ** nu
            loss += ridge * (rows[row] @ rows[row] + explicit * biases[row] ** 2)
    return loss


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_every_exact_half_step_lowers_the_loss(options):
    config = replace(BASE, **options)
    steps = list(als.alternate(random_evidence(), config, LOCAL, losses=True))
    assert [(s.iteration, s.side) for s in steps[:3]] == [(1, "users"), (1, "items"), (2, "users")]
    losses = np.array([s.loss for s in steps])
    assert len(losses) == 8
    assert (np.diff(losses) < 1e-5 * losses[:-1]).all(), losses
    assert losses[-1] < 0.999 * losses[0]


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_half_steps_that_go_beyond_the_minimiser_lower_the_loss_too(options, solver):
    config = replace(BASE, relaxation=1.6, solver=solver, iterations=8, **options)
    losses = [s.loss for s in als.alternate(random_evidence(), config, LOCAL, losses=True)]
    assert (np.diff(losses) < 1e-5 * np.array(losses[:-1])).all(), losses


def test_relaxation_reaches_a_loss_in_fewer_sweeps():
    evidence = random_evidence(0, 200, 150, 0.1)
    plain, relaxed = (
        [s.loss for s in als.alternate(evidence, config, LOCAL, losses=True)]
        for config in (replace(BASE, iterations=n, relaxation=r) for n, r in ((10, 1.0), (7, 1.5)))
    )
    assert relaxed[-1] < plain[-1]
    assert relaxed[:2] == plain[:2], "the first sweep is not relaxed"


def test_conjugate_gradient_is_nearly_exact():
    evidence = random_evidence(0, 200, 150, 0.1)
    config = replace(BASE, iterations=10)
    exact = als.train(evidence, config, LOCAL)
    found = als.train(evidence, replace(config, solver="cg", cg_steps=12), LOCAL)
    np.testing.assert_allclose(found.user_factors, exact.user_factors, atol=2e-3)
    np.testing.assert_allclose(found.item_biases, exact.item_biases, atol=2e-3)
    few = replace(config, solver="cg", cg_steps=3)
    *_, last = als.alternate(evidence, few, LOCAL, losses=True)
    assert last.loss < 1.01 * dense_loss(evidence, config, exact)


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_the_loss_is_the_stated_objective(options):
    config = replace(BASE, **options)
    evidence = random_evidence(1)
    for step in als.alternate(evidence, config, LOCAL, losses=True):
        factors = als.gather(step, config, LOCAL)
        assert step.loss == pytest.approx(dense_loss(evidence, config, factors), rel=2e-5)


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_a_half_step_ends_where_no_small_change_helps(options):
    config = replace(BASE, iterations=1, **options)
    evidence = random_evidence(2)
    *_, step = als.alternate(evidence, config, LOCAL)
    factors = als.gather(step, config, LOCAL)
    best = dense_loss(evidence, config, factors)
    rng = np.random.default_rng(0)
    for _ in range(5):
        moved = factors.item_factors + rng.normal(0, 0.02, factors.item_factors.shape)
        assert dense_loss(evidence, config, replace(factors, item_factors=moved)) > best
        if config.bias:
            moved = factors.item_biases + rng.normal(0, 0.02, factors.item_biases.shape)
            assert dense_loss(evidence, config, replace(factors, item_biases=moved)) > best


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_three_workers_agree_with_one(options):
    config = replace(BASE, **options)
    evidence = random_evidence(3)
    one = als.train(evidence, config, LocalBackend(1))
    three = als.train(evidence, config, LocalBackend(3))
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        np.testing.assert_allclose(getattr(three, name), getattr(one, name), atol=2e-4)


class ReadOnlyBackend(LocalBackend):
    """Hands out every array read-only, as a store of shared memory does."""

    def map(self, function, *parts, shared=()):
        results = super().map(function, *parts, shared=shared)
        for result in results:
            if isinstance(result, tuple):
                for array in result:
                    if isinstance(array, np.ndarray):
                        array.flags.writeable = False
        return results


def test_parts_that_cannot_be_overwritten_are_copied():
    evidence = random_evidence(3)
    owned, shared = (als.train(evidence, BASE, b) for b in (LOCAL, ReadOnlyBackend(1)))
    np.testing.assert_array_equal(owned.user_factors, shared.user_factors)
    np.testing.assert_array_equal(owned.item_biases, shared.item_biases)


def test_gathering_leaves_a_training_undisturbed():
    evidence = random_evidence(3)
    for step in als.alternate(evidence, BASE, LOCAL):
        factors = als.gather(step, BASE, LOCAL)
    np.testing.assert_allclose(
        factors.user_factors, als.train(evidence, BASE, LOCAL).user_factors, atol=1e-5
    )


@pytest.mark.parametrize("n_factors", [8, 16, 19])
def test_dense_passes_may_take_any_number_of_rows_at_a_time(monkeypatch, n_factors):
    evidence, config = random_evidence(3), replace(BASE, factors=n_factors)
    whole = als.train(evidence, config, LOCAL)
    monkeypatch.setattr("recsys.collaborative.shards.CHUNK", 7)
    pieces = als.train(evidence, config, LOCAL)
    np.testing.assert_allclose(pieces.user_factors, whole.user_factors, atol=2e-4)
    np.testing.assert_allclose(pieces.item_factors, whole.item_factors, atol=2e-4)


def test_more_workers_than_rows():
    evidence = random_evidence(3, n_users=2, n_items=3, density=0.9)
    one, seven = (als.train(evidence, BASE, LocalBackend(n)) for n in (1, 7))
    np.testing.assert_allclose(seven.user_factors, one.user_factors, atol=1e-4)


def test_the_result_does_not_depend_on_the_number_of_threads():
    evidence = random_evidence(4, 300, 200, 0.05)
    one = als.train(evidence, replace(BASE, num_threads=1), LOCAL)
    four = als.train(evidence, replace(BASE, num_threads=4), LOCAL)
    np.testing.assert_allclose(four.user_factors, one.user_factors, atol=1e-5)
    np.testing.assert_allclose(four.item_biases, one.item_biases, atol=1e-5)


def test_the_same_seed_gives_the_same_factors_and_another_seed_others():
    evidence = random_evidence(5)
    first, again = als.train(evidence, BASE, LOCAL), als.train(evidence, BASE, LOCAL)
    other = als.train(evidence, replace(BASE, seed=1), LOCAL)
    np.testing.assert_array_equal(first.item_factors, again.item_factors)
    assert not np.allclose(first.item_factors, other.item_factors)


def checkerboard(n):
    return np.fromfunction(lambda u, i: (u + i) % 2 == 0, (n, n)).astype(np.float32)


def test_checkerboard_has_its_known_scores():
    """Two blocks of h = 10 users by h items: h^2 c (1 - s)^2 + 2 lambda h s is least at
    s = 1 - lambda / (h c), and all other scores are 0."""
    config = replace(BASE, factors=2, bias=False, iterations=20, regularization=20.0)
    factors = als.train(sp.csr_array(checkerboard(20)), config, LOCAL)
    wanted = checkerboard(20) * (1 - 20 / (10 * 11))
    scores = factors.user_factors @ factors.item_factors.T
    np.testing.assert_allclose(scores, wanted, atol=1e-3)


def test_checkerboard_with_holes_ranks_the_held_out_first():
    board = checkerboard(20)
    holes = board.copy()
    np.fill_diagonal(holes, 0)
    config = replace(BASE, factors=2, iterations=20)
    factors = als.train(sp.csr_array(holes), config, LOCAL)
    scores = factors.user_factors @ factors.item_factors.T + factors.item_biases
    for u in range(20):
        assert scores[u, u] > scores[u][board[u] == 0].max() + 0.3


def test_a_dislike_scores_below_the_unheard():
    evidence = sp.csr_array(np.array([[1, 1, -3, 0], [1, 1, -3, 0]], np.float32))
    factors = als.train(evidence, replace(BASE, bias=False, factors=2, regularization=0.1), LOCAL)
    scores = factors.user_factors[0] @ factors.item_factors.T
    assert scores[2] == pytest.approx(0, abs=0.05)
    assert scores[0] > 0.9


def test_rows_without_evidence_are_zero():
    evidence = random_evidence(6).tolil()
    evidence[3] = 0
    evidence[:, 5] = 0
    matrix = sp.csr_array(evidence)
    matrix.eliminate_zeros()
    for n_workers in (1, 2):
        factors = als.train(matrix, BASE, LocalBackend(n_workers))
        assert not factors.user_factors[3].any()
        assert not factors.item_factors[5].any()
        assert factors.user_biases[3] == factors.item_biases[5] == 0


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 2)])
def test_nothing_to_learn_from(shape):
    factors = als.train(sp.csr_array(shape, dtype=np.float32), BASE, LOCAL)
    assert factors.user_factors.shape == (shape[0], 8)
    assert not factors.user_factors.any()
    assert not factors.item_factors.any()


def test_user_biases_are_centred_and_predictions_kept():
    evidence = random_evidence(7)
    factors = als.train(evidence, BASE, LOCAL)
    assert factors.user_biases.mean() == pytest.approx(0, abs=1e-6)
    *_, step = als.alternate(evidence, BASE, LOCAL, losses=True)
    assert step.loss == pytest.approx(dense_loss(evidence, BASE, factors), rel=1e-5)


def test_training_goes_on_from_given_factors():
    evidence = random_evidence(8)
    whole = als.train(evidence, BASE, LOCAL)
    half = als.train(evidence, replace(BASE, iterations=2), LOCAL)
    before = [half.user_factors.copy(), half.item_factors.copy()]
    rest = als.train(evidence, replace(BASE, iterations=2), LocalBackend(2), initial=half)
    np.testing.assert_array_equal(half.user_factors, before[0])
    np.testing.assert_array_equal(half.item_factors, before[1])
    np.testing.assert_allclose(rest.user_factors, whole.user_factors, atol=2e-4)


def test_initial_factors_of_another_shape_are_refused():
    evidence = random_evidence(8)
    half = als.train(evidence, replace(BASE, factors=4), LOCAL)
    with pytest.raises(InputError, match=r"want shapes \(\(40, 8\), \(30, 8\)\), got \(\(40, 4\)"):
        als.train(evidence, BASE, LOCAL, initial=half)


def test_tolerance_stops_early():
    evidence = random_evidence(9)
    config = replace(BASE, iterations=50, tolerance=0.01)
    steps = list(als.alternate(evidence, config, LOCAL))
    assert 3 < steps[-1].iteration < 50
    *_, before, last = [s.loss for s in steps if s.side == "items"]
    assert before - last < 0.01 * before


def test_no_iterations_give_the_start():
    evidence = random_evidence(9)
    factors = als.train(evidence, replace(BASE, iterations=0), LOCAL)
    assert not factors.user_factors.any()
    assert factors.item_factors.std() == pytest.approx(0.1 / np.sqrt(8), rel=0.15)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_not_finite_evidence_is_refused_by_name(value):
    evidence = sp.csr_array(np.array([[0, 1, 0], [2, 0, value]]))
    shown = "nan" if np.isnan(value) else f"{np.sign(value) * np.inf}"
    with pytest.raises(InputError, match=f"row 1, column 2 is {shown}; want finite"):
        als.train(evidence, BASE, LOCAL)


@pytest.mark.parametrize(
    ("key", "value"),
    [("factors", 0), ("regularization", -1.0), ("alpha", np.nan), ("tolerance", np.inf)],
)
def test_a_configuration_out_of_range_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=f"collaborative.{key}: want .* got {value}"):
        als.train(random_evidence(), replace(BASE, **{key: value}), LOCAL)


def test_duplicates_and_unsorted_columns_count_as_their_sum():
    clean = sp.csr_array(np.array([[3, 0, 1], [0, 2, 0]], np.float32))
    messy = sp.csr_array(
        (np.array([1, 1, 2, 2], np.float32), np.array([2, 0, 0, 1]), np.array([0, 3, 4])),
        shape=(2, 3),
    )
    first, second = (als.train(m, BASE, LOCAL) for m in (clean, messy))
    np.testing.assert_array_equal(first.user_factors, second.user_factors)
    assert messy.nnz == 4


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_fold_in_gives_a_trained_listener_her_own_factors(options):
    config = replace(BASE, iterations=60, **options)
    evidence = random_evidence(10)
    model = als.train(evidence, config, LOCAL)
    items = model.item_factors, model.item_biases
    folding = Folding(*items, config, global_mean=model.global_mean)
    vectors, biases = folding.solve(evidence)
    folded = replace(model, user_factors=vectors, user_biases=biases)
    trained = dense_loss(evidence, config, model)
    assert dense_loss(evidence, config, folded) <= trained * (1 + 1e-6)
    assert dense_loss(evidence, config, folded) == pytest.approx(trained, rel=0.02)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.sampled_from([0.0, 1.0, 1e4]),
    st.sampled_from(["implicit", "explicit"]),
    st.booleans(),
    st.integers(0, 1000),
)
def test_loss_falls_for_any_shape(n_users, n_items, f, density, alpha, feedback, bias, seed):
    evidence = random_evidence(seed, n_users, n_items, density)
    config = replace(
        BASE, factors=f, alpha=alpha, feedback=feedback, bias=bias, regularization=0.5, iterations=3
    )
    losses = [s.loss for s in als.alternate(evidence, config, LocalBackend(2), losses=True)]
    assert np.isfinite(losses).all()
    # The data term's rounding is that of its largest piece, c t^2 of the observed.
    scale = (1 + alpha * np.abs(evidence.data)).sum() + losses[0]
    assert (np.diff(losses) <= 1e-5 * scale).all(), losses


def test_factors_is_what_training_returns():
    assert isinstance(als.train(random_evidence(), BASE, LOCAL), Factors)


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_solve_agrees_with_dense_normal_equations(options):
    config = replace(BASE, **options)
    evidence = random_evidence(11, density=0.1)
    rng = np.random.default_rng(0)
    fixed = rng.normal(0.2, 0.3, (30, 8)).astype(np.float32)
    biases = (fixed.sum(1) * config.bias).astype(np.float32)  # go with the factors
    vectors, own = Folding(fixed, biases, config, global_mean=1.5).solve(evidence)
    explicit = config.feedback == "explicit"
    columns = np.hstack([fixed, np.full((30, 1), float(config.bias))]).astype(float)
    for u in range(40):
        r = evidence[[u]].toarray()[0].astype(float)
        base = 1.0 if config.confidence == "excess" else 0.0
        c = np.where(r != 0, base + config.alpha * abs(r), config.unobserved_weight)
        t = (r > 0).astype(float)
        if explicit:
            c, t = (r != 0).astype(float), r - 1.5
        if not r.any():
            wanted = np.zeros(9)
        else:
            ridge = config.regularization * np.count_nonzero(r) ** config.regularization_exponent
            ridges = np.append(np.full(8, ridge), ridge if explicit else 0.0)
            normal = columns.T @ (c[:, None] * columns) + np.diag(ridges)
            wanted = np.linalg.lstsq(normal, columns.T @ (c * (t - biases)), rcond=None)[0]
        np.testing.assert_allclose(np.append(vectors[u], own[u]), wanted, atol=1e-3)
