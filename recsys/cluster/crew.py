"""Tasks that know nothing of each other, given to whichever worker of a group is free.

Enters: workers, tasks one by one. Leaves: each task with its result, in the order in which they
end. A worker that dies costs its task alone: another worker is started in its place while the rest
go on. Where the cluster has no room for it, the group is one smaller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)

from recsys.errors import WorkersLostError
from recsys.progress import note

__all__ = ["LOST", "Crew", "Worker", "cause_of", "line_of"]

T = TypeVar("T")

LOST = (NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError, WorkerCrashedError)
"""What Ray raises where a worker, or what it held, is gone."""


class Worker(NamedTuple):
    """One actor, and where it runs."""

    actor: Any
    node: str
    pid: int
    """0 for one that is known to have died."""


class Crew(Generic[T]):
    """Workers that take one task at a time.

    Parameters
    ----------
    workers
        Changed in place: another worker takes a dead one's place as soon as it has come up.
    start
        Returns a new actor, without waiting for it.
    start_timeout_s
        Seconds to wait for one where no worker is left.
    """

    def __init__(
        self, workers: list[Worker], start: Callable[[], Any], *, start_timeout_s: float
    ) -> None:
        self._workers, self._start, self._start_timeout_s = workers, start, start_timeout_s
        self._free = deque(place for place, worker in enumerate(workers) if worker.pid)
        self._busy: dict[Any, tuple[int, T]] = {}
        self._starting: dict[Any, tuple[int, Any]] = {}
        for place, worker in enumerate(workers):
            if not worker.pid:
                self._replace(place)

    def work_off(
        self, function: Callable[..., Any], tasks: Iterable[T], shared: Sequence[Any]
    ) -> Iterator[tuple[T, Any]]:
        """Yield what `recsys.backend.Backend.each` yields."""
        waiting, given = iter(tasks), ray.put((function, tuple(shared)))
        try:
            while self._hand_out(waiting, given) or self._busy:
                ended = self._await_one()
                if ended is not None:
                    yield ended
        finally:
            for _, actor in self._starting.values():
                ray.kill(actor)

    def _hand_out(self, waiting: Iterator[T], given: Any) -> bool:
        """Give every free worker a task; return False where there are no more."""
        while self._free:
            for task in waiting:
                place = self._free.popleft()
                self._busy[self._workers[place].actor.do.remote(task, given)] = place, task
                break
            else:
                return False
        return True

    def _await_one(self) -> tuple[T, Any] | None:
        """Return the next task that ends; None where a worker has come up before."""
        awaited = [*self._busy, *self._starting]
        timeout_s = None if self._busy else self._start_timeout_s
        ended = ray.wait(awaited, timeout=timeout_s)[0] if awaited else []
        if not ended:
            raise WorkersLostError(
                "no worker is left, and none can be started; look after the cluster, then repeat "
                "the command: what is done is kept"
            )
        if ended[0] in self._starting:
            self._came_up(ended[0])
            return None
        place, task = self._busy.pop(ended[0])
        try:
            result = ray.get(ended[0])
        except RayTaskError as error:
            raise cause_of(error) from None
        except LOST as error:
            result = WorkersLostError(line_of(error))
            pid = self._workers[place].pid
            note(f"worker {place} (pid {pid}) died: {result}; another takes its place")
            ray.kill(self._workers[place].actor)  # it may only be out of reach, and hold its cores
            self._workers[place] = self._workers[place]._replace(pid=0)
            self._replace(place)
        else:
            self._free.append(place)
        return task, result

    def _replace(self, place: int) -> None:
        actor = self._start()
        self._starting[actor.begin.remote()] = place, actor

    def _came_up(self, answer: Any) -> None:
        place, actor = self._starting.pop(answer)
        try:
            self._workers[place] = Worker(actor, *ray.get(answer))
        except LOST as error:
            note(f"no worker for place {place}: {line_of(error)}; the others go on")
        else:
            self._free.append(place)


def cause_of(error: RayTaskError) -> Exception:
    """Return an error on a worker as what it was there."""
    cause: Any = error
    while isinstance(cause, RayTaskError) and isinstance(cause.cause, Exception):
        cause = cause.cause
    return WorkersLostError(line_of(cause)) if isinstance(cause, LOST) else cause


def line_of(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
