"""Metric values by hand, a slow readable twin, and properties that no list may break."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recsys.evaluation.metrics import gini, list_metrics, ranking_metrics, summary


def truth_of(*loved: set[int], n_items: int = 10) -> csr_array:
    dense = np.zeros((len(loved), n_items), np.float32)
    for row, items in enumerate(loved):
        dense[row, sorted(items)] = 1
    return csr_array(dense)


def one(ranked: list[int], loved: set[int], k: int) -> dict[str, float]:
    scores = ranking_metrics(np.array([ranked], np.int32), truth_of(loved), ks=(k,))
    return {name.split("@")[0]: float(values[0]) for name, values in scores.items()}


def test_by_hand_hits_at_ranks_two_and_four():
    """List 5 1 6 2, loved {1, 2, 3}: hits at ranks 2 and 4, n = min(4, 3) = 3."""
    scores = one([5, 1, 6, 2], {1, 2, 3}, k=4)
    assert scores["recall"] == pytest.approx(2 / 3)
    assert scores["ndcg"] == pytest.approx(
        (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4))
    )
    assert scores["map"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert scores["mrr"] == pytest.approx(1 / 2)
    assert scores["hit_rate"] == 1


def test_by_hand_more_loved_than_places():
    """With five loved and two places, two hits are perfect: n = min(2, 5)."""
    scores = one([4, 3, 9], {1, 2, 3, 4, 5}, k=2)
    assert scores == {"recall": 1, "ndcg": 1, "map": 1, "mrr": 1, "hit_rate": 1}


def test_by_hand_no_hit():
    assert set(one([7, 8, 9], {1}, k=3).values()) == {0.0}


def test_a_cut_off_beyond_the_list_scores_as_if_nothing_followed():
    """One hit of a list of two, at k = 30: n = min(30, 2) = 2."""
    scores = one([1, 9], {1, 2}, k=30)
    assert scores["recall"] == pytest.approx(1 / 2)
    assert scores["ndcg"] == pytest.approx(1 / (1 + 1 / log2(3)))


def test_padding_never_hits_the_last_item_of_the_listener_before():
    ranked = np.array([[0, -1], [-1, -1]], np.int32)
    scores = ranking_metrics(ranked, truth_of({9}, {3}), ks=(2,))
    assert scores["recall@2"].tolist() == [0.0, 0.0]


def test_a_listener_without_truth_is_nan_and_left_out_of_the_mean():
    ranked = np.array([[1, 2], [1, 2]], np.int32)
    scores = ranking_metrics(ranked, truth_of({1}, set()), ks=(2,))
    assert all(np.isnan(values[1]) for values in scores.values())
    assert set(summary(scores).values()) == {1.0}


def test_nobody_with_truth():
    scores = ranking_metrics(np.zeros((2, 1), np.int32), truth_of(set(), set()), ks=(1,))
    assert all(np.isnan(value) for value in summary(scores).values())


def test_an_item_twice_in_a_list_is_refused():
    with pytest.raises(AssertionError, match="twice"):
        one([1, 1], {1}, k=2)


def test_coverage_and_novelty_by_hand():
    """Items 0, 1, 2 of four are shown at k = 2; p = 4/4, 2/4 and 1/4 by add-one counts."""
    ranked = np.array([[0, 1, 3], [0, 2, 3]], np.int32)
    described = list_metrics(ranked, np.array([3, 1, 0, 0]), 3, ks=(2,))
    assert described["coverage@2"] == pytest.approx(3 / 4)
    assert described["novelty@2"] == pytest.approx((0 + 1 + 0 + 2) / 4)
    narrowed = list_metrics(ranked, np.array([3, 1, 0, 0]), 3, n_eligible=3, ks=(2,))
    assert narrowed["coverage@2"] == 1


def test_empty_lists_have_no_novelty():
    described = list_metrics(np.full((2, 3), -1, np.int32), np.array([1, 2]), 2, ks=(3,))
    assert described["coverage@3"] == 0
    assert np.isnan(described["novelty@3"])


def test_gini_by_hand():
    assert gini(np.array([0, 1, 2, 3]), 4) == 0
    assert gini(np.array([2, 2, 2]), 4) == pytest.approx(0.75)
    assert gini(np.array([0, 1]), 4) == pytest.approx(0.5)
    assert np.isnan(gini(np.zeros(0, int), 4))
    assert np.isnan(gini(np.array([0]), 0))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_gini_is_half_the_relative_mean_difference(shown: list[int]):
    counts = np.bincount(shown, minlength=6)
    difference = np.abs(counts[:, None] - counts[None]).mean()
    assert gini(np.array(shown), 6) == pytest.approx(difference / (2 * counts.mean()), abs=1e-12)


def test_diversity_by_hand():
    """Items 0 and 1 are one direction, 2 another: pairs differ by 0, 1, 1."""
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    ranked = np.array([[0, 1, 2], [0, 1, -1]], np.int32)
    found = list_metrics(ranked, np.ones(3, int), 2, spaces=[vectors], ks=(3,))
    assert found["diversity@3"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["gini@3"] == pytest.approx(gini(np.array([0, 1, 2, 0, 1]), 3))


def test_lists_of_one_have_no_diversity():
    vectors = np.eye(3, dtype=np.float32)
    single = np.array([[2, -1]], np.int32)
    pair = np.array([[2, -1], [0, 1]], np.int32)
    found = [list_metrics(r, np.ones(3), 2, spaces=[vectors], ks=(2,)) for r in (single, pair)]
    assert np.isnan(found[0]["diversity@2"])
    assert found[1]["diversity@2"] == pytest.approx(1)


def slow(ranked: list[int], loved: set[int], k: int) -> dict[str, float]:
    """The definitions, written as loops."""
    shown = [item for item in ranked if item >= 0][:k]
    n = min(k, len(loved))
    hits, gain, precision, first = 0, 0.0, 0.0, 0.0
    for rank, item in enumerate(shown, start=1):
        if item in loved:
            hits += 1
            gain += 1 / log2(rank + 1)
            precision += hits / rank
            first = first or 1 / rank
    ideal = sum(1 / log2(rank + 1) for rank in range(1, n + 1))
    return {
        "recall": hits / n,
        "ndcg": gain / ideal,
        "map": precision / n,
        "mrr": first,
        "hit_rate": float(hits > 0),
    }


lists = st.lists(st.integers(0, 9), unique=True, max_size=10)
loved_items = st.sets(st.integers(0, 9), min_size=1)


@given(lists, loved_items, st.integers(1, 12))
def test_agrees_with_the_slow_twin(ranked: list[int], loved: set[int], k: int):
    padded = ranked + [-1] * (10 - len(ranked))
    assert one(padded, loved, k) == pytest.approx(slow(ranked, loved, k))


@given(lists, loved_items, st.integers(1, 12))
def test_every_metric_lies_between_nought_and_one(ranked: list[int], loved: set[int], k: int):
    assert all(0 <= value <= 1 for value in one([*ranked, -1], loved, k).values())


@given(loved_items, st.integers(1, 12), st.randoms(use_true_random=False))
def test_all_loved_first_is_perfect(loved: set[int], k: int, random):
    first, rest = list(loved), list(set(range(10)) - loved)
    random.shuffle(first)
    assert set(one(first + rest, loved, k).values()) == {1.0}


@given(lists.filter(lambda ranked: len(ranked) > 1), loved_items, st.data())
def test_moving_a_hit_up_never_lowers_a_metric(ranked: list[int], loved: set[int], data):
    place = data.draw(st.integers(1, len(ranked) - 1))
    if ranked[place] in loved and ranked[place - 1] not in loved:
        better = ranked.copy()
        better[place - 1], better[place] = ranked[place], ranked[place - 1]
        for k in (1, 3, 10):
            before, after = one(ranked, loved, k), one(better, loved, k)
            assert all(after[name] >= before[name] - 1e-12 for name in before)


@given(lists, loved_items)
def test_the_same_lists_in_another_order_of_listeners(ranked: list[int], loved: set[int]):
    other, other_loved = [3, 1, 4], {4}
    width = max(len(ranked), 3)
    rows = [row + [-1] * (width - len(row)) for row in (ranked, other)]
    forth = ranking_metrics(np.array(rows, np.int32), truth_of(loved, other_loved))
    back = ranking_metrics(np.array(rows[::-1], np.int32), truth_of(other_loved, loved))
    assert all(np.array_equal(forth[name], back[name][::-1]) for name in forth)
