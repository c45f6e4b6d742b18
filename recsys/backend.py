"""The one seam between the mathematics and the machines.

An algorithm sees an array that is too large for one process as *parts*: one value per worker. It
scatters them, maps functions over them where they lie, gathers only what is small, and lets workers
exchange what others must read. Four verbs; `LocalBackend` is their definition,
`recsys.cluster.RayBackend` holds each part in an actor. There is one mathematics: no algorithm asks
which backend it runs on.

Machines fail, so there is a fifth: `renew` starts anew, with nothing held, after a verb has raised
`WorkersLostError`. What to hand out again is up to whoever drives the algorithm.

Enters: parts (any arrays), functions on parts. Leaves: handles, and small results.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Backend", "Blocks", "LocalBackend", "Parts", "Usage", "peak_bytes"]


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

    def renew(self) -> None:
        pass

    def usage(self) -> Usage:
        return Usage(0, peak_bytes())


def peak_bytes() -> int:
    """Return the resident memory of this process at its peak."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
