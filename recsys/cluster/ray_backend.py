"""The Backend on Ray: each worker is an actor that holds its parts.

Enters: the verbs of `recsys.backend.Backend`. Leaves: the same results as `LocalBackend` gives.

A part never passes through the driver unless it is scattered or gathered. What workers exchange
goes through the object store: the driver holds references, and a worker fetches one block at a
time, as read-only views of memory that all workers of a node share. Actors are not restarted: a
restarted one would have lost its parts without saying so. Whoever drives the algorithm learns of a
dead worker, a dead node or a lost block by `WorkersLostError`, and `renew` makes a new group from
what the cluster still has.

Tasks that know nothing of each other go to whoever is free, and there a dead worker is replaced at
once (`recsys.cluster.crew`).

Actors work off their calls in order, so `map` and `scatter` do not wait for them; an error on a
worker is raised by the next verb that does: `gather`, `exchange`, `usage`.
"""

from __future__ import annotations

import os
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayTaskError

from recsys.backend import Usage, peak_bytes
from recsys.cluster.crew import LOST, Crew, Worker, cause_of, line_of
from recsys.errors import UsageError, WorkersLostError
from recsys.progress import note

__all__ = ["RayBackend", "RayParts", "Worker"]

T = TypeVar("T")

_THREAD_VARIABLES = (
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


class RayBackend:
    """`n_workers` actors; use it as a context manager, or `close` it, to release them.

    Parameters
    ----------
    n_workers
        Actors, and parts of every scattered array.
    num_cpus
        CPUs that each actor reserves; also its threads.
    start_timeout_s
        Seconds to wait for all actors to start.
    straggler_s
        A worker that takes this much longer than the middle one, and twice its time, is named in
        a note.

    Raises
    ------
    UsageError
        Where Ray is not connected, or the cluster has too few CPUs, or too few
        free ones for the time allowed.
    """

    def __init__(
        self,
        n_workers: int,
        *,
        num_cpus: int = 1,
        start_timeout_s: float = 120,
        straggler_s: float = 5,
    ) -> None:
        if not ray.is_initialized():
            raise UsageError("RayBackend: not connected to Ray; use it inside ray_session()")
        if n_workers < 1 or n_workers * num_cpus > _cpus():
            raise UsageError(
                f"{n_workers} workers of {num_cpus} CPUs: want from 1 up to the "
                f"{_cpus():.0f} CPUs of the cluster; ask for fewer workers or add nodes"
            )
        # What a call leaves behind when one before it failed; `_finish` raises the first.
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
        self._wanted, self._num_cpus = n_workers, num_cpus
        self._start_timeout_s, self._straggler_s = start_timeout_s, straggler_s
        self._dropped: deque[str] = deque()
        self._under_way: list[Any] = []
        self._bytes_moved = 0
        self.workers = self._started(n_workers)
        if len(self.workers) < n_workers:
            there = len(self.workers)
            self.close()
            raise UsageError(
                f"{n_workers} workers of {num_cpus} CPUs: only {there} started within "
                f"{start_timeout_s:g} s; wait for the cluster's other work or ask for fewer"
            )

    def __enter__(self) -> RayBackend:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the actors and everything they hold."""
        for worker in self.workers:
            ray.kill(worker.actor)
        self.workers = []

    def renew(self) -> None:
        """Keep the actors that still answer, emptied, and start others where there is room."""
        self._dropped.clear()
        self._under_way = []
        self.workers = self._answering([worker.actor for worker in self.workers])
        room = int(_cpus() // self._num_cpus)
        self.workers += self._started(min(self._wanted, room) - len(self.workers))
        if not self.workers:
            raise WorkersLostError(
                f"no worker started within {self._start_timeout_s:g} s; look after the cluster, "
                f"then go on with --resume"
            )

    def _started(self, n_workers: int) -> list[Worker]:
        return self._answering([self._start() for _ in range(n_workers)])

    def _start(self) -> Any:
        """Return an actor that may take its time to come up."""
        actor: Any = ray.remote(_Actor)
        actor = actor.options(
            num_cpus=self._num_cpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": dict.fromkeys(_THREAD_VARIABLES, str(self._num_cpus))},
        )
        return actor.remote()

    def _answering(self, actors: list[Any]) -> list[Worker]:
        """Return the actors that answer in time, with nothing held; the others are given up."""
        answers = [actor.begin.remote() for actor in actors]
        if answers:
            ray.wait(answers, num_returns=len(answers), timeout=self._start_timeout_s)
        there = []
        for actor, answer in zip(actors, answers, strict=True):
            try:
                there.append(Worker(actor, *ray.get(answer, timeout=0)))
            except (GetTimeoutError, *LOST):
                ray.kill(actor)
        return there

    @property
    def n_workers(self) -> int:
        return len(self.workers)

    @property
    def n_nodes(self) -> int:
        return len({worker.node for worker in self.workers})

    def scatter(self, parts: Iterable[Any]) -> RayParts:
        dropped, handle = self._begin()
        values = list(parts)
        assert len(values) == self.n_workers, (len(values), self.n_workers)
        if all(value is values[0] for value in values):
            # Stored once; the workers of a node share its memory.
            values = [ray.put(values[0])] * len(values)
        self._under_way += [
            worker.actor.keep.remote(dropped, handle.key, value)
            for worker, value in zip(self.workers, values, strict=True)
        ]
        return handle

    def map(
        self, function: Callable[..., Any], *parts: Any, shared: Sequence[Any] = ()
    ) -> RayParts:
        dropped, handle = self._begin()
        call = _Call(function, [part.key for part in parts], shared)
        self._under_way += [
            worker.actor.run.remote(dropped, handle.key, call) for worker in self.workers
        ]
        return handle

    def gather(self, parts: Any) -> list[Any]:
        return self._finish([w.actor.give.remote(parts.key) for w in self.workers], "gather")

    def exchange(
        self, function: Callable[..., Any], *parts: Any, shared: Sequence[Any] = ()
    ) -> RayParts:
        dropped, handle = self._begin()
        call = _Call(function, [part.key for part in parts], shared)
        streams = [worker.actor.send.remote(dropped, call) for worker in self.workers]
        # First the sizes, then what is sent; all of it stays in the stores where it was made.
        sizes_sent = self._finish([next(stream) for stream in streams], function.__name__)
        sent = [list(stream) for stream in streams]
        for sizes, blocks in zip(sizes_sent, sent, strict=True):
            if len(blocks) != len(sizes):
                raise WorkersLostError("a worker ended while it was sending")
            copies = self.n_nodes if len(sizes) == 1 else 1
            self._bytes_moved += copies * sum(sizes)
        received = [
            RayBlocks([blocks[0 if len(blocks) == 1 else reader] for blocks in sent])
            for reader in range(self.n_workers)
        ]
        self._under_way += [
            worker.actor.keep.remote([], handle.key, blocks)
            for worker, blocks in zip(self.workers, received, strict=True)
        ]
        return handle

    def each(
        self, function: Callable[..., Any], tasks: Iterable[T], *, shared: Sequence[Any] = ()
    ) -> Iterator[tuple[T, Any]]:
        crew: Crew[T] = Crew(self.workers, self._start, start_timeout_s=self._start_timeout_s)
        return crew.work_off(function, tasks, shared)

    def usage(self) -> Usage:
        peaks = self._finish([worker.actor.peak.remote() for worker in self.workers], "usage")
        return Usage(self._bytes_moved, max(peaks))

    def _begin(self) -> tuple[list[str], RayParts]:
        """Name a new value; hand over the names of those whose handles are gone."""
        dropped = [self._dropped.popleft() for _ in range(len(self._dropped))]
        handle = RayParts(uuid.uuid4().hex, self.n_workers)
        # A finalizer may run inside any call, Ray's own included, so it only takes a note.
        weakref.finalize(handle, self._dropped.append, handle.key).atexit = False
        return dropped, handle

    def _finish(self, tasks: list[Any], what: str) -> list[Any]:
        """Wait for all that is under way and return the tasks' values; name who lags far behind."""
        if not tasks:
            raise WorkersLostError("no workers are left")
        before, self._under_way = self._under_way, []
        try:
            began = time.monotonic()
            ray.wait(tasks, num_returns=(len(tasks) + 1) // 2)
            typical_s = time.monotonic() - began
            try:
                # Earlier calls first: an error there is the cause of those that follow.
                ray.get([*before, *tasks], timeout=max(self._straggler_s, typical_s))
            except GetTimeoutError:
                self._report_late(tasks, what, time.monotonic() - began)
            return list(ray.get([*before, *tasks]))[len(before) :]
        except RayTaskError as error:
            raise cause_of(error) from None
        except LOST as error:
            raise WorkersLostError(line_of(error)) from None

    def _report_late(self, tasks: list[Any], what: str, seconds: float) -> None:
        done, late = ray.wait(tasks, num_returns=len(tasks), timeout=0)
        for task in late:
            worker = self.workers[tasks.index(task)]
            note(
                f"straggler: worker {tasks.index(task)} (pid {worker.pid}, node "
                f"{worker.node[:8]}) is at {what} for {seconds:.1f} s; "
                f"{len(done)} of {len(tasks)} are done"
            )


class RayParts:
    """A value in every actor under one key; the actors drop it some time after this handle dies."""

    def __init__(self, key: str, n_parts: int) -> None:
        self.key = key
        self._n_parts = n_parts

    def __len__(self) -> int:
        return self._n_parts


class RayBlocks:
    """References to what the workers sent; indexing fetches one."""

    def __init__(self, references: list[Any]) -> None:
        self._references = references

    def __len__(self) -> int:
        return len(self._references)

    def __getitem__(self, index: int, /) -> Any:
        return ray.get(self._references[index])


class _Call(NamedTuple):
    """A function, the keys of its parts, and what else it is given."""

    function: Callable[..., Any]
    keys: list[str]
    shared: Sequence[Any]


class _Actor:
    """One worker: values by key."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def begin(self) -> tuple[str, int]:
        """Let go of everything; return the node and the process."""
        self._values.clear()
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def keep(self, dropped: list[str], key: str, value: Any) -> None:
        self._drop(dropped)
        self._values[key] = value

    def run(self, dropped: list[str], key: str, call: _Call) -> None:
        self._drop(dropped)
        self._values[key] = self._result(call)

    def send(self, dropped: list[str], call: _Call) -> Iterator[Any]:
        """Yield the sizes in bytes of the values to be sent, then the values."""
        self._drop(dropped)
        values = self._result(call)
        yield [_size(value) for value in values]
        # Not from the list itself: Ray calls send(), which only generators have.
        yield from (value for value in values)

    def do(self, task: Any, given: tuple[Callable[..., Any], Sequence[Any]]) -> Any:
        function, shared = given
        return function(task, *shared)

    def give(self, key: str) -> Any:
        return self._value(key)

    def held(self) -> int:
        """Return the number of values held."""
        return len(self._values)

    def peak(self) -> int:
        return peak_bytes()

    def _result(self, call: _Call) -> Any:
        return call.function(*map(self._value, call.keys), *call.shared)

    def _value(self, key: str) -> Any:
        if key not in self._values:
            raise WorkersLostError("a worker that was replaced holds nothing of before")
        return self._values[key]

    def _drop(self, keys: list[str]) -> None:
        for key in keys:
            self._values.pop(key, None)


def _size(value: Any) -> int:
    """Return the bytes of the arrays in a value."""
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return int(getattr(value, "nbytes", 0))


def _cpus() -> float:
    resources: dict[str, float] = ray.cluster_resources()
    return resources.get("CPU", 0)
