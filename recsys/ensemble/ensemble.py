"""What a version knows, ready to be asked: who the listeners are and what might suit them.

Enters: the models of a version and what happened. Leaves: `Listeners`, their candidates per source,
and the features of each pair. lists.py makes lists of these; learning.py learns from them.

Sources, each ranked: **collaborative** the listener's vector, then neighbours of recent plays;
**text** and **audio** the nearest items to all that was played, of which what was played lately
counts twice, then a quota of those that hardly anybody has played, so that new songs have a door
in; **artists** and **collections** as sources.py says; **popularity** as a last resort. A
listener's tastes judge what was found: to propose, one in turn, they measured worse than the whole
(docs/results/ensemble.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.collaborative.factors import Factors
from recsys.config import EnsembleConfig
from recsys.data.catalogue import NO_TIME, Catalogue
from recsys.data.collections import Collections
from recsys.data.interactions import Interactions
from recsys.ensemble.blend import Blend, ReciprocalRank, fuse
from recsys.ensemble.candidates import (
    Eligible,
    Listeners,
    Popularity,
    Space,
    nothing,
    played_by,
    positive,
    rows_of,
)
from recsys.ensemble.features import FeatureMaker
from recsys.ensemble.sound import Sound
from recsys.ensemble.sources import Artists, Shelves, once
from recsys.ensemble.tastes import profiles
from recsys.retrieval import Index

__all__ = ["SOURCES", "Ensemble"]

SOURCES = ("collaborative", "text", "audio", "artists", "collections", "popularity")
"""Where candidates come from; a version has some of the first five and always the last."""

_DAY_MS = 86_400_000.0
_RECENT_DAYS = 30.0
"""A play this long before a listener's last one counts half among the recent; an item's recent
listeners are those of this long."""


class Ensemble:
    """The sources and features of one version.

    Parameters
    ----------
    catalogue, interactions, collections
        Who and what there is, what happened, and what was put together.
    factors
        The collaborative model.
    content
        (n_items, d) unit item vectors of the text and the audio model, by name.
    sound
        Descriptors of the items.
    config
        How many candidates of what.
    indices
        Per model the index of its items, where the catalogue is large enough for a stored one.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        interactions: Interactions,
        collections: Collections,
        *,
        factors: Factors | None,
        content: Mapping[str, NDArray[np.float32]],
        sound: Sound,
        config: EnsembleConfig,
        indices: Mapping[str, Index] | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.interactions = interactions
        self.factors = factors
        self.config = config
        self.sound = sound
        self.spaces: dict[str, Space] = {}
        index = (indices or {}).get
        if factors is not None:
            self.spaces["collaborative"] = Space(
                factors.item_factors, factors.item_biases, index=index("collaborative")
            )
        for name, vectors in content.items():
            self.spaces[name] = Space(vectors, above=0.0, index=index(name))
        self.played_by = played_by(interactions)
        self.popularity = Popularity(np.diff(self.played_by.indptr))
        self.artists = Artists.of(catalogue.item_artist, catalogue.released_at, catalogue.n_artists)
        self.shelves = Shelves.of(collections.items)
        has_artists, has_lists = catalogue.n_artists > 0, collections.items.nnz > 0
        self.sources = tuple(
            name
            for name in SOURCES
            if name in self.spaces
            or name == "popularity"
            or (name == "artists" and has_artists)
            or (name == "collections" and has_lists)
        )
        self._cold = self.popularity.listeners < config.new_below
        self._has_cold = bool(self._cold.any())

    @cached_property
    def default_kind(self) -> str:
        """The kind of item most listened to; "" where there is none."""
        catalogue = self.catalogue
        n_kinds = len(catalogue.kinds)
        if not n_kinds:
            return ""
        n_listens = np.bincount(catalogue.item_kind, self.popularity.listeners, n_kinds)
        n_items = np.bincount(catalogue.item_kind, minlength=n_kinds)
        return catalogue.kinds[int(np.lexsort((-n_items, -n_listens))[0])]

    @property
    def fusion(self) -> ReciprocalRank:
        """Reciprocal-rank fusion of the sources with the configured weights."""
        return ReciprocalRank({name: float(getattr(self.config, name)) for name in self.sources})

    @cached_property
    def now_ms(self) -> int:
        """Milliseconds since 1970 of the last play; NO_TIME where none has a time."""
        return int(self.interactions.last_played.max(initial=NO_TIME))

    @cached_property
    def features(self) -> FeatureMaker:
        """What makes the features of (listener, candidate) pairs."""
        last = self.interactions.last_played
        since = self.now_ms - _RECENT_DAYS * _DAY_MS
        recent = (last != NO_TIME) & (last >= since)
        released = self.catalogue.released_at
        age_ms = np.where((released == NO_TIME) | (self.now_ms == NO_TIME), 0.0, self.now_ms)
        age_ms -= np.where(age_ms > 0, released, 0)
        return FeatureMaker(
            spaces=self.spaces,
            artists=self.artists,
            shelves=self.shelves,
            popularity=self.popularity,
            recent_listeners=np.bincount(
                self.interactions.plays.indices[recent], minlength=self.catalogue.n_items
            ),
            age_days=np.maximum(age_ms / _DAY_MS, 0).astype(np.float32),
            sound=self.sound,
            sources=self.sources,
            n_tastes=self.config.tastes,
        )

    def listeners(
        self, users: NDArray[np.integer], *, hours: tuple[int, int] | None = None
    ) -> Listeners:
        """Return known users, by row, as those for whom lists are made.

        Parameters
        ----------
        hours
            What was last played in these hours of the day (UTC, the second not included) counts
            most; None for all alike.
        """
        own = None if self.factors is None else self.factors.user_factors[users]
        return self._those(self.interactions, users, own, hours)

    def newcomers(
        self,
        interactions: Interactions,
        own: NDArray[np.float32] | None,
        *,
        hours: tuple[int, int] | None = None,
    ) -> Listeners:
        """Return those who did what `interactions` (m users) say, as `listeners` does.

        `own` (m, f) are their vectors in the collaborative space, None without such a model.
        """
        return self._those(interactions, np.arange(interactions.evidence.shape[0]), own, hours)

    def _those(
        self,
        known: Interactions,
        users: NDArray[np.integer],
        own: NDArray[np.float32] | None,
        hours: tuple[int, int] | None,
    ) -> Listeners:
        history = positive(rows_of(known.evidence, users))
        lately = self._lately(known, users, hours)
        if hours is not None:
            history = _stressed(history, lately)
        return Listeners(
            history,
            rows_of(known.heard, users),
            rows_of(known.follows, users),
            self._points(history, lately, own),
        )

    def strangers(self, history: csr_array) -> Listeners:
        """Return those of whom nothing is known but a history (m, n_items), all of it recent."""
        m = history.shape[0]
        own = None
        if self.factors is not None:
            own = np.zeros((m, self.factors.user_factors.shape[1]), np.float32)
            if history.nnz:
                own = self.factors.fold_in(history)[0]
        heard, follows = nothing(history.shape), nothing((m, self.catalogue.n_artists))
        return Listeners(history, heard, follows, self._points(history, history, own))

    def eligible(self, items: NDArray[np.bool_]) -> Eligible:
        """Prepare a mask (n_items,) of what lists may hold, for many of them."""
        return Eligible(items, self.spaces, self.popularity, self._cold)

    def union(
        self,
        listeners: Listeners,
        depth: int,
        *,
        eligible: Eligible,
        silent: Collection[str] = (),
    ) -> Blend:
        """Return the candidates of all sources but the `silent` ones.

        Their signals are the reciprocal places, one column a source, 0 where it does not list the
        item. Popularity is never silent: it fills the list.
        """
        none = np.full((len(listeners), 0), -1, np.int32)
        found = {
            source: none
            if source in silent and source != "popularity"
            else self.candidates(source, listeners, depth, eligible=eligible)
            for source in self.sources
        }
        return fuse(found, dict.fromkeys(found, 1.0), rank_offset=self.config.rank_offset)

    def last_resort(self, depth: int) -> int:
        """Return how many of the most popular stand beside `depth` candidates of other sources.

        Half as many, but all of them where everything is to be ranked.
        """
        return depth if depth >= self.catalogue.n_items else (depth + 1) // 2

    def candidates(
        self,
        source: str,
        listeners: Listeners,
        depth: int,
        *,
        eligible: Eligible,
    ) -> NDArray[np.int32]:
        """Return (m, at least `depth`) item rows of one source, best first, padded with -1."""
        heard = listeners.heard
        if source == "popularity":
            return self.popularity.search(
                self.last_resort(depth), exclude=heard, within=eligible.by_popularity
            )
        if source == "artists":
            return self.artists.propose(
                listeners.history, listeners.follows, min(depth, self.config.from_artists),
                exclude=heard, allowed=eligible.items,
            )  # fmt: skip
        if source == "collections":
            return self.shelves.propose(
                listeners.history, min(depth, self.config.from_collections),
                exclude=heard, allowed=eligible.items,
            )  # fmt: skip
        return self._near(source, listeners, depth, eligible)

    def _near(
        self, source: str, listeners: Listeners, depth: int, eligible: Eligible
    ) -> NDArray[np.int32]:
        """Return the candidates of a space: the main ones, then its extras."""
        recent, everything = listeners.points[source][:, 0], listeners.points[source][:, 1]
        if source == "collaborative":
            found = self._search(source, everything, listeners.heard, depth, eligible)
            n_more = self.config.from_recent
            if not n_more:
                return found
            more = self._search(source, recent, listeners.heard, n_more, eligible)
            return once(np.concatenate([found, more], axis=1))
        point = everything + recent
        found = self._search(source, point, listeners.heard, depth, eligible)
        n_new = self.config.new_items if self._has_cold else 0
        # Where so many of those found are new, they are the nearest new ones.
        short = np.flatnonzero((self._cold[found] & (found >= 0)).sum(axis=1) < n_new)
        if not len(short):
            return found
        more = np.full((len(found), n_new), -1, np.int32)
        heard = listeners.heard if len(short) == len(found) else listeners.heard[short]
        more[short] = self._search(source, point[short], heard, n_new, eligible, new=True)
        return once(np.concatenate([found, more], axis=1))

    def _search(
        self,
        source: str,
        points: NDArray[np.float32],
        heard: csr_array,
        k: int,
        eligible: Eligible,
        *,
        new: bool = False,
    ) -> NDArray[np.int32]:
        """Return (m, k) nearest items to the points (m, d), without what was heard (m, n_items)."""
        within = eligible.within(source, new=new)
        return self.spaces[source].search(points, k, exclude=heard, within=within)[0]

    def _points(
        self, history: csr_array, lately: csr_array, own: NDArray[np.float32] | None
    ) -> dict[str, NDArray[np.float32]]:
        """Return the points of each space, as `Listeners.points` says."""
        points: dict[str, NDArray[np.float32]] = {}
        for name, space in self.spaces.items():
            everything = own if name == "collaborative" else profiles(history, space.vectors)
            assert everything is not None, "a version with factors makes vectors of listeners"
            points[name] = np.stack([profiles(lately, space.vectors), everything], axis=1)
        return points

    def _lately(
        self, known: Interactions, users: NDArray[np.integer], hours: tuple[int, int] | None
    ) -> csr_array:
        """Return (m, n_items) what was played, counting half per 30 days before the last play.

        With `hours` only what was last played in them.
        """
        lately = rows_of(known.plays, users)
        at, weight = np.empty(lately.nnz, np.int64), np.empty(lately.nnz, np.float32)
        _fade(known.plays.indptr, users, known.last_played, at, weight)
        lately.data = weight if hours is None else weight * _within(at, hours)
        return lately


@numba.njit(nogil=True, cache=True)
def _fade(
    indptr: NDArray[np.integer],
    users: NDArray[np.integer],
    last_played: NDArray[np.int64],
    at: NDArray[np.int64],
    weight: NDArray[np.float32],
) -> None:
    """Fill at and weight (n,): when these users' plays were last, and how much of each is left."""
    half_life_ms = _RECENT_DAYS * _DAY_MS
    n = 0
    for user in users:
        own = last_played[indptr[user] : indptr[user + 1]]
        latest = np.float64(own.max()) if len(own) else 0.0
        for moment in own:
            at[n] = moment
            weight[n] = np.exp2((np.float64(moment) - latest) / half_life_ms)
            n += 1


def _within(at_ms: NDArray[np.int64], hours: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (n,) whether each moment lies in these hours of its day; not where it is unknown."""
    first, end = hours
    hour = (at_ms // 3_600_000) % 24
    inside = (hour >= first) & (hour < end) if first < end else (hour >= first) | (hour < end)
    return np.asarray(inside & (at_ms != NO_TIME))


def _stressed(history: csr_array, lately: csr_array) -> csr_array:
    """Return the history with what has a weight in `lately` counting five times the rest."""
    fits = csr_array(lately > 0).astype(np.float32)
    stressed = csr_array(history + 4.0 * history.multiply(fits), dtype=np.float32)
    stressed.sort_indices()
    return stressed
