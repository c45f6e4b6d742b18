"""How much to believe each signal: learned once, from models that saw only what was before.

Enters: a `Content`. Leaves: the `Ladder` of blends, learned on what listeners loved in the blend
slice by models of base and tune.
"""

from __future__ import annotations

from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.bundle import Models
from recsys.collaborative.checkpoints import Checkpoints
from recsys.data.interactions import Events, build_interactions, newly_loved
from recsys.data.slices import split
from recsys.ensemble.ensemble import Ensemble
from recsys.ensemble.learning import Ladder, climb, prepare
from recsys.ensemble.sound import Sound
from recsys.pipeline.content import Content
from recsys.pipeline.source import evidence_of, known_lists
from recsys.pipeline.training import train_factors

__all__ = ["learn_blend"]


def learn_blend(content: Content) -> Ladder:
    """Return the blend learned on the blend slice, and how each rung ranked; `content` keeps it."""
    if content.ladder is None:
        content.ladder = _learn(content)
    return content.ladder


def _learn(content: Content) -> Ladder:
    source, config = content.source, content.config
    catalogue, seed = source.catalogue, config.evaluation.seed
    slices = split(source.events, config.slices)
    before = source.events.take(np.sort(np.concatenate([slices.base, slices.tune])))
    later = source.events.take(slices.blend)
    heard = build_interactions(before, catalogue, config.interactions).heard

    def loved(events: Events, eligible: NDArray[np.bool_]) -> csr_array:
        return newly_loved(events, catalogue, config.interactions, heard=heard, eligible=eligible)

    # Counted before anything is trained for it.
    of_any_kind = loved(later, np.ones(catalogue.n_items, bool))
    n_listeners = int(np.count_nonzero(np.diff(of_any_kind.indptr)))
    if n_listeners < config.ensemble.blend_fewest:
        return Ladder(None, {}, n_listeners, {})
    _ = content.text, content.audio  # found out before they are handed on
    ensemble = _ensemble(content.afresh(replace(source, events=before)))
    eligible = catalogue.of_kind(ensemble.default_kind)
    sought = loved(later.take(later.organic), eligible)
    lesson = prepare(ensemble, loved(later, eligible), sought, eligible=eligible, seed=seed)
    return climb(lesson, ensemble.fusion, config.ensemble, seed=seed)


def _ensemble(content: Content) -> Ensemble:
    """Return what models know that saw the events of the content's source only."""
    source, config = content.source, content.config
    interactions = build_interactions(source.events, source.catalogue, config.interactions)
    matrix, factors = evidence_of(interactions, config.collaborative), None
    if matrix.nnz:
        with TemporaryDirectory(prefix="recsys-blend-") as folder:
            checkpoints = Checkpoints(folder, every=0, resume=False)
            factors = train_factors(matrix, content, content.backend, Models(folder), checkpoints)
    spaces = {"text": content.text, "audio": content.spoken}
    return Ensemble(
        source.catalogue,
        interactions,
        known_lists(source, interactions),
        factors=factors,
        content={name: m.item_vectors for name, m in spaces.items() if m is not None},
        sound=Sound.of(content.audio, source.catalogue.n_items),
        config=config.ensemble,
    )
