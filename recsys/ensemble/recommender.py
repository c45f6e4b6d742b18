"""The ensemble: one trained version that makes lists, finds what is similar, and says why.

Enters: a `Bundle`. Leaves: lists of `Recommendation`. lists.py makes a list, reasons.py writes its
sentences, weekly.py freezes a Discover Weekly for its week, similar.py finds neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import isfinite
from time import time

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.audio.model import AudioModel
from recsys.bundle import Bundle
from recsys.collaborative.factors import Factors
from recsys.config import Config, EnsembleConfig
from recsys.data.catalogue import Catalogue
from recsys.data.continuation import continued
from recsys.data.interactions import Events, Interactions, mean_of_totals, transform_streams
from recsys.ensemble.blend import Blend
from recsys.ensemble.candidates import Listeners, Popularity, Space, played_by, positive, profiles
from recsys.ensemble.discover import make_weekly, still_there
from recsys.ensemble.lists import SOURCES, ListMaker, choose_weights
from recsys.ensemble.reasons import Reasons, inner_products
from recsys.ensemble.similar import Neighbourhoods
from recsys.ensemble.weekly import Shelf, WeeklyList, weeks_before
from recsys.errors import UsageError
from recsys.text.model import TextModel

__all__ = ["SOURCES", "HybridRecommender", "Recommendation"]

_TERMS_CACHED = 100_000
"""Pairs of artists whose shared terms are kept in memory."""


@dataclass(frozen=True)
class Recommendation:
    """One entry of a list."""

    rank: int
    """From 1."""
    item_id: str
    title: str | None
    artist: str | None
    score: float
    signals: dict[str, float]
    """The part of the score that each source gave; they add up to it."""
    reasons: list[str]
    """Sentences, the one behind the largest signal first; empty where nothing is known."""


class HybridRecommender:
    """Everything that one version can answer.

    Parameters
    ----------
    catalogue, interactions
        Who and what there is, and what happened.
    factors, text, audio
        The models that the version has.
    shelf
        Where Discover Weekly's lists are kept.
    version
        Its name.
    config
        The configuration that it was trained by.
    graphs
        Per model the graph of its items, where the catalogue is large enough for one.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        interactions: Interactions,
        *,
        factors: Factors | None,
        text: TextModel | None,
        audio: AudioModel | None,
        shelf: Shelf,
        version: str,
        config: Config,
        graphs: Mapping[str, NDArray[np.int32]] | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.interactions = interactions
        self.factors = factors
        self.text = text
        self.audio = audio
        self.version = version
        self.config = config
        self._shelf = shelf
        self._spaces: dict[str, Space] = {}
        graph = (graphs or {}).get
        if factors is not None:
            self._spaces["collaborative"] = Space(
                factors.item_factors, factors.item_biases, graph=graph("collaborative")
            )
        if text is not None:
            self._spaces["text"] = Space(text.item_vectors, above=0.0, graph=graph("text"))
        if audio is not None:
            self._spaces["audio"] = Space(audio.item_vectors, above=0.0, graph=graph("audio"))
        listeners = played_by(interactions)
        self._popularity = Popularity(np.diff(listeners.indptr))
        self._neighbourhoods = Neighbourhoods(
            catalogue, interactions, self.spaces, factors=factors, text=text
        )
        credits = {name: inner_products(space.vectors) for name, space in self._spaces.items()}
        if factors is not None:
            credits["collaborative"] = lambda history, items: factors.shares(history, items)[0]
        shared_terms = None if text is None else lru_cache(_TERMS_CACHED)(text.shared_terms)
        self._reasons = Reasons(catalogue, listeners, credits, shared_terms)

    @classmethod
    def load(cls, bundle: Bundle, *, config: EnsembleConfig | None = None) -> HybridRecommender:
        """Open a version; `config` replaces the ensemble settings that it was trained with."""
        trained = bundle.facts["trained"]
        settings = Config.from_dict(bundle.facts["config"], source=f"version {bundle.version}")
        if config is not None:
            settings = replace(settings, ensemble=config)
        return cls(
            Catalogue.read(bundle),
            Interactions.read(bundle),
            factors=Factors.read(bundle) if "collaborative" in trained else None,
            text=TextModel.read(bundle) if "text" in trained else None,
            audio=AudioModel.read(bundle) if "audio" in trained else None,
            shelf=Shelf(bundle.folder),
            version=bundle.version,
            config=settings,
            graphs={
                name: bundle.array(f"neighbours/{name}")
                for name in trained
                if f"neighbours/{name}" in bundle
            },
        )

    @property
    def spaces(self) -> dict[str, NDArray[np.float32]]:
        """(n_items, d) item vectors of each model that the version has, by its name."""
        return {name: space.vectors for name, space in self._spaces.items()}

    @cached_property
    def default_kind(self) -> str:
        """The kind of item that a list holds unless asked: the one most listened to."""
        catalogue = self.catalogue
        n_kinds = len(catalogue.kinds)
        n_listens = np.bincount(catalogue.item_kind, self._popularity.listeners, n_kinds)
        n_items = np.bincount(catalogue.item_kind, minlength=n_kinds)
        return catalogue.kinds[int(np.lexsort((-n_items, -n_listens))[0])]

    @property
    def listeners_of(self) -> NDArray[np.int64]:
        """(n_items,) number of listeners of each item."""
        return self._popularity.listeners

    def eligible(self, kind: str | None = None) -> NDArray[np.bool_]:
        """Return (n_items,) whether a list of `kind` (default: `default_kind`) may hold an item."""
        if not self.catalogue.n_items:
            return np.zeros(0, bool)
        return self.catalogue.of_kind(self.default_kind if kind is None else kind)

    def recommend(
        self,
        user_id: str,
        k: int = 30,
        *,
        weights: Mapping[str, float] | None = None,
        kind: str | None = None,
        since: Events | None = None,
    ) -> list[Recommendation]:
        """Return up to `k` items that a listener never heard, best first.

        Fewer only where fewer exist that the rules allow; none for who has heard everything.

        Parameters
        ----------
        weights
            Weight of each source named in it, of `SOURCES`, in place of the configured one; one for
            a source that the version lacks has no effect.
        kind
            Kind of item; by default `default_kind`.
        since
            What the listener did after this version was trained; it counts as if it had been
            there, and a listener whom the version does not know is served from it alone.

        Raises
        ------
        NotFoundError
            For a kind that this version does not know, and for a listener without any history.
        UsageError
            For a `k` below 1 and for unusable weights.
        """
        return self._recommend(self._listener(user_id, since), k, weights=weights, kind=kind)

    def recommend_history(
        self,
        history: Sequence[tuple[str, float]],
        k: int = 30,
        *,
        weights: Mapping[str, float] | None = None,
        kind: str | None = None,
    ) -> list[Recommendation]:
        """Return up to `k` items for a listener without an account.

        Parameters
        ----------
        history
            (item_id, plays) pairs, plays above 0. Otherwise as in `recommend`.
        """
        listener = self._without_account(history)
        return self._recommend(listener, k, weights=weights, kind=kind)

    def weekly(
        self, user_id: str, week: str, *, since: Events | None = None
    ) -> list[Recommendation]:
        """Return a listener's 30 items of one ISO week (``2026-W47``).

        Made at the first call and the same from then on, whatever version answers. Holds nothing
        that the four weeks before held. `since` is as in `recommend`.
        """
        return [Recommendation(**item) for item in self.weekly_list(user_id, week, since).items]

    def weekly_list(self, user_id: str, week: str, since: Events | None = None) -> WeeklyList:
        """Return what `weekly` does as it is kept, with the version that made it.

        Only an item that may not be played any more leaves a kept list.
        """
        weeks_before(week, 1)  # refuses what is no week
        kept = self._shelf.find(user_id, week)
        if kept is None:
            listener = self._listener(user_id, since)
            kept = self._shelf.keep(make_weekly(self, self._shelf, [user_id], listener, week)[0])
        return still_there(kept, self.catalogue, int(time() * 1000))

    def rank(
        self,
        users: NDArray[np.int32],
        k: int,
        *,
        weights: Mapping[str, float] | None = None,
        kind: str | None = None,
        rerank: bool = True,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return item rows and scores of many listeners' lists, without reasons.

        Both are (m, min(k, n_items)), best first, padded with -1 and -inf. Without `rerank` no
        artist is capped; still no recording stands twice.
        """
        k = self._checked(k)
        make = self._list_maker(weights, kind, capped=rerank)
        items = np.full((len(users), k), -1, np.int32)
        scores = np.full((len(users), k), -np.inf)
        size = make.batch_size(k)
        for start in range(0, len(users), size):
            batch = self.listeners(users[start : start + size])
            part = slice(start, start + size)
            items[part], scores[part] = make(batch, k).padded(len(batch), k)
        return items, scores

    def similar(
        self, kind: str, id: str, k: int = 10, *, by: str = "hybrid"
    ) -> list[tuple[str, float]]:
        """Return the nearest items, artists or users as (id, score), best first.

        Parameters
        ----------
        kind
            ``item``, ``artist`` or ``user``: what `id` names.
        by
            A model that the version has (the score is a cosine), or ``hybrid``: all of them fused
            with the configured weights.

        Raises
        ------
        NotFoundError
            For an unknown id.
        UsageError
            For a `kind` or `by` that does not exist and a `k` below 1.
        """
        ids = self._neighbourhoods.ids(kind)
        found, scores = self.neighbours(kind, np.array([ids.require(id)]), k, by=by)
        pairs = zip(found[0].tolist(), scores[0].tolist(), strict=True)
        return [(ids[row], score) for row, score in pairs if row >= 0]

    def in_common(self, item_id: str, other_id: str) -> str:
        """Return what two recordings share, as "both 92 BPM, D minor, 6/8"; "" where nothing."""
        if self.audio is None or self.audio.descriptors is None:
            return ""
        items = self.catalogue.items
        return self.audio.descriptors.in_common(items.require(item_id), items.require(other_id))

    def neighbours(
        self, kind: str, rows: NDArray[np.integer], k: int, *, by: str = "hybrid"
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return what `similar` does for many rows: rows and scores (m, k), padded -1 and -inf."""
        if k < 1:
            raise UsageError(f"k: want 1 or more, got {k}")
        return self._neighbourhoods.search(kind, rows, k, by=by, settings=self.config.ensemble)

    def _recommend(
        self,
        listener: Listeners,
        k: int,
        *,
        weights: Mapping[str, float] | None = None,
        kind: str | None = None,
    ) -> list[Recommendation]:
        """Make one listener's list with its reasons."""
        lists = self._list_maker(weights, kind, capped=True)(listener, self._checked(k))
        return self.told(listener, lists)[0]

    def ranked(self, listeners: Listeners, k: int) -> Blend:
        """Return up to `k` entries for each listener, by the configured weights and rules."""
        k = self._checked(k)
        make = self._list_maker(None, None, capped=True)
        size = make.batch_size(k)
        if len(listeners) <= size:
            return make(listeners, k)
        parts = []
        for start in range(0, len(listeners), size):
            rows = np.arange(start, min(start + size, len(listeners)))
            part = make(listeners.take(rows), k)
            parts.append(replace(part, listener=part.listener + start))
        return Blend.join(parts)

    def told(self, listeners: Listeners, lists: Blend) -> list[list[Recommendation]]:
        """Return each listener's entries with titles, signals and reasons."""
        bounds = np.searchsorted(lists.listener, np.arange(len(listeners) + 1))
        names = choose_weights(self._spaces, self.config.ensemble, None)
        told = []
        for listener in range(len(listeners)):
            part = slice(bounds[listener], bounds[listener + 1])
            items = lists.item[part]
            signals = [dict(zip(names, row, strict=True)) for row in lists.signals[part].tolist()]
            row = [listener]
            reasons = self._reasons.sentences(
                listeners.history[row], listeners.heard[row], items, signals
            )
            told.append(
                [
                    self._entry(rank, *parts)
                    for rank, parts in enumerate(zip(items.tolist(), signals, reasons), start=1)
                ]
            )
        return told

    def _entry(
        self, rank: int, item: int, signals: dict[str, float], reasons: list[str]
    ) -> Recommendation:
        artist = int(self.catalogue.item_artist[item])
        return Recommendation(
            rank=rank,
            item_id=self.catalogue.items[item],
            title=self.catalogue.titles[item],
            artist=None if artist < 0 else self.catalogue.artist_name(artist),
            score=sum(signals.values()),
            signals=signals,
            reasons=reasons,
        )

    def _list_maker(
        self, weights: Mapping[str, float] | None, kind: str | None, *, capped: bool
    ) -> ListMaker:
        settings = self.config.ensemble
        return ListMaker(
            spaces=self._spaces,
            popularity=self._popularity,
            weights=choose_weights(self._spaces, settings, weights),
            eligible=self.eligible(kind),
            recording=self.catalogue.recording,
            artist=self.catalogue.item_artist,
            candidates_per_source=settings.candidates_per_source,
            rank_offset=settings.rank_offset,
            max_per_artist=settings.max_per_artist if capped else 0,
        )

    def _checked(self, k: int) -> int:
        if k < 1:
            raise UsageError(f"k: want 1 or more, got {k}")
        return min(k, self.catalogue.n_items)

    def _listener(self, user_id: str, since: Events | None) -> Listeners:
        """Return one listener, as the version knows them and as they went on."""
        if since is None or not len(since):
            return self.listeners(np.array([self.catalogue.users.require(user_id)]))
        theirs = continued(
            self.interactions,
            self.catalogue.users.row(user_id),
            since,
            self.catalogue,
            self.config.interactions,
            mean_streams=self._mean_streams,
        )
        history = positive(theirs.evidence)
        queries = self._profiles(history)
        if self.factors is not None:
            explicit = self.config.collaborative.feedback == "explicit"
            matrix = theirs.ratings if explicit else theirs.evidence
            queries["collaborative"] = self.factors.fold_in(matrix)[0]
        return Listeners(history, theirs.heard, queries)

    @cached_property
    def _mean_streams(self) -> float:
        plays = self.interactions.plays
        counts = (self.interactions.streamed, plays.indices, plays.indptr)
        return mean_of_totals(csr_array(counts, shape=plays.shape))

    def listeners(self, users: NDArray[np.integer]) -> Listeners:
        """Return known users, by row, as those for whom lists are made."""
        history = positive(self.interactions.evidence[users])
        queries = self._profiles(history)
        if self.factors is not None:
            queries["collaborative"] = self.factors.user_factors[users]
        return Listeners(history, self.interactions.heard[users], queries)

    def _without_account(self, history: Sequence[tuple[str, float]]) -> Listeners:
        """Return a listener of whom nothing is known but (item_id, plays) pairs."""
        for item_id, plays in history:
            if not (isfinite(plays) and plays > 0):
                raise UsageError(f"history: plays of {item_id!r}: want above 0, got {plays}")
        rows = np.array([self.catalogue.items.require(item_id) for item_id, _ in history], np.int32)
        n_plays = np.array([plays for _, plays in history], np.float64)
        shape = (1, self.catalogue.n_items)
        streams = csr_array((n_plays, (np.zeros(len(rows), np.int32), rows)), shape=shape)
        settings = self.config.interactions
        streams.data = settings.stream * transform_streams(streams, settings)
        evidence = streams.astype(np.float32)
        heard = csr_array(np.zeros(shape, np.int8))
        queries = self._profiles(evidence)
        if self.factors is not None and len(rows):
            queries["collaborative"] = self.factors.fold_in(evidence)[0]
        return Listeners(evidence, heard, queries).knowing(self._same_recordings(rows))

    def _profiles(self, history: csr_array) -> dict[str, NDArray[np.float32]]:
        content = (name for name in self._spaces if name != "collaborative")
        return {name: profiles(history, self._spaces[name].vectors) for name in content}

    def _same_recordings(self, items: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the rows of all items that are a recording of one of `items`."""
        recording = self.catalogue.recording
        return np.flatnonzero(np.isin(recording, recording[items]))
