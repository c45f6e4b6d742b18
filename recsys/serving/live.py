"""The versions that answer: the one that ACTIVE names, followed while it changes, and a rival.

Enters: a folder of versions. Leaves: one `Version` at a time for each listener. A background thread
looks at the small files ACTIVE, EXPERIMENT and keys.json; where they name another version, or one
was rewritten because a listener was deleted, it is loaded and warmed beside the old, and then one
reference is swapped, so a request sees the old version or the new and never a mixture. A version
that cannot be loaded leaves the old one in place and says why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle, Models
from recsys.ensemble.recommender import HybridRecommender
from recsys.ensemble.segments import Segment, Segments, describe_segments
from recsys.errors import RecsysError
from recsys.serving.experiment import Experiment, running
from recsys.serving.problems import NotReadyError
from recsys.serving.search import Names
from recsys.serving.security import KeyRing

__all__ = ["SEGMENT_TOLD", "Live", "Version"]

SEGMENT_TOLD = 20
"""Artists and terms of a group of listeners that are known, at most."""

_log = logging.getLogger(__name__)
_WARM_LISTS = 3
_ROWS_KEPT = 100_000


@dataclass(frozen=True)
class Version:
    """One loaded version and what is derived from it once."""

    bundle: Bundle
    recommender: HybridRecommender

    @classmethod
    def load(cls, bundle: Bundle) -> Version:
        """Open a version and answer some, so that the first listener does not pay for it."""
        version = cls(bundle, HybridRecommender.load(bundle))
        recommender = version.recommender
        users, items = recommender.catalogue.users, recommender.catalogue.items
        for row in range(min(_WARM_LISTS, len(users))):
            recommender.recommend(users[row], 30)
        if len(items):
            played = items[int(np.argmax(recommender.listeners_of))]
            recommender.recommend_history([(played, 1.0)], 10)
            for by in ("hybrid", *recommender.spaces):
                recommender.similar("item", played, 10, by=by)
        _ = version.plays, version.names
        return version

    @property
    def name(self) -> str:
        """The version's name."""
        return self.bundle.version

    def events_until(self, store_id: str) -> int:
        """Return the number up to which this version has had the events of a store."""
        until: dict[str, int] = self.bundle.facts.get("events_until", {})
        return until.get(store_id, 0)

    @cached_property
    def row_of(self) -> Callable[[str], int]:
        """Item id -> item row, -1 where it is not known; the ids asked last are remembered."""
        return lru_cache(_ROWS_KEPT)(self.recommender.catalogue.items.row)

    @cached_property
    def plays(self) -> NDArray[np.float64]:
        """(n_items,) how often each item was streamed."""
        plays = self.recommender.interactions.plays
        return np.bincount(plays.indices, plays.data, plays.shape[1]).astype(np.float64)

    @cached_property
    def segments(self) -> list[Segment]:
        """The groups of listeners; none where the version was trained without events."""
        if "segments/centres" not in self.bundle:
            return []
        groups = Segments.read(self.bundle)
        return describe_segments(self.recommender, groups, k=SEGMENT_TOLD)

    @cached_property
    def names(self) -> Names:
        """Titles and names, ready for search."""
        return Names(self.recommender.catalogue, self.recommender.listeners_of)


class _Seat:
    """A place for one version: what sits there stays until another could be loaded."""

    def __init__(self, models: Models, retry_s: float) -> None:
        self.version: Version | None = None
        self.problem: str | None = None
        self._models = models
        self._retry_s = retry_s
        self._stamp = ""
        self._failed: tuple[str, float] = ("", 0.0)

    def refresh(self, wanted: str) -> None:
        """Load `wanted` unless it sits here as it is on disk; never raises."""
        try:
            stamp = f"{wanted} {self._models.stamp(wanted)}"
            if self.version is not None and stamp == self._stamp:
                self.problem = None
            elif not self._failed_lately(stamp):
                self._failed = (stamp, time.monotonic())
                self.version = Version.load(self._models.open(wanted))
                self._stamp, self.problem = stamp, None
                _log.info("version %s answers", wanted)
        except Exception as error:  # whatever is wrong with a version, the old one goes on
            self.report(wanted, error)

    def report(self, wanted: str, error: Exception) -> None:
        """Say once why a version is not here."""
        kept = f"{self.version.name} goes on" if self.version else "nothing answers yet"
        problem = f"cannot load version {wanted or '(none)'}: {error}; {kept}"
        if problem != self.problem:
            _log.error("%s", problem, exc_info=error)
        self.problem = problem

    def _failed_lately(self, stamp: str) -> bool:
        name, at = self._failed
        return name == stamp and time.monotonic() - at < self._retry_s


class Live:
    """Holds what answers; `start` before use, `stop` at the end.

    Parameters
    ----------
    models
        The folder of versions.
    poll_s
        Seconds between two looks at the files.
    retry_s
        Seconds until a version that could not be loaded is tried again.
    keys_required
        Refuse every request while there are no keys.
    """

    def __init__(
        self,
        models: Models,
        *,
        poll_s: float = 0.5,
        retry_s: float = 30.0,
        keys_required: bool = False,
    ) -> None:
        self.models = models
        self.keys = KeyRing(models.folder, required=keys_required)
        self.experiment: Experiment | None = None
        """The experiment that runs; None where none does."""
        self._poll_s = poll_s
        self._active, self._rival = _Seat(models, retry_s), _Seat(models, retry_s)
        self._stopping = Event()
        self._thread = Thread(target=self._watch, name="follow-active", daemon=True)

    def start(self) -> None:
        """Load the active version and follow the files from now on."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the following; what is loaded stays usable."""
        self._stopping.set()
        self._thread.join()

    @property
    def problem(self) -> str | None:
        """Why what answers is not what the files name; None where it is."""
        return self._active.problem or (self._rival.problem if self.experiment else None)

    @property
    def version(self) -> Version:
        """The version that answers; NotReadyError where none could be loaded."""
        if self._active.version is None:
            raise NotReadyError(self.problem or "no version is loaded yet; ask again in a moment")
        return self._active.version

    def version_of(self, user_id: str) -> tuple[Version, str | None]:
        """Return the version that answers this listener, and their variant of the experiment."""
        experiment, rival = self.experiment, self._rival.version
        if experiment is None or rival is None or rival.name != experiment.version:
            return self.version, None
        variant = experiment.variant_of(user_id)
        return (rival if variant == "treatment" else self.version), variant

    def refresh(self) -> None:
        """Look at the files and load what they name; never raises."""
        wanted = ""
        try:
            wanted = self.models.active()
        except (RecsysError, OSError) as error:
            self._active.report(wanted, error)
        else:
            self._active.refresh(wanted)
        try:
            self.keys.refresh()
            experiment = running(self.models.folder)
        except (RecsysError, OSError) as error:
            _log.error("%s", error)
            return
        if experiment is not None:
            self._rival.refresh(experiment.version)
        self.experiment = experiment

    def _watch(self) -> None:
        while not self._stopping.wait(self._poll_s):
            self.refresh()
