"""Tastes on points whose groups are plain."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.ensemble.tastes import tastes


def test_two_tastes_are_found_the_one_with_most_evidence_first():
    east, north = np.array([1, 0.1, 0]), np.array([0, 0.1, 1])
    vectors = np.stack([east] * 5 + [north] * 5 + [np.zeros(3)])
    vectors[:10] /= np.linalg.norm(vectors[:10], axis=1, keepdims=True)
    history = csr_array(np.array([[1.0] * 5 + [3.0] * 5 + [9.0]], np.float32))
    found = tastes(history, vectors.astype(np.float32), 2)[0]
    assert found == pytest.approx(np.stack([vectors[5], vectors[0]]), abs=1e-6)


def test_few_plays_are_one_taste_and_none_are_none():
    vectors = np.eye(4, dtype=np.float32)
    rows = np.array([[1, 2, 0, 0], [0, 0, 0, 0]], np.float32)
    found = tastes(csr_array(rows), vectors, 3)
    assert found[0, 0] == pytest.approx(np.array([1, 2, 0, 0]) / np.sqrt(5))
    assert not found[0, 1:].any()
    assert not found[1].any()
