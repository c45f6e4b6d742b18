"""From a dataset to one trained version: the whole way of the data, in the order it flows.

::

    dataset --> catalogue, events --> interactions --> collaborative --+
       |                                                    ^          |
       |                                 (features, if set) |          |
       +------> documents -----------------------> text ----+----------+--> bundle
       |                                                    |          |
       +------> recordings ----------------------> audio ---+----------+

Enters: a `Dataset`, a `Config`, a `Backend`. Leaves: a version in `Models`. A model is trained when
the dataset has data for it; what was left out, and why, stands in the bundle's facts. With
``collaborative.features`` labels, text and audio draw the items' vectors too. A retraining starts
from the version that serves, so that neighbours, and maps learned on its vectors, stay stable.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.audio.model import AudioModel, build_audio
from recsys.backend import Backend
from recsys.bundle import BundleWriter, Models
from recsys.collaborative.als import train
from recsys.collaborative.checks import MAX_FEATURES
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig, Config
from recsys.data.catalogue import Catalogue, read_catalogue
from recsys.data.dataset import Dataset
from recsys.data.interactions import (
    NO_TIME,
    Events,
    Interactions,
    build_interactions,
    latest_times,
    read_events,
)
from recsys.errors import InputError, RecsysError, UsageError
from recsys.progress import note
from recsys.text.model import TextModel, build_text, leading_directions

__all__ = ["MODEL_NAMES", "Content", "Source", "build", "evidence_times", "read_source"]

MODEL_NAMES = ("collaborative", "text", "audio")
"""The three models, in the order in which they are trained."""


@dataclass(frozen=True)
class Source:
    """A dataset as read: who and what there is, and what happened."""

    dataset: Dataset
    catalogue: Catalogue
    events: Events


@dataclass(frozen=True)
class Content:
    """What is said of items and what they sound like; each is found out when first asked for."""

    source: Source
    config: Config

    @cached_property
    def text(self) -> TextModel | None:
        return build_text(self.source.dataset, self.source.catalogue, self.config.text)

    @cached_property
    def audio(self) -> AudioModel | None:
        return build_audio(self.source.dataset, self.source.catalogue, self.config.audio)

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
    return Source(dataset, catalogue, read_events(dataset, catalogue))


def build(
    source: Source,
    config: Config,
    backend: Backend,
    models: Models,
    *,
    only: Collection[str] = MODEL_NAMES,
    activate: bool = True,
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

    content = Content(source, config)
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
        explicit = content.config.collaborative.feedback == "explicit"
        matrix = interactions.ratings if explicit else interactions.evidence
        if not matrix.nnz:
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


def _factors(matrix: csr_array, content: Content, backend: Backend, models: Models) -> Factors:
    """Train, from the version that serves where that is possible, and lie as it does."""
    settings, features = content.config.collaborative, content.features()
    former = _former(models, settings) if settings.warm_start else None
    at = evidence_times(content.source, settings, matrix)
    if former is None:
        return train(matrix, settings, backend, item_features=features, at=at)
    factors, known = former
    users = known.users.rows(content.source.catalogue.users.to_arrow())
    items = known.items.rows(content.source.catalogue.items.to_arrow())
    start = factors.renumbered(users, items).shaken(settings.seed)
    trained = train(matrix, settings, backend, initial=start, item_features=features, at=at)
    return trained.aligned_to(factors, items)


def evidence_times(
    source: Source, settings: CollaborativeConfig, matrix: csr_array
) -> NDArray[np.int64] | None:
    """Return (nnz,) when each entry of evidence or ratings came about; None where no bins ask."""
    if settings.drift_bins < 2:
        return None
    explicit = settings.feedback == "explicit"
    events = source.events.take(source.events.of_kind("rating")) if explicit else source.events
    at = latest_times(events, source.catalogue, matrix)
    if not (at != NO_TIME).any():
        note("collaborative: no event has a time, so that popularity stands still")
    return at


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
