"""The one seam between the mathematics and the machines.

An algorithm sees an array that is too large for one process as *parts*: one value per worker. It
scatters them, maps functions over them where they lie, gathers only what is small, and lets workers
exchange what others must read. Four verbs; `LocalBackend` is their definition,
`recsys.cluster.RayBackend` holds each part in an actor. There is one mathematics: no algorithm asks
which backend it runs on.

Machines fail, so there is a fifth: `renew` starts anew, with nothing held, after a verb has raised
`WorkersLostError`. What to hand out again is up to whoever drives the algorithm.

Work that falls into pieces which know nothing of each other (documents and recordings to encode)
needs no parts: `each` gives a piece to whichever worker is free, and `in_batches` sees to it that a
worker that dies costs its batch a second try, and a thing that workers die of is set aside.

Enters: parts (any arrays), functions on parts. Leaves: handles, and small results.
"""

from __future__ import annotations

import resource
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from recsys.errors import WorkersLostError

__all__ = ["Backend", "Blocks", "LocalBackend", "Parts", "Usage", "in_batches", "peak_bytes"]

T = TypeVar("T")

_DEATHS = 2
"""Workers that may die with a batch before it is cut in two, or its only thing is set aside."""


class Parts(Protocol):
    """A handle on one value per worker; the values themselves stay with the workers."""

    def __len__(self) -> int: ...


class Blocks(Protocol):
    """What every worker sent to this one, in order: indexed one at a time, so memory stays bounded.

    A block is read-only: workers on one node may share its memory.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class Usage(NamedTuple):
    """What the work has cost so far."""

    bytes_moved: int
    """Handed from worker to worker by `Backend.exchange`: a block that all workers read counts once
    for each node, one for a single worker once."""
    peak_bytes: int
    """Resident memory of the largest worker at its peak."""


class Backend(Protocol):
    """Where the parts of an array live and where functions on them run."""

    @property
    def n_workers(self) -> int:
        """Number of parts that every `Parts` of this backend has; may change by `renew`."""
        ...

    @property
    def n_nodes(self) -> int:
        """Number of machines: workers on one of them share what is sent to all."""
        ...

    def scatter(self, parts: Iterable[Any]) -> Parts:
        """Hand one value to each worker, in order; there must be `n_workers` of them."""
        ...

    def map(self, function: Callable[..., Any], *parts: Parts, shared: Sequence[Any] = ()) -> Parts:
        """Run ``function(part_of_each..., *shared)`` on every worker; results stay there.

        `function` must be importable (a module-level function). It must not change what is shared;
        a part that it renews it may overwrite where the memory is writeable, which spends the
        former handle. An error of the function is raised here or by a later verb.
        """
        ...

    def gather(self, parts: Parts) -> list[Any]:
        """Bring every worker's value to the caller, in order; meant for what is small."""
        ...

    def exchange(
        self, function: Callable[..., Any], *parts: Parts, shared: Sequence[Any] = ()
    ) -> Parts:
        """Run `function` as `map` does and deliver what it returns: one `Blocks` per worker.

        It returns a list: of one value, which all workers receive, or of `n_workers` values, one
        for each.
        """
        ...

    def each(
        self, function: Callable[..., Any], tasks: Iterable[T], *, shared: Sequence[Any] = ()
    ) -> Iterator[tuple[T, Any]]:
        """Yield each task with ``function(task, *shared)``, in the order in which they end.

        A task goes to whichever worker is free, and is taken from `tasks` only then. A worker that
        dies costs its task alone, whose result is then a `WorkersLostError`; the worker is replaced
        by one that holds nothing, so that its `Parts` are lost, as the next verb will say. An error
        of the function is raised here.
        """
        ...

    def renew(self) -> None:
        """Begin again with workers that hold nothing, perhaps of another number."""
        ...

    def usage(self) -> Usage:
        """Return what was moved and held since the backend was made."""
        ...


class LocalBackend:
    """The reference: parts are list entries and every verb is a list comprehension."""

    def __init__(self, n_workers: int = 1, *, n_nodes: int = 1) -> None:
        self._n_workers, self._n_nodes = n_workers, n_nodes

    @property
    def n_workers(self) -> int:
        return self._n_workers

    @property
    def n_nodes(self) -> int:
        return self._n_nodes

    def scatter(self, parts: Iterable[Any]) -> list[Any]:
        values = list(parts)
        assert len(values) == self.n_workers, (len(values), self.n_workers)
        return values

    def map(
        self, function: Callable[..., Any], *parts: Any, shared: Sequence[Any] = ()
    ) -> list[Any]:
        return [function(*values, *shared) for values in zip(*parts, strict=True)]

    def gather(self, parts: Any) -> list[Any]:
        return list(parts)

    def exchange(
        self, function: Callable[..., Any], *parts: Any, shared: Sequence[Any] = ()
    ) -> list[Any]:
        sent = self.map(function, *parts, shared=shared)
        assert all(len(values) in (1, self.n_workers) for values in sent)
        return [
            [values[0 if len(values) == 1 else worker] for values in sent]
            for worker in range(self.n_workers)
        ]

    def each(
        self, function: Callable[..., Any], tasks: Iterable[T], *, shared: Sequence[Any] = ()
    ) -> Iterator[tuple[T, Any]]:
        for task in tasks:
            yield task, function(task, *shared)

    def renew(self) -> None:
        pass

    def usage(self) -> Usage:
        return Usage(0, peak_bytes())


class _Batch(NamedTuple, Generic[T]):
    """Things that one worker works off, and how many died of it."""

    things: list[T]
    deaths: int


def in_batches(
    backend: Backend,
    function: Callable[..., Any],
    things: Iterable[T],
    *,
    size: int,
    shared: Sequence[Any] = (),
) -> Iterator[tuple[list[T], Any]]:
    """Yield batches of `things` with ``function(batch, *shared)``, whichever workers die.

    A worker that dies costs its batch another try. A batch that two died of is cut in halves, until
    one thing is left that workers die of: it is yielded alone, with a `WorkersLostError` for a
    result. Memory: what the batches under way hold.

    Parameters
    ----------
    function
        Must be importable, and may be run twice on the same things.
    size
        Things in a batch.
    """
    source = iter(things)
    again: deque[_Batch[T]] = deque()

    def batches() -> Iterator[_Batch[T]]:
        while True:
            if again:
                yield again.popleft()
            elif fresh := list(islice(source, size)):
                yield _Batch(fresh, 0)
            else:
                return

    while True:
        for batch, result in backend.each(_worked_off, batches(), shared=(function, *shared)):
            if not isinstance(result, WorkersLostError):
                yield batch.things, result
            elif batch.deaths + 1 < _DEATHS:
                again.append(_Batch(batch.things, batch.deaths + 1))
            elif len(batch.things) > 1:
                middle = len(batch.things) // 2
                halves = batch.things[:middle], batch.things[middle:]
                again.extend(_Batch(half, _DEATHS - 1) for half in halves)
            else:
                yield batch.things, result
        # What was lost last came back when there was nothing more to hand out.
        if not again:
            return


def _worked_off(batch: _Batch[Any], function: Callable[..., Any], *shared: Any) -> Any:
    return function(batch.things, *shared)


def peak_bytes() -> int:
    """Return the resident memory of this process at its peak."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
