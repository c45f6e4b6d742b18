"""For whom a list is made: a listener as a version knows them, as they went on, or a stranger.

Enters: the id of a listener and what they did since the version was trained, or the history of one
who has no account. Leaves: `Listeners`. What came later counts as if it had been there in training;
who is known by nothing but a history is folded in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.config import Config
from recsys.data.continuation import continued
from recsys.data.interactions import Events, mean_of_totals, transform_streams
from recsys.ensemble.candidates import Listeners
from recsys.ensemble.ensemble import Ensemble
from recsys.errors import UsageError

__all__ = ["Audience"]


class Audience:
    """Everybody whom one version can make a list for.

    Parameters
    ----------
    ensemble
        What the version knows.
    config
        What it was trained with.
    """

    def __init__(self, ensemble: Ensemble, config: Config) -> None:
        self._ensemble = ensemble
        self._config = config

    def listener(
        self, user_id: str, since: Events | None, *, hours: tuple[int, int] | None = None
    ) -> Listeners:
        """Return one listener, as the version knows them and as they went on.

        Parameters
        ----------
        since
            What they did after the training; who is not known is known by it alone.
        hours
            As of `Ensemble.listeners`.

        Raises
        ------
        NotFoundError
            For a listener without any history.
        """
        ensemble = self._ensemble
        users = ensemble.catalogue.users
        if since is None or not len(since):
            return ensemble.listeners(np.array([users.require(user_id)]), hours=hours)
        theirs = continued(
            ensemble.interactions,
            users.row(user_id),
            since,
            ensemble.catalogue,
            self._config.interactions,
            mean_streams=self._mean_streams,
        )
        own = None
        if ensemble.factors is not None:
            explicit = self._config.collaborative.feedback == "explicit"
            own = ensemble.factors.fold_in(theirs.ratings if explicit else theirs.evidence)[0]
        return ensemble.newcomers(theirs, own, hours=hours)

    def stranger(self, history: Sequence[tuple[str, float]]) -> Listeners:
        """Return a listener of whom nothing is known but (item_id, plays) pairs.

        Raises
        ------
        NotFoundError
            For an unknown item.
        UsageError
            For plays that are not above 0.
        """
        for item_id, plays in history:
            if not (isfinite(plays) and plays > 0):
                raise UsageError(f"history: plays of {item_id!r}: want above 0, got {plays}")
        catalogue = self._ensemble.catalogue
        rows = np.array([catalogue.items.require(item_id) for item_id, _ in history], np.int32)
        n_plays = np.array([plays for _, plays in history], np.float64)
        shape = (1, catalogue.n_items)
        streams = csr_array((n_plays, (np.zeros(len(rows), np.int32), rows)), shape=shape)
        settings = self._config.interactions
        streams.data = settings.stream * transform_streams(streams, settings)
        evidence = streams.astype(np.float32)
        return self._ensemble.strangers(evidence).knowing(self._same_recordings(rows))

    @cached_property
    def _mean_streams(self) -> float:
        plays = self._ensemble.interactions.plays
        counts = (self._ensemble.interactions.streamed, plays.indices, plays.indptr)
        return mean_of_totals(csr_array(counts, shape=plays.shape))

    def _same_recordings(self, items: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the rows of all items that are a recording of one of `items`."""
        recording = self._ensemble.catalogue.recording
        return np.flatnonzero(np.isin(recording, recording[items]))
