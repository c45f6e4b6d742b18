"""The collaborative model, and the networks that learn from it to hear where an item lies.

Enters: a matrix, a `Content`, the version that serves. Leaves: `Factors`, and in the content what
networks say. Where audio draws the items' vectors, the factors are trained twice: the second time
drawn to what networks say that have never met the item's artist.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.backend import Backend
from recsys.bundle import Models
from recsys.collaborative.als import train
from recsys.collaborative.checkpoints import Checkpoints
from recsys.collaborative.curvature import Curvature
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig, Config
from recsys.data.catalogue import Catalogue
from recsys.errors import RecsysError
from recsys.pipeline.content import Content
from recsys.pipeline.source import evidence_times
from recsys.progress import note
from recsys.storage import Folder

__all__ = ["IDLE_KEYS", "learn_to_hear", "train_factors", "training_key"]

IDLE_KEYS = ("checkpoint_every", "loss_every", "num_threads")
"""Settings of the collaborative model that move no factor."""

_FEW_LISTENERS = 10
"""An item of so many listeners counts half in the training of the network."""


def training_key(events: Sequence[Any], config: Config) -> str:
    """Return what a checkpoint's training is known by: its events, and what it makes of them."""
    settings = config.to_dict()
    for key in IDLE_KEYS:
        del settings["collaborative"][key]
    stages = ["interactions", "collaborative"]
    stages += ["text", "audio"] if config.collaborative.features else []
    return _digest([list(events), [settings[stage] for stage in stages]])


def _digest(known: list[Any]) -> str:
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def train_factors(
    matrix: csr_array,
    content: Content,
    backend: Backend,
    models: Models,
    checkpoints: Checkpoints,
) -> Factors:
    """Train; let networks learn from the factors; train again where these say what is drawn to."""
    names = content.config.collaborative.features
    if not content.config.network.enabled or "audio" not in content.only or not content.heard:
        features = content.features(names)
        return _alternated(matrix, features, content, backend, models, checkpoints)
    silent = content.features([name for name in names if name != "audio"])
    factors = _alternated(matrix, silent, content, backend, models, checkpoints)
    said = learn_to_hear(factors, matrix, content, models)
    if "audio" not in names:
        return factors
    features, settings = content.features(names, said), content.config.collaborative
    at = evidence_times(content.source.events, content.source.catalogue, settings, matrix)
    again = train(matrix, settings, backend, initial=factors, item_features=features, at=at)
    everything = np.arange(matrix.shape[1], dtype=np.int32)
    return again.aligned_to(factors, everything)


def learn_to_hear(
    factors: Factors, matrix: csr_array, content: Content, models: Models
) -> NDArray[np.float32] | None:
    """Train the networks; return (n_items, f) where they hear items lie, None where they cannot.

    A row is the shorter the less sure networks are; the mean square length is 1.
    """
    from recsys.audio.answers import packed
    from recsys.audio.training import Targets, classes_of, learn

    assert content.audio is not None and content.audio.descriptors is not None
    catalogue, config = content.source.catalogue, content.config.network
    rows = catalogue.items.rows(list(content.heard))
    n_listeners = np.diff(matrix.tocsc().indptr)[rows]
    bend = Curvature(factors, matrix) if config.loss == "weighted" else None
    targets = Targets(
        factors=factors.item_factors[rows] * (n_listeners > 0)[:, None],
        biases=factors.item_biases[rows],
        weights=(n_listeners / (n_listeners + _FEW_LISTENERS)).astype(np.float32),
        artist=catalogue.item_artist[rows],
        classes=classes_of(content.audio.descriptors, rows),
        curvature=None if bend is None else lambda places: bend(rows[places]),
    )
    source, stages = content.source, content.config.to_dict()
    told = [stages[name] for name in ("interactions", "collaborative", "audio", "network")]
    key = _digest([source.dataset.fingerprint(), len(source.events), told])
    folder = Folder(f"{models.folder.path}/training/{key}")
    learned = learn([one.bands for one in content.heard.values()], targets, config, folder)
    if learned is None:
        note("network left out: too few artists whose recordings were played")
        return None
    said = np.zeros((catalogue.n_items, factors.item_factors.shape[1]), np.float32)
    directions = learned.answers.directions
    said[rows] = directions / np.sqrt(np.mean(np.sum(directions**2, axis=1)))
    content.sound = said, packed(learned.networks)
    return said


def _alternated(
    matrix: csr_array,
    features: NDArray[np.float32] | None,
    content: Content,
    backend: Backend,
    models: Models,
    checkpoints: Checkpoints,
) -> Factors:
    """Train, from the version that serves where that is possible, and lie as it does."""
    settings = content.config.collaborative
    given: dict[str, Any] = {"item_features": features, "checkpoints": checkpoints}
    source = content.source
    given["at"] = evidence_times(source.events, source.catalogue, settings, matrix)
    former = _former(models, settings) if settings.warm_start else None
    if former is None:
        return train(matrix, settings, backend, **given)
    factors, known = former
    users = known.users.rows(content.source.catalogue.users.to_arrow())
    items = known.items.rows(content.source.catalogue.items.to_arrow())
    start = factors.renumbered(users, items).shaken(settings.seed)
    return train(matrix, settings, backend, initial=start, **given).aligned_to(factors, items)


def _former(models: Models, settings: CollaborativeConfig) -> tuple[Factors, Catalogue] | None:
    """Return the factors that serve, and of whom; None where a training cannot start there."""
    if not models.versions():
        return None
    try:
        bundle = models.open()
        if "collaborative" not in bundle.facts.get("trained", ()):
            return None
        factors, known = Factors.read(bundle), Catalogue.read(bundle)
    except RecsysError as error:
        note(f"collaborative starts afresh: {error}")
        return None
    return (factors, known) if factors.config.factors == settings.factors else None
