"""Heaps beside a sorted list, which is their slow twin."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.retrieval.kernels import better, contains, dot, push, replace_first, sink, sort_heap

# Few different scores, so that many are equal.
SCORES = st.lists(st.sampled_from([-1.5, -0.5, 0.0, 0.25, 2.0]), min_size=1, max_size=40)


def test_a_product_is_summed_in_double_precision():
    a, b = np.array([3e7, 1, -3e7], np.float32), np.array([3e7, 1, 3e7], np.float32)
    assert dot(a, b) == 1
    assert dot(a[:2], np.array([0.5, 2], np.float32)) == 1.5e7 + 2
    assert dot(a[:0], b[:0]) == 0


@pytest.mark.parametrize(
    ("one", "other", "is_better"),
    [
        ((2, 5), (1, 3), True),
        ((1, 3), (2, 5), False),
        ((1, 3), (1, 5), True),  # a tie goes to the lower row
        ((1, 5), (1, 3), False),
        ((1, 3), (1, 3), False),
        ((2, 0), (1, 1), True),
        ((1, 1), (2, 0), False),
        ((-1, 0), (9, -1), True),  # row -1 is an empty place
        ((9, -1), (-1, 0), False),
        ((9, -1), (1, -1), False),
    ],
)
def test_which_of_two_ranks_above_the_other(one, other, is_better):
    (score, row), (other_score, other_row) = one, other
    assert better(np.float32(score), row, np.float32(other_score), other_row) is is_better


@given(SCORES, st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_best_are_kept_in_whatever_order_they_come(scores, k, random):
    rows, kept = np.full(k, -1, np.int32), np.zeros(k, np.float32)
    come = list(enumerate(scores))
    random.shuffle(come)
    for row, score in come:
        if better(np.float32(score), row, kept[0], rows[0]):
            rows[0], kept[0] = row, score
            sink(rows, kept, k)
    sort_heap(rows, kept)
    best = sorted(enumerate(scores), key=lambda entry: (-entry[1], entry[0]))[:k]
    assert list(zip(rows[: len(best)].tolist(), kept.tolist())) == best
    assert rows[len(best) :].tolist() == [-1] * (k - len(best))


def test_what_lies_beyond_the_heap_is_left_alone():
    rows, scores = np.array([0, 1, 2, 3], np.int32), np.array([9, 8, 1, 0], np.float32)
    sink(rows, scores, 3)
    assert rows.tolist() == [2, 1, 0, 3]
    assert scores.tolist() == [1, 8, 9, 0]


@given(st.sets(st.integers(0, 30)), st.integers(-1, 31))
def test_rows_hold_a_row_or_not(rows, row):
    assert contains(np.array(sorted(rows), np.int32), row) is (row in rows)


@given(SCORES, SCORES)
def test_a_walk_takes_the_least_first(added, replacing):
    scores, rows = np.full(len(added) + 1, 9, np.float32), np.full(len(added) + 1, -1, np.int32)
    for row, score in enumerate(added):
        push(scores, rows, row, np.float32(score), row)
    scores[-1] = -9
    twin = sorted(added)
    every = [*added, *replacing]
    for row, score in enumerate(replacing, start=len(added)):
        assert scores[0] == twin[0]
        assert every[rows[0]] == twin[0]
        heapq.heapreplace(twin, score)
        replace_first(scores, rows, len(added), np.float32(score), row)
    assert sorted(scores[:-1].tolist()) == sorted(twin)
    assert [every[row] for row in rows[:-1]] == scores[:-1].tolist()
    assert (scores[-1], rows[-1]) == (-9, -1)  # beyond the heap
    for place in range(1, len(added)):
        assert scores[(place - 1) // 2] <= scores[place]
