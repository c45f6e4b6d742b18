"""Candidates by artists and by lists, and taking turns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.ensemble.sources import Artists, Shelves, once

ARTIST = np.array([0, 0, 0, 1, 1, -1], np.int32)
RELEASED = np.array([10, 30, 20, 5, 50, 99])
NOBODY = csr_array(np.zeros((1, 2), np.float32))
ALL = np.ones(6, bool)


def matrix(*values: float) -> csr_array:
    return csr_array(np.array([values], np.float32))


def test_the_closest_artist_first_and_their_newest_first():
    artists = Artists.of(ARTIST, RELEASED, 2)
    heard = matrix(1, 0, 0, 2, 0, 0)
    found = artists.propose(heard, NOBODY, 5, exclude=heard, allowed=ALL)
    assert found.tolist() == [[4, 1, 2, -1, -1]]


def test_who_is_followed_comes_before_who_is_played():
    artists = Artists.of(ARTIST, RELEASED, 2)
    heard, follows = matrix(0, 0, 0, 9, 0, 0), matrix(1, 0)
    found = artists.propose(heard, follows, 4, exclude=heard, allowed=RELEASED != 30)
    assert found.tolist() == [[2, 0, 4, -1]]


def test_bonds_by_hand():
    artists = Artists.of(ARTIST, RELEASED, 2)
    heard = matrix(1, 2, 0, 1, 0, 0)
    bonds = artists.bonds(heard, matrix(0, 1), np.zeros(3, np.int64), np.array([2, 4, 5], np.int32))
    assert bonds == pytest.approx(
        np.array(
            [
                [np.log1p(3), 0.75, np.log1p(2), 0],
                [np.log1p(1), 0.25, np.log1p(1), 1],
                [0, 0, 0, 0],
            ]
        )
    )


def test_lists_propose_what_stands_beside_what_was_played():
    lists = csr_array(np.array([[1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1]]))
    shelves = Shelves.of(lists)
    heard = matrix(0, 1, 0, 0, 0, 0)
    found = shelves.propose(heard, 4, exclude=heard, allowed=ALL)
    assert found.tolist() == [[3, 0, 2, -1]]  # the shorter list counts more
    items = np.arange(6, dtype=np.int32)
    scores = shelves.scores(heard, np.zeros(6, np.int64), items)
    assert scores == pytest.approx(np.log1p([1 / 13, 1 / 13 + 1 / 12, 1 / 13, 1 / 12, 0, 0]))


def test_no_lists_propose_nothing():
    shelves = Shelves.of(csr_array(np.zeros((0, 6))))
    heard = matrix(0, 1, 0, 0, 0, 0)
    assert shelves.propose(heard, 2, exclude=heard, allowed=ALL).tolist() == [[-1, -1]]


def test_nothing_comes_twice():
    found = np.array([[1, 2, -1, 2, 4], [7, 7, 7, 7, 7]], np.int32)
    assert once(found).tolist() == [[1, 2, 4, -1, -1], [7, -1, -1, -1, -1]]
