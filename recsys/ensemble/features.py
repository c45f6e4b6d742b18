"""What is known of a listener and a candidate together: one row of numbers a pair.

Enters: a batch of listeners and the union of their candidates. Leaves: (n, n_features) float32,
without NaN. Every feature belongs to one signal, whose share of the score it may move, or to
"context", which may join any: how old an item is, how much the listener listens, how many sources
agree. What a version lacks (a model, a descriptor, a time) is 0 for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.ensemble.blend import Blend
from recsys.ensemble.candidates import Listeners, Popularity, Space
from recsys.ensemble.sound import Sound
from recsys.ensemble.sources import Artists, Shelves
from recsys.ensemble.tastes import dot, tastes

__all__ = ["CONTEXT", "FEATURES", "SIGNALS", "FeatureMaker"]

Floats = NDArray[np.float32]

CONTEXT = "context"
"""What belongs to no signal of its own."""

_SPACE = ("near", "z", "place", "mean", "lately")
_GROUPS: dict[str, tuple[str, ...]] = {
    "collaborative": ("near", "z", "place", "lately"),
    "text": _SPACE,
    "audio": (*_SPACE, "tempo", "key", "loudness"),
    "artists": ("evidence", "share", "items", "follows", "place"),
    "collections": ("score", "z", "place"),
    "popularity": ("listeners", "recent", "trend", "rate", "place"),
    CONTEXT: ("age", "sources", "history", "mainstream"),
}

SIGNALS = tuple(_GROUPS)
"""The parts of a score."""
FEATURES = tuple(f"{group}.{name}" for group, names in _GROUPS.items() for name in names)
"""The columns, grouped by signal."""

_OF_ITEMS = (
    "popularity.listeners",
    "popularity.recent",
    "popularity.trend",
    "popularity.rate",
    "context.age",
)
"""The columns that are the same for every listener."""


@dataclass(frozen=True, kw_only=True)
class FeatureMaker:
    """What the features of one version are made from."""

    spaces: Mapping[str, Space]
    artists: Artists
    shelves: Shelves
    popularity: Popularity
    recent_listeners: NDArray[np.int64]
    """(n_items,) how many listened in the last month."""
    age_days: Floats
    """(n_items,) days since the release, 0 for what is to come and what is unknown."""
    sound: Sound
    sources: tuple[str, ...]
    """What the columns of a union's signals are."""
    n_tastes: int
    """Of a listener, at most, in the text and audio spaces."""

    def __call__(self, listeners: Listeners, union: Blend) -> Floats:
        """Return (n, n_features) for the pairs of `union`.

        Parameters
        ----------
        union
            Candidates grouped by listener, with the reciprocal place in each source as signals.
        """
        features = np.zeros((len(union), len(FEATURES)), np.float32)
        column = {name: features[:, at] for at, name in enumerate(FEATURES)}
        starts = np.searchsorted(union.listener, np.arange(len(listeners) + 1))
        for name, space in self.spaces.items():
            if name in listeners.points:
                mean, centres = column.get(f"{name}.mean"), None
                if mean is not None:
                    centres = tastes(listeners.history, space.vectors, self.n_tastes)
                _near(
                    listeners.points[name], centres, space.vectors, space.biases, union.listener,
                    union.item, column[f"{name}.near"], mean, column[f"{name}.lately"],
                )  # fmt: skip
                _standardise(column[f"{name}.near"], starts, column[f"{name}.z"])
        for source, places in zip(self.sources, union.signals.T, strict=True):
            column[f"{source}.place"][:] = places
        for name, far in self.sound.distances(
            listeners.history, union.listener, union.item
        ).items():
            column[f"audio.{name}"][:] = far
        bonds = self.artists.bonds(listeners.history, listeners.follows, union.listener, union.item)
        for name, bond in zip(_GROUPS["artists"], bonds.T, strict=False):
            column[f"artists.{name}"][:] = bond
        column["collections.score"][:] = self.shelves.scores(
            listeners.history, union.listener, union.item
        )
        _standardise(column["collections.score"], starts, column["collections.z"])
        for name, values in zip(_OF_ITEMS, self._of_items[union.item].T, strict=True):
            column[name][:] = values
        column["context.sources"][:] = np.count_nonzero(union.signals, axis=1)
        n_played, mainstream = self._habits(listeners.history)
        column["context.history"][:] = np.log1p(n_played)[union.listener]
        column["context.mainstream"][:] = mainstream[union.listener]
        return features

    @cached_property
    def _of_items(self) -> Floats:
        """(n_items, 5) what does not depend on the listener, as `_OF_ITEMS` says."""
        n, recent = self.popularity.listeners, self.recent_listeners
        months = np.log1p(self.age_days / 30)
        parts = (
            np.log1p(n),
            np.log1p(recent),
            (recent + 1) / (n + 4),
            # A song of last week had little time to find its listeners.
            np.log1p(n) - months,
            np.log1p(self.age_days),
        )
        return np.stack(parts, axis=1).astype(np.float32)

    def _habits(self, history: csr_array) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
        """Return (m,) how many items each listener played, and how well known they are."""
        n_played = np.diff(history.indptr)
        owner = np.repeat(np.arange(len(n_played)), n_played)
        known = np.bincount(owner, self._of_items[history.indices, 0], len(n_played))
        return n_played, known / np.maximum(n_played, 1)


@numba.njit(nogil=True, cache=True)
def _near(
    queries: Floats,
    centres: Floats | None,
    vectors: Floats,
    biases: Floats,
    listener: NDArray[np.int64],
    item: NDArray[np.int32],
    near: Floats,
    mean: Floats | None,
    lately: Floats,
) -> None:
    """Fill (n,) how near each pair's item lies to what its listener's points (m, 2, d) stand for.

    Where tastes have centres (m, n_tastes, d), what is near is the nearest of those; else it is the
    second point.
    """
    for n in range(len(item)):
        points, vector = queries[listener[n]], vectors[item[n]]
        lately[n] = dot(points[0], vector)
        overall = dot(points[1], vector)
        if mean is None or centres is None:
            near[n] = overall + biases[item[n]]
        else:
            mean[n] = overall
            near[n] = dot(centres[listener[n], 0], vector)
            for centre in centres[listener[n], 1:]:
                near[n] = max(near[n], dot(centre, vector))


@numba.njit(nogil=True, cache=True)
def _standardise(values: Floats, starts: NDArray[np.int64], z: Floats) -> None:
    """Fill z (n,): how many standard deviations each value lies above its listener's mean."""
    for u in range(len(starts) - 1):
        own, n = values[starts[u] : starts[u + 1]], starts[u + 1] - starts[u]
        mean, variance = 0.0, 0.0
        for value in own:
            mean += value / n
        for value in own:
            variance += (value - mean) ** 2 / n
        spread = max(np.sqrt(variance), 1e-6)
        for place in range(n):
            z[starts[u] + place] = (own[place] - mean) / spread
