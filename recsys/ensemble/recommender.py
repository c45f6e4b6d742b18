"""The ensemble: one trained version that makes lists, finds what is similar, and says why.

Enters: a `Bundle`. Leaves: lists of `Recommendation`. ensemble.py knows what the version knows,
lists.py makes a list by the rules of rules.py, reasons.py writes its sentences, weekly.py freezes a
Discover Weekly for its week, similar.py finds neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from time import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.audio.model import AudioModel
from recsys.bundle import Bundle
from recsys.collaborative.factors import Factors
from recsys.config import Config, EnsembleConfig
from recsys.data.catalogue import Catalogue
from recsys.data.collections import Collections
from recsys.data.interactions import Events, Interactions
from recsys.ensemble.audience import Audience
from recsys.ensemble.blend import Blend, Blender
from recsys.ensemble.candidates import Eligible, Listeners
from recsys.ensemble.discover import make_weekly, still_there
from recsys.ensemble.ensemble import SOURCES, Ensemble
from recsys.ensemble.learned import read_blender
from recsys.ensemble.lists import ListMaker
from recsys.ensemble.order import smooth_order
from recsys.ensemble.reasons import Reasons
from recsys.ensemble.rules import Eligibility, Rules
from recsys.ensemble.similar import Neighbourhoods
from recsys.ensemble.sound import Sound
from recsys.ensemble.telling import Recommendation, tell
from recsys.ensemble.weekly import Shelf, WeeklyList, weeks_before
from recsys.errors import UsageError
from recsys.retrieval import ApproximateIndex, Index
from recsys.text.model import TextModel

__all__ = ["SOURCES", "HybridRecommender", "Recommendation"]


class HybridRecommender:
    """Everything that one version can answer.

    Parameters
    ----------
    catalogue, interactions
        Who and what there is, and what happened.
    factors, text, audio
        The models that the version has.
    collections
        Lists that people made; none by default.
    blender
        What was learned; by default sources are fused by rank.
    shelf
        Where Discover Weekly's lists are kept.
    version
        Its name.
    config
        The configuration that it was trained by.
    indices
        Per model the index of its items, where the catalogue is large enough for a stored one.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        interactions: Interactions,
        *,
        factors: Factors | None,
        text: TextModel | None,
        audio: AudioModel | None,
        collections: Collections | None = None,
        blender: Blender | None = None,
        shelf: Shelf,
        version: str,
        config: Config,
        indices: Mapping[str, Index] | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.interactions = interactions
        self.factors = factors
        self.text = text
        self.audio = audio
        self.version = version
        self.config = config
        self._shelf = shelf
        lists = Collections.none(catalogue.n_items) if collections is None else collections
        models = {"text": text, "audio": audio}
        self.ensemble = Ensemble(
            catalogue,
            interactions,
            lists,
            factors=factors,
            content={name: m.item_vectors for name, m in models.items() if m is not None},
            sound=Sound.of(audio, catalogue.n_items),
            config=config.ensemble,
            indices=indices,
        )
        self.blender = self.ensemble.fusion if blender is None else blender
        self._neighbourhoods = Neighbourhoods(
            catalogue, interactions, self.ensemble.spaces, factors=factors, text=text
        )
        self._audience = Audience(self.ensemble, config)
        self._eligibility = Eligibility(self.ensemble)
        self._reasons = Reasons.of(self.ensemble, lists, text)

    @classmethod
    def load(cls, bundle: Bundle, *, config: EnsembleConfig | None = None) -> HybridRecommender:
        """Open a version; `config` replaces the ensemble settings that it was trained with."""
        trained = bundle.facts["trained"]
        settings = bundle.config
        if config is not None:
            settings = replace(settings, ensemble=config)
        return cls(
            Catalogue.read(bundle),
            Interactions.read(bundle),
            factors=Factors.read(bundle) if "collaborative" in trained else None,
            text=TextModel.read(bundle) if "text" in trained else None,
            audio=AudioModel.read(bundle) if "audio" in trained else None,
            collections=Collections.read(bundle) if "collections/owner" in bundle else None,
            blender=None if settings.ensemble.blend == "fusion" else read_blender(bundle),
            shelf=Shelf(bundle.folder),
            version=bundle.version,
            config=settings,
            indices={
                name: ApproximateIndex.from_arrays(arrays)
                for name in trained
                if (arrays := bundle.group(f"index/{name}"))
            },
        )

    @property
    def spaces(self) -> dict[str, NDArray[np.float32]]:
        """(n_items, d) item vectors of each model that the version has, by its name."""
        return {name: space.vectors for name, space in self.ensemble.spaces.items()}

    @cached_property
    def default_kind(self) -> str:
        """The kind of item that a list holds unless asked: the one most listened to."""
        return self.ensemble.default_kind

    @property
    def listeners_of(self) -> NDArray[np.int64]:
        """(n_items,) number of listeners of each item."""
        return self.ensemble.popularity.listeners

    def eligible(
        self, kind: str | None = None, *, at_ms: int | tuple[int, int] | None = None, **asked: Any
    ) -> NDArray[np.bool_]:
        """Return (n_items,) whether a list of `kind` (default: `default_kind`) may hold an item.

        Parameters
        ----------
        at_ms
            Milliseconds since 1970 when it must be available (or from when to when); now, unless
            said otherwise.
        asked
            territory, explicit, tempo, context: as in `recommend`.
        """
        return self._eligible(self._rules(kind, asked), at_ms).items

    def recommend(
        self,
        user_id: str,
        k: int = 30,
        *,
        weights: Mapping[str, float] | None = None,
        kind: str | None = None,
        territory: str | None = None,
        explicit: bool | None = None,
        tempo: tuple[float, float] | None = None,
        context: str | None = None,
        diversity: float | None = None,
        since: Events | None = None,
    ) -> list[Recommendation]:
        """Return up to `k` items that a listener never heard, best first.

        Fewer only where fewer exist that the rules allow; none for who has heard everything.

        Parameters
        ----------
        weights
            What multiplies the share of each source named in it, of `SOURCES`; 1 is as trained, 0
            silences it. One for a source that the version lacks has no effect.
        kind
            Kind of item; by default `default_kind`.
        territory
            Only what may be heard there, as ``HK``.
        explicit
            False leaves out what is marked explicit.
        tempo
            Only recordings of so many beats a minute, lowest and highest; half and double count.
        context
            ``running`` (a steady cadence), or ``morning``, ``afternoon``, ``evening``, ``night``:
            what the listener plays in those hours counts most.
        diversity
            0 ranks by score alone, 1 by variety alone; by default as configured.
        since
            What the listener did after this version was trained; it counts as if it had been
            there, and a listener whom the version does not know is served from it alone.

        Raises
        ------
        NotFoundError
            For a kind that this version does not know, and for a listener without any history.
        UsageError
            For a `k` below 1, for unusable weights, and for a context or tempo that cannot be.
        """
        asked = {"territory": territory, "explicit": explicit, "tempo": tempo, "context": context}
        rules = self._rules(kind, asked)
        listener = self._audience.listener(user_id, since, hours=rules.hours)
        return self._recommend(listener, k, rules, weights=weights, diversity=diversity)

    def recommend_history(
        self,
        history: Sequence[tuple[str, float]],
        k: int = 30,
        *,
        weights: Mapping[str, float] | None = None,
        diversity: float | None = None,
        kind: str | None = None,
        **asked: Any,
    ) -> list[Recommendation]:
        """Return up to `k` items for a listener without an account.

        Parameters
        ----------
        history
            (item_id, plays) pairs, plays above 0. Otherwise as in `recommend`.
        """
        listener = self._audience.stranger(history)
        rules = self._rules(kind, asked)
        return self._recommend(listener, k, rules, weights=weights, diversity=diversity)

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
            listener = self._audience.listener(user_id, since)
            kept = self._shelf.keep(make_weekly(self, self._shelf, [user_id], listener, week)[0])
        return still_there([kept], self.catalogue, int(time() * 1000))[0]

    def rank(
        self,
        users: NDArray[np.int32],
        k: int,
        *,
        weights: Mapping[str, float] | None = None,
        rerank: bool = True,
        diversity: float | None = None,
        blender: Blender | None = None,
        eligible: NDArray[np.bool_] | None = None,
        **asked: Any,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return item rows and scores of many listeners' lists, without reasons.

        Both are (m, min(k, n_items)), best first, padded with -1 and -inf. Without `rerank` no
        artist is capped and nothing is moved for variety; still no recording stands twice.

        Parameters
        ----------
        blender
            Another way to blend, for comparison.
        eligible
            (n_items,) what lists may hold, in place of what the rules say.
        asked
            kind, territory, explicit, tempo, context: as in `recommend`.
        """
        k = self._checked(k)
        rules = self._rules(asked.pop("kind", None), asked)
        allowed = self._eligible(rules) if eligible is None else self.ensemble.eligible(eligible)
        make = ListMaker.of(
            self.ensemble,
            self.blender if blender is None else blender,
            allowed,
            weights=weights,
            rerank=rerank,
            diversity=diversity,
        )
        items = np.full((len(users), k), -1, np.int32)
        scores = np.full((len(users), k), -np.inf)
        size = make.batch_size(k)
        for start in range(0, len(users), size):
            batch = self.ensemble.listeners(users[start : start + size], hours=rules.hours)
            part = slice(start, start + size)
            items[part], scores[part] = make(batch, k).padded(len(batch), k)
        return items, scores

    def in_common(self, item_id: str, other_id: str) -> str:
        """Return what two recordings share, as "both 92 BPM, D minor, 6/8"; "" where nothing."""
        if self.audio is None or self.audio.descriptors is None:
            return ""
        items = self.catalogue.items
        return self.audio.descriptors.in_common(items.require(item_id), items.require(other_id))

    def smooth(self, entries: Sequence[Recommendation]) -> list[Recommendation]:
        """Return a list in the order in which it flows best, the first kept; ranks as they were."""
        rows = np.array([self.catalogue.items.require(one.item_id) for one in entries], np.int64)
        return [entries[place] for place in smooth_order(self.ensemble.sound, rows).tolist()]

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
        rules: Rules,
        *,
        weights: Mapping[str, float] | None,
        diversity: float | None,
    ) -> list[Recommendation]:
        """Make one listener's list with its reasons."""
        eligible = self._eligible(rules)
        make = ListMaker.of(
            self.ensemble, self.blender, eligible, weights=weights, diversity=diversity
        )
        trained = all(weight == 1 for weight in make.weights.values())
        return self.told(listener, make(listener, self._checked(k)), trained=trained)[0]

    def listeners(self, users: NDArray[np.integer]) -> Listeners:
        """Return known users, by row, as those for whom lists are made."""
        return self.ensemble.listeners(users)

    def ranked(self, listeners: Listeners, k: int) -> Blend:
        """Return up to `k` entries for each listener, by the trained weights and default rules."""
        make = ListMaker.of(self.ensemble, self.blender, self._eligible(self._rules()))
        return make(listeners, self._checked(k))

    def told(
        self, listeners: Listeners, lists: Blend, *, trained: bool = True
    ) -> list[list[Recommendation]]:
        """Return each listener's entries with titles, signals and reasons.

        `trained` says that the weights are the learned ones, so a score tells how likely a love is.
        """
        return tell(self.catalogue, self._reasons, self.blender, listeners, lists, trained=trained)

    def _rules(self, kind: str | None = None, asked: Mapping[str, Any] | None = None) -> Rules:
        return Rules(kind=self.default_kind if kind is None else kind, **(asked or {}))

    def _eligible(self, rules: Rules, at_ms: int | tuple[int, int] | None = None) -> Eligible:
        return self._eligibility(rules, int(time() * 1000) if at_ms is None else at_ms)

    def _checked(self, k: int) -> int:
        if k < 1:
            raise UsageError(f"k: want 1 or more, got {k}")
        return min(k, self.catalogue.n_items)
