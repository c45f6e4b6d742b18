"""What a model has to beat, and what no model can: baselines and the oracle.

Enters: what a version knows. Leaves: for user rows (m,) the 30 best item rows (m, 30), -1 where a
list has ended. **random** shuffles; **popularity** and **recent popularity** rank by listeners, of
all time and of the last month; **artist mean** by the listener's mean evidence on the artist's
items. The **oracle** ranks by the planted tastes of a demo world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.identity import Ids
from recsys.data.world import Truth
from recsys.ensemble.ensemble import Ensemble

__all__ = ["Baselines"]

Rows = NDArray[np.int32]
Ranker = Callable[[NDArray[np.int64]], Rows]


@dataclass(frozen=True)
class Baselines:
    """Rankers by scores that are known for every item.

    Parameters
    ----------
    ensemble
        What happened before.
    eligible
        (n_items,) what a list may hold; of each recording one item.
    k
        Length of a list.
    seed
        Of the random ranker.
    truth
        What was planted; None where nothing was.
    """

    ensemble: Ensemble
    eligible: NDArray[np.bool_]
    k: int
    seed: int
    truth: Truth | None = None

    def rankers(self) -> dict[str, Ranker]:
        """Return the baselines by name."""
        random = np.random.default_rng(self.seed)
        return {
            "random": lambda users: self._best(users, random.random(self._shape(users))),
            "popularity": lambda users: self._by_item(users, self.ensemble.popularity.listeners),
            "recent popularity": lambda users: self._by_item(
                users, self.ensemble.features.recent_listeners
            ),
            "artist mean": self._artist_mean,
        }

    def oracle(self, users: NDArray[np.int64]) -> Rows:
        """Rank by the planted tastes."""
        truth = self.truth
        assert truth is not None
        catalogue = self.ensemble.catalogue
        planted = Ids.from_strings(truth.user_ids, kind="user")
        in_truth = planted.rows([catalogue.users[user] for user in users.tolist()])
        items = catalogue.items.rows(truth.item_ids)
        known = np.flatnonzero(items >= 0)
        wanted = np.where(in_truth[:, None] >= 0, truth.preference[in_truth], 0)
        scores = np.zeros(self._shape(users))
        # Whoever wants one release of a recording wants the recording.
        np.add.at(scores.T, catalogue.first_of_recording[items[known]], wanted[:, known].T)
        return self._best(users, scores)

    def _by_item(self, users: NDArray[np.int64], values: NDArray[np.int64]) -> Rows:
        return self._best(users, np.tile(values.astype(float), (len(users), 1)))

    def _artist_mean(self, users: NDArray[np.int64]) -> Rows:
        """Rank by the mean evidence on an artist's items, then by popularity."""
        catalogue = self.ensemble.catalogue
        history = self.ensemble.listeners(users).history
        owner = np.repeat(np.arange(len(users)), np.diff(history.indptr))
        artist = catalogue.item_artist[history.indices]
        cell = (owner * (catalogue.n_artists + 1) + artist)[artist >= 0]
        n_cells = len(users) * (catalogue.n_artists + 1)
        total = np.bincount(cell, history.data[artist >= 0], n_cells)
        mean = total / np.maximum(np.bincount(cell, minlength=n_cells), 1)
        by_artist = mean.reshape(len(users), -1)  # the last column is of no artist, so 0
        place = self.ensemble.popularity.place
        return self._best(users, by_artist[:, catalogue.item_artist] - 1e-9 * place)

    def _shape(self, users: NDArray[np.int64]) -> tuple[int, int]:
        return len(users), self.ensemble.catalogue.n_items

    def _best(self, users: NDArray[np.int64], scores: NDArray[np.float64]) -> Rows:
        """Return the best of `scores` (m, n_items) that are eligible and were not heard."""
        heard = self.ensemble.interactions.heard[users].tocoo()
        scores[:, ~self.eligible] = -np.inf
        scores[heard.row, heard.col] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        usable = np.take_along_axis(scores, best, axis=1) > -np.inf
        return np.where(usable, best, -1).astype(np.int32)
