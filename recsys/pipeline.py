"""From a dataset to one trained version: the whole way of the data, in the order it flows.

::

    dataset --> catalogue, events --> interactions --> collaborative --+
       |                                                    ^          |
       |                                 (features, if set) |          |
       +------> documents -----------------------> text ----+----------+--> bundle
       |                                                    |          |
       +------> recordings ----------------------> audio ---+----------+
                                                                       |
            base, tune --> all models --> candidates --> blend --------+
                                blend slice ---------------^

Enters: a `Dataset`, a `Config`, a `Backend`. Leaves: a version in `Models`. A model is trained when
the dataset has data for it; what was left out, and why, stands in the bundle's facts. With
``collaborative.features`` labels, text and audio draw the items' vectors too. A retraining starts
from the version that serves, so that neighbours, and maps learned on its vectors, stay stable.
How much to believe each signal is learned once, on what listeners loved in the blend slice, from
models that saw only what was before it; the version itself is trained on every event.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.audio.model import AudioModel, build_audio
from recsys.backend import Backend, LocalBackend
from recsys.bundle import BundleWriter, Models
from recsys.collaborative.als import train
from recsys.collaborative.checks import MAX_FEATURES
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig, Config
from recsys.data.catalogue import NO_TIME, Catalogue, read_catalogue
from recsys.data.collections import Collections, read_collections
from recsys.data.dataset import Dataset
from recsys.data.interactions import (
    Events,
    Interactions,
    build_interactions,
    newly_loved,
    read_events,
)
from recsys.data.slices import split
from recsys.ensemble.ensemble import Ensemble
from recsys.ensemble.learned import write_blender
from recsys.ensemble.learning import Ladder, climb, prepare
from recsys.ensemble.sound import Sound
from recsys.errors import InputError, RecsysError, UsageError
from recsys.progress import note
from recsys.text.model import TextModel, build_text, leading_directions

__all__ = ["MODEL_NAMES", "Content", "Source", "build", "read_source"]

MODEL_NAMES = ("collaborative", "text", "audio")
"""The three models, in the order in which they are trained."""


@dataclass(frozen=True)
class Source:
    """A dataset as read: who and what there is, and what happened."""

    dataset: Dataset
    catalogue: Catalogue
    events: Events
    collections: Collections | None = None


@dataclass(frozen=True)
class Content:
    """What is said of items, what they sound like, and how to blend; each is found out once.

    Several builds from one dataset share it, as those that evaluate and those that serve.
    """

    source: Source
    config: Config
    backend: Backend = field(default_factory=LocalBackend)

    @cached_property
    def text(self) -> TextModel | None:
        return build_text(self.source.dataset, self.source.catalogue, self.config.text)

    @cached_property
    def audio(self) -> AudioModel | None:
        return build_audio(self.source.dataset, self.source.catalogue, self.config.audio)

    @cached_property
    def ladder(self) -> Ladder:
        """The blend learned on the blend slice of the source, from models of base and tune."""
        source, config = self.source, self.config
        catalogue, seed = source.catalogue, config.evaluation.seed
        slices = split(source.events, config.slices)
        before = source.events.take(np.sort(np.concatenate([slices.base, slices.tune])))
        later = source.events.take(slices.blend)
        heard = build_interactions(before, catalogue, config.interactions).heard

        def loved(events: Events, eligible: NDArray[np.bool_]) -> csr_array:
            return newly_loved(
                events, catalogue, config.interactions, heard=heard, eligible=eligible
            )

        # Counted before anything is trained for it.
        of_any_kind = loved(later, np.ones(catalogue.n_items, bool))
        n_listeners = int(np.count_nonzero(np.diff(of_any_kind.indptr)))
        if n_listeners < config.ensemble.blend_fewest:
            return Ladder(None, {}, n_listeners, {})
        ensemble = self.ensemble(before)
        eligible = catalogue.of_kind(ensemble.default_kind)
        sought = loved(later.take(later.organic), eligible)
        lesson = prepare(ensemble, loved(later, eligible), sought, eligible=eligible, seed=seed)
        return climb(lesson, ensemble.fusion, config.ensemble, seed=seed)

    def ensemble(self, events: Events) -> Ensemble:
        """Return what the models know that saw `events` only, beside all text and audio."""
        source, config = self.source, self.config
        interactions = build_interactions(events, source.catalogue, config.interactions)
        matrix = evidence_of(interactions, config.collaborative)
        factors = None
        if matrix.nnz:
            factors = train(
                matrix, config.collaborative, self.backend, item_features=self.features()
            )
        content = {"text": self.text, "audio": self.audio}
        return Ensemble(
            source.catalogue,
            interactions,
            known_lists(source, events, interactions),
            factors=factors,
            content={name: m.item_vectors for name, m in content.items() if m is not None},
            sound=Sound.of(self.audio, source.catalogue.n_items),
            config=config.ensemble,
        )

    def features(self) -> NDArray[np.float32] | None:
        """Return (n_items, d) what ``collaborative.features`` names; None where there is none.

        Columns are those of text, audio and labels, in this order. Each gives unit rows, or zero
        rows where it knows nothing; labels are projected where there are more than room is left.
        """
        found = [np.zeros((self.source.catalogue.n_items, 0), np.float32)]
        for name in ("text", "audio", "labels"):
            if name in self.config.collaborative.features:
                room = MAX_FEATURES - sum(rows.shape[1] for rows in found)
                found.append(self._vectors(name, room))
                if not found[-1].shape[1]:
                    note(f"collaborative: no {name} to take features from")
        features = np.concatenate(found, axis=1)
        return features if features.size else None

    def _vectors(self, name: str, room: int) -> NDArray[np.float32]:
        if name == "labels":
            return _label_vectors(self.source.catalogue, max(room, 1))
        model = self.text if name == "text" else self.audio
        if model is None:
            return np.zeros((self.source.catalogue.n_items, 0), np.float32)
        return model.item_vectors


def _label_vectors(catalogue: Catalogue, room: int) -> NDArray[np.float32]:
    """Return (n_items, at most `room`) unit rows of the editors' tags."""
    labels = catalogue.labels.matrix()
    n_labels = np.diff(labels.indptr)
    labels.data /= np.repeat(np.sqrt(n_labels), n_labels).astype(np.float32)
    if labels.shape[1] > room:
        return np.asarray(labels @ leading_directions(labels, room).T, np.float32)
    return np.asarray(labels.toarray(), np.float32)


def read_source(dataset: Dataset) -> Source:
    """Read ids, metadata and events of a dataset once."""
    catalogue = read_catalogue(dataset)
    events, collections = read_events(dataset, catalogue), read_collections(dataset, catalogue)
    return Source(dataset, catalogue, events, collections)


def build(
    source: Source,
    config: Config,
    backend: Backend,
    models: Models,
    *,
    only: Collection[str] = MODEL_NAMES,
    activate: bool = True,
    content: Content | None = None,
) -> str:
    """Train what `source` has data for and return the name of the new version.

    Parameters
    ----------
    source
        The dataset; an evaluation passes one whose events end before the slice it reports.
    only
        The models to train, of `MODEL_NAMES`.
    activate
        Let the new version serve.
    content
        What was found out already about the items and the blend, from a source with the same
        catalogue; by default it is found out here.

    Raises
    ------
    UsageError
        For a model name that does not exist.
    InputError
        Where the dataset has data for none of the wanted models.
    """
    unknown = set(only) - set(MODEL_NAMES)
    if unknown:
        raise UsageError(f"no model {min(unknown)!r}; known: {', '.join(MODEL_NAMES)}")

    interactions = build_interactions(source.events, source.catalogue, config.interactions)
    writer = models.write()
    source.catalogue.write(writer)
    interactions.write(writer)
    known_lists(source, source.events, interactions).write(writer)

    content = Content(source, config, backend) if content is None else content
    left_out = {name: "not asked for" for name in MODEL_NAMES if name not in only}
    for name in (name for name in MODEL_NAMES if name in only):
        reason = _train(name, content, interactions, backend, models, writer)
        if reason:
            left_out[name] = reason
            note(f"{name} left out: {reason}")
    trained = [name for name in MODEL_NAMES if name not in left_out]
    if not trained:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise InputError(f"{source.dataset.folder.path}: nothing to train ({reasons})")
    # A blend learned with a model cannot do without it.
    if "not asked for" not in left_out.values() and config.ensemble.blend != "fusion":
        _blend(content.ladder, writer)

    writer.note(
        config=config.to_dict(),
        dataset=source.dataset.fingerprint(),
        trained=trained,
        left_out=left_out,
        counts={
            "users": len(source.catalogue.users),
            "items": len(source.catalogue.items),
            "artists": len(source.catalogue.artists),
            "events": len(source.events),
        },
    )
    return writer.commit(activate=activate)


def _train(
    name: str,
    content: Content,
    interactions: Interactions,
    backend: Backend,
    models: Models,
    writer: BundleWriter,
) -> str:
    """Train one model into the bundle; return why it could not be, or an empty string."""
    if name == "collaborative":
        matrix = evidence_of(interactions, content.config.collaborative)
        if not matrix.nnz:
            explicit = content.config.collaborative.feedback == "explicit"
            return "no ratings" if explicit else "no events on items"
        _factors(matrix, content, backend, models).write(writer)
        return ""
    if name == "text":
        if content.text is None:
            return "no documents about known artists"
        content.text.write(writer)
        return ""
    if content.audio is None:
        return "no readable recordings"
    content.audio.write(writer)
    return ""


def _blend(ladder: Ladder, writer: BundleWriter) -> None:
    """Keep what was learned, and how each rung ranked."""
    chosen = "fusion" if ladder.blender is None else ladder.blender.kind
    if ladder.ndcg:
        shown = ", ".join(f"{name} {ndcg:.4f}" for name, ndcg in ladder.ndcg.items())
        note(f"blend: {chosen}; NDCG@30 for held-out listeners: {shown}")
    else:
        note(f"blend: fusion; too few ({ladder.n_listeners}) loved something new to learn from")
    writer.note(ladder={"chosen": chosen, "n_listeners": ladder.n_listeners, **ladder.facts()})
    if ladder.blender is not None:
        write_blender(ladder.blender, writer)


def evidence_of(interactions: Interactions, settings: CollaborativeConfig) -> csr_array:
    """Return (n_users, n_items) what the collaborative model is fitted to."""
    return interactions.ratings if settings.feedback == "explicit" else interactions.evidence


def known_lists(source: Source, events: Events, interactions: Interactions) -> Collections:
    """Return the collections as they can have been when the last of `events` happened."""
    released, now = source.catalogue.released_at, events.at.max(initial=NO_TIME)
    out = (released <= now) if now != NO_TIME else np.ones(len(released), bool)
    lists = source.collections
    if lists is None:
        return Collections.none(source.catalogue.n_items)
    return lists.as_of(interactions.heard, out)


def _factors(matrix: csr_array, content: Content, backend: Backend, models: Models) -> Factors:
    """Train, from the version that serves where that is possible, and lie as it does."""
    settings, features = content.config.collaborative, content.features()
    former = _former(models, settings) if settings.warm_start else None
    if former is None:
        return train(matrix, settings, backend, item_features=features)
    factors, known = former
    users = known.users.rows(content.source.catalogue.users.to_arrow())
    items = known.items.rows(content.source.catalogue.items.to_arrow())
    start = factors.renumbered(users, items).shaken(settings.seed)
    trained = train(matrix, settings, backend, initial=start, item_features=features)
    return trained.aligned_to(factors, items)


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
