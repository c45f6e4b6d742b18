"""What a running server counts, for Prometheus.

Enters: requests, lists, what they were made of. Leaves: the text of ``GET /metrics``. With several
replicas each keeps its numbers in small shared files, and whichever is asked adds them all up; the
folder is named by PROMETHEUS_MULTIPROC_DIR before this module is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from recsys.ensemble.recommender import Recommendation

if TYPE_CHECKING:
    from recsys.serving.live import Version

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.012, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self._requests = Counter(
            "recsys_requests", "Requests answered.", ["route", "method", "status"], registry=own
        )
        self._seconds = Histogram(
            "recsys_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=own
        )
        self._stage = Histogram(
            "recsys_stage_seconds",
            "Time of a stage: store (read a history), recommend (retrieve, blend, explain).",
            ["stage"],
            buckets=_SECONDS,
            registry=own,
        )
        self._cache = Counter(
            "recsys_cache", "Weekly lists by whether they lay ready.", ["result"], registry=own
        )
        self._entries = Counter(
            "recsys_listed_items", "Entries of lists that were handed out.", registry=own
        )
        self._sources = Counter(
            "recsys_listed_by_source", "Entries to which a source added.", ["source"], registry=own
        )
        self._cold = Counter(
            "recsys_listed_cold", "Entries that nobody had played at the training.", registry=own
        )
        self._fallbacks = Counter(
            "recsys_fallbacks", "Lists that only popularity could make.", registry=own
        )
        self._coverage = Gauge(
            "recsys_served_coverage",
            "Share of the catalogue that was listed since the version was loaded.",
            multiprocess_mode="livemax",
            registry=own,
        )
        self._events = Counter(
            "recsys_events", "Events by what became of them.", ["result"], registry=own
        )
        self._info = Gauge(
            "recsys_version_info",
            "1 for the version that answers.",
            ["version"],
            multiprocess_mode="livemax",
            registry=own,
        )
        self._shown_of = ""
        self._shown, self._n_shown = np.zeros(0, bool), 0

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request by the pattern of its address, never by the address itself."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure one stage of a request."""
        began = perf_counter()
        try:
            yield
        finally:
            self._stage.labels(name).observe(perf_counter() - began)

    def cached(self, hit: bool) -> None:
        """Count whether a weekly list lay ready."""
        self._cache.labels("hit" if hit else "miss").inc()

    def received(self, **results: int) -> None:
        """Count events: accepted, duplicates, private, deleted."""
        for result, n in results.items():
            self._events.labels(result).inc(n)

    def listed(self, items: Sequence[Recommendation], version: Version) -> None:
        """Count what one list was made of."""
        if not items:
            return
        by_source = dict.fromkeys(items[0].signals, 0)
        for item in items:
            for source, part in item.signals.items():
                by_source[source] = by_source.get(source, 0) + (part > 0)
        self._entries.inc(len(items))
        for source, n in by_source.items():
            if n:
                self._sources.labels(source).inc(n)
        if not any(n for source, n in by_source.items() if source != "popularity"):
            self._fallbacks.inc()
        rows = np.array([version.row_of(item.item_id) for item in items])
        rows = rows[rows >= 0]
        self._cold.inc(int((version.recommender.listeners_of[rows] == 0).sum()))
        if self._shown_of != version.name:
            if self._shown_of:
                self._info.labels(self._shown_of).set(0)
            self._shown_of, self._shown = version.name, np.zeros(len(version.plays), bool)
            self._n_shown = 0
            self._info.labels(version.name).set(1)
        self._n_shown += int((~self._shown[rows]).sum())  # a list holds no item twice
        self._shown[rows] = True
        self._coverage.set(self._n_shown / max(len(self._shown), 1))

    def text(self) -> bytes:
        """Return the numbers of all replicas of this machine."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
