"""What is known of a listener and a candidate together: one row of numbers a pair.

Enters: a batch of listeners and the union of their candidates. Leaves: (n, n_features) float32,
without NaN. Every feature belongs to one signal, whose share of the score it may move, or to
"context", which may join any: how old an item is, how much the listener listens, how many sources
agree. What a version lacks (a model, a descriptor, a time) is 0 for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.ensemble.blend import Blend
from recsys.ensemble.candidates import Listeners, Popularity, Space
from recsys.ensemble.sound import Sound
from recsys.ensemble.sources import Artists, Shelves
from recsys.ensemble.tastes import inner_products

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

_DAY_MS = 86_400_000.0


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

    def __call__(self, listeners: Listeners, union: Blend) -> Floats:
        """Return (n, n_features) for the pairs of `union`.

        Parameters
        ----------
        union
            Candidates grouped by listener, with the reciprocal place in each source as signals.
        """
        groups = _Groups(union.listener, len(listeners))
        columns: dict[str, NDArray[np.floating]] = {}
        for name, space in self.spaces.items():
            for key, values in _nearness(name, space, listeners, union, groups).items():
                columns[f"{name}.{key}"] = values
        for column, source in enumerate(self.sources):
            columns[f"{source}.place"] = union.signals[:, column]
        columns |= self._heard(listeners, union)
        bonds = self.artists.bonds(listeners.history, listeners.follows, union.listener, union.item)
        for column, name in enumerate(_GROUPS["artists"][:4]):
            columns[f"artists.{name}"] = bonds[:, column]
        shelf = self.shelves.scores(listeners.history, union.listener, union.item)
        columns |= {"collections.score": shelf, "collections.z": groups.z(shelf)}
        columns |= self._popularity(union.item)
        columns |= self._context(listeners, union)
        features = np.zeros((len(union), len(FEATURES)), np.float32)
        for column, name in enumerate(FEATURES):
            if name in columns:
                features[:, column] = columns[name]
        return features

    def _heard(self, listeners: Listeners, union: Blend) -> dict[str, NDArray[np.floating]]:
        """Return how far each item's sound lies from what its listener usually plays."""
        far = self.sound.distances(listeners.history, union.listener, union.item)
        return {f"audio.{name}": values for name, values in far.items()}

    def _popularity(self, item: NDArray[np.int32]) -> dict[str, NDArray[np.floating]]:
        n, recent = self.popularity.listeners[item], self.recent_listeners[item]
        return {
            "popularity.listeners": np.log1p(n),
            "popularity.recent": np.log1p(recent),
            "popularity.trend": (recent + 1) / (n + 4),
            # A song of last week had little time to find its listeners.
            "popularity.rate": np.log1p(n) - np.log1p(self.age_days[item] / 30),
        }

    def _context(self, listeners: Listeners, union: Blend) -> dict[str, NDArray[np.floating]]:
        history = listeners.history
        n_played = np.diff(history.indptr)
        known = np.log1p(self.popularity.listeners[history.indices])
        owner = np.repeat(np.arange(len(listeners)), n_played)
        mean = np.bincount(owner, known, len(listeners)) / np.maximum(n_played, 1)
        return {
            "context.age": np.log1p(self.age_days[union.item]),
            "context.sources": (union.signals > 0).sum(axis=1),
            "context.history": np.log1p(n_played)[union.listener],
            "context.mainstream": mean[union.listener],
        }


class _Groups:
    """Candidates of the same listener, which stand together."""

    def __init__(self, listener: NDArray[np.int64], m: int) -> None:
        self._listener = listener
        self._m = m
        self._n = np.maximum(np.bincount(listener, minlength=m), 1)

    def z(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (n,) how many standard deviations each value lies above its listener's mean."""
        mean = np.bincount(self._listener, values, self._m) / self._n
        centred = values - mean[self._listener]
        spread = np.sqrt(np.bincount(self._listener, centred**2, self._m) / self._n)
        return np.asarray(centred / np.maximum(spread, 1e-6)[self._listener])


def _nearness(
    name: str, space: Space, listeners: Listeners, union: Blend, groups: _Groups
) -> dict[str, NDArray[np.floating]]:
    """Return how near each candidate lies to its listener in one space."""
    queries = listeners.points.get(name)
    if queries is None:
        return {}
    products = inner_products(queries, union.listener, space.vectors, union.item)
    lately, mean, centres = products[:, 0], products[:, 1], products[:, 2:]
    if name == "collaborative":
        near = mean + space.biases[union.item]
        return {"near": near, "z": groups.z(near), "lately": lately}
    near = centres.max(axis=1)
    return {"near": near, "z": groups.z(near), "mean": mean, "lately": lately}
