"""From a dataset to one trained version: the whole way of the data, in the order it flows.

::

    dataset --> catalogue, events --> interactions --> collaborative --+
       |                                                               |
       +------> documents -----------------------> text ---------------+--> bundle
       |                                                               |
       +------> recordings ----------------------> audio --------------+

Enters: a `Dataset`, a `Config`, a `Backend`. Leaves: a version in `Models`. A model is trained when
the dataset has data for it; what was left out, and why, stands in the bundle's facts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from recsys.audio.model import build_audio
from recsys.backend import Backend
from recsys.bundle import BundleWriter, Models
from recsys.collaborative.als import train
from recsys.config import Config
from recsys.data.catalogue import Catalogue, read_catalogue
from recsys.data.dataset import Dataset
from recsys.data.interactions import Events, Interactions, build_interactions, read_events
from recsys.errors import InputError, UsageError
from recsys.progress import note
from recsys.text.model import build_text

__all__ = ["MODEL_NAMES", "Source", "build", "read_source"]

MODEL_NAMES = ("collaborative", "text", "audio")
"""The three models, in the order in which they are trained."""


@dataclass(frozen=True)
class Source:
    """A dataset as read: who and what there is, and what happened."""

    dataset: Dataset
    catalogue: Catalogue
    events: Events


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

    left_out = {name: "not asked for" for name in MODEL_NAMES if name not in only}
    for name in (name for name in MODEL_NAMES if name in only):
        reason = _train(name, source, interactions, config, backend, writer)
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
    source: Source,
    interactions: Interactions,
    config: Config,
    backend: Backend,
    writer: BundleWriter,
) -> str:
    """Train one model into the bundle; return why it could not be, or an empty string."""
    if name == "collaborative":
        explicit = config.collaborative.feedback == "explicit"
        matrix = interactions.ratings if explicit else interactions.evidence
        if not matrix.nnz:
            return "no ratings" if explicit else "no events on items"
        train(matrix, config.collaborative, backend).write(writer)
        return ""
    if name == "text":
        text = build_text(source.dataset, source.catalogue, config.text)
        if text is None:
            return "no documents about known artists"
        text.write(writer)
        return ""
    audio = build_audio(source.dataset, source.catalogue, config.audio)
    if audio is None:
        return "no readable recordings"
    audio.write(writer)
    return ""
