"""Two versions side by side: a share of the listeners is answered by another version than ACTIVE.

Enters: the file ``MODELS/EXPERIMENT`` and a listener's id. Leaves: their variant, always the same
(by hash), and, from what was shown and played afterwards, plays per exposure with 95 % intervals.
Listeners, not plays, are drawn at random, so the variance is that of a ratio of listeners' totals
(the delta method; Deng, Knoblich, Lu, "Applying the delta method in metric analytics", KDD 2018).
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import nan, sqrt
from threading import Thread
from typing import Any

import numpy as np

from recsys.bundle import Models
from recsys.data.eventstore import EventStore, StoreError, Variant
from recsys.errors import BundleError, UsageError
from recsys.storage import Folder

__all__ = ["Experiment", "Exposures", "Outcome", "report", "running", "start", "stop"]

_FILE = "EXPERIMENT"
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_Z95 = 1.959964
_WAITING = 100_000
_FLUSH_S = 0.5


@dataclass(frozen=True)
class Experiment:
    """A running experiment."""

    name: str
    version: str
    """What answers the treatment; the control is answered by the active version."""
    share: float
    """Of the listeners, in the treatment."""
    started_at: str

    def variant_of(self, user_id: str) -> str:
        """Return ``treatment`` or ``control``, the same for a listener as long as it runs."""
        text = f"{self.name}\0{user_id}".encode("utf-8", "surrogatepass")
        place = int.from_bytes(hashlib.sha256(text).digest()[:8]) / 2**64
        return "treatment" if place < self.share else "control"


@dataclass(frozen=True)
class Outcome:
    """What one variant brought."""

    variant: str
    listeners: int
    exposures: int
    """Distinct items shown, summed over listeners."""
    plays: int
    """Those of them that were streamed afterwards."""
    rate: float
    """Plays per exposure; nan without exposures."""
    low: float
    """Lower end of the 95 % interval; nan with fewer than two listeners."""
    high: float


def running(folder: Folder) -> Experiment | None:
    """Return the experiment of a folder of versions; BundleError where its file is damaged."""
    try:
        return Experiment(**json.loads(folder.read(_FILE)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise BundleError(
            f"{folder.path}/{_FILE}: damaged ({error}); end it with `recsys experiment MODELS stop`"
        ) from error


def start(models: Models, name: str, version: str, share: float) -> Experiment:
    """Let `version` answer a share of the listeners; UsageError for values without meaning."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"experiment name: want letters, digits, dot, dash, got {name!r}")
    if not 0 < share < 1:
        raise UsageError(f"share: want above 0 and below 1, got {share}")
    made = Experiment(name, models.open(version).version, share, datetime.now(UTC).isoformat())
    models.folder.write(_FILE, json.dumps(asdict(made)).encode())
    return made


def stop(models: Models) -> None:
    """End the experiment; ACTIVE answers everybody."""
    models.folder.delete(_FILE)


def report(counts: Sequence[Variant]) -> tuple[list[Outcome], tuple[float, float, float]]:
    """Return each variant's outcome, and treatment minus control with its 95 % interval."""
    outcomes, variances = [], []
    for name in ("control", "treatment"):
        ours = [one for one in counts if one.variant == name]
        outcome, variance = _outcome(name, ours)
        outcomes.append(outcome)
        variances.append(variance)
    difference = outcomes[1].rate - outcomes[0].rate
    margin = _Z95 * sqrt(sum(variances)) if all(v == v for v in variances) else nan
    return outcomes, (difference, difference - margin, difference + margin)


def _outcome(name: str, counts: Sequence[Variant]) -> tuple[Outcome, float]:
    shown = np.array([one.exposures for one in counts], np.float64)
    played = np.array([one.plays for one in counts], np.float64)
    n, total = len(counts), float(shown.sum())
    rate = float(played.sum() / total) if total else nan
    variance = nan
    if n > 1 and total:
        rest = played - rate * shown
        variance = float(rest.var(ddof=1) / (n * shown.mean() ** 2))
    margin = _Z95 * sqrt(variance) if variance == variance else nan
    low, high = max(0.0, rate - margin), min(1.0, rate + margin)
    if margin != margin:
        low = high = nan
    return Outcome(name, n, int(total), int(played.sum()), rate, low, high), variance


class Exposures:
    """Writes down what listeners were shown, in a thread: a list does not wait for it.

    Parameters
    ----------
    store
        Where to.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        self._thread = Thread(target=self._write, name="exposures", daemon=True)
        self._thread.start()

    def add(
        self, experiment: Experiment, variant: str, user_id: str, version: str, items: Iterable[str]
    ) -> None:
        """Note that a listener was shown `items`; dropped where the store lags far behind."""
        at = int(time.time() * 1000)
        for item_id in items:
            row = {"experiment": experiment.name, "variant": variant, "user_id": user_id,
                   "version": version, "item_id": item_id, "at": at}  # fmt: skip
            try:
                self._waiting.put_nowait(row)
            except queue.Full:
                return

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _write(self) -> None:
        ended = False
        while not ended:
            rows = [self._waiting.get()]
            time.sleep(_FLUSH_S if rows[0] is not None and self._waiting.qsize() < 1000 else 0)
            while not self._waiting.empty() and len(rows) < 2000:
                rows.append(self._waiting.get())
            ended = None in rows
            try:
                self._store.expose([row for row in rows if row is not None])
            except StoreError:
                continue  # an exposure is a statistic; the events themselves answer for failures
