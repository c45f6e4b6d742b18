"""How long work tells what it does without knowing who listens.

Library code calls `track` around a loop and `note` for a line. Nothing is shown until an entry
point installs a reporter (`report_to`): the command line draws bars on a terminal and prints plain
lines elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

__all__ = ["Reporter", "current", "measure", "note", "report_to", "step", "track"]

T = TypeVar("T")


class Reporter(Protocol):
    """Receives what long work says of itself."""

    def note(self, line: str) -> None:
        """Take one line for a person."""

    def step(self, task: str, done: int, total: int | None, detail: str) -> None:
        """Take the state of one task: `done` of `total` (None: unknown) units."""

    def measure(self, task: str, figures: Mapping[str, float]) -> None:
        """Take figures of one task, for machines; units stand in their names."""


_reporter: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


@contextmanager
def report_to(reporter: Reporter | None) -> Iterator[None]:
    """Send what is said inside the block to `reporter`, or to nobody."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


def current() -> Reporter | None:
    """Return who listens, for a reporter that hands on what it hears."""
    return _reporter.get()


def note(line: str) -> None:
    """Say one line."""
    if (reporter := _reporter.get()) is not None:
        reporter.note(line)


def step(task: str, done: int, total: int | None = None, detail: str = "") -> None:
    """Say how far `task` is; `done` equal to `total` ends it."""
    if (reporter := _reporter.get()) is not None:
        reporter.step(task, done, total, detail)


def measure(task: str, **figures: float) -> None:
    """Say figures of `task`, for machines to read."""
    if (reporter := _reporter.get()) is not None:
        reporter.measure(task, figures)


def track(iterable: Iterable[T], task: str, total: int | None = None) -> Iterator[T]:
    """Yield from `iterable` and report each item done under the name `task`."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    done = 0
    step(task, done, total)
    for done, value in enumerate(iterable, start=1):
        yield value
        step(task, done, total)
    if total is None:
        step(task, done, done)
