"""The contract of an index, held by ExactIndex; later indices take the same suite."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_array

from recsys.errors import UsageError
from recsys.retrieval import ExactIndex
from recsys.retrieval import exact as module


def naive(vectors, biases, queries, k, exclude=None, allowed=None):
    """Score every pair in float64, sort everything; slow and readable."""
    m, n = len(queries), len(vectors)
    rows = np.full((m, k), -1, np.int32)
    scores = np.full((m, k), -np.inf, np.float32)
    for q in range(m):
        products = (vectors.astype(np.float64) * queries[q].astype(np.float64)).sum(axis=1)
        values = (products + biases).astype(np.float32)
        gone = set() if exclude is None else set(exclude[[q]].indices.tolist())
        left = [r for r in range(n) if r not in gone and (allowed is None or allowed[r])]
        best = sorted(left, key=lambda r: (-values[r], r))[:k]
        rows[q, : len(best)], scores[q, : len(best)] = best, values[best]
    return rows, scores


@st.composite
def problems(draw):
    n, d, m = draw(st.integers(0, 40)), draw(st.integers(1, 5)), draw(st.integers(0, 6))
    # Small integers make every product exact and ties frequent.
    whole = st.integers(-3, 3)
    take = lambda *shape: draw(arrays.arrays(np.float32, shape, elements=whole))  # noqa: E731
    exclude = csr_array(draw(arrays.arrays(np.bool_, (m, n)))) if draw(st.booleans()) else None
    allowed = draw(arrays.arrays(np.bool_, n)) if draw(st.booleans()) else None
    return take(n, d), take(n), take(m, d), draw(st.integers(0, 50)), exclude, allowed


@pytest.mark.parametrize("blocks", [(64, 4096), (2, 6)])
def test_agrees_with_sorting_everything(blocks, monkeypatch):
    monkeypatch.setattr(module, "_QUERIES", blocks[0])
    monkeypatch.setattr(module, "_TILE", blocks[1])

    @settings(deadline=None)
    @given(problems())
    def check(problem):
        vectors, biases, queries, k, exclude, allowed = problem
        index = ExactIndex(vectors, biases, num_threads=2)
        rows, scores = index.search(queries, k, exclude=exclude, allowed=allowed)
        want_rows, want_scores = naive(vectors, biases, queries, k, exclude, allowed)
        np.testing.assert_array_equal(rows, want_rows)
        np.testing.assert_array_equal(scores, want_scores)
        assert rows.dtype == np.int32 and scores.dtype == np.float32

    check()


@pytest.fixture(scope="module")
def skewed():
    """5,000 vectors whose norms fall off like a catalogue's, 300 queries, heard lists."""
    rng = np.random.default_rng(7)
    norms = np.geomspace(3, 0.01, 5000)[:, None]
    vectors = (rng.standard_normal((5000, 24)) * norms).astype(np.float32)
    vectors = vectors[rng.permutation(5000)]
    biases = rng.standard_normal(5000).astype(np.float32)
    queries = rng.standard_normal((300, 24)).astype(np.float32)
    heard = csr_array(rng.random((300, 5000)) < 0.02)
    return vectors, biases, queries, heard


def test_pruning_changes_nothing(skewed):
    vectors, biases, queries, heard = skewed
    rows, scores = ExactIndex(vectors, biases).search(queries, 30, exclude=heard)
    want_rows, want_scores = naive(vectors, biases, queries, 30, heard)
    np.testing.assert_array_equal(rows, want_rows)
    np.testing.assert_allclose(scores, want_scores, rtol=1e-6)


def test_pruning_happens(skewed):
    vectors, biases, queries, _ = skewed
    index = ExactIndex(vectors, num_threads=1)
    # With norms this skewed the answer lies in front: what follows may as well be anything.
    index.vectors = index.vectors.copy()
    index.vectors[4000:] = np.nan
    rows, _ = index.search(queries, 10)
    np.testing.assert_array_equal(rows, naive(vectors, 0 * biases, queries, 10)[0])


def test_result_depends_on_neither_batch_nor_threads(skewed):
    vectors, biases, queries, heard = skewed
    rows, scores = ExactIndex(vectors, biases, num_threads=4).search(queries, 20, exclude=heard)
    alone = ExactIndex(vectors, biases, num_threads=1)
    for q in range(0, 300, 37):
        one_row, one_score = alone.search(queries[q : q + 1], 20, exclude=heard[[q]])
        np.testing.assert_array_equal(one_row[0], rows[q])
        np.testing.assert_array_equal(one_score[0], scores[q])


def test_equal_vectors_tie_exactly_by_the_lower_row():
    vector = np.random.default_rng(0).standard_normal((1, 61)).astype(np.float32)
    index = ExactIndex(np.repeat(vector, 4999, axis=0))
    rows, scores = index.search(vector, 40)
    np.testing.assert_array_equal(rows[0], np.arange(40))
    assert len(set(scores[0].tolist())) == 1


def test_excluded_rows_may_come_unsorted_and_hold_zeros():
    vectors = np.eye(4, dtype=np.float32)
    exclude = csr_array((np.zeros(2), np.array([3, 1]), np.array([0, 2])), shape=(1, 4))
    rows, scores = ExactIndex(vectors).search(np.ones((1, 4), np.float32), 4, exclude=exclude)
    np.testing.assert_array_equal(rows, [[0, 2, -1, -1]])
    np.testing.assert_array_equal(scores, np.float32([[1, 1, -np.inf, -np.inf]]))


def test_products_beyond_float32_are_still_ranked():
    vectors = np.float32([[1e25, -1e25, 1.0], [1e25, -1e25, 2.0], [0, 0, 0.5]])
    rows, _ = ExactIndex(vectors).search(np.float32([[1e25, 1e25, 1.0]]), 3)
    np.testing.assert_array_equal(rows, [[1, 0, 2]])


def test_a_selection_serves_many_searches_and_queries_share_exclusions():
    rng = np.random.default_rng(1)
    index = ExactIndex(rng.standard_normal((50, 4)).astype(np.float32))
    queries = rng.standard_normal((6, 4)).astype(np.float32)
    mask = rng.random(50) < 0.5
    known = csr_array(rng.random((2, 50)) < 0.3)
    for_each = known[np.repeat([0, 1], 3)]
    chosen = index.select(mask)
    for k in (3, 40):
        shared = index.search(queries, k, exclude=known, allowed=chosen)
        for found, wanted in zip(
            shared, index.search(queries, k, exclude=for_each, allowed=mask), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


def test_memory_does_not_grow_with_pairs():
    rng = np.random.default_rng(0)
    index = ExactIndex(rng.standard_normal((20_000, 4)).astype(np.float32), num_threads=2)
    queries = rng.standard_normal((4_000, 4)).astype(np.float32)
    index.search(queries[:200], 5)
    tracemalloc.start()
    index.search(queries, 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32e6  # all pairs at once would take 320 MB


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.search(np.ones((1, 2), np.float32), 3), r"queries: want shape \(m, 3\)"),
        (lambda i: i.search(np.ones((1, 3), np.float32), -1), "k: want 0 or more, got -1"),
        (lambda i: i.search(np.full((1, 3), np.nan, np.float32), 1), r"queries: .*nan at \(0, 0\)"),
        (
            lambda i: i.search(np.ones((1, 3), np.float32), 1, exclude=csr_array((2, 4))),
            "exclude: want shape",
        ),
        (
            lambda i: i.search(np.ones((1, 3), np.float32), 1, allowed=np.ones(4)),
            "allowed: want bool",
        ),
        (lambda _: ExactIndex(np.full((2, 3), np.inf, np.float32)), r"vectors: .*inf at \(0, 0\)"),
        (lambda _: ExactIndex(np.ones((2, 3), np.float32), np.ones(3, np.float32)), "biases: want"),
        (lambda _: ExactIndex(np.ones(3, np.float32)), r"vectors: want shape \(n, d\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call(ExactIndex(np.ones((4, 3), np.float32)))
