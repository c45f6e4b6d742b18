"""Every row solver against a slow, readable, dense twin in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.collaborative import kernels, solvers
from recsys.collaborative.kernels import Dense, HalfStep, Rule, Sparse


def twin(rows, rule, fixed, fixed_biases, ridges, bias_ridges, prior):
    """Minimise each row's objective by the dense normal equations of [y, 1]."""
    n_fixed, f = fixed.shape
    extended = np.hstack([fixed, np.ones((n_fixed, 1))]).astype(np.float64)
    solutions = []
    for u in range(len(rows.indptr) - 1):
        span = slice(rows.indptr[u], rows.indptr[u + 1])
        if span.start == span.stop:
            solutions.append(np.append(prior[u], 0.0))
            continue
        confidence = np.full(n_fixed, rule.unobserved, np.float64)
        target = np.zeros(n_fixed)
        for i, r in zip(rows.indices[span], rows.values[span].astype(float), strict=True):
            confidence[i] = rule.base + rule.alpha * abs(r)
            target[i] = r - rule.mean if rule.explicit else float(r > 0)
        normal = extended.T @ (confidence[:, None] * extended)
        right = extended.T @ (confidence * (target - fixed_biases))
        normal += np.diag(np.append(np.full(f, ridges[u]), bias_ridges[u]))
        right[:f] += ridges[u] * prior[u]
        if rule.biased:
            solutions.append(np.linalg.solve(normal, right))
        else:
            solutions.append(np.append(np.linalg.solve(normal[:f, :f], right[:f]), 0.0))
    return np.array(solutions)


def make_rows(rng, n_rows, n_fixed, counts):
    chosen = [
        np.sort(rng.choice(n_fixed, min(count, n_fixed), replace=False))
        for count in counts[:n_rows]
    ]
    indptr = np.cumsum([0, *map(len, chosen)]).astype(np.int64)
    indices = np.concatenate([*chosen, np.empty(0)]).astype(np.int32)
    values = rng.integers(1, 6, indices.size) * rng.choice([-1, 1, 1, 1], indices.size)
    return Sparse(indptr, indices, values.astype(np.float32))


def in_eigenbasis(fixed, fixed_biases, rule):
    """Return `fixed` rotated and padded, its `Dense`, and the rotation; float64 inside."""
    n_fixed, f = fixed.shape
    width = kernels.padded(f)
    centre = fixed.mean(0) if rule.biased and rule.unobserved else np.zeros(f)
    gram = rule.unobserved * (fixed - centre).T @ (fixed - centre)
    eigenvalues, rotation = np.linalg.eigh(gram)

    def pad(row, fill=0.0):
        return np.append(row, np.full(width - f, fill)).astype(np.float32)

    dense = Dense(
        pad(np.maximum(eigenvalues, 0), 1.0),
        float(rule.unobserved * n_fixed),
        pad(centre @ rotation),
        pad(-rule.unobserved * ((fixed - centre).T @ fixed_biases) @ rotation),
        float(-rule.unobserved * fixed_biases.sum()),
    )
    rotated = np.zeros((n_fixed, width), np.float32)
    rotated[:, :f] = fixed @ rotation
    return rotated, dense, rotation


def run(
    rows,
    rule,
    fixed,
    fixed_biases,
    ridges,
    bias_ridges,
    prior,
    cg_steps=0,
    start=None,
    relaxation=1.0,
):
    rotated, dense, rotation = in_eigenbasis(fixed, fixed_biases, rule)
    n_rows, f = prior.shape
    turned = np.zeros((max(n_rows, 2), rotated.shape[1]), np.float32)  # one row would mean none
    turned[:n_rows, :f] = prior @ rotation
    factors = np.zeros((n_rows, rotated.shape[1]), np.float32)
    biases = np.zeros(n_rows, np.float32)
    if start is not None:
        factors[:, :f], biases[:] = start[:, :f] @ rotation, start[:, f]
    frozen = [
        rotated,
        fixed_biases.astype(np.float32),
        ridges.astype(np.float32),
        bias_ridges.astype(np.float32),
        turned,
    ]
    for array in [*frozen, *rows, dense.diagonal, dense.centre, dense.rhs]:
        array.flags.writeable = False
    problem = (rows, 0, n_rows, HalfStep(rule, dense, *frozen, relaxation), factors, biases)
    if cg_steps:
        solvers.solve_cg(*problem, cg_steps)
    else:
        solvers.solve_cholesky(*problem)
    assert not factors[:, f:].any()
    return np.hstack([factors[:, :f] @ rotation.T, biases[:, None]])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_fixed=st.integers(1, 30),
    f=st.integers(1, 40),
    counts=st.lists(st.sampled_from([0, 1, 2, 5, 30]), min_size=1, max_size=5),
    alpha=st.sampled_from([0.0, 1.0, 40.0]),
    unobserved=st.sampled_from([0.0, 0.1, 1.0]),
    ridge=st.sampled_from([0.1, 1.0, 30.0]),
    explicit=st.booleans(),
    biased=st.booleans(),
)
def test_solvers_agree_with_the_dense_twin(
    seed, n_fixed, f, counts, alpha, unobserved, ridge, explicit, biased
):
    rng = np.random.default_rng(seed)
    rows = make_rows(rng, len(counts), n_fixed, counts)
    rule = Rule(1.0, alpha, unobserved, 0.0, False, biased)
    if explicit:
        rule = Rule(1.0, 0.0, 0.0, 2.5, True, biased)
    fixed = rng.normal(0, 1 / np.sqrt(f), (n_fixed, f))
    fixed_biases = rng.normal(0, 0.1, n_fixed) * biased
    ridges = ridge * (1 + np.arange(len(counts)))
    bias_ridges = ridges * explicit
    prior = rng.normal(0, 0.3, (len(counts), f))
    arguments = (rows, rule, fixed, fixed_biases, ridges, bias_ridges, prior)
    wanted = twin(*arguments)
    # float32: the error grows with the condition number, here at most alpha * 150 / ridge.
    bound = 1e-3 * max(1, np.abs(wanted).max())
    np.testing.assert_allclose(run(*arguments), wanted, atol=bound)
    # In exact arithmetic f + 1 steps suffice; rounding asks for some more.
    np.testing.assert_allclose(run(*arguments, cg_steps=4 * f + 20), wanted, atol=bound)


@pytest.mark.parametrize("cg_steps", [0, 60])
@pytest.mark.parametrize("relaxation", [0.5, 1.0, 1.6])
def test_a_step_goes_its_share_of_the_way_wherever_it_starts(cg_steps, relaxation):
    rng = np.random.default_rng(3)
    rows = make_rows(rng, 3, 20, [4, 9, 20])
    rule = Rule(1.0, 2.0, 0.5, 0.0, False, True)
    fixed, fixed_biases = rng.normal(0, 0.4, (20, 6)), rng.normal(0, 0.1, 20)
    arguments = (rows, rule, fixed, fixed_biases, np.ones(3), np.zeros(3), np.zeros((3, 6)))
    start = rng.normal(size=(3, 7))
    found = run(*arguments, cg_steps, start, relaxation)
    wanted = start + relaxation * (twin(*arguments) - start)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("alpha", [1e4, 1e7])
def test_huge_alphas_stay_finite_and_fit_the_observed(alpha):
    rng = np.random.default_rng(0)
    rows = make_rows(rng, 3, 30, [1, 5, 12])
    rule = Rule(1.0, alpha, 1.0, 0.0, False, False)
    fixed = rng.normal(0, 0.2, (30, 16))
    found = run(rows, rule, fixed, np.zeros(30), np.ones(3), np.zeros(3), np.zeros((3, 16)))
    assert np.isfinite(found).all()
    for u in range(3):
        span = slice(rows.indptr[u], rows.indptr[u + 1])
        wanted = (rows.values[span] > 0).astype(float)
        np.testing.assert_allclose(fixed[rows.indices[span]] @ found[u, :16], wanted, atol=0.02)


def test_a_single_observation_by_hand():
    """x = s t y / (ridge + y'y + s y'y) where the fixed side is one row."""
    fixed = np.array([[2.0]])
    rows = Sparse(np.array([0, 1]), np.array([0], np.int32), np.array([3.0], np.float32))
    rule = Rule(1.0, 10.0, 1.0, 0.0, False, False)
    found = run(rows, rule, fixed, np.zeros(1), np.array([4.0]), np.zeros(1), np.zeros((1, 1)))
    assert found[0, 0] == pytest.approx(31 * 2 / (4 + 31 * 4))


@pytest.mark.parametrize("biased", [False, True])
def test_a_row_longer_than_the_gathered_block(biased):
    rng = np.random.default_rng(2)
    n_fixed, f = 40_000, 20
    assert n_fixed * kernels.padded(f) > solvers.ROOM
    rows = make_rows(rng, 2, n_fixed, [n_fixed, 3])
    rule = Rule(1.0, 0.5, 1.0, 0.0, False, biased)
    fixed = rng.normal(0, 0.3, (n_fixed, f))
    zeros = np.zeros(2)
    arguments = (rows, rule, fixed, np.zeros(n_fixed), zeros + 5, zeros, np.zeros((2, f)))
    wanted = twin(*arguments)
    np.testing.assert_allclose(run(*arguments, cg_steps=60), wanted, atol=1e-3)
    np.testing.assert_allclose(run(*arguments), wanted, atol=1e-3)


def test_only_the_asked_rows_are_written():
    rng = np.random.default_rng(1)
    rows = make_rows(rng, 4, 10, [3, 3, 3, 3])
    rule = Rule(1.0, 2.0, 1.0, 0.0, False, True)
    rotated, dense, _ = in_eigenbasis(rng.normal(size=(10, 5)), np.zeros(10), rule)
    factors = np.full((4, 16), 7, np.float32)
    biases = np.full(4, 7, np.float32)
    ones = np.ones(4, np.float32)
    fixed = (rotated, np.zeros(10, np.float32), ones, 0 * ones, np.zeros((1, 16), np.float32))
    for array in (*fixed, *rows, dense.diagonal, dense.centre, dense.rhs):
        array.flags.writeable = False
    solvers.solve_cholesky(rows, 1, 3, HalfStep(rule, dense, *fixed, 1.0), factors, biases)
    assert (factors[[0, 3]] == 7).all()
    assert (biases[[0, 3]] == 7).all()
    assert (factors[1:3] != 7).all()


def test_observed_loss_by_hand():
    rows = Sparse(np.array([0, 2]), np.array([0, 1], np.int32), np.array([2.0, -1.0], np.float32))
    rule = Rule(1.0, 10.0, 0.5, 0.0, False, True)
    fixed = np.zeros((2, 16), np.float32)
    fixed[:, 0] = [1, 2]
    factors = np.zeros((1, 16), np.float32)
    factors[0, 0] = 0.5
    arrays = [fixed, np.array([0.1, 0], np.float32), factors, np.array([0.2], np.float32)]
    for array in (*arrays, *rows):
        array.flags.writeable = False
    # predictions 0.8 and 1.2; c = 21 and 11; t = 1 and 0
    wanted = 21 * 0.2**2 - 0.5 * 0.8**2 + 11 * 1.2**2 - 0.5 * 1.2**2
    assert kernels.observed_loss(rows, 0, 1, rule, *arrays) == pytest.approx(wanted, rel=1e-6)


def test_inputs_have_one_compiled_form_each():
    test_only_the_asked_rows_are_written()
    test_a_single_observation_by_hand()
    assert len(solvers.solve_cholesky.signatures) == 1
