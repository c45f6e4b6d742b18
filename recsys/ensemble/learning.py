"""How much to believe each signal, learned from what listeners loved next.

Enters: the candidates of many listeners with their features, and what they newly loved in the blend
slice, which none of the models has seen. Leaves: a blender, and how each rung of the ladder ranks
for listeners who were held out of the learning:

best single source -> reciprocal-rank fusion -> logistic on z-scores -> LambdaMART

What a recommendation brought about says less of a taste than what was sought, so it weighs less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.config import EnsembleConfig
from recsys.ensemble.blend import Blend, Blender
from recsys.ensemble.ensemble import Ensemble
from recsys.ensemble.features import CONTEXT, SIGNALS
from recsys.ensemble.learned import GROUP, Logistic, TreeBlend
from recsys.ensemble.trees import Trees

__all__ = ["Ladder", "Lesson", "climb", "prepare"]

K = 30
"""Cut-off of the comparison."""
_BATCH = 256
_WORTH = 1.02
"""A rung must rank so much better than the one below it: trees cost ten times a linear score."""
_HELD_OUT = 4
"""Every so many-th listener is held out."""
_NEGATIVES = 100
"""Candidates not loved that are kept of each listener, drawn by seed."""


@dataclass(frozen=True)
class Lesson:
    """Candidates and what became of them, grouped by listener."""

    union: Blend
    """Candidates; signals are reciprocal places in the sources."""
    features: NDArray[np.float32]
    """(n, n_features)"""
    gain: NDArray[np.float32]
    """(n,) 1 loved, less where a recommendation brought it about, 0 not loved."""
    n_loved: NDArray[np.int64]
    """(m,) what each listener loved, candidate or not."""
    sources: tuple[str, ...]

    def of(self, listeners: NDArray[np.bool_]) -> Lesson:
        """Return the candidates of some listeners, who keep their numbers."""
        mine = listeners[self.union.listener]
        return replace(
            self, union=self.union.take(mine), features=self.features[mine], gain=self.gain[mine]
        )

    def ndcg(self, scores: NDArray[np.floating]) -> float:
        """Return the mean NDCG@30 of ranking by `scores` (n,), over listeners with candidates."""
        listener = self.union.listener
        order = np.lexsort((-scores, listener))
        place = np.arange(len(order)) - np.searchsorted(listener, listener)
        hit = (self.gain[order] > 0) & (place < K)
        present = np.unique(listener)
        gained = np.bincount(listener, hit / np.log2(place + 2), len(self.n_loved))[present]
        ideal = np.cumsum(1 / np.log2(np.arange(K) + 2))
        return float((gained / ideal[np.minimum(self.n_loved[present], K) - 1]).mean())


@dataclass(frozen=True)
class Ladder:
    """What was learned, and how every rung ranks for listeners held out."""

    blender: Logistic | TreeBlend | None
    """None where fusion ranks best, or where there was too little to learn from."""
    ndcg: Mapping[str, float]
    """NDCG@30 for held-out listeners, per rung and per single source."""
    n_listeners: int
    """Listeners who loved something new in the blend slice."""
    rungs: Mapping[str, Logistic | TreeBlend]
    """What was learned on each rung."""

    def facts(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        return {"held_out_ndcg@30": dict(self.ndcg)}


def prepare(
    ensemble: Ensemble,
    loved: csr_array,
    organic: csr_array,
    *,
    eligible: NDArray[np.bool_],
    seed: int = 0,
) -> Lesson:
    """Gather the candidates of everybody who loved something new, or of as many as are enough.

    Parameters
    ----------
    loved
        (n_users, n_items) stored entries: newly loved after what `ensemble` knows.
    organic
        (n_users, n_items) stored entries: of these, what was sought, not recommended.
    seed
        Of the draw of listeners where there are more than `blend_most`.
    """
    users = np.flatnonzero(np.diff(loved.indptr))
    settings = ensemble.config
    if len(users) > settings.blend_most:
        random = np.random.default_rng(seed)
        users = np.sort(random.choice(users, settings.blend_most, replace=False))
    rows = np.arange(ensemble.catalogue.n_items)
    first = ensemble.eligible(eligible & (ensemble.catalogue.first_of_recording == rows))
    unions, features, gains = [], [], []
    for start in range(0, len(users), _BATCH):
        batch = users[start : start + _BATCH]
        listeners = ensemble.listeners(batch)
        union = ensemble.union(listeners, settings.candidates_per_source, eligible=first)
        # In a fixed order, so that a seed draws the same of them however they were united.
        union = union.sorted(ensemble.popularity.place)
        features.append(ensemble.features(listeners, union))
        gains.append(
            np.where(_stored(organic[batch], union), 1.0, settings.recommended)
            * _stored(loved[batch], union)
        )
        unions.append(replace(union, listener=union.listener + start))
    return Lesson(
        Blend.join(unions),
        np.concatenate(features),
        np.concatenate(gains).astype(np.float32),
        np.diff(loved.indptr)[users],
        ensemble.sources,
    )


def climb(lesson: Lesson, fusion: Blender, config: EnsembleConfig, *, seed: int) -> Ladder:
    """Learn every rung and choose: the configured one, or the best for held-out listeners."""
    m = len(lesson.n_loved)
    if m < config.blend_fewest:
        return Ladder(None, {}, m, {})
    held = np.arange(m) % _HELD_OUT == 0
    taught, asked = lesson.of(~held), lesson.of(held)
    places = asked.union.signals  # where a source has nothing, popularity, the last one, decides
    ndcg = {
        source: asked.ndcg(places[:, column] + 1e-6 * places[:, -1])
        for column, source in enumerate(lesson.sources)
    }
    ndcg["fusion"] = asked.ndcg(_scores(fusion, asked))
    rungs: dict[str, Logistic | TreeBlend] = {
        "logistic": _logistic(taught, seed),
        "trees": _trees(taught, seed),
    }
    for name, rung in rungs.items():
        ndcg[name] = asked.ndcg(_scores(rung, asked))
    best = "fusion"
    for name in rungs:
        if ndcg[name] > _WORTH * ndcg[best]:
            best = name
    best = config.blend if config.blend in rungs else best
    rungs = {name: _calibrated(rung, asked) for name, rung in rungs.items()}
    return Ladder(rungs.get(best), ndcg, m, rungs)


def _thinned(lesson: Lesson, seed: int) -> NDArray[np.int64]:
    """Return the rows to learn from: all that was loved, and some of the rest of each listener."""
    random = np.random.default_rng(seed)
    draw = np.where(lesson.gain > 0, -1.0, random.random(len(lesson.gain)))
    listener = lesson.union.listener
    order = np.lexsort((draw, listener))
    place = np.arange(len(order)) - np.searchsorted(listener, listener)
    n_loved = np.bincount(listener, lesson.gain > 0, len(lesson.n_loved))
    has = n_loved[listener] > 0
    return np.sort(order[(place < _NEGATIVES + n_loved[listener]) & has])


def _logistic(lesson: Lesson, seed: int) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    rows = _thinned(lesson, seed)
    features, loved = lesson.features[rows].astype(np.float64), lesson.gain[rows] > 0
    centre, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    model = LogisticRegression(C=0.1, max_iter=200)
    model.fit((features - centre) * scale, loved, np.where(loved, lesson.gain[rows], 1.0))
    return Logistic(model.coef_[0] * scale, centre, float(model.intercept_[0]))


def _trees(lesson: Lesson, seed: int) -> TreeBlend:
    import lightgbm

    context = SIGNALS.index(CONTEXT)
    rows = _thinned(lesson, seed)
    train = _grouped(lesson, rows)
    shared = np.flatnonzero(context == GROUP).tolist()
    booster = lightgbm.train(
        _PARAMETERS
        | {
            "seed": seed,
            "interaction_constraints": [
                np.flatnonzero(signal == GROUP).tolist() + shared
                for signal in range(len(SIGNALS))
                if signal != context
            ],
        },
        train,
        num_boost_round=_ROUNDS,
    )
    return TreeBlend(Trees.of(booster.dump_model(), GROUP.tolist(), context=context), 0.0)


_ROUNDS = 80
_PARAMETERS: dict[str, Any] = {
    "objective": "rank_xendcg",
    "metric": "none",
    "learning_rate": 0.1,
    "num_leaves": 8,
    "min_data_in_leaf": 50,
    "lambda_l2": 5.0,
    "feature_fraction": 0.8,
    "use_missing": False,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


def _grouped(lesson: Lesson, rows: NDArray[np.int64]) -> Any:
    """Return LightGBM's data set of some rows, in order of listener."""
    import lightgbm

    gain = lesson.gain[rows]
    label = np.where(gain >= 1, 2, np.where(gain > 0, 1, 0))
    sizes = np.unique(lesson.union.listener[rows], return_counts=True)[1]
    return lightgbm.Dataset(lesson.features[rows], label, group=sizes)


def _scores(blender: Blender, lesson: Lesson) -> NDArray[np.float64]:
    return np.asarray(blender.shares(lesson.union, lambda: lesson.features).sum(axis=1))


def _calibrated(blender: Logistic | TreeBlend, asked: Lesson) -> Logistic | TreeBlend:
    """Scale and shift the scores so that they are log-odds for listeners held out."""
    from sklearn.linear_model import LogisticRegression

    scores = _scores(blender, asked)[:, None]
    spread = max(float(scores.std()), 1e-9)
    model = LogisticRegression(C=1e6).fit(scores / spread, asked.gain > 0)
    slope, offset = max(float(model.coef_[0, 0]) / spread, 1e-6), float(model.intercept_[0])
    if isinstance(blender, Logistic):
        return replace(blender, weights=blender.weights * slope, offset=offset)
    scaled = replace(blender.trees, value=blender.trees.value * slope)
    return TreeBlend(scaled, offset)


def _stored(matrix: csr_array, union: Blend) -> NDArray[np.bool_]:
    """Return (n,) whether the matrix stores an entry for each pair."""
    entries = matrix.tocoo()
    n_items = np.int64(matrix.shape[1])
    return np.isin(union.listener * n_items + union.item, entries.row * n_items + entries.col)
