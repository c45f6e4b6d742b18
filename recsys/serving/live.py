"""The version that answers: the one that ACTIVE names, followed while it changes.

Enters: a folder of versions. Leaves: one `Version` at a time. A background thread reads the small
file ACTIVE; where it names another version, that one is loaded and warmed beside the old, and then
one reference is swapped, so a request sees the old version or the new and never a mixture. A
version that cannot be loaded leaves the old one in place and says why.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle, Models
from recsys.ensemble.recommender import HybridRecommender
from recsys.serving.problems import NotReadyError
from recsys.serving.search import Names

__all__ = ["Live", "Version"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """One loaded version and what is derived from it once."""

    bundle: Bundle
    recommender: HybridRecommender

    @classmethod
    def load(cls, bundle: Bundle) -> Version:
        """Open a version and answer once, so that the first listener does not pay for it."""
        version = cls(bundle, HybridRecommender.load(bundle))
        users = version.recommender.catalogue.users
        if len(users):
            version.recommender.recommend(users[0], 10)
        _ = version.plays, version.names
        return version

    @property
    def name(self) -> str:
        """The version's name."""
        return self.bundle.version

    @cached_property
    def plays(self) -> NDArray[np.float64]:
        """(n_items,) how often each item was streamed."""
        plays = self.recommender.interactions.plays
        return np.bincount(plays.indices, plays.data, plays.shape[1]).astype(np.float64)

    @cached_property
    def names(self) -> Names:
        """Titles and names, ready for search."""
        return Names(self.recommender.catalogue, self.recommender.listeners_of)


class Live:
    """Holds the active version; `start` before use, `stop` at the end.

    Parameters
    ----------
    models
        The folder of versions.
    poll_s
        Seconds between two looks at ACTIVE.
    retry_s
        Seconds until a version that could not be loaded is tried again.
    """

    def __init__(self, models: Models, *, poll_s: float = 0.5, retry_s: float = 30.0) -> None:
        self.models = models
        self.problem: str | None = None
        """Why the version that ACTIVE names is not the one that answers; None where it is."""
        self._poll_s = poll_s
        self._retry_s = retry_s
        self._current: Version | None = None
        self._failed: tuple[str, float] = ("", 0.0)
        self._stopping = Event()
        self._thread = Thread(target=self._watch, name="follow-active", daemon=True)

    def start(self) -> None:
        """Load the active version and follow ACTIVE from now on."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the following; what is loaded stays usable."""
        self._stopping.set()
        self._thread.join()

    @property
    def version(self) -> Version:
        """The version that answers; NotReadyError where none could be loaded."""
        if self._current is None:
            raise NotReadyError(self.problem or "no version is loaded yet; ask again in a moment")
        return self._current

    def refresh(self) -> None:
        """Load the version that ACTIVE names unless it is loaded; never raises."""
        wanted = ""
        try:
            wanted = self.models.active()
            if self._current is not None and wanted == self._current.name:
                self.problem = None
            elif not self._failed_lately(wanted):
                self._current = Version.load(self.models.open(wanted))
                self.problem = None
                _log.info("version %s answers", wanted)
        except Exception as error:  # whatever is wrong with a version, the old one goes on
            self._failed = (wanted, time.monotonic())
            self._report(wanted, error)

    def _report(self, wanted: str, error: Exception) -> None:
        kept = f"{self._current.name} goes on" if self._current else "nothing answers yet"
        problem = f"cannot load version {wanted or '(none)'}: {error}; {kept}"
        if problem != self.problem:
            _log.error("%s", problem, exc_info=error)
        self.problem = problem

    def _failed_lately(self, wanted: str) -> bool:
        name, at = self._failed
        return name == wanted and time.monotonic() - at < self._retry_s

    def _watch(self) -> None:
        while not self._stopping.wait(self._poll_s):
            self.refresh()
