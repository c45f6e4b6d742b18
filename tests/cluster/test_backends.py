"""The contract of a Backend, held by LocalBackend and by RayBackend alike."""

from __future__ import annotations

import gc
import operator
import os
import signal
import sys
import threading

import numpy as np
import pytest
import ray

from recsys.backend import LocalBackend
from recsys.cluster import RayBackend, ray_session
from recsys.errors import InputError, UsageError, WorkersLostError
from recsys.progress import report_to


@pytest.fixture(scope="module")
def actors(cluster):
    # Workers cannot import a test file by name, so its functions travel by value.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with RayBackend(2) as backend:
        yield backend


@pytest.fixture(params=["local", "ray"])
def backend(request):
    return LocalBackend(2) if request.param == "local" else request.getfixturevalue("actors")


def to_all(part):
    return [part]


def to_each(part):
    return [part, 10 * part]


def total(part, blocks):
    return part + sum(float(np.sum(blocks[i])) for i in range(len(blocks)))


def chosen(part, row):
    return [part[row : row + 1]]


class Lines:
    """Keeps what is said; lets a stopped process go on once anything is."""

    def __init__(self):
        self.said = []
        self.any = threading.Event()

    def note(self, line):
        self.said.append(line)
        self.any.set()

    def wake(self, pid):
        self.any.wait(60)
        os.kill(pid, signal.SIGCONT)


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


def test_every_worker_reads_what_all_send_to_all(backend):
    blocks = backend.exchange(to_all, backend.scatter([np.arange(4.0), np.full(100_000, 2.0)]))
    assert [len(received) for received in backend.gather(blocks)] == [2, 2]
    sums = backend.gather(backend.map(total, backend.scatter([0, 1]), blocks))
    assert sums == [200_006, 200_007]


def test_every_worker_reads_what_is_sent_to_it(backend):
    blocks = backend.exchange(to_each, backend.scatter([np.arange(3.0), np.ones(100_000)]))
    sums = backend.gather(backend.map(total, backend.scatter([0, 0]), blocks))
    assert sums == [100_003, 1_000_030]


def test_exchange_takes_parts_then_shared(backend):
    squares = backend.map(operator.pow, backend.scatter([np.arange(3.0), np.ones(1)]), shared=(2,))
    blocks = backend.exchange(chosen, squares, shared=(1,))
    assert backend.gather(backend.map(total, backend.scatter([0, 0]), blocks)) == [1, 1]


def watched(tasks, taken):
    for task in tasks:
        taken.append(task)
        yield task


def test_each_hands_out_tasks_as_workers_are_free(backend):
    taken, found = [], {}
    for task, result in backend.each(operator.mul, watched(range(9), taken), shared=(3,)):
        assert len(taken) <= len(found) + backend.n_workers
        found[task] = result
    assert found == {task: 3 * task for task in range(9)}
    assert backend.gather(backend.scatter([1, 2])) == [1, 2]


def test_each_lets_an_error_through_and_leaves_the_workers_whole(backend):
    parts = backend.scatter([1, 2])
    # Two are refused at once; whichever is heard of first.
    with pytest.raises(InputError, match=r"^part [56]: want better$"):
        list(backend.each(refuse, [5, 6, 7]))
    assert list(backend.each(operator.neg, [])) == []
    assert sorted(backend.each(operator.neg, [1, 2, 3])) == [(1, -1), (2, -2), (3, -3)]
    assert backend.gather(parts) == [1, 2]


def test_a_renewed_backend_holds_nothing_and_works(cluster):
    backend = RayBackend(2)
    try:
        kept, lost = (worker.pid for worker in backend.workers)
        backend.scatter([1, 2])
        os.kill(lost, signal.SIGKILL)
        with pytest.raises(WorkersLostError, match=r"^Actor"):
            backend.gather(backend.scatter([1, 2]))
        backend.renew()
        assert kept in {worker.pid for worker in backend.workers}
        assert lost not in {worker.pid for worker in backend.workers}
        assert ray.get([worker.actor.held.remote() for worker in backend.workers]) == [0, 0]
        assert backend.gather(backend.scatter([3, 4])) == [3, 4]
    finally:
        backend.close()


def test_bytes_moved_are_counted_once_a_node_or_once_a_reader(actors):
    before = actors.usage().bytes_moved
    actors.exchange(to_all, actors.scatter([np.ones(4), np.ones(6)]))
    to_all_bytes = actors.usage().bytes_moved - before
    actors.exchange(to_each, actors.scatter([np.ones(4), np.ones(6)]))
    assert to_all_bytes == 80
    assert actors.usage().bytes_moved - before == 80 + 160
    assert actors.usage().peak_bytes > 10_000_000


def test_a_straggler_is_named(cluster):
    lines = Lines()
    with RayBackend(2, straggler_s=0.2) as backend, report_to(lines):
        parts = backend.scatter([0, 1])
        late = backend.workers[1].pid
        os.kill(late, signal.SIGSTOP)
        woken = threading.Thread(target=lines.wake, args=(late,))
        woken.start()
        backend.gather(backend.map(operator.neg, parts))
        woken.join()
    assert f"straggler: worker 1 (pid {late}, node" in lines.said[0]
    assert "is at gather for" in lines.said[0] and "1 of 2 are done" in lines.said[0]


def test_an_error_on_a_worker_arrives_as_itself(backend):
    with pytest.raises(InputError, match=r"^part 1: want better$"):
        backend.gather(backend.map(refuse, backend.scatter([1, 1])))
    with pytest.raises(InputError, match=r"^part 1: want better$"):
        backend.exchange(refuse, backend.scatter([1, 1]))
    assert backend.gather(backend.scatter([1, 2])) == [1, 2]


def test_the_first_error_is_the_one_that_is_raised(backend):
    with pytest.raises(InputError, match=r"^part 1: want better$"):
        wrong = backend.map(refuse, backend.scatter([1, 1]))
        backend.gather(backend.map(operator.neg, backend.map(operator.neg, wrong)))


def test_results_of_a_map_feed_the_next(backend):
    parts = backend.scatter([1, 2])
    for _ in range(5):
        parts = backend.map(operator.mul, parts, shared=(2,))
    assert backend.gather(parts) == [32, 64]


def test_blocks_on_ray_are_read_only_views(actors):
    blocks = actors.exchange(to_all, actors.scatter([np.ones(1), np.ones(100_000)]))
    found = actors.gather(actors.map(is_writeable, actors.scatter([0, 0]), blocks))
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
    assert max(ray.get([worker.actor.held.remote() for worker in actors.workers])) <= 3


def test_close_releases_the_cpus(cluster):
    # Five of eight cores, twice: the second finds room only where the first let go.
    for _ in range(2):
        with RayBackend(1, num_cpus=5) as backend:
            assert backend.gather(backend.scatter([1])) == [1]


def test_more_workers_than_cpus_are_refused(cluster):
    with pytest.raises(UsageError, match="9 workers of 1 CPUs: want from 1 up to the 8 CPUs"):
        RayBackend(9)


def test_workers_that_find_no_room_are_given_up(cluster):
    with RayBackend(1, num_cpus=5), pytest.raises(UsageError, match="only 0 started"):
        RayBackend(1, num_cpus=5, start_timeout_s=0.5)


def test_without_cluster_the_backend_says_so(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UsageError, match="not connected to Ray"):
        RayBackend(1)


def test_a_connected_process_stays_connected(cluster):
    with ray_session():
        pass
    assert ray.is_initialized()
