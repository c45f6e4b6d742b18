"""The one seam between the mathematics and the machines.

An algorithm sees an array that is too large for one process as *parts*: it scatters them once,
maps functions over them where they lie, gathers only what is small, and publishes what every
worker must read. Four verbs; `LocalBackend` is their definition, `recsys.cluster.RayBackend` holds
each part in an actor. There is one mathematics: no algorithm asks which backend it runs on.

Enters: parts (any arrays), functions on parts. Leaves: handles, and small results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

__all__ = ["Backend", "Blocks", "LocalBackend", "Parts"]


class Parts(Protocol):
    """A handle on one value per worker; the values themselves stay with the workers."""

    def __len__(self) -> int: ...


class Blocks(Protocol):
    """Published parts, as a worker sees them: indexed one at a time, so memory stays bounded.

    A block is read-only: workers on one node may share its memory.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class Backend(Protocol):
    """Where the parts of an array live and where functions on them run."""

    @property
    def n_workers(self) -> int:
        """Number of parts that every `Parts` of this backend has."""
        ...

    def scatter(self, parts: Iterable[Any]) -> Parts:
        """Hand one value to each worker, in order; there must be `n_workers` of them."""
        ...

    def map(self, function: Callable[..., Any], *parts: Parts, shared: Sequence[Any] = ()) -> Parts:
        """Run ``function(part_of_each..., *shared)`` on every worker; results stay there.

        A `Blocks` among `shared` arrives readable. `function` must be importable (a module-level
        function). It must not change what is shared; a part that it renews it may overwrite where
        the memory is writeable, which spends the former handle.
        """
        ...

    def gather(self, parts: Parts) -> list[Any]:
        """Bring every worker's value to the caller, in order; meant for what is small."""
        ...

    def publish(self, parts: Parts) -> Blocks:
        """Make every part readable by every worker; pass the result as `shared` to `map`."""
        ...


class LocalBackend:
    """The reference: parts are list entries and every verb is a list comprehension."""

    def __init__(self, n_workers: int = 1) -> None:
        self._n_workers = n_workers

    @property
    def n_workers(self) -> int:
        return self._n_workers

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

    def publish(self, parts: Any) -> list[Any]:
        return list(parts)
