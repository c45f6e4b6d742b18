"""The contract of a Backend, held by LocalBackend and by RayBackend alike."""

from __future__ import annotations

import gc
import operator
import os
import sys

import numpy as np
import pytest
import ray
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.cluster import RayBackend, ray_session
from recsys.collaborative.als import train
from recsys.config import CollaborativeConfig
from recsys.errors import InputError, UsageError


@pytest.fixture(scope="module")
def a_cluster():
    # Workers cannot import a test file by name, so its functions travel by value.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with ray_session(num_cpus=8, object_store_bytes=100_000_000):
        yield


@pytest.fixture(scope="module")
def actors(a_cluster):
    with RayBackend(2) as backend:
        yield backend


@pytest.fixture(params=["local", "ray"])
def backend(request):
    return LocalBackend(2) if request.param == "local" else request.getfixturevalue("actors")


def total(part, blocks):
    return part + sum(float(np.sum(blocks[i])) for i in range(len(blocks)))


def add(a, b, c):
    return a + b + c


def is_writeable(part, blocks):
    return [blocks[i].flags.writeable for i in range(len(blocks))]


def refuse(part):
    raise InputError(f"part {part}: want better")


def threads(part):
    return {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}


def process(part):
    return os.getpid()


def test_scatter_and_gather_keep_order(backend):
    parts = backend.scatter(np.arange(3) + 10 * i for i in range(2))
    assert len(parts) == backend.n_workers == 2
    np.testing.assert_array_equal(backend.gather(parts), [[0, 1, 2], [10, 11, 12]])


def test_map_takes_parts_then_shared(backend):
    a, b = backend.scatter([1, 2]), backend.scatter([10, 20])
    assert backend.gather(backend.map(add, a, b, shared=(100,))) == [111, 122]


def test_map_leaves_its_arguments(backend):
    a = backend.scatter([np.ones(2), np.zeros(2)])
    b = backend.map(operator.mul, a, shared=(3,))
    np.testing.assert_array_equal(backend.gather(a), [[1, 1], [0, 0]])
    np.testing.assert_array_equal(backend.gather(b), [[3, 3], [0, 0]])


def test_every_worker_reads_every_published_block(backend):
    blocks = backend.publish(backend.scatter([np.arange(4.0), np.full(100_000, 2.0)]))
    assert len(blocks) == 2
    sums = backend.gather(backend.map(total, backend.scatter([0, 1]), shared=(blocks,)))
    assert sums == [200_006, 200_007]
    np.testing.assert_array_equal(blocks[0], np.arange(4.0))


def test_published_results_of_a_map(backend):
    squares = backend.map(operator.pow, backend.scatter([np.arange(3.0), np.ones(1)]), shared=(2,))
    blocks = backend.publish(squares)
    assert backend.gather(backend.map(total, backend.scatter([0, 0]), shared=(blocks,))) == [6, 6]


def test_an_error_on_a_worker_arrives_as_itself(backend):
    with pytest.raises(InputError, match=r"^part 1: want better$"):
        backend.map(refuse, backend.scatter([1, 1]))
    assert backend.gather(backend.scatter([1, 2])) == [1, 2]


def test_results_of_a_map_feed_the_next(backend):
    parts = backend.scatter([1, 2])
    for _ in range(5):
        parts = backend.map(operator.mul, parts, shared=(2,))
    assert backend.gather(parts) == [32, 64]


def test_blocks_on_ray_are_read_only_views(actors):
    blocks = actors.publish(actors.scatter([np.ones(1), np.ones(100_000)]))
    found = actors.gather(actors.map(is_writeable, actors.scatter([0, 0]), shared=(blocks,)))
    assert found == [[False, False]] * 2


def test_actors_are_processes_with_their_own_thread_counts(actors):
    parts = actors.scatter([0, 0])
    assert len({os.getpid(), *actors.gather(actors.map(process, parts))}) == 3
    want = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    assert actors.gather(actors.map(threads, parts)) == [want, want]


def test_actors_drop_what_nobody_holds(actors):
    for _ in range(10):
        parts = actors.scatter([np.ones(10), np.ones(10)])
        parts = actors.map(operator.neg, parts)
    gc.collect()
    actors.map(operator.neg, parts)
    assert max(ray.get([worker.held.remote() for worker in actors._workers])) <= 3


def test_close_releases_the_cpus(a_cluster):
    # Five of eight cores, twice: the second finds room only where the first let go.
    for _ in range(2):
        with RayBackend(1, num_cpus=5) as backend:
            assert backend.gather(backend.scatter([1])) == [1]


def test_more_workers_than_cpus_are_refused(a_cluster):
    with pytest.raises(UsageError, match="9 workers of 1 CPUs: want from 1 up to the 8 CPUs"):
        RayBackend(9)


def test_workers_that_find_no_room_are_given_up(a_cluster):
    with RayBackend(1, num_cpus=5), pytest.raises(UsageError, match="only 0 started"):
        RayBackend(1, num_cpus=5, start_timeout_s=0.5)


def test_without_a_cluster_the_backend_says_so(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UsageError, match="not connected to Ray"):
        RayBackend(1)


def test_a_connected_process_stays_connected(a_cluster):
    with ray_session():
        pass
    assert ray.is_initialized()


def test_als_agrees_on_both_backends(actors):
    rng = np.random.default_rng(3)
    evidence = csr_array(rng.poisson(0.2, (60, 40)).astype(np.float32))
    config = CollaborativeConfig(factors=5, iterations=4, regularization=1.0, num_threads=1)
    alone = train(evidence, config, LocalBackend())
    sharded = train(evidence, config, actors)
    users = np.arange(60)
    items = np.tile(np.arange(40), (60, 1))
    np.testing.assert_allclose(sharded.scores(users, items), alone.scores(users, items), atol=2e-4)
