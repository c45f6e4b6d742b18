"""What each source proposes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recsys.ensemble.candidates import Eligible, Popularity, Space, positive, rows_of, unit
from recsys.ensemble.tastes import profiles


def matrix(rows: list[set[int]], n_items: int) -> csr_array:
    dense = np.zeros((len(rows), n_items), np.int8)
    for row, items in enumerate(rows):
        dense[row, sorted(items)] = 1
    return csr_array(dense)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=8, max_size=8),
    st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=3),
    st.sets(st.integers(0, 7)),
    st.integers(1, 9),
)
def test_popularity_agrees_with_its_slow_twin(listeners, heard, eligible, k):
    popularity = Popularity(np.array(listeners))
    within = Eligible(np.isin(np.arange(8), list(eligible)), {}, popularity, np.ones(8, bool))
    found = popularity.search(k, exclude=matrix(heard, 8), within=within.by_popularity)
    for row, known in enumerate(heard):
        best = sorted(eligible - known, key=lambda item: (-listeners[item], item))[:k]
        assert found[row].tolist() == best + [-1] * (k - len(best))


def test_a_profile_is_the_weighted_mean_direction_of_what_was_played():
    vectors = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    history = csr_array(np.array([[3, 4, 9], [0, 0, 5], [0, 0, 0]], np.float32))
    assert profiles(history, vectors).tolist() == pytest.approx(
        np.array([[0.6, 0.8], [0, 0], [0, 0]])
    )


def test_a_zero_vector_is_near_nothing():
    space = Space(np.array([[1, 0], [0, 0], [-1, 0]], np.float32))
    rows, scores = space.search(np.array([[1, 0], [0, 0]], np.float32), 3)
    assert rows.tolist() == [[0, 2, -1], [-1, -1, -1]]
    assert scores[0, :2].tolist() == [1, -1]
    assert np.isneginf(scores[1]).all()


def test_skips_are_no_history_and_the_evidence_is_left_alone():
    evidence = csr_array(np.array([[2, -1, 0]], np.float32))
    assert positive(evidence).indices.tolist() == [0]
    assert evidence.data.tolist() == [2, -1]
    assert positive(csr_array(np.array([[-2, 0, -1]], np.float32))).nnz == 0


@pytest.mark.parametrize("rows", [[1], [2], [2, 0, 2], []])
def test_rows_of_a_matrix_are_those_asked_for(rows):
    whole = np.array([[0, 1, 2], [3, 0, 4], [0, 0, 5]], np.float32)
    some = rows_of(csr_array(whole), np.array(rows, np.int64))
    assert some.toarray().tolist() == whole[rows].tolist()
    assert some.has_sorted_indices


def test_unit_rows_point_where_they_did():
    assert unit(np.array([[3, 4], [0, 0], [0, -2]], np.float32)).tolist() == pytest.approx(
        np.array([[0.6, 0.8], [0, 0], [0, -1]])
    )


def test_what_says_nothing_about_a_taste_is_not_found():
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    rows, _ = Space(vectors, above=0.0).search(np.array([[1, 0]], np.float32), 3)
    assert rows.tolist() == [[0, -1, -1]]


@pytest.mark.parametrize("depth", [1, 3, 6, 12])
def test_the_nearest_new_items_are_candidates_whatever_is_nearer(make, depth):
    ensemble = make(new_items=3).ensemble
    n_items = ensemble.catalogue.n_items
    rng = np.random.default_rng(depth)
    ensemble.spaces["text"] = space = Space(rng.normal(size=(n_items, 4)).astype(np.float32))
    listeners = ensemble.listeners(np.arange(len(ensemble.catalogue.users)))
    points = listeners.points["text"].sum(axis=1)
    for share in (0.1, 0.5, 0.9):
        ensemble._cold = rng.random(n_items) < share
        ensemble._has_cold = bool(ensemble._cold.any())
        eligible = ensemble.eligible(rng.random(n_items) < 0.8)
        found = ensemble.candidates("text", listeners, depth, eligible=eligible)
        parts = [
            space.search(
                points, k, exclude=listeners.heard, within=eligible.within("text", new=new)
            )[0]
            for k, new in ((depth, False), (3, True))
        ]
        for row, nearest, newest in zip(found, *parts, strict=True):
            wanted = dict.fromkeys([*nearest.tolist(), *newest.tolist()])
            wanted.pop(-1, None)
            assert [item for item in row.tolist() if item >= 0] == list(wanted)
