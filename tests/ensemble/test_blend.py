"""Reciprocal-rank fusion by hand, against a slow twin, and its properties."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.ensemble.blend import Blend, fuse, places

N_ITEMS = 12


def fused(candidates: dict[str, list[list[int]]], weights: dict[str, float], offset: float = 60):
    depth = max([len(row) for rows in candidates.values() for row in rows] + [1])
    padded = {
        name: np.array([row + [-1] * (depth - len(row)) for row in rows], np.int32)
        for name, rows in candidates.items()
    }
    order = np.arange(N_ITEMS, dtype=np.int32)
    return fuse(padded, weights, rank_offset=offset).sorted(order)


def test_by_hand():
    """Item 3 is first of text and second of audio: 2/(9+1) + 1/(9+2)."""
    blend = fused({"text": [[3, 5]], "audio": [[7, 3]]}, {"text": 2, "audio": 1}, offset=9)
    assert blend.item.tolist() == [3, 5, 7]
    assert blend.signals.tolist() == pytest.approx(
        np.array([[2 / 10, 1 / 11], [2 / 11, 0], [0, 1 / 10]])
    )
    assert blend.scores.tolist() == pytest.approx([2 / 10 + 1 / 11, 2 / 11, 1 / 10])


def test_ties_follow_the_tie_break():
    rows = {"text": np.array([[4]], np.int32), "audio": np.array([[2]], np.int32)}
    for order, expected in ((range(6), [2, 4]), (range(6, 0, -1), [4, 2])):
        tie_break = np.array(order, np.int32)
        blend = fuse(rows, {"text": 1, "audio": 1}, rank_offset=60).sorted(tie_break)
        assert blend.item.tolist() == expected


def test_padded_lists_and_scores():
    blend = fused({"text": [[3, 5], [], [1]]}, {"text": 1})
    items, scores = blend.padded(3, 2)
    assert items.tolist() == [[3, 5], [-1, -1], [1, -1]]
    assert scores[0].tolist() == pytest.approx([1 / 61, 1 / 62])
    assert np.isneginf(scores[1]).all()


def test_no_candidates_at_all():
    assert fused({"text": [[], []]}, {"text": 1}).padded(2, 3)[0].tolist() == [[-1] * 3] * 2


def test_join_keeps_each_listeners_order():
    left, right = (
        fused({"text": [[3, 5], [], [9]]}, {"text": 1}),
        fused({"text": [[8]]}, {"text": 1}),
    )
    right = Blend(right.listener + 1, right.item, right.signals)
    assert Blend.join([left, right]).padded(3, 2)[0].tolist() == [[3, 5], [8, -1], [9, -1]]


def test_places_count_from_each_groups_start():
    assert places(np.array([0, 0, 2, 5, 5, 5])).tolist() == [0, 1, 0, 0, 1, 2]


lists = st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=8)
batches = st.integers(1, 3).flatmap(
    lambda m: st.fixed_dictionaries(
        {name: st.lists(lists, min_size=m, max_size=m) for name in ("text", "audio", "popularity")}
    )
)
all_weights = st.fixed_dictionaries(
    {name: st.sampled_from([0.0, 0.1, 1.0, 3.0]) for name in ("text", "audio", "popularity")}
)


@settings(deadline=None)
@given(batches, all_weights)
def test_agrees_with_the_slow_twin(candidates, weights):
    blend = fused(candidates, weights)
    for listener in range(len(candidates["text"])):
        score: dict[int, float] = defaultdict(float)
        for name, rows in candidates.items():
            for rank, item in enumerate(rows[listener], start=1):
                score[item] += weights[name] / (60 + rank)
        mine = blend.listener == listener
        assert dict(zip(blend.item[mine].tolist(), blend.scores[mine])) == pytest.approx(score)
        found = blend.scores[mine]
        assert (np.diff(found) <= 1e-15).all()


@settings(deadline=None)
@given(batches, all_weights)
def test_a_signal_is_there_exactly_where_its_source_listed_the_item(candidates, weights):
    blend = fused(candidates, weights)
    for column, (name, rows) in enumerate(candidates.items()):
        listed = [
            item in rows[listener]
            for listener, item in zip(blend.listener.tolist(), blend.item.tolist())
        ]
        expected = [there and weights[name] > 0 for there in listed]
        assert (blend.signals[:, column] > 0).tolist() == expected


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(20, 60))
def test_items_that_fall_on_one_place_of_the_table_stay_apart(seed, depth):
    """So many large rows that some share a slot, in two sources that share half of them."""
    rng = np.random.default_rng(seed)
    known = rng.choice(2**31 - 1, depth + depth // 2, replace=False).astype(np.int32)
    rows = {"text": known[None, :depth], "audio": rng.permutation(known[None, -depth:], axis=1)}
    blend = fuse(rows, {"text": 1, "audio": 2}, rank_offset=0)
    wanted = {int(item): [0.0, 0.0] for item in known}
    for column, (weight, found) in enumerate(zip((1, 2), rows.values())):
        for rank, item in enumerate(found[0].tolist(), start=1):
            wanted[item][column] = weight / rank
    assert len(blend) == len(wanted)
    found = dict(zip(blend.item.tolist(), map(tuple, blend.signals.tolist())))
    assert found == {item: tuple(signals) for item, signals in wanted.items()}
