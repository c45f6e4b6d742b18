"""The paired bootstrap where the answer is known, and the parts of a truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.data.interactions import Interactions
from recsys.evaluation.compare import paired_bootstrap
from recsys.evaluation.groups import parts


def test_a_steady_difference_is_certain_though_listeners_differ_much():
    random = np.random.default_rng(0)
    level = random.normal(0, 10, 300)
    found = paired_bootstrap(level + 0.5 + random.normal(0, 0.1, 300), level)
    assert found.mean == pytest.approx(0.5, abs=0.05)
    assert found.low < found.mean < found.high
    assert found.certain


def test_the_interval_is_that_of_the_normal_law():
    difference = np.random.default_rng(1).normal(0, 1, 400)
    found = paired_bootstrap(difference, np.zeros(400), draws=4000)
    error = 1.96 * difference.std() / 20
    assert found.high - found.mean == pytest.approx(error, rel=0.06)
    assert found.mean - found.low == pytest.approx(error, rel=0.06)


def test_no_difference_is_not_certain_and_listeners_without_truth_do_not_count():
    noise = np.random.default_rng(2).normal(size=200)
    assert not paired_bootstrap(noise, noise[::-1].copy()).certain
    assert paired_bootstrap(np.array([np.nan, 2.0]), np.array([5.0, 1.0])).mean == 1.0
    assert np.isnan(paired_bootstrap(np.array([np.nan]), np.array([1.0])).mean)


def test_an_interval_that_touches_nothing_is_not_certain():
    same = np.array([0.1, 0.7, 0.4])
    assert not paired_bootstrap(same, same).certain
    one = paired_bootstrap(same, np.zeros(3), draws=1)
    assert 0.1 <= one.low == one.high <= 0.7


def played(counts):
    """Interactions that are plays alone."""
    plays, nothing = csr_array(counts), csr_array((len(counts), 1))
    return Interactions(
        evidence=plays,
        plays=plays,
        streamed=plays.data,
        last_played=np.zeros(plays.nnz, np.int64),
        ratings=plays,
        heard=plays,
        follows=nothing,
        counted_at=np.zeros(1, np.int64),
    )


def test_parts_hold_the_right_pairs():
    interactions = played(np.array([[0.0] * 10, [1.0] * 10]))
    truth = csr_array(np.array([[1, 1] + [0] * 8, [0, 1] + [0] * 8]))
    listeners_of = np.array([0, *range(9, 0, -1)])
    everything = np.ones(10, bool)
    group = np.array([-1, 4], np.int32)
    found = dict(parts(truth, np.arange(2), interactions, listeners_of, everything, group))
    assert found["group 4"].nonzero()[0].tolist() == [1]
    assert "group -1" not in found
    assert found["new listeners (fewer than 5 plays)"].nonzero()[0].tolist() == [0, 0]
    assert found["heavy listeners (a tenth)"].nonzero()[0].tolist() == [1]
    assert found["cold items (nobody played)"].nonzero()[1].tolist() == [0]
    assert found["popularity decile 1"].nonzero()[1].tolist() == [1, 1]
    assert found["popularity decile 10"].nonzero()[1].tolist() == [0]
    assert sum(part.nnz for name, part in found.items() if "decile" in name) == truth.nnz


def test_parts_begin_and_end_where_their_names_say():
    """Listener n has n plays; everybody loves all of 25 items, of which lists may hold 20."""
    counts = np.zeros((21, 25))
    counts[:, 0] = np.arange(21)
    eligible = np.arange(25) < 20
    listeners_of = np.arange(25, 0, -1)
    truth = csr_array(np.ones((21, 25), np.int8))
    group = np.where(np.arange(21) < 3, 0, -1).astype(np.int32)
    found = dict(parts(truth, np.arange(21), played(counts), listeners_of, eligible, group))
    listeners = {name: np.unique(part.nonzero()[0]).tolist() for name, part in found.items()}
    assert listeners["new listeners (fewer than 5 plays)"] == [0, 1, 2, 3, 4]
    assert listeners["heavy listeners (a tenth)"] == [18, 19, 20]
    assert listeners["group 0"] == [0, 1, 2]
    assert len(found) == 14
    for n in range(10):
        part = found[f"popularity decile {n + 1}"]
        assert np.unique(part.nonzero()[1]).tolist() == [2 * n, 2 * n + 1]
        assert part.nnz == 42
    nobody = parts(truth[:0], np.arange(0), played(counts), listeners_of, eligible)
    assert all(part.shape == (0, 25) for _, part in nobody)
