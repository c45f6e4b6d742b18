"""The facade: what users of `implicit` rely on, and agreement with `implicit` itself."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.collaborative import AlternatingLeastSquares
from recsys.errors import InputError, UsageError

N_USERS, N_ITEMS = 60, 40


def plays(seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.3, (N_USERS, N_ITEMS)).astype(np.float32)
    counts[5] = 0
    counts[:, 7] = 0
    counts[3, 2] = -2
    return csr_matrix(counts)


@pytest.fixture(scope="module")
def user_items():
    return plays()


@pytest.fixture(scope="module")
def model(user_items):
    model = AlternatingLeastSquares(
        factors=8, regularization=0.1, alpha=5.0, iterations=5, random_state=1, num_threads=1
    )
    model.fit(user_items)
    return model


@pytest.fixture(scope="module")
def twins(user_items):
    """Our model and implicit's, from the same first factors, both with exact solvers."""
    als = pytest.importorskip("implicit.cpu.als", reason="implicit is not installed")
    rng = np.random.default_rng(0)
    start = [0.1 * rng.random((n, 8), dtype=np.float32) for n in (N_USERS, N_ITEMS)]
    # Ours takes no start for an item that nobody played; implicit lets it act once.
    start[1][np.diff(user_items.tocsc().indptr) == 0] = 0
    settings = {"factors": 8, "regularization": 0.5, "alpha": 2.0, "iterations": 4, "use_cg": False}
    ours = AlternatingLeastSquares(**settings, num_threads=1)
    with warnings.catch_warnings():
        # implicit warns that BLAS has threads; here only its results count.
        warnings.simplefilter("ignore", RuntimeWarning)
        theirs = als.AlternatingLeastSquares(**settings, num_threads=1)
    for one in (ours, theirs):
        one.user_factors, one.item_factors = start[0].copy(), start[1].copy()
        one.fit(user_items, show_progress=False)
    return ours, theirs


def test_factors_are_those_of_implicit(twins):
    ours, theirs = twins
    np.testing.assert_allclose(ours.user_factors, theirs.user_factors, atol=2e-3)
    np.testing.assert_allclose(ours.item_factors, theirs.item_factors, atol=2e-3)


def test_recommendations_are_those_of_implicit(twins, user_items):
    ours, theirs = twins
    ours.user_factors, ours.item_factors = theirs.user_factors, theirs.item_factors
    users = np.arange(N_USERS)
    for options in (
        {"N": 6},
        {"N": 6, "filter_items": [0, 1, 2]},
        {"N": 6, "items": [30, 3, 12, 8, 9, 21, 22]},
        {"N": 6, "filter_already_liked_items": False},
        {"N": 6, "recalculate_user": True},
    ):
        # An empty user's scores are all zero and its order means nothing.
        known = np.diff(user_items.indptr) > 0
        ids, scores = ours.recommend(users[known], user_items[users[known]], **options)
        want_ids, want_scores = theirs.recommend(users[known], user_items[users[known]], **options)
        real = scores > -1e30
        assert ids.shape == want_ids.shape and scores.dtype == np.float32
        np.testing.assert_allclose(scores[real], want_scores[real], atol=2e-3)
        assert (ids == want_ids)[real].mean() > 0.98


def test_similar_and_explain_are_those_of_implicit(twins, user_items):
    ours, theirs = twins
    ours.user_factors, ours.item_factors = theirs.user_factors, theirs.item_factors
    for call in ("similar_items", "similar_users"):
        ids, scores = getattr(ours, call)(4, N=5)
        want_ids, want_scores = getattr(theirs, call)(4, N=5)
        np.testing.assert_array_equal(ids, want_ids)
        np.testing.assert_allclose(scores, want_scores, atol=1e-5)
    total, parts, _ = ours.explain(2, user_items, 9, N=3)
    want_total, want_parts, _ = theirs.explain(2, user_items, 9, N=3)
    assert total == pytest.approx(want_total, abs=1e-3)
    assert [item for item, _ in parts] == [item for item, _ in want_parts]
    np.testing.assert_allclose(
        [share for _, share in parts], [share for _, share in want_parts], atol=1e-3
    )


def test_one_id_gives_vectors_and_many_give_rows(model, user_items):
    ids, scores = model.recommend(0, user_items[0], N=4)
    assert ids.shape == scores.shape == (4,)
    many, _ = model.recommend([0, 1], user_items[[0, 1]], N=4)
    assert many.shape == (2, 4)
    np.testing.assert_array_equal(many[0], ids)
    assert model.similar_items(3, N=4)[0].shape == (4,)
    assert model.similar_users([3, 4], N=4)[0].shape == (2, 4)
    assert model.recalculate_user(3, user_items[3]).shape == (8,)


def test_what_was_liked_is_left_out_unless_wanted(model, user_items):
    liked = user_items[0].indices
    assert not np.isin(model.recommend(0, user_items[0], N=N_ITEMS)[0], liked).any()
    ids, _ = model.recommend(0, None, N=N_ITEMS, filter_already_liked_items=False)
    assert np.isin(liked, ids).all()


def test_lists_never_run_past_what_there_is(model, user_items):
    ids, scores = model.recommend(0, user_items[0], N=10_000)
    n_left = N_ITEMS - user_items[0].nnz
    assert ids.shape == (N_ITEMS,)
    assert (ids[:n_left] >= 0).all() and (ids[n_left:] == -1).all()
    assert np.isneginf(scores[n_left:]).all()
    assert model.recommend(0, user_items[0], N=10, items=[3, 4])[0].shape == (2,)


def test_only_the_items_asked_for(model, user_items):
    ids, _ = model.recommend(1, user_items[1], N=5, items=[1, 5, 9], filter_already_liked_items=0)
    assert set(ids) == {1, 5, 9}
    ids, _ = model.recommend(1, user_items[1], N=N_ITEMS, filter_items=[1, 5, 9])
    assert not set(ids) & {1, 5, 9}
    assert set(model.similar_items(0, N=9, items=[4, 6])[0]) == {4, 6}
    assert 4 not in model.similar_items(0, N=N_ITEMS, filter_items=[4])[0]


def test_the_item_itself_comes_first(model):
    ids, scores = model.similar_items(4, N=3)
    assert ids[0] == 4 and scores[0] == pytest.approx(1)


def test_empty_rows_have_no_factors(model, user_items):
    assert not model.user_factors[5].any() and not model.item_factors[7].any()
    ids, scores = model.recommend(5, user_items[5], N=3)
    np.testing.assert_array_equal(ids, [0, 1, 2])
    np.testing.assert_array_equal(scores, 0)


def test_an_unknown_user_is_folded_in(model, user_items):
    ids, _ = model.recommend(10_000, user_items[0], recalculate_user=True, N=4)
    solved = model.recalculate_user(0, user_items[0])
    scores = model.item_factors @ solved
    scores[user_items[0].indices] = -np.inf
    np.testing.assert_array_equal(ids, np.argsort(-scores)[:4])


def test_partial_fit_stores_and_grows(user_items):
    model = AlternatingLeastSquares(factors=4, iterations=2, random_state=0)
    model.fit(user_items)
    model.partial_fit_users([62], user_items[0])
    assert model.user_factors.shape == (63, 4) and not model.user_factors[61].any()
    np.testing.assert_allclose(
        model.user_factors[62], model.recalculate_user(0, user_items[0]), atol=1e-5
    )
    before, _ = model.recommend(0, user_items[0], N=3)
    model.partial_fit_items([before[0]], csr_matrix((1, 63), dtype=np.float32))
    assert not model.item_factors[before[0]].any()
    assert before[0] not in model.recommend(0, user_items[0], N=1)[0]


def test_biases_take_part_in_scores(user_items):
    model = AlternatingLeastSquares(factors=4, iterations=4, random_state=0, bias=True)
    model.fit(user_items)
    ids, scores = model.recommend(2, user_items[2], N=3)
    want = model.item_factors @ model.user_factors[2] + model.item_biases + model.user_biases[2]
    np.testing.assert_allclose(scores, want[ids], atol=1e-5)
    assert model.item_biases.any()


def test_a_second_fit_goes_on_from_the_first(user_items):
    whole = AlternatingLeastSquares(factors=4, iterations=4, random_state=0, use_cg=False)
    whole.fit(user_items)
    halves = AlternatingLeastSquares(factors=4, iterations=2, random_state=0, use_cg=False)
    halves.fit(user_items)
    halves.fit(user_items)
    np.testing.assert_allclose(halves.item_factors, whole.item_factors, atol=1e-3)


def test_the_callback_hears_of_every_iteration(user_items):
    heard = []
    model = AlternatingLeastSquares(factors=4, iterations=3, calculate_training_loss=True)
    model.fit(user_items, callback=lambda *args: heard.append(args))
    assert [number for number, _, _ in heard] == [0, 1, 2]
    losses = [loss for _, _, loss in heard]
    assert losses == sorted(losses, reverse=True) and losses[-1] > 0


def test_a_saved_model_comes_back(model, user_items, tmp_path):
    model.save(tmp_path / "model")
    buffer = io.BytesIO()
    model.save(buffer)
    buffer.seek(0)
    for again in (
        AlternatingLeastSquares.load(tmp_path / "model"),
        AlternatingLeastSquares.load(str(tmp_path / "model.npz")),
        AlternatingLeastSquares.load(buffer),
    ):
        assert again.config == model.config
        np.testing.assert_array_equal(again.user_factors, model.user_factors)
        np.testing.assert_array_equal(
            again.recommend(0, user_items[0])[0], model.recommend(0, user_items[0])[0]
        )


def test_a_file_that_is_no_model_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(InputError, match="not a model saved by recsys"):
        AlternatingLeastSquares.load(tmp_path / "other")
    with pytest.raises(InputError, match="not a model saved by recsys"):
        AlternatingLeastSquares.load(tmp_path / "absent")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, r: m.recommend(0, None), "want the users' rows"),
        (lambda m, r: m.recommend([0, 1], r[0]), r"one row per id \(2\), got 1"),
        (lambda m, r: m.recommend(0, r[0, :9]), "want 40 columns, got 9"),
        (lambda m, r: m.recommend(99, r[0]), "want ids from 0 to 59, got 99"),
        (lambda m, r: m.recommend(0, r[0], items=[50]), "items: want ids from 0 to 39, got 50"),
        (lambda m, r: m.recommend(0, r[0], items=[5], filter_items=[3]), "one of them, not both"),
        (lambda m, r: m.fit(r.toarray()), "want a scipy CSR matrix, got ndarray"),
        (lambda m, r: AlternatingLeastSquares().recommend(0, r[0]), "call fit first"),
        (lambda m, r: AlternatingLeastSquares(dtype=np.float64), "dtype: want float32"),
    ],
)
def test_what_cannot_be_meant_is_refused(model, user_items, call, message):
    with pytest.raises(UsageError, match=message):
        call(model, user_items)
