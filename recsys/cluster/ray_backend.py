"""The Backend on Ray: each worker is an actor that holds its parts.

Enters: the verbs of `recsys.backend.Backend`. Leaves: the same results as `LocalBackend` gives.

A part never passes through the driver unless it is scattered or gathered. Published parts go into
the object store; the driver and the functions that read them hold references, and a worker fetches
one block at a time, as read-only views of shared memory. Actors are not restarted: a restarted one
would have lost its parts without saying so, so recovery belongs to whoever drives the algorithm.
"""

from __future__ import annotations

import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError

from recsys.errors import UsageError

__all__ = ["RayBackend"]

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

    Raises
    ------
    UsageError
        Where Ray is not connected, or the cluster has too few CPUs, or too few
        free ones for the time allowed.
    """

    def __init__(self, n_workers: int, *, num_cpus: int = 1, start_timeout_s: float = 120) -> None:
        if not ray.is_initialized():
            raise UsageError("RayBackend: not connected to Ray; use it inside ray_session()")
        wanted, there = n_workers * num_cpus, _cpus()
        if n_workers < 1 or wanted > there:
            raise UsageError(
                f"{n_workers} workers of {num_cpus} CPUs: want from 1 up to the "
                f"{there:.0f} CPUs of the cluster; ask for fewer workers or add nodes"
            )
        actor: Any = ray.remote(_Worker)
        actor = actor.options(
            num_cpus=num_cpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {name: str(num_cpus) for name in _THREAD_VARIABLES}},
        )
        self._workers: list[Any] = [actor.remote() for _ in range(n_workers)]
        self._dead: deque[str] = deque()
        started = [worker.held.remote() for worker in self._workers]
        ready, _ = ray.wait(started, num_returns=n_workers, timeout=start_timeout_s)
        if len(ready) < n_workers:
            self.close()
            raise UsageError(
                f"{n_workers} workers of {num_cpus} CPUs: only {len(ready)} started within "
                f"{start_timeout_s:g} s; wait for the cluster's other work or ask for fewer"
            )

    def __enter__(self) -> RayBackend:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the actors and everything they hold."""
        for worker in self._workers:
            ray.kill(worker)
        self._workers = []

    @property
    def n_workers(self) -> int:
        return len(self._workers)

    def scatter(self, parts: Iterable[Any]) -> RayParts:
        keys, handle = self._begin()
        values = list(parts)
        assert len(values) == self.n_workers, (len(values), self.n_workers)
        _wait([w.keep.remote(*keys, v) for w, v in zip(self._workers, values, strict=True)])
        return handle

    def map(
        self,
        function: Callable[..., Any],
        *parts: Any,
        shared: Sequence[Any] = (),
    ) -> RayParts:
        assert parts, "map needs at least one array of parts"
        keys, handle = self._begin()
        # One copy in the object store serves all workers.
        call = ray.put((function, [p.key for p in parts], tuple(shared)))
        _wait([worker.run.remote(*keys, [call]) for worker in self._workers])
        return handle

    def gather(self, parts: Any) -> list[Any]:
        values: list[Any] = _wait([worker.give.remote(parts.key) for worker in self._workers])
        return values

    def publish(self, parts: Any) -> RayBlocks:
        blocks = [worker.give.remote(parts.key) for worker in self._workers]
        # Waits until every block is in the store, and fetches none.
        ray.wait(blocks, num_returns=len(blocks), fetch_local=False)
        return RayBlocks(blocks)

    def _begin(self) -> tuple[tuple[str, list[str]], RayParts]:
        """Name a new value; hand over the names of those whose handles are gone."""
        dropped = [self._dead.popleft() for _ in range(len(self._dead))]
        handle = RayParts(uuid.uuid4().hex, self.n_workers)
        # A finalizer may run inside any call, Ray's own included, so it only takes a note.
        weakref.finalize(handle, self._dead.append, handle.key).atexit = False
        return (handle.key, dropped), handle


class RayParts:
    """A value in every actor under one key; the actors drop it some time after this handle dies."""

    def __init__(self, key: str, n_parts: int) -> None:
        self.key = key
        self._n_parts = n_parts

    def __len__(self) -> int:
        return self._n_parts


class RayBlocks:
    """References to published parts; indexing fetches one. Travels to workers as references."""

    def __init__(self, references: list[Any]) -> None:
        self._references = references

    def __len__(self) -> int:
        return len(self._references)

    def __getitem__(self, index: int, /) -> Any:
        return _wait(self._references[index])


class _Worker:
    """One actor: values by key."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def keep(self, key: str, dropped: list[str], value: Any) -> None:
        self._drop(dropped)
        self._values[key] = value

    def run(self, key: str, dropped: list[str], call: list[Any]) -> None:
        self._drop(dropped)
        # Inside a list, so that Ray passes the reference and not the value.
        function, parts, shared = ray.get(call[0])
        self._values[key] = function(*(self._values[part] for part in parts), *shared)

    def give(self, key: str) -> Any:
        return self._values[key]

    def held(self) -> int:
        """Return the number of values held."""
        return len(self._values)

    def _drop(self, keys: list[str]) -> None:
        for key in keys:
            self._values.pop(key, None)


def _cpus() -> float:
    resources: dict[str, float] = ray.cluster_resources()
    return resources.get("CPU", 0)


def _wait(references: Any) -> Any:
    """Return the values; an error on a worker is raised here as what it was there."""
    try:
        return ray.get(references)
    except RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, Exception) else error from None
