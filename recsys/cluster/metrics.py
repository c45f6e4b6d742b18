"""The figures of a training as Ray metrics, beside whoever else listens.

Enters: what is said through `recsys.progress`. Leaves: the gauge ``recsys_progress`` with the tags
``task`` and ``figure`` (loss, entries_per_s, bytes_moved, peak_bytes, eta_s, ...), which every
node's metrics port serves to Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ray.util.metrics import Gauge

from recsys import progress
from recsys.progress import Reporter

__all__ = ["ray_metrics"]


@contextmanager
def ray_metrics() -> Iterator[None]:
    """Also give the figures said inside the block to Ray, which must be connected."""
    with progress.report_to(_RayMetrics(progress.current())):
        yield


class _RayMetrics:
    """Hands everything on, and figures to Ray."""

    def __init__(self, listener: Reporter | None) -> None:
        self._listener = listener
        about = "How far long work is and what it costs; see the figure."
        self._gauge = Gauge("recsys_progress", about, tag_keys=("task", "figure"))

    def note(self, line: str) -> None:
        if self._listener is not None:
            self._listener.note(line)

    def step(self, task: str, done: int, total: int | None, detail: str) -> None:
        if self._listener is not None:
            self._listener.step(task, done, total, detail)

    def measure(self, task: str, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._gauge.set(value, {"task": task, "figure": name})
        if self._listener is not None:
            self._listener.measure(task, figures)
