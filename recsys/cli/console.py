"""What the commands share when they print: tables, JSON, and progress.

Results go to stdout; progress goes to stderr, as a bar on a terminal and as plain lines elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from recsys.ensemble.recommender import Recommendation

__all__ = ["ConsoleReporter", "JsonReporter", "print_json", "print_list", "print_table"]

_QUIET_S = 5.0
"""Seconds between two plain progress lines of one task."""


def print_json(value: Any) -> None:
    """Print one JSON document on one line."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    numeric: Iterable[str] = (),
    caption: str | None = None,
) -> None:
    """Print a table; columns named in `numeric` are right-aligned."""
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    right = set(numeric)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    # Off a terminal there is no width to keep to; 160 columns keep a row on one line.
    console = Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False)
    console.print(table)


def print_list(title: str, found: Sequence[Recommendation]) -> None:
    """Print a list of recommendations as a table."""
    rows = [
        (one.rank, one.item_id, one.title, one.artist, f"{one.score:.4f}", "; ".join(one.reasons))
        for one in found
    ]
    columns = ("rank", "item_id", "title", "artist", "score", "reasons")
    print_table(title, columns, rows, numeric=("rank", "score"))


class ConsoleReporter:
    """Progress of long work on stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._began: dict[str, float] = {}

    def note(self, line: str) -> None:
        """Print one line."""
        self._console.print(line, soft_wrap=True)

    def step(self, task: str, done: int, total: int | None, detail: str) -> None:
        """Draw or print the state of one task."""
        if self._console.is_terminal:
            self._draw(task, done, total, detail)
        else:
            self._say(task, done, total, detail)

    def measure(self, task: str, figures: Mapping[str, float]) -> None:
        """Leave figures to machines (`JsonReporter`)."""

    def _draw(self, task: str, done: int, total: int | None, detail: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description:<24}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}"),
                console=self._console,
            )
            self._bar.start()
        if task not in self._tasks:
            self._tasks[task] = self._bar.add_task(task, total=total, detail=detail)
        self._bar.update(self._tasks[task], completed=done, total=total, detail=detail)
        if done == total:
            del self._tasks[task]
            if not self._tasks:
                self._bar.stop()
                self._bar = None

    def _say(self, task: str, done: int, total: int | None, detail: str) -> None:
        now = time.monotonic()
        began = self._began.setdefault(task, now)
        ended = done == total
        if ended or now - self._said.get(task, began) >= _QUIET_S:
            self._said[task] = now
            of = f"{done:,}" if total is None else f"{done:,}/{total:,}"
            tail = f"  {detail}" if detail else ""
            print(f"{task}: {of} in {now - began:.1f} s{tail}", file=sys.stderr, flush=True)
        if ended:
            self._began.pop(task, None)
            self._said.pop(task, None)


class JsonReporter:
    """Progress of long work on stderr, one JSON object a line, for machines."""

    def note(self, line: str) -> None:
        """Write one line."""
        self._write(note=line)

    def step(self, task: str, done: int, total: int | None, detail: str) -> None:
        """Write the state of one task."""
        self._write(task=task, done=done, total=total)

    def measure(self, task: str, figures: Mapping[str, float]) -> None:
        """Write the figures of one task."""
        self._write(task=task, **figures)

    def _write(self, **fields: Any) -> None:
        print(json.dumps({"at": time.time(), **fields}), file=sys.stderr, flush=True)
