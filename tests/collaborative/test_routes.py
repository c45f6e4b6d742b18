"""Which rows travel: counted, chosen by block, and never all of them in one process."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.backend import LocalBackend
from recsys.collaborative import als, routes
from recsys.collaborative.kernels import padded
from recsys.collaborative.shards import balanced
from recsys.config import CollaborativeConfig

CONFIG = CollaborativeConfig(factors=4, iterations=2, num_threads=1)


def evidence(n_users=6000, n_items=5000, n=60_000):
    """Listeners of the first half keep to few items, so that some blocks are needed by few."""
    rng = np.random.default_rng(0)
    users = rng.integers(0, n_users, n)
    items = (n_items * rng.random(n) ** 3).astype(int)
    items[users < n_users // 2] %= 40
    matrix = sp.csr_array((np.ones(n, np.float32), (users, items)), shape=(n_users, n_items))
    matrix.sum_duplicates()
    return matrix


class Counting(LocalBackend):
    """Counts the bytes that the caller gathers and that workers send."""

    def __init__(self, n_workers, n_nodes):
        super().__init__(n_workers, n_nodes=n_nodes)
        self.gathered, self.sent = 0, 0

    def gather(self, parts):
        self.gathered = max(self.gathered, max(map(size, parts)))
        return super().gather(parts)

    def exchange(self, function, *parts, shared=()):
        for values in self.map(function, *parts, shared=shared):
            copies = self.n_nodes if len(values) == 1 else 1
            self.sent += copies * sum(map(size, values))
        return super().exchange(function, *parts, shared=shared)


def size(value):
    if isinstance(value, list | tuple):
        return sum(map(size, value))
    return getattr(value, "nbytes", 8)


def rows_moved(matrix, n_workers, n_nodes):
    """Counted from the matrix, block by block."""
    total = 0
    for solved, fixed in ((matrix, matrix.T.tocsr()), (matrix.T.tocsr(), matrix)):
        blocks = balanced(fixed.indptr, n_workers)
        readers = pairwise(balanced(solved.indptr, n_workers))
        named = [set(solved.indices[solved.indptr[a] : solved.indptr[b]]) for a, b in readers]
        for first, last in pairwise(blocks):
            needed = sum(sum(first <= row < last for row in rows) for rows in named)
            total += min(n_nodes * (last - first), needed)
    return total


@pytest.mark.parametrize(("n_workers", "n_nodes"), [(3, 1), (3, 3), (4, 2)])
def test_a_sweep_moves_the_bytes_of_the_formula(n_workers, n_nodes):
    backend, matrix = Counting(n_workers, n_nodes), evidence()
    before, sweeps = 0, []
    for step in als.alternate(matrix, CONFIG, backend):
        if step.side == "items":
            sweeps.append(backend.sent - before)
            before = backend.sent
    expected = rows_moved(matrix, n_workers, n_nodes) * 4 * (padded(4) + 1)
    assert sweeps[-1] == expected
    if n_nodes > 1:
        assert expected < n_nodes * sum(matrix.shape) * 4 * (padded(4) + 1), "some rows stay"


def test_the_driver_gathers_only_what_is_small():
    backend = Counting(3, 3)
    for _ in als.alternate(evidence(), CONFIG, backend, losses=True):
        pass
    assert backend.gathered <= (CONFIG.factors + 2) ** 2 * 8


@pytest.mark.parametrize("n_nodes", [1, 3])
def test_no_worker_reads_more_than_half_of_the_fixed_side_at_once(n_nodes):
    backend, matrix = LocalBackend(3, n_nodes=n_nodes), evidence()
    held = routes.shard(matrix, np.zeros((matrix.shape[1], 0), np.float32), backend)
    for side, other in (("users", "items"), ("items", "users")):
        routed = routes.route(held.rows[side], held.bounds[other], backend)
        n_fixed = int(held.bounds[other][-1])
        for part in routed.parts:
            assert [s.first for s in part.stripes] == [0, *(s.last for s in part.stripes[:-1])]
            assert part.stripes[-1].last == len(part.rows.indptr) - 1
            assert all(len(s.places) <= n_fixed // 2 for s in part.stripes)
        assert max(len(part.stripes) for part in routed.parts) > 1
