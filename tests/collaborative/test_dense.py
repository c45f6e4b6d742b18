"""Small dense systems, held against numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.collaborative.dense import solve, weighted_gram


@pytest.mark.parametrize(("n", "f"), [(0, 3), (1, 1), (7, 5), (90, 33)])
def test_a_weighted_gram_matrix_is_numpys(n: int, f: int) -> None:
    rng = np.random.default_rng(n)
    y, weights = rng.normal(size=(n, f)), rng.normal(size=n)
    gram = weighted_gram(y, weights)
    assert np.allclose(gram, (y.T * weights) @ y)
    assert (gram == gram.T).all()


@pytest.mark.parametrize(("m", "f"), [(0, 4), (1, 1), (3, 5), (30, 65)])
def test_a_solution_is_numpys_and_the_matrix_stays(m: int, f: int) -> None:
    rng = np.random.default_rng(f)
    y, targets = rng.normal(size=(2 * f, f)), rng.normal(size=(m, f)).astype(np.float32)
    normal = y.T @ y + np.eye(f)
    before = normal.copy()
    assert np.allclose(solve(normal, targets), np.linalg.solve(normal, targets.T).T)
    assert (normal == before).all()


def test_a_matrix_that_is_not_positive_is_solved_too() -> None:
    normal = np.array([[1.0, 2.0], [2.0, 1.0]])
    targets = np.array([[3.0, 5.0]])
    assert np.allclose(solve(normal, targets) @ normal, targets)


def test_a_singular_matrix_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        solve(np.zeros((2, 2)), np.ones((1, 2)))
